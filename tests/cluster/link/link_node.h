// A node's end of links in a test: what it is told is kept, and can be waited for.
#ifndef TESTS_CLUSTER_LINK_LINK_NODE_H_
#define TESTS_CLUSTER_LINK_LINK_NODE_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "cluster/link/links.h"
#include "mqttd/cluster/v1/link.pb.h"
#include "tests/support/patience.h"

namespace cluster {

class LinkNode final : public LinkHandler {
 public:
  using AdminRequest = ::mqttd::cluster::v1::AdminRequest;
  using AdminResponse = ::mqttd::cluster::v1::AdminResponse;
  using View = ::mqttd::cluster::v1::BootstrapView;
  using JoinRequest = ::mqttd::cluster::v1::JoinRequest;
  using JoinResponse = ::mqttd::cluster::v1::JoinResponse;

  // `host`: another than 127.0.0.NUMBER, or one with a port.
  explicit LinkNode(uint16_t number, LinkOptions options = {}, const std::string& host = "")
      : number_(number) {
    options.listen = host.empty() ? absl::StrCat("127.0.0.", number) : host;
    if (!absl::StrContains(options.listen, ":")) options.listen += ":0";
    absl::StatusOr<std::unique_ptr<Links>> started =
        Links::Start(std::move(options), *this, base::RealClock::Get());
    CHECK(started.ok()) << started.status().ToString();
    links_ = *std::move(started);
  }
  ~LinkNode() override { links_->Stop(); }

  Links& links() { return *links_; }
  NodeId id() const { return NodeId(number_); }
  const std::string& address() const { return links_->address(); }

  // Each knows the others, as incarnation 1, at their own addresses or at those of `reached_at`.
  static void Introduce(const std::vector<LinkNode*>& nodes,
                        const std::map<NodeId, std::string>& reached_at = {}) {
    for (LinkNode* const node : nodes) {
      std::map<NodeId, std::string> peers;
      for (LinkNode* const other : nodes) {
        node->door.nodes[other->id()] = {absl::StrCat("u", other->number_), Incarnation(1),
                                         Incarnation(0)};
        if (other == node) continue;
        const auto at = reached_at.find(other->id());
        peers[other->id()] = at == reached_at.end() ? other->address() : at->second;
      }
      node->door.cluster_id = "C";
      node->door.self = {node->id(), Incarnation(1)};
      node->door.uuid = absl::StrCat("u", node->number_);
      node->door.release = "test";
      node->links().SetDoor(node->door);
      node->links().SetPeers(peers);
    }
  }
  Door door;
  // Set before it is asked.
  std::function<void(const View&, std::function<void(const View&)>)> on_meet;
  std::function<void(const JoinRequest&, std::function<void(const JoinResponse&)>)> on_join;
  std::function<void(const AdminRequest&, std::function<void(const AdminResponse&)>)> on_admin;

  // False: it takes what comes, and says so only when it is true again.
  void SetTaking(bool taking) {
    std::vector<ReceivedFrame> held;
    {
      base::MutexLock lock(mutex_);
      taking_ = taking;
      if (taking) held = std::exchange(held_, {});
    }
    for (ReceivedFrame& frame : held) frame.Took();
  }

  bool WaitUp(NodeId peer) {
    return Wait([&] { return up_[peer]; });
  }
  bool WaitDown(NodeId peer) {
    return Wait([&] { return !up_[peer]; });
  }
  bool WaitLifeOver(Incarnation through) {
    return Wait([&] { return over_through_ == through; });
  }
  bool WaitTimesUp(int times) {
    return Wait([&] { return times_up_ >= times; });
  }
  bool WaitRooms(int rooms) {
    return Wait([&] { return rooms_ >= rooms; });
  }
  // All that came, when there are so many.
  std::vector<std::string> WaitItems(NodeId from, LinkClass link_class, size_t count) {
    std::vector<std::string> items;
    Wait([&] {
      items = items_[{from, link_class}];
      return items.size() >= count;
    });
    return items;
  }
  // Until what the links say of the peer is so.
  bool WaitReport(NodeId peer, const std::function<bool(const PeerReport&)>& holds) {
    return Wait([&] { return holds(Report(peer)); });
  }
  PeerReport Report(NodeId peer) const {
    for (PeerReport& report : links_->Report()) {
      if (report.node == peer) return report;
    }
    return {};
  }
  bool IsUp(NodeId peer) {
    base::MutexLock lock(mutex_);
    return up_[peer];
  }
  int rooms() {
    base::MutexLock lock(mutex_);
    return rooms_;
  }

  // As a producer does that may wait.
  bool SendAll(NodeId to, LinkClass link_class, const std::vector<std::string>& items) {
    for (const std::string& item : items) {
      while (true) {
        const int before = rooms();
        const LinkSend sent = links_->Send(to, link_class, item);
        if (sent == LinkSend::kQueued) break;
        if (sent != LinkSend::kFull || !WaitRooms(before + 1)) return false;
      }
    }
    return true;
  }

  void OnUp(NodeLife peer) override {
    Note([&] {
      up_[peer.node] = true;
      ++times_up_;
    });
  }
  void OnDown(NodeId peer, const std::string&) override {
    Note([&] { up_[peer] = false; });
  }
  void OnLifeOver(Incarnation through) override {
    Note([&] { over_through_ = through; });
  }
  void OnRoom(NodeId, LinkClass) override {
    Note([&] { ++rooms_; });
  }
  void OnFrame(ReceivedFrame frame) override {
    bool taking = true;
    Note([&] {
      auto& items = items_[{frame.from().node, frame.link_class()}];
      for (size_t i = 0; i < frame.size(); ++i) items.emplace_back(frame[i]);
      taking = taking_;
      if (!taking) held_.push_back(std::move(frame));
    });
    if (taking) frame.Took();
  }
  void OnMeet(const View& view, std::function<void(const View&)> answer) override {
    if (on_meet) on_meet(view, std::move(answer));
  }
  void OnJoin(const JoinRequest& request,
              std::function<void(const JoinResponse&)> answer) override {
    if (on_join) on_join(request, std::move(answer));
  }
  void OnAdmin(const AdminRequest& request,
               std::function<void(const AdminResponse&)> answer) override {
    if (on_admin) on_admin(request, std::move(answer));
  }

 private:
  // Runs under the lock. False: it never came to that. Looks again now and then, for reports change
  // without a word.
  bool Wait(const std::function<bool()>& holds) {
    const absl::Duration end =
        base::RealClock::Get().Monotonic() + absl::Seconds(20) * support::TestSlowdown();
    base::MutexLock lock(mutex_);
    while (!holds()) {
      if (base::RealClock::Get().Monotonic() > end) return false;
      changed_.WaitFor(mutex_, absl::Milliseconds(20));
    }
    return true;
  }
  void Note(const std::function<void()>& change) {
    base::MutexLock lock(mutex_);
    change();
    changed_.SignalAll();
  }

  const uint16_t number_;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::map<NodeId, bool> up_;
  Incarnation over_through_;
  int times_up_ = 0;
  int rooms_ = 0;
  std::map<std::pair<NodeId, LinkClass>, std::vector<std::string>> items_;
  bool taking_ = true;
  std::vector<ReceivedFrame> held_;
  std::unique_ptr<Links> links_;
};

}  // namespace cluster

#endif  // TESTS_CLUSTER_LINK_LINK_NODE_H_
