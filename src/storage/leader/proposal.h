// What one partition's leader has collected for the log, and what follows once it is applied.
#ifndef STORAGE_LEADER_PROPOSAL_H_
#define STORAGE_LEADER_PROPOSAL_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "mqtt/message.h"
#include "storage/core/partition_api.h"
#include "storage/leader/queue_room.h"
#include "storage/leader/retained_pending.h"

namespace mqttd::storage::v1 {
class Command;
}  // namespace mqttd::storage::v1

namespace storage {

namespace pb = ::mqttd::storage::v1;

// Which command of the proposal; its outcome has the same place among the entry's outcomes.
using CommandPlace = size_t;

// ---- Steps: one for each request, in the order of the requests. Which command was proposed for it
// is `command`, or the first of `commands`.

// One partition's part of a PUBLISH.
struct AnswerPublish {
  ShardAddress shard;
  Token token = 0;
  CommandPlace command = 0;
  size_t commands = 0;  // None: a repeat, that waits for what it repeats.
  std::optional<CommandPlace> retained;
  OutboxRef outbox;  // What it is a part of, if it is.
};
// A QoS 2 message of a publisher with a session here.
struct AnswerAccept {
  CommandPlace command = 0;
  ShardAddress shard;
  Token token = 0;
  std::string client_id;
  uint16_t packet_id = 0;
  bool duplicate = false;  // A repeat, that waits for what it repeats. No command.
  bool proposed = false;
  uint64_t bytes = 0;  // That it takes in the outbox.
  HeldRooms held;      // Where it is to be passed on to.
};
struct FinishOpen {
  CommandPlace command = 0;
  std::string client_id;
  std::string former_user;  // Of the session that was there.
  bool adds = false;        // There was none.
};
struct FinishClose {
  std::string client_id;
};
// The will fires, or the session ends, or both.
struct FinishTimer {
  std::string client_id;
  bool ends = false;
  bool gives_way = false;  // It ends to make room.
};
struct Subscribing;  // Of subscriptions.h.
struct AnswerSubscribe {
  CommandPlace command = 0;
  ShardAddress shard;
  Token token = 0;
  std::string client_id;
  PartitionMask reads = 0;  // Where retained messages for it may be.
  std::shared_ptr<const Subscribing> subscribing;
};
struct AnswerUnsubscribe {
  CommandPlace command = 0;
  ShardAddress shard;
  Token token = 0;
};
struct AnswerRelease {
  CommandPlace command = 0;
  ShardAddress shard;
  Token token = 0;
};
struct FinishReplay {
  std::string client_id;
};
// A record of the outbox is passed on, or is nobody's any more.
struct FinishOutbox {
  uint64_t number = 0;
  bool inbound = false;
  bool expired = false;
  bool dropped = false;         // For nobody is a member of its group.
  bool not_authorized = false;  // A will: its client may not publish there any more.
  ShardAddress shard;           // Who waits for that, if there is a token.
  Token token = 0;
  CommandPlace command = 0;
};
// Members of groups are chosen for one.
struct FinishOutboxAssign {
  uint64_t number = 0;
};
// Retained messages that had expired are dropped.
struct FinishRetainedSweep {
  uint64_t messages = 0;
  uint64_t bytes = 0;
};
// Queued ones are.
struct FinishQueueSweep {
  CommandPlace command = 0;
  std::string client_id;
};
// This partition is as far as something waits for that concerns several.
struct Barrier {
  size_t left = 0;  // Partitions that are not.
  std::function<void()> then;
};
struct PassBarrier {
  std::shared_ptr<Barrier> barrier;
};

using Step =
    std::variant<AnswerPublish, AnswerAccept, FinishOpen, FinishClose, FinishTimer, AnswerSubscribe,
                 AnswerUnsubscribe, AnswerRelease, FinishReplay, FinishOutbox, FinishOutboxAssign,
                 FinishRetainedSweep, FinishQueueSweep, PassBarrier>;

// An entry that is being built, then being written, then committed. Owned by the partition's leader
// until it is applied. Once it is sealed it stays as it is.
class Proposal {
 public:
  explicit Proposal(PartitionId the_partition);
  ~Proposal();

  const PartitionId partition;

  // Appends an empty command. The reference holds until the next Add, AddTo or Seal.
  pb::Command& Add(mqtt::MessagePtr message, CommandPlace* place = nullptr);
  // The same for who writes the command by hand: it goes to the end of the entry (command_codec.h).
  std::string& AddTo(mqtt::MessagePtr message, CommandPlace* place = nullptr);
  void Seal();
  void Then(Step step) { steps_.push_back(std::move(step)); }
  // Room and retained messages that belong to the last command.
  void Retains(RetainedSet set) { retained_sets_.push_back({commands() - 1, std::move(set)}); }
  void Reserves(const QueueReservation& reservation) {
    reservations_.push_back({commands() - 1, reservation});
  }

  size_t commands() const { return messages_.size(); }
  const std::string& entry() const { return entry_; }
  // Beside each command: its Message, or null.
  const std::vector<mqtt::MessagePtr>& messages() const { return messages_; }
  // Of what is written: what a message carries beside itself may be more, its targets for instance.
  size_t bytes() const { return std::max(entry_.size(), message_bytes_); }
  // What of that came since it was asked for last: a message at once, the rest of a command when
  // the next one follows.
  size_t TakeGrowth() {
    const size_t before = std::exchange(counted_, bytes());
    return counted_ - std::min(before, counted_);
  }
  std::vector<Step>& steps() { return steps_; }
  const std::vector<Step>& steps() const { return steps_; }

  template <typename T>
  struct OfCommand {
    CommandPlace command = 0;
    T value;
  };
  const std::vector<OfCommand<RetainedSet>>& retained_sets() const { return retained_sets_; }
  const std::vector<OfCommand<QueueReservation>>& reservations() const { return reservations_; }

  // Before it is handed to the log: takes out the commands for which `gone` says so, with what
  // belongs to them. Where the others stand then: `places`.
  struct Dropped {
    std::vector<CommandPlace> places;
    std::vector<RetainedSet> sets;
    std::vector<QueueReservation> reservations;
  };
  Dropped Drop(const std::vector<bool>& gone);

  // To the log, which gives the entry back when it is committed.
  std::string LendEntry() { return std::move(entry_); }
  void TakeBackEntry(std::string entry) { entry_ = std::move(entry); }

  // By shard's slot: which of its requests have been taken when this one is closed.
  std::vector<uint64_t> taken;
  uint64_t number = 0;  // By which the log has it. 0: it has not.
  bool passes = false;  // All of it was refused: nothing is to be applied before what follows it.

  void Clear();

 private:
  std::string entry_;           // The bytes of an Entry, once it is sealed.
  std::vector<size_t> begins_;  // Of each command, in `entry_`.
  std::vector<mqtt::MessagePtr> messages_;
  std::unique_ptr<pb::Command> open_;  // What Add gave out last.
  bool is_open_ = false;
  size_t message_bytes_ = 0;  // Of the commands' Messages.
  size_t counted_ = 0;        // As TakeGrowth has told.
  std::vector<Step> steps_;
  std::vector<OfCommand<RetainedSet>> retained_sets_;
  std::vector<OfCommand<QueueReservation>> reservations_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_PROPOSAL_H_
