// The links between the simulated nodes: what cluster::Links is over gRPC.
#ifndef TESTS_CLUSTER_SIM_NETWORK_H_
#define TESTS_CLUSTER_SIM_NETWORK_H_

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "cluster/core/members.h"
#include "cluster/link/links.h"
#include "tests/broker/shard/agenda.h"
#include "tests/cluster/sim/journal.h"

namespace simulator {

using cluster::Incarnation;
using cluster::LinkClass;
using cluster::LinkSend;
using cluster::NodeId;
using cluster::NodeLife;

// One end of the network: a process that runs.
class Station {
 public:
  virtual ~Station() = default;

  // As which life it calls others, and answers them.
  virtual NodeLife life() const = 0;
  // What its door knows.
  virtual const cluster::Members& known() const = 0;

  // It is stopped for now: it answers nobody.
  virtual bool stands_still() const = 0;

  // Says Network::NoteToldUp when it knows.
  virtual void OnUp(NodeLife peer, uint64_t link) = 0;
  virtual void OnDown(NodeId peer) = 0;
  virtual void OnRoom(NodeId peer) = 0;
  virtual void OnLifeOver(Incarnation through) = 0;
  virtual void OnFrame(cluster::ReceivedFrame frame) = 0;
};

// A link goes one way; there are two between any two nodes, and each lives and dies by itself. As
// the real ones: what is sent comes in order, for each class, or the link is over; a later link has
// a greater number, and when it is there nothing of the earlier one comes any more.
class Network {
 public:
  Network(sim::Agenda& agenda, const Journal& journal, base::Rng rng);

  // From here on it calls the others, and is called. Null: nobody is there any more. What a process
  // has sent that dies may still come; nothing comes from a machine without power.
  void SetStation(NodeId node, Station* station, bool silently = false);
  // The node's members have changed: links of lives that have ended are closed.
  void LookAtDoors(NodeId node);
  // It has begun another life: all its links are those of the former.
  void RenewLinksOf(NodeId node);

  // The sender has heard of the link, and of the end of the one before: from here on it sends.
  void NoteToldUp(NodeId from, NodeId to, uint64_t link) {
    Way& way = WayOf(from, to);
    way.told_up = way.told_up || way.number == link;
  }
  LinkSend Send(NodeId from, NodeId to, LinkClass link_class, std::string_view item);
  // A call beside the links: `serve` on the other machine, if it is reached. Answers the same way.
  void Call(NodeId from, NodeId to, std::function<void(Station&)> serve);

  // ---- Weather.
  // Nothing gets through in that direction; a link to which that happens dies after a while.
  void Block(NodeId from, NodeId to, bool blocked);
  // The link breaks, with what is under way.
  void Break(NodeId from, NodeId to);
  void SetLatency(absl::Duration least, absl::Duration most) {
    latency_least_ = least;
    latency_most_ = most;
  }

 private:
  struct Stream {
    std::deque<std::string> items;
    bool planned = false;
    int64_t last_ns = 0;  // When the last frame comes.
    bool wants_room = false;
  };
  struct Way {
    bool up = false;
    bool told_up = false;
    bool blocked = false;
    bool trying = false;
    int64_t blocked_since_ns = 0;
    uint64_t number = 0;
    NodeLife from;  // Of the link that is up, or was last.
    NodeLife to;
    std::array<Stream, cluster::kLinkClasses> streams;
  };
  using Key = std::pair<NodeId, NodeId>;

  Way& WayOf(NodeId from, NodeId to) { return ways_[{from, to}]; }
  Station* Find(NodeId node) const;
  absl::Duration Latency();
  void Try(Key key);
  void Connect(Key key);
  void PlanDelivery(Key key, size_t link_class);
  void Deliver(Key key, size_t link_class, uint64_t number);
  void End(Key key, bool sender_hears);

  sim::Agenda& agenda_;
  const Journal& journal_;
  base::Rng rng_;
  absl::Duration latency_least_ = absl::Microseconds(50);
  absl::Duration latency_most_ = absl::Milliseconds(1);
  const size_t traffic_items_max_;
  std::map<NodeId, Station*> stations_;
  std::map<Key, Way> ways_;
  uint64_t last_number_ = 0;
};

// A node's own view of it.
class StationLinks final : public cluster::Links {
 public:
  StationLinks(Network& network, NodeId self) : network_(network), self_(self) {}

  LinkSend DoSend(NodeId to, LinkClass link_class, std::string_view item, bool /*more*/) override {
    return network_.Send(self_, to, link_class, item);
  }
  bool IsFull(NodeId, LinkClass) const override { return false; }
  void SetDoor(cluster::Door) override {}
  void SetPeers(std::map<NodeId, std::string>) override {}
  void Meet(const std::string&, const ::mqttd::cluster::v1::BootstrapView&, absl::Duration,
            std::function<void(absl::StatusOr<::mqttd::cluster::v1::BootstrapView>)>) override {}
  void Join(const std::string&, const ::mqttd::cluster::v1::JoinRequest&, absl::Duration,
            std::function<void(absl::StatusOr<::mqttd::cluster::v1::JoinResponse>)>) override {}
  void Admin(NodeId, const ::mqttd::cluster::v1::AdminRequest&, absl::Duration,
             std::function<void(absl::StatusOr<::mqttd::cluster::v1::AdminResponse>)>) override {}
  std::vector<cluster::PeerReport> Report() const override { return {}; }
  const std::string& address() const override { return address_; }
  void Stop() override {}

 private:
  Network& network_;
  const NodeId self_;
  const std::string address_;
};

}  // namespace simulator

#endif  // TESTS_CLUSTER_SIM_NETWORK_H_
