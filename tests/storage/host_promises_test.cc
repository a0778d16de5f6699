// What the host says must be true, also when things come in an order that nobody likes.
#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/keys.h"
#include "storage/core/session.h"
#include "storage/leader/host.h"
#include "tests/storage/host_fixture.h"

namespace storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class HostPromises : public HostTest {
 protected:
  HostPromises() = default;
  explicit HostPromises(StorageOptions options) : HostTest(std::move(options)) {}
};

// Of what was handed to the log last.
int CommandsBeingWritten(const HostSim& sim) {
  int commands = 0;
  EXPECT_TRUE(sim.being_written().has_value());
  if (!sim.being_written().has_value()) return 0;
  for (const Committed& entry : sim.being_written()->entries) {
    pb::Entry parsed;
    EXPECT_TRUE(parsed.ParseFromString(entry.entry));
    commands += parsed.commands_size();
  }
  return commands;
}

// ---- Answers -----------------------------------------------------------------------------------

TEST_F(HostPromises, ARepeatOfWhatIsInDoubtWaitsForItAndIsNotRefused) {
  const SessionOpened alice = Open("alice");
  storage::Publish publish;
  publish.message = Text("a", "1", mqtt::QoS::kExactlyOnce);
  publish.partitions = kAll;
  publish.token = 100;
  sim_.Send(MakeAccept(publish, "alice", alice.epoch, 7));
  sim_.BeginWrite();
  publish.token = 101;
  sim_.Send(MakeAccept(publish, "alice", alice.epoch, 7));
  sim_.EndWrite(absl::UnavailableError("Input/output error"));
  sim_.Run();
  publish.token = 102;
  sim_.Send(MakeAccept(publish, "alice", alice.epoch, 7));
  sim_.Run();
  EXPECT_THAT(sim_.Take<Published>(), IsEmpty());
  sim_.Settle();
  const std::vector<Published> published = sim_.Take<Published>();
  ASSERT_THAT(published, SizeIs(3));
  for (const Published& each : published) {
    EXPECT_TRUE(each.status.ok());
    EXPECT_EQ(each.duplicate, each.token != 100) << each.token;
  }
}

// Whether what a failed write left is there after a crash or not: the client was told nothing,
// sends it again, and each of its messages arrives once. What was refused never does.
TEST_F(HostPromises, AQos2MessageInDoubtNeverSwallowsTheNextOneWithItsIdentifier) {
  int came_back = 0;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    SCOPED_TRACE(seed);
    OpenSession open = MakeOpen("bob");
    open.clean_start = true;
    ASSERT_TRUE(Subscribe("bob", Open(open).epoch, "a").ok());
    open = MakeOpen("alice");
    open.clean_start = true;
    storage::Publish publish;
    const auto send = [&](uint64_t epoch, std::string_view payload) {
      publish.message = Text("a", payload, mqtt::QoS::kExactlyOnce);
      publish.partitions = kAll;
      publish.token = ++token_;
      sim_.Send(MakeAccept(publish, "alice", epoch, 7));
    };
    send(Open(open).epoch, "in doubt");
    sim_.BeginWrite();
    sim_.EndWrite(absl::ResourceExhaustedError("No space left on device"));
    sim_.Run();
    EXPECT_THAT(sim_.Take<Published>(), IsEmpty());
    SendPublish(Text("a", "refused"));
    sim_.Run();
    ASSERT_THAT(sim_.Take<Published>(), SizeIs(1));
    base::Rng rng(seed);
    sim_.Crash(rng);
    sim_.events.clear();

    Open("bob");
    const uint64_t bob_connection = connection_;
    const SessionOpened alice = Open("alice");
    const bool is_back = !alice.inbound_qos2.empty();
    came_back += is_back ? 1 : 0;
    send(alice.epoch, "in doubt");
    sim_.Settle();
    const std::vector<Published> repeat = sim_.Take<Published>();
    ASSERT_THAT(repeat, SizeIs(1));
    EXPECT_EQ(repeat[0].duplicate, is_back);
    ReleaseInbound release;
    release.client_id = "alice";
    release.epoch = alice.epoch;
    release.packet_ids.push_back(7);
    sim_.Send(std::move(release));
    sim_.Settle();
    send(alice.epoch, "new");
    sim_.Settle();
    const std::vector<Published> published = sim_.Take<Published>();
    ASSERT_THAT(published, SizeIs(1));
    EXPECT_FALSE(published[0].duplicate);
    EXPECT_THAT(TakePayloads(), ElementsAre("in doubt", "new"));
    SendClose("alice", CloseCause::kNormal, connection_);
    SendClose("bob", CloseCause::kNormal, bob_connection);
    sim_.Settle();
    if (HasFailure()) return;
  }
  EXPECT_GT(came_back, 5);
  EXPECT_LT(came_back, 35);
}

