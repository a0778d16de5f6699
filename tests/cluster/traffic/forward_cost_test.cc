// What it costs to forward a message of QoS 0 to another node, in processor time of both.
#include <gtest/gtest.h>

#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mutex.h"
#include "cluster/link/links.h"
#include "cluster/traffic/traffic.h"
#include "tests/support/cpu_cost.h"
#include "tests/support/patience.h"

namespace cluster {
namespace {

// A node with one shard, which does nothing with a message but take it.
class Node final : public TrafficLocal, public LinkHandler {
 public:
  explicit Node(uint16_t number) : life_{NodeId(number), Incarnation(1)} {
    LinkOptions options;
    options.listen = absl::StrCat("127.0.0.", number, ":0");
    auto started = Links::Start(options, *this, base::RealClock::Get());
    CHECK(started.ok()) << started.status();
    links_ = *std::move(started);
    traffic_ = std::make_unique<Traffic>(
        TrafficOptions{}, storage::LiveNode{life_.node, life_.incarnation, 1}, *links_, *this);
    shard_ = std::thread([this] { RunShard(); });
  }
  ~Node() override {
    links_->Stop();
    {
      base::MutexLock lock(mutex_);
      stopping_ = true;
      changed_.SignalAll();
    }
    shard_.join();
  }

  static void Introduce(Node& a, Node& b) {
    for (Node* const node : {&a, &b}) {
      Node& other = node == &a ? b : a;
      Door door;
      door.cluster_id = "C";
      door.self = node->life_;
      door.uuid = absl::StrCat("u", node->life_.node.value());
      for (Node* const known : {&a, &b}) {
        door.nodes[known->life_.node] = {absl::StrCat("u", known->life_.node.value()),
                                         Incarnation(1), Incarnation(0)};
      }
      node->links_->SetDoor(door);
      node->links_->SetPeers({{other.life_.node, other.links_->address()}});
      node->traffic_->SetNodes({{other.life_.node, other.life_.incarnation, 1}});
    }
  }

  // In turns of so many, as a busy shard does; returns when the other one has taken them.
  void Forward(Node& to, uint64_t messages, uint64_t in_turn) {
    const uint64_t before = to.taken_;
    mqtt::MessageParts parts;
    parts.topic = "a/topic/of/some/length";
    const std::string payload(100, 'x');
    parts.payload = payload;
    const broker::NodeMask mask = broker::NodeMask{1} << *traffic_->PlaceOf(to.life_.node);
    for (uint64_t sent = 0; sent < messages;) {
      broker::NodeMask behind = 0;
      for (uint64_t i = 0; i < in_turn && sent < messages; ++i, ++sent)
        behind |= traffic_->Forward(0, mask, parts, {});
      traffic_->Flush(0);
      if (behind == 0) continue;
      base::MutexLock lock(mutex_);
      while (!std::exchange(caught_up_, false)) changed_.Wait(mutex_);
    }
    base::MutexLock lock(to.mutex_);
    while (to.taken_ - before < messages) to.changed_.Wait(to.mutex_);
  }
  bool WaitUp() {
    base::MutexLock lock(mutex_);
    while (!up_) {
      if (!changed_.WaitFor(mutex_, absl::Seconds(20) * support::TestSlowdown())) return false;
    }
    return true;
  }

  void OnUp(NodeLife peer) override {
    traffic_->OnUp(peer);
    base::MutexLock lock(mutex_);
    up_ = true;
    changed_.SignalAll();
  }
  void OnDown(NodeId peer, const std::string&) override { traffic_->OnDown(peer); }
  void OnRoom(NodeId peer, LinkClass) override { traffic_->OnRoom(peer); }
  void OnFrame(ReceivedFrame frame) override { traffic_->OnFrame(std::move(frame)); }

  void Submit(const storage::ShardAddress&, std::vector<storage::Addressed>) override {}
  void OnHostMessage(NodeLife, storage::HostMessage) override {}
  void Resync(NodeId, std::function<void()>) override {}
  void Post(storage::ShardId, std::unique_ptr<base::Batch<broker::ShardTask>> tasks) override {
    base::MutexLock lock(mutex_);
    mail_.push_back(std::move(tasks));
    changed_.SignalAll();
  }

 private:
  void RunShard() {
    while (true) {
      std::deque<std::unique_ptr<base::Batch<broker::ShardTask>>> mail;
      {
        base::MutexLock lock(mutex_);
        while (mail_.empty() && !stopping_) changed_.Wait(mutex_);
        if (stopping_) return;
        mail.swap(mail_);
      }
      uint64_t messages = 0;
      uint32_t from = 0;
      bool caught_up = false;
      for (const auto& batch : mail) {
        for (const broker::ShardTask& task : batch->items) {
          if (const auto* const publish = std::get_if<broker::NodePublish>(&task)) {
            ++messages;
            from = publish->node;
          } else if (const auto* const routes = std::get_if<broker::NodeRoutes>(&task)) {
            traffic_->RoutesTaken(0, routes->node, routes->number);
          } else if (std::holds_alternative<broker::NodeCaughtUp>(task)) {
            caught_up = true;
          }
        }
      }
      if (messages != 0) traffic_->Taken(0, from, messages, 0);
      base::MutexLock lock(mutex_);
      taken_ += messages;
      caught_up_ = caught_up_ || caught_up;
      changed_.SignalAll();
    }
  }

  const NodeLife life_;
  base::Mutex mutex_;
  base::CondVar changed_;
  bool up_ ABSL_GUARDED_BY(mutex_) = false;
  bool caught_up_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::deque<std::unique_ptr<base::Batch<broker::ShardTask>>> mail_ ABSL_GUARDED_BY(mutex_);
  std::atomic<uint64_t> taken_ = 0;
  std::unique_ptr<Links> links_;
  std::unique_ptr<Traffic> traffic_;
  std::thread shard_;
};

TEST(ForwardCost, AMessageToAnotherNodeIsCheapInABatch) {
  CHECK(base::ConfigureLog({.level = base::LogLevel::kError}).ok());
  constexpr uint64_t kMessages = 100'000;
  Node a(1);
  Node b(2);
  Node::Introduce(a, b);
  ASSERT_TRUE(a.WaitUp());
  a.Forward(b, 1000, 16);
  for (const uint64_t in_turn : {1, 16, 64}) {
    const double ns =
        support::CpuNsPerItem(kMessages, 3, [&] { a.Forward(b, kMessages, in_turn); });
    std::printf("%d in a turn: %.0f ns of both nodes for each\n", static_cast<int>(in_turn), ns);
    // Some 450 ns in a release build, and 950 alone.
    if (in_turn != 1) {
      EXPECT_LT(ns, 6000 * support::TestSlowdown());
    }
  }
}

}  // namespace
}  // namespace cluster
