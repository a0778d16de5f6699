#include "cluster/core/bootstrap.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/event_queue.h"

namespace cluster {
namespace {

using State = Bootstrap::State;
using testing::HasSubstr;
using testing::SizeIs;

// Nodes with disks and a network of questions and answers, on virtual time.
class World {
 public:
  struct Node {
    int number = 0;
    std::string address;
    BootstrapOptions options;
    Bootstrap::Identity disk;
    std::unique_ptr<Bootstrap> bootstrap;  // Null: it is off.
    uint64_t life = 0;
  };

  World(uint64_t seed, int nodes, uint32_t expected_size) : rng_(seed) {
    std::vector<std::string> seeds;
    for (int i = 0; i < nodes; ++i) seeds.push_back(AddressOf(i));
    for (int i = 0; i < nodes; ++i) {
      Node node{.number = i, .address = AddressOf(i)};
      node.options.address = node.address;
      node.options.seeds = seeds;
      node.options.expected_size = expected_size;
      nodes_.push_back(std::move(node));
      NewDisk(nodes_.back());
    }
  }

  static std::string AddressOf(int number) { return absl::StrCat("10.0.0.", number, ":1885"); }
  Node& operator[](int number) { return nodes_[static_cast<size_t>(number)]; }
  std::vector<Node>& nodes() { return nodes_; }
  absl::Duration now() const { return events_.now(); }
  base::Rng& rng() { return rng_; }

  double loss = 0;
  std::function<bool(int, int)> blocked = [](int, int) { return false; };

  void NewDisk(Node& node) {
    node.disk = {};
    node.options.uuid = absl::StrCat(absl::Hex(rng_(), absl::kZeroPad16));
  }
  void Start(Node& node) {
    ++node.life;
    node.options.start = rng_();
    node.bootstrap = std::make_unique<Bootstrap>(node.options, node.disk, rng_.Fork());
    Tick(node, node.life);
  }
  void StartAll() {
    for (Node& node : nodes_) Start(node);
  }
  void Stop(Node& node) {
    ++node.life;
    node.bootstrap = nullptr;
  }

  void After(absl::Duration delay, std::function<void()> run) {
    events_.After(delay, std::move(run));
  }
  void RunFor(absl::Duration time) { events_.RunUntil(now() + time); }

  // Clusters that members say they belong to, and how many of them.
  std::map<std::string, int> Clusters() const {
    std::map<std::string, int> clusters;
    for (const Node& node : nodes_) {
      if (!node.disk.cluster_id().empty()) ++clusters[node.disk.cluster_id()];
    }
    return clusters;
  }

 private:
  void Save(Node& node) {
    if (const auto identity = node.bootstrap->TakeWrite()) node.disk = *identity;
  }
  absl::Duration Delay() { return absl::Milliseconds(1 + rng_.Below(200)); }
  bool Lost(int from, int to) { return blocked(from, to) || rng_.Chance(loss); }

  void Tick(Node& node, uint64_t life) {
    if (node.life != life || node.bootstrap == nullptr) return;
    const auto asks = node.bootstrap->Tick(now());
    Save(node);
    for (const Bootstrap::Ask& ask : asks) {
      for (Node& other : nodes_) {
        if (other.address == ask.address) Send(node, other, ask);
      }
    }
    if (node.bootstrap->state() == State::kJoin) Join(node);
    After(absl::Milliseconds(50), [this, &node, life] { Tick(node, life); });
  }

  void Send(Node& from, Node& to, const Bootstrap::Ask& ask) {
    if (Lost(from.number, to.number)) return;
    After(Delay(), [this, &from, &to, ask, life = from.life] {
      if (to.bootstrap == nullptr) return;
      const Bootstrap::View answer = to.bootstrap->OnAsked(ask.view, now());
      Save(to);
      if (Lost(to.number, from.number)) return;
      After(Delay(), [this, &from, address = ask.address, number = ask.number, answer, life] {
        if (from.life != life || from.bootstrap == nullptr) return;
        from.bootstrap->OnAnswer(address, number, answer, now());
        Save(from);
      });
    });
  }