TEST_F(HostPromises, WhatIsRefusedWhileStorageFailsDoesNotWaitForWhatIsInDoubt) {
  const SessionOpened bob = Open("bob");
  sim_.state().FailWith(absl::ResourceExhaustedError("No space left on device"));
  // A retained message is written with its entry, one in a queue later.
  const Token first = SendPublish(Text("a", "1", mqtt::QoS::kAtLeastOnce, /*retain=*/true));
  sim_.BeginWrite();
  sim_.EndWrite();
  sim_.Run();
  const Token second = SendPublish(Text("a", "2"));
  storage::Unsubscribe unsubscribe;
  unsubscribe.token = ++token_;
  unsubscribe.client_id = "bob";
  unsubscribe.epoch = bob.epoch;
  unsubscribe.filters.push_back("a");
  sim_.Send(std::move(unsubscribe));
  sim_.Run();
  const std::vector<Published> refused = sim_.Take<Published>();
  ASSERT_THAT(refused, SizeIs(1));
  EXPECT_EQ(refused[0].token, second);
  EXPECT_FALSE(refused[0].status.ok());
  EXPECT_THAT(sim_.Take<UnsubscribeDone>(), SizeIs(1));
  sim_.state().FailWith(absl::OkStatus());
  sim_.clock().Advance(absl::Seconds(2));
  sim_.Settle();
  const std::vector<Published> published = sim_.Take<Published>();
  ASSERT_THAT(published, SizeIs(1));
  EXPECT_EQ(published[0].token, first);
  EXPECT_TRUE(published[0].status.ok());
}

// The shard does what it hears: an older SUBSCRIBE must not come back after the UNSUBSCRIBE.
TEST_F(HostPromises, AnUnsubscribeIsAnsweredAfterTheSubscribeBeforeIt) {
  const SessionOpened bob = Open("bob");
  sim_.confirm_routes = false;
  storage::Subscribe subscribe;
  subscribe.client_id = "bob";
  subscribe.epoch = bob.epoch;
  subscribe.subscriptions.push_back({.filter = "a", .options = {}});
  sim_.Send(subscribe);
  storage::Unsubscribe unsubscribe;
  unsubscribe.client_id = "bob";
  unsubscribe.epoch = bob.epoch;
  unsubscribe.filters.push_back("a");
  sim_.Send(unsubscribe);
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SubscribeDone>(), IsEmpty());
  EXPECT_THAT(sim_.Take<UnsubscribeDone>(), IsEmpty());
  sim_.ConfirmRoutesNow();
  sim_.Settle();
  std::vector<std::string> answers;
  for (const Event& event : sim_.events) {
    if (std::holds_alternative<SubscribeDone>(event)) answers.push_back("subscribed");
    if (std::holds_alternative<UnsubscribeDone>(event)) answers.push_back("unsubscribed");
  }
  EXPECT_THAT(answers, ElementsAre("subscribed", "unsubscribed"));
}

