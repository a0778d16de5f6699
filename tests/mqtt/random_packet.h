// Valid packets by chance, from a seed: every type, every field, each version.
#ifndef TESTS_MQTT_RANDOM_PACKET_H_
#define TESTS_MQTT_RANDOM_PACKET_H_

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>

#include "base/rng.h"
#include "tests/mqtt/any_packet.h"

namespace mqtt {

// Owns what its packets view.
class RandomPackets {
 public:
  explicit RandomPackets(uint64_t seed) : rng_(seed) {}

  // One that `sender` may send in `version`, with what that version does not have at its default.
  AnyPacket Next(Version version, Sender sender);

 private:
  std::string_view Own(std::string text);
  std::string_view Text(size_t size_max = 20);  // UTF-8 without U+0000.
  std::string_view Data(size_t size_max = 20);  // Any bytes.
  std::string_view TopicName();
  std::string_view TopicFilter();
  std::optional<std::string_view> MaybeText();
  std::optional<std::string_view> MaybeData();
  std::optional<uint32_t> MaybeNumber();
  UserProperties Users();
  MessageProperties ForMessage();
  PacketId Id() { return PacketId{static_cast<uint16_t>(1 + rng_.Below(65'535))}; }
  QoS AnyQos() { return static_cast<QoS>(rng_.Below(3)); }
  bool Coin() { return rng_.Chance(0.5); }
  // A code that the packet allows.
  ReasonCode Reason(PacketType type);

  Will MakeWill(Version version);
  Connect MakeConnect(Version version);
  ConnAck MakeConnAck(Version version);
  Publish MakePublish(Version version, Sender sender);
  Ack MakeAck(Version version);
  Subscribe MakeSubscribe(Version version);
  SubAck MakeSubAck(Version version);
  Unsubscribe MakeUnsubscribe(Version version);
  UnsubAck MakeUnsubAck(Version version);
  Disconnect MakeDisconnect(Version version, Sender sender);
  Auth MakeAuth(Sender sender);

  base::Rng rng_;
  std::deque<std::string> owned_;
};

}  // namespace mqtt

#endif  // TESTS_MQTT_RANDOM_PACKET_H_
