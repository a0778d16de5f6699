// Leases of nodes: how the cluster knows that a node has closed its connections, although it
// cannot ask it any more.
//
// A node asks the leader of the meta group for its lease twice a second. The lease counts from when
// the node asked, so whatever is delayed on the way only shortens it. The leader grants it after a
// read barrier that it began when it had been asked: a majority says that it still leads. So
// whoever is elected later is elected after the node asked, and waits for as long as a lease can
// last before it declares anyone gone. Before the leader proposes that a life of a node is gone it
// stops granting that life anything, for good.
//
// Clocks are monotonic ones that run at about the same rate, while the machine sleeps as well;
// nothing depends on what they show.
#ifndef CLUSTER_CORE_LEASES_H_
#define CLUSTER_CORE_LEASES_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "absl/time/time.h"
#include "cluster/core/common_time.h"
#include "cluster/core/node_life.h"

namespace cluster {

// The same on all nodes.
struct LeaseOptions {
  absl::Duration length = absl::Seconds(3);
  // What is left of it then has to suffice for another leader of the meta group to be elected.
  absl::Duration renewed_every = absl::Milliseconds(500);
  // Clocks run at most so much too fast or too slow: the node's lease is shorter by that part, the
  // leader waits for longer by it. Quartz is off by a ten-thousandth.
  double drift = 0.02;
  // What a node has to close its clients in, before its lease ends.
  absl::Duration fencing = absl::Milliseconds(500);

  absl::Duration AsHeld() const { return length * (1 - drift); }
  absl::Duration AsAwaited() const { return length * (1 + drift); }
};

struct LeaseRequest {
  NodeLife life;
  uint64_t number = 0;  // The node's own, ascending.
  // Nothing is asked for: the node has closed all that it had, and its life may be declared over.
  bool ends = false;
  TimeSaid time = {};
};
struct LeaseAnswer {
  enum class Kind {
    kGranted,
    kGone,       // That life has ended: the node needs another.
    kNotLeader,  // Ask elsewhere.
  };
  NodeLife life;
  uint64_t number = 0;
  Kind kind = Kind::kGranted;
  TimeSaid time = {};
};

// The node's end. Used on one thread. `now` is monotonic and never goes back.
class NodeLease {
 public:
  enum class State {
    kNone,     // It has none: durable sessions are not served.
    kHeld,     // It owns what it is said to own.
    kFencing,  // It ends soon, and is not renewed: connections with durable sessions are closed.
  };

  explicit NodeLease(LeaseOptions options) : options_(options) {}

  // Another life begins, without a lease.
  void Begin(NodeLife life);
  // A request that is due.
  std::optional<LeaseRequest> Ask(absl::Duration now);
  // The node stops, and has closed all that it had. From here on it owns nothing and says so, until
  // it is answered that it is gone.
  void End();
  // What is asked for next is asked at once: there is a new leader, or a new way to it.
  void AskAtOnce() { next_ask_ = -absl::InfiniteDuration(); }
  // False: it says nothing new, or is about another life.
  bool OnAnswer(const LeaseAnswer& answer);
  // Lives of this node through that one have ended.
  void OnGone(Incarnation through);

  // What shards look at before they read is `until`: whoever was paused finds out there.
  State StateAt(absl::Duration now) const;
  bool HoldsAt(absl::Duration now) const { return now < until_; }
  // When StateAt says something else, if nothing comes.
  absl::Duration ChangesAt(absl::Duration now) const;
  absl::Duration until() const { return until_; }
  bool is_gone() const { return gone_; }
  bool is_ending() const { return ending_; }
  NodeLife life() const { return life_; }

 private:
  struct Asked {
    uint64_t number = 0;
    absl::Duration at;
  };
  static constexpr size_t kAskedMax = 16;

  const LeaseOptions options_;
  NodeLife life_;
  bool gone_ = false;
  bool ending_ = false;
  uint64_t last_number_ = 0;
  std::deque<Asked> asked_;  // Those without an answer, the oldest first.
  absl::Duration next_ask_ = -absl::InfiniteDuration();
  absl::Duration until_ = -absl::InfiniteDuration();
};

// The leader's end: made when the node leads the meta group and has applied all that former
// leaders may have committed, dropped when it leads no more. Used on one thread.
class LeaseGranter {
 public:
  // `live`: who is by the state of the meta group at that moment.
  LeaseGranter(LeaseOptions options, absl::Duration now, const std::vector<NodeLife>& live);

  // ---- What the meta group's state says, as it is applied.
  void OnAdmitted(NodeLife life, absl::Duration now);
  void OnGone(NodeLife life);

  // ---- Requests. They gather until the next barrier.
  void OnRequest(const LeaseRequest& request, absl::Duration now);
  // A read barrier has to be begun, under this ticket. One at a time.
  std::optional<uint64_t> WantsBarrier();
  // Readable came of it, or NotReadable.
  std::vector<LeaseAnswer> OnBarrier(uint64_t ticket, bool readable);
  // Answers that need none.
  std::vector<LeaseAnswer> TakeAnswers();

  // ---- Who is gone. To be proposed (NodeGone), once each: from here on they get no lease. Called
  // at least once a second; whoever was paused for longer waits anew, for he has not heard what was
  // sent to him meanwhile.
  std::vector<NodeLife> TakeExpired(absl::Duration now);
  // An operator says that the node is gone for good: TakeExpired has it when its lease has ended,
  // and it gets no other. False: it is not known, or under way already.
  bool Declare(NodeLife life);
  // The proposal is surely in no log. It is to be proposed again.
  void OnNotCommitted(NodeLife life);
  // When TakeExpired has something, if nothing comes.
  absl::Duration NextExpiry() const;
  bool is_granting(NodeLife life) const;

 private:
  enum class Phase {
    kGranting,
    kEnding,    // It gets nothing more, and is gone when its lease has ended.
    kProposed,  // NodeGone is.
  };
  struct Entry {
    Incarnation incarnation;
    absl::Duration until;  // By then its lease has ended, wherever it is.
    Phase phase = Phase::kGranting;
  };
  struct Waiting {
    LeaseRequest request;
    absl::Duration received;
  };
  Entry* Find(NodeLife life);
  const Entry* Find(NodeLife life) const;
  void OnRequestOfUnknown(const LeaseRequest& request, absl::Duration now);

  const LeaseOptions options_;
  std::map<NodeId, Entry> entries_;
  // One request of each node: the last that came.
  std::map<NodeId, Waiting> gathering_;
  std::map<NodeId, Waiting> in_barrier_;
  uint64_t last_ticket_ = 0;
  bool barrier_under_way_ = false;
  absl::Duration last_look_;
  std::vector<LeaseAnswer> answers_;
};

}  // namespace cluster

#endif  // CLUSTER_CORE_LEASES_H_
