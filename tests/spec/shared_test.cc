// §4.8.2 Shared Subscriptions.
#include <set>
#include <string>
#include <vector>

#include "tests/spec/spec_test.h"

namespace spec {
namespace {

using enum PropertyId;
using enum PacketType;

std::string Shared() { return "$share/group/" + Unique("t"); }

// Each message goes to one member of the group, all of them get some, and a group of another name
// gets its own copy.
TEST(Spec, MQTT5_4_8_2_1) {
  std::vector<RawClient> members;
  for (const char* name : {"a", "b", "c"}) {
    members.push_back(Join(kV5, name));
    members.back().Subscribe({{Shared(), 0}, {Unique("end"), 0}});
  }
  RawClient other = Join(kV5, "other");
  other.Subscribe({{"$share/other/" + Unique("t"), 0}});
  RawClient plain = Join(kV5, "plain");
  plain.Subscribe({{Unique("t"), 0}});
  RawClient publisher = Join(kV5, "publisher");
  std::set<std::string> sent;
  for (int i = 0; i < 30; ++i) {
    sent.insert(std::to_string(i));
    publisher.Publish({.topic = Unique("t"), .payload = std::to_string(i)});
    other.ExpectPublish(Unique("t"), std::to_string(i));
    plain.ExpectPublish(Unique("t"), std::to_string(i));
  }
  publisher.Publish({.topic = Unique("end"), .payload = "end"});
  std::multiset<std::string> received;
  for (RawClient& member : members) {
    const size_t before = received.size();
    for (Packet packet = member.Expect(kPublish); packet.payload != "end";
         packet = member.Expect(kPublish)) {
      received.insert(packet.payload);
    }
    EXPECT_GT(received.size(), before) << "a member got nothing";
  }
  EXPECT_EQ(received, std::multiset<std::string>(sent.begin(), sent.end()));
}

// A share name may hold any other character, and what follows it is a filter like others.
TEST(Spec, MQTT5_4_8_2_2) {
  RawClient client = Join(kV5, "client");
  client.Subscribe({{"$share/a name, with $ and \xC3\xA9/" + Unique("t") + "/+/#", 1}});
  client.Publish({.topic = Unique("t") + "/x/y", .payload = "x"});
  client.ExpectPublish(Unique("t") + "/x/y", "x");
}

// The QoS granted to the member that was chosen.
TEST(Spec, MQTT5_4_8_2_3) {
  std::vector<RawClient> members;
  for (const unsigned qos : {0U, 1U, 2U}) {
    members.push_back(Join(qos == 2 ? Durable(kV5, "2") : Transient(kV5, std::to_string(qos))));
    members.back().Subscribe({{Shared(), qos}, {Unique("end"), 0}});
  }
  RawClient publisher = Join(kV5, "publisher");
  for (int i = 0; i < 12; ++i) publisher.Publish({.topic = Unique("t"), .payload = "x", .qos = 2});
  publisher.Publish({.topic = Unique("end"), .payload = "end"});
  int received = 0;
  for (unsigned qos = 0; qos < 3; ++qos) {
    int own = 0;
    for (bool end = false; !end || received + own < (qos == 2 ? 12 : 0);) {
      const Packet packet = members[qos].Expect(kPublish);
      if (packet.payload == "end") {
        end = true;
        continue;
      }
      EXPECT_EQ(packet.qos(), qos);
      ++own;
    }
    received += own;
  }
  EXPECT_EQ(received, 12);
}

// Two members; one has received a QoS 2 PUBLISH, not acknowledged it, and is gone. Returns which.
struct Begun {
  std::string holder;
  std::string other;
  uint16_t packet_id = 0;
};
Begun BeginDelivery() {
  const std::string topic = Unique("t");
  RawClient a = Join(Durable(kV5, "a"));
  RawClient b = Join(Durable(kV5, "b"));
  a.Subscribe({{Shared(), 2}, {Unique("end-a"), 2}});
  b.Subscribe({{Shared(), 2}, {Unique("end-b"), 2}});
  RawClient publisher = Join(kV5, "publisher");
  publisher.Publish({.topic = topic, .payload = "begun", .qos = 2});
  publisher.Publish({.topic = Unique("end-a"), .payload = "end", .qos = 2});
  const Packet first = a.Expect(kPublish);
  if (first.payload == "begun") {
    a.socket().Reset();
    return {"a", "b", first.packet_id};
  }
  const Packet packet = b.ExpectPublish(topic, "begun");
  b.socket().Reset();
  return {"b", "a", packet.packet_id};
}

TEST(Spec, MQTT5_4_8_2_4) {
  const Begun begun = BeginDelivery();
  RawClient back = Join(Durable(kV5, begun.holder));
  const Packet packet = back.ExpectPublish(Unique("t"), "begun");
  EXPECT_TRUE(packet.dup());
  EXPECT_EQ(packet.packet_id, begun.packet_id);
  back.Acknowledge(packet);
}

TEST(Spec, MQTT5_4_8_2_5) {
  const Begun begun = BeginDelivery();
  ConnectPacket clean = Durable(kV5, begun.holder);
  clean.clean = true;
  Join(clean).Disconnect();  // The session with the message has ended.
  RawClient other = Join(Durable(kV5, begun.other));
  RawClient publisher = Join(kV5, "publisher");
  publisher.Publish({.topic = Unique("t"), .payload = "next", .qos = 2});
  for (;;) {
    const Packet packet = other.Expect(kPublish);
    EXPECT_NE(packet.payload, "begun");
    other.Acknowledge(packet);
    if (packet.payload == "next") return;
  }
}

// The same when the session ends with its connection, and at once.
TEST(Shared, QoS2InFlightEndsWithACleanSession) {
  ConnectPacket with_will = Transient(kV5, "a");
  with_will.will = Will{.topic = Unique("gone"), .payload = "gone"};
  RawClient a = Join(with_will);
  RawClient b = Join(kV5, "b");
  a.Subscribe({{Shared(), 2}});
  b.Subscribe({{Shared(), 2}, {Unique("gone"), 0}});
  RawClient publisher = Join(kV5, "publisher");
  for (const char* const payload : {"1", "2", "3", "4"}) {
    publisher.Publish({.topic = Unique("t"), .payload = payload, .qos = 2});
  }
  std::set<std::string> begun;
  for (int i = 0; i < 2; ++i) begun.insert(a.Expect(kPublish).payload);
  a.socket().Reset();
  for (Packet packet = b.Expect(kPublish); packet.payload != "gone"; packet = b.Expect(kPublish)) {
    EXPECT_FALSE(begun.contains(packet.payload)) << packet.payload;
    b.Acknowledge(packet);
  }
}

// A member refuses: nobody else gets it, nor the member again.
TEST(Spec, MQTT5_4_8_2_6) {
  for (const unsigned qos : {1U, 2U}) {
    std::vector<RawClient> members;
    for (const char* name : {"a", "b"}) {
      members.push_back(Join(kV5, name + std::to_string(qos)));
      members.back().Subscribe({{Shared(), qos}, {Unique("end"), 1}});
    }
    RawClient publisher = Join(kV5, "publisher");
    for (int i = 0; i < 4; ++i) {
      publisher.Publish({.topic = Unique("t"), .payload = "x", .qos = qos});
    }
    publisher.Publish({.topic = Unique("end"), .payload = "end", .qos = 1});
    int copies = 0;
    for (RawClient& member : members) {
      for (Packet packet = member.Expect(kPublish); packet.payload != "end";
           packet = member.Expect(kPublish)) {
        ++copies;
        member.Send(Ack(qos == 1 ? kPuback : kPubrec, packet.packet_id, 0x83));
      }
    }
    EXPECT_EQ(copies, 4);
    for (RawClient& member : members) member.ExpectNothing();
  }
}

// Beside the statement: retained messages are not sent for a shared subscription (§4.8.2).
TEST(Shared, GetsNoRetainedMessages) {
  RawClient client = Join(kV5, "client");
  client.Publish({.topic = Unique("t"), .payload = "kept", .qos = 1, .retain = true});
  client.Subscribe({{Shared(), 0}});
  ExpectEnd(client, client, Unique("t"), 0);
}

}  // namespace
}  // namespace spec
