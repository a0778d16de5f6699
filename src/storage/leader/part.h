// What each part of a partition's leader has at hand.
#ifndef STORAGE_LEADER_PART_H_
#define STORAGE_LEADER_PART_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "mqtt/message.h"
#include "storage/core/command_codec.h"
#include "storage/core/partition.h"
#include "storage/core/partition_api.h"
#include "storage/core/replica.h"
#include "storage/leader/node.h"
#include "storage/leader/proposals.h"

namespace storage {

class Leader;

// A part tells one kind of story: what is asked (Handle), what an entry did (On), and what follows
// when it is applied (Finish) or can never be (Refuse). The leader hands each of these to the part
// that has such a function, and one part reaches another through the leader.
class LeaderPart {
 public:
  LeaderPart(const LeaderPart&) = delete;
  LeaderPart& operator=(const LeaderPart&) = delete;

 protected:
  explicit LeaderPart(Leader& leader);
  ~LeaderPart() = default;

  const Partition& partition() const { return std::as_const(replica_).partition(); }
  // How late it is in this partition.
  int64_t Now() const { return partition().StampAt(node_.now.unix_ms); }
  // What a request that must be logged is answered with now; `stores`: it takes room.
  absl::Status Refusal(bool stores) const;

  pb::Command& Propose(CommandPlace* place = nullptr) { return proposals_.Propose({}, place); }
  pb::Command& ProposeFor(const Asker& asker, CommandPlace* place = nullptr) {
    return proposals_.Propose({}, place, &asker);
  }
  void Then(Step step) { proposals_.Then(std::move(step)); }
  void NeedSync() { node_.growing.needs_sync = true; }
  void Hurry() { node_.growing.urgent = true; }
  const Outcome& OutcomeAt(CommandPlace place) const {
    return proposals_.effects().outcomes[place];
  }

  Leader& leader_;
  const PartitionId id_;
  Replica& replica_;
  Node& node_;
  Proposals& proposals_;
  absl::Duration& read_again_at_;  // After an error, whoever had it.
};

}  // namespace storage

#endif  // STORAGE_LEADER_PART_H_
