// A server for a client's session, in memory: what a packet is answered with, and a session that
// survives the connection. It is told when to answer, so that a test can lose answers.
#ifndef TESTS_CLIENT_CORE_FAKE_SERVER_H_
#define TESTS_CLIENT_CORE_FAKE_SERVER_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "client/core/session.h"
#include "mqtt/decode.h"
#include "mqtt/encode.h"
#include "mqtt/frame.h"

namespace mqttd::client {

// What the client sent, and what it was answered. One connection at a time.
class FakeServer {
 public:
  explicit FakeServer(mqtt::Version version = mqtt::Version::k5) : version_(version) {}

  struct Publish {
    std::string topic;
    std::string payload;
    mqtt::QoS qos = mqtt::QoS::kAtMostOnce;
    bool dup = false;
    uint16_t id = 0;
    uint16_t alias = 0;
  };

  // Takes in bytes of whole packets and answers them into `answers()`.
  void Receive(std::string_view bytes) {
    while (!bytes.empty()) {
      const mqtt::FrameResult frame =
          mqtt::PeekFrame(mqtt::AsBytes(bytes), mqtt::kPacketSizeMax, version_);
      ASSERT_EQ(frame.kind, mqtt::FrameResult::Kind::kComplete);
      Handle(frame.header, mqtt::FrameBody(frame.header, mqtt::AsBytes(bytes)));
      if (frame.header.type == mqtt::PacketType::kAuth) {
        auth_frames_.emplace_back(bytes.substr(0, frame.header.frame_size()));
      }
      bytes.remove_prefix(frame.header.frame_size());
    }
  }
  // Gives the session what was answered, as far as the session stands it.
  std::optional<mqtt::Violation> AnswerTo(Session& session) {
    std::string bytes = std::exchange(answers_, {});
    return Give(session, bytes);
  }
  static std::optional<mqtt::Violation> Give(Session& session, std::string_view bytes) {
    while (!bytes.empty()) {
      const mqtt::FrameResult frame =
          mqtt::PeekFrame(mqtt::AsBytes(bytes), mqtt::kPacketSizeMax, session.options().version);
      EXPECT_EQ(frame.kind, mqtt::FrameResult::Kind::kComplete);
      if (auto violation =
              session.OnFrame(frame.header, mqtt::FrameBody(frame.header, mqtt::AsBytes(bytes)))) {
        return violation;
      }
      bytes.remove_prefix(frame.header.frame_size());
    }
    return std::nullopt;
  }

  // The connection is gone, with every answer that was on its way.
  void Drop() {
    answers_.clear();
    aliases_.clear();
  }
  void LoseSession() {
    has_session_ = false;
    inbound_.clear();
    outbound_.clear();
  }
  // A message for the client: kept until it is acknowledged, sent again after a reconnect.
  void Send(const std::string& payload, mqtt::QoS qos, uint16_t alias = 0) {
    if (qos == mqtt::QoS::kAtMostOnce) return Write({payload, qos, false, 0}, 0, false, alias);
    const auto id = static_cast<uint16_t>(next_id_ = next_id_ % 60000 + 1);
    outbound_[id] = {payload, qos, false, ++last_sequence_};
    WriteOutbound(id, false);
  }

  std::string& answers() { return answers_; }
  mqtt::ConnAck& connack() { return connack_; }
  const std::vector<Publish>& publishes() const { return publishes_; }
  // Payloads that a subscriber of the server would have: QoS 2 once each.
  const std::vector<std::string>& routed() const { return routed_; }
  const std::vector<std::string>& subscribed() const { return subscribed_; }
  size_t connects() const { return connects_; }
  size_t pings() const { return pings_; }
  // DISCONNECT packets by their Reason Code.
  const std::vector<mqtt::ReasonCode>& disconnects() const { return disconnects_; }
  // Acknowledgements of the client, in their order: type and identifier.
  const std::vector<std::pair<mqtt::PacketType, uint16_t>>& acks() const { return acks_; }

  // Extended authentication, for clients that name a method: AUTH 0x18 with `challenge`, to be
  // answered with `expected`; then CONNACK (or AUTH 0x00) with `proof`.
  struct Authentication {
    std::string challenge = "challenge";
    std::string expected = "answer";
    std::string proof = "proof";
  };
  bool& claim_session() { return claim_session_; }  // Session Present 1, whatever there is.
  Authentication& authentication() { return authentication_; }
  const std::vector<std::string>& authentication_data() const { return authentication_data_; }
  const std::vector<std::string>& auth_frames() const { return auth_frames_; }  // Whole packets.
  size_t unacknowledged() const { return outbound_.size(); }

