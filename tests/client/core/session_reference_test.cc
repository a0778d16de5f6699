// The session against a simple model of it: after each of many random steps the packets that it
// writes, and what it tells the application, are those that the model expects.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "client/core/session.h"
#include "mqtt/decode.h"
#include "mqtt/encode.h"
#include "tests/client/core/fake_server.h"

namespace mqttd::client {
namespace {

using mqtt::PacketId;
using mqtt::PacketType;
using mqtt::QoS;
using mqtt::ReasonCode;
using mqtt::Version;

// What is open at the client: all of the state that a session has in that direction.
struct Open {
  uint64_t number = 0;  // Of the message; also its payload and token.
  QoS qos = QoS::kAtMostOnce;
  bool released = false;  // PUBREC has come.
  bool on_this_connection = true;
  bool cancelled = false;  // It goes on, and nobody hears of its end.
  uint16_t id = 0;
};

// Lists in the order of sending, searched from the front. What it does is what §4.3, §4.4, §4.6 and
// §4.9 say, and no more.
class Model {
 public:
  struct Written {
    PacketType type = PacketType::kReserved;
    uint64_t number = 0;
    bool dup = false;
    uint16_t id = 0;  // 0: one that is free.
  };
  struct Ended {
    uint64_t number = 0;
    absl::StatusCode code = absl::StatusCode::kOk;
    ReasonCode reason = ReasonCode::kSuccess;
    friend bool operator==(const Ended&, const Ended&) = default;
  };

  void Publish(uint64_t number, QoS qos) {
    queue_.push_back({.number = number, .qos = qos});
    Pump();
  }
  bool Cancel(uint64_t number) {
    const auto is_it = [&](const Open& one) { return one.number == number && !one.cancelled; };
    const auto found = std::find_if(queue_.begin(), queue_.end(), is_it);
    if (found == queue_.end()) {
      const auto open = std::find_if(open_.begin(), open_.end(), is_it);
      if (open == open_.end()) return false;
      open->cancelled = true;
      ended.push_back({number, absl::StatusCode::kCancelled});
      return true;
    }
    queue_.erase(found);
    ended.push_back({number, absl::StatusCode::kCancelled});
    Pump();
    return true;
  }
  void Connect(bool session_present, size_t window) {
    connected_ = true;
    window_ = window;
    for (Open& one : open_) one.on_this_connection = false;
    if (!session_present) Restart();
    Pump();
  }
  void Lose() { connected_ = false; }

  void Puback(uint16_t id, ReasonCode reason) {
    if (const auto one = Find(id); one != open_.end() && one->qos == QoS::kAtLeastOnce) {
      End(one, reason);
    }
    Pump();
  }
  void Pubrec(uint16_t id, ReasonCode reason) {
    const auto one = Find(id);
    if (one == open_.end()) {
      written.push_back({.type = PacketType::kPubRel, .id = id});
    } else if (one->qos == QoS::kExactlyOnce && mqtt::IsError(reason)) {
      End(one, reason);
    } else if (one->qos == QoS::kExactlyOnce) {
      one->released = true;
      written.push_back({.type = PacketType::kPubRel, .id = id});
    }
    Pump();
  }
  void Pubcomp(uint16_t id) {
    if (const auto one = Find(id); one != open_.end() && one->released) {
      End(one, ReasonCode::kSuccess);
    }
    Pump();
  }
  // True: the application gets it.
  bool Incoming(QoS qos, uint16_t id) {
    if (qos == QoS::kAtLeastOnce) written.push_back({.type = PacketType::kPubAck, .id = id});
    if (qos == QoS::kExactlyOnce) written.push_back({.type = PacketType::kPubRec, .id = id});
    return qos != QoS::kExactlyOnce || received_.insert(id).second;
  }
  void Pubrel(uint16_t id) {
    received_.erase(id);
    written.push_back({.type = PacketType::kPubComp, .id = id});
  }

  // The identifier that the session took for a new message.
  void Took(uint64_t number, uint16_t id) {
    ASSERT_NE(id, 0);
    for (const Open& one : open_) ASSERT_NE(one.id, id) << "is in use";
    for (Open& one : open_) {
      if (one.number == number) one.id = id;
    }
  }

  const std::vector<Open>& open() const { return open_; }
  size_t received() const { return received_.size(); }
  bool connected() const { return connected_; }
  size_t queued() const { return queue_.size(); }

  std::vector<Written> written;  // Since the last look.
  std::vector<Ended> ended;

