// Shards over a partition host that answers when the test wants it: what must hold between a
// request and its answer.
#include <filesystem>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "mqtt/message.h"
#include "tests/broker/fake_host.h"
#include "tests/support/temp_dir.h"

namespace broker {
namespace {

using support::Packet;
using enum support::PacketType;
using enum support::PropertyId;

mqtt::MessagePtr Retained(std::string_view topic, std::string_view payload) {
  mqtt::MessageParts parts;
  parts.topic = topic;
  parts.payload = payload;
  parts.retain = true;
  return mqtt::Message::Create(parts);
}

mqtt::MessagePtr Will(std::string_view payload) {
  mqtt::MessageParts parts;
  parts.topic = "t";
  parts.payload = payload;
  parts.qos = mqtt::QoS::kAtLeastOnce;
  return mqtt::Message::Create(parts);
}

// ---- A node that has stepped aside

TEST_F(ServerTest, ANodeThatStepsAsideClosesEverybodyAndLetsNobodyInUntilItIsBack) {
  Start();
  Client transient = Join(Transient("transient"));
  Client durable = Join(Durable("durable"));
  support::RawClient opening = Knock(Durable("opening"));
  const auto open = host_.Take<storage::OpenSession>();
  std::promise<void> closed;
  server_->StepAside(true, [&] { closed.set_value(); });
  closed.get_future().wait();
  transient.wire.ExpectDisconnect(0x89);
  durable.wire.ExpectDisconnect(0x89);
  Grant(open);
  opening.ExpectConnack();
  opening.ExpectDisconnect(0x89);
  Knock(Transient("refused")).ExpectConnack(0x88);
  EXPECT_EQ(metrics().connections_refused[RefuseCause::kAside].value(), 1);
  server_->StepAside(false, [] {});
  Join(Transient("back"));
}

// ---- Claims

TEST_F(ServerTest, ATakeoverTellsTheFormerOwnerAndClosesItsSession) {
  Start();
  Client first = Join(Durable("same"));
  support::RawClient second = Knock(Durable("same"));
  const auto open = host_.Take<storage::OpenSession>();
  Post(first.ref.shard, storage::TakenOver{first.ref, "same", first.epoch});
  first.wire.ExpectDisconnect(0x8E);
  const auto close = host_.Take<storage::CloseSession>();
  EXPECT_EQ(close.connection, first.ref);
  EXPECT_EQ(close.epoch, first.epoch);
  EXPECT_EQ(close.cause, storage::CloseCause::kTakenOver);
  Grant(open);
  second.ExpectConnack();
}

TEST_F(ServerTest, AConnectionThatEndsBeforeItsClaimIsGrantedTakesItBack) {
  Start();
  support::RawClient client = Knock(Durable("impatient"));
  const auto open = host_.Take<storage::OpenSession>();
  Post(open.connection.shard, storage::TakenOver{open.connection, "impatient", 0});
  client.ExpectClosed();
  const auto close = host_.Take<storage::CloseSession>();
  EXPECT_EQ(close.client_id, "impatient");
  EXPECT_EQ(close.connection, open.connection);
  EXPECT_EQ(close.epoch, 0u);
  Grant(open);  // It crossed the CloseSession: nobody listens, nothing happens.
  Client other = Join(Transient("other"));
  other.wire.ExpectNothing();
  EXPECT_EQ(metrics().clients_connected.value(), 1);
}

// What a partition pushes of a message that it does not keep for the session.
storage::Delivery Live(std::string_view payload) {
  mqtt::MessageParts parts;
  parts.topic = "t";
  parts.payload = payload;
  parts.qos = mqtt::QoS::kAtLeastOnce;
  storage::Delivery delivery;
  delivery.message = mqtt::Message::Create(parts);
  return delivery;
}

// ---- Commits

// There is a durable subscription to "t" somewhere.
storage::RouteChange DurableRoute() { return {.number = 1, .partition = 0, .filter = "t"}; }

TEST_F(ServerTest, WhatCannotBeStoredIsRefusedOrTheClientCutOff) {
  Start();
  Post(0, DurableRoute());
  const support::PublishPacket message{.topic = "t", .payload = "x", .qos = 1, .packet_id = 5};
  Client told = Join(Transient("told"));
  told.wire.Send(message);
  Post(0, storage::Published{host_.Take<storage::Publish>().token,
                             absl::ResourceExhaustedError("disk full"), false});
  told.wire.ExpectAck(kPuback, 5, 0x97);
  Client cut = Join(Transient("cut", support::Version::k311));  // It has no word for a refusal.
  cut.wire.Send(message);
  Post(0, storage::Published{host_.Take<storage::Publish>().token,
                             absl::ResourceExhaustedError("disk full"), false});
  cut.wire.ExpectClosed();
}

TEST_F(ServerTest, AcknowledgementsKeepTheOrderOfTheMessages) {
  Start();
  Post(0, DurableRoute());
  Client client = Join(Transient("client"));
  client.wire.Send(support::PublishPacket{.topic = "t", .qos = 1, .packet_id = 1});
  client.wire.Send(support::PublishPacket{.topic = "nobody", .qos = 1, .packet_id = 2});
  const auto publish = host_.Take<storage::Publish>();
  client.wire.ExpectNothing();
  Post(0, storage::Published{publish.token, {}, false});
  client.wire.ExpectAck(kPuback, 1);
  client.wire.ExpectAck(kPuback, 2, 0x10);
}

TEST_F(ServerTest, ReadingPausesWhileTooManyCommitsWait) {
  options_.commits_pending_max = 2;
  Start();
  Post(0, DurableRoute());
  Client client = Join(Transient("client"));
  std::string bytes;
  for (uint16_t id = 1; id <= 3; ++id) {
    bytes += support::PublishPacket{.topic = "t", .qos = 1, .packet_id = id}.Encode(
        support::Version::k5);
  }
  client.wire.Send(bytes);
  const auto first = host_.Take<storage::Publish>();
  const auto second = host_.Take<storage::Publish>();
  Join(Transient("other"));  // The shard had time for more.
  EXPECT_FALSE(host_.Has<storage::Publish>());
  Post(0, storage::Published{first.token, {}, false});
  Post(0, storage::Published{second.token, {}, false});
  Post(0, storage::Published{host_.Take<storage::Publish>().token, {}, false});
  for (uint16_t id = 1; id <= 3; ++id) client.wire.ExpectAck(kPuback, id);
}

// What is refused may be sent again: at QoS 2 nobody may have had it by then.
TEST_F(ServerTest, AQos2MessageReachesTransientSessionsOnlyOnceItIsCommitted) {
  Start();
  Post(0, DurableRoute());
  Client subscriber = Join(Transient("subscriber"));
  subscriber.wire.Subscribe({{"t", 2}});
  Client publisher = Join(Transient("publisher"));
  publisher.wire.Send(
      support::PublishPacket{.topic = "t", .payload = "refused", .qos = 2, .packet_id = 5});
  Post(0, storage::Published{host_.Take<storage::Publish>().token,
                             absl::ResourceExhaustedError("disk full"), false});
  publisher.wire.ExpectAck(kPubrec, 5, 0x97);
  publisher.wire.Send(
      support::PublishPacket{.topic = "t", .payload = "stored", .qos = 2, .packet_id = 6});
  const auto publish = host_.Take<storage::Publish>();
  subscriber.wire.ExpectNothing();
  Post(0, storage::Published{publish.token, {}, false});
  publisher.wire.ExpectAck(kPubrec, 6);
  subscriber.wire.ExpectPublish("t", "stored");
  subscriber.wire.ExpectNothing();
}

TEST_F(ServerTest, AQos1MessageReachesTransientSessionsAtOnce) {
  Start();
  Post(0, DurableRoute());
  Client subscriber = Join(Transient("subscriber"));
  subscriber.wire.Subscribe({{"t", 1}});
  Client publisher = Join(Transient("publisher"));
  publisher.wire.Send(
      support::PublishPacket{.topic = "t", .payload = "x", .qos = 1, .packet_id = 5});
  subscriber.wire.ExpectPublish("t", "x");
  publisher.wire.ExpectNothing();
}

// The first is stored as the retained message, the second would not have to wait for anything.
TEST_F(ServerTest, AQos2MessageDoesNotOvertakeOneThatWaitsForItsCommit) {
  Start();
  Client subscriber = Join(Transient("subscriber"));
  subscriber.wire.Subscribe({{"x", 2}});
  Client publisher = Join(Transient("publisher"));
  publisher.wire.Send(support::PublishPacket{
      .topic = "x", .payload = "first", .qos = 2, .packet_id = 5, .retain = true});
  publisher.wire.Send(
      support::PublishPacket{.topic = "x", .payload = "second", .qos = 2, .packet_id = 6});
  const auto first = host_.Take<storage::Publish>();
  const auto second = host_.Take<storage::Publish>();
  subscriber.wire.ExpectNothing();
  Post(0, storage::Published{first.token, {}, false});
  Post(0, storage::Published{second.token, {}, false});
  subscriber.wire.ExpectPublish("x", "first");
  subscriber.wire.ExpectPublish("x", "second");
}

// ---- Durable sessions

// Of a QoS 1 message the partition alone says who gets it, whatever QoS this shard believes the
// subscription to have: the two would differ while it is being replaced.
TEST_F(ServerTest, ADurableSessionGetsQos0MessagesFromTheShardAndAllOthersFromItsPartition) {
  Start();
  Post(0, DurableRoute());
  Client subscriber = Join(Durable("subscriber"));
  SubscribeDurably(subscriber, "t", 0);
  Client publisher = Join(Transient("publisher"));
  const auto publish = [&](std::string payload) {
    publisher.wire.Send(
        support::PublishPacket{.topic = "t", .payload = payload, .qos = 1, .packet_id = 5});
    const auto request = host_.Take<storage::Publish>();
    EXPECT_EQ(request.partitions, 1u);
    Post(0, storage::Published{request.token, {}, false});
    publisher.wire.ExpectAck(kPuback, 5);
    publisher.wire.Send(support::PublishPacket{.topic = "t", .payload = payload + ", QoS 0"});
    subscriber.wire.ExpectPublish("t", payload + ", QoS 0");
  };
  publish("first");
  subscriber.wire.Send(support::Subscribe(support::Version::k5, 2, {{"t", 1}}));
  host_.Take<storage::Subscribe>();
  publish("second");
  subscriber.wire.ExpectNothing();
  Post(0, storage::Deliver{subscriber.ref, subscriber.epoch, {Live("first"), Live("second")}});
  subscriber.wire.ExpectPublish("t", "first");
  subscriber.wire.ExpectPublish("t", "second");
}

TEST_F(ServerTest, OfWhatIsNotKeptADurableSessionGetsWhatThereIsRoomFor) {
  limits().output_bytes_max = 1024;
  Start();
  Client subscriber = Join(Durable("subscriber"));
  const std::string payload(500, 'x');
  storage::Deliver deliver{subscriber.ref, subscriber.epoch, {}};
  for (int i = 0; i < 5; ++i) deliver.entries.push_back(Live(payload));
  Post(0, deliver);
  for (int i = 0; i < 3; ++i) subscriber.wire.ExpectPublish("t", payload);
  subscriber.wire.ExpectNothing();
  EXPECT_EQ(metrics().dropped[DropCause::kOutputFull].value(), 2u);
  for (storage::Delivery& entry : deliver.entries) entry.replay = true;  // Its pages are bounded.
  Post(0, deliver);
  for (int i = 0; i < 5; ++i) subscriber.wire.ExpectPublish("t", payload);
}

// ---- Shared subscriptions

// An UNSUBSCRIBE acts when it is read: its member gets nothing that is published afterwards, though
// the partition has not committed it yet and the connection has ended.
TEST_F(ServerTest, AMemberThatUnsubscribesAndGoesIsNotReachedForAfterwards) {
  Start();
  Client member = JoinGroup("member");
  member.wire.Send(support::Unsubscribe(support::Version::k5, 2, {"$share/g/t"}));
  host_.Take<storage::Unsubscribe>();
  member.wire.Disconnect();
  host_.Take<storage::CloseSession>();

  Client publisher = Join(Transient("publisher"));
  publisher.wire.Send(
      support::PublishPacket{.topic = "t", .payload = "x", .qos = 1, .packet_id = 5});
  publisher.wire.ExpectAck(kPuback, 5, 0x10);
  EXPECT_FALSE(host_.Has<storage::Publish>());
}

// PUBREC says that the message is safe: with a durable member of a group it is only if that
// member's queue is part of the same commit.
TEST_F(ServerTest, AQos2MessageForADurableMemberIsCommittedWithItsIdentifier) {
  Start();
  Client member = JoinGroup("member");
  Client publisher = Join(Durable("publisher"));
  publisher.wire.Send(
      support::PublishPacket{.topic = "t", .payload = "x", .qos = 2, .packet_id = 5});
  const auto accept = host_.Take<storage::AcceptInbound>();
  EXPECT_EQ(accept.packet_id, 5);
  ASSERT_EQ(accept.targets.size(), 1u);
  EXPECT_EQ(accept.targets[0].client_id, "member");
  EXPECT_FALSE(accept.targets[0].transient);
  Post(0, storage::Published{accept.token, {}, false});
  publisher.wire.ExpectAck(kPubrec, 5);
  EXPECT_FALSE(host_.Has<storage::Publish>());  // It is in the outbox.
}

TEST_F(ServerTest, AQos2MessageReachesATransientMemberOnceItIsCommitted) {
  Start();
  Client member = Join(Transient("member"));
  member.wire.Subscribe({{"$share/g/t", 2}});
  Client publisher = Join(Durable("publisher"));
  publisher.wire.Send(
      support::PublishPacket{.topic = "t", .payload = "x", .qos = 2, .packet_id = 5});
  const auto accept = host_.Take<storage::AcceptInbound>();
  ASSERT_EQ(accept.targets.size(), 1u);
  EXPECT_TRUE(accept.targets[0].transient);
  Post(0, storage::Published{accept.token, {}, false});
  publisher.wire.ExpectAck(kPubrec, 5);
  member.wire.ExpectNothing();
  Post(0, storage::RouteMessage{.message = accept.message,
                                .outbox = {.number = 1, .kept_from = 1},
                                .in_order = true,
                                .targets = accept.targets});
  Post(0, storage::Published{host_.Take<storage::OutboxDone>().token, {}, false});
  member.wire.ExpectPublish("t", "x");
  member.wire.ExpectNothing();
}

// Nobody is told, so it is at least asked for a commit, and counted when it is refused.
TEST_F(ServerTest, WhatAMemberLeavesToADurableOneIsWrittenAtOnceOrCounted) {
  Start();
  Client leaver = Join(Transient("leaver"));
  leaver.wire.Subscribe({{"$share/g/t", 1}});
  Client publisher = Join(Transient("publisher"));
  publisher.wire.Publish({.topic = "t", .payload = "x", .qos = 1});
  leaver.wire.ExpectPublish("t", "x");  // Never acknowledged.
  Client member = JoinGroup("member");
  leaver.wire.Disconnect();
  const auto handed_on = host_.Take<storage::Publish>();
  ASSERT_EQ(handed_on.shared_targets.size(), 1u);
  EXPECT_NE(handed_on.token, 0u);
  Post(0, storage::Published{handed_on.token, absl::ResourceExhaustedError("disk full"), false});
  publisher.wire.ExpectNothing();
  EXPECT_EQ(metrics().dropped[DropCause::kStorageFailed].value(), 1u);
}

// Were it passed on before that is committed, a crash in between would have another one chosen.
TEST_F(ServerTest, ADurableMemberThatIsChosenForAWillIsWrittenDownFirst) {
  Start();
  Client member = JoinGroup("member");
  Client plain = Join(Transient("plain"));
  plain.wire.Subscribe({{"t", 1}});
  storage::RouteMessage route{.message = Will("gone"), .outbox = {.number = 7, .kept_from = 7}};
  Post(0, route);
  const auto assign = host_.Take<storage::OutboxAssign>();
  EXPECT_EQ(assign.number, 7u);
  ASSERT_EQ(assign.targets.size(), 1u);
  EXPECT_EQ(assign.targets[0].client_id, "member");
  plain.wire.ExpectNothing();
  route.targets = assign.targets;
  Post(0, route);
  const auto publish = host_.Take<storage::Publish>();
  EXPECT_EQ(publish.outbox.number, 7u);
  EXPECT_EQ(publish.shared_targets.size(), 1u);
  Post(0, storage::Published{publish.token, absl::ResourceExhaustedError("disk full"), false});
  EXPECT_EQ(host_.Take<storage::OutboxDone>().fate, storage::OutboxDone::Fate::kRefused);
  plain.wire.ExpectNothing();
  Post(0, route);
  Post(0, storage::Published{host_.Take<storage::Publish>().token, {}, false});
  EXPECT_EQ(host_.Take<storage::OutboxDone>().fate, storage::OutboxDone::Fate::kPassedOn);
  plain.wire.ExpectPublish("t", "gone");
  Post(0, route);  // A new leader does not know that it is passed on.
  plain.wire.ExpectNothing();
  EXPECT_FALSE(host_.Has<storage::Publish>());
  EXPECT_EQ(metrics().dropped[DropCause::kStorageFailed].value(), 0u);
}

// Before that, another member would get it too after a crash.
TEST_F(ServerTest, ATransientMemberGetsWhatWasLeftOnceItIsOutOfTheOutbox) {
  Start();
  Client member = Join(Transient("member"));
  member.wire.Subscribe({{"$share/g/t", 2}});
  Client plain = Join(Transient("plain"));
  plain.wire.Subscribe({{"t", 1}});
  storage::RouteMessage route{.message = Will("lost"),
                              .outbox = {.number = 7, .kept_from = 7},
                              .only_filter = "$share/g/t",
                              .groups_only = true};
  Post(0, route);
  const auto gone = host_.Take<storage::OutboxDone>();
  EXPECT_NE(gone.token, 0u);
  member.wire.ExpectNothing();
  Post(0, storage::Published{gone.token, absl::FailedPreconditionError("gone already"), false});
  member.wire.ExpectNothing();
  route.message = Will("left");
  route.outbox.number = 8;
  Post(0, route);
  Post(0, storage::Published{host_.Take<storage::OutboxDone>().token, {}, false});
  member.wire.ExpectPublish("t", "left");
  member.wire.ExpectNothing();
  plain.wire.ExpectNothing();
  EXPECT_FALSE(host_.Has<storage::Publish>());
}

TEST_F(ServerTest, TheHostIsToldWhenNobodyTakesWhatItKeeps) {
  Start();
  Post(0, storage::RouteMessage{.message = Will("left"),
                                .outbox = {.number = 7, .kept_from = 7},
                                .only_filter = "$share/g/t",
                                .groups_only = true});
  const auto kept = host_.Take<storage::OutboxDone>();
  EXPECT_EQ(kept.number, 7u);
  EXPECT_EQ(kept.fate, storage::OutboxDone::Fate::kNoMember);
  EXPECT_FALSE(host_.Has<storage::Publish>());
  EXPECT_EQ(metrics().dropped[DropCause::kNoShareMember].value(), 0u);  // Not yet.
}

// ---- Retained messages

// A page may be larger than what may wait for a client: nothing of it is dropped.
TEST_F(ServerTest, RetainedMessagesWaitForRoomOnTheWire) {
  limits().output_bytes_max = 1024;
  Start();
  Client subscriber = Join(Transient("subscriber"));
  subscriber.wire.Subscribe({{"t/#", 0}});
  const auto scan = host_.Take<storage::ScanRetained>();
  storage::RetainedPage page;
  page.token = scan.token;
  page.cursor = "more";
  const std::string payload(500, 'x');
  for (int i = 0; i < 20; ++i) page.messages.push_back(Retained("t/" + std::to_string(i), payload));
  Post(0, page);
  for (int i = 0; i < 20; ++i) subscriber.wire.ExpectPublish("t/" + std::to_string(i), payload);
  const auto next = host_.Take<storage::ScanRetained>();
  EXPECT_EQ(next.cursor, "more");
  EXPECT_EQ(metrics().dropped[DropCause::kOutputFull].value(), 0u);
}

// Replays go one after the other; what an unsubscribed filter had asked for is dropped when it
// comes.
TEST_F(ServerTest, RetainedMessagesOfAnUnsubscribedFilterAreSkippedAndTheNextFollow) {
  Start();
  Client subscriber = Join(Transient("subscriber"));
  subscriber.wire.Subscribe({{"a", 0}, {"b", 0}, {"c", 0}});
  const auto page_for = [](const storage::ScanRetained& scan, std::string_view topic) {
    storage::RetainedPage page;
    page.token = scan.token;
    page.messages.push_back(Retained(topic, "x"));
    return page;
  };
  const auto first = host_.Take<storage::ScanRetained>();
  EXPECT_EQ(first.filter, "a");
  EXPECT_FALSE(host_.Has<storage::ScanRetained>());
  subscriber.wire.Send(support::Unsubscribe(support::Version::k5, 2, {"a"}));
  const auto second = host_.Take<storage::ScanRetained>();
  EXPECT_EQ(second.filter, "b");
  Post(0, page_for(first, "a"));
  Post(0, page_for(second, "b"));
  const auto third = host_.Take<storage::ScanRetained>();
  EXPECT_EQ(third.filter, "c");
  Post(0, page_for(third, "c"));
  subscriber.wire.Expect(support::PacketType::kUnsuback);
  subscriber.wire.ExpectPublish("b", "x");
  subscriber.wire.ExpectPublish("c", "x");
  subscriber.wire.ExpectNothing();
}

// As long as nothing is found, each request is about more filters; a page is of the one behind
// those that it passed.
TEST_F(ServerTest, WhereNothingIsRetainedSeveralFiltersAreAskedForAtOnce) {
  Start();
  Client subscriber = Join(Transient("subscriber"));
  subscriber.wire.Subscribe(
      {{"a", 0}, {"b", 0}, {"c", 0}, {"d", 0}, {"e", 0}, {"f", 0}, {"g", 0}, {"h", 0}});
  using Filters = std::vector<std::string>;
  storage::RetainedPage page;
  const auto first = host_.Take<storage::ScanRetained>();
  EXPECT_EQ(first.others, Filters());
  page.token = first.token;
  Post(0, page);
  const auto second = host_.Take<storage::ScanRetained>();
  EXPECT_EQ(second.filter, "b");
  EXPECT_EQ(second.others, Filters({"c"}));
  page.token = second.token;
  page.passed = 1;
  Post(0, page);
  const auto third = host_.Take<storage::ScanRetained>();
  EXPECT_EQ(third.filter, "d");
  EXPECT_EQ(third.others, Filters({"e", "f", "g"}));
  page.token = third.token;
  page.passed = 2;
  page.messages.push_back(Retained("f", "x"));
  page.cursor = "more";
  Post(0, page);
  subscriber.wire.ExpectPublish("f", "x");
  const auto fourth = host_.Take<storage::ScanRetained>();
  EXPECT_EQ(fourth.filter, "f");
  EXPECT_EQ(fourth.cursor, "more");
  EXPECT_EQ(fourth.others, Filters());
}

// The places that the page counts stay.
TEST_F(ServerTest, AFilterThatIsUnsubscribedWhileItsPageIsOnItsWayGetsNothingOfIt) {
  Start();
  Client subscriber = Join(Transient("subscriber"));
  subscriber.wire.Subscribe({{"a", 0}, {"b", 0}, {"c", 0}, {"d", 0}});
  storage::RetainedPage page;
  page.token = host_.Take<storage::ScanRetained>().token;
  Post(0, page);
  const auto asked = host_.Take<storage::ScanRetained>();
  EXPECT_EQ(asked.filter, "b");
  subscriber.wire.Send(support::Unsubscribe(support::Version::k5, 2, {"c"}));
  subscriber.wire.Expect(support::PacketType::kUnsuback);
  page.token = asked.token;
  page.passed = 1;
  page.messages.push_back(Retained("c", "x"));
  Post(0, page);
  const auto last = host_.Take<storage::ScanRetained>();
  EXPECT_EQ(last.filter, "d");
  page = {};
  page.token = last.token;
  page.messages.push_back(Retained("d", "x"));
  Post(0, page);
  subscriber.wire.ExpectPublish("d", "x");
  subscriber.wire.ExpectNothing();
}

// ---- Gauges

TEST_F(ServerTest, NothingIsInFlightWhenAllIsAcknowledged) {
  Start();
  Client client = Join(Durable("client"));
  storage::Delivery owed;  // PUBREC came on an earlier connection.
  owed.sequence = 7;
  owed.qos = mqtt::QoS::kExactlyOnce;
  owed.release = true;
  storage::Delivery message;
  message.sequence = 8;
  message.qos = mqtt::QoS::kAtLeastOnce;
  message.message = Retained("t", "x");
  Post(0, storage::Deliver{client.ref, client.epoch, {owed, message}});
  const Packet release = client.wire.Expect(kPubrel);
  const Packet publish = client.wire.ExpectPublish("t", "x");
  EXPECT_EQ(metrics().inflight_messages.value(), 2);
  client.wire.Send(support::Ack(kPubcomp, release.packet_id));
  client.wire.Acknowledge(publish);
  client.wire.ExpectNothing();
  EXPECT_EQ(metrics().inflight_messages.value(), 0);
}

TEST_F(ServerTest, WhatATransientSessionLeavesBehindIsCounted) {
  limits().inflight_messages_max = 2;
  Start();
  Client subscriber = Join(Transient("subscriber"));
  subscriber.wire.Subscribe({{"t", 1}});
  Client publisher = Join(Transient("publisher"));
  for (int i = 0; i < 5; ++i) publisher.wire.Publish({.topic = "t", .payload = "x", .qos = 1});
  EXPECT_EQ(metrics().queued_messages.value(), 3);
  EXPECT_EQ(metrics().match_cache_hits.value() + metrics().match_cache_misses.value(), 5u);
  subscriber.wire.socket().Reset();
  for (auto gone = host_.Take<storage::CloseSession>(); gone.connection != subscriber.ref;)
    gone = host_.Take<storage::CloseSession>();
  EXPECT_EQ(metrics().queued_messages.value(), 0);
  EXPECT_EQ(metrics().queued_bytes.value(), 0);
  EXPECT_EQ(metrics().inflight_messages.value(), 0);
  EXPECT_EQ(metrics().dropped[DropCause::kSessionEnded].value(), 5u);
}

// However often SIGHUP comes.
TEST_F(ServerTest, AReloadKeepsNothingOfTheLimitsThatStayAsTheyAre) {
  Start();
  const Client client = Join(Transient("client"));
  const auto reload = [&](uint32_t subscriptions_max) {
    limits().subscriptions_max = subscriptions_max;
    ASSERT_TRUE(server_->Reload(options_, [] { return absl::OkStatus(); }).ok());
  };
  const uint32_t first = limits().subscriptions_max;
  for (int i = 0; i < 100; ++i) reload(first);
  EXPECT_EQ(server_->former_terms(), 0u);
  for (int i = 0; i < 100; ++i) reload(i % 2 == 0 ? 1 : 2);
  while (server_->former_terms() > 1) std::this_thread::yield();
  EXPECT_EQ(server_->former_terms(), 1u) << "what the client has";
  Client late = Join(Transient("late"));
  late.wire.Send(support::Subscribe(support::Version::k5, 1, {{"a", 0}, {"b", 0}, {"c", 0}}));
  EXPECT_EQ(late.wire.ExpectAck(kSuback, 1).reasons, (std::vector<uint8_t>{0, 0, 0x97}));
}

// An embedding program may open and close them for as long as it runs.
TEST_F(ServerTest, OfAListenerThatIsClosedThereIsNothingLeftWhenItsLastConnectionIsGone) {
  Start();
  const support::TempDir directory;
  const std::string path = directory.path() + "/socket";
  ListenerSettings more = options_.listeners[0];
  for (int round = 0; round < 100; ++round) {
    more.name = absl::StrCat("more-", round);
    more.listener.url = ParseListenerUrl("unix:" + path).value();
    const auto url = server_->AddListener(more);
    ASSERT_TRUE(url.ok()) << url.status();
    ASSERT_TRUE(server_->CloseListener(*url).ok());
    // Its socket's file goes with the listener itself.
    while (server_->former_terms() != 0 || std::filesystem::exists(path)) std::this_thread::yield();
  }
  EXPECT_LT(server_->access_files().size(), 100u);
  more.listener.url = ParseListenerUrl("mqtt://127.0.0.1:0").value();
  const auto url = server_->AddListener(more);
  ASSERT_TRUE(url.ok()) << url.status();
  port_ = static_cast<uint16_t>(std::stoi(url->substr(url->rfind(':') + 1)));
  {
    Client client = Join(Transient("client"));
    ASSERT_TRUE(server_->CloseListener(*url).ok());
    client.wire.Subscribe({{"t", 0}});  // It stays, and what it goes by.
    EXPECT_EQ(server_->former_terms(), 1u);
  }
  while (server_->former_terms() != 0) std::this_thread::yield();
  // One that a node begins with is no other.
  ASSERT_TRUE(server_->CloseListener(server_->urls().at(0)).ok());
  while (server_->former_terms() != 0) std::this_thread::yield();
}

}  // namespace
}  // namespace broker
