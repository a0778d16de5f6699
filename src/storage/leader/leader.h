// What the leader of one partition decides: no thread, no disk, no clock of its own.
#ifndef STORAGE_LEADER_LEADER_H_
#define STORAGE_LEADER_LEADER_H_

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "storage/core/effects.h"
#include "storage/core/partition.h"
#include "storage/core/partition_api.h"
#include "storage/core/replica.h"
#include "storage/leader/asker.h"
#include "storage/leader/delivery.h"
#include "storage/leader/expiry.h"
#include "storage/leader/inbound.h"
#include "storage/leader/node.h"
#include "storage/leader/outbox_sender.h"
#include "storage/leader/part.h"
#include "storage/leader/proposal.h"
#include "storage/leader/proposals.h"
#include "storage/leader/publishing.h"
#include "storage/leader/room.h"
#include "storage/leader/sessions.h"
#include "storage/leader/streams.h"
#include "storage/leader/subscriptions.h"
#include "storage/leader/timers.h"

namespace storage {

// One for each partition, owned by the host, used on its thread. It answers what is asked of its
// partition: who owns a Client Identifier, what goes to whom and how much of it, what is due. What
// it decides becomes commands; what follows from them happens once they are applied to its replica.
//
// Its parts decide, each about one kind of story. The leader itself leads a proposal through its
// life: it grows, is closed, handed to the log, committed, applied, and only then what follows it
// happens.
//
// Nothing of it survives a crash, and nothing has to: Begin makes what it needs from the replica.
class Leader {
 public:
  Leader(Replica& replica, Node& node);

  PartitionId id() const { return id_; }
  const Partition& partition() const { return std::as_const(replica_).partition(); }
  Replica& replica() { return replica_; }
  // How late it is in this partition.
  int64_t Now() const { return partition().StampAt(node_.now.unix_ms); }

  // ---- Start: closes what was connected when the last process died.
  void Begin(const pb::Limits& limits);
  // The shards know all routes: what waited for that.
  void Serve();

  // ---- A change of leader, in place. What the former one has proposed is in the log, or on its
  // way there, and is applied; of what was to follow it nothing happens, but that it is known to be
  // applied (PassBarrier). All else is asked for again, or found in the partition's state and in
  // what the shards tell.
  void Succeed(Leader& former);
  // Once it is in the former one's place.
  void CatchUp();
  // In the former one's place: what that one has proposed is nobody's, and what was to follow it
  // does not happen here. For a partition that is led elsewhere now; Succeed does it, too.
  void TakeAfter(Leader& former);
  // Whoever waits for what this one has proposed, for the sake of another partition, waits no more.
  void PassBarriers();
  uint64_t life() const { return life_; }  // Which of the partition's leaders it is.
  bool serving() const { return serving_; }
  bool caught_up() const { return caught_up_; }
  // Shards have told what they hold, by slot; nothing: nobody has it, or it has not told. From here
  // on it takes requests of those that have.
  void Activate(const std::vector<std::optional<Claims>>& claims, const pb::Limits& limits);
  // Another one has. Before its first request.
  void Join(ShardSlot shard, const Claims& claims);
  // All have. Until then nobody gets a Client Identifier of which nothing is known: who has not
  // told may have it.
  bool knows_all() const { return knows_all_; }
  void KnowAll();
  // Once they have asked again what they wanted: what nobody has claimed by then is nobody's.
  void SettleIfDue();
  // The slot is nobody's, or somebody else's.
  void Forget(ShardSlot shard) {
    streams_.Forget(shard);
    proposals_.Forget(shard);
  }
  // Lives of nodes are over: what they had is closed.
  void OnNodesGone(absl::Span<const LiveNode> left) {
    if (serving_) sessions_.CloseGone(/*unknown=*/false, left);
  }

  // ---- A request about what is in this partition.
  template <typename Asked>
  void Handle(const Asker& from, Asked& request) {
    static_assert(PartsThat<kHandles, Asked> == 1, "one part handles each request");
    ForEachPart([&](auto& part) {
      if constexpr (requires { part.Handle(from, request); }) part.Handle(from, request);
    });
  }
  // One that is applied already, and is asked for again since its answer was lost.
  template <typename Asked>
  void AnswerRepeat(const Asker& from, Asked& request) {
    ForEachPart([&](auto& part) {
      if constexpr (requires { part.Repeat(from, request); }) part.Repeat(from, request);
    });
  }
  template <typename Asked>
  static constexpr bool kIsNumbered = requires(Subscriptions& part, Asked& it) {
    part.Repeat(Asker{}, it);
  }
  || requires(Inbound& part, Asked& it) { part.Repeat(Asker{}, it); }
  || requires(Deliveries& part, Asked& it) { part.Repeat(Asker{}, it); }
  || requires(OutboxSender& part, Asked& it) { part.Repeat(Asker{}, it); };
  // Applied already: nothing of it is proposed again.
  bool IsRepeat(const Asker& from) const {
    const bool may_be = from.outbox || (from.sequence != 0 && streams_.Repeats(from.slot));
    return may_be && partition().origins().IsApplied(from.origin(), from.number());
  }
  absl::Status Refusal(bool stores) const;
  // Whose the Client Identifier is now; absent: no client is connected by it.
  std::optional<ConnectionRef> ConnectionOf(std::string_view client_id) const;