 private:
  std::vector<Open>::iterator Find(uint16_t id) {
    return std::find_if(open_.begin(), open_.end(), [&](const Open& one) { return one.id == id; });
  }
  void End(std::vector<Open>::iterator one, ReasonCode reason) {
    if (!one->cancelled) ended.push_back({one->number, absl::StatusCode::kOk, reason});
    open_.erase(one);
  }
  void Restart() {
    received_.clear();
    std::deque<Open> again;
    for (const Open& one : open_) {
      if (one.qos != QoS::kExactlyOnce) {
        again.push_back({.number = one.number, .qos = one.qos, .cancelled = one.cancelled});
      } else if (!one.cancelled) {
        ended.push_back(
            {one.number, one.released ? absl::StatusCode::kOk : absl::StatusCode::kAborted});
      }
    }
    open_.clear();
    queue_.insert(queue_.begin(), again.begin(), again.end());
  }
  void Pump() {
    if (!connected_) return;
    for (Open& one : open_) {
      const auto here = static_cast<size_t>(std::count_if(
          open_.begin(), open_.end(), [](const Open& other) { return other.on_this_connection; }));
      if (one.on_this_connection) continue;
      if (here >= window_) return;
      one.on_this_connection = true;
      written.push_back({.type = one.released ? PacketType::kPubRel : PacketType::kPublish,
                         .number = one.released ? 0 : one.number,
                         .dup = !one.released,
                         .id = one.id});
    }
    while (!queue_.empty()) {
      const Open next = queue_.front();
      if (next.qos != QoS::kAtMostOnce && open_.size() >= window_) return;
      queue_.pop_front();
      written.push_back({.type = PacketType::kPublish, .number = next.number});
      if (next.qos == QoS::kAtMostOnce) {
        ended.push_back({next.number});
      } else {
        open_.push_back(next);
      }
    }
  }

  std::deque<Open> queue_;
  std::vector<Open> open_;
  std::set<uint16_t> received_;
  bool connected_ = false;
  size_t window_ = 0;
};

class Comparison {
 public:
  static constexpr uint16_t kReceiveMaximum = 4;  // Of ours.

  Comparison(uint64_t seed, Version version)
      : rng_(seed), version_(version), session_(Options(version), nullptr) {}

  void Step() {
    switch (rng_.Below(12)) {
      case 0:
      case 1:
      case 2: {
        Message message;
        message.topic = "t";
        message.qos = static_cast<QoS>(rng_.Below(3));
        message.payload = std::to_string(++last_number_);
        model_.Publish(last_number_, message.qos);
        ASSERT_TRUE(session_.Publish(last_number_, std::move(message)).ok());
        break;
      }
      case 3: {
        const uint64_t number = rng_.Below(last_number_ + 1);
        EXPECT_EQ(session_.CancelPublish(number), model_.Cancel(number));
        break;
      }
      case 4:
        rng_.Chance(0.7) || model_.connected() ? Connect() : Lose();
        break;
      case 5:
        if (rng_.Chance(0.4)) Lose();
        break;
      case 6:
        Incoming();
        break;
      case 7:
        Release();
        break;
      default:
        Answer();
    }
    Compare();
  }

 private:
  static SessionOptions Options(Version version) {
    SessionOptions options;
    options.version = version;
    options.client_id = "model";
    options.clean_start = false;
    options.session_expiry_s = 3600;
    options.inflight_messages_max = 5;
    options.receive_maximum = kReceiveMaximum;
    options.topic_aliases_max = 0;
    return options;
  }

  void Give(std::string_view bytes) { ASSERT_FALSE(FakeServer::Give(session_, bytes).has_value()); }
  void Give(PacketType type, uint16_t id, ReasonCode reason = ReasonCode::kSuccess) {
    uint8_t bytes[mqtt::kAckSizeMax];
    const uint8_t* end = mqtt::WriteAck(bytes, type, version_, PacketId{id}, reason);
    Give({reinterpret_cast<const char*>(bytes), static_cast<size_t>(end - bytes)});
  }

  // To a server that may have lost the session, and that lets fewer or more be open.
  void Connect() {
    if (model_.connected()) return;
    session_.BeginConnection();
    std::string connect;
    session_.TakeOutput(connect);
    mqtt::ConnAck connack;
    connack.session_present = server_has_session_ && rng_.Chance(0.7);
    server_has_session_ = true;
    if (version_ == Version::k5) {
      connack.receive_maximum = static_cast<uint16_t>(1 + rng_.Below(6));
    }
    model_.Connect(connack.session_present, std::min<size_t>(5, connack.receive_maximum));
    std::string bytes;
    mqtt::Encode(connack, version_, bytes);
    Give(bytes);
  }
  void Lose() {
    if (!model_.connected()) return;
    model_.Lose();
    session_.EndConnection();
  }

