// Random publishing in both directions over a connection that breaks at random moments, against
// what MQTT promises: QoS 1 arrives, QoS 2 arrives once, in order.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/rng.h"
#include "client/core/session.h"
#include "tests/client/core/fake_server.h"

namespace mqttd::client {
namespace {

using mqtt::QoS;

class Exchange {
 public:
  Exchange(uint64_t seed, mqtt::Version version)
      : rng_(seed), server_(version), session_(Options(version), nullptr) {}

  void Steps(int steps) {
    for (int i = 0; i < steps; ++i) Step();
    Calm();
    Check();
  }

 private:
  static SessionOptions Options(mqtt::Version version) {
    SessionOptions options;
    options.version = version;
    options.client_id = "model";
    options.clean_start = false;
    options.session_expiry_s = 3600;
    options.inflight_messages_max = 5;
    return options;
  }

  void Step() {
    if (!begun_) {
      session_.BeginConnection();
      begun_ = true;
    }
    switch (rng_.Below(10)) {
      case 0:
      case 1:
      case 2: {
        Message message;
        message.topic = "t";
        message.qos = static_cast<QoS>(1 + rng_.Below(2));
        message.payload = std::to_string(++last_published_);
        qos_of_[message.payload] = message.qos;
        ASSERT_TRUE(session_.Publish(last_published_, std::move(message)).ok());
        break;
      }
      case 3:
      case 4:
        if (session_.is_connected()) {
          server_.Send(std::to_string(++last_sent_), static_cast<QoS>(1 + rng_.Below(2)));
        }
        break;
      case 5:
        if (rng_.Chance(0.5)) Break();
        break;
      default:
        Move();
    }
    TakeEvents();
  }

  // Bytes move one way or the other; a part of the server's answers may come first.
  void Move() {
    if (rng_.Chance(0.5)) {
      std::string bytes;
      session_.TakeOutput(bytes);
      server_.Receive(bytes);
    } else {
      ASSERT_FALSE(server_.AnswerTo(session_).has_value());
    }
  }

  void Break() {
    session_.EndConnection();
    server_.Drop();
    begun_ = false;
  }

  void Calm() {
    if (!begun_) session_.BeginConnection();
    begun_ = true;
    while (session_.HasOutput() || !server_.answers().empty()) {
      std::string bytes;
      session_.TakeOutput(bytes);
      server_.Receive(bytes);
      ASSERT_FALSE(server_.AnswerTo(session_).has_value());
      TakeEvents();
    }
  }

  void TakeEvents() {
    for (Event& event : session_.TakeEvents()) {
      if (auto* done = std::get_if<PublishDone>(&event)) {
        ASSERT_TRUE(done->status.ok()) << done->status;
        ASSERT_TRUE(acknowledged_.insert(done->token).second) << "ended twice";
      }
      if (auto* arrived = std::get_if<Arrived>(&event)) received_.push_back(arrived->message);
    }
  }

  void Check() const {
    EXPECT_EQ(acknowledged_.size(), last_published_) << "every publish ends";
    std::map<std::string, int> times;
    for (const std::string& payload : server_.routed()) ++times[payload];
    for (uint64_t i = 1; i <= last_published_; ++i) {
      const std::string payload = std::to_string(i);
      EXPECT_GE(times[payload], 1) << payload << " was acknowledged and never arrived";
      if (qos_of_.at(payload) == QoS::kExactlyOnce) {
        EXPECT_EQ(times[payload], 1) << payload;
      }
    }
    std::map<std::string, int> got;
    uint64_t last = 0;
    for (const ReceivedMessage& message : received_) {
      ++got[message.payload];
      if (message.qos == QoS::kExactlyOnce) {
        EXPECT_EQ(got[message.payload], 1) << message.payload;
      }
      const uint64_t number = std::stoull(message.payload);
      if (got[message.payload] > 1) continue;  // A repeat at QoS 1 stands where it stands.
      EXPECT_GT(number, last) << "out of order";
      last = number;
    }
    EXPECT_EQ(got.size(), last_sent_);
    EXPECT_EQ(server_.unacknowledged(), 0u);
    EXPECT_EQ(session_.in_flight(), 0u);
  }

  base::Rng rng_;
  FakeServer server_;
  Session session_;
  bool begun_ = false;
  uint64_t last_published_ = 0;
  uint64_t last_sent_ = 0;
  std::map<std::string, QoS> qos_of_;
  std::set<Token> acknowledged_;
  std::vector<ReceivedMessage> received_;
};

TEST(SessionModel, NothingIsLostOrDoubledOverAConnectionThatBreaks) {
  for (const mqtt::Version version : {mqtt::Version::k311, mqtt::Version::k5}) {
    for (uint64_t seed = 1; seed <= 500; ++seed) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << " version " << version);
      Exchange(seed, version).Steps(200);
      if (testing::Test::HasFailure()) return;
    }
  }
}

}  // namespace
}  // namespace mqttd::client