TEST_F(HostPromises, RetainedMessagesThatDoNotFitTogetherAreRefusedBeforeAnybodyGetsThem) {
  StorageOptions options = SmallOptions();
  options.retained_messages_max = 1;
  HostSim sim(options);
  std::vector<std::string> topics;
  for (int i = 0; topics.size() < 3; ++i) {
    const std::string topic = "r/" + std::to_string(i);
    if (PartitionOfTopic(topic, options.partitions) == topics.size()) topics.push_back(topic);
  }
  OpenSession open = MakeOpen("bob");
  sim.Send(open);
  sim.Settle();
  storage::Subscribe subscribe;
  subscribe.client_id = "bob";
  subscribe.epoch = sim.Take<SessionOpened>().at(0).epoch;
  subscribe.subscriptions.push_back({.filter = "r/#", .options = {.qos = mqtt::QoS::kAtLeastOnce}});
  sim.Send(subscribe);
  sim.Settle();
  // The first fits. The second does not, with it. The third replaces the first.
  for (const auto& [topic, payload] :
       {std::pair(topics[0], "1"), {topics[1], "2"}, {topics[0], "3"}}) {
    storage::Publish publish;
    publish.token = ++token_;
    publish.partitions = kAll;
    publish.set_retained = true;
    publish.message = Text(topic, payload, mqtt::QoS::kAtLeastOnce, /*retain=*/true);
    sim.Send(publish);
  }
  sim.Settle();
  const std::vector<Published> published = sim.Take<Published>();
  ASSERT_THAT(published, SizeIs(3));
  EXPECT_TRUE(published[0].status.ok());
  EXPECT_EQ(published[1].status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(published[2].status.ok());
  std::vector<std::string> received;
  for (const Deliver& deliver : sim.Take<Deliver>()) {
    for (const Delivery& delivery : deliver.entries) {
      received.emplace_back(delivery.message->payload());
    }
  }
  EXPECT_THAT(received, ElementsAre("1", "3"));
}

// Which partition a topic belongs to must not matter: the bounds are of all together.
TEST_F(HostPromises, RetainedMessagesHaveTheWholeBoundWhereverTheyLie) {
  StorageOptions options = SmallOptions();
  options.retained_messages_max = 8;
  options.retained_bytes_max = 8000;
  HostSim sim(options);
  const auto publish = [&](const std::string& topic, size_t bytes) {
    storage::Publish request;
    request.token = ++token_;
    request.set_retained = true;
    request.message =
        Text(topic, std::string(bytes, 'x'), mqtt::QoS::kAtLeastOnce, /*retain=*/true);
    sim.Send(request);
    sim.Settle();
    return sim.Take<Published>().at(0).status;
  };
  EXPECT_TRUE(publish("large", 7000).ok());
  EXPECT_EQ(publish("too/much", 2000).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(publish("large", 0).ok());
  size_t taken = 0;
  for (int i = 0; taken < 8; ++i) {
    const std::string topic = "r/" + std::to_string(i);
    if (PartitionOfTopic(topic, options.partitions) != 1) continue;
    EXPECT_TRUE(publish(topic, 1).ok()) << taken;
    ++taken;
  }
  EXPECT_EQ(publish("one/more", 1).code(), absl::StatusCode::kResourceExhausted);
}

// Others take the room between PUBREC and the moment at which it is passed on.
TEST_F(HostPromises, AQos2MessageThatCannotBeRetainedAnyMoreIsDeliveredAndCounted) {
  StorageOptions options = SmallOptions();
  options.retained_messages_max = 1;
  HostSim sim(options);
  sim.Send(MakeOpen("alice"));
  sim.Settle();
  const uint64_t epoch = sim.Take<SessionOpened>().at(0).epoch;
  sim.holds_events = true;
  storage::Publish publish;
  publish.token = ++token_;
  publish.partitions = kAll;
  publish.set_retained = true;
  publish.message = Text("late", "2", mqtt::QoS::kExactlyOnce, /*retain=*/true);
  sim.Send(MakeAccept(publish, "alice", epoch, 7));
  sim.BeginWrite();
  sim.EndWrite();
  sim.Run();
  publish.token = ++token_;
  publish.message = Text("first", "1", mqtt::QoS::kAtLeastOnce, /*retain=*/true);
  sim.Send(publish);
  sim.BeginWrite();
  sim.EndWrite();
  sim.Run();
  EXPECT_EQ(sim.metrics().dropped_retained_full.value(), 0u);
  sim.holds_events = false;
  sim.DeliverEvents();
  sim.Settle();
  EXPECT_EQ(sim.metrics().dropped_retained_full.value(), 1u);
  EXPECT_EQ(sim.metrics().outbox_messages.value(), 0);
  EXPECT_EQ(sim.core().partition(PartitionOfTopic("late", 4)).retained_messages(), 0u);
}

// ---- Delivery ----------------------------------------------------------------------------------

TEST_F(HostPromises, WhatWasSentBehindExpiredMessagesIsKnownAsSentAfterACrash) {
  OpenSession open = MakeOpen("bob");
  open.window_messages = 1;
  const SessionOpened first = Open(open);
  ASSERT_TRUE(Subscribe("bob", first.epoch, "a").ok());
  Close("bob");
  const int64_t now = absl::ToUnixMillis(sim_.clock().Now());
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(Publish(ExpiringText("a", "short", now, now + 5000)).ok());
  }
  ASSERT_TRUE(Publish(Text("a", "long")).ok());
  sim_.clock().Advance(absl::Seconds(6));
  open = MakeOpen("bob");
  open.window_messages = 1;
  sim_.Send(open);
  sim_.BeginWrite();
  sim_.EndWrite();
  sim_.Run();
  const bool sent = !TakePayloads().empty();
  base::Rng rng(1);
  sim_.Crash(rng);  // Before the drop of the expired ones is written.
  sim_.events.clear();
  open = MakeOpen("bob");
  open.window_messages = 1;
  const SessionOpened last = Open(open);
  // What a window may have held counts as sent, whether it was or not; then comes this one.
  Delivery delivery;
  for (int i = 0; i < 5; ++i) {
    const std::vector<Deliver> delivered = sim_.Take<Deliver>();
    ASSERT_THAT(delivered, SizeIs(1));
    ASSERT_THAT(delivered[0].entries, SizeIs(1));
    delivery = delivered[0].entries[0];
    if (delivery.message->payload() == "long") break;
    Acknowledge("bob", last.epoch, delivery.sequence);
  }
  EXPECT_EQ(delivery.message->payload(), "long");
  EXPECT_EQ(delivery.dup, sent);  // [MQTT-3.3.1-1]
  EXPECT_EQ(sim_.metrics().dropped_expired.value(), 8u);
}

TEST_F(HostPromises, NothingOlderFollowsARetainedMessageThatCameLive) {
  ASSERT_TRUE(Publish(Text("r", "old", mqtt::QoS::kAtLeastOnce, /*retain=*/true)).ok());
  const SessionOpened bob = Open("bob");
  sim_.Send(MakeSubscribe(++token_, "bob", bob.epoch, "r", mqtt::QoS::kAtLeastOnce));
  sim_.BeginWrite();
  SendPublish(Text("r", "new", mqtt::QoS::kAtLeastOnce, /*retain=*/true));
  sim_.EndWrite();
  sim_.Run();
  sim_.Settle();
  EXPECT_THAT(TakePayloads(), ElementsAre("new"));
}

TEST_F(HostPromises, ARetainedMessageOfWhoDidNotKnowTheRouteYetIsReplayed) {
  const SessionOpened bob = Open("bob");
  sim_.confirm_routes = false;
  EXPECT_THAT(sim_.Take<SubscribeDone>(), IsEmpty());
  sim_.Send(MakeSubscribe(++token_, "bob", bob.epoch, "r", mqtt::QoS::kAtLeastOnce));
  sim_.Settle();
  storage::Publish publish;
  publish.token = ++token_;
  publish.set_retained = true;
  publish.message = Text("r", "kept", mqtt::QoS::kAtLeastOnce, /*retain=*/true);
  sim_.Send(publish);
  sim_.ConfirmRoutesNow();
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SubscribeDone>(), SizeIs(1));
  EXPECT_THAT(TakePayloads(), ElementsAre("kept"));
}

