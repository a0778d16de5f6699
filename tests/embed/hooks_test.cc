// What hooks may decide, and that nobody but their own client suffers from them.
#include "embed/hooks.h"

#include <gmock/gmock.h>

#include <future>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/embed/embedded.h"

namespace mqttd {
namespace {

using mqtt::ReasonCode;
using support::PublishPacket;
using support::RawClient;
using enum support::PacketType;

using HooksTest = EmbeddedTest;

// Publishes at QoS 1 and returns the Reason Code of PUBACK.
unsigned Publish(RawClient& client, const std::string& topic, const std::string& payload) {
  static uint16_t id = 0;
  client.Send(PublishPacket{.topic = topic, .payload = payload, .qos = 1, .packet_id = ++id});
  return client.Expect(kPuback).reason;
}

TEST_F(HooksTest, APublishIsPassedChangedOrRefused) {
  hooks_.on_publish = [](const ConnectionPtr& from, const Message& message, const auto& reply) {
    if (message.topic == "refused") return reply(PublishDecision::Refuse());
    if (message.topic == "left") return reply(PublishDecision::Pass());
    Message changed = message;
    changed.topic = "changed/" + from->client_id();
    changed.payload = message.payload + "!";
    changed.user_properties.push_back({"by", "hook"});
    reply(PublishDecision::Change(changed));
  };
  Start();
  RawClient reader = Join("reader");
  reader.Subscribe({{"#", 1}});
  RawClient writer = Join("writer");
  EXPECT_EQ(Publish(writer, "refused", "x"), 0x87u);
  EXPECT_EQ(Publish(writer, "left", "x"), 0u);
  reader.ExpectPublish("left", "x");
  EXPECT_EQ(Publish(writer, "other", "x"), 0u);
  const support::Packet changed = reader.ExpectPublish("changed/writer", "x!");
  EXPECT_EQ(changed.UserProperties().at(0).second, "hook");
  EXPECT_EQ(server_->GetStatistics().messages_dropped, 1u);
}

TEST_F(HooksTest, Qos2AndRetainedMessagesAreDecidedAboutOnce) {
  Inbox<std::string> seen;
  hooks_.on_publish = [&](const ConnectionPtr&, const Message& message, const auto& reply) {
    seen.Put(message.payload);
    Message changed = message;
    changed.payload += "!";
    reply(PublishDecision::Change(changed));
  };
  Start();
  RawClient writer = Join("writer");
  const PublishPacket packet{
      .topic = "t", .payload = "x", .qos = 2, .packet_id = 7, .retain = true};
  writer.Send(packet);
  writer.ExpectAck(kPubrec, 7);
  PublishPacket again = packet;
  again.dup = true;
  writer.Send(again);
  writer.ExpectAck(kPubrec, 7);
  EXPECT_EQ(seen.Take(), "x");
  EXPECT_TRUE(seen.empty());
  RawClient reader = Join("reader");
  reader.Subscribe({{"t", 0}});
  EXPECT_TRUE(reader.ExpectPublish("t", "x!").retain());
}

TEST_F(HooksTest, WhileOneClientWaitsForItsHookTheOthersGoOn) {
  Inbox<Reply<PublishDecision>> held;
  hooks_.on_publish = [&](const ConnectionPtr& from, const Message&, const auto& reply) {
    if (from->client_id() == "slow") return held.Put(reply);
    reply(PublishDecision::Pass());
  };
  options_.settings["broker.shards"] = "1";
  Start();
  RawClient slow = Join("slow");
  RawClient quick = Join("quick");
  slow.Send(PublishPacket{.topic = "a", .qos = 1, .packet_id = 1});
  slow.Send(PublishPacket{.topic = "b", .qos = 1, .packet_id = 2});
  const auto first = held.Take();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(Publish(quick, "t", "x"), 0x10u);
  EXPECT_TRUE(held.empty());  // Its next packet is not even looked at.
  first(PublishDecision::Pass());
  slow.ExpectAck(kPuback, 1, 0x10);
  held.Take()(PublishDecision::Refuse(ReasonCode::kQuotaExceeded));
  slow.ExpectAck(kPuback, 2, 0x97);
}

// On the threads that the server has by itself.
TEST_F(HooksTest, AHookThatBlocksItsThreadHoldsUpNobodyElsesHooks) {
  std::promise<void> let_go;
  Inbox<int> blocked;
  hooks_.on_publish = [&](const ConnectionPtr& from, const Message&, const auto& reply) {
    if (from->client_id() == "blocking") {
      blocked.Put(1);
      let_go.get_future().wait();
    }
    reply(PublishDecision::Pass());
  };
  Start();
  RawClient blocking = Join("blocking");
  RawClient other = Join("other");
  blocking.Send(PublishPacket{.topic = "a", .qos = 1, .packet_id = 1});
  blocked.Take();
  EXPECT_EQ(Publish(other, "t", "x"), 0x10u);
  let_go.set_value();
  blocking.ExpectAck(kPuback, 1, 0x10);
}

TEST_F(HooksTest, AHookThatThrowsOrForgetsToReplyEndsItsOwnClientOnly) {
  hooks_.on_publish = [](const ConnectionPtr&, const Message& message, const auto& reply) {
    if (message.topic == "throw") throw std::runtime_error("a mistake");
    if (message.topic == "throw/int") throw 1;
    if (message.topic == "forget") return;
    if (message.topic == "wrong")
      return reply(PublishDecision::Change({.topic = "with/#", .payload = {}}));
    if (message.topic == "no/text")  // [MQTT-3.3.2-1]
      return reply(PublishDecision::Change({.topic = "caf\xe9", .payload = {}}));
    if (message.topic == "no/answer")
      return reply(PublishDecision::Change({.topic = "t", .response_topic = "caf\xe9"}));
    reply(PublishDecision::Pass());
  };
  Start();
  RawClient other = Join("other");
  RawClient reader = Join("reader");
  reader.Subscribe({{"#", 0}});
  for (const std::string topic :
       {"throw", "throw/int", "forget", "wrong", "no/text", "no/answer"}) {
    RawClient client = Join("client");
    client.Send(PublishPacket{.topic = topic, .qos = 1, .packet_id = 1});
    client.ExpectDisconnect(0x83);
  }
  EXPECT_EQ(Publish(other, "t", "x"), 0u);
  reader.ExpectPublish("t", "x");  // And nothing before.
  EXPECT_GE(server_->GetStatistics().hook_failures, 3u);
}

TEST_F(HooksTest, AHookThatTakesTooLongEndsItsClient) {
  Inbox<Reply<PublishDecision>> held;
  hooks_.on_publish = [&](const ConnectionPtr&, const Message&, const auto& reply) {
    held.Put(reply);
  };
  hooks_.timeout = absl::Seconds(1);
  Start();
  RawClient client = Join("client");
  client.Send(PublishPacket{.topic = "t", .qos = 1, .packet_id = 1});
  client.ExpectDisconnect(0x89);
  EXPECT_EQ(server_->GetStatistics().hook_timeouts, 1u);
  held.Take()(PublishDecision::Pass());  // Nobody is there any more.
}

TEST_F(HooksTest, AThrownAwayTaskCountsAsAFailedHook) {
  options_.executor = [](const std::function<void()>&) {};
  hooks_.on_publish = [](const ConnectionPtr&, const Message&, const auto&) {};
  Start();
  RawClient client = Join("client");
  client.Send(PublishPacket{.topic = "t", .qos = 1, .packet_id = 1});
  client.ExpectDisconnect(0x83);
}

TEST_F(HooksTest, AnInlineHookRunsOnTheShardsThread) {
  Inbox<std::thread::id> threads;
  options_.executor = InlineExecutor();
  hooks_.on_connect = [&](const ConnectionPtr&, bool) { threads.Put(std::this_thread::get_id()); };
  hooks_.on_publish = [&](const ConnectionPtr&, const Message&, const auto& reply) {
    threads.Put(std::this_thread::get_id());
    reply(PublishDecision::Refuse());
  };
  Start();
  RawClient client = Join("client");
  EXPECT_EQ(Publish(client, "t", "x"), 0x87u);
  EXPECT_EQ(threads.Take(), threads.Take());
}

TEST_F(HooksTest, ASubscriptionIsGrantedLoweredOrRefusedByFilter) {
  hooks_.on_subscribe = [](const ConnectionPtr&, const std::vector<client::Subscription>& wanted,
                           const auto& reply) {
    SubscribeDecision decision;
    for (const client::Subscription& each : wanted) {
      decision.reasons.push_back(each.filter == "secret" ? ReasonCode::kNotAuthorized
                                                         : ReasonCode::kGrantedQos1);
    }
    reply(std::move(decision));
  };
  Inbox<std::string> gone;
  hooks_.on_unsubscribe = [&](const ConnectionPtr&, const std::vector<std::string>& filters) {
    gone.Put(filters.at(0));
  };
  Start();
  RawClient client = Join("client");
  client.Send(support::Subscribe(client.version(), 1, {{"a", 2}, {"secret", 0}, {"b", 0}}));
  EXPECT_EQ(client.Expect(kSuback).reasons, (std::vector<uint8_t>{1, 0x87, 0}));
  client.Unsubscribe({"a"});
  EXPECT_EQ(gone.Take(), "a");
}

TEST_F(HooksTest, AuthenticationDecidesOrLeavesItToTheConfiguration) {
  options_.settings["auth.allow_anonymous"] = "false";
  hooks_.authenticate = [](const ConnectionPtr& connection, const Login& login, const auto& reply) {
    connection->SetContext(std::make_shared<int>(42));
    if (login.password == "right") return reply(LoginDecision::Allow(*login.user_name));
    if (login.password == "banned")
      return reply(LoginDecision::Refuse(ReasonCode::kBanned, "go away"));
    if (login.password == "broken") throw std::runtime_error("the back end is gone");
    reply(LoginDecision::ByConfiguration());
  };
  Inbox<std::pair<std::string, int>> connected;
  hooks_.on_connect = [&](const ConnectionPtr& connection, bool) {
    connected.Put({connection->user_name(), *connection->Context<int>()});
  };
  Start();
  const auto knock = [&](const std::string& password) {
    RawClient client(port_);
    client.Send(support::ConnectPacket{.client_id = "c", .user_name = "ann", .password = password}
                    .Encode());
    return client;
  };
  RawClient let_in = knock("right");
  let_in.ExpectConnack(0);
  EXPECT_EQ(connected.Take(), std::pair(std::string("ann"), 42));
  const support::Packet banned = knock("banned").ExpectConnack(0x8A);
  EXPECT_EQ(banned.Text(support::PropertyId::kReasonString), "go away");
  knock("broken").ExpectConnack(0x89);
  knock("something").ExpectConnack(0x86);
  let_in.ExpectNothing();
}

// What the program says may be any length; a packet has room for 65,535 bytes of it.
TEST_F(HooksTest, WhatIsTooLongForAPacketIsCutOrRefused) {
  options_.settings["auth.use_username_as_clientid"] = "true";
  hooks_.authenticate = [](const ConnectionPtr&, const Login& login, const auto& reply) {
    if (login.client_id == "refused")
      return reply(LoginDecision::Refuse(ReasonCode::kNotAuthorized, std::string(69'999, 'x')));
    reply(LoginDecision::Allow(login.client_id == "long" ? std::string(65'536, 'u') : "user"));
  };
  Start();
  const auto knock = [&](const std::string& id) {
    RawClient client(port_);
    client.Send(support::ConnectPacket{.client_id = id}.Encode());
    return client;
  };
  EXPECT_EQ(knock("refused").ExpectConnack(0x87).Text(support::PropertyId::kReasonString),
            std::string(65'535, 'x'));
  knock("long").ExpectConnack(0x85);
  knock("other").ExpectConnack(0);
}

// [MQTT5-1.5.4-1]
TEST_F(HooksTest, WhatIsNotTextReachesNoClient) {
  hooks_.authenticate = [](const ConnectionPtr&, const Login& login, const auto& reply) {
    reply(login.client_id == "refused" ? LoginDecision::Refuse(ReasonCode::kBanned, "caf\xe9")
                                       : LoginDecision::Allow("caf\xe9"));
  };
  Start();
  const auto knock = [&](const std::string& id) {
    RawClient client(port_);
    client.Send(support::ConnectPacket{.client_id = id}.Encode());
    return client;
  };
  EXPECT_NE(knock("refused").ExpectConnack(0x8A).Text(support::PropertyId::kReasonString),
            "caf\xe9");
  knock("allowed").ExpectConnack(0x89);
  EXPECT_EQ(server_->GetStatistics().hook_failures, 1u);
}

// [MQTT5-3.14.2-1] [MQTT5-3.4.2-1] [MQTT5-3.9.3-2]
TEST_F(HooksTest, AReasonCodeThatThePacketDoesNotHaveBecomesOneThatItHas) {
  hooks_.on_publish = [](const ConnectionPtr&, const Message& message, const auto& reply) {
    reply(message.topic == "end" ? PublishDecision::Disconnect(ReasonCode::kBanned)
                                 : PublishDecision::Refuse(ReasonCode::kBanned));
  };
  hooks_.on_subscribe = [](const ConnectionPtr&, const auto&, const auto& reply) {
    reply(SubscribeDecision{{ReasonCode::kBanned, ReasonCode::kQuotaExceeded}});
  };
  Start();
  RawClient client = Join("client");
  EXPECT_EQ(Publish(client, "t", "x"), 0x87u);
  client.Send(support::Subscribe(support::Version::k5, 1, {{"a", 0}, {"b", 0}}));
  EXPECT_THAT(client.ExpectAck(kSuback, 1).reasons, testing::ElementsAre(0x87, 0x97));
  client.Send(PublishPacket{.topic = "end"});
  client.ExpectDisconnect(0x98);
}

TEST_F(HooksTest, AUserOfTheHookLeavesAWill) {
  hooks_.authenticate = [](const ConnectionPtr&, const Login& login, const auto& reply) {
    reply(LoginDecision::Allow(login.user_name.value_or("")));
  };
  Start();
  RawClient reader = Join("reader");
  reader.Subscribe({{"will", 0}});
  RawClient mortal(port_);
  mortal.Send(support::ConnectPacket{.client_id = "mortal",
                                     .will = support::Will{.topic = "will", .payload = "gone"},
                                     .user_name = "ann"}
                  .Encode());
  mortal.ExpectConnack();
  mortal.socket().Close();
  reader.ExpectPublish("will", "gone");
}

TEST_F(HooksTest, AMessageIsWithheldFromOneSubscriber) {
  hooks_.on_deliver = [](const ConnectionPtr& to, const Delivery& message) {
    if (message.payload == "throw" && to->client_id() == "left") throw std::runtime_error("oh");
    return to->client_id() != "left" || message.topic != "private";
  };
  Start();
  RawClient left = Join("left");
  RawClient right = Join("right");
  left.Subscribe({{"#", 1}});
  right.Subscribe({{"#", 1}});
  RawClient writer = Join("writer");
  Publish(writer, "private", "x");
  Publish(writer, "public", "x");
  right.ExpectPublish("private", "x");
  right.ExpectPublish("public", "x");
  left.ExpectPublish("public", "x");
  Publish(writer, "t", "throw");
  left.ExpectDisconnect(0x83);
  right.ExpectPublish("t", "throw");
}

TEST_F(HooksTest, ADurableSessionsWithheldMessageIsDone) {
  hooks_.on_deliver = [](const ConnectionPtr&, const Delivery& message) {
    return message.payload != "secret";
  };
  Start();
  support::ConnectPacket durable{.client_id = "reader"};
  durable.properties.Number(support::PropertyId::kSessionExpiryInterval, 100);
  RawClient reader(port_, durable);
  reader.Subscribe({{"t", 1}});
  RawClient writer = Join("writer");
  Publish(writer, "t", "secret");
  Publish(writer, "t", "open");
  reader.Acknowledge(reader.ExpectPublish("t", "open"));
  reader.ExpectNothing();
}

TEST_F(HooksTest, StatesAndTheEndAreTold) {
  Inbox<ConnectionState> states;
  Inbox<std::string> ends;
  hooks_.idle_after = absl::Seconds(1);
  hooks_.on_state = [&](const ConnectionPtr&, ConnectionState state) { states.Put(state); };
  hooks_.on_disconnect = [&](const ConnectionPtr& connection, const std::string& why) {
    ends.Put(connection->client_id() + " " + why);
  };
  Start();
  RawClient client = Join("client");
  EXPECT_EQ(states.Take(), ConnectionState::kNew);
  EXPECT_EQ(states.Take(), ConnectionState::kActive);
  EXPECT_EQ(states.Take(), ConnectionState::kIdle);
  client.Send(PublishPacket{.topic = "t"});
  EXPECT_EQ(states.Take(), ConnectionState::kActive);
  EXPECT_EQ(states.Take(), ConnectionState::kIdle);  // Again, without any output to it.
  client.Disconnect();
  EXPECT_EQ(ends.Take(), "client disconnect");
  EXPECT_EQ(states.Take(), ConnectionState::kActive);  // It said something: DISCONNECT.
  EXPECT_EQ(states.Take(), ConnectionState::kClosed);
}

TEST_F(HooksTest, AConnectionIsEndedFromOutside) {
  Inbox<ConnectionPtr> connections;
  hooks_.on_connect = [&](const ConnectionPtr& connection, bool) { connections.Put(connection); };
  Start();
  RawClient client = Join("client");
  const ConnectionPtr connection = connections.Take();
  EXPECT_EQ(connection->address(), "127.0.0.1");
  connection->Disconnect();
  client.ExpectDisconnect(0x98);
  connection->Disconnect();  // Again: it is gone.
}

TEST_F(HooksTest, ASlowDeliverHookIsMeasured) {
  hooks_.slow = absl::ZeroDuration();
  hooks_.on_deliver = [](const ConnectionPtr&, const Delivery&) { return true; };
  Start();
  RawClient client = Join("client");
  client.Subscribe({{"t", 0}});
  client.Send(PublishPacket{.topic = "t", .payload = "x"});
  client.ExpectPublish("t", "x");
  EXPECT_EQ(server_->GetStatistics().hook_slow, 1u);
  EXPECT_GT(server_->GetStatistics().hook_longest, absl::ZeroDuration());
}

TEST_F(HooksTest, AboveTheBoundOnCallsNewClientsAreRefused) {
  Inbox<Reply<LoginDecision>> held;
  hooks_.calls_max = 2;
  hooks_.authenticate = [&](const ConnectionPtr&, const Login&, const auto& reply) {
    held.Put(reply);
  };
  Start();
  RawClient first(port_);
  first.Send(support::ConnectPacket{.client_id = "a"}.Encode());
  const auto let_in = held.Take();
  RawClient second(port_);
  second.Send(support::ConnectPacket{.client_id = "b"}.Encode());
  const auto also = held.Take();
  RawClient third(port_);
  third.Send(support::ConnectPacket{.client_id = "c"}.Encode());
  third.ExpectConnack(0x89);
  let_in(LoginDecision::Allow());
  also(LoginDecision::Allow("ann"));
  first.ExpectConnack();
  second.ExpectConnack();
}

}  // namespace
}  // namespace mqttd
