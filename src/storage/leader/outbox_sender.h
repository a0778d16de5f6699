// Has a shard pass on what is in the partition's outbox, record after record, and removes from it
// what everybody has.
#ifndef STORAGE_LEADER_OUTBOX_SENDER_H_
#define STORAGE_LEADER_OUTBOX_SENDER_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"
#include "storage/core/effects.h"
#include "storage/core/outbox.h"
#include "storage/core/partition_api.h"
#include "storage/leader/part.h"

namespace storage {

class OutboxSender : public LeaderPart {
 public:
  explicit OutboxSender(Leader& leader) : LeaderPart(leader) {}

  // Nobody is known to have anything of what is there. Under a new leader: when what was asked of
  // the former one has been asked again.
  void Start();
  void Withdraw();  // There is a new leader.
  // Tells of those that nobody was told of yet.
  void Run();
  std::optional<absl::Duration> Next() const;
  void TellSoon();  // A member of a group has room again.
  // Whether a will may be put into it: else it waits in its session.
  bool HasRoomForWill() const;
  // Whether a QoS 2 message may, beside those that are on their way there.
  bool HasRoomFor(uint64_t bytes) const;
  // One is on its way; and is there, or never will be.
  void Expect(uint64_t bytes) {
    ++expected_messages_;
    expected_bytes_ += bytes;
  }
  void Expected(uint64_t bytes) {
    --expected_messages_;
    expected_bytes_ -= bytes;
  }
  // Room in queues for a record, until it is there.
  void Hold(uint64_t number, HeldRooms rooms);
  HeldRooms TakeHeld(uint64_t number, PartitionId partition);

  void On(OutboxGrew& effect);
  void Handle(const Asker& from, OutboxDone& request);
  void Repeat(const Asker& from, OutboxDone& request);
  void Handle(const Asker& from, OutboxAssign& request);
  void Repeat(const Asker& from, OutboxAssign& request);
  void Finish(FinishOutboxAssign& step);
  void Finish(FinishOutbox& step);

 private:
  using Kind = OutboxRecord::Kind;
  struct Told {
    uint64_t bytes = 0;
    std::string share_filter;
    Kind kind = Kind::kLeft;
  };

  void Consider(OutboxRecord record);
  void Tell(OutboxRecord record);
  Told TakeTold(uint64_t number);
  // A shard of this node, always the same, so that they stay in order.
  const ShardAddress& Teller() const;
  bool WereOthersChosen(const OutboxDone& request) const;
  void ProposeDone(FinishOutbox step, const Asker* asker);
  void ReleaseHeld(uint64_t number);
  void Answer(const ShardAddress& shard, Token token, const absl::Status& status);
  void Keep(absl::Duration retry);
  void LookAgain();

  struct Scan {
    uint64_t passed = 0;     // Those up to here have been looked at.
    bool wanted = false;     // There are more.
    bool keeps = false;      // Some of those passed wait for the next try.
    uint64_t recovered = 0;  // Those up to here were there at the start.
  };
  Scan scan_;
  absl::flat_hash_map<uint64_t, Told> told_;  // The shard has them, and is to say what became.
  absl::flat_hash_map<uint64_t, HeldRooms> held_;
  uint64_t expected_messages_ = 0;
  uint64_t expected_bytes_ = 0;
  absl::flat_hash_set<uint64_t> ending_;             // OutboxDone is proposed and not applied.
  absl::flat_hash_set<uint64_t> assigning_;          // OutboxAssign is.
  absl::flat_hash_set<std::string> groups_without_;  // Members, as a shard said since the last try.
  std::optional<absl::Duration> again_at_;           // Monotonic.
  absl::Duration patience_ends_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_OUTBOX_SENDER_H_