TEST_F(HostPromises, WhatASessionLeavesToItsGroupArrivesInOrderHoweverMuch) {
  const SessionOpened bob = Open("bob");
  const uint64_t bob_connection = connection_;
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "$share/g/a").ok());
  std::vector<std::string> payloads;
  storage::Publish publish;
  publish.shared_targets.push_back(
      {.client_id = "bob", .filter = "$share/g/a", .options = {.qos = mqtt::QoS::kAtLeastOnce}});
  for (int i = 0; i < 3000; ++i) {
    payloads.push_back(std::to_string(i));
    publish.token = ++token_;
    publish.message = Text("a", payloads.back());
    sim_.Send(publish);
  }
  sim_.Settle();
  OpenSession open = MakeOpen("carol");
  open.window_messages = 5000;
  const SessionOpened carol = Open(open);
  ASSERT_TRUE(Subscribe("carol", carol.epoch, "$share/g/a").ok());
  TakePayloads();
  CloseSession close;
  close.client_id = "bob";
  close.connection = {.shard = 0, .connection = bob_connection};
  close.expiry_s = 0;
  sim_.Send(std::move(close));
  sim_.BeginWrite();
  sim_.EndWrite();
  sim_.Run();
  sim_.BeginWrite();  // A first part is on its way, and the next is collected.
  sim_.Run();
  sim_.EndWrite(absl::UnavailableError("Input/output error"));
  sim_.Run();
  sim_.Settle();
  EXPECT_EQ(TakePayloads(), payloads);
}

// ---- Crowds ------------------------------------------------------------------------------------

class SmallGroups : public HostTest {
 protected:
  SmallGroups() : HostTest(Options()) {}
  static StorageOptions Options() {
    StorageOptions options = SmallOptions();
    options.group_commands_max = 100;
    options.group_bytes_max = 10'000;
    return options;
  }
  int CommandsOfNextGroup() {
    sim_.BeginWrite();
    const int commands = CommandsBeingWritten(sim_);
    sim_.EndWrite();
    sim_.Run();
    return commands;
  }
  // A message for one partition: one command.
  void SendOne(size_t bytes) {
    storage::Publish publish;
    publish.token = ++token_;
    publish.partitions = 1;
    publish.message = Text("a", std::string(bytes, 'x'));
    sim_.Send(std::move(publish));
  }
};

