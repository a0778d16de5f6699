// SUBSCRIBE and UNSUBSCRIBE between a request and its answer, and the retained messages around it.
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mqtt/message.h"
#include "tests/broker/fake_host.h"

namespace broker {
namespace {

using support::Packet;
using enum support::PacketType;
using enum support::PropertyId;

class SubscribeFlowTest : public ServerTest {
 protected:
  void PublishLive(const std::string& payload) {
    publisher_.value().wire.Send(support::PublishPacket{.topic = "t", .payload = payload});
    publisher_->wire.ExpectNothing();
  }
  void StartWithPublisher() {
    Start();
    publisher_.emplace(Join(Transient("publisher")));
  }
  static std::vector<uint8_t> Granted(Client& client, const std::vector<support::Filter>& filters) {
    client.wire.Send(support::Subscribe(support::Version::k5, 1, filters));
    return client.wire.Expect(kSuback).reasons;
  }
  static mqtt::MessagePtr Retained(std::string_view payload) {
    mqtt::MessageParts parts;
    parts.topic = "t";
    parts.payload = payload;
    parts.retain = true;
    return mqtt::Message::Create(parts);
  }

  std::optional<Client> publisher_;
};

// ---- Durable sessions: what the shard has is what the partition has

TEST_F(SubscribeFlowTest, ARefusedSubscribeLeavesTheSubscriptionAsItWas) {
  StartWithPublisher();
  Client client = Join(Durable("client"));
  support::Properties first;
  first.Number(kSubscriptionIdentifier, 1);
  client.wire.Send(support::Subscribe(support::Version::k5, 1, {{"t", 0}}, first));
  Post(0, storage::SubscribeDone{host_.Take<storage::Subscribe>().token, {}});
  client.wire.ExpectAck(kSuback, 1);
  support::Properties second;
  second.Number(kSubscriptionIdentifier, 2);
  client.wire.Send(support::Subscribe(support::Version::k5, 2, {{"t", 0}, {"new", 0}}, second));
  Post(0, storage::SubscribeDone{host_.Take<storage::Subscribe>().token,
                                 absl::ResourceExhaustedError("disk full")});
  const Packet refusal = client.wire.Expect(kSuback);
  EXPECT_EQ(refusal.packet_id, 2);
  PublishLive("x");
  EXPECT_EQ(client.wire.ExpectPublish("t", "x").Numbers(kSubscriptionIdentifier),
            std::vector<uint32_t>{1});
  publisher_->wire.Send(support::PublishPacket{.topic = "new", .payload = "y"});
  publisher_->wire.ExpectNothing();
  client.wire.ExpectNothing();
}

TEST_F(SubscribeFlowTest, ARefusedUnsubscribeLeavesTheSubscription) {
  StartWithPublisher();
  Client client = Join(Durable("client"));
  SubscribeDurably(client, "t", 0);
  client.wire.Send(support::Unsubscribe(support::Version::k5, 2, {"t"}));
  Post(0, storage::UnsubscribeDone{host_.Take<storage::Unsubscribe>().token,
                                   absl::ResourceExhaustedError("disk full"),
                                   {}});
  // [MQTT5-3.11.3-2]
  EXPECT_EQ(client.wire.Expect(kUnsuback).reasons, std::vector<uint8_t>{0x80});
  PublishLive("still");
  client.wire.ExpectPublish("t", "still");
  client.wire.Send(support::Unsubscribe(support::Version::k5, 3, {"t"}));
  Post(0, storage::UnsubscribeDone{host_.Take<storage::Unsubscribe>().token, {}, {true}});
  client.wire.ExpectAck(kUnsuback, 3);
  PublishLive("no more");
  client.wire.ExpectNothing();
}

// What is on its way to be committed counts.
TEST_F(SubscribeFlowTest, SubscriptionsMaxHoldsHoweverFastTheyCome) {
  limits().subscriptions_max = 2;
  Start();
  Client client = Join(Durable("client"));
  client.wire.Send(support::Subscribe(support::Version::k5, 1, {{"a", 0}}));
  client.wire.Send(support::Subscribe(support::Version::k5, 2, {{"b", 0}, {"c", 0}}));
  const auto first = host_.Take<storage::Subscribe>();
  const auto second = host_.Take<storage::Subscribe>();
  ASSERT_EQ(second.subscriptions.size(), 1u);
  EXPECT_EQ(second.subscriptions[0].filter, "b");
  Post(0, storage::SubscribeDone{first.token, {}});
  Post(0, storage::SubscribeDone{second.token, absl::ResourceExhaustedError("disk full")});
  client.wire.ExpectAck(kSuback, 1);
  client.wire.Expect(kSuback);
  client.wire.Send(support::Subscribe(support::Version::k5, 3, {{"c", 0}}));
  EXPECT_EQ(host_.Take<storage::Subscribe>().subscriptions.size(), 1u);
}

// 2.8 MB of SUBSCRIBE took 400 MB, which no bound saw.
TEST_F(SubscribeFlowTest, WhatASessionsSubscriptionsTakeIsBounded) {
  limits().subscriptions_bytes_max = 10'000;
  limits().shared_subscriptions_max = 2;
  options_.share_groups_max = 3;
  Start();
  Client client = Join(Transient("client"));
  const std::string large(2000, 'x');
  EXPECT_EQ(Granted(client, {{large, 0}, {"a", 0}, {large + "/2", 0}, {"b", 0}}),
            (std::vector<uint8_t>{0, 0, 0x97, 0}));
  EXPECT_EQ(Granted(client, {{large, 1}}), (std::vector<uint8_t>{1}));  // It is there already.
  client.wire.Send(support::Unsubscribe(support::Version::k5, 2, {large}));
  client.wire.Expect(kUnsuback);
  EXPECT_EQ(Granted(client, {{large + "/2", 0}}), (std::vector<uint8_t>{0}));
  EXPECT_EQ(Granted(client, {{"$share/1/t", 0}, {"$share/2/t", 0}, {"$share/3/t", 0}}),
            (std::vector<uint8_t>{0, 0, 0x97}));
  Client other = Join(Transient("other"));
  EXPECT_EQ(Granted(other, {{"$share/3/t", 0}, {"$share/4/t", 0}, {"$share/4/u", 0}}),
            (std::vector<uint8_t>{0, 0x97, 0}));
  EXPECT_EQ(metrics().subscriptions_refused[SubscribeRefusal::kSubscriptionsBytesMax].value(), 1u);
  EXPECT_EQ(metrics().subscriptions_refused[SubscribeRefusal::kSharedSubscriptionsMax].value(), 1u);
  EXPECT_EQ(metrics().subscriptions_refused[SubscribeRefusal::kShareGroupsMax].value(), 1u);
}

TEST_F(SubscribeFlowTest, WhatAllSubscriptionsTakeIsBounded) {
  options_.subscriptions_bytes_max = 5 * 600;
  Start();
  Client one = Join(Transient("one"));
  Client two = Join(Transient("two"));
  EXPECT_EQ(Granted(one, {{"a", 0}, {"b", 0}, {"c", 0}}), (std::vector<uint8_t>{0, 0, 0}));
  EXPECT_EQ(Granted(two, {{"a", 0}, {"b", 0}, {"c", 0}}), (std::vector<uint8_t>{0, 0, 0x97}));
  one.wire.Send(support::Unsubscribe(support::Version::k5, 2, {"a"}));
  one.wire.Expect(kUnsuback);
  EXPECT_EQ(Granted(two, {{"c", 0}}), (std::vector<uint8_t>{0}));
}

// The host's answer may come with the first retained messages; the other shard's comes later.
TEST_F(SubscribeFlowTest, RetainedMessagesOfADurableSessionComeAfterSuback) {
  options_.shards = 2;
  Start();
  Client client = Join(Durable("client"));
  client.wire.Send(support::Subscribe(support::Version::k5, 1, {{"t", 1}}));
  storage::Delivery delivery;
  delivery.sequence = 1;
  delivery.qos = mqtt::QoS::kAtLeastOnce;
  delivery.retain = true;
  delivery.message = Retained("kept");
  std::vector<storage::Event> events;
  events.emplace_back(storage::SubscribeDone{host_.Take<storage::Subscribe>().token, {}});
  events.emplace_back(storage::Deliver{client.ref, client.epoch, {delivery}});
  server_->Post(client.ref.address(), std::move(events));
  EXPECT_EQ(client.wire.Expect(kSuback).reasons, std::vector<uint8_t>{1});
  client.wire.Acknowledge(client.wire.ExpectPublish("t", "kept"));
  EXPECT_EQ(host_.Take<storage::Acknowledge>().entries.at(0).sequence, 1u);
}

// ---- Transient sessions

// SUBACK waits for the other shard; a message that is retained comes live before it.
TEST_F(SubscribeFlowTest, ARetainedMessageThatCameLiveIsNotRepeated) {
  options_.shards = 2;
  Start();
  Client client = Join(Transient("client"));
  client.wire.Send(support::Subscribe(support::Version::k5, 1, {{"t", 0}}) +
                   support::PublishPacket{.topic = "t", .payload = "live", .retain = true}.Encode(
                       support::Version::k5));
  storage::RetainedPage page;
  page.token = host_.Take<storage::ScanRetained>().token;
  page.messages.push_back(Retained("live"));
  Post(client.ref.shard, page);
  client.wire.ExpectPublish("t", "live");
  client.wire.ExpectAck(kSuback, 1);
  client.wire.ExpectNothing();
}

// A subscription that is made after it was not there to get it.
TEST_F(SubscribeFlowTest, ARetainedMessageThatCameLiveIsForASubscriptionMadeLater) {
  StartWithPublisher();
  Client client = Join(Transient("client"));
  client.wire.Subscribe({{"t", 0}});
  const auto first = host_.Take<storage::ScanRetained>();
  publisher_->wire.Send(support::PublishPacket{.topic = "t", .payload = "live", .retain = true});
  client.wire.ExpectPublish("t", "live");
  client.wire.Subscribe({{"#", 0}});
  storage::RetainedPage page;
  page.messages.push_back(Retained("live"));
  page.token = first.token;
  Post(0, page);
  page.token = host_.Take<storage::ScanRetained>().token;
  Post(0, page);
  client.wire.ExpectPublish("t", "live");
  client.wire.ExpectNothing();
}

// ---- A client that takes small packets only

support::ConnectPacket Small(uint32_t packet_size_max) {
  support::ConnectPacket connect{.client_id = "small"};
  connect.properties.Number(kMaximumPacketSize, packet_size_max);
  return connect;
}

TEST_F(SubscribeFlowTest, ASubackThatTheClientCannotTakeEndsTheConnection) {
  Start();
  Client client = Join(Small(100));
  const std::vector<support::Filter> filters(200, {"t", 0});
  client.wire.Send(support::Subscribe(support::Version::k5, 1, filters));
  client.wire.ExpectDisconnect(0x95);
}

TEST_F(SubscribeFlowTest, AnUnsubackThatTheClientCannotTakeEndsTheConnection) {
  Start();
  Client client = Join(Small(100));
  client.wire.Send(
      support::Unsubscribe(support::Version::k5, 1, std::vector<std::string>(200, "t")));
  client.wire.ExpectDisconnect(0x95);
}

// The smallest CONNACK is five bytes. Its client was not connected, so it leaves no will.
TEST_F(SubscribeFlowTest, AConnackThatTheClientCannotTakeIsARefusalThatItCan) {
  Start();
  support::RawClient client = Knock(Small(5));
  Grant(host_.Take<storage::OpenSession>());
  client.ExpectConnack(0x95);
  client.ExpectClosed();
  EXPECT_EQ(host_.Take<storage::CloseSession>().cause, storage::CloseCause::kNormal);
}

}  // namespace
}  // namespace broker
