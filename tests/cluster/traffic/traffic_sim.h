// Several nodes with their shards and partition hosts, as far as the traffic between them knows of
// these. Their turns are taken by one thread, in an order that chance decides; links may have
// others.
#ifndef TESTS_CLUSTER_TRAFFIC_TRAFFIC_SIM_H_
#define TESTS_CLUSTER_TRAFFIC_TRAFFIC_SIM_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <variant>
#include <vector>

#include "base/mutex.h"
#include "base/rng.h"
#include "broker/shard/shard_task.h"
#include "cluster/traffic/traffic.h"
#include "storage/core/request_streams.h"
#include "tests/cluster/traffic/fake_net.h"

namespace cluster::sim {

inline constexpr uint32_t kPartitions = 4;  // A power of two.
inline constexpr storage::ShardId kShards = 2;

class World;
class Node;

// Messages from a shard of one life of a node to another life of a node.
struct Flow {
  std::vector<uint64_t> sent;  // Sequence numbers of those above QoS 0.
  size_t received = 0;         // Of them.
  uint64_t last = 0;           // Sequence number that came last, of any QoS.
  uint64_t forwarded = 0;      // Of any QoS, dropped ones too.
  uint64_t has = 0;            // The sender has heard that those above QoS 0 up to it are there.
};
using FlowKey = std::tuple<NodeLife, storage::ShardId, NodeLife>;

// A broker's shard: subscribes, publishes, asks, and holds what it hears against what is so.
class Shard {
 public:
  Shard(World& world, Node& node, storage::ShardId id);

  void Turn();
  void Settle();  // Takes all that there is, and begins nothing.
  base::Mutex mail_mutex;
  std::deque<broker::ShardTask> mailbox ABSL_GUARDED_BY(mail_mutex);

  // What it wants, by filter, and the number of the announcement that said so.
  std::map<std::string, std::pair<broker::Wanted, uint64_t>> wants;
  uint64_t announced = 0;
  uint64_t confirmed = 0;
  // Of `$share` groups that its client is in, likewise.
  std::map<std::string, std::pair<mqtt::SubscriptionOptions, uint64_t>> joined;
  struct OfNode {
    std::set<std::string> keys;
    // By shard and filter: their options, and in which telling of all it was told.
    std::map<std::string, std::pair<mqtt::SubscriptionOptions, uint32_t>> members;
    uint32_t telling = 0;
    bool stale = false;
    NodeLife life;
    bool was_whole = false;
  };
  std::map<uint32_t, OfNode> routes;  // By place.
  storage::ShardId id() const { return id_; }
  size_t kept() const { return streams_.kept(); }
  bool paused() const { return !paused_.empty(); }

 private:
  void TakeMail(size_t count);
  void Take(broker::ShardTask& task);
  void Take(storage::Event& event);
  void TellTaken();
  void Subscribe();
  void Join();
  void ExpectMembersOf(const Node& other, std::optional<uint32_t> place);
  void Publish();
  void Ask();

  World& world_;
  Node& node_;
  const storage::ShardId id_;
  std::set<uint32_t> paused_;
  std::deque<std::pair<uint32_t, uint64_t>> routes_to_confirm_;
  std::map<uint32_t, uint64_t> to_tell_;  // Messages taken, by place.
  uint64_t published_ = 0;
  const uint32_t partitions_ = kPartitions;
  storage::RequestStreams streams_{partitions_};
  std::map<storage::PartitionId, uint64_t> asked_;
  std::map<storage::PartitionId, uint64_t> acked_;
  std::map<storage::PartitionId, std::set<uint64_t>> answered_;
};

// A partition host: leads some partitions, applies requests in order, answers each.
class Host {
 public:
  Host(World& world, Node& node) : world_(world), node_(node) {}

  struct Submitted {
    storage::ShardAddress from;
    std::vector<storage::Addressed> requests;
  };
  struct Resync {
    NodeId node;
    std::function<void()> begins;
  };
  struct Lead {
    storage::PartitionId partition = 0;
  };
  using Input = std::variant<Submitted, Resync, Lead>;
  void Post(Input input) {
    base::MutexLock lock(inbox_mutex_);
    inbox_.push_back(std::move(input));
  }

  void SetNodes(const std::map<NodeId, Incarnation>& others);
  void Turn();

 private:
  struct Asking {
    uint64_t life = 0;
    bool told = false;
  };
  using Address = std::tuple<NodeId, Incarnation, storage::ShardId>;

