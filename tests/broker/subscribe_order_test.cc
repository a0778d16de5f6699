// A subscription acts from when it is read, and what a client asks for is acknowledged in the order
// in which it asked: whatever the partition host answers, and when.
#include <gmock/gmock.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "tests/broker/fake_host.h"

namespace broker {
namespace {

using storage::SubscribeDone;
using storage::UnsubscribeDone;
using support::Packet;
using support::PublishPacket;
using support::Version;
using testing::ElementsAre;
using testing::IsEmpty;
using enum support::PacketType;

constexpr Version kVersion = Version::k5;

class SubscribeOrderTest : public ServerTest {
 protected:
  static std::string Subscribe(uint16_t id, const std::vector<support::Filter>& filters) {
    return support::Subscribe(kVersion, id, filters);
  }
  static std::string Unsubscribe(uint16_t id, const std::string& filter) {
    return support::Unsubscribe(kVersion, id, {filter});
  }
  static std::string Publish(const std::string& topic, unsigned qos, uint16_t id = 0) {
    return PublishPacket{.topic = topic, .payload = "x", .qos = qos, .packet_id = id}.Encode(
        kVersion);
  }
  void Refuse(storage::Token token) {
    Post(0, SubscribeDone{token, absl::ResourceExhaustedError("disk full")});
  }
  // Whether the client gets a QoS 0 message that it publishes now. What was posted before is taken
  // by then; other packets are passed over.
  bool Gets(Client& client, const std::string& topic) {
    UntilPingresp(client, {});
    return UntilPingresp(client, Publish(topic, 0)) != 0;
  }
  // How many messages come.
  static size_t UntilPingresp(Client& client, const std::string& sent) {
    client.wire.Send(sent + std::string(support::kPingreq));
    size_t messages = 0;
    for (;;) {
      const Packet packet = client.wire.Read().value();
      if (packet.type == kPingresp) return messages;
      if (packet.type == kPublish) ++messages;
    }
  }
};

TEST_F(SubscribeOrderTest, ADurableSubscriptionActsFromWhenItIsRead) {
  Start();
  Client client = Join(Durable("client"));
  client.wire.Send(Subscribe(1, {{"t", 2}, {"w/#", 1}}) + Publish("t", 0) + Publish("t", 1, 7) +
                   Publish("w/x", 2, 8));
  client.wire.ExpectPublish("t", "x");
  // Behind the SUBSCRIBE in the host's order: then it finds the subscription.
  const auto subscribe = std::get<storage::Subscribe>(host_.TakeNext());
  EXPECT_EQ(std::get<storage::Publish>(host_.TakeNext()).partitions, 1u);
  EXPECT_EQ(std::get<storage::AcceptInbound>(host_.TakeNext()).partitions, 1u);
  client.wire.ExpectNothing();
  Post(0, SubscribeDone{subscribe.token, {}});
  EXPECT_THAT(client.wire.Expect(kSuback).reasons, ElementsAre(2, 1));
}

TEST_F(SubscribeOrderTest, TheHostsRouteTakesOverFromOursWithoutAGap) {
  Start();
  for (const std::string filter : {"t", "t/#"}) {
    Client client = Join(Durable("client"));
    client.wire.Send(Subscribe(1, {{filter, 1}}));
    const auto token = host_.Take<storage::Subscribe>().token;
    Post(0, storage::RouteChange{.number = 1, .add = true, .partition = 0, .filter = filter});
    Post(0, SubscribeDone{token, {}});
    client.wire.ExpectAck(kSuback, 1);
    client.wire.Send(Publish("t", 1, 2));
    const auto publish = host_.Take<storage::Publish>();
    EXPECT_EQ(publish.partitions, 1u);
    Post(0, storage::Published{.token = publish.token});
    client.wire.ExpectAck(kPuback, 2);
    Post(0, storage::RouteChange{.number = 2, .add = false, .partition = 0, .filter = filter});
    client.wire.ExpectNothing();
    client.wire.Send(Publish("t", 1, 3));
    client.wire.ExpectAck(kPuback, 3);
    EXPECT_FALSE(host_.Has<storage::Publish>()) << filter;
  }
}

TEST_F(SubscribeOrderTest, AnUnsubscriptionActsFromWhenItIsRead) {
  Start();
  Client client = Join(Durable("client"));
  SubscribeDurably(client, "t", 1);
  client.wire.Send(Unsubscribe(2, "t") + Publish("t", 0));
  client.wire.ExpectNothing();
  Post(0, UnsubscribeDone{host_.Take<storage::Unsubscribe>().token, {}, {true}});
  client.wire.ExpectAck(kUnsuback, 2);
}

TEST_F(SubscribeOrderTest, WhatIsRefusedIsTakenBack) {
  Start();
  Client client = Join(Durable("client"));
  client.wire.Send(Subscribe(1, {{"t", 1}, {"w/+", 1}, {"$share/g/s", 1}}));
  const auto token = host_.Take<storage::Subscribe>().token;
  EXPECT_TRUE(Gets(client, "t"));
  EXPECT_TRUE(Gets(client, "w/x"));
  EXPECT_TRUE(Gets(client, "s"));
  Refuse(token);
  EXPECT_THAT(client.wire.Expect(kSuback).reasons, ElementsAre(0x97, 0x97, 0x97));
  for (const std::string topic : {"t", "w/x", "s"}) {
    EXPECT_FALSE(Gets(client, topic));
    client.wire.Send(Publish(topic, 1, 2));
    client.wire.ExpectAck(kPuback, 2, 0x10);
  }
}

// A subscription, its end and another one under way at the same time: each answer changes only what
// it concerns.
TEST_F(SubscribeOrderTest, WhatIsRefusedGoesBackToWhatWasBeforeIt) {
  Start();
  Client client = Join(Durable("client"));
  for (const std::string filter : {"t", "$share/g/t"}) {
    client.wire.Send(Subscribe(1, {{filter, 0}}) + Unsubscribe(2, filter) +
                     Subscribe(3, {{filter, 0}}));
    const auto first = host_.Take<storage::Subscribe>().token;
    const auto second = host_.Take<storage::Unsubscribe>().token;
    const auto third = host_.Take<storage::Subscribe>().token;
    EXPECT_TRUE(Gets(client, "t"));
    Refuse(third);
    EXPECT_FALSE(Gets(client, "t")) << filter;
    Refuse(first);
    EXPECT_FALSE(Gets(client, "t")) << filter;
    Post(0, UnsubscribeDone{second, absl::UnavailableError("disk"), {}});
    EXPECT_FALSE(Gets(client, "t")) << filter;
  }
}

// An UNSUBSCRIBE of what another one has ended already counts if that one is refused.
TEST_F(SubscribeOrderTest, TheSecondOfTwoUnsubscribesCountsByItself) {
  Start();
  Client client = Join(Durable("client"));
  for (const std::string filter : {"t", "$share/g/t"}) {
    client.wire.Send(Subscribe(1, {{filter, 0}}));
    Post(0, SubscribeDone{host_.Take<storage::Subscribe>().token, {}});
    client.wire.ExpectAck(kSuback, 1);
    client.wire.Send(Unsubscribe(2, filter) + Unsubscribe(3, filter));
    Post(0, UnsubscribeDone{
                host_.Take<storage::Unsubscribe>().token, absl::UnavailableError("disk"), {}});
    client.wire.Expect(kUnsuback);
    EXPECT_FALSE(Gets(client, "t")) << filter;
    Post(0, UnsubscribeDone{host_.Take<storage::Unsubscribe>().token, {}, {true}});
    client.wire.ExpectAck(kUnsuback, 3);
    EXPECT_FALSE(Gets(client, "t")) << filter;
  }
}

TEST_F(SubscribeOrderTest, AcknowledgementsLeaveInTheOrderOfTheRequests) {
  Start();
  Client client = Join(Durable("client"));
  client.wire.Send(Publish("t", 2, 1));
  Post(0, storage::Published{.token = host_.Take<storage::AcceptInbound>().token});
  client.wire.ExpectAck(kPubrec, 1);
  client.wire.Send(Subscribe(2, {{"a", 1}}) + Publish("nobody", 1, 3) + Publish("a", 1, 4) +
                   support::Ack(kPubrel, 1) + Unsubscribe(5, "a") + Publish("a", 1, 6));
  client.wire.ExpectNothing();
  const auto subscribe = host_.Take<storage::Subscribe>();
  Post(0, storage::InboundReleased{host_.Take<storage::ReleaseInbound>().token, {}});
  Post(0, storage::Published{.token = host_.Take<storage::Publish>().token});
  Post(0, storage::Published{.token = host_.Take<storage::Publish>().token});
  client.wire.ExpectNothing();
  Post(0, SubscribeDone{subscribe.token, {}});
  client.wire.ExpectAck(kSuback, 2);
  client.wire.ExpectAck(kPuback, 3, 0x10);
  client.wire.ExpectAck(kPuback, 4);
  client.wire.ExpectAck(kPubcomp, 1);
  client.wire.ExpectNothing();
  Post(0, UnsubscribeDone{host_.Take<storage::Unsubscribe>().token, {}, {true}});
  client.wire.ExpectAck(kUnsuback, 5);
  client.wire.ExpectAck(kPuback, 6);
}

TEST_F(SubscribeOrderTest, ATransientSessionsSubackIsInOrderToo) {
  options_.shards = 4;
  Start();
  Client client = Join(Transient("client"));
  client.wire.Send(Subscribe(1, {{"t", 1}}) + Publish("t", 1, 2) + Unsubscribe(3, "t") +
                   Publish("t", 1, 4));
  bool got = false;
  std::vector<support::PacketType> acks;
  while (acks.size() < 4) {
    const Packet packet = client.wire.Read().value();
    packet.type == kPublish ? got = true : (acks.push_back(packet.type), true);
  }
  EXPECT_TRUE(got);
  EXPECT_THAT(acks, ElementsAre(kSuback, kPuback, kUnsuback, kPuback));
}

// QoS 0 comes from the shard, before the partition knows of the SUBSCRIBE; then the partition finds
// the message retained.
TEST_F(SubscribeOrderTest, ARetainedMessageThatCameLiveIsNotReplayed) {
  Start();
  Client client = Join(Durable("client"));
  client.wire.Send(Subscribe(1, {{"t", 0}}) +
                   PublishPacket{.topic = "t", .payload = "live", .retain = true}.Encode(kVersion));
  client.wire.ExpectPublish("t", "live");
  const auto replay = [&] {
    const auto publish = host_.Take<storage::Publish>();
    Post(0, SubscribeDone{host_.Take<storage::Subscribe>().token, {}});
    storage::Delivery delivery;
    delivery.replay = true;
    delivery.retain = true;
    delivery.message = publish.message;
    Post(0, storage::Deliver{client.ref, client.epoch, {delivery}});
    client.wire.Expect(kSuback);
  };
  replay();
  client.wire.ExpectNothing();
  client.wire.Send(PublishPacket{.topic = "t", .payload = "new", .retain = true}.Encode(kVersion));
  client.wire.ExpectPublish("t", "new");
  client.wire.Send(Subscribe(2, {{"t", 0}}));
  replay();
  client.wire.ExpectPublish("t", "new");
}

// ---- Members of `$share` groups

TEST_F(SubscribeOrderTest, ADurableMemberIsChosenFromWhenItsSubscribeIsRead) {
  Start();
  Client client = Join(Durable("client"));
  client.wire.Send(Subscribe(1, {{"$share/g/t", 1}}) + Publish("t", 1, 2) + Publish("t", 0));
  client.wire.ExpectPublish("t", "x");
  const auto subscribe = host_.Take<storage::Subscribe>();
  const auto publish = host_.Take<storage::Publish>();
  ASSERT_EQ(publish.shared_targets.size(), 1u);
  EXPECT_EQ(publish.shared_targets[0].client_id, "client");
  // The host tells of it, of one that is gone, and of it again, while another change is under way.
  client.wire.Send(Unsubscribe(3, "$share/g/t") + Subscribe(4, {{"$share/g/t", 1}}));
  const auto tell = [&](storage::ShareMemberChange::State state) {
    Post(0, storage::ShareMemberChange{.number = 1,
                                       .state = state,
                                       .partition = 0,
                                       .client_id = "client",
                                       .subscription = subscribe.subscriptions.at(0),
                                       .connection = client.ref});
  };
  const auto chosen = [&] {
    client.wire.Send(Publish("t", 1, 5) + std::string(support::kPingreq));
    const auto asked = host_.Take<storage::Publish>();
    return asked.shared_targets.size();
  };
  const auto unsubscribe = host_.Take<storage::Unsubscribe>();
  const auto again = host_.Take<storage::Subscribe>();
  tell(storage::ShareMemberChange::State::kConnected);
  Post(0, SubscribeDone{subscribe.token, {}});
  EXPECT_EQ(chosen(), 1u);
  tell(storage::ShareMemberChange::State::kGone);
  Post(0, UnsubscribeDone{unsubscribe.token, {}, {true}});
  EXPECT_EQ(chosen(), 1u);
  tell(storage::ShareMemberChange::State::kConnected);
  Post(0, SubscribeDone{again.token, {}});
  EXPECT_EQ(chosen(), 1u);
}

TEST_F(SubscribeOrderTest, WhoGoesWhileItsSubscribeIsUnderWayLeavesNothingBehind) {
  Start();
  {
    Client client = Join(Durable("client"));
    client.wire.Send(Subscribe(1, {{"$share/g/t", 1}, {"t", 1}}) + std::string(support::kPingreq));
    const auto subscribe = host_.Take<storage::Subscribe>();
    client.wire.Expect(kPingresp);
    client.wire.socket().Close();
    host_.Take<storage::CloseSession>();
    Post(0, SubscribeDone{subscribe.token, absl::UnavailableError("not its owner any more")});
  }
  Client other = Join(Transient("other"));
  other.wire.Send(Publish("t", 1, 1));
  other.wire.ExpectAck(kPuback, 1, 0x10);
}

// ---- Two shards

TEST_F(SubscribeOrderTest, TheOtherShardsKnowBeforeTheClientHearsAnything) {
  options_.shards = 2;
  Start();
  Client client = Join(Durable("client"));
  std::vector<Client> others;
  while (others.empty() || others.back().ref.shard == client.ref.shard)
    others.push_back(Join(Transient("other" + std::to_string(others.size()))));
  Client& other = others.back();
  for (uint16_t id = 1; id <= 300; ++id) {
    const std::string topic = "t" + std::to_string(id);
    const std::string filter = id % 3 == 0   ? "$share/g/" + topic
                               : id % 3 == 1 ? topic
                                             : topic + "/#";
    client.wire.Send(Subscribe(id, {{filter, 1}}) + std::string(support::kPingreq));
    client.wire.Expect(kPingresp);
    other.wire.Send(Publish(topic, 0) + Publish(topic, 1, id));
    const auto publish = host_.Take<storage::Publish>();
    ASSERT_TRUE(id % 3 == 0 ? publish.shared_targets.size() == 1 : publish.partitions == 1);
    client.wire.ExpectPublish(topic, "x");
    client.wire.Send(Unsubscribe(id, filter) + std::string(support::kPingreq));
    client.wire.Expect(kPingresp);
    other.wire.Send(Publish(topic, 0) + std::string(support::kPingreq));
    other.wire.Expect(kPingresp);
    client.wire.ExpectNothing();
  }
}

// ---- At random

// A client that does not wait, and a host that takes its time: it refuses some requests, at any
// time, commits the others one after the other, and tells of routes as they change.
class SubscribeOrderModel : public SubscribeOrderTest,
                            public testing::WithParamInterface<uint64_t> {
 protected:
  struct Asked {
    support::PacketType answer;
    uint16_t id = 0;
    std::string filter;
    bool refused = false;
    bool done = false;
    storage::Token token = 0;  // 0: a PUBLISH.
  };
  static const std::vector<std::string>& Filters() {
    static const std::vector<std::string> filters = {"a", "b",          "a/#",
                                                     "+", "$share/g/a", "$share/g/b/#"};
    return filters;
  }
  // What the client has, by its requests and those that were refused.
  bool Has(const std::string& filter) const {
    bool has = false;
    for (const Asked& asked : asked_) {
      if (asked.filter != filter || asked.refused) continue;
      has = asked.answer == kSuback;
    }
    return has;
  }
  bool Matches(const std::string& topic) const {
    if (topic == "a") return Has("a") || Has("a/#") || Has("+");
    return Has("b") || Has("+");
  }
  bool MatchesGroup(const std::string& topic) const {
    return topic == "a" ? Has("$share/g/a") : Has("$share/g/b/#");
  }
  uint16_t NextId() { return ++last_id_; }

  void Change(Client& client, base::Rng& rng) {
    Asked asked{.answer = rng.Chance(0.6) ? kSuback : kUnsuback,
                .id = NextId(),
                .filter = Filters()[rng.Below(Filters().size())]};
    if (asked.answer == kSuback) {
      client.wire.Send(Subscribe(asked.id, {{asked.filter, 1}}));
      asked.token = host_.Take<storage::Subscribe>().token;
    } else {
      client.wire.Send(Unsubscribe(asked.id, asked.filter));
      asked.token = host_.Take<storage::Unsubscribe>().token;
    }
    asked_.push_back(asked);
  }
  void Store(Client& client, base::Rng& rng) {
    const std::string topic = rng.Chance(0.5) ? "a" : "b";
    Asked asked{.answer = kPuback, .id = NextId(), .filter = {}};
    client.wire.Send(Publish(topic, 1, asked.id));
    if (Matches(topic) || MatchesGroup(topic)) {
      const auto publish = host_.Take<storage::Publish>();
      // The host may have to look in vain, but never misses one.
      EXPECT_TRUE(!Matches(topic) || publish.partitions == 1) << topic;
      EXPECT_EQ(publish.shared_targets.size(), MatchesGroup(topic) ? 1u : 0u) << topic;
      asked.token = publish.token;
    } else {
      Sync(client);
      Sync(client);  // What the first round asked for is at the host by the second.
      if (host_.Has<storage::Publish>()) asked.token = host_.Take<storage::Publish>().token;
      asked.done = asked.token == 0;
    }
    asked_.push_back(asked);
  }
  void AnswerOne(const Client& client, base::Rng& rng) {
    std::vector<Asked*> open;
    for (Asked& asked : asked_) {
      if (!asked.done) open.push_back(&asked);
    }
    if (open.empty()) return;
    Asked& asked = *open[rng.Below(open.size())];
    if (asked.answer == kPuback) {
      asked.done = true;
      return Post(0, storage::Published{.token = asked.token});
    }
    if (rng.Chance(0.3)) {
      asked.refused = true;
      return Done(asked, absl::ResourceExhaustedError("disk full"));
    }
    const auto oldest = std::find_if(open.begin(), open.end(),
                                     [](const Asked* each) { return each->answer != kPuback; });
    TellRoute(client, **oldest);
    Done(**oldest, absl::OkStatus());
  }
  void Done(Asked& asked, const absl::Status& status) {
    asked.done = true;
    if (asked.answer == kSuback) return Post(0, SubscribeDone{asked.token, status});
    Post(0, UnsubscribeDone{asked.token, status, {true}});
  }
  void TellRoute(const Client& client, const Asked& asked) {
    const bool add = asked.answer == kSuback;
    const bool changes =
        add ? committed_.insert(asked.filter).second : committed_.erase(asked.filter) != 0;
    if (!changes) return;
    if (asked.filter[0] != '$') {
      return Post(0, storage::RouteChange{.add = add, .partition = 0, .filter = asked.filter});
    }
    using State = storage::ShareMemberChange::State;
    Post(0, storage::ShareMemberChange{
                .state = add ? State::kConnected : State::kGone,
                .partition = 0,
                .client_id = "client",
                .subscription = {.filter = asked.filter, .options = {mqtt::QoS::kAtLeastOnce}},
                .connection = client.ref});
  }
  // Reads what came, up to a PINGRESP: acknowledgements into `acks_`. Whether there was a PUBLISH.
  size_t Sync(Client& client, const std::string& also = {}) {
    client.wire.Send(also + std::string(support::kPingreq));
    size_t publishes = 0;
    for (;;) {
      const Packet packet = client.wire.Read().value();
      if (packet.type == kPingresp) return publishes;
      if (packet.type == kPublish) {
        ++publishes;
      } else {
        acks_.push_back({packet.type, packet.packet_id});
      }
    }
  }

  uint16_t last_id_ = 0;
  std::vector<Asked> asked_;
  std::set<std::string> committed_;
  std::vector<std::pair<support::PacketType, uint16_t>> acks_;
};

TEST_P(SubscribeOrderModel, WhateverTheHostAnswersAndWhen) {
  base::Rng rng(GetParam());
  Start();
  Client client = Join(Durable("client"));
  for (int step = 0; step < 400; ++step) {
    if (rng.Chance(0.35)) {
      Change(client, rng);
    } else if (rng.Chance(0.3)) {
      Store(client, rng);
    } else {
      AnswerOne(client, rng);
    }
    Sync(client);  // What was posted to the shard is taken by then.
    for (const std::string topic : {"a", "b"}) {
      const size_t expected = (Matches(topic) ? 1u : 0u) + (MatchesGroup(topic) ? 1u : 0u);
      ASSERT_EQ(Sync(client, Publish(topic, 0)), expected)
          << topic << " in step " << step << ", seed " << GetParam();
    }
  }
  for (size_t i = 0; i < asked_.size(); ++i) AnswerOne(client, rng);
  while (acks_.size() < asked_.size()) Sync(client);
  for (size_t i = 0; i < asked_.size(); ++i) {
    ASSERT_EQ(acks_[i], std::pair(asked_[i].answer, asked_[i].id))
        << "acknowledgement " << i << ", seed " << GetParam();
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, SubscribeOrderModel, testing::Range<uint64_t>(1, 13));

}  // namespace
}  // namespace broker
