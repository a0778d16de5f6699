// The two tables: properties (§2.2.2.2, Table 2-4) and Reason Codes (§2.4, Table 2-6).
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "mqtt/property.h"
#include "mqtt/reason_code.h"
#include "mqtt/types.h"

namespace mqtt {
namespace {

template <typename T>
std::string Print(const T& value) {
  std::ostringstream out;
  out << value;
  return out.str();
}

std::vector<PropertyInfo> AllProperties() {
  std::vector<PropertyInfo> out;
  for (uint32_t id = 0; id < 300; ++id) {
    if (const PropertyInfo* info = FindProperty(id)) {
      EXPECT_EQ(static_cast<uint32_t>(info->id), id);
      out.push_back(*info);
    }
  }
  return out;
}

size_t CountIn(PropertyPlace place) {
  size_t count = 0;
  for (const PropertyInfo& info : AllProperties()) count += info.IsAllowedIn(place) ? 1 : 0;
  return count;
}

TEST(Properties, AreTwentySeven) { EXPECT_EQ(AllProperties().size(), 27u); }

TEST(Properties, StandWhereTheTableSays) {
  EXPECT_EQ(CountIn(PropertyPlace::kWill), 7u);
  EXPECT_EQ(CountIn(PlaceOf(PacketType::kConnect)), 9u);
  EXPECT_EQ(CountIn(PlaceOf(PacketType::kConnAck)), 17u);
  EXPECT_EQ(CountIn(PlaceOf(PacketType::kPublish)), 8u);
  for (const PacketType type : {PacketType::kPubAck, PacketType::kPubRec, PacketType::kPubRel,
                                PacketType::kPubComp, PacketType::kSubAck, PacketType::kUnsubAck}) {
    EXPECT_EQ(CountIn(PlaceOf(type)), 2u) << type;
  }
  EXPECT_EQ(CountIn(PlaceOf(PacketType::kSubscribe)), 2u);
  EXPECT_EQ(CountIn(PlaceOf(PacketType::kUnsubscribe)), 1u);
  EXPECT_EQ(CountIn(PlaceOf(PacketType::kDisconnect)), 4u);
  EXPECT_EQ(CountIn(PlaceOf(PacketType::kAuth)), 4u);
  EXPECT_EQ(CountIn(PlaceOf(PacketType::kPingReq)), 0u);
  EXPECT_EQ(CountIn(PlaceOf(PacketType::kPingResp)), 0u);
}

TEST(Properties, OnlyTwoMayRepeat) {
  for (const PropertyInfo& info : AllProperties()) {
    EXPECT_EQ(info.may_repeat, info.id == PropertyId::kUserProperty ||
                                   info.id == PropertyId::kSubscriptionIdentifier)
        << info.name;
  }
}

TEST(Properties, PrintTheirNames) {
  EXPECT_EQ(Print(PropertyId::kTopicAlias), "Topic Alias");
  EXPECT_EQ(Print(static_cast<PropertyId>(4)), "property 4");
}

size_t CountIn(PacketType type) {
  size_t count = 0;
  for (int code = 0; code < 256; ++code) {
    count += IsAllowed(static_cast<ReasonCode>(code), type) ? 1 : 0;
  }
  return count;
}

TEST(ReasonCodes, StandWhereTheTableSays) {
  EXPECT_EQ(CountIn(PacketType::kConnAck), 22u);
  EXPECT_EQ(CountIn(PacketType::kPubAck), 9u);
  EXPECT_EQ(CountIn(PacketType::kPubRec), 9u);
  EXPECT_EQ(CountIn(PacketType::kPubRel), 2u);
  EXPECT_EQ(CountIn(PacketType::kPubComp), 2u);
  EXPECT_EQ(CountIn(PacketType::kSubAck), 12u);
  EXPECT_EQ(CountIn(PacketType::kUnsubAck), 7u);
  EXPECT_EQ(CountIn(PacketType::kDisconnect), 30u);
  EXPECT_EQ(CountIn(PacketType::kAuth), 3u);
  for (const PacketType type : {PacketType::kConnect, PacketType::kPublish, PacketType::kSubscribe,
                                PacketType::kUnsubscribe, PacketType::kPingReq}) {
    EXPECT_EQ(CountIn(type), 0u) << type;
  }
}

TEST(ReasonCodes, PrintNumberAndName) {
  EXPECT_EQ(Print(ReasonCode::kSuccess), "0x00 success");
  EXPECT_EQ(Print(ReasonCode::kWildcardSubscriptionsNotSupported),
            "0xA2 wildcard subscriptions not supported");
  EXPECT_EQ(Print(static_cast<ReasonCode>(0x7F)), "0x7F unknown reason code");
  EXPECT_EQ(Print(Violation{ReasonCode::kMalformedPacket, "MQTT-3.3.1-4"}),
            "0x81 malformed packet [MQTT-3.3.1-4]");
}

TEST(ReasonCodes, FailFrom0x80) {
  EXPECT_FALSE(IsError(ReasonCode::kReauthenticate));
  EXPECT_TRUE(IsError(ReasonCode::kUnspecifiedError));
}

TEST(ReturnCodes, ThereAndBack) {
  for (int code = 0; code <= 5; ++code) {
    const auto reason = FromConnectReturnCode(static_cast<uint8_t>(code));
    ASSERT_TRUE(reason.has_value());
    EXPECT_EQ(ToConnectReturnCode(*reason), static_cast<ConnectReturnCode>(code));
  }
  for (int code = 6; code < 256; ++code) {
    EXPECT_EQ(FromConnectReturnCode(static_cast<uint8_t>(code)), std::nullopt);
  }
}

TEST(ReturnCodes, NoneForWhatMustNotBeAnswered_MQTT311_3_1_4_1_MQTT311_3_2_2_6) {
  EXPECT_EQ(ToConnectReturnCode(ReasonCode::kMalformedPacket), std::nullopt);
  EXPECT_EQ(ToConnectReturnCode(ReasonCode::kProtocolError), std::nullopt);
  EXPECT_EQ(ToConnectReturnCode(ReasonCode::kPacketTooLarge), std::nullopt);
}

TEST(PacketTypes, PrintTheirNames) {
  EXPECT_EQ(Print(PacketType::kConnect), "CONNECT");
  EXPECT_EQ(Print(PacketType::kAuth), "AUTH");
  EXPECT_EQ(Print(Version::k31), "3.1");
  EXPECT_EQ(Print(SubscriptionOptions{.qos = QoS::kAtLeastOnce, .no_local = true}),
            "qos=1 no-local");
}

}  // namespace
}  // namespace mqtt
