// Links of several nodes in one thread: what is under way moves when the test says so, and breaks.
#ifndef TESTS_CLUSTER_TRAFFIC_FAKE_NET_H_
#define TESTS_CLUSTER_TRAFFIC_FAKE_NET_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "cluster/link/links.h"
#include "cluster/traffic/traffic.h"

namespace cluster {

// What goes from one node to another. As the real ones: items in order, or the link is over; a
// greater number for each link; a bound, and OnRoom; OnDown and OnUp in turns, later than it is so.
struct FakeLink {
  bool wanted = true;  // There is a network.
  bool up = false;     // And somebody to send has heard of it.
  bool down_untold = false;
  uint64_t number = 0;
  std::deque<std::string> items;
  bool wants_room = false;
  std::vector<ReceivedFrame> late;  // By a link that is over; a thread has it in its hands.
};

class FakeNet {
 public:
  explicit FakeNet(size_t items_max) : items_max_(items_max) {}

  using Key = std::pair<NodeId, NodeId>;  // From, to.

  struct End {
    NodeLife life;
    Traffic* traffic = nullptr;
  };
  // Null: it is dead.
  void SetEnd(NodeId node, NodeLife life, Traffic* traffic) { ends_[node] = {life, traffic}; }

  LinkSend Send(NodeId from, NodeId to, std::string_view item) {
    FakeLink& link = links_[{from, to}];
    if (!link.up) return LinkSend::kDown;
    if (link.items.size() >= items_max_) {
      link.wants_room = true;
      return LinkSend::kFull;
    }
    link.items.emplace_back(item);
    most_under_way = std::max(most_under_way, link.items.size());
    return LinkSend::kQueued;
  }

  // Some items arrive. False: there were none, or nobody is there.
  bool Deliver(NodeId from, NodeId to, size_t count) {
    FakeLink& link = links_[{from, to}];
    const End& end = ends_[to];
    if (link.items.empty() || end.traffic == nullptr) return false;
    ReceivedFrame frame = Frame(from, link, count);
    end.traffic->OnFrame(std::move(frame));
    if (link.wants_room && link.items.size() <= items_max_ / 2) {
      link.wants_room = false;
      if (ends_[from].traffic != nullptr) ends_[from].traffic->OnRoom(to);
    }
    return true;
  }

  // What is under way is lost, but for a frame that is being handed over at this moment.
  void Cut(NodeId from, NodeId to, base::Rng& rng) {
    FakeLink& link = links_[{from, to}];
    if (!link.up) return;
    if (!link.items.empty() && rng.Chance(0.3)) link.late.push_back(Frame(from, link, 3));
    link.items.clear();
    link.wants_room = false;
    link.up = false;
    link.down_untold = true;
  }
  // It is told of what has become of the link, or connects again.
  void Tend(NodeId from, NodeId to) {
    FakeLink& link = links_[{from, to}];
    const End& end = ends_[from];
    if (end.traffic == nullptr) return;
    if (link.down_untold) {
      link.down_untold = false;
      end.traffic->OnDown(to);
    } else if (!link.up && link.wanted && ends_[to].traffic != nullptr) {
      link.up = true;
      link.number = ++last_number_;
      end.traffic->OnUp(ends_[to].life);
    }
  }
  void DeliverLate(NodeId from, NodeId to) {
    FakeLink& link = links_[{from, to}];
    if (link.late.empty() || ends_[to].traffic == nullptr) return;
    ReceivedFrame frame = std::move(link.late.front());
    link.late.erase(link.late.begin());
    ends_[to].traffic->OnFrame(std::move(frame));
  }
  // The node is dead, and what was in its hands with it.
  void Bury(NodeId node, base::Rng& rng) {
    for (auto& [key, link] : links_) {
      if (key.first != node && key.second != node) continue;
      Cut(key.first, key.second, rng);
      if (key.second == node) link.late.clear();
      if (key.first == node) link.down_untold = false;
    }
    ends_[node] = {};
  }
  FakeLink& link(NodeId from, NodeId to) { return links_[{from, to}]; }

  size_t most_under_way = 0;

 private:
  ReceivedFrame Frame(NodeId from, FakeLink& link, size_t count) {
    std::string bytes;
    std::vector<ItemPlace> places;
    for (; count > 0 && !link.items.empty(); --count) {
      places.push_back({bytes.size(), link.items.front().size()});
      bytes += link.items.front();
      link.items.pop_front();
    }
    return {LinkClass::kTraffic, ends_[from].life,  link.number,
            std::move(bytes),    std::move(places), {}};
  }

  const size_t items_max_;
  std::map<Key, FakeLink> links_;
  std::map<NodeId, End> ends_;
  uint64_t last_number_ = 0;
};

class FakeLinks final : public Links {
 public:
  FakeLinks(FakeNet& net, NodeId self) : net_(net), self_(self) {}

  LinkSend DoSend(NodeId to, LinkClass, std::string_view item, bool /*more*/) override {
    return net_.Send(self_, to, item);
  }
  bool IsFull(NodeId, LinkClass) const override { return false; }
  void SetDoor(Door) override {}
  void SetPeers(std::map<NodeId, std::string>) override {}
  void Meet(const std::string&, const ::mqttd::cluster::v1::BootstrapView&, absl::Duration,
            std::function<void(absl::StatusOr<::mqttd::cluster::v1::BootstrapView>)>) override {}
  void Join(const std::string&, const ::mqttd::cluster::v1::JoinRequest&, absl::Duration,
            std::function<void(absl::StatusOr<::mqttd::cluster::v1::JoinResponse>)>) override {}
  void Admin(NodeId, const ::mqttd::cluster::v1::AdminRequest&, absl::Duration,
             std::function<void(absl::StatusOr<::mqttd::cluster::v1::AdminResponse>)>) override {}
  std::vector<PeerReport> Report() const override { return {}; }
  const std::string& address() const override { return address_; }
  void Stop() override {}

 private:
  FakeNet& net_;
  const NodeId self_;
  const std::string address_;
};

}  // namespace cluster

#endif  // TESTS_CLUSTER_TRAFFIC_FAKE_NET_H_