  // As the Join RPC would, if a majority of the founders is there.
  void Join(Node& node) {
    std::string cluster = node.bootstrap->join_cluster();
    int there = 0;
    int founders = 0;
    for (const Node& other : nodes_) {
      if (other.disk.cluster_id() != cluster || !other.disk.has_formation()) continue;
      founders = other.disk.formation().founders_size();
      if (other.bootstrap != nullptr && !blocked(node.number, other.number)) ++there;
    }
    if (2 * there <= founders) return;
    Bootstrap::Identity identity;
    identity.set_cluster_id(cluster);
    identity.set_node(100 + static_cast<uint32_t>(node.number));
    node.bootstrap->OnJoined(identity);
    Save(node);
  }

  base::Rng rng_;
  std::vector<Node> nodes_;
  support::EventQueue<absl::Duration> events_{absl::Seconds(100)};
};

TEST(Bootstrap, OneNodeThatExpectsNoOtherFoundsAtOnce) {
  Bootstrap bootstrap({.uuid = "a", .address = "a:1", .expected_size = 1}, {}, base::Rng(1));
  EXPECT_EQ(bootstrap.state(), State::kWaiting);
  bootstrap.Tick(absl::Seconds(1));
  EXPECT_EQ(bootstrap.state(), State::kMember);
  const auto written = bootstrap.TakeWrite();
  ASSERT_TRUE(written.has_value());
  EXPECT_EQ(written->node(), 1u);
  EXPECT_THAT(written->cluster_id(), SizeIs(36));
}

TEST(Bootstrap, NodesFoundOneClusterWhenAllThatAreExpectedAreThere) {
  World world(1, 3, 3);
  world.Start(world[0]);
  world.Start(world[1]);
  world.RunFor(absl::Seconds(60));
  EXPECT_THAT(world.Clusters(), SizeIs(0));
  EXPECT_THAT(world[0].bootstrap->why(), HasSubstr("waiting for 1 more of 3 nodes"));
  EXPECT_THAT(world[0].bootstrap->why(), HasSubstr("no answer from 10.0.0.2:1885"));
  world.Start(world[2]);
  world.RunFor(absl::Seconds(5));
  ASSERT_THAT(world.Clusters(), SizeIs(1));
  EXPECT_EQ(world.Clusters().begin()->second, 3);
  std::set<uint32_t> numbers;
  for (const World::Node& node : world.nodes()) numbers.insert(node.disk.node());
  EXPECT_THAT(numbers, testing::ElementsAre(1, 2, 3));
}

TEST(Bootstrap, NodesThatKnowOneSeedHearOfEachOther) {
  World world(1, 3, 3);
  for (World::Node& node : world.nodes()) node.options.seeds = {World::AddressOf(1)};
  world.StartAll();
  world.RunFor(absl::Seconds(10));
  ASSERT_THAT(world.Clusters(), SizeIs(1));
  EXPECT_EQ(world.Clusters().begin()->second, 3);
}

TEST(Bootstrap, ANodeMoreJoinsWhatTheOthersHaveFounded) {
  World world(1, 4, 3);
  world.StartAll();
  world.RunFor(absl::Seconds(10));
  ASSERT_THAT(world.Clusters(), SizeIs(1));
  EXPECT_EQ(world.Clusters().begin()->second, 4);
}

TEST(Bootstrap, NeitherHalfOfManyNodesFoundsACluster) {
  World world(1, 6, 3);
  world.blocked = [](int a, int b) { return (a < 3) != (b < 3); };
  world.StartAll();
  world.RunFor(absl::Seconds(60));
  EXPECT_THAT(world.Clusters(), SizeIs(0));
  EXPECT_THAT(world[0].bootstrap->why(), HasSubstr("only 3 of 6 seeds answer"));
  world.blocked = [](int, int) { return false; };
  world.RunFor(absl::Seconds(20));
  EXPECT_THAT(world.Clusters(), SizeIs(1));
}

TEST(Bootstrap, AfterAPowerCutEachGoesOnWithoutTheOthers) {
  World world(1, 3, 3);
  world.StartAll();
  world.RunFor(absl::Seconds(10));
  const auto before = world.Clusters();
  for (World::Node& node : world.nodes()) world.Stop(node);
  for (const int i : {2, 0, 1}) {
    world.Start(world[i]);
    EXPECT_EQ(world[i].bootstrap->state(), State::kMember);
    world.RunFor(absl::Seconds(30));
  }
  EXPECT_EQ(world.Clusters(), before);
}

TEST(Bootstrap, ANodeWhoseDirectoryIsLostJoinsAsAnother) {
  World world(1, 3, 3);
  world.StartAll();
  world.RunFor(absl::Seconds(10));
  world.Stop(world[0]);
  world.NewDisk(world[0]);
  world.Start(world[0]);
  world.RunFor(absl::Seconds(10));
  EXPECT_THAT(world.Clusters(), SizeIs(1));
  EXPECT_EQ(world[0].disk.node(), 100u);
}

TEST(Bootstrap, ANodeOfAnotherClusterStaysWhatItIsAndSaysSo) {
  World world(1, 3, 3);
  world.StartAll();
  world.RunFor(absl::Seconds(10));
  World other(2, 1, 1);
  other.StartAll();
  other.RunFor(absl::Seconds(10));
  world.Stop(world[0]);
  world[0].disk = other[0].disk;
  world.Start(world[0]);
  // It asks nobody; who asks it is told, and says so.
  World::Node& asking = world[1];
  (void)world[0].bootstrap->OnAsked(
      [&] {
        Bootstrap::View view;
        view.set_uuid(asking.options.uuid);
        view.set_address(asking.address);
        view.set_cluster_id(asking.disk.cluster_id());
        return view;
      }(),
      world.now());
  EXPECT_EQ(world[0].bootstrap->state(), State::kMember);
  EXPECT_THAT(world[0].bootstrap->why(), HasSubstr("belongs to cluster"));
}

TEST(Bootstrap, WhatNodesExpectHasToBeTheSame) {
  World world(1, 3, 3);
  world[2].options.expected_size = 5;
  world.StartAll();
  world.RunFor(absl::Seconds(20));
  EXPECT_THAT(world.Clusters(), SizeIs(0));
  EXPECT_THAT(world[0].bootstrap->why(), HasSubstr("the node at 10.0.0.2:1885 expects 5"));
}

TEST(Bootstrap, WhoIsToFoundNothingWaitsForACluster) {
  World world(1, 4, 3);
  world[3].options.expected_size = 0;
  world.Start(world[3]);
  world.RunFor(absl::Seconds(20));
  EXPECT_THAT(world[3].bootstrap->why(), HasSubstr("expected_size"));
  for (int i = 0; i < 3; ++i) world.Start(world[i]);
  world.RunFor(absl::Seconds(20));
  ASSERT_THAT(world.Clusters(), SizeIs(1));
  EXPECT_EQ(world.Clusters().begin()->second, 4);
}

TEST(Bootstrap, WhoKnowsOfNobodyWaitsUntilItIsTold) {
  World world(1, 4, 3);
  world[3].options.expected_size = 0;
  world[3].options.seeds.clear();
  for (int i = 0; i < 3; ++i) world[i].options.seeds.pop_back();
  world.StartAll();
  world.RunFor(absl::Seconds(20));
  EXPECT_EQ(world.Clusters().begin()->second, 3);
  EXPECT_THAT(world[3].bootstrap->why(), HasSubstr("mqttctl cluster join"));

  // Where nobody is; it looks there after a start, too.
  ASSERT_TRUE(world[3].bootstrap->LookAt({"10.0.0.99:1885"}).ok());
  world.RunFor(absl::Seconds(5));
  world.Stop(world[3]);
  world.Start(world[3]);
  world.RunFor(absl::Seconds(5));
  EXPECT_THAT(world[3].bootstrap->why(), HasSubstr("join the cluster at 10.0.0.99:1885"));

  ASSERT_TRUE(world[3].bootstrap->LookAt({World::AddressOf(1), World::AddressOf(3)}).ok());
  world.RunFor(absl::Seconds(5));
  ASSERT_THAT(world.Clusters(), SizeIs(1));
  EXPECT_EQ(world.Clusters().begin()->second, 4);
  world.Stop(world[3]);
  world.Start(world[3]);
  EXPECT_EQ(world[3].bootstrap->state(), State::kMember);
}

TEST(Bootstrap, WhoWasToldFoundsNoCluster) {
  World world(1, 4, 3);
  world.Start(world[0]);
  world.RunFor(absl::Seconds(1));
  ASSERT_TRUE(world[0].bootstrap->LookAt({"10.0.0.99:1885"}).ok());
  world.Start(world[1]);
  world.Start(world[2]);
  world.RunFor(absl::Seconds(30));
  EXPECT_THAT(world.Clusters(), SizeIs(0));
  world.Start(world[3]);
  world.RunFor(absl::Seconds(10));
  ASSERT_THAT(world.Clusters(), SizeIs(1)) << "the others do without it";
  EXPECT_TRUE(world[0].disk.cluster_id().empty() || world[0].disk.node() == 100)
      << "it is no founder";
}

TEST(Bootstrap, WhoHasAClusterIsNotToldOfAnother) {
  World alone(1, 1, 1);
  alone.StartAll();
  alone.RunFor(absl::Seconds(1));
  EXPECT_THAT(alone[0].bootstrap->LookAt({"10.0.0.9:1885"}).message(),
              HasSubstr("has founded a cluster of its own"));
  World world(1, 3, 3);
  world.Start(world[0]);
  world.RunFor(absl::Seconds(1));
  EXPECT_THAT(world[0].bootstrap->LookAt({"nowhere"}).message(), HasSubstr("no HOST:PORT"));
  EXPECT_THAT(world[0].bootstrap->LookAt({World::AddressOf(0)}).message(),
              HasSubstr("where nodes of the cluster listen"));
  world.StartAll();
  while (!world[0].disk.has_formation()) world.RunFor(absl::Milliseconds(1));
  ASSERT_EQ(world[0].disk.cluster_id(), "") << "what others promise takes two messages";
  EXPECT_THAT(world[0].bootstrap->LookAt({"10.0.0.9:1885"}).message(),
              HasSubstr("about to found a cluster"));
  world.RunFor(absl::Seconds(10));
  EXPECT_THAT(world[0].bootstrap->LookAt({"10.0.0.9:1885"}).message(),
              HasSubstr("is a member of cluster"));
}

TEST(Bootstrap, ACopyOfADataDirectoryIsNoticed) {
  World world(1, 2, 2);
  world[1].options.uuid = world[0].options.uuid;
  world.StartAll();
  world.RunFor(absl::Seconds(5));
  EXPECT_THAT(world.Clusters(), SizeIs(0));
  EXPECT_THAT(world[0].bootstrap->why(), HasSubstr("copy of this node's data directory"));
}

// Names and addresses of the same nodes are not twice as many nodes.
TEST(Bootstrap, ANodeThatIsFoundUnderItsOwnSeedCountsOnce) {
  World world(5, 6, 3);
  for (World::Node& node : world.nodes()) {
    node.options.address = absl::StrCat("node-", node.number, ".svc:1885");  // As it is advertised.
  }
  world.blocked = [](int a, int b) { return (a < 3) != (b < 3); };
  world.StartAll();
  world.RunFor(absl::Seconds(30));
  EXPECT_THAT(world.Clusters(), SizeIs(0));
  EXPECT_THAT(world[0].bootstrap->why(), HasSubstr("3 of 6 seeds"));
}

// A witness heard of the decision, and starts again where only others are that could found another.
TEST(Bootstrap, AWitnessThatStartsAgainBeforeItHasJoinedFoundsNoOtherCluster) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    World world(seed, 5, 2);
    std::set<std::pair<int, int>> cut;
    world.blocked = [&](int a, int b) { return cut.contains({a, b}) || cut.contains({b, a}); };
    // Three of five are enough seeds: two founders and a witness.
    for (int node = 0; node < 3; ++node) world.Start(world[node]);
    while (world.Clusters().empty()) {
      world.RunFor(absl::Milliseconds(1));
      ASSERT_LT(world.now(), absl::Seconds(200));
    }
    const auto founders = world.Clusters();
    World::Node* witness = nullptr;
    for (int node = 0; node < 3; ++node) {
      const auto& disk = world[node].disk;
      const bool founds = std::any_of(
          disk.formation().founders().begin(), disk.formation().founders().end(),
          [&](const auto& founder) { return founder.uuid() == world[node].options.uuid; });
      if (!founds) witness = &world[node];
    }
    ASSERT_NE(witness, nullptr);
    // It hears of the decision, and is cut off before it has joined.
    while (witness->bootstrap->join_cluster().empty()) {
      world.RunFor(absl::Microseconds(100));
      ASSERT_LT(world.now(), absl::Seconds(200));
      if (witness->disk.node() != 0) break;
    }
    if (witness->disk.node() != 0) continue;  // It was faster.
    for (int node = 0; node < 3; ++node) {
      if (&world[node] == witness) continue;
      for (const int other : {witness->number, 3, 4}) cut.insert({node, other});
    }
    world.Stop(*witness);
    world.Start(*witness);
    world.Start(world[3]);
    world.Start(world[4]);
    world.RunFor(absl::Seconds(60));
    ASSERT_THAT(world.Clusters(), SizeIs(1));
    cut.clear();
    world.RunFor(absl::Seconds(60));
    ASSERT_THAT(world.Clusters(), SizeIs(1));
    ASSERT_EQ(world.Clusters().begin()->second, 5);
  }
}

