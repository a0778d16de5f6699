// A shard and the other nodes of its cluster, which the test plays.
#include "broker/shard/node_flow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "broker/core/retained_gate.h"
#include "broker/shard/connection.h"
#include "broker/shard/fence.h"
#include "storage/core/keys.h"
#include "tests/broker/shard/peer.h"
#include "tests/broker/shard/sim_broker.h"
#include "tests/support/wire.h"

namespace sim {
namespace {

using broker::FilterOfNode;
using broker::NodeMask;
using broker::Wanted;
using testing::ElementsAre;
using testing::IsEmpty;
using enum support::PacketType;

// What the shards tell the cluster.
class OtherNodes final : public broker::Forwarder {
 public:
  NodeMask Forward(storage::ShardId shard, NodeMask nodes, const mqtt::MessageParts& message,
                   const broker::Forwarding& how) override {
    unflushed |= broker::ShardMask{1} << shard;
    forwarded.emplace_back(nodes, message.payload);
    forwarding.push_back(how);
    return nodes & behind;
  }
  NodeMask ForwardToMember(storage::ShardId shard, uint32_t node, const mqtt::MessageParts& message,
                           const storage::ChosenMember& member,
                           const broker::Forwarding& how) override {
    forwarding.push_back(how);
    unflushed |= broker::ShardMask{1} << shard;
    to_members.push_back({node, std::string(message.payload), member});
    return NodeMask{1} << node & behind;
  }
  NodeMask CutOff() const override { return cut_off; }
  void AnnounceMember(storage::ShardId shard, broker::MemberAnnouncement announcement) override {
    members.emplace_back(shard, std::move(announcement));
  }
  void Flush(storage::ShardId shard) override { unflushed &= ~(broker::ShardMask{1} << shard); }
  void Announce(storage::ShardId shard, broker::RouteAnnouncement announcement) override {
    announced.emplace_back(shard, std::move(announcement));
  }
  void RoutesTaken(storage::ShardId shard, uint32_t node, uint64_t number) override {
    confirmed.push_back(absl::StrCat("shard ", shard, " node ", node, " to ", number));
    if (on_confirm) on_confirm();
  }
  void Taken(storage::ShardId /*shard*/, uint32_t /*node*/, uint64_t messages,
             uint64_t /*bytes*/) override {
    taken += messages;
  }

  std::vector<std::pair<NodeMask, std::string>> forwarded;
  std::vector<broker::Forwarding> forwarding;  // Of all messages, to members too.
  broker::ShardMask unflushed = 0;  // Shards that have forwarded something, and not said so.
  NodeMask behind = 0;
  NodeMask cut_off = 0;
  struct ToMember {
    uint32_t node = 0;
    std::string payload;
    storage::ChosenMember member;
  };
  std::vector<ToMember> to_members;
  std::vector<std::pair<storage::ShardId, broker::MemberAnnouncement>> members;
  std::vector<std::pair<storage::ShardId, broker::RouteAnnouncement>> announced;
  std::vector<std::string> confirmed;
  std::function<void()> on_confirm;
  uint64_t taken = 0;
};

std::string PublishOf(const std::string& topic, const std::string& payload, unsigned qos,
                      bool retain = false, uint16_t packet_id = 1) {
  support::PublishPacket packet{.topic = topic, .payload = payload, .qos = qos, .retain = retain};
  if (qos != 0) packet.packet_id = packet_id;
  return packet.Encode(support::Version::k5);
}

class NodeFlowTest : public testing::Test {
 protected:
  void Mail(broker::ShardTask task, size_t shard = 0) {
    broker_.shard(shard).Mail(std::move(task));
    broker_.RunFor(absl::Milliseconds(100));
  }
  // To every shard, as the cluster does.
  void Routes(uint32_t node, std::vector<std::string> filters, uint64_t number,
              Wanted wanted = Wanted::kAll) {
    auto changes = std::make_shared<std::vector<broker::NodeRoute>>();
    for (const std::string& filter : filters)
      changes->push_back({.filter = FilterOfNode::Of(filter), .wanted = wanted});
    for (size_t shard = 0; shard < kShards; ++shard)
      Mail(broker::NodeRoutes{.node = node, .number = number, .changes = changes}, shard);
  }
  // A transient member on another node, as that tells of it.
  static broker::NodeMember MemberAt(uint16_t node, const std::string& client_id,
                                     const std::string& filter = "$share/g/t", unsigned qos = 2) {
    broker::NodeMember change{.filter = filter};
    change.member.client_id = client_id;
    change.member.of_node = storage::NodeId(node);
    change.member.connection = {.node = storage::NodeId(node),
                                .shard = 1,
                                .incarnation = storage::Incarnation(5),
                                .connection = 77};
    change.member.options.qos = static_cast<mqtt::QoS>(qos);
    return change;
  }
  // The node, whose place is its number, tells every shard.
  void Members(uint16_t node, std::vector<broker::NodeMember> changes,
               broker::NodeRoutes told = {}) {
    told.node = node;
    told.id = storage::NodeId(node);
    told.life = storage::Incarnation(5);
    told.members = std::make_shared<const std::vector<broker::NodeMember>>(std::move(changes));
    for (size_t shard = 0; shard < kShards; ++shard) Mail(told, shard);
  }
  // A member on this node, and its connection.
  std::unique_ptr<Peer> MemberHere(const std::string& client_id, size_t shard, unsigned qos = 2) {
    auto peer = std::make_unique<Peer>(broker_, shard, client_id);
    peer->line->Send(support::Subscribe(support::Version::k5, 1, {{"$share/g/t", qos}}));
    broker_.RunFor(absl::Milliseconds(100));
    Mail(broker::NodesConfirmed{nodes_.members.back().second.number}, shard);
    EXPECT_EQ(peer->TakeTypes(), std::vector{kSuback});
    return peer;
  }
  void FromNode(storage::ChosenMember member, const std::string& payload,
                mqtt::QoS qos = mqtt::QoS::kAtLeastOnce) {
    Mail(broker::NodePublish{2, Message("t", payload, qos),
                             std::make_unique<storage::ChosenMember>(std::move(member))});
  }
  // The node has all that shard 0 has forwarded so far.
  void NodeHasAll(uint32_t node) {
    if (!nodes_.forwarding.empty()) Mail(broker::NodeHas{node, nodes_.forwarding.back().receipt});
  }
  uint64_t WithoutMember() {
    uint64_t dropped = 0;
    for (size_t shard = 0; shard < kShards; ++shard)
      dropped += broker_.shard(shard).metrics().dropped[broker::DropCause::kNoShareMember].value();
    return dropped;
  }
  static mqtt::MessagePtr Message(const std::string& topic, const std::string& payload,
                                  mqtt::QoS qos = mqtt::QoS::kAtMostOnce) {
    mqtt::MessageParts parts;
    parts.topic = topic;
    parts.payload = payload;
    parts.qos = qos;
    return mqtt::Message::Create(parts);
  }