// A crash between two writes keeps a QoS 2 identifier with its message.
TEST_F(SmallGroups, AQos2MessageAndItsIdentifierAreOneCommand) {
  const SessionOpened alice = Open("alice");
  for (int i = 0; i < 98; ++i) SendOne(1);
  storage::Publish publish;
  publish.token = ++token_;
  publish.partitions = kAll;
  publish.message = Text("a", "once", mqtt::QoS::kExactlyOnce);
  sim_.Send(MakeAccept(std::move(publish), "alice", alice.epoch, 7));
  SendOne(1);
  EXPECT_EQ(CommandsOfNextGroup(), 98 + 2);
}

TEST_F(SmallGroups, WhoComesFirstDoesNotWaitForAllOfABurst) {
  for (int i = 0; i < 250; ++i) SendOne(1);
  EXPECT_EQ(CommandsOfNextGroup(), 100);
  std::vector<Published> published = sim_.Take<Published>();
  ASSERT_THAT(published, SizeIs(100));
  EXPECT_EQ(published.back().token, 100u);
  EXPECT_EQ(sim_.core().NextWake(), sim_.clock().Monotonic());  // Nobody else would ring.
  EXPECT_EQ(sim_.metrics().requests_pending.value(), 150);
  EXPECT_EQ(CommandsOfNextGroup(), 100);
  EXPECT_EQ(CommandsOfNextGroup(), 50);
  published = sim_.Take<Published>();
  ASSERT_THAT(published, SizeIs(150));
  EXPECT_EQ(published.back().token, 250u);
  EXPECT_TRUE(sim_.core().Drained());
}

TEST_F(SmallGroups, LargeMessagesMakeAGroupFullSooner) {
  for (int i = 0; i < 10; ++i) SendOne(4000);
  EXPECT_EQ(CommandsOfNextGroup(), 3);
  SendOne(20'000);  // One always fits.
  for (int i = 0; i < 2; ++i) EXPECT_EQ(CommandsOfNextGroup(), 3);
  EXPECT_EQ(CommandsOfNextGroup(), 2);
  EXPECT_TRUE(sim_.core().Drained());
}

// What the log was given is in doubt, and waits for it. What was collected behind that is refused
// at once, but for what is a fact whether the log works or not.
TEST_F(SmallGroups, OfABurstThatCouldNotBeWrittenOnlyWhatIsInDoubtWaits) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "b").ok());
  ASSERT_TRUE(Publish(Text("b", "1")).ok());
  sim_.events.clear();
  const Token first = token_ + 1;
  for (int i = 0; i < 120; ++i) SendOne(1);
  sim_.Send(MakeAcknowledge("bob", bob.epoch, 1));
  SendClose("bob", CloseCause::kNormal, connection_);
  for (int i = 0; i < 120; ++i) SendOne(1);
  sim_.BeginWrite();
  sim_.EndWrite(absl::UnavailableError("Input/output error"));
  sim_.Run();
  std::vector<Published> published = sim_.Take<Published>();
  ASSERT_THAT(published, SizeIs(140));
  for (size_t i = 0; i < published.size(); ++i) {
    EXPECT_EQ(published[i].token, first + 100 + i);
    EXPECT_EQ(published[i].status.code(), absl::StatusCode::kUnavailable);
  }
  sim_.Repair();
  sim_.Settle();
  published = sim_.Take<Published>();
  ASSERT_THAT(published, SizeIs(100));
  for (size_t i = 0; i < published.size(); ++i) {
    EXPECT_EQ(published[i].token, first + i);
    EXPECT_TRUE(published[i].status.ok());
  }
  EXPECT_TRUE(Open("bob").session_present);
  EXPECT_THAT(TakePayloads(), IsEmpty());  // What it acknowledged is a fact.
}

TEST_F(HostPromises, SessionsThatEndTogetherEndAPortionAtATime) {
  constexpr int kSessions = 3000;
  for (int i = 0; i < kSessions; ++i) {
    const std::string client_id = "c" + std::to_string(i);
    sim_.Send(MakeOpen(client_id, 60));
    SendClose(client_id, CloseCause::kNormal, connection_);
  }
  sim_.Settle();
  sim_.clock().Advance(absl::Seconds(61));
  sim_.Run();
  sim_.BeginWrite();
  const int commands = CommandsBeingWritten(sim_);
  EXPECT_GT(commands, 100);
  EXPECT_LE(commands, 1100);
  sim_.EndWrite();
  EXPECT_EQ(sim_.metrics().sessions_expired.value(), 0u);  // Not yet.
  for (int i = 0; i < 10; ++i) sim_.Settle();
  EXPECT_EQ(sim_.metrics().sessions_expired.value(), uint64_t{kSessions});
}

