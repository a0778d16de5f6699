// What becomes of a CONNECT, by table.
#include "broker/core/connect_rules.h"

#include <gtest/gtest.h>

#include <optional>
#include <ostream>
#include <string>
#include <string_view>

#include "mqtt/frame.h"

namespace broker {
namespace {

using mqtt::ReasonCode;
using mqtt::Version;

constexpr uint32_t kNever = 0xFFFFFFFF;

// ---- CheckConnect ----

struct CheckRow {
  const char* name;
  Limits limits;
  mqtt::Connect connect;
  std::optional<ReasonCode> refused;
  std::string_view rule = "";
};

mqtt::Will WillOf(mqtt::QoS qos, bool retain, std::string_view topic) {
  mqtt::Will will;
  will.qos = qos;
  will.retain = retain;
  will.topic = topic;
  return will;
}

class CheckConnectTable : public ::testing::TestWithParam<CheckRow> {};

TEST_P(CheckConnectTable, RefusesWhatTheLimitsForbid) {
  const CheckRow& row = GetParam();
  const auto violation = CheckConnect(row.connect, row.limits);
  ASSERT_EQ(violation.has_value(), row.refused.has_value());
  if (!violation.has_value()) return;
  EXPECT_EQ(violation->reason, *row.refused);
  EXPECT_EQ(violation->rule, row.rule);
}

const mqtt::QoS kQos1 = mqtt::QoS::kAtLeastOnce;
const mqtt::QoS kQos2 = mqtt::QoS::kExactlyOnce;

INSTANTIATE_TEST_SUITE_P(
    Rows, CheckConnectTable,
    ::testing::Values(
        CheckRow{"Plain", {}, {.client_id = "c"}, std::nullopt},
        CheckRow{"IdAsLongAsAllowed", {.client_id_bytes_max = 3}, {.client_id = "abc"}, {}},
        CheckRow{"IdTooLong",
                 {.client_id_bytes_max = 3},
                 {.client_id = "abcd"},
                 ReasonCode::kClientIdentifierNotValid,
                 "MQTT-3.1.3-5"},
        CheckRow{"WillAtMaximumQos",
                 {.maximum_qos = 1},
                 {.will = WillOf(kQos1, false, "t")},
                 std::nullopt},
        CheckRow{"WillAboveMaximumQos",
                 {.maximum_qos = 1},
                 {.will = WillOf(kQos2, false, "t")},
                 ReasonCode::kQosNotSupported,
                 "MQTT5-3.2.2-12"},
        CheckRow{"WillRetained", {}, {.will = WillOf(kQos2, true, "t")}, std::nullopt},
        CheckRow{"WillRetainedWithoutRetain",
                 {.retain_available = false},
                 {.will = WillOf(kQos1, true, "t")},
                 ReasonCode::kRetainNotSupported,
                 "MQTT5-3.2.2-13"},
        CheckRow{"WillWithoutRetain",
                 {.retain_available = false},
                 {.will = WillOf(kQos1, false, "t")},
                 std::nullopt},
        CheckRow{"WillTopicTooLong",
                 {.topic_bytes_max = 4},
                 {.will = WillOf(kQos1, false, "a/b/c")},
                 ReasonCode::kTopicNameInvalid,
                 "MQTT5-3.1.3.3"},
        CheckRow{"WillTopicTooDeep",
                 {.topic_levels_max = 2},
                 {.will = WillOf(kQos1, false, "a/b/c")},
                 ReasonCode::kTopicNameInvalid,
                 "MQTT5-3.1.3.3"},
        CheckRow{"WillTopicAsDeepAsAllowed",
                 {.topic_levels_max = 3},
                 {.will = WillOf(kQos1, false, "a/b/c")},
                 std::nullopt}),
    [](const auto& row) { return std::string(row.param.name); });

// ---- Keep Alive ----

struct KeepAliveRow {
  Version version;
  uint16_t asked;
  uint16_t server_keep_alive;
  uint16_t keep_alive_max;
  uint16_t in_force;
  std::optional<uint16_t> told;
};

TEST(ConnectTerms, KeepAliveIsTheClientsUnlessTheServersIsTold) {
  const KeepAliveRow rows[] = {
      {Version::k5, 60, 0, 0, 60, {}},     {Version::k5, 0, 0, 0, 0, {}},
      {Version::k5, 60, 30, 0, 30, 30},    {Version::k5, 30, 30, 0, 30, {}},
      {Version::k5, 0, 30, 0, 30, 30},     {Version::k5, 10, 30, 0, 30, 30},
      {Version::k5, 60, 0, 50, 50, 50},    {Version::k5, 0, 0, 50, 50, 50},
      {Version::k5, 40, 0, 50, 40, {}},    {Version::k5, 50, 0, 50, 50, {}},
      {Version::k5, 60, 90, 50, 90, 90},   {Version::k5, 65'535, 0, 0, 65'535, {}},
      {Version::k311, 60, 30, 20, 60, {}}, {Version::k311, 0, 30, 20, 0, {}},
      {Version::k31, 60, 30, 20, 60, {}},
  };
  for (const KeepAliveRow& row : rows) {
    SCOPED_TRACE(::testing::Message()
                 << "asked " << row.asked << ", server " << row.server_keep_alive << ", at most "
                 << row.keep_alive_max);
    const Limits limits = {.server_keep_alive = row.server_keep_alive,
                           .keep_alive_max = row.keep_alive_max};
    const ConnectTerms terms = TermsFor({.version = row.version, .keep_alive = row.asked}, limits);
    EXPECT_EQ(terms.keep_alive_s, row.in_force);
    EXPECT_EQ(AcceptanceFor(terms, limits, false).server_keep_alive, row.told);
  }
}

// ---- Session Expiry Interval ----

struct ExpiryRow {
  Version version;
  bool clean;
  uint32_t asked;
  uint32_t maximum;
  uint32_t in_force;
  std::optional<uint32_t> told;
};

TEST(ConnectTerms, SessionExpiryIsTheClientsUpToTheMaximum) {
  const ExpiryRow rows[] = {
      {Version::k5, true, 0, kNever, 0, {}},
      {Version::k5, false, 0, kNever, 0, {}},
      {Version::k5, true, 100, kNever, 100, {}},
      {Version::k5, false, kNever, kNever, kNever, {}},
      {Version::k5, false, kNever, 3600, 3600, 3600},
      {Version::k5, false, 3600, 3600, 3600, {}},
      {Version::k5, false, 3601, 3600, 3600, 3600},
      {Version::k5, false, 10, 0, 0, 0},
      {Version::k311, true, 0, kNever, 0, {}},
      {Version::k311, false, 0, kNever, kNever, {}},
      {Version::k311, false, 0, 3600, 3600, {}},
      {Version::k31, false, 0, kNever, kNever, {}},
      {Version::k31, true, 0, 3600, 0, {}},
  };
  for (const ExpiryRow& row : rows) {
    SCOPED_TRACE(::testing::Message() << row.version << " clean " << row.clean << " asked "
                                      << row.asked << " at most " << row.maximum);
    const Limits limits = {.session_expiry_interval_max = row.maximum};
    mqtt::Connect connect;
    connect.version = row.version;
    connect.clean_start = row.clean;
    connect.session_expiry_interval = row.asked;
    const ConnectTerms terms = TermsFor(connect, limits);
    EXPECT_EQ(terms.session_expiry_s, row.in_force);
    EXPECT_EQ(AcceptanceFor(terms, limits, false).session_expiry_interval, row.told);
  }
}

// ---- Windows, sizes, aliases ----

TEST(ConnectTerms, TheLesserOfBothSidesCounts) {
  const Limits limits = {.topic_alias_maximum_out = 64,
                         .inflight_messages_max = 500,
                         .inflight_messages_max_durable = 100};
  mqtt::Connect connect;
  connect.version = Version::k5;
  ConnectTerms terms = TermsFor(connect, limits);
  EXPECT_EQ(terms.window, 500);
  EXPECT_EQ(terms.window_durable, 100);
  EXPECT_EQ(terms.packet_size_max, mqtt::kPacketSizeMax);
  EXPECT_EQ(terms.topic_alias_out, 0) << "none unless the client allows them";

  connect.receive_maximum = 200;
  connect.maximum_packet_size = 1000;
  connect.topic_alias_maximum = 10;
  terms = TermsFor(connect, limits);
  EXPECT_EQ(terms.window, 200);
  EXPECT_EQ(terms.window_durable, 100);
  EXPECT_EQ(terms.packet_size_max, 1000u);
  EXPECT_EQ(terms.topic_alias_out, 10);

  connect.receive_maximum = 1;
  connect.topic_alias_maximum = 65'535;
  terms = TermsFor(connect, limits);
  EXPECT_EQ(terms.window, 1);
  EXPECT_EQ(terms.window_durable, 1);
  EXPECT_EQ(terms.topic_alias_out, 64);
}

// ---- CONNACK ----

TEST(Acceptance, TellsWhatTheServerSupports) {
  const Limits limits = {.maximum_qos = 1,
                         .retain_available = false,
                         .wildcard_subscription_available = false,
                         .subscription_identifier_available = false,
                         .shared_subscription_available = false,
                         .receive_maximum = 17,
                         .maximum_packet_size = 2000,
                         .topic_alias_maximum = 3};
  const mqtt::ConnAck ack = AcceptanceFor({}, limits, true);
  EXPECT_TRUE(ack.session_present);
  EXPECT_EQ(ack.reason, ReasonCode::kSuccess);
  EXPECT_EQ(ack.maximum_qos, kQos1);
  EXPECT_FALSE(ack.retain_available);
  EXPECT_FALSE(ack.wildcard_subscription_available);
  EXPECT_FALSE(ack.subscription_identifier_available);
  EXPECT_FALSE(ack.shared_subscription_available);
  EXPECT_EQ(ack.receive_maximum, 17);
  EXPECT_EQ(ack.maximum_packet_size, 2000u);
  EXPECT_EQ(ack.topic_alias_maximum, 3);
}

TEST(Acceptance, SaysNothingOfWhatIsAsTheClientAssumes) {
  const Limits limits = {.maximum_packet_size = mqtt::kPacketSizeMax};
  const mqtt::ConnAck ack = AcceptanceFor({}, limits, false);
  EXPECT_FALSE(ack.session_present);
  EXPECT_EQ(ack.maximum_packet_size, std::nullopt);
  EXPECT_EQ(ack.session_expiry_interval, std::nullopt);
  EXPECT_EQ(ack.server_keep_alive, std::nullopt);
  EXPECT_EQ(ack.maximum_qos, kQos2);
}

TEST(AssignedClientId, HasAllOfItsRandomBits) {
  EXPECT_EQ(AssignedClientId(0, 1), "auto-00000000000000000000000000000001");
  EXPECT_EQ(AssignedClientId(UINT64_MAX, 0xABCDEF), "auto-ffffffffffffffff0000000000abcdef");
}

}  // namespace
}  // namespace broker
