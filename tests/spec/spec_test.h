// What the spec tests share. A case is named by its statement: MQTT5_3_1_2_4 for [MQTT5-3.1.2-4]; a
// statement that holds in both versions has a case for each. tools/conformance.py reads the names.
#ifndef TESTS_SPEC_SPEC_TEST_H_
#define TESTS_SPEC_SPEC_TEST_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/broker_process.h"
#include "tests/support/client.h"
#include "tests/support/wire.h"

namespace spec {

using support::Ack;
using support::ConnectPacket;
using support::Filter;
using support::Frame;
using support::kNoLocal;
using support::kRetainAsPublished;
using support::kRetainIfNew;
using support::kRetainNever;
using support::Number;
using support::Packet;
using support::PacketType;
using support::Pair;
using support::Properties;
using support::PropertyId;
using support::PublishPacket;
using support::RawClient;
using support::RawConnect;
using support::SharedBroker;
using support::Text;
using support::U16;
using support::U32;
using support::U8;
using support::Unique;
using support::VarInt;
using support::Version;
using support::Where;
using support::Will;

inline constexpr Version kV311 = Version::k311;
inline constexpr Version kV5 = Version::k5;
inline constexpr uint32_t kHour = 3600;

// A CONNECT for a session that ends with its connection, under a name of this case.
inline ConnectPacket Transient(Version version, std::string_view name) {
  return {.version = version, .client_id = Unique(name)};
}

// A CONNECT that goes on with a session, or begins one, that outlives its connection.
inline ConnectPacket Durable(Version version, std::string_view name) {
  ConnectPacket connect{.version = version, .client_id = Unique(name), .clean = false};
  if (version == kV5) connect.properties.Number(PropertyId::kSessionExpiryInterval, kHour);
  return connect;
}

inline RawClient Join(const ConnectPacket& connect, Where where = Where::current()) {
  return RawClient(SharedBroker().port(), connect, where);
}

inline RawClient Join(Version version, std::string_view name, Where where = Where::current()) {
  return Join(Transient(version, name), where);
}

// Makes a session with subscriptions and leaves it: what is published from now on waits for its
// return.
inline void SubscribeAndLeave(const ConnectPacket& connect, const std::vector<Filter>& filters,
                              Where where = Where::current()) {
  RawClient client = Join(connect, where);
  client.Subscribe(filters, {}, where);
  client.Disconnect(0, {}, where);
}

// A connection on which nothing was sent yet.
inline RawClient Dial(Version version = kV5) { return RawClient(SharedBroker().port(), version); }

// Returns when the broker's own clock has run for that long: a will with that delay, of a
// connection that is cut now, has come. No test asks the time itself.
inline void PassSeconds(uint32_t seconds, std::string_view name = "clock",
                        Where where = Where::current()) {
  const std::string topic = Unique(std::string(name) + "-topic");
  RawClient watcher = Join(kV5, std::string(name) + "-watcher", where);
  watcher.Subscribe({{topic, 0}}, {}, where);
  ConnectPacket connect = Durable(kV5, name);
  connect.clean = true;
  connect.will =
      Will{.topic = topic, .properties = Number(PropertyId::kWillDelayInterval, seconds)};
  Join(connect, where).socket().Reset();
  watcher.ExpectPublish(topic, "", where);
}

// Publishes "end" to `topic` and expects it at the subscriber, which must have had all else before.
inline void ExpectEnd(RawClient& publisher, RawClient& subscriber, std::string_view topic,
                      unsigned qos, Where where = Where::current()) {
  publisher.Publish({.topic = std::string(topic), .payload = "end", .qos = qos}, where);
  const Packet packet = subscriber.ExpectPublish(topic, "end", where);
  subscriber.Acknowledge(packet, where);
}

}  // namespace spec
#endif  // TESTS_SPEC_SPEC_TEST_H_
