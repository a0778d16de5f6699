// The traffic between nodes over real links on loopback, which are cut and come back.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mutex.h"
#include "cluster/link/links.h"
#include "cluster/traffic/traffic.h"
#include "tests/cluster/traffic/traffic_sim.h"
#include "tests/support/patience.h"

namespace cluster::sim {
namespace {

// Hands what the links tell to the traffic of the node, once that is there.
class Dispatch final : public LinkHandler {
 public:
  void SetTraffic(Traffic& traffic) {
    base::MutexLock lock(mutex_);
    traffic_ = &traffic;
  }

  void OnUp(NodeLife peer) override { traffic().OnUp(peer); }
  void OnDown(NodeId peer, const std::string&) override { traffic().OnDown(peer); }
  void OnRoom(NodeId peer, LinkClass) override { traffic().OnRoom(peer); }
  void OnFrame(ReceivedFrame frame) override { traffic().OnFrame(std::move(frame)); }

 private:
  Traffic& traffic() {
    base::MutexLock lock(mutex_);
    return *traffic_;
  }

  base::Mutex mutex_;
  Traffic* traffic_ ABSL_GUARDED_BY(mutex_) = nullptr;
};

// The nodes' turns are taken here, and what comes meanwhile comes on threads of the links.
class RealWorld final : public World {
 public:
  RealWorld(uint64_t seed, uint16_t count) : World(seed, count) { StartAll(); }
  ~RealWorld() override {
    for (auto& [id, end] : ends_) end.links->Stop();
    nodes.clear();
  }

  // Something is done until some of it has come to its end over the links, if that is possible as
  // they are.
  void Go() {
    const uint64_t confirmed = confirmations + 5;
    const uint64_t done = requests_done + 30;
    const absl::Duration end = Now() + absl::Milliseconds(300);
    while ((confirmations < confirmed || requests_done < done) && Now() < end) {
      for (int i = 0; i < 20; ++i) Act(rng.Below(975));
    }
  }
  // A link is cut, with all that is on its way, or may be made again; or a node dies or comes back.
  void Disturb() {
    if (rng.Chance(0.2)) return Act(975 + rng.Below(25));
    const NodeId a = AnyNode();
    const NodeId b = AnyNode();
    if (a == b || !nodes.contains(a)) return;
    if (cut_.erase({a, b}) == 0) cut_.insert({a, b});
    SetPeers(a);
  }

  bool Heal() {
    cut_.clear();
    SetRight();
    Introduce();
    const absl::Duration end = Now() + absl::Seconds(30) * support::TestSlowdown();
    while (!IsQuiet()) {
      if (Now() > end) return false;
      SettleAll();
    }
    return true;
  }

 private:
  struct End {
    std::unique_ptr<Dispatch> dispatch;
    std::unique_ptr<Links> links;
    NodeLife life;
  };

  static absl::Duration Now() { return base::RealClock::Get().Monotonic(); }

  Links& StartLinks(NodeLife life) override {
    End& end = ends_[life.node];
    end.dispatch = std::make_unique<Dispatch>();
    end.life = life;
    LinkOptions link_options;
    link_options.listen = absl::StrCat("127.0.0.", life.node.value(), ":0");
    link_options.retry_first = absl::Milliseconds(1);
    link_options.retry_most = absl::Milliseconds(20);
    link_options.limits[static_cast<size_t>(LinkClass::kTraffic)] = {.items = 20, .bytes = 5000};
    auto started = Links::Start(link_options, *end.dispatch, base::RealClock::Get());
    CHECK(started.ok()) << started.status();
    end.links = *std::move(started);
    return *end.links;
  }
  void LinksStarted(Node& node) override {
    ends_[node.life.node].dispatch->SetTraffic(node.traffic);
    Introduce();
  }
  void StopLinks(NodeId node) override {
    ends_[node].links->Stop();
    ends_.erase(node);
  }

  void Introduce() {
    for (auto& [id, end] : ends_) {
      Door door;
      door.cluster_id = "C";
      door.self = end.life;
      door.uuid = absl::StrCat("u", id.value());
      door.release = "test";
      for (const auto& [other, life] : lives) {
        door.nodes[other] = {absl::StrCat("u", other.value()), life, Incarnation(life.value() - 1)};
      }
      end.links->SetDoor(door);
      SetPeers(id);
    }
  }
  void SetPeers(NodeId id) {
    std::map<NodeId, std::string> peers;
    for (const auto& [other, end] : ends_) {
      if (other != id && !cut_.contains({id, other})) peers[other] = end.links->address();
    }
    ends_[id].links->SetPeers(peers);
  }

  std::map<NodeId, End> ends_;
  std::set<std::pair<NodeId, NodeId>> cut_;
};

TEST(TrafficOverLinks, LosesNothingWhileLinksAreCutAndNodesDie) {
  CHECK(base::ConfigureLog({.level = base::LogLevel::kError}).ok());
  for (uint64_t seed = 1; seed <= 3; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    RealWorld world(seed, static_cast<uint16_t>(2 + seed % 2));
    for (int round = 0; round < 20 && !testing::Test::HasFailure(); ++round) {
      world.Go();
      world.Disturb();
    }
    ASSERT_FALSE(testing::Test::HasFailure());
    EXPECT_TRUE(world.Heal());
    world.ExpectAllIsWell();
    ASSERT_FALSE(testing::Test::HasFailure());
    EXPECT_GT(world.forwarded, 100u);
    EXPECT_GT(world.confirmations, 5u);
    EXPECT_GT(world.requests_done, 50u);
  }
}

}  // namespace
}  // namespace cluster::sim