  // ---- The life of a proposal.
  Proposals& proposals() { return proposals_; }
  const Proposals& proposals() const { return proposals_; }
  void After(Step step);  // Once everything proposed so far is applied; now, if nothing is.
  // Nobody has handed it to the log, and the log fails: whoever waits for an answer gets it. What
  // cannot be refused stays, and is all that the proposal is.
  void RefuseCollected(Proposal& proposal, const absl::Status& why);
  void RefuseGrowing(const absl::Status& why) {
    if (proposals_.growing() != nullptr) RefuseCollected(*proposals_.growing(), why);
  }
  // The one that was to be applied next is.
  void OnApplied();
  // An entry is applied that this leader has not proposed. The shards hear of routes.
  void OnOthersApplied();
  void OnReloaded() { sessions_.OnReloaded(); }  // The replica was made again.

  // ---- Requests that have numbers.
  Streams& streams() { return streams_; }
  void AcknowledgeStreams() {
    if (serving_) streams_.Acknowledge(proposals_.idle());
  }

  // ---- A round of the host.
  void RunTimers();
  std::optional<absl::Duration> NextWake() const;
  // It has work for which there is no room now: the end of a write wakes.
  std::optional<absl::Duration> NextTimer() const;

  // ---- Its parts.
  Sessions& sessions() { return sessions_; }
  const Sessions& sessions() const { return sessions_; }
  Timers& timers() { return timers_; }
  Subscriptions& subscriptions() { return subscriptions_; }
  Inbound& inbound() { return inbound_; }
  PublishedParts& published() { return published_; }
  Room& room() { return room_; }
  const Room& room() const { return room_; }
  Deliveries& deliveries() { return deliveries_; }
  Expiry& expiry() { return expiry_; }
  const Expiry& expiry() const { return expiry_; }
  OutboxSender& outbox() { return outbox_; }
  const OutboxSender& outbox() const { return outbox_; }

 private:
  friend class LeaderPart;

  template <typename Use>
  void ForEachPart(Use&& use) {
    use(sessions_);
    use(timers_);
    use(subscriptions_);
    use(inbound_);
    use(published_);
    use(room_);
    use(deliveries_);
    use(expiry_);
    use(outbox_);
  }

  // How many parts take a T, for static_assert.
  enum Takes { kHandles, kFinishes, kReactsTo };
  template <Takes kHow, typename Part, typename T>
  static constexpr int kOne = [] {
    if constexpr (kHow == kHandles) {
      return requires(Part & part, T & it) { part.Handle(Asker{}, it); }
      ? 1 : 0;
    } else if constexpr (kHow == kFinishes) {
      return requires(Part & part, T & it) { part.Finish(it); }
      ? 1 : 0;
    } else {
      return requires(Part & part, T & it) { part.On(it); }
      ? 1 : 0;
    }
  }();
  template <Takes kHow, typename T>
  static constexpr int PartsThat =
      kOne<kHow, Sessions, T> + kOne<kHow, Timers, T> + kOne<kHow, Subscriptions, T> +
      kOne<kHow, Inbound, T> + kOne<kHow, Room, T> + kOne<kHow, Deliveries, T> +
      kOne<kHow, Expiry, T> + kOne<kHow, OutboxSender, T> + kOne<kHow, PublishedParts, T>;

  void ProposeSettings(const pb::Limits& limits);
  void RunEffects();
  void Finish(Step& step);
  void Refuse(Step& step, const absl::Status& why);

  const PartitionId id_;
  Replica& replica_;
  Node& node_;
  uint64_t life_ = 1;
  bool serving_ = false;   // It knows who is connected.
  bool caught_up_ = true;  // What the former one has proposed is applied.
  bool knows_all_ = true;
  bool settled_ = true;  // Shards that told have asked again what they wanted.
  bool closed_unclaimed_ = true;
  absl::Duration read_again_at_ = -absl::InfiniteDuration();  // After an error.
  Proposals proposals_;
  Streams streams_;
  Sessions sessions_;
  Timers timers_;
  Subscriptions subscriptions_;
  Inbound inbound_;
  PublishedParts published_;
  Room room_;
  Deliveries deliveries_;
  Expiry expiry_;
  OutboxSender outbox_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_LEADER_H_
