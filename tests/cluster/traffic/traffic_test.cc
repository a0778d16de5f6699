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

// It is known to be there when half of it has gone a second time.
TEST(Traffic, AnItemInPartsThatHasComeByTheFormerLinkDoesNotSpoilTheNext) {
  FakeNet net(/*items_max=*/2);
  OneShard a(net, 1);
  OneShard b(net, 2);
  a.traffic.SetNodes({{b.life.node, b.life.incarnation, 1}});
  b.traffic.SetNodes({{a.life.node, a.life.incarnation, 1}});
  const auto deliver = [&] {
    for (bool more = true; more;) {
      more = net.Deliver(NodeId(1), NodeId(2), 2);
      more = net.Deliver(NodeId(2), NodeId(1), 2) || more;
    }
  };
  net.Tend(NodeId(1), NodeId(2));
  net.Tend(NodeId(2), NodeId(1));
  deliver();
  const size_t in_two = Outlet::kPartBytes + 1000;
  a.Publish("first", in_two, 1, b.life.node);
  ASSERT_TRUE(net.Deliver(NodeId(1), NodeId(2), 2));
  ASSERT_THAT(b.came, testing::ElementsAre("first"));
  base::Rng rng(1);
  for (const auto& [from, to] : {std::pair(NodeId(1), NodeId(2)), {NodeId(2), NodeId(1)}}) {
    net.link(from, to).items.clear();  // That it has come, too.
    net.Cut(from, to, rng);
    net.Tend(from, to);
    net.Tend(from, to);
  }
  ASSERT_THAT(net.link(NodeId(1), NodeId(2)).items, testing::SizeIs(2)) << "a word, and a part";
  while (net.Deliver(NodeId(2), NodeId(1), 2)) {
  }
  a.Publish("second", in_two, 2, b.life.node);
  a.Publish("third", in_two, 3, b.life.node);
  deliver();
  EXPECT_THAT(b.came, testing::ElementsAre("first", "second", "third"));
  EXPECT_THAT(a.receipts, testing::ElementsAre(1, 2, 3));
  EXPECT_EQ(b.traffic.metrics().gaps.value() + b.traffic.metrics().unreadable.value(), 0u);
}

// The same, and that link breaks as well: the word comes by the other direction's.
TEST(Traffic, AnItemOfWhichAPartHadGoneWhenTheLinkBrokeIsKnownToBeThereWithoutAnother) {
  FakeNet net(/*items_max=*/2);
  OneShard a(net, 1);
  OneShard b(net, 2);
  a.traffic.SetNodes({{b.life.node, b.life.incarnation, 1}});
  b.traffic.SetNodes({{a.life.node, a.life.incarnation, 1}});
  net.Tend(NodeId(1), NodeId(2));
  net.Tend(NodeId(2), NodeId(1));
  for (bool more = true; more;) {
    more = net.Deliver(NodeId(1), NodeId(2), 2);
    more = net.Deliver(NodeId(2), NodeId(1), 2) || more;
  }
  a.Publish("first", Outlet::kPartBytes + 1000, 1, b.life.node);
  ASSERT_TRUE(net.Deliver(NodeId(1), NodeId(2), 2));
  ASSERT_THAT(b.came, testing::ElementsAre("first"));
  base::Rng rng(1);
  for (const auto& [from, to] : {std::pair(NodeId(1), NodeId(2)), {NodeId(2), NodeId(1)}}) {
    net.link(from, to).items.clear();  // That it has come, too.
    net.Cut(from, to, rng);
    net.Tend(from, to);
    net.Tend(from, to);
  }
  ASSERT_THAT(net.link(NodeId(1), NodeId(2)).items, testing::SizeIs(2)) << "a word, and a part";
  net.Cut(NodeId(1), NodeId(2), rng);
  net.Tend(NodeId(1), NodeId(2));
  while (net.Deliver(NodeId(2), NodeId(1), 2)) {
  }
  EXPECT_THAT(a.receipts, testing::ElementsAre(1));
}

}  // namespace
}  // namespace cluster
