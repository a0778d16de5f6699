// Leases of nodes over a real meta group, on virtual time, from a seed: clocks that run too fast or
// too slow, nodes that stand still, networks that lose, delay and part, machines that crash. What
// is checked: when anybody has applied that a life of a node is gone, that life holds no lease, by
// its own clock, and never does again.
#ifndef TESTS_CLUSTER_CORE_LEASES_SIM_H_
#define TESTS_CLUSTER_CORE_LEASES_SIM_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/rng.h"
#include "cluster/core/meta_node.h"
#include "cluster/raft/raft_loop.h"
#include "tests/cluster/memory_entry_store.h"
#include "tests/support/event_queue.h"

namespace cluster {

struct LeasesSimOptions {
  // What is done wrong, so that the check has something to find.
  enum class Mutant {
    kNone,
    kNoBarrier,  // A leader grants without asking whether it still leads.
    kNoWait,     // A new leader does not wait for leases that the former granted.
    kNoDrift,    // Nothing is allowed for clocks that run at different rates.
    kForgets,    // A leader that has proposed that a node is gone forgets it, and grants it more.
  };
  uint64_t seed = 0;
  Mutant mutant = Mutant::kNone;
  uint64_t stormy_ms = 60'000;
  uint64_t calm_ms = 20'000;
  bool explain = false;
};

class LeasesSim {
 public:
  explicit LeasesSim(LeasesSimOptions options);
  ~LeasesSim();

  // Words about what was wrong first; empty: nothing was.
  std::string Run();

  uint64_t granted() const { return granted_; }
  uint64_t gone() const { return gone_.size(); }
  uint64_t leaders() const { return leaders_; }
  uint64_t pauses() const { return pauses_; }

 private:
  struct Node;

  static constexpr uint32_t kNodes = 5;
  static constexpr uint32_t kVoters = 3;  // Of them the first hold the meta group.

  void After(uint64_t delay_ms, std::function<void()> run);
  // On the node, if it still lives that life by then; when it stands still, later.
  void OnNode(Node& node, uint64_t delay_ms, std::function<void()> run);
  void OnNodeOf(Node& node, uint64_t life, uint64_t delay_ms, std::function<void()> run);
  void Send(Node& from, Node& to, std::function<void()> run);
  void Fail(const std::string& words);
  void Note(const Node& node, const std::string& words);
  absl::Duration Clock(const Node& node) const;
  void SetRate(Node& node);

  void Start(Node& node);
  void Crash(Node& node);
  void Tick(Node& node);
  void Pump(Node& node);
  void Handle(Node& node, LogEvent& event);
  void Apply(Node& node, const CommittedEntry& entry);
  void Act(Node& node);
  void AskAdmission(Node& node, const ::mqttd::cluster::v1::AdmitNode& self);
  void AnswerAdmission(Node& node, const MetaOutputs::AdmissionAnswer& answer);
  void OnLeaseAnswer(Node& node, const LeaseAnswer& answer);
  // As a leader has it that begins to act.
  absl::Duration LeaderClock(const Node& node) const;
  Node* Find(const Members& members, NodeId id);
  void CheckGone(NodeLife life);
  void Storm();
  void Calm();
  void CheckEnd();

  const LeasesSimOptions options_;
  LeaseOptions leases_;
  base::Rng rng_;
  bool stormy_ = true;
  double loss_ = 0;
  support::EventQueue<uint64_t> events_;  // In milliseconds.
  std::vector<std::unique_ptr<Node>> nodes_;
  std::set<std::pair<uint32_t, uint32_t>> blocked_;
  std::set<NodeLife> gone_;
  uint64_t last_token_ = 0;
  std::map<uint64_t, std::pair<uint32_t, uint64_t>> tokens_;  // Whose admission: node and life.
  std::map<uint64_t, std::string> states_;                    // Of the meta group, by index.
  std::string failure_;
  uint64_t granted_ = 0;
  uint64_t leaders_ = 0;
  uint64_t pauses_ = 0;
};

}  // namespace cluster

#endif  // TESTS_CLUSTER_CORE_LEASES_SIM_H_
