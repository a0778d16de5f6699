// What the encoders write, byte by byte, and how packets are made to fit a receiver.
#include "mqtt/encode.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/mqtt/any_packet.h"
#include "tests/mqtt/wire_text.h"

namespace mqtt {
namespace {

// ---- PUBLISH ----

std::string Written(const PublishHead& head) {
  const PublishSize size = MeasurePublish(head);
  std::string out(size.total, '\xEE');
  auto* const begin = reinterpret_cast<uint8_t*>(out.data());
  const WrittenPublish written = WritePublish(begin, head, size);
  EXPECT_EQ(written.end, begin + size.total);
  return out;
}

TEST(WritePublish, Version311) {
  EXPECT_EQ(Written({.topic = "a/b", .payload = "hi"}), Frame(0x30, "s'a/b' 'hi'"));
  EXPECT_EQ(Written({.dup = true,
                     .qos = QoS::kExactlyOnce,
                     .retain = true,
                     .packet_id = PacketId{0x0102},
                     .topic = "a"}),
            Frame(0x3D, "s'a' 0102"));
}

TEST(WritePublish, OlderVersionsHaveNoProperties) {
  const uint32_t ids[] = {1};
  for (const Version version : {Version::k31, Version::k311}) {
    EXPECT_EQ(Written({.version = version,
                       .topic = "a",
                       .topic_alias = 1,
                       .message_expiry_interval = 1,
                       .subscription_ids = ids,
                       .forward_properties = "x",
                       .payload = "p"}),
              Frame(0x30, "s'a' 'p'"));
  }
}

TEST(WritePublish, NoPropertiesAreLengthZero_MQTT5_2_2_2_1) {
  EXPECT_EQ(Written({.version = Version::k5, .topic = "a", .payload = "p"}),
            Frame(0x30, "s'a' 00 'p'"));
}

TEST(WritePublish, PutsTheHopsPropertiesBeforeTheMessages) {
  const uint32_t ids[] = {1, 128, kRemainingLengthMax};
  const std::string forward = Wire("26 s'k' s'v' 01 01");
  EXPECT_EQ(Written({.version = Version::k5,
                     .qos = QoS::kAtLeastOnce,
                     .packet_id = PacketId{1},
                     .topic_alias = 9,
                     .message_expiry_interval = 0x01020304,
                     .subscription_ids = ids,
                     .forward_properties = forward,
                     .payload = "p"}),
            Frame(0x32,
                  "s'' 0001 p{23 0009 02 01020304 0B 01 0B 8001 0B FFFFFF7F 26 s'k' s'v' 01 01}"
                  "'p'"));
}

TEST(WritePublish, LengthsGrowAByteWhereTheyMust) {
  for (const size_t payload : {100u, 122u, 123u, 124u, 125u, 126u, 127u, 128u, 129u, 16'376u,
                               16'380u, 16'384u, 2'097'140u, 2'097'152u}) {
    for (const size_t properties : {0u, 120u, 127u, 128u, 129u, 16'383u, 16'384u}) {
      const std::string bytes(payload, 'p');
      // One User Property that fills the block, if there is room for its seven bytes.
      std::string forward;
      if (properties > 7) forward = Wire("26 0001 'k'");
      if (properties > 7) {
        const size_t value = properties - 6;
        forward += {static_cast<char>(value >> 8), static_cast<char>(value)};
        forward += std::string(value, 'v');
      }
      const std::string frame = Written(
          {.version = Version::k5, .topic = "t", .forward_properties = forward, .payload = bytes});
      AnyPacket packet;
      ASSERT_EQ(Decode(AsBytes(frame), Version::k5, Sender::kServer, packet), std::nullopt)
          << payload << " " << properties;
      ASSERT_EQ(std::get<Publish>(packet).payload, bytes);
      ASSERT_EQ(std::get<Publish>(packet).raw_properties, forward);
    }
  }
}

TEST(WritePublish, TellsWhereThePacketIdentifierStands) {
  for (const Version version : {Version::k311, Version::k5}) {
    const PublishHead head{
        .version = version, .qos = QoS::kAtLeastOnce, .topic = "abc", .payload = "p"};
    const PublishSize size = MeasurePublish(head);
    std::string frame(size.total, '\0');
    const WrittenPublish written =
        WritePublish(reinterpret_cast<uint8_t*>(frame.data()), head, size);
    ASSERT_NE(written.packet_id, nullptr);
    PatchPacketId(written.packet_id, PacketId{0xABCD});
    AnyPacket packet;
    ASSERT_EQ(Decode(AsBytes(frame), version, Sender::kServer, packet), std::nullopt);
    EXPECT_EQ(std::get<Publish>(packet).packet_id, PacketId{0xABCD});
  }
  uint8_t room[16];
  const PublishHead head{.topic = "a"};
  EXPECT_EQ(WritePublish(room, head, MeasurePublish(head)).packet_id, nullptr);
}

TEST(WritePublish, TheHeaderAloneEndsWhereThePayloadBegins) {
  const PublishHead head{.version = Version::k5, .topic = "a", .payload = "payload"};
  const PublishSize size = MeasurePublish(head);
  std::string header(size.total - head.payload.size(), '\0');
  auto* const begin = reinterpret_cast<uint8_t*>(header.data());
  EXPECT_EQ(WritePublishHeader(begin, head, size).end, begin + header.size());
  EXPECT_EQ(header + "payload", Written(head));
}

TEST(EncodePublish, RefusesWhatIsTooLarge) {
  const PublishHead head{.topic = "a", .payload = "12345"};
  std::string out = "kept";
  EXPECT_FALSE(Encode(head, out, 9));
  EXPECT_EQ(out, "kept");
  EXPECT_TRUE(Encode(head, out, 10));
  EXPECT_EQ(out, "kept" + Frame(0x30, "s'a' '12345'"));
}

// ---- Acknowledgements ----

TEST(WriteAck, IsTheShortestForm) {
  const auto written = [](PacketType type, Version version, ReasonCode reason) {
    uint8_t room[kAckSizeMax];
    const uint8_t* end = WriteAck(room, type, version, PacketId{0x0102}, reason);
    return std::string(AsText(Bytes(room, static_cast<size_t>(end - room))));
  };
  const auto success = ReasonCode::kSuccess;
  const auto not_found = ReasonCode::kPacketIdentifierNotFound;
  EXPECT_EQ(written(PacketType::kPubAck, Version::k5, success), Frame(0x40, "0102"));
  EXPECT_EQ(written(PacketType::kPubRec, Version::k311, success), Frame(0x50, "0102"));
  EXPECT_EQ(written(PacketType::kPubRel, Version::k31, success), Frame(0x62, "0102"));
  EXPECT_EQ(written(PacketType::kPubRel, Version::k5, not_found), Frame(0x62, "0102 92"));
  EXPECT_EQ(written(PacketType::kPubComp, Version::k5, not_found), Frame(0x70, "0102 92"));
  EXPECT_EQ(written(PacketType::kPubComp, Version::k311, not_found), Frame(0x70, "0102"));
}

TEST(EncodeAck, LeavesOutWhatItCan) {
  const auto encoded = [](const Ack& packet, Version version = Version::k5) {
    return ToFrame(packet, version);
  };
  Ack packet{.type = PacketType::kPubRec, .packet_id = PacketId{1}};
  EXPECT_EQ(encoded(packet), Frame(0x50, "0001"));
  packet.reason_string = "x";
  EXPECT_EQ(encoded(packet), Frame(0x50, "0001 00 p{1F s'x'}"));
  EXPECT_EQ(encoded(packet, Version::k311), Frame(0x50, "0001"));
}

// ---- Fitting a receiver's Maximum Packet Size ----

// Statements such as [MQTT5-3.4.2-2] and [MQTT5-3.4.2-3], for each packet that has both properties.
class Fitting : public testing::TestWithParam<AnyPacket> {};

TEST_P(Fitting, GivesUpUserPropertiesThenTheReasonStringThenThePacket) {
  AnyPacket packet = GetParam();
  std::visit(
      [](auto& p) {
        if constexpr (requires { p.reason_string; }) {
          p.reason_string = "a reason of some length";
          p.user_properties = {{"name", "value"}, {"name", "another value"}};
        }
      },
      packet);
  const size_t bare = ToFrame(GetParam(), Version::k5).size();
  const size_t all = ToFrame(packet, Version::k5).size();
  size_t steps = 0;
  size_t last = all;
  for (auto max = static_cast<uint32_t>(all); max > 0; --max) {
    const std::string frame = ToFrame(packet, Version::k5, max);
    ASSERT_LE(frame.size(), max);
    if (frame.empty()) {
      ASSERT_LT(max, bare);
      continue;
    }
    if (frame.size() != last) ++steps;
    last = frame.size();
    ASSERT_EQ(Check(frame, Version::k5, Sender::kServer), std::nullopt);
  }
  EXPECT_EQ(steps, 2u);  // All, without User Properties, without either.
  EXPECT_EQ(last, bare);
}

INSTANTIATE_TEST_SUITE_P(
    , Fitting,
    testing::Values(
        AnyPacket(ConnAck{.assigned_client_identifier = "id"}),
        AnyPacket(Ack{.type = PacketType::kPubAck, .packet_id = PacketId{1}}),
        AnyPacket(Ack{.type = PacketType::kPubRec, .packet_id = PacketId{1}}),
        AnyPacket(Ack{.type = PacketType::kPubRel, .packet_id = PacketId{1}}),
        AnyPacket(Ack{.type = PacketType::kPubComp, .packet_id = PacketId{1}}),
        AnyPacket(SubAck{.packet_id = PacketId{1}, .reasons = {ReasonCode::kGrantedQos0}}),
        AnyPacket(UnsubAck{.packet_id = PacketId{1}, .reasons = {ReasonCode::kSuccess}}),
        AnyPacket(Disconnect{.reason = ReasonCode::kServerMoved, .server_reference = "b"}),
        AnyPacket(Auth{.reason = ReasonCode::kContinueAuthentication,
                       .authentication_method = "m"})));

TEST(Encode, AClientsPacketIsNotShortened) {
  const Subscribe subscribe{
      .packet_id = PacketId{1}, .user_properties = {{"k", "v"}}, .subscriptions = {{"a", {}}}};
  const auto size = static_cast<uint32_t>(ToFrame(subscribe, Version::k5).size());
  EXPECT_TRUE(ToFrame(subscribe, Version::k5, size - 1).empty());
}

// ---- The rest ----

TEST(EncodeConnAck, SaysReturnCodesInOlderVersions) {
  EXPECT_EQ(ToFrame(ConnAck{.reason = ReasonCode::kBanned}, Version::k311), Frame(0x20, "00 05"));
  EXPECT_EQ(ToFrame(ConnAck{.session_present = true, .receive_maximum = 1}, Version::k311),
            Frame(0x20, "01 00"));
  EXPECT_EQ(ToFrame(ConnAck{.session_present = true}, Version::k31), Frame(0x20, "00 00"));
}

TEST(EncodeConnAck, AFailureHasNoSessionPresent_MQTT5_3_2_2_6_MQTT311_3_2_2_4) {
  const ConnAck packet{.session_present = true, .reason = ReasonCode::kNotAuthorized};
  EXPECT_EQ(ToFrame(packet, Version::k5), Frame(0x20, "00 87 p{}"));
  EXPECT_EQ(ToFrame(packet, Version::k311), Frame(0x20, "00 05"));
}

TEST(EncodeRefusal, AnswersInTheClientsVersionOrNotAtAll) {
  const auto refusal = [](Version version, ReasonCode reason) {
    std::string out;
    EncodeRefusal(version, reason, "why", out);
    return out;
  };
  EXPECT_EQ(refusal(Version::k5, ReasonCode::kMalformedPacket), Frame(0x20, "00 81 p{1F s'why'}"));
  EXPECT_EQ(refusal(Version::k311, ReasonCode::kClientIdentifierNotValid), Frame(0x20, "00 02"));
  EXPECT_EQ(refusal(Version::k31, ReasonCode::kUnsupportedProtocolVersion), Frame(0x20, "00 01"));
  EXPECT_EQ(refusal(Version::k311, ReasonCode::kMalformedPacket), "");  // [MQTT311-3.1.4-1]
  EXPECT_EQ(refusal(Version::kUnknown, ReasonCode::kUnsupportedProtocolVersion), "");
}

TEST(EncodeRefusal, FitsTheClientOrIsNotSent_MQTT5_3_2_2_19_MQTT5_3_1_2_24) {
  const auto refusal = [](uint32_t packet_size_max) {
    std::string out;
    EncodeRefusal(Version::k5, ReasonCode::kMalformedPacket, "why", out, packet_size_max);
    return out;
  };
  EXPECT_EQ(refusal(11), Frame(0x20, "00 81 p{1F s'why'}"));
  EXPECT_EQ(refusal(10), Frame(0x20, "00 81 p{}"));
  EXPECT_EQ(refusal(4), "");
}

TEST(EncodeSubAck, OlderVersionsKnowOneFailure_MQTT311_3_9_3_2) {
  const SubAck packet{.packet_id = PacketId{1},
                      .reasons = {ReasonCode::kGrantedQos1, ReasonCode::kNotAuthorized,
                                  ReasonCode::kTopicFilterInvalid}};
  EXPECT_EQ(ToFrame(packet, Version::k311), Frame(0x90, "0001 01 80 80"));
  EXPECT_EQ(ToFrame(packet, Version::k5), Frame(0x90, "0001 p{} 01 87 8F"));
}

TEST(EncodeDisconnect, LeavesOutWhatItCan) {
  EXPECT_EQ(ToFrame(Disconnect(), Version::k5), Frame(0xE0, ""));
  EXPECT_EQ(ToFrame(Disconnect{.reason = ReasonCode::kServerBusy}, Version::k5), Frame(0xE0, "89"));
  EXPECT_EQ(ToFrame(Disconnect{.session_expiry_interval = 5}, Version::k5),
            Frame(0xE0, "00 p{11 00000005}"));
  EXPECT_EQ(ToFrame(Disconnect{.reason = ReasonCode::kServerBusy}, Version::k311), Frame(0xE0, ""));
}

TEST(EncodeConnect, DefaultsAreNotWritten) {
  EXPECT_EQ(ToFrame(Connect{.version = Version::k5}, Version::k5),
            Frame(0x10, "s'MQTT' 05 02 0000 p{} s''"));
  EXPECT_EQ(ToFrame(Connect{.version = Version::k31, .client_id = "c"}, Version::k31),
            Frame(0x10, "s'MQIsdp' 03 02 0000 s'c'"));
}

TEST(PingFrames, AreTwoBytes) {
  EXPECT_EQ(AsText(kPingReqFrame), Frame(0xC0, ""));
  EXPECT_EQ(AsText(kPingRespFrame), Frame(0xD0, ""));
}

TEST(EncodeDeathTest, AStringLongerThanItsLengthFieldIsOurFault) {
  const std::string topic(65'536, 'x');
  std::string out;
  EXPECT_DEATH(
      (void)Encode(Unsubscribe{.packet_id = PacketId{1}, .filters = {topic}}, Version::k311, out),
      "65,535");
}

}  // namespace
}  // namespace mqtt