TEST_F(HostPromises, ALargeMessageForManySessionsIsNotWrittenAllAtOnce) {
  constexpr int kSessions = 100;
  for (int i = 0; i < kSessions; ++i) {
    const std::string client_id = "c" + std::to_string(i);
    ASSERT_TRUE(Subscribe(client_id, Open(client_id).epoch, "a").ok());
    Close(client_id);
  }
  ASSERT_TRUE(Publish(Text("a", std::string(1 << 20, 'x'))).ok());
  EXPECT_EQ(sim_.metrics().messages_queued.value(), uint64_t{kSessions});
  EXPECT_LT(sim_.state().greatest_batch_bytes, size_t{3} << 20);
  EXPECT_LE(sim_.metrics().state_pending_bytes.value(), 5 << 20);  // One for each partition.
  base::Rng rng(1);
  sim_.Crash(rng);  // All of it is in the log.
  Open("c7");
  EXPECT_THAT(TakePayloads(), SizeIs(1));
}

TEST_F(HostPromises, AScanThatFindsLittleComesBackAfterSomeWork) {
  for (int i = 0; i < 6000; ++i) {
    SendPublish(Text("r/" + std::to_string(i) + "/x", "x", mqtt::QoS::kAtLeastOnce, true));
  }
  sim_.Settle();
  std::string cursor;
  int pages = 0;
  do {
    sim_.Send(ScanRetained{.token = 5, .filter = "+/+/y", .cursor = cursor, .messages_max = 10});
    sim_.Settle();
    const std::vector<RetainedPage> page = sim_.Take<RetainedPage>();
    ASSERT_THAT(page, SizeIs(1));
    EXPECT_THAT(page[0].messages, IsEmpty());
    cursor = page[0].cursor;
    ++pages;
  } while (!cursor.empty() && pages < 100);
  EXPECT_GT(pages, 2);
  EXPECT_LT(pages, 20);
}

TEST(DeadlinesTest, ThoseThatNoLongerHoldDoNotPileUp) {
  Deadlines deadlines;
  size_t greatest = 0;
  for (int i = 1; i <= 100'000; ++i) {
    deadlines.Add("bob", static_cast<uint64_t>(i), i + 3'600'000);
    if (deadlines.WantsPrune()) {
      deadlines.Prune(
          [&](const Deadline& deadline) { return deadline.epoch == static_cast<uint64_t>(i); });
    }
    greatest = std::max(greatest, deadlines.size());
  }
  EXPECT_LE(greatest, 2000u);
  EXPECT_EQ(deadlines.Take(10'800'000)->client_id, "bob");
}

TEST(ShareMembersTest, AConnectedMemberIsChosenIfThereIsOne) {
  ShareMembers members;
  using State = ShareMemberChange::State;
  const SubscriptionRecord g{.filter = "$share/g/a"};
  const auto anybody = [](const ShareMembers::Member&) { return true; };
  EXPECT_EQ(members.Choose(g.filter, anybody), nullptr);
  members.Change("a", g, 0, State::kOffline);
  members.Change("b", g, 0, State::kOffline);
  members.Change("c", g, 0, State::kConnected);
  members.Change("d", g, 0, State::kConnected);
  members.Change("c", g, 0, State::kConnected);  // Changed its options.
  std::set<std::string> chosen;
  for (int i = 0; i < 4; ++i) chosen.insert(members.Choose(g.filter, anybody)->client_id);
  EXPECT_THAT(chosen, ElementsAre("c", "d"));
  members.Change("c", g, 0, State::kGone);
  members.Change("d", g, 0, State::kOffline);
  EXPECT_EQ(members.subscriptions(), 3u);
  chosen.clear();
  for (int i = 0; i < 6; ++i) chosen.insert(members.Choose(g.filter, anybody)->client_id);
  EXPECT_THAT(chosen, ElementsAre("a", "b", "d"));
  for (const char* gone : {"a", "b", "d", "d"}) members.Change(gone, g, 0, State::kGone);
  EXPECT_EQ(members.subscriptions(), 0u);
  EXPECT_EQ(members.Choose(g.filter, anybody), nullptr);
}