 private:
  struct Outbound {
    std::string payload;
    mqtt::QoS qos = mqtt::QoS::kAtMostOnce;
    bool received = false;  // PUBREC came.
    uint64_t sequence = 0;
  };

  void Handle(const mqtt::FrameHeader& header, mqtt::Bytes body) {
    switch (header.type) {
      case mqtt::PacketType::kConnect:
        return OnConnect(header, body);
      case mqtt::PacketType::kPublish:
        return OnPublish(header.flags, body);
      case mqtt::PacketType::kSubscribe:
        return OnSubscribe(header.flags, body);
      case mqtt::PacketType::kUnsubscribe:
        return OnUnsubscribe(header.flags, body);
      case mqtt::PacketType::kAuth:
        return OnAuth(header.flags, body);
      case mqtt::PacketType::kDisconnect: {
        mqtt::Disconnect disconnect;
        ASSERT_FALSE(mqtt::DecodeDisconnect(header.flags, body, version_, mqtt::Sender::kClient,
                                            disconnect));
        disconnects_.push_back(disconnect.reason);
        return;
      }
      case mqtt::PacketType::kPingReq:
        ++pings_;
        answers_.append("\xD0\0", 2);
        return;
      case mqtt::PacketType::kPubAck:
      case mqtt::PacketType::kPubRec:
      case mqtt::PacketType::kPubRel:
      case mqtt::PacketType::kPubComp:
        return OnAck(header.type, header.flags, body);
      default:
        return;
    }
  }

  void OnConnect(const mqtt::FrameHeader& header, mqtt::Bytes body) {
    mqtt::Connect connect;
    ASSERT_FALSE(mqtt::DecodeConnect(header, body, connect).has_value());
    ++connects_;
    if (connect.clean_start) LoseSession();
    method_ = std::string(connect.authentication_method.value_or(""));
    accepted_ = false;
    if (!method_.empty()) {
      authentication_data_.emplace_back(connect.authentication_data.value_or(""));
      return SendAuth(mqtt::ReasonCode::kContinueAuthentication, authentication_.challenge);
    }
    Accept();
  }

  void Accept() {
    accepted_ = true;
    connack_.session_present = has_session_ || claim_session_;
    has_session_ = true;
    mqtt::Encode(connack_, version_, answers_);
    std::map<uint64_t, uint16_t> order;
    for (const auto& [id, message] : outbound_) order[message.sequence] = id;
    for (const auto& [sequence, id] : order) WriteOutbound(id, true);
  }

  void SendAuth(mqtt::ReasonCode reason, std::string_view data) {
    mqtt::Auth auth;
    auth.reason = reason;
    auth.authentication_method = method_;
    auth.authentication_data = data;
    mqtt::Encode(auth, answers_);
  }

  void OnAuth(uint8_t flags, mqtt::Bytes body) {
    mqtt::Auth auth;
    ASSERT_FALSE(mqtt::DecodeAuth(flags, body, version_, mqtt::Sender::kClient, auth).has_value());
    ASSERT_EQ(auth.authentication_method.value_or(""), method_);
    authentication_data_.emplace_back(auth.authentication_data.value_or(""));
    if (auth.reason == mqtt::ReasonCode::kReauthenticate) {
      return SendAuth(mqtt::ReasonCode::kContinueAuthentication, authentication_.challenge);
    }
    if (authentication_data_.back() != authentication_.expected) {
      if (!accepted_) {
        return mqtt::EncodeRefusal(version_, mqtt::ReasonCode::kNotAuthorized, "", answers_);
      }
      mqtt::Disconnect disconnect;
      disconnect.reason = mqtt::ReasonCode::kNotAuthorized;
      mqtt::Encode(disconnect, version_, answers_);
      return;
    }
    if (accepted_) return SendAuth(mqtt::ReasonCode::kSuccess, authentication_.proof);
    connack_.authentication_method = method_;
    connack_.authentication_data = authentication_.proof;
    Accept();
  }

  void OnUnsubscribe(uint8_t flags, mqtt::Bytes body) {
    mqtt::Unsubscribe unsubscribe;
    ASSERT_FALSE(mqtt::DecodeUnsubscribe(flags, body, version_, unsubscribe).has_value());
    mqtt::UnsubAck unsuback;
    unsuback.packet_id = unsubscribe.packet_id;
    unsuback.reasons.assign(unsubscribe.filters.size(), mqtt::ReasonCode::kSuccess);
    mqtt::Encode(unsuback, version_, answers_);
  }

