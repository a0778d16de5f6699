// What one partition's leader has proposed and is not applied.
#ifndef STORAGE_LEADER_PROPOSALS_H_
#define STORAGE_LEADER_PROPOSALS_H_

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mqtt/message.h"
#include "storage/core/command_codec.h"
#include "storage/core/effects.h"
#include "storage/core/partition_api.h"
#include "storage/core/replica.h"
#include "storage/leader/asker.h"
#include "storage/leader/node.h"
#include "storage/leader/proposal.h"
#include "storage/leader/queue_room.h"
#include "storage/leader/retained_pending.h"

namespace storage {

// In the order in which they are applied. The last of them may grow: it is closed when the log
// takes it, and the next command begins another.
class Proposals {
 public:
  Proposals(const Replica& replica, Node& node) : replica_(replica), node_(node) {}

  // `asker`: the command is a part of what it asks for. Null: the host's own.
  pb::Command& Propose(mqtt::MessagePtr message = {}, CommandPlace* place = nullptr,
                       const Asker* asker = nullptr);
  // The same for who writes the command by hand, with the stamp it needs.
  std::string& ProposeTo(mqtt::MessagePtr message, CommandStamp& stamp,
                         const Asker* asker = nullptr);
  // ---- Of what was just proposed.
  void Then(Step step) { growing_->Then(std::move(step)); }
  void Keep(const QueueReservation& reservation) { growing_->Reserves(reservation); }
  void Retains(RetainedSet set) { growing_->Retains(std::move(set)); }

  // Those of the partition's former leader, which are in the log or on their way there: what
  // follows them is the caller's.
  void TakeOver(Proposals& former);
  // Another shard has its slot, or nobody.
  void Forget(ShardSlot shard) {
    for (const auto& proposal : pending_) {
      if (shard < proposal->taken.size()) proposal->taken[shard] = 0;
    }
  }
  template <typename Visit>
  void ForEach(Visit&& visit) {
    for (const auto& proposal : pending_) visit(*proposal);
  }

  bool idle() const { return pending_.empty(); }
  Proposal& last() { return *pending_.back(); }
  Proposal* growing() { return growing_; }  // Null: none does.
  size_t growing_commands() const { return growing_ == nullptr ? 0 : growing_->commands(); }
  size_t growing_bytes() const { return growing_ == nullptr ? 0 : growing_->bytes(); }
  // What grows does not any more. It stays here until it is applied.
  Proposal& CloseGrowing() { return *std::exchange(growing_, nullptr); }
  size_t steps() const;

  // The one that is to be applied next; null: there is none.
  Proposal* first() { return pending_.empty() ? nullptr : pending_.front().get(); }
  // There is nothing to apply before what follows it.
  bool first_passes() const { return !pending_.empty() && pending_.front()->passes; }
  // It, if the log has it under that number. 0: an entry of somebody else.
  Proposal* FirstIf(uint64_t number) {
    return number != 0 && !pending_.empty() && pending_.front()->number == number ? first()
                                                                                  : nullptr;
  }
  Effects& effects() { return effects_; }  // Of the entry that was applied last.
  // It is applied, and what follows has happened.
  void PopFirst();

 private:
  Proposal& Grow();
  CommandStamp Stamp(const Asker* asker);

  const Replica& replica_;
  Node& node_;
  std::deque<std::unique_ptr<Proposal>> pending_;
  Proposal* growing_ = nullptr;
  std::vector<std::unique_ptr<Proposal>> spare_;
  Effects effects_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_PROPOSALS_H_