  static constexpr size_t kShards = 2;
  OtherNodes nodes_;
  Broker broker_{7, kShards, {}, {}, Broker::Small(), &nodes_};
};

TEST_F(NodeFlowTest, AMessageGoesOnceToEachNodeThatWantsIt) {
  Routes(1, {"a/b", "a/+"}, 1);
  Routes(4, {"a/#"}, 1);
  Routes(5, {"a/b"}, 1, Wanted::kQos0);
  const Peer publisher(broker_, 0, "publisher");
  publisher.line->Send(PublishOf("a/b", "zero", 0) + PublishOf("a/b", "one", 1) +
                       PublishOf("c", "nobody's", 0));
  broker_.RunFor(absl::Milliseconds(100));
  EXPECT_THAT(nodes_.forwarded, ElementsAre(std::pair(NodeMask{0b110010}, "zero"),
                                            std::pair(NodeMask{0b10010}, "one")));
  EXPECT_EQ(nodes_.unflushed, 0u) << "at the end of the turn it leaves";
}

TEST_F(NodeFlowTest, SubackWaitsUntilEveryNodeHasTheRoute) {
  Peer subscriber(broker_, 0, "subscriber");
  subscriber.line->Send(support::Subscribe(support::Version::k5, 1, {{"a/b", 1}}));
  broker_.RunFor(absl::Milliseconds(100));
  EXPECT_THAT(subscriber.packets, IsEmpty());
  ASSERT_EQ(nodes_.announced.size(), 1u);
  const broker::RouteAnnouncement& announced = nodes_.announced[0].second;
  EXPECT_EQ(announced.filter, "a/b");
  EXPECT_EQ(announced.after, Wanted::kAll);
  Mail(broker::NodesConfirmed{announced.number});
  EXPECT_EQ(subscriber.TakeTypes(), std::vector{kSuback});

  // A second session of the shard changes nothing that the others would have to know.
  Peer second(broker_, 0, "second");
  second.Subscribe("a/b", 1);
  EXPECT_EQ(nodes_.announced.size(), 1u);
  subscriber.line->Break();
  second.line->Break();
  broker_.RunFor(absl::Milliseconds(100));
  ASSERT_EQ(nodes_.announced.size(), 2u);
  EXPECT_EQ(nodes_.announced[1].second.after, Wanted::kNothing);
}

// It was acknowledged without most nodes, and there are most again.
TEST_F(NodeFlowTest, SubackWaitsForWhatWasTakenBackAlthoughAnotherSessionHasTheFilter) {
  Peer first(broker_, 0, "first");
  first.line->Send(support::Subscribe(support::Version::k5, 1, {{"a/b", 1}}));
  broker_.RunFor(absl::Milliseconds(100));
  const uint64_t number = nodes_.announced.back().second.number;
  Mail(broker::NodesConfirmed{number});
  EXPECT_EQ(first.TakeTypes(), std::vector{kSuback});

  Mail(broker::NodesConfirmed{number - 1, 1});
  Mail(broker::NodesConfirmed{number});  // From before, by another thread.
  Peer second(broker_, 0, "second");
  second.line->Send(support::Subscribe(support::Version::k5, 1, {{"a/b", 1}}));
  broker_.RunFor(absl::Milliseconds(100));
  EXPECT_THAT(second.packets, IsEmpty());
  Mail(broker::NodesConfirmed{number, 1});
  EXPECT_EQ(second.TakeTypes(), std::vector{kSuback});
}

TEST_F(NodeFlowTest, AMessageOfAnotherNodeReachesTheSessionsOfAllShardsAndNobodyElse) {
  Routes(3, {"#"}, 1);
  Peer here(broker_, 0, "here");
  Peer there(broker_, 1, "there");
  for (Peer* const peer : {&here, &there}) {
    peer->line->Send(support::Subscribe(support::Version::k5, 1, {{"a/+", 0}}));
    broker_.RunFor(absl::Milliseconds(100));
    Mail(broker::NodesConfirmed{nodes_.announced.back().second.number},
         nodes_.announced.back().first);
    EXPECT_EQ(peer->TakeTypes(), std::vector{kSuback});
  }
  Mail(broker::NodePublish{2, Message("a/b", "x")});
  EXPECT_EQ(here.TakeTypes(), std::vector{kPublish});
  EXPECT_EQ(there.TakeTypes(), std::vector{kPublish});
  EXPECT_EQ(nodes_.taken, 1u);
  EXPECT_THAT(nodes_.forwarded, IsEmpty()) << "it came from a node, and goes to none";
}

TEST_F(NodeFlowTest, WhoPublishesToANodeThatIsBehindWaits) {
  Routes(1, {"a"}, 1);
  nodes_.behind = NodeMask{1} << 1;
  const Peer publisher(broker_, 0, "publisher");
  publisher.line->Send(PublishOf("a", "1", 0));
  broker_.RunFor(absl::Milliseconds(100));
  publisher.line->Send(PublishOf("a", "2", 0));
  broker_.RunFor(absl::Milliseconds(100));
  EXPECT_EQ(nodes_.forwarded.size(), 1u);
  Mail(broker::NodeCaughtUp{2});
  EXPECT_EQ(nodes_.forwarded.size(), 1u) << "another node than the one that it waits for";
  nodes_.behind = 0;
  Mail(broker::NodeCaughtUp{1});
  EXPECT_EQ(nodes_.forwarded.size(), 2u);
}

TEST_F(NodeFlowTest, ANodeIsSentEverythingWhileItIsNotKnownWhatItWants) {
  const Peer publisher(broker_, 0, "publisher");
  Mail(broker::NodeRoutes{.node = 2, .stale = true});
  publisher.line->Send(PublishOf("a", "1", 0));
  broker_.RunFor(absl::Milliseconds(100));
  EXPECT_EQ(nodes_.forwarded.size(), 1u);
  Mail(broker::NodeRoutes{.node = 2, .stale = false, .number = 1});
  publisher.line->Send(PublishOf("a", "2", 0));
  broker_.RunFor(absl::Milliseconds(100));
  EXPECT_EQ(nodes_.forwarded.size(), 1u);
}

// ---- Acknowledged is what another node has, if it wants it --------------------------------------

using AcknowledgedTest = NodeFlowTest;

TEST_F(AcknowledgedTest, APublishIsWhenEveryNodeThatWantsItHasIt) {
  Routes(1, {"a"}, 1);
  Routes(4, {"a"}, 1);
  for (const auto& [qos, ack] : {std::pair{1u, kPuback}, {2u, kPubrec}}) {
    Peer publisher(broker_, 0, absl::StrCat("publisher ", qos));
    publisher.line->Send(PublishOf("a", "x", qos));
    broker_.RunFor(absl::Milliseconds(100));
    publisher.line->Send(PublishOf("b", "for nobody", qos, false, 2));
    broker_.RunFor(absl::Milliseconds(100));
    EXPECT_THAT(publisher.packets, IsEmpty());
    NodeHasAll(1);
    EXPECT_THAT(publisher.packets, IsEmpty()) << "node 4 does not have it";
    NodeHasAll(4);
    EXPECT_EQ(publisher.TakeTypes(), (std::vector{ack, ack})) << "in order, at QoS " << qos;
  }
}

TEST_F(AcknowledgedTest, WhatANodeHadBeforeIsNoReceiptForWhatComesAfter) {
  Routes(1, {"a"}, 1);
  Peer publisher(broker_, 0, "publisher");
  publisher.line->Send(PublishOf("a", "1", 1, false, 1) + PublishOf("a", "2", 1, false, 2));
  broker_.RunFor(absl::Milliseconds(100));
  ASSERT_EQ(nodes_.forwarding.size(), 2u);
  Mail(broker::NodeHas{1, nodes_.forwarding[0].receipt});
  ASSERT_EQ(publisher.packets.size(), 1u);
  EXPECT_EQ(publisher.packets[0].packet_id, 1);
  NodeHasAll(1);
  EXPECT_EQ(publisher.packets.size(), 2u);
}

TEST_F(AcknowledgedTest, NobodyWaitsForANodeThatHasGone) {
  Routes(1, {"a"}, 1);
  Peer publisher(broker_, 0, "publisher");
  publisher.line->Send(PublishOf("a", "x", 1));
  broker_.RunFor(absl::Milliseconds(100));
  EXPECT_THAT(publisher.packets, IsEmpty());
  Mail(broker::NodeRoutes{.node = 1, .forget = true, .number = 2, .gone = true});
  EXPECT_EQ(publisher.TakeTypes(), std::vector{kPuback});
}

// What it does not know of it has not acknowledged to its subscribers either.
TEST_F(AcknowledgedTest, OfANodeWithoutALinkOnlyWhatItIsKnownToWantIsWaitedFor) {
  Routes(1, {"a"}, 1);
  Mail(broker::NodeRoutes{.node = 1, .stale = true, .number = 2});
  nodes_.cut_off = NodeMask{1} << 1;
  Peer publisher(broker_, 0, "publisher");
  publisher.line->Send(PublishOf("b", "x", 1, false, 1) + PublishOf("a", "x", 1, false, 2));
  broker_.RunFor(absl::Milliseconds(100));
  EXPECT_EQ(nodes_.forwarded.size(), 2u) << "both are sent";
  ASSERT_EQ(publisher.packets.size(), 1u);
  EXPECT_EQ(publisher.packets[0].packet_id, 1);
  NodeHasAll(1);
  EXPECT_EQ(publisher.packets.size(), 2u);
}

// Its clients may have subscribed in this node's former life.
TEST_F(AcknowledgedTest, OfANodeThatWasThereBeforeAndHasNotBeenHeardOfAllIsWaitedFor) {
  Mail(broker::NodeRoutes{.node = 1, .stale = true, .unheard = true, .number = 1});
  nodes_.cut_off = NodeMask{1} << 1;
  Peer publisher(broker_, 0, "publisher");
  publisher.line->Send(PublishOf("b", "x", 1));
  broker_.RunFor(absl::Milliseconds(100));
  EXPECT_THAT(publisher.packets, IsEmpty());
  NodeHasAll(1);
  EXPECT_EQ(publisher.TakeTypes(), std::vector{kPuback});
  Mail(broker::NodeRoutes{.node = 1, .number = 2});
  Mail(broker::NodeRoutes{.node = 1, .stale = true, .number = 3});
  publisher.line->Send(PublishOf("b", "x", 1));
  broker_.RunFor(absl::Milliseconds(100));
  EXPECT_EQ(publisher.TakeTypes(), std::vector{kPuback});
}

// Nobody can say that it is gone, and whoever has nothing kept is served on.
TEST_F(AcknowledgedTest, WithoutMostNodesWhoCannotBeReachedIsNotWaitedFor) {
  Routes(1, {"a"}, 1);
  Routes(2, {"a"}, 1);
  Peer publisher(broker_, 0, "publisher");
  const auto publish = [&](uint16_t id) {
    publisher.line->Send(PublishOf("a", "x", 1, false, id));
    broker_.RunFor(absl::Milliseconds(100));
  };
  const auto fence = [&](broker::Fenced fenced) {
    Mail(broker::Control{
        [&core = broker_.shard(0).core(), fenced] { broker::Fence(core, fenced); }});
  };
  nodes_.cut_off = NodeMask{1} << 1;
  publish(1);
  NodeHasAll(2);
  EXPECT_THAT(publisher.packets, IsEmpty());
  fence(broker::Fenced::kSessions);
  EXPECT_EQ(publisher.TakeTypes(), std::vector{kPuback});
  publish(2);
  EXPECT_THAT(publisher.packets, IsEmpty()) << "node 2 can be reached";
  nodes_.cut_off |= NodeMask{1} << 2;
  broker_.RunFor(absl::Seconds(2));
  EXPECT_EQ(publisher.TakeTypes(), std::vector{kPuback});
  fence(broker::Fenced::kNobody);
  publish(3);
  EXPECT_THAT(publisher.packets, IsEmpty());
}

TEST_F(AcknowledgedTest, AGroupsMessageIsWhenItsMembersNodeHasIt) {
  Members(1, {MemberAt(1, "one")});
  for (const auto& [qos, ack] : {std::pair{1u, kPuback}, {2u, kPubrec}}) {
    Peer publisher(broker_, 0, absl::StrCat("publisher ", qos));
    publisher.line->Send(PublishOf("t", "x", qos));
    broker_.RunFor(absl::Milliseconds(100));
    EXPECT_THAT(publisher.packets, IsEmpty());
    NodeHasAll(1);
    EXPECT_EQ(publisher.TakeTypes(), std::vector{ack});
  }
}

// PUBREC has left, and the node that is to pass the message on may die at any moment.
TEST_F(AcknowledgedTest, ARecordStaysInTheOutboxUntilOtherNodesHaveIt) {
  Routes(1, {"a"}, 1);
  const auto publisher = Peer::Durable(broker_, 0, "publisher");
  publisher->TakeTypes();
  publisher->line->Send(PublishOf("a", "x", 2));
  broker_.RunFor(absl::Seconds(1));
  EXPECT_EQ(publisher->TakeTypes(), std::vector{kPubrec}) << "it is in the outbox";
  ASSERT_EQ(nodes_.forwarding.size(), 1u);
  const storage::OutboxRef record = nodes_.forwarding[0].outbox;
  ASSERT_TRUE(record);
  const auto& outbox = broker_.host().core().partition(record.partition).outbox();
  EXPECT_EQ(outbox.messages(), 1u);
  const size_t shard = record.partition % kShards;
  Mail(broker::NodeHas{1, nodes_.forwarding[0].receipt}, shard);
  broker_.RunFor(absl::Seconds(1));
  EXPECT_EQ(outbox.messages(), 0u);
}

// Whoever led its partition has died, and whoever leads it now cannot know who had it.
TEST_F(AcknowledgedTest, ARecordReachesTheSessionsHereOnceWhoeverTellsOfIt) {
  Peer subscriber(broker_, 0, "subscriber");
  subscriber.line->Send(support::Subscribe(support::Version::k5, 1, {{"a", 1}}));
  broker_.RunFor(absl::Milliseconds(100));
  Mail(broker::NodesConfirmed{nodes_.announced.back().second.number});
  EXPECT_EQ(subscriber.TakeTypes(), std::vector{kSuback});
  const auto tell = [&](uint32_t node, uint64_t number, uint64_t kept_from) {
    const std::string payload = absl::StrCat(number);
    Mail(broker::NodePublish{.node = node,
                             .message = Message("a", payload, mqtt::QoS::kExactlyOnce),
                             .outbox = {.partition = 1, .number = number, .kept_from = kept_from}},
         1);
  };
  tell(1, 7, 5);
  tell(1, 8, 5);
  tell(2, 7, 7);
  tell(2, 8, 7);
  tell(2, 9, 9);
  tell(1, 8, 5);
  std::vector<std::string> payloads;
  for (const support::Packet& packet : subscriber.packets) payloads.push_back(packet.payload);
  EXPECT_THAT(payloads, ElementsAre("7", "8", "9"));
}

// Of a PUBLISH that it sent before it knew that another node leads, and that this one sends again.
TEST_F(NodeFlowTest, WhatAFormerLeaderSendsLateIsDropped) {
  const auto reader = Peer::Durable(broker_, 0, "reader");
  reader->TakeTypes();
  reader->line->Send(support::Subscribe(support::Version::k5, 1, {{"t", 1}}));
  broker_.RunFor(absl::Milliseconds(100));
  Mail(broker::NodesConfirmed{nodes_.announced.back().second.number});
  ASSERT_EQ(reader->TakeTypes(), std::vector{kSuback});
  const Peer publisher(broker_, 1, "publisher");
  publisher.line->Send(PublishOf("t", "before", 1));
  broker_.RunFor(absl::Milliseconds(100));
  ASSERT_EQ(reader->TakeTypes(), std::vector{kPublish});

  const storage::NodeId other(2);
  const auto from_other = [&](storage::Event event) {
    Mail(broker::NodeEvent{other, std::make_unique<storage::Event>(std::move(event))});
  };
  from_other(storage::ClaimsWanted{
      .partition = storage::PartitionOfClient("reader", Broker::Small().partitions),
      .life = uint64_t{1} << 40,
      .by = other});
  publisher.line->Send(PublishOf("t", "after", 1));
  broker_.RunFor(absl::Milliseconds(100));
  EXPECT_THAT(reader->packets, IsEmpty());
  EXPECT_GT(broker_.shard(0).metrics().events_of_former_leaders.value(), 0u);

  const broker::Connection* connection = nullptr;
  for (const auto& [number, one] : broker_.shard(0).core().connections) connection = one.get();
  ASSERT_NE(connection, nullptr);
  storage::Delivery delivery;
  delivery.sequence = connection->session->outbound.last_sequence() + 1;
  delivery.qos = mqtt::QoS::kAtLeastOnce;
  delivery.message = Message("t", "after", mqtt::QoS::kAtLeastOnce);
  from_other(storage::Deliver{connection->ref, connection->session->epoch, {delivery}});
  ASSERT_EQ(reader->packets.size(), 1u);
  EXPECT_EQ(reader->packets[0].payload, "after");
}

// ---- `$share` groups over nodes ----

TEST_F(NodeFlowTest, AGroupsMessageGoesToOneMemberWhicheverNodeItIsOn) {
  Members(1, {MemberAt(1, "one")});
  Members(4, {MemberAt(4, "four")});
  const std::unique_ptr<Peer> here = MemberHere("here", 1);
  Peer publisher(broker_, 0, "publisher");
  for (const unsigned qos : {0u, 1u, 2u}) {
    for (int i = 0; i < 3; ++i) {
      publisher.line->Send(PublishOf("t", "x", qos));
      broker_.RunFor(absl::Milliseconds(100));
      if (qos == 0) continue;
      NodeHasAll(1);
      NodeHasAll(4);
      ASSERT_EQ(publisher.packets.size(), 1u);
      EXPECT_EQ(publisher.packets[0].reason, 0) << "somebody subscribes";
      if (qos == 2) {
        publisher.line->Send(support::Ack(support::PacketType::kPubrel, 1));
        broker_.RunFor(absl::Milliseconds(100));
      }
      publisher.packets.clear();
    }
  }
  std::map<uint32_t, int> at_nodes;
  for (const OtherNodes::ToMember& one : nodes_.to_members) {
    ++at_nodes[one.node];
    EXPECT_EQ(one.member.connection.connection, 77u);
    EXPECT_EQ(one.member.hops, 1u);
  }
  EXPECT_THAT(at_nodes, ElementsAre(std::pair(1u, 3), std::pair(4u, 3)));
  EXPECT_EQ(here->TakeTypes(), std::vector(3, kPublish));
  EXPECT_THAT(nodes_.forwarded, IsEmpty());
  EXPECT_EQ(nodes_.unflushed, 0u);
}

TEST_F(NodeFlowTest, SubackOfASharedSubscriptionWaitsUntilEveryNodeHasTheMember) {
  Peer member(broker_, 0, "member");
  member.line->Send(support::Subscribe(support::Version::k5, 1, {{"$share/g/t", 1}}));
  broker_.RunFor(absl::Milliseconds(100));
  EXPECT_THAT(member.packets, IsEmpty());
  ASSERT_EQ(nodes_.members.size(), 1u);
  const broker::MemberAnnouncement joined = nodes_.members[0].second;
  EXPECT_TRUE(joined.add);
  EXPECT_EQ(joined.filter, "$share/g/t");
  EXPECT_EQ(joined.member.client_id, "member");
  Mail(broker::NodesConfirmed{joined.number});
  EXPECT_EQ(member.TakeTypes(), std::vector{kSuback});
  member.line->Break();
  broker_.RunFor(absl::Milliseconds(100));
  ASSERT_EQ(nodes_.members.size(), 2u);
  EXPECT_FALSE(nodes_.members[1].second.add);
  EXPECT_EQ(nodes_.members[1].second.member.connection, joined.member.connection);
}

TEST_F(NodeFlowTest, AnotherNodesChoiceIsHandedToThatMemberOrOn) {
  const std::unique_ptr<Peer> chosen = MemberHere("chosen", 1);
  storage::ChosenMember member{.filter = "$share/g/t",
                               .connection = nodes_.members[0].second.member.connection,
                               .options = {.qos = mqtt::QoS::kAtLeastOnce},
                               .hops = 1};
  FromNode(member, "first");
  EXPECT_EQ(chosen->TakeTypes(), std::vector{kPublish});
  EXPECT_EQ(nodes_.taken, 1u);

  const std::unique_ptr<Peer> other = MemberHere("other", 0);
  chosen->line->Break();
  broker_.RunFor(absl::Milliseconds(100));
  other->TakeTypes();  // What the other one had not acknowledged.
  FromNode(member, "second");
  EXPECT_EQ(other->TakeTypes(), std::vector{kPublish}) << "a member on this node";

  other->line->Break();
  broker_.RunFor(absl::Milliseconds(100));
  Members(1, {MemberAt(1, "elsewhere")});
  nodes_.to_members.clear();
  FromNode(member, "third");
  ASSERT_EQ(nodes_.to_members.size(), 1u);
  EXPECT_EQ(nodes_.to_members[0].payload, "third");
  EXPECT_EQ(nodes_.to_members[0].member.hops, 2u);
  const uint64_t before = WithoutMember();
  member.hops = 3;
  FromNode(member, "fourth");
  EXPECT_EQ(nodes_.to_members.size(), 1u) << "it has been sent about often enough";
  EXPECT_EQ(WithoutMember(), before + 1);
  EXPECT_EQ(nodes_.taken, 4u);
}

// Of a durable member the partition says where it is connected. Numbers of connections are given by
// each node for itself.
TEST_F(NodeFlowTest, AtQos0ADurableMemberIsReachedAtItsNode) {
  Members(3, {});
  Peer stranger(broker_, 0, "stranger");
  stranger.line->Send(support::Subscribe(support::Version::k5, 1, {{"$share/h/t", 0}}));
  broker_.RunFor(absl::Milliseconds(100));
  Mail(broker::NodesConfirmed{nodes_.members.back().second.number});
  EXPECT_EQ(stranger.TakeTypes(), std::vector{kSuback});
  storage::ConnectionRef connection = nodes_.members.back().second.member.connection;
  connection.node = storage::NodeId(3);
  connection.incarnation = storage::Incarnation(5);
  storage::ShareMemberChange durable;
  durable.state = storage::ShareMemberChange::State::kConnected;
  durable.client_id = "durable";
  durable.subscription.filter = "$share/g/t";
  durable.subscription.options.qos = mqtt::QoS::kExactlyOnce;
  durable.connection = connection;
  Mail(storage::Event(durable));
  const Peer publisher(broker_, 0, "publisher");
  publisher.line->Send(PublishOf("t", "x", 0));
  broker_.RunFor(absl::Milliseconds(100));
  ASSERT_EQ(nodes_.to_members.size(), 1u);
  EXPECT_EQ(nodes_.to_members[0].node, 3u);
  EXPECT_EQ(nodes_.to_members[0].member.connection, connection);
  EXPECT_EQ(stranger.TakeTypes(), std::vector{kPublish}) << "of its own group";

  Members(3, {}, {.forget = true, .gone = true});
  publisher.line->Send(PublishOf("t", "y", 0));
  broker_.RunFor(absl::Milliseconds(100));
  EXPECT_EQ(nodes_.to_members.size(), 1u) << "its node is gone";
  EXPECT_EQ(WithoutMember(), 1u);
}

TEST_F(NodeFlowTest, MembersToWhomThereIsNoLinkArePassedOver) {
  Members(1, {MemberAt(1, "one")});
  Members(4, {MemberAt(4, "four")});
  nodes_.cut_off = NodeMask{1} << 1;
  const Peer publisher(broker_, 0, "publisher");
  for (int i = 0; i < 4; ++i) publisher.line->Send(PublishOf("t", "x", 0));
  broker_.RunFor(absl::Milliseconds(100));
  ASSERT_EQ(nodes_.to_members.size(), 4u);
  for (const OtherNodes::ToMember& one : nodes_.to_members) EXPECT_EQ(one.node, 4u);
  nodes_.cut_off = ~NodeMask{0};
  publisher.line->Send(PublishOf("t", "x", 0));
  broker_.RunFor(absl::Milliseconds(100));
  EXPECT_EQ(nodes_.to_members.size(), 5u) << "there is nobody else";
}

TEST_F(NodeFlowTest, WhatANodeThatHasGoneMayNotHaveHadGoesToAnotherMember) {
  Members(1, {MemberAt(1, "one")});
  storage::ChosenMember gone{.filter = "$share/g/t",
                             .connection = MemberAt(4, "four").member.connection,
                             .options = {.qos = mqtt::QoS::kAtLeastOnce},
                             .hops = 1};
  Mail(broker::HandedBack{Message("t", "x", mqtt::QoS::kAtLeastOnce),
                          std::make_unique<storage::ChosenMember>(gone)});
  ASSERT_EQ(nodes_.to_members.size(), 1u);
  EXPECT_EQ(nodes_.to_members[0].node, 1u);
  EXPECT_EQ(nodes_.to_members[0].payload, "x");
}

TEST_F(NodeFlowTest, WhileANodeTellsAnewItsMembersStay) {
  Members(1, {MemberAt(1, "stays"), MemberAt(1, "goes", "$share/h/t")});
  Members(1, {}, {.forget = true, .stale = true});
  const Peer publisher(broker_, 0, "publisher");
  const auto groups = [&] {
    nodes_.to_members.clear();
    publisher.line->Send(PublishOf("t", "x", 0));
    broker_.RunFor(absl::Milliseconds(100));
    return nodes_.to_members.size();
  };
  EXPECT_EQ(groups(), 2u);
  Members(1, {MemberAt(1, "stays")}, {.stale = true});
  EXPECT_EQ(groups(), 2u);
  Members(1, {});
  EXPECT_EQ(groups(), 1u);
  Members(1, {}, {.forget = true, .gone = true});
  EXPECT_EQ(groups(), 0u);
}

// The node lost its lease while the session was being opened.
TEST_F(NodeFlowTest, ASessionThatIsOpenedWhileItMayNotBeServedIsClosed) {
  Peer client(broker_, 0);
  support::ConnectPacket connect{.client_id = "late", .clean = false};
  connect.properties.Number(support::PropertyId::kSessionExpiryInterval, 3600);
  client.line->Send(connect.Encode());
  Shard& shard = broker_.shard(0);
  const uint64_t requests = shard.metrics().storage_requests.value();
  while (shard.metrics().storage_requests.value() == requests)
    broker_.RunFor(absl::Microseconds(10));
  Mail(broker::Control{[&core = shard.core()] { broker::Fence(core, broker::Fenced::kSessions); }});
  EXPECT_EQ(client.TakeTypes(), (std::vector{kConnack, kDisconnect}));
}

// A process that stood still works nothing off that came meanwhile, whoever tells it when.
TEST_F(NodeFlowTest, WhoseLeaseIsOverReadsNothingOfSessionsThatAreKept) {
  const auto kept = Peer::Durable(broker_, 0, "kept");
  Peer passing(broker_, 0, "passing");
  broker_.lease.since_boot_ns =
      absl::ToInt64Nanoseconds(broker_.host().clock().SinceBoot() - absl::Seconds(7));
  kept->line->Send(PublishOf("a", "x", 1));
  passing.line->Send(PublishOf("a", "y", 1));
  broker_.RunFor(absl::Milliseconds(100));
  EXPECT_EQ(kept->TakeTypes(), (std::vector{kConnack, kDisconnect}));
  EXPECT_EQ(passing.TakeTypes(), std::vector{kPuback}) << "it is served on";
  // It is renewed, and nobody has seen that it was over.
  broker_.lease.since_boot_ns = std::numeric_limits<int64_t>::max();
  broker_.RunFor(absl::Seconds(2));
  const auto again = Peer::Durable(broker_, 0, "kept");
  EXPECT_EQ(again->TakeTypes(), std::vector{kConnack});
  // What it was told holds until it is told otherwise.
  Mail(broker::Control{
      [&core = broker_.shard(0).core()] { broker::Fence(core, broker::Fenced::kSessions); }});
  broker_.RunFor(absl::Seconds(2));
  EXPECT_EQ(broker_.shard(0).core().fenced, broker::Fenced::kSessions);
}

// Without a lease clients are let in without asking. When there is one again, leaders hear of them.
TEST_F(NodeFlowTest, WhoWasLetInWithoutALeaseHasOneOwnerWhenThereIsOne) {
  const auto fence = [&](size_t shard, broker::Fenced fenced) {
    Mail(broker::Control{[&core = broker_.shard(shard).core(), fenced] {
           broker::Fence(core, fenced);
         }},
         shard);
  };
  for (storage::PartitionId id = 0; id < broker_.host().core().partitions(); ++id)
    broker_.host().ReplaceLeader(id);  // The new ones ask for what the shards hold.
  broker_.RunFor(absl::Seconds(1));
  Peer first(broker_, 0, "twice");
  for (size_t shard = 0; shard < kShards; ++shard) fence(shard, broker::Fenced::kSessions);
  Peer second(broker_, 1, "twice");
  Peer alone(broker_, 1, "alone");
  EXPECT_EQ(first.ended_ns, 0);
  for (size_t shard = 0; shard < kShards; ++shard) fence(shard, broker::Fenced::kNobody);
  broker_.RunFor(absl::Seconds(1));
  EXPECT_EQ(first.TakeTypes().size() + second.TakeTypes().size(), 1u) << "one is told to go";
  EXPECT_TRUE((first.ended_ns != 0) != (second.ended_ns != 0));
  Peer next(broker_, 0, "alone");
  EXPECT_EQ(alone.TakeTypes(), std::vector{kDisconnect});
}

// Two connections of one name have been let in, and one of them goes: by itself, or because a
// leader says so, which of them ever. The other one is the member.
TEST_F(NodeFlowTest, WhenOneOfTwoWithOneNameGoesTheOtherStaysInItsGroup) {
  const auto fence = [&](broker::Fenced fenced) {
    for (size_t shard = 0; shard < kShards; ++shard) {
      Mail(broker::Control{[&core = broker_.shard(shard).core(), fenced] {
             broker::Fence(core, fenced);
           }},
           shard);
    }
  };
  for (storage::PartitionId id = 0; id < broker_.host().core().partitions(); ++id)
    broker_.host().ReplaceLeader(id);
  broker_.RunFor(absl::Seconds(1));
  Peer publisher(broker_, 0, "publisher");
  for (const int goes : {0, 1, 2}) {
    for (const size_t shard : {0, 1}) {
      fence(broker::Fenced::kSessions);
      const std::string name = absl::StrCat("twice-", goes, "-", shard);
      const std::unique_ptr<Peer> first = MemberHere(name, 0);
      const std::unique_ptr<Peer> second = MemberHere(name, shard);
      if (goes < 2) (goes == 0 ? first : second)->line->Break();
      broker_.RunFor(absl::Milliseconds(100));
      fence(broker::Fenced::kNobody);
      broker_.RunFor(absl::Seconds(1));
      ASSERT_TRUE(goes != 2 || (first->ended_ns != 0) != (second->ended_ns != 0));
      const bool first_stays = goes == 1 || (goes == 2 && first->ended_ns == 0);
      Peer& stays = first_stays ? *first : *second;
      EXPECT_THAT(stays.packets, IsEmpty());
      publisher.line->Send(PublishOf("t", "x", 1));
      broker_.RunFor(absl::Milliseconds(100));
      EXPECT_EQ(stays.TakeTypes(), std::vector{kPublish})
          << "goes " << goes << ", second at shard " << shard;
      EXPECT_EQ(publisher.TakeTypes(), std::vector{kPuback});
      stays.line->Break();
      broker_.RunFor(absl::Milliseconds(100));
    }
  }
}

// Durable requests that were answered.
uint64_t Answered(const broker::ShardMetrics& metrics) {
  uint64_t count = 0;
  for (size_t bucket = 0; bucket < base::LatencyHistogram::kBuckets; ++bucket)
    count += metrics.commit_latency.count(bucket);
  return count;
}

// The scan that follows a SUBACK on the other node must find what was matched without its route.
TEST(NodeFlow, ARouteIsConfirmedOnlyWhenRetainedMessagesMatchedWithoutItAreStored) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    OtherNodes nodes;
    Broker broker(seed, 1, {}, {}, Broker::Small(), &nodes);
    const Peer publisher(broker, 0, "publisher");
    const broker::ShardMetrics& metrics = broker.shard(0).metrics();
    uint64_t stored = 0;
    nodes.on_confirm = [&] { stored = Answered(metrics); };
    const uint64_t requests = metrics.storage_requests.value();
    const unsigned qos = seed % 2;
    publisher.line->Send(PublishOf("a", "kept", qos, /*retain=*/true));
    while (metrics.storage_requests.value() == requests) broker.RunFor(absl::Microseconds(10));
    broker.shard(0).Mail(broker::NodeRoutes{.node = 1, .number = 5});
    broker.RunFor(absl::Milliseconds(100));
    EXPECT_THAT(nodes.confirmed, ElementsAre("shard 0 node 1 to 5"));
    EXPECT_EQ(stored, 1u) << "seed " << seed;
  }
}

TEST(RetainedGate, ConfirmsInOrderAndWaitsForWhatWasSentBefore) {
  broker::RetainedGate gate;
  std::vector<std::string> confirmed;
  const auto release = [&] {
    confirmed.clear();
    gate.Release([&](uint32_t node, uint64_t number) {
      confirmed.push_back(absl::StrCat(node, ":", number));
    });
    return confirmed;
  };
  gate.Came(1, 1);
  EXPECT_THAT(release(), ElementsAre("1:1"));
  gate.Sent(10);
  gate.Came(1, 2);
  gate.Sent(11);
  gate.Came(2, 7);
  EXPECT_THAT(release(), IsEmpty());
  gate.Answered(11);
  EXPECT_THAT(release(), IsEmpty());
  gate.Sent(12);
  gate.Answered(10);
  EXPECT_THAT(release(), ElementsAre("1:2", "2:7"));
  gate.Answered(99);
  gate.Came(3, 1);
  EXPECT_THAT(release(), IsEmpty());
  gate.Answered(12);
  EXPECT_THAT(release(), ElementsAre("3:1"));
}

}  // namespace
}  // namespace sim