  // PUBACK, PUBREC or PUBCOMP: for what is open on this connection, in any order; or for nothing.
  void Answer() {
    if (!model_.connected()) return;
    const bool known = !model_.open().empty() && rng_.Chance(0.9);
    const Open one = known ? model_.open()[rng_.Below(model_.open().size())]
                           : Open{.qos = static_cast<QoS>(1 + rng_.Below(2)), .id = 60'000};
    if (!one.on_this_connection) return;
    const bool refuses = version_ == Version::k5 && rng_.Chance(0.2);
    const ReasonCode reason = refuses ? ReasonCode::kQuotaExceeded : ReasonCode::kSuccess;
    if (one.qos == QoS::kAtLeastOnce) {
      model_.Puback(one.id, reason);
      return Give(PacketType::kPubAck, one.id, reason);
    }
    if (one.released || (!known && rng_.Chance(0.5))) {
      model_.Pubcomp(one.id);
      return Give(PacketType::kPubComp, one.id);
    }
    if (!known) {
      model_.Pubrec(one.id, ReasonCode::kSuccess);
      return Give(PacketType::kPubRec, one.id);
    }
    model_.Pubrec(one.id, reason);
    Give(PacketType::kPubRec, one.id, reason);
  }

  // Identifiers of a few, so that repeats and new messages under a used one are common.
  void Incoming() {
    if (!model_.connected()) return;
    mqtt::PublishHead head;
    head.version = version_;
    head.topic = "to/client";
    head.qos = static_cast<QoS>(rng_.Below(3));
    const auto id = static_cast<uint16_t>(1 + rng_.Below(kReceiveMaximum - 1));
    if (head.qos != QoS::kAtMostOnce) head.packet_id = PacketId{id};
    const std::string payload = std::to_string(++last_incoming_);
    head.payload = payload;
    if (model_.Incoming(head.qos, id)) expected_arrivals_.push_back(payload);
    std::string bytes;
    mqtt::Encode(head, bytes);
    Give(bytes);
  }
  void Release() {
    if (!model_.connected()) return;
    const auto id = static_cast<uint16_t>(1 + rng_.Below(kReceiveMaximum - 1));
    model_.Pubrel(id);
    Give(PacketType::kPubRel, id);
  }

  // ---- What the session did, and what the model expects

  void Compare() {
    std::vector<std::string> arrivals;
    std::vector<Model::Ended> ended;
    // What the transport takes makes room for more, as it does for the model.
    std::string bytes;
    for (std::string some; session_.HasOutput(); some.clear()) {
      session_.TakeOutput(some);
      bytes += some;
    }
    for (Event& event : session_.TakeEvents()) {
      if (auto* done = std::get_if<PublishDone>(&event)) {
        ended.push_back({done->token, done->status.code(), done->result.reason});
      }
      if (auto* arrived = std::get_if<Arrived>(&event))
        arrivals.push_back(arrived->message.payload);
    }
    CompareWritten(bytes);
    const auto by_number = [](const Model::Ended& a, const Model::Ended& b) {
      return a.number < b.number;
    };
    std::sort(ended.begin(), ended.end(), by_number);
    std::sort(model_.ended.begin(), model_.ended.end(), by_number);
    ASSERT_EQ(ended.size(), model_.ended.size());
    for (size_t i = 0; i < ended.size(); ++i) ASSERT_EQ(ended[i], model_.ended[i]) << i;
    ASSERT_EQ(arrivals, expected_arrivals_);
    ASSERT_EQ(session_.in_flight(), model_.open().size());
    ASSERT_EQ(session_.queued(), model_.queued());
    model_.ended.clear();
    expected_arrivals_.clear();
  }

  void CompareWritten(std::string_view bytes) {
    for (const Model::Written& expected : model_.written) {
      const mqtt::FrameResult frame =
          mqtt::PeekFrame(mqtt::AsBytes(bytes), mqtt::kPacketSizeMax, version_);
      ASSERT_EQ(frame.kind, mqtt::FrameResult::Kind::kComplete) << "less was written";
      const mqtt::Bytes body = mqtt::FrameBody(frame.header, mqtt::AsBytes(bytes));
      ASSERT_EQ(frame.header.type, expected.type);
      if (expected.type == PacketType::kPublish) {
        ComparePublish(expected, frame.header.flags, body);
      } else {
        mqtt::Ack ack;
        ASSERT_FALSE(
            mqtt::DecodeAck(expected.type, frame.header.flags, body, version_, ack).has_value());
        ASSERT_EQ(ack.packet_id.value, expected.id);
      }
      bytes.remove_prefix(frame.header.frame_size());
    }
    ASSERT_TRUE(bytes.empty()) << "more was written";
    model_.written.clear();
  }
  void ComparePublish(const Model::Written& expected, uint8_t flags, mqtt::Bytes body) {
    mqtt::Publish publish;
    ASSERT_FALSE(
        mqtt::DecodePublish(flags, body, version_, mqtt::Sender::kClient, publish).has_value());
    ASSERT_EQ(publish.payload, std::to_string(expected.number));
    ASSERT_EQ(publish.dup, expected.dup);
    if (expected.id != 0) {
      ASSERT_EQ(publish.packet_id.value, expected.id);
    } else if (publish.qos != QoS::kAtMostOnce) {
      model_.Took(expected.number, publish.packet_id.value);
    }
  }

  base::Rng rng_;
  const Version version_;
  Session session_;
  Model model_;
  bool server_has_session_ = false;
  uint64_t last_number_ = 0;
  uint64_t last_incoming_ = 0;
  std::vector<std::string> expected_arrivals_;
};

TEST(SessionReference, DoesWhatTheModelDoesWhateverTheServerDoes) {
  for (const Version version : {Version::k311, Version::k5}) {
    for (uint64_t seed = 1; seed <= 1000; ++seed) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << " version " << version);
      Comparison comparison(seed, version);
      for (int step = 0; step < 300; ++step) {
        SCOPED_TRACE(testing::Message() << "step " << step);
        comparison.Step();
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

}  // namespace
}  // namespace mqttd::client
