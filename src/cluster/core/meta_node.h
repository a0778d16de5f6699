// A node's part in who belongs to the cluster: it applies the meta group's log, keeps its own life
// and lease, and, where it leads the group, grants those of the others and says who is gone.
#ifndef CLUSTER_CORE_META_NODE_H_
#define CLUSTER_CORE_META_NODE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "cluster/core/common_time.h"
#include "cluster/core/leases.h"
#include "cluster/core/members.h"
#include "mqttd/cluster/v1/members.pb.h"

namespace cluster {

// A node that says that it has more shards is not admitted: each of the others would keep places
// for them, and has 65,534.
inline constexpr uint32_t kNodeShardsMax = 1000;

// What is to be done, in this order.
struct MetaOutputs {
  // By so much this node's timeline is to be put ahead: see CommonTime.
  int64_t time_shift_ms = 0;
  // An operator is to hear that a node is not followed.
  std::optional<CommonTime::Apart> time_apart;
  struct Proposal {
    uint64_t number = 0;
    std::string entry;
  };
  // To each node that has a replica of the meta group; whoever leads it answers.
  struct LeaseAsked {
    NodeId to;
    LeaseRequest request;
  };
  struct AdmissionAnswer {
    uint64_t token = 0;
    NodeLife life;           // Of who is admitted.
    std::string why;         // In words, why not. Empty: it is.
    Incarnation known;       // Not 0: it is to begin a later life than that, and to ask again.
    bool ask_again = false;  // Here or elsewhere: nothing was decided.
    bool refused = false;    // For a reason that does not go away.
  };
  struct ForgetAnswer {
    uint64_t token = 0;
    absl::Status status;
  };
  std::vector<Proposal> proposals;  // To the meta group's log.
  std::vector<uint64_t> barriers;   // Of the meta group, by ticket.
  std::vector<LeaseAsked> leases_asked;
  std::vector<std::pair<NodeId, LeaseAnswer>> leases_answered;
  std::vector<AdmissionAnswer> admissions;
  std::vector<ForgetAnswer> forgotten;
  // This node begins a life: to be on its disk, synced, before anything else is done.
  std::optional<Incarnation> begun;
  // This node is to be admitted: to be asked of all that have a replica, until it is.
  std::optional<::mqttd::cluster::v1::AdmitNode> ask_admission;
  // Lives that have ended, in the order of the log: whoever leads a partition closes what they had.
  std::vector<NodeLife> gone;
  bool members_changed = false;
};

// Plain values in and out; used on one thread. `now` is monotonic. A node that has no replica of
// the meta group has no log, but a life and a lease.
class MetaNode {
 public:
  // `self` is what the node says of itself when it asks to be admitted: its `start` is random, its
  // `incarnation` one more than the last on its disk, and on the disk itself. `members` are as of
  // entry `applied`.
  MetaNode(LeaseOptions options, ::mqttd::cluster::v1::AdmitNode self, Members members,
           uint64_t applied);

  // What this node's timeline shows; before each of the following, or it takes no part in what the
  // cluster has.
  void SetTime(int64_t unix_ms, absl::Duration now) { time_.SetNow(unix_ms, now); }

  // ---- The meta group's log, if there is a replica here.
  // Error: the entry cannot be understood, and nothing behind it may be applied.
  absl::Status OnCommitted(uint64_t index, std::string_view entry, uint64_t proposal,
                           absl::Duration now);
  // `acts_behind`: of a leader, which acts when that is applied.
  void OnRole(bool leads, uint64_t acts_behind, absl::Duration now);
  // `surely`: it is in no log that could ever be committed.
  void OnNotCommitted(uint64_t proposal, bool surely);
  void OnBarrier(uint64_t ticket, bool readable);
  // The state of another replica, as of `index`.
  void Install(Members members, uint64_t index);

  // ---- Other nodes.
  void OnLeaseRequest(const LeaseRequest& request, absl::Duration now);
  void OnLeaseAnswer(const LeaseAnswer& answer);
  // Another node knows that this node's lives through that one have ended.
  void OnLifeOver(Incarnation through);
  // A node asks to be admitted. Answered under this token.
  void OnAdmissionAsked(uint64_t token, const ::mqttd::cluster::v1::AdmitNode& node);
  // This node is, as that life; or it is to begin a later one than is known.
  void OnAdmitted(NodeLife life);
  void OnNotAdmitted(Incarnation known);

  // This node stops, and has closed all that it had: no other is to wait until its lease ends.
  void EndLife() { lease_.End(); }
  bool has_ended() const { return lease_.is_ending() && lease_.is_gone(); }

  // A node is to be a member no more. Answered under this token, in words: kNotFound, there is
  // none; kFailedPrecondition, it lives, or has replicas; kUnavailable, another node decides.
  void OnForgetAsked(uint64_t token, NodeId node);

  // An operator says that a node is gone for good. In words, why not; empty: it will be.
  std::string Declare(NodeId node);

  // Called at least every tenth of a second.
  void Tick(absl::Duration now);
  MetaOutputs Take() {
    out_.time_shift_ms = time_.TakeShift();
    out_.time_apart = time_.TakeApart();
    return std::exchange(out_, {});
  }

  const Members& members() const { return members_; }
  uint64_t applied() const { return applied_; }
  const NodeLease& lease() const { return lease_; }
  NodeLife life() const { return lease_.life(); }
  // See CommonTime::Apart.
  uint64_t times_apart() const { return time_.times_apart(); }
  bool is_granting() const { return granter_ != nullptr; }

 private:
  static constexpr absl::Duration kAdmissionAskedEvery = absl::Milliseconds(500);

  void BeginLife(Incarnation incarnation);
  void BeginAnotherIfGone();
  void Lead(absl::Duration now);
  void LeadNoMore();
  uint64_t Propose(std::string entry);
  void AskBarrier();
  bool IsMember(NodeId node) const;  // It has a replica of the group.
  void ProposeGone(absl::Duration now);
  void Answer(const std::vector<LeaseAnswer>& answers);
  void AnswerForget(uint64_t proposal, const MembersOutcome& outcome);
  void AskForWhatIsDue(absl::Duration now);

  const LeaseOptions options_;
  ::mqttd::cluster::v1::AdmitNode self_;
  Members members_;
  uint64_t applied_ = 0;
  NodeLease lease_;
  CommonTime time_;
  bool admitted_ = false;
  absl::Duration next_admission_ = -absl::InfiniteDuration();

  // ---- Where it leads.
  std::optional<uint64_t> acts_behind_;  // It leads, and does not act yet.
  std::unique_ptr<LeaseGranter> granter_;
  uint64_t leaderships_ = 0;  // Tickets of an earlier one are nobody's.
  uint64_t last_proposal_ = 0;
  std::map<uint64_t, NodeLife> declared_;                    // By proposal.
  std::map<uint64_t, uint64_t> admissions_;                  // Tokens, by proposal.
  std::map<uint64_t, std::pair<uint64_t, NodeId>> forgets_;  // The same.

  MetaOutputs out_;
};

}  // namespace cluster

#endif  // CLUSTER_CORE_META_NODE_H_
