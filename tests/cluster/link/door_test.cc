#include "cluster/link/door.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mqttd/cluster/v1/link.pb.h"

namespace cluster {
namespace {

using testing::HasSubstr;

Door NodeOne() {
  Door door{.cluster_id = "C", .self = {NodeId(1), Incarnation(3)}, .uuid = "u1", .release = "1.0"};
  door.nodes[NodeId(1)] = {"u1", Incarnation(3), Incarnation(2)};
  door.nodes[NodeId(2)] = {"u2", Incarnation(5), Incarnation(4)};
  return door;
}

::mqttd::cluster::v1::Hello FromNodeTwo() {
  ::mqttd::cluster::v1::Hello hello;
  hello.set_cluster_id("C");
  hello.set_uuid("u2");
  hello.set_node(2);
  hello.set_incarnation(5);
  hello.set_to_node(1);
  hello.set_release("1.0");
  hello.set_version_min(1);
  hello.set_version_max(1);
  return hello;
}

TEST(Door, LetsInWhomItKnowsAndALifeThatItHasNotHeardOfYet) {
  auto hello = FromNodeTwo();
  EXPECT_EQ(WhyNotWelcome(hello, NodeOne()), "");
  hello.set_incarnation(6);
  EXPECT_EQ(WhyNotWelcome(hello, NodeOne()), "");
  hello.set_version_max(9);
  EXPECT_EQ(WhyNotWelcome(hello, NodeOne()), "");
  EXPECT_EQ(LinkVersionWith(hello), kLinkVersionMax);
}

TEST(Door, TellsWhoseLivesHaveEndedThroughWhich) {
  auto hello = FromNodeTwo();
  EXPECT_EQ(EndedThrough(hello, NodeOne()), Incarnation());
  hello.set_incarnation(2);
  EXPECT_EQ(EndedThrough(hello, NodeOne()), Incarnation(4));
  hello.set_uuid("u9");  // Somebody else's.
  EXPECT_EQ(EndedThrough(hello, NodeOne()), Incarnation());
}

TEST(Door, TellsWhoWasForgottenThatItsLivesHaveEnded) {
  auto hello = FromNodeTwo();
  hello.set_node(4);
  hello.set_uuid("u4");
  Door door = NodeOne();
  door.last_node = NodeId(3);
  EXPECT_EQ(EndedThrough(hello, door), Incarnation()) << "this node may be late to hear of it";
  EXPECT_THAT(WhyNotWelcome(hello, door), HasSubstr("not known here"));
  door.last_node = NodeId(4);
  EXPECT_EQ(EndedThrough(hello, door), Incarnation(5));
  EXPECT_THAT(WhyNotWelcome(hello, door), HasSubstr("node 4 was forgotten"));
}

TEST(Door, SaysInWordsWhyItDoesNot) {
  const auto refused = [](auto&& change) {
    auto hello = FromNodeTwo();
    Door door = NodeOne();
    change(hello, door);
    return WhyNotWelcome(hello, door);
  };
  EXPECT_THAT(refused([](auto&, Door& door) { door.cluster_id = ""; }),
              HasSubstr("does not belong to a cluster yet"));
  EXPECT_THAT(refused([](auto& hello, Door&) { hello.set_cluster_id("D"); }),
              HasSubstr("belongs to cluster C, and the caller to D"));
  EXPECT_THAT(refused([](auto& hello, Door&) {
                hello.set_version_min(2);
                hello.set_version_max(4);
                hello.set_release("3.0");
              }),
              HasSubstr("release 3.0 speaks versions 2 to 4"));
  EXPECT_THAT(refused([](auto& hello, Door&) { hello.set_to_node(7); }),
              HasSubstr("this is node 1, and node 7 is meant"));
  EXPECT_THAT(refused([](auto& hello, Door&) { hello.set_node(1); }), HasSubstr("itself"));
  EXPECT_THAT(refused([](auto& hello, Door&) { hello.set_node(9); }),
              HasSubstr("node 9 is not known"));
  EXPECT_THAT(refused([](auto& hello, Door&) { hello.set_node(0x10002); }),
              HasSubstr("is not known"));
  EXPECT_THAT(refused([](auto& hello, Door&) { hello.set_uuid("u9"); }),
              HasSubstr("known here with the data directory u2, and the caller has u9"));
  EXPECT_THAT(refused([](auto& hello, Door&) { hello.set_incarnation(4); }),
              HasSubstr("incarnation 4 of node 2 has ended"));
  EXPECT_THAT(refused([](auto& hello, Door& door) {
                door.nodes[NodeId(2)] = {"u2", Incarnation(8), Incarnation(4)};
                hello.set_incarnation(6);
              }),
              HasSubstr("started again since, as incarnation 8"));
}

TEST(Door, KnowsWhereACallerListensThatHasAName) {
  EXPECT_EQ(AddressOfCaller("ipv4:10.0.0.7:51234", "node-2.nodes:9885"), "10.0.0.7:9885");
  EXPECT_EQ(AddressOfCaller("ipv6:%5Bfd00::7%5D:51234", "node-2.nodes:9885"), "[fd00::7]:9885");
  EXPECT_EQ(AddressOfCaller("ipv6:[fd00::7]:51234", "node-2.nodes:9885"), "[fd00::7]:9885");
  EXPECT_EQ(AddressOfCaller("ipv6:%5B::ffff:10.0.0.7%5D:51234", "node-2.nodes:9885"),
            "10.0.0.7:9885");
  EXPECT_EQ(AddressOfCaller("ipv4:10.0.0.7:51234", "10.0.0.2:9885"), "");
  EXPECT_EQ(AddressOfCaller("ipv4:10.0.0.7:51234", "[fd00::2]:9885"), "");
  EXPECT_EQ(AddressOfCaller("unix:", "node-2.nodes:9885"), "");
  EXPECT_EQ(AddressOfCaller("", "node-2.nodes:9885"), "");
}

}  // namespace
}  // namespace cluster
