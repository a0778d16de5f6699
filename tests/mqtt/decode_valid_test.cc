// What each decoder accepts: the shortest and the longest forms, and where the versions differ.
#include <gtest/gtest.h>

#include <string>

#include "tests/mqtt/any_packet.h"
#include "tests/mqtt/wire_text.h"

namespace mqtt {
namespace {

using namespace std::string_view_literals;

// Decodes a body; the frame must live as long as the packet, so it does.
template <typename Packet>
class Decoded {
 public:
  Decoded(uint8_t first_byte, std::string_view body, Version version,
          Sender sender = Sender::kClient)
      : frame_(Frame(first_byte, body)) {
    violation_ = Decode(AsBytes(frame_), version, sender, packet_);
    if (violation_.has_value()) ADD_FAILURE() << *violation_;
  }
  const Packet* operator->() const { return &std::get<Packet>(packet_); }
  const Packet& operator*() const { return std::get<Packet>(packet_); }

 private:
  std::string frame_;
  AnyPacket packet_;
  std::optional<Violation> violation_;
};

// ---- CONNECT ----

TEST(DecodeConnect, TheLeastThereCanBe) {
  const Decoded<Connect> v5(0x10, "s'MQTT' 05 02 003C p{} s''", Version::kUnknown);
  EXPECT_EQ(*v5, (Connect{.version = Version::k5, .clean_start = true, .keep_alive = 60}));
  const Decoded<Connect> v311(0x10, "s'MQTT' 04 00 0000 s'c'", Version::kUnknown);
  EXPECT_EQ(*v311, (Connect{.version = Version::k311, .clean_start = false, .client_id = "c"}));
  const Decoded<Connect> v31(0x10, "s'MQIsdp' 03 02 0000 s'c'", Version::kUnknown);
  EXPECT_EQ(*v31, (Connect{.version = Version::k31, .clean_start = true, .client_id = "c"}));
}

// Its fixed header has a DUP, a QoS and a RETAIN flag in every packet, "not used" in CONNECT.
TEST(DecodeConnect, Version31DoesNotUseTheFlagsOfTheFixedHeader) {
  for (const uint8_t first_byte : std::initializer_list<uint8_t>{0x11, 0x18, 0x1F}) {
    const Decoded<Connect> packet(first_byte, "s'MQIsdp' 03 02 0000 s'c'", Version::kUnknown);
    EXPECT_EQ(*packet, (Connect{.version = Version::k31, .clean_start = true, .client_id = "c"}));
  }
}

TEST(DecodeConnect, AllOfVersion5) {
  const Decoded<Connect> packet(
      0x10,
      "s'MQTT' 05 F6 0102"
      "p{11 00000E10 21 0014 27 00010000 22 000A 19 01 17 00 26 s'a' s'1' 15 s'SCRAM' 16 s'x'"
      "  26 s'a' s'2'}"
      "s'client'"
      "p{18 0000001E 01 01 02 0000003C 03 s'text' 08 s'reply' 09 s'id' 26 s'k' s'v'}"
      "s'will/topic' s'gone' s'user' s'secret'",
      Version::kUnknown);
  EXPECT_EQ(packet->version, Version::k5);
  EXPECT_TRUE(packet->clean_start);
  EXPECT_EQ(packet->keep_alive, 258);
  EXPECT_EQ(packet->client_id, "client");
  EXPECT_EQ(packet->user_name, "user");
  EXPECT_EQ(packet->password, "secret");
  EXPECT_EQ(packet->session_expiry_interval, 3600u);
  EXPECT_EQ(packet->receive_maximum, 20);
  EXPECT_EQ(packet->maximum_packet_size, 65'536u);
  EXPECT_EQ(packet->topic_alias_maximum, 10);
  EXPECT_TRUE(packet->request_response_information);
  EXPECT_FALSE(packet->request_problem_information);
  EXPECT_EQ(packet->user_properties, (UserProperties{{"a", "1"}, {"a", "2"}}));
  EXPECT_EQ(packet->authentication_method, "SCRAM");
  EXPECT_EQ(packet->authentication_data, "x");

  ASSERT_TRUE(packet->will.has_value());
  const Will& will = *packet->will;
  EXPECT_EQ(will.qos, QoS::kExactlyOnce);
  EXPECT_TRUE(will.retain);
  EXPECT_EQ(will.topic, "will/topic");
  EXPECT_EQ(will.payload, "gone");
  EXPECT_EQ(will.delay_interval, 30u);
  EXPECT_EQ(will.message_expiry_interval, 60u);
  EXPECT_TRUE(will.properties_need_filter);
  std::string scratch;
  EXPECT_EQ(ForwardProperties(will, scratch),
            Wire("01 01 03 s'text' 08 s'reply' 09 s'id' 26 s'k' s'v'"));
}

TEST(DecodeConnect, Version5AllowsAPasswordAlone) {
  const Decoded<Connect> packet(0x10, "s'MQTT' 05 42 0000 p{} s'c' s'token'", Version::kUnknown);
  EXPECT_EQ(packet->password, "token");
  EXPECT_EQ(packet->user_name, std::nullopt);
}

TEST(DecodeConnect, Version5AllowsNoIdentifierWithCleanStart0) {
  const Decoded<Connect> packet(0x10, "s'MQTT' 05 00 0000 p{} s''", Version::kUnknown);
  EXPECT_EQ(packet->client_id, "");
  EXPECT_FALSE(packet->clean_start);
}

TEST(DecodeConnect, Version311AllowsNoIdentifierWithCleanSession_MQTT311_3_1_3_6) {
  const Decoded<Connect> packet(0x10, "s'MQTT' 04 02 0000 s''", Version::kUnknown);
  EXPECT_EQ(packet->client_id, "");
}

TEST(DecodeConnect, Version31TakesLongIdentifiersAndMissingFields) {
  const Decoded<Connect> long_id(0x10, "s'MQIsdp' 03 02 0000 s'abcdefghijklmnopqrstuvwxyz'",
                                 Version::kUnknown);
  EXPECT_EQ(long_id->client_id.size(), 26u);
  // The flags announce a user name and a password; the Remaining Length counts.
  const Decoded<Connect> neither(0x10, "s'MQIsdp' 03 C2 0000 s'c'", Version::kUnknown);
  EXPECT_EQ(neither->user_name, std::nullopt);
  EXPECT_EQ(neither->password, std::nullopt);
  const Decoded<Connect> no_password(0x10, "s'MQIsdp' 03 C2 0000 s'c' s'u'", Version::kUnknown);
  EXPECT_EQ(no_password->user_name, "u");
  EXPECT_EQ(no_password->password, std::nullopt);
}

TEST(DecodeConnect, Version31IgnoresWillBitsWithoutAWillAndTheReservedBit) {
  const Decoded<Connect> packet(0x10, "s'MQIsdp' 03 3B 0000 s'c'", Version::kUnknown);
  EXPECT_EQ(packet->will, std::nullopt);
}

TEST(DecodeConnect, EmptyUserNameAndPasswordAreThere) {
  const Decoded<Connect> packet(0x10, "s'MQTT' 04 C2 0000 s'c' s'' s''", Version::kUnknown);
  EXPECT_EQ(packet->user_name, "");
  EXPECT_EQ(packet->password, "");
}

TEST(DecodeConnect, APasswordMayBeAnyBytes) {
  const Decoded<Connect> packet(0x10, "s'MQTT' 04 C2 0000 s'c' s'u' 0003 00FF80",
                                Version::kUnknown);
  EXPECT_EQ(packet->password, "\x00\xFF\x80"sv);
}

TEST(DecodeConnect, ReservedByteOrderMarkIsKept_MQTT5_1_5_4_3) {
  const Decoded<Connect> packet(0x10, "s'MQTT' 05 02 0000 p{} 0004 EFBBBF 61", Version::kUnknown);
  EXPECT_EQ(packet->client_id,
            "\xEF\xBB\xBF"
            "a");
}

// Which CONNACK a refused client can read.
TEST(DecodeConnect, SaysInWhichVersionToAnswer) {
  const auto version_of = [](std::string_view body, uint8_t first_byte = 0x10) {
    const std::string frame = Frame(first_byte, body);
    Connect packet;
    const FrameResult result = PeekFrame(AsBytes(frame), kPacketSizeMax, Version::kUnknown);
    EXPECT_TRUE(
        DecodeConnect(result.header, FrameBody(result.header, AsBytes(frame)), packet).has_value());
    return packet.version;
  };
  EXPECT_EQ(version_of(""), Version::kUnknown);
  EXPECT_EQ(version_of("s'MQTT'"), Version::kUnknown);
  EXPECT_EQ(version_of("s'HTTP' 05"), Version::kUnknown);
  EXPECT_EQ(version_of("s'MQTT' 06 02"), Version::k5);
  EXPECT_EQ(version_of("s'MQTT' 03 02"), Version::k311);
  EXPECT_EQ(version_of("s'MQIsdp' 05 02"), Version::k311);
  EXPECT_EQ(version_of("s'MQTT' 05"), Version::k5);
  EXPECT_EQ(version_of("s'MQTT' 04 02"), Version::k311);
  EXPECT_EQ(version_of("s'MQIsdp' 03 02 0000 s''"), Version::k31);
  EXPECT_EQ(version_of("s'MQTT' 05 02 0000 p{} s'c'", 0x1F), Version::k5);
}

TEST(DecodeConnect, WantsTheShortestRemainingLengthInVersion5_MQTT5_1_5_5_1) {
  const auto check = [](std::string_view wire) {
    return Check(Wire(wire), Version::kUnknown, Sender::kClient);
  };
  EXPECT_EQ(check("10 8D00 s'MQTT' 05 02 0000 p{} s''"),
            (Violation{ReasonCode::kMalformedPacket, "MQTT5-1.5.5-1"}));
  EXPECT_EQ(check("10 8C00 s'MQTT' 04 02 0000 s''"), std::nullopt);
}

// ---- PUBLISH ----

TEST(DecodePublish, QoS0) {
  const Decoded<Publish> v5(0x31, "s'a/b' p{} 'hello'", Version::k5);
  EXPECT_EQ(*v5, (Publish{.retain = true, .topic = "a/b", .payload = "hello"}));
  const Decoded<Publish> v311(0x30, "s'a/b' 'hello'", Version::k311);
  EXPECT_EQ(*v311, (Publish{.topic = "a/b", .payload = "hello"}));
}

TEST(DecodePublish, QoS1And2HaveAnIdentifier) {
  const Decoded<Publish> at_least(0x3B, "s'a' 0102 'x'", Version::k311);
  EXPECT_EQ(*at_least, (Publish{.dup = true,
                                .qos = QoS::kAtLeastOnce,
                                .retain = true,
                                .packet_id = PacketId{258},
                                .topic = "a",
                                .payload = "x"}));
  const Decoded<Publish> exactly(0x34, "s'a' FFFF p{}", Version::k5);
  EXPECT_EQ(exactly->qos, QoS::kExactlyOnce);
  EXPECT_EQ(exactly->packet_id, PacketId{65'535});
  EXPECT_EQ(exactly->payload, "");
}

TEST(DecodePublish, ForwardablePropertiesAreOneView) {
  const Decoded<Publish> packet(
      0x30, "s'a' p{26 s'z' s'1' 01 01 26 s'a' s'2' 09 s'' 08 s'r' 03 s'c'} 'x'", Version::k5);
  EXPECT_FALSE(packet->properties_need_filter);
  EXPECT_EQ(packet->raw_properties, Wire("26 s'z' s'1' 01 01 26 s'a' s'2' 09 s'' 08 s'r' 03 s'c'"));
  std::string scratch;
  EXPECT_EQ(ForwardProperties(*packet, scratch).data(), packet->raw_properties.data());
}

TEST(DecodePublish, WhatBelongsToOneHopIsFilteredOut) {
  const Decoded<Publish> packet(
      0x30, "s'a' p{26 s'z' s'1' 0B 05 23 0007 26 s'a' s'2' 02 0000000A 0B FFFFFF7F 01 00} 'x'",
      Version::k5, Sender::kServer);
  EXPECT_EQ(packet->topic_alias, 7);
  EXPECT_EQ(packet->message_expiry_interval, 10u);
  EXPECT_EQ(packet->subscription_ids, (std::vector<uint32_t>{5, 268'435'455}));
  EXPECT_TRUE(packet->properties_need_filter);
  std::string scratch;
  EXPECT_EQ(ForwardProperties(*packet, scratch), Wire("26 s'z' s'1' 26 s'a' s'2' 01 00"));

  const MessageProperties properties = ParseMessageProperties(packet->raw_properties);
  EXPECT_EQ(properties, (MessageProperties{.payload_format = uint8_t{0},
                                           .user_properties = {{"z", "1"}, {"a", "2"}}}));
}

TEST(DecodePublish, AnAliasStandsForTheTopic) {
  const Decoded<Publish> packet(0x30, "s'' p{23 FFFF}", Version::k5);
  EXPECT_EQ(packet->topic, "");
  EXPECT_EQ(packet->topic_alias, 65'535);
}

TEST(DecodePublish, APacketFromBeforeLeavesNothingBehind) {
  const std::string full = Frame(0x3D, "s'a' 0001 p{23 0001 02 00000001 0B 01 26 s'' s''} 'x'");
  const std::string plain = Frame(0x30, "s'b' p{} 'y'");
  Publish packet;
  const auto decode = [&packet](std::string_view frame) {
    const FrameResult result = PeekFrame(AsBytes(frame), kPacketSizeMax, Version::k5);
    return DecodePublish(result.header.flags, FrameBody(result.header, AsBytes(frame)), Version::k5,
                         Sender::kServer, packet);
  };
  ASSERT_EQ(decode(full), std::nullopt);
  ASSERT_EQ(decode(plain), std::nullopt);
  EXPECT_EQ(packet, (Publish{.topic = "b", .payload = "y"}));
}

// ---- PUBACK, PUBREC, PUBREL, PUBCOMP ----

TEST(DecodeAck, EveryFormOfEachType) {
  struct Form {
    PacketType type;
    uint8_t first_byte;
    ReasonCode failure;
    std::string_view hex;
  };
  for (const auto& [type, first_byte, failure, hex] :
       {Form{PacketType::kPubAck, 0x40, ReasonCode::kQuotaExceeded, "97"},
        Form{PacketType::kPubRec, 0x50, ReasonCode::kNoMatchingSubscribers, "10"},
        Form{PacketType::kPubRel, 0x62, ReasonCode::kPacketIdentifierNotFound, "92"},
        Form{PacketType::kPubComp, 0x70, ReasonCode::kPacketIdentifierNotFound, "92"}}) {
    const Ack success{.type = type, .packet_id = PacketId{7}};
    EXPECT_EQ(*Decoded<Ack>(first_byte, "0007", Version::k31), success);
    EXPECT_EQ(*Decoded<Ack>(first_byte, "0007", Version::k311), success);
    EXPECT_EQ(*Decoded<Ack>(first_byte, "0007", Version::k5), success);
    EXPECT_EQ(*Decoded<Ack>(first_byte, "0007 00", Version::k5), success);
    EXPECT_EQ(*Decoded<Ack>(first_byte, "0007 00 p{}", Version::k5), success);
    Ack failed = success;
    failed.reason = failure;
    EXPECT_EQ(*Decoded<Ack>(first_byte, "0007" + std::string(hex), Version::k5), failed);
    failed.reason_string = "no";
    failed.user_properties = {{"k", "v"}};
    EXPECT_EQ(*Decoded<Ack>(first_byte, "0007" + std::string(hex) + "p{1F s'no' 26 s'k' s'v'}",
                            Version::k5),
              failed);
  }
}

TEST(DecodeAck, Version31MayRepeatWithDup) {
  EXPECT_EQ(Decoded<Ack>(0x6A, "0007", Version::k31)->packet_id, PacketId{7});
  EXPECT_EQ(Decoded<Subscribe>(0x8A, "0007 s'a' 00", Version::k31)->packet_id, PacketId{7});
  EXPECT_EQ(Decoded<Unsubscribe>(0xAA, "0007 s'a'", Version::k31)->packet_id, PacketId{7});
}

TEST(DecodeAck, Version31DoesNotUseTheFlagsOfTheFixedHeader) {
  EXPECT_EQ(Decoded<Ack>(0x4F, "0007", Version::k31)->packet_id, PacketId{7});
  EXPECT_FALSE(DecodePingReq(0x0F, Bytes(), Version::k31).has_value());
  EXPECT_TRUE(DecodePingReq(0x0F, Bytes(), Version::k311).has_value());
}

// ---- SUBSCRIBE, UNSUBSCRIBE and their answers ----

TEST(DecodeSubscribe, EveryOption) {
  const Decoded<Subscribe> packet(
      0x82, "000A p{26 s'k' s'v' 0B 8001} s'a' 00 s'b/#' 1D s'$share/g/+' 22", Version::k5);
  EXPECT_EQ(packet->packet_id, PacketId{10});
  EXPECT_EQ(packet->subscription_id, 128u);
  EXPECT_EQ(packet->user_properties, (UserProperties{{"k", "v"}}));
  ASSERT_EQ(packet->subscriptions.size(), 3u);
  EXPECT_EQ(packet->subscriptions[0], (Subscription{"a", {}}));
  EXPECT_EQ(packet->subscriptions[1],
            (Subscription{"b/#",
                          {.qos = QoS::kAtLeastOnce,
                           .no_local = true,
                           .retain_as_published = true,
                           .retain_handling = RetainHandling::kSendIfNew}}));
  EXPECT_EQ(
      packet->subscriptions[2],
      (Subscription{"$share/g/+",
                    {.qos = QoS::kExactlyOnce, .retain_handling = RetainHandling::kDoNotSend}}));
}

TEST(DecodeSubscribe, Version311HasTheQosOnly) {
  const Decoded<Subscribe> packet(0x82, "0001 s'a' 02 s'$share/g' 01", Version::k311);
  ASSERT_EQ(packet->subscriptions.size(), 2u);
  EXPECT_EQ(packet->subscriptions[0], (Subscription{"a", {.qos = QoS::kExactlyOnce}}));
  EXPECT_EQ(packet->subscriptions[1], (Subscription{"$share/g", {.qos = QoS::kAtLeastOnce}}));
}

TEST(SubscriptionOptions, EveryValidByteThereAndBack) {
  for (unsigned byte = 0; byte < 0x40; ++byte) {
    if ((byte & 0x03) == 3 || (byte & 0x30) == 0x30) continue;
    const auto options = SubscriptionOptions::FromByte(static_cast<uint8_t>(byte));
    EXPECT_EQ(options.ToByte(), byte);
  }
}

TEST(DecodeUnsubscribe, TakesSeveralFilters) {
  const Decoded<Unsubscribe> packet(0xA2, "0001 p{26 s'' s''} s'a' s'b/+'", Version::k5);
  EXPECT_EQ(packet->filters, (std::vector<std::string_view>{"a", "b/+"}));
  EXPECT_EQ(packet->user_properties.size(), 1u);
  EXPECT_EQ(Decoded<Unsubscribe>(0xA2, "0001 s'a'", Version::k311)->filters.size(), 1u);
}

TEST(DecodeSubAck, TakesTheCodesOfTheVersion) {
  const Decoded<SubAck> v5(0x90, "0001 p{1F s'so'} 02 97", Version::k5, Sender::kServer);
  EXPECT_EQ(v5->reason_string, "so");
  EXPECT_EQ(v5->reasons,
            (std::vector<ReasonCode>{ReasonCode::kGrantedQos2, ReasonCode::kQuotaExceeded}));
  const Decoded<SubAck> v311(0x90, "0001 00 80", Version::k311, Sender::kServer);
  EXPECT_EQ(v311->reasons,
            (std::vector<ReasonCode>{ReasonCode::kGrantedQos0, ReasonCode::kUnspecifiedError}));
}

TEST(DecodeUnsubAck, HasCodesInVersion5Only) {
  const Decoded<UnsubAck> v5(0xB0, "0001 p{} 00 11", Version::k5, Sender::kServer);
  EXPECT_EQ(v5->reasons,
            (std::vector<ReasonCode>{ReasonCode::kSuccess, ReasonCode::kNoSubscriptionExisted}));
  const Decoded<UnsubAck> v311(0xB0, "0001", Version::k311, Sender::kServer);
  EXPECT_TRUE(v311->reasons.empty());
}

// ---- CONNACK ----

TEST(DecodeConnAck, Version311HasReturnCodes) {
  const Decoded<ConnAck> accepted(0x20, "01 00", Version::k311, Sender::kServer);
  EXPECT_EQ(*accepted, (ConnAck{.session_present = true}));
  const Decoded<ConnAck> refused(0x20, "00 05", Version::k311, Sender::kServer);
  EXPECT_EQ(refused->reason, ReasonCode::kNotAuthorized);
}

TEST(DecodeConnAck, Version31ReservesTheFlags) {
  EXPECT_FALSE(Decoded<ConnAck>(0x20, "01 00", Version::k31, Sender::kServer)->session_present);
}

TEST(DecodeConnAck, AllOfVersion5) {
  const Decoded<ConnAck> packet(
      0x20,
      "01 00 p{11 00000001 21 0002 24 01 25 00 27 00000100 12 s'id' 22 0003 1F s'hi'"
      "  26 s'k' s'v' 28 00 29 00 2A 00 13 000A 1A s'r/' 1C s'host' 15 s'm' 16 s'd'}",
      Version::k5, Sender::kServer);
  EXPECT_EQ(*packet, (ConnAck{.session_present = true,
                              .session_expiry_interval = 1,
                              .receive_maximum = 2,
                              .maximum_qos = QoS::kAtLeastOnce,
                              .retain_available = false,
                              .maximum_packet_size = 256,
                              .assigned_client_identifier = "id",
                              .topic_alias_maximum = 3,
                              .reason_string = "hi",
                              .user_properties = {{"k", "v"}},
                              .wildcard_subscription_available = false,
                              .subscription_identifier_available = false,
                              .shared_subscription_available = false,
                              .server_keep_alive = uint16_t{10},
                              .response_information = "r/",
                              .server_reference = "host",
                              .authentication_method = "m",
                              .authentication_data = "d"}));
}

// ---- DISCONNECT, AUTH, PINGREQ ----

TEST(DecodeDisconnect, EveryForm) {
  EXPECT_EQ(*Decoded<Disconnect>(0xE0, "", Version::k311), Disconnect());
  EXPECT_EQ(*Decoded<Disconnect>(0xE0, "", Version::k5), Disconnect());
  EXPECT_EQ(*Decoded<Disconnect>(0xE0, "00", Version::k5), Disconnect());
  EXPECT_EQ(*Decoded<Disconnect>(0xE0, "04", Version::k5),
            Disconnect{.reason = ReasonCode::kDisconnectWithWill});
  EXPECT_EQ(*Decoded<Disconnect>(0xE0, "00 p{}", Version::k5), Disconnect());
  EXPECT_EQ(
      *Decoded<Disconnect>(0xE0, "00 p{11 00000000 1F s'bye' 26 s'k' s'v'}", Version::k5),
      (Disconnect{
          .session_expiry_interval = 0, .reason_string = "bye", .user_properties = {{"k", "v"}}}));
  EXPECT_EQ(*Decoded<Disconnect>(0xE0, "9D p{1C s'other:1883'}", Version::k5, Sender::kServer),
            (Disconnect{.reason = ReasonCode::kServerMoved, .server_reference = "other:1883"}));
}

TEST(DecodeAuth, EveryForm) {
  EXPECT_EQ(*Decoded<Auth>(0xF0, "18 p{15 s'm' 16 s'd'}", Version::k5),
            (Auth{.reason = ReasonCode::kContinueAuthentication,
                  .authentication_method = "m",
                  .authentication_data = "d"}));
  EXPECT_EQ(*Decoded<Auth>(0xF0, "19 p{15 s'm' 1F s'again' 26 s'' s''}", Version::k5),
            (Auth{.reason = ReasonCode::kReauthenticate,
                  .authentication_method = "m",
                  .reason_string = "again",
                  .user_properties = {{"", ""}}}));
  EXPECT_EQ(*Decoded<Auth>(0xF0, "", Version::k5, Sender::kServer), Auth());
  EXPECT_EQ(Decoded<Auth>(0xF0, "00 p{15 s'm'}", Version::k5, Sender::kServer)->reason,
            ReasonCode::kSuccess);
}

TEST(DecodePing, HasNoBody) {
  EXPECT_EQ(*Decoded<PingReq>(0xC0, "", Version::k5), PingReq());
  EXPECT_EQ(*Decoded<PingResp>(0xD0, "", Version::k311, Sender::kServer), PingResp());
}

}  // namespace
}  // namespace mqtt
