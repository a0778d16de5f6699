// Nodes with real Raft groups in one thread, on virtual time, from a seed: a network that loses,
// repeats and delays, disks that forget and fail, machines that crash. What must hold is checked
// while it runs.
#ifndef TESTS_CLUSTER_RAFT_SIM_H_
#define TESTS_CLUSTER_RAFT_SIM_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "cluster/raft/raft_loop.h"
#include "tests/cluster/memory_entry_store.h"
#include "tests/support/event_queue.h"

namespace cluster {

struct RaftSimOptions {
  uint64_t seed = 0;
  uint32_t nodes = 3;
  uint32_t spares = 0;  // More of them, for changes of the members.
  uint32_t groups = 2;
  uint64_t stormy_ms = 8'000;  // Then all is well, and what must hold at the end is looked at.
  uint64_t calm_ms = 12'000;
  uint64_t drain_ms = 4'000;  // The end of the calm: nothing is asked for any more.
  double loss = 0.05;
  double crashes_per_second = 0.5;
  double partitions_per_second = 0.5;
  double proposals_per_second = 100;
  bool explain = false;  // Says on stderr what happens.
};

class RaftSim {
 public:
  explicit RaftSim(RaftSimOptions options);
  ~RaftSim();

  // Words about the first promise that was broken; empty: none was.
  std::string Run();

  // Of all that happened, in its order.
  uint64_t trace() const { return trace_; }
  uint64_t committed() const { return committed_; }
  uint64_t crashes() const { return crashes_; }
  uint64_t snapshots() const { return snapshots_; }
  uint64_t reads() const { return reads_; }
  uint64_t elections() const { return elections_; }
  uint64_t member_changes() const { return member_changes_; }

 private:
  // What a replica has applied: a chain of hashes over all entries.
  struct State {
    Place applied = kGroupBegin;
    uint64_t chain = 0;
    ConfState conf_state;
    uint64_t members_at = kGroupBegin.index;
  };
  struct Replica {
    ReplicaId id = 0;  // The node's number, and 16 for each time that it was removed.
    State state;
    State flushed;
    bool leads = false;
    std::map<uint64_t, uint64_t> proposed;  // Number -> payload; those without a fate.
    struct Barrier {
      uint64_t least = 0;      // Index to be told.
      bool of_leader = false;  // Asked where the group was led: answered when it is no more.
    };
    std::map<uint64_t, Barrier> barriers;  // By ticket.
  };
  struct Node;
  // What is true of a group, whoever says it.
  struct Truth {
    std::map<uint64_t, uint64_t> chains;    // By index.
    std::map<uint64_t, ReplicaId> leaders;  // By term.
    std::set<uint64_t> committed;           // Payloads.
    std::set<uint64_t> never;               // Payloads that were said to be in no log.
    std::set<ReplicaId> gone;               // Members once, and never again under that number.
    std::map<uint64_t, ConfState> members;  // By index.
    uint64_t last = kGroupBegin.index;
    uint64_t acknowledged = 0;  // Greatest index that a leader was told of as its own.
    uint64_t acknowledged_in_storm = 0;
  };

  void After(uint64_t delay_ms, std::function<void()> run);
  void Fail(const std::string& words);
  void Note(const Node& node, std::string_view what, uint64_t a = 0, uint64_t b = 0,
            uint64_t c = 0);
  void Start(Node& node);
  void Crash(Node& node);
  void TickNode(Node& node, uint64_t life);
  void Pump(Node& node);
  void OnEvent(Node& node, LogEvent& event);
  void OnCommitted(Node& node, const Committed& committed);
  void Apply(Node& node, GroupId group, const CommittedEntry& entry);
  void OnFate(Node& node, const NotCommitted& fate);
  void OnRole(Node& node, const RoleChange& change);
  void Install(Node& node, const InstallSnapshot& snapshot);
  void Offer(Node& node, GroupId group);
  void Send(Node& from, RaftLoop::Message message);
  void BeginWrite(Node& node);
  void EndWrite(Node& node, uint64_t life, RaftLoop::Write write);
  void OnMembers(Node& node, const MembersChanged& change);
  void Renew(Node& node, GroupId group);
  void ChangeMembers(GroupId group);
  void Client();
  void Storm();
  void Calm();
  void CheckEnd();
  Node* RandomUp();

  const RaftSimOptions options_;
  base::Rng rng_;
  base::Rng disk_rng_;
  base::Rng net_rng_;
  uint64_t trace_ = 0;
  bool stormy_ = true;
  bool clients_ = true;
  support::EventQueue<uint64_t> events_;  // In milliseconds.
  std::vector<std::unique_ptr<Node>> nodes_;
  std::set<std::pair<uint32_t, uint32_t>> blocked_;  // From, to.
  std::map<GroupId, Truth> truths_;
  uint64_t last_payload_ = 0;
  uint64_t last_number_ = 0;
  std::string failure_;
  uint64_t committed_ = 0;
  uint64_t crashes_ = 0;
  uint64_t snapshots_ = 0;
  uint64_t reads_ = 0;
  uint64_t elections_ = 0;
  uint64_t member_changes_ = 0;
};

}  // namespace cluster

#endif  // TESTS_CLUSTER_RAFT_SIM_H_