TEST(ShareMembersTest, AMemberWithoutRoomIsPassedOver) {
  ShareMembers members;
  using State = ShareMemberChange::State;
  const SubscriptionRecord g{.filter = "$share/g/a"};
  for (const char* const id : {"a", "b"}) members.Change(id, g, 0, State::kConnected);
  members.Change("c", g, 0, State::kOffline);
  std::set<std::string> with_room = {"b", "c"};
  const auto has_room = [&](const ShareMembers::Member& member) {
    return with_room.contains(member.client_id);
  };
  for (int i = 0; i < 4; ++i) EXPECT_EQ(members.Choose(g.filter, has_room)->client_id, "b");
  with_room.erase("b");
  EXPECT_EQ(members.Choose(g.filter, has_room)->client_id, "c") << "who is away, if need be";
  with_room.clear();
  EXPECT_EQ(members.Choose(g.filter, has_room), nullptr);
}

// ---- Request streams ---------------------------------------------------------------------------

TEST_F(HostPromises, AShardKeepsNoMoreOfItsRequestsThanASmallNumber) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a").ok());
  for (uint64_t i = 1; i <= 2000; ++i) {
    ASSERT_TRUE(Publish(Text("a", "1")).ok());
    Acknowledge("bob", bob.epoch, i);
    sim_.Send(MakeOpen(std::to_string(i), 0));  // Never in the log.
    SendClose(std::to_string(i), CloseCause::kNormal, connection_);
    sim_.Settle();
    sim_.events.clear();
    ASSERT_LE(sim_.kept(), 4 * 64u) << i;
  }
  for (PartitionId id = 0; id < 4; ++id) {
    EXPECT_LE(sim_.core().partition(id).origins().Dump().size(), 2000u) << "holes are forgotten";
  }
}

// Of what the log was given and may have, nobody says that it is done.
TEST_F(HostPromises, ARequestIsKeptUntilItIsApplied) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a").ok());
  const size_t before = sim_.kept();
  for (int i = 0; i < 200; ++i) SendPublish(Text("a", "1"));
  sim_.BeginWrite();
  sim_.Run();
  EXPECT_GE(sim_.kept(), before + 200);
  sim_.EndWrite(absl::UnavailableError("Input/output error"));
  sim_.Run();
  EXPECT_GE(sim_.kept(), before + 200);
  sim_.Settle();
  EXPECT_LE(sim_.kept(), 4 * 64u);
}

// ---- Counters ----------------------------------------------------------------------------------

TEST_F(HostPromises, WhatIsCountedHasHappened) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "#").ok());
  Close("bob");
  ASSERT_TRUE(Publish(Text("a", "1")).ok());
  EXPECT_EQ(sim_.metrics().messages_queued.value(), 1u);
  OpenSession open = MakeOpen("alice", 0);
  open.will = Text("wills/alice", "gone");
  Open(open);
  SendClose("alice", CloseCause::kWithWill, connection_);
  sim_.BeginWrite();
  sim_.EndWrite();
  sim_.Run();
  sim_.BeginWrite();
  sim_.EndWrite(absl::UnavailableError("Input/output error"));
  sim_.Run();
  EXPECT_EQ(sim_.metrics().wills_published.value(), 0u);
  sim_.Settle();
  EXPECT_EQ(sim_.metrics().wills_published.value(), 1u);
  EXPECT_EQ(sim_.metrics().messages_queued.value(), 2u);
}

TEST_F(HostPromises, GaugesAreRightSoonAfterTheLastChange) {
  const SessionOpened bob = Open("bob");
  ASSERT_TRUE(Subscribe("bob", bob.epoch, "a").ok());
  ASSERT_TRUE(Publish(Text("a", "1")).ok());
  for (int i = 0; i < 8; ++i) {
    sim_.clock().Advance(absl::Milliseconds(500));
    sim_.Run();
  }
  EXPECT_EQ(sim_.metrics().queued_messages.value(), 1);
  EXPECT_EQ(sim_.metrics().subscriptions.value(), 1);
  EXPECT_FALSE(sim_.core().NextWake().has_value());
}

TEST_F(HostPromises, ConnectionsThatEndWhileTheDiskFailsAreClosedWhenItWorksAgain) {
  OpenSession open = MakeOpen("alice", 0);
  open.will = Text("wills/alice", "gone");
  Open(open);
  SendPublish(Text("a", "in doubt"));
  sim_.BeginWrite();
  SendClose("alice", CloseCause::kWithWill, connection_);
  sim_.EndWrite(absl::UnavailableError("Input/output error"));
  sim_.Run();
  sim_.Run();
  SendPublish(Text("a", "refused"));
  sim_.Run();
  EXPECT_THAT(sim_.Take<Published>(), SizeIs(1));  // At once, not when the disk works.
  EXPECT_THAT(TakeWills(), IsEmpty());
  sim_.Settle();
  EXPECT_THAT(TakeWills(), ElementsAre("gone"));
}