  void OnPublish(uint8_t flags, mqtt::Bytes body) {
    mqtt::Publish publish;
    ASSERT_FALSE(mqtt::DecodePublish(flags, body, version_, mqtt::Sender::kClient, publish));
    publishes_.push_back({std::string(publish.topic), std::string(publish.payload), publish.qos,
                          publish.dup, publish.packet_id.value, publish.topic_alias});
    const bool known =
        publish.qos == mqtt::QoS::kExactlyOnce && !inbound_.insert(publish.packet_id.value).second;
    if (!known) routed_.emplace_back(publish.payload);
    if (publish.qos == mqtt::QoS::kAtLeastOnce) Ack(mqtt::PacketType::kPubAck, publish.packet_id);
    if (publish.qos == mqtt::QoS::kExactlyOnce) Ack(mqtt::PacketType::kPubRec, publish.packet_id);
  }

  void OnSubscribe(uint8_t flags, mqtt::Bytes body) {
    mqtt::Subscribe subscribe;
    ASSERT_FALSE(mqtt::DecodeSubscribe(flags, body, version_, subscribe).has_value());
    mqtt::SubAck suback;
    suback.packet_id = subscribe.packet_id;
    for (const mqtt::Subscription& subscription : subscribe.subscriptions) {
      subscribed_.emplace_back(subscription.filter);
      suback.reasons.push_back(static_cast<mqtt::ReasonCode>(subscription.options.qos));
    }
    mqtt::Encode(suback, version_, answers_);
  }

  void OnAck(mqtt::PacketType type, uint8_t flags, mqtt::Bytes body) {
    mqtt::Ack ack;
    ASSERT_FALSE(mqtt::DecodeAck(type, flags, body, version_, ack).has_value());
    const uint16_t id = ack.packet_id.value;
    acks_.emplace_back(type, id);
    if (type == mqtt::PacketType::kPubRel) {
      inbound_.erase(id);
      return Ack(mqtt::PacketType::kPubComp, ack.packet_id);
    }
    const auto found = outbound_.find(id);
    if (found == outbound_.end()) return;
    if (type == mqtt::PacketType::kPubRec) {
      found->second.received = true;
      return Ack(mqtt::PacketType::kPubRel, ack.packet_id);
    }
    outbound_.erase(found);
  }

  void WriteOutbound(uint16_t id, bool dup) {
    const Outbound& message = outbound_[id];
    if (message.received) return Ack(mqtt::PacketType::kPubRel, mqtt::PacketId{id});
    Write(message, id, dup, 0);
  }

  // With an alias: the topic only when that is used for the first time on this connection.
  void Write(const Outbound& message, uint16_t id, bool dup, uint16_t alias) {
    mqtt::PublishHead head;
    head.version = version_;
    head.topic_alias = alias;
    if (alias == 0 || aliases_.insert(alias).second) head.topic = "to/client";
    head.qos = message.qos;
    head.dup = dup;
    head.packet_id = mqtt::PacketId{id};
    head.payload = message.payload;
    mqtt::Encode(head, answers_);
  }

  void Ack(mqtt::PacketType type, mqtt::PacketId id) {
    uint8_t bytes[mqtt::kAckSizeMax];
    const uint8_t* end = mqtt::WriteAck(bytes, type, version_, id);
    answers_.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(end - bytes));
  }

  mqtt::Version version_;
  mqtt::ConnAck connack_;
  bool has_session_ = false;
  bool claim_session_ = false;
  std::string answers_;
  std::vector<Publish> publishes_;
  std::vector<std::string> routed_;
  std::vector<std::string> subscribed_;
  std::set<uint16_t> inbound_;
  std::set<uint16_t> aliases_;
  std::map<uint16_t, Outbound> outbound_;
  uint16_t next_id_ = 0;
  uint64_t last_sequence_ = 0;
  size_t connects_ = 0;
  size_t pings_ = 0;
  std::vector<mqtt::ReasonCode> disconnects_;
  std::vector<std::pair<mqtt::PacketType, uint16_t>> acks_;
  Authentication authentication_;
  std::string method_;
  bool accepted_ = false;
  std::vector<std::string> authentication_data_;
  std::vector<std::string> auth_frames_;
};

}  // namespace mqttd::client

#endif  // TESTS_CLIENT_CORE_FAKE_SERVER_H_
