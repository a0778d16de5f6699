// A process of mqttd in the simulated cluster: from its start on a machine to its end.
#ifndef TESTS_CLUSTER_SIM_NODE_H_
#define TESTS_CLUSTER_SIM_NODE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "auth/core/method.h"
#include "base/rng.h"
#include "broker/shard/shard_core.h"
#include "cluster/link/early_frames.h"
#include "cluster/raft/hand_over.h"
#include "cluster/traffic/traffic.h"
#include "cluster/transport/raft_transport.h"
#include "tests/broker/shard/open_gate.h"
#include "tests/cluster/sim/host_driver.h"
#include "tests/cluster/sim/log_driver.h"
#include "tests/cluster/sim/machine.h"
#include "tests/cluster/sim/meta_driver.h"
#include "tests/cluster/sim/network.h"
#include "tests/cluster/sim/saboteur.h"
#include "tests/cluster/sim/shard_driver.h"

namespace simulator {

struct NodeOptions {
  storage::StorageOptions storage;
  broker::ShardOptions shards;
  broker::Limits limits;
  cluster::Members founded;  // As they are before anybody was admitted.
  Mutant mutant = Mutant::kNone;
  std::shared_ptr<Saboteur::Asked> asked = std::make_shared<Saboteur::Asked>();
};

// The decisions are the real ones (ShardCore, Host, RaftLoop, MetaNode, Traffic, RaftTransport);
// what stands beside them are the threads' turns, taken by one thread, on the machine's clock.
// What introduces them to each other follows node/clustered and cluster/membership.
class Node final : public Station, public cluster::TrafficLocal {
 public:
  // `given_up`: the others have declared this life over; the process is to be started again.
  Node(const NodeOptions& options, sim::Agenda& agenda, Machine& machine, Network& network,
       const Journal& journal, base::Rng rng, std::function<void()> given_up);
  ~Node() override;

  // A client connects. False: nobody listens.
  bool Accept(std::shared_ptr<sim::Line> line);
  // In the middle of whatever it does.
  void Die() { log_.Die(); }

  std::function<void(bool holds)> on_lease;
  std::function<void()> on_aside;
  // A node has yet to hear of a subscription that was acknowledged here without it.
  std::function<void(bool unaware)> on_unaware;

  bool serves() const { return accepting_; }
  bool holds_lease() const { return holds_lease_; }
  uint64_t elections() const { return log_.elections(); }
  HostDriver& host() { return host_; }
  const ShardDriver::Siblings& shards() const { return shards_; }

  // ---- Station
  NodeLife life() const override { return {machine_.id, meta_.incarnation()}; }
  const cluster::Members& known() const override { return meta_.members(); }
  bool stands_still() const override { return life_.stands_still(); }
  void OnUp(NodeLife peer, uint64_t link) override;
  void OnDown(NodeId peer) override;
  void OnRoom(NodeId peer) override;
  void OnLifeOver(Incarnation through) override;
  void OnFrame(cluster::ReceivedFrame frame) override;
  void OnJoin(const ::mqttd::cluster::v1::AdmitNode& node,
              std::function<void(MetaDriver::Answer)> answer);

  // ---- cluster::TrafficLocal
  void Submit(const storage::ShardAddress& from, std::vector<storage::Addressed> requests) override;
  void OnHostMessage(NodeLife from, storage::HostMessage message) override;
  void Resync(NodeId node, std::function<void()> begins) override;
  void Post(storage::ShardId shard, std::unique_ptr<base::Batch<broker::ShardTask>> tasks) override;

 private:
  struct Early {
    std::map<NodeId, NodeLife> up;
    std::map<NodeId, cluster::EarlyFrames> frames;
  };

  cluster::RaftTransport::Parts TransportParts();
  MetaDriver::Parts MetaParts();
  cluster::Members MembersAtStart() const;
  ::mqttd::cluster::v1::AdmitNode Self();
  void JoinGroups(const cluster::Members& members);
  void ShowReplicas(const cluster::Members& members);
  void OnMembers(const cluster::Members& members, uint64_t applied);
  void OnMetaEvents(std::vector<cluster::LogEvent> events);
  void OnLog(std::vector<storage::LogEvent> events);
  bool BeginLife(Incarnation incarnation);
  void OnEvents(const storage::ShardAddress& to, std::vector<storage::Event> events);
  void WatchLease();
  void BalanceLeaders();
  void OnAdmitted();
  void OnLease(bool holds);
  void SetClosed(bool closed, std::function<void()> done);
  void WatchUnaware();
  void StartShards();
  std::vector<storage::LiveNode> Others() const;

  const NodeOptions& options_;
  Machine& machine_;
  Network& network_;
  const Journal& journal_;
  base::Rng rng_;
  const std::function<void()> given_up_;
  Life life_;  // Before all that plans something.
  const bool was_member_;
  Saboteur saboteur_;
  StationLinks links_;
  cluster::HandOver hand_over_;
  LogDriver log_;
  cluster::RaftTransport transport_;
  HostDriver host_;
  MetaDriver meta_;
  std::vector<cluster::LogEvent> to_meta_;  // On their way.
  std::deque<cluster::Place> meta_places_;  // Of the meta group's entries that are not kept yet.

  NodeLife self_;
  broker::LeaseEnd lease_;
  bool holds_lease_ = false;
  bool others_unaware_ = false;
  bool over_ = false;
  bool accepting_ = false;
  std::unique_ptr<cluster::Traffic> traffic_;
  Early early_;

  auth::AuthMethodRegistry methods_;
  sim::NoUserLimits users_;
  const std::shared_ptr<sim::OpenGate> gate_ = std::make_shared<sim::OpenGate>();
  broker::ShardWorld world_;
  ShardDriver::Siblings shards_;
};

}  // namespace simulator

#endif  // TESTS_CLUSTER_SIM_NODE_H_