// ---- Time --------------------------------------------------------------------------------------

TEST_F(HostPromises, AWallClockThatIsSetEndsNoSessionOfAClientThatComesBack) {
  OpenSession open = MakeOpen("bob", 60);
  open.will = Text("wills/bob", "gone");
  open.will_delay_s = 50;
  Open(open);
  Close("bob");
  sim_.clock().SetWall(sim_.clock().Now() + absl::Hours(24 * 365));
  EXPECT_TRUE(Open("bob", 60).session_present);
  sim_.Settle();
  EXPECT_THAT(TakeWills(), IsEmpty());
}

// As of a machine without a battery: its clock is wrong until the network has set it.
TEST_F(HostPromises, AWallClockThatIsSetEndsNothingAtTheNextStartEither) {
  base::Rng rng(1);
  sim_.clock().SetWall(absl::FromUnixSeconds(230'000'000));  // 1977.
  sim_.clock().Reboot("second");
  sim_.Crash(rng);
  Open("bob", 60);
  sim_.clock().SetWall(absl::FromUnixSeconds(1'790'000'000));
  Close("bob");
  sim_.clock().Advance(absl::Seconds(30));
  sim_.Crash(rng);  // By its own clock, as the machine was not restarted.
  sim_.Settle();
  EXPECT_TRUE(Open("bob", 60).session_present);
  Close("bob");
  sim_.clock().Advance(absl::Seconds(30));
  sim_.clock().Reboot("third");  // By the wall clock, which is right now as it was then.
  sim_.Crash(rng);
  sim_.Settle();
  EXPECT_TRUE(Open("bob", 60).session_present);
  Close("bob");
  sim_.clock().Advance(absl::Seconds(61));
  sim_.clock().Reboot("fourth");
  sim_.Crash(rng);
  sim_.Settle();
  EXPECT_FALSE(Open("bob", 60).session_present);
}

TEST_F(HostPromises, AWallClockThatIsPutBackLetsNothingLiveOnAfterAStart) {
  base::Rng rng(1);
  Open("bob", 60);
  Close("bob");
  sim_.clock().SetWall(sim_.clock().Now() - absl::Hours(24));
  sim_.clock().Advance(absl::Seconds(61));
  sim_.Crash(rng);
  sim_.Settle();
  EXPECT_FALSE(Open("bob", 60).session_present);
}

// ---- Names -------------------------------------------------------------------------------------

TEST_F(HostPromises, AUserNameThatIsNotTextDoesNotSpoilTheStore) {
  OpenSession open = MakeOpen("bob");
  open.user_name = "CN=\xFF\xFE";
  Open(open);
  base::Rng rng(1);
  sim_.Crash(rng);  // Checks that everything is read.
  OpenSession again = MakeOpen("bob");
  again.user_name = open.user_name;
  EXPECT_TRUE(Open(again).session_present);
}

class HostWithShortEntries : public HostTest {
 protected:
  HostWithShortEntries()
      : HostTest([] {
          StorageOptions options = SmallOptions();
          options.entry_bytes_max = 10'000;
          return options;
        }()) {}
};

TEST_F(HostWithShortEntries, RefusesWhatIsTooLargeForOneAndGoesOn) {
  const std::string large(20'000, 'x');
  const SessionOpened opened = Open("alice");
  ASSERT_TRUE(Subscribe("alice", opened.epoch, "a").ok());
  EXPECT_TRUE(absl::IsResourceExhausted(Publish(Text("a", large))));
  storage::Publish publish;
  publish.message = Text("a", large, mqtt::QoS::kExactlyOnce);
  publish.partitions = kAll;
  publish.token = ++token_;
  sim_.Send(MakeAccept(publish, "alice", opened.epoch, 7));
  sim_.Settle();
  const std::vector<Published> accepted = sim_.Take<Published>();
  ASSERT_THAT(accepted, SizeIs(1));
  EXPECT_TRUE(absl::IsResourceExhausted(accepted[0].status));
  OpenSession open = MakeOpen("bob");
  open.will = Text("a", large);
  EXPECT_TRUE(absl::IsResourceExhausted(Open(std::move(open)).status));
  EXPECT_TRUE(Publish(Text("a", "small")).ok());
  EXPECT_THAT(TakePayloads(), ElementsAre("small"));
}

}  // namespace
}  // namespace storage