// The former dies when it has asked, and some have promised themselves to it.
TEST(Bootstrap, APromiseHoldsUntilTheFormerIsBackOrItsDirectoryIsLost) {
  for (const bool lost : {false, true}) {
    World world(3, 3, 3);
    world.StartAll();
    World::Node* former = nullptr;
    while (former == nullptr) {
      world.RunFor(absl::Milliseconds(1));
      ASSERT_LT(world.now(), absl::Seconds(200));
      for (World::Node& node : world.nodes()) {
        if (node.disk.has_formation() && node.disk.formation().former() != node.options.uuid &&
            node.disk.cluster_id().empty())
          former = &*std::find_if(world.nodes().begin(), world.nodes().end(), [&](auto& other) {
            return other.options.uuid == node.disk.formation().former();
          });
      }
    }
    ASSERT_TRUE(former->disk.cluster_id().empty());
    world.Stop(*former);
    world.RunFor(absl::Seconds(60));
    EXPECT_THAT(world.Clusters(), SizeIs(0));
    if (lost) world.NewDisk(*former);
    world.Start(*former);
    world.RunFor(absl::Seconds(40));
    ASSERT_THAT(world.Clusters(), SizeIs(1));
    EXPECT_EQ(world.Clusters().begin()->second, 3);
  }
}

