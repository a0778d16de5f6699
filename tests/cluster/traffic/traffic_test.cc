// The traffic between nodes over links that break, at random.
#include "cluster/traffic/traffic.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "tests/cluster/traffic/fake_net.h"
#include "tests/cluster/traffic/traffic_sim.h"

namespace cluster {
namespace {

uint64_t Setting(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  uint64_t value = otherwise;
  if (text != nullptr) (void)absl::SimpleAtoi(text, &value);
  return value;
}

// Links break at any moment in either direction, leaders move, nodes die and come back, members are
// heard of late. Held against each other all the while: every message above QoS 0 once and in
// order, no SUBACK before all know, requests and answers without a gap; and in the end nobody
// waits.
TEST(Traffic, RandomTrafficOverBrokenLinksLosesNothing) {
  const uint64_t seeds = Setting("MQTTD_SIM_SEEDS", 200);
  const uint64_t only = Setting("MQTTD_SIM_SEED", 0);
  uint64_t forwarded = 0;
  uint64_t confirmations = 0;
  uint64_t requests = 0;
  uint64_t handed_back = 0;
  for (uint64_t seed = only != 0 ? only : 1; seed <= (only != 0 ? only : seeds); ++seed) {
    SCOPED_TRACE(absl::StrCat("MQTTD_SIM_SEED=", seed));
    sim::FakeWorld world(seed, static_cast<uint16_t>(2 + seed % 3));
    for (int step = 0; step < 4000 && !testing::Test::HasFailure(); ++step) world.Step();
    if (testing::Test::HasFailure()) break;
    world.Heal();
    world.ExpectAllIsWell();
    if (testing::Test::HasFailure()) break;
    forwarded += world.forwarded;
    confirmations += world.confirmations;
    requests += world.requests_done;
    handed_back += world.handed_back;
  }
  if (only != 0 || testing::Test::HasFailure()) return;
  EXPECT_GT(forwarded, 100 * seeds);
  EXPECT_GT(confirmations, 20 * seeds);
  EXPECT_GT(requests, 100 * seeds);
  EXPECT_GT(handed_back, 0u);
}

// A node of one shard, which takes what comes and asks for nothing.
class OneShard final : public TrafficLocal {
 public:
  OneShard(FakeNet& net, uint16_t node)
      : life{NodeId(node), Incarnation(1)},
        links_(net, life.node),
        traffic({}, {life.node, life.incarnation, 1}, links_, *this) {
    net.SetEnd(life.node, life, &traffic);
  }

  void Submit(const storage::ShardAddress&, std::vector<storage::Addressed>) override {}
  void OnHostMessage(NodeLife, storage::HostMessage) override {}
  void Resync(storage::NodeId, std::function<void()>) override {}
  void Post(storage::ShardId, std::unique_ptr<base::Batch<broker::ShardTask>> tasks) override {
    for (broker::ShardTask& task : tasks->items) {
      if (const auto* const publish = std::get_if<broker::NodePublish>(&task))
        came.emplace_back(publish->message->topic());
      if (const auto* const has = std::get_if<broker::NodeHas>(&task))
        receipts.push_back(has->receipt);
    }
  }
  void Publish(const std::string& topic, size_t bytes, uint64_t receipt, NodeId to) {
    const std::string payload(bytes, '.');
    mqtt::MessageParts parts;
    parts.topic = topic;
    parts.payload = payload;
    parts.qos = mqtt::QoS::kAtLeastOnce;
    (void)traffic.Forward(0, broker::NodeMask{1} << *traffic.PlaceOf(to), parts,
                          {.receipt = receipt});
    traffic.Flush(0);
  }

  const NodeLife life;
  std::vector<std::string> came;
  std::vector<uint64_t> receipts;

 private:
  FakeLinks links_;

 public:
  Traffic traffic;
};

// An item that goes in two parts has come, but nobody has heard so when both links break; the first
// part has gone again.
class TrafficInParts : public testing::Test {
 protected:
  static constexpr size_t kInTwo = Outlet::kPartBytes + 1000;

  void SetUp() override {
    a_.traffic.SetNodes({{b_.life.node, b_.life.incarnation, 1}});
    b_.traffic.SetNodes({{a_.life.node, a_.life.incarnation, 1}});
    net_.Tend(NodeId(1), NodeId(2));
    net_.Tend(NodeId(2), NodeId(1));
    Deliver();
    a_.Publish("first", kInTwo, 1, b_.life.node);
    ASSERT_TRUE(net_.Deliver(NodeId(1), NodeId(2), 2));
    ASSERT_THAT(b_.came, testing::ElementsAre("first"));
    for (const auto& [from, to] : {std::pair(NodeId(1), NodeId(2)), {NodeId(2), NodeId(1)}}) {
      net_.link(from, to).items.clear();  // That it has come, too.
      net_.Cut(from, to, rng_);
      net_.Tend(from, to);
      net_.Tend(from, to);
    }
    ASSERT_THAT(net_.link(NodeId(1), NodeId(2)).items, testing::SizeIs(2)) << "a word, and a part";
  }
  void Deliver() {
    for (bool more = true; more;) {
      more = net_.Deliver(NodeId(1), NodeId(2), 2);
      more = net_.Deliver(NodeId(2), NodeId(1), 2) || more;
    }
  }
  void DeliverBack() {
    while (net_.Deliver(NodeId(2), NodeId(1), 2)) {
    }
  }

  FakeNet net_{/*items_max=*/2};
  OneShard a_{net_, 1};
  OneShard b_{net_, 2};
  base::Rng rng_{1};
};

// It is known to be there when half of it has gone a second time.
TEST_F(TrafficInParts, AnItemThatHasComeByTheFormerLinkDoesNotSpoilTheNext) {
  DeliverBack();
  a_.Publish("second", kInTwo, 2, b_.life.node);
  a_.Publish("third", kInTwo, 3, b_.life.node);
  Deliver();
  EXPECT_THAT(b_.came, testing::ElementsAre("first", "second", "third"));
  EXPECT_THAT(a_.receipts, testing::ElementsAre(1, 2, 3));
  EXPECT_EQ(b_.traffic.metrics().gaps.value() + b_.traffic.metrics().unreadable.value(), 0u);
}

// The same, and that link breaks as well: the word comes by the other direction's.
TEST_F(TrafficInParts, WhatHasComeIsKnownToBeThereWithoutAnotherLink) {
  net_.Cut(NodeId(1), NodeId(2), rng_);
  net_.Tend(NodeId(1), NodeId(2));
  DeliverBack();
  EXPECT_THAT(a_.receipts, testing::ElementsAre(1));
}

}  // namespace
}  // namespace cluster