  void On(Submitted& submitted);
  void On(Resync& resync);
  void On(Lead& lead);
  void OnRequest(const Address& from, storage::Addressed& asked);
  void Ask(storage::PartitionId partition, NodeId node, Incarnation life);
  bool Leads(storage::PartitionId partition) const;

  World& world_;
  Node& node_;
  base::Mutex inbox_mutex_;
  std::deque<Input> inbox_ ABSL_GUARDED_BY(inbox_mutex_);
  std::map<NodeId, Incarnation> live_;  // This one too.
  std::map<std::pair<storage::PartitionId, Address>, Asking> asked_;
  std::map<Address, std::vector<storage::Event>> outbox_;
};

// One life of a node.
class Node final : public TrafficLocal {
 public:
  Node(World& world, NodeLife life, Links& links);

  void SetNodes(const std::map<NodeId, Incarnation>& all);

  void Submit(const storage::ShardAddress& from,
              std::vector<storage::Addressed> requests) override {
    host.Post(Host::Submitted{from, std::move(requests)});
  }
  void OnHostMessage(NodeLife, storage::HostMessage) override {}
  void Resync(NodeId node, std::function<void()> begins) override {
    host.Post(Host::Resync{node, std::move(begins)});
  }
  void Post(storage::ShardId shard,
            std::unique_ptr<base::Batch<broker::ShardTask>> tasks) override {
    base::MutexLock lock(shards[shard]->mail_mutex);
    for (broker::ShardTask& task : tasks->items) shards[shard]->mailbox.push_back(std::move(task));
  }

  const NodeLife life;
  std::vector<std::unique_ptr<Shard>> shards;
  Host host;
  Traffic traffic;
  std::map<NodeId, Incarnation> known;  // The others, as it was told.
};

class World {
 public:
  World(uint64_t seed, uint16_t count);
  virtual ~World() = default;

  // All is well when nobody waits, and everybody knows what everybody wants.
  bool IsQuiet();
  void ExpectAllIsWell();
  void ExpectHasWhatItSaid(const Node& node);

  base::Rng rng;
  TrafficOptions options;
  std::map<NodeId, std::unique_ptr<Node>> nodes;  // Those that live.
  std::map<NodeId, Incarnation> lives;            // The same, and the last of the others.
  std::map<storage::PartitionId, std::pair<NodeId, uint64_t>> leaders;  // And the term.
  std::map<std::tuple<storage::PartitionId, NodeId, Incarnation, storage::ShardId>, uint64_t>
      applied;
  std::map<FlowKey, Flow> flows;
  uint64_t asks = 0;
  // What was done, so that a test that does nothing fails.
  uint64_t forwarded = 0;
  uint64_t confirmations = 0;
  uint64_t requests_done = 0;
  uint64_t handed_back = 0;
  std::set<std::string> had;  // By members of groups.

  std::map<NodeId, Incarnation> Living() const;

 protected:
  // Another life of the node, over links of its own, and the end of one.
  virtual Links& StartLinks(NodeLife life) = 0;
  virtual void LinksStarted(Node& node) = 0;
  virtual void StopLinks(NodeId node) = 0;

  NodeId AnyNode();
  void Start(NodeId node);
  void Kill(NodeId node);
  void StartAll();
  // Something that is not about links. `what`: below 1000.
  void Act(uint64_t what);
  // Each partition is led, and everybody hears of everybody.
  void SetRight();
  void SettleAll();

  const uint16_t count_;

 private:
  void MoveLeader(storage::PartitionId partition);
};

// In one thread altogether, the same each time.
class FakeWorld final : public World {
 public:
  FakeWorld(uint64_t seed, uint16_t count) : World(seed, count), net(1 + rng.Below(60)) {
    StartAll();
  }

  void Step();
  // Links are made, everybody hears of everybody, and whatever is under way comes to its end.
  void Heal();

  FakeNet net;

 private:
  Links& StartLinks(NodeLife life) override;
  void LinksStarted(Node& node) override { net.SetEnd(node.life.node, node.life, &node.traffic); }
  void StopLinks(NodeId node) override { net.Bury(node, rng); }

  std::map<NodeId, std::unique_ptr<FakeLinks>> links_;
};

}  // namespace cluster::sim

#endif  // TESTS_CLUSTER_TRAFFIC_TRAFFIC_SIM_H_