// Loss, partitions and crashes while a cluster is being founded: there is never a second one, and
// when it is calm there is one, which all belong to. MQTTD_SIM_SEEDS=10000 for more.
TEST(Bootstrap, WhateverHappensThereIsOneClusterInTheEnd) {
  const char* const wanted = std::getenv("MQTTD_SIM_SEEDS");
  const uint64_t seeds = wanted == nullptr ? 300 : std::strtoull(wanted, nullptr, 10);
  uint64_t formed_in_storm = 0;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    base::Rng rng(seed);
    const int nodes = static_cast<int>(1 + rng.Below(6));
    const auto expected = static_cast<uint32_t>(1 + rng.Below(static_cast<uint64_t>(nodes)));
    World world(seed, nodes, expected);
    world.loss = 0.3 * rng.Unit();
    for (World::Node& node : world.nodes()) {
      world.After(absl::Milliseconds(rng.Below(3000)), [&] {
        if (node.bootstrap == nullptr) world.Start(node);
      });
    }
    std::set<std::pair<int, int>> cut;
    world.blocked = [&](int a, int b) { return cut.contains({a, b}); };
    for (int round = 0; round < 40; ++round) {
      world.RunFor(absl::Milliseconds(rng.Below(800)));
      if (rng.Chance(0.3)) {
        cut.clear();
        const uint64_t sides = rng();
        for (int a = 0; a < nodes; ++a) {
          for (int b = 0; b < nodes; ++b) {
            if ((sides >> a & 1) != (sides >> b & 1) || rng.Chance(0.1)) cut.insert({a, b});
          }
        }
      }
      if (rng.Chance(0.3)) cut.clear();
      World::Node& node = world[static_cast<int>(rng.Below(static_cast<uint64_t>(nodes)))];
      if (rng.Chance(0.3)) {
        if (node.bootstrap == nullptr) {
          world.Start(node);
        } else {
          world.Stop(node);
        }
      }
      ASSERT_LE(world.Clusters().size(), 1u);
    }
    formed_in_storm += world.Clusters().size();
    cut.clear();
    world.loss = 0;
    for (World::Node& node : world.nodes()) {
      if (node.bootstrap == nullptr) world.Start(node);
    }
    world.RunFor(absl::Seconds(60));
    ASSERT_THAT(world.Clusters(), SizeIs(1)) << world[0].bootstrap->why();
    ASSERT_EQ(world.Clusters().begin()->second, nodes);
  }
  EXPECT_GT(formed_in_storm, seeds / 3);
}

}  // namespace
}  // namespace cluster
