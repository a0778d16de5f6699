// A broker that is killed and started again while the library publishes to it: what publish
// reported as done has arrived, at QoS 2 once.
//
// MQTTD_CLIENT_KILLS says how often (default 5; `./dev crash --client 100` for a long run).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include "client/client.h"
#include "tests/client/kills.h"
#include "tests/client/mosquitto_process.h"
#include "tests/support/broker_process.h"
#include "tests/support/temp_dir.h"

namespace mqttd::client {
namespace {

namespace asio = boost::asio;
using mqtt::QoS;

// A broker that keeps sessions, and how it is brought down.
struct Killable {
  std::string url;
  std::function<void()> restart;
};

Killable Mqttd(const support::TempDir& directory) {
  const std::string url = "unix:" + std::string(directory.path()) + "/socket";
  auto broker = std::make_shared<support::BrokerProcess>(support::BrokerOptions{.listen = {url}});
  return {url, [broker] { broker->Restart(); }};  // kill -9.
}

Killable Mosquitto(const support::TempDir&) {
  auto broker = std::make_shared<MosquittoProcess>();
  return {broker->url(), [broker] { broker->Restart(); }};
}

struct Row {
  std::string name;
  Killable (*make)(const support::TempDir&);
  mqtt::Version version;
  QoS qos;
  bool until_it_arrives = false;  // See MosquittoProcess.
};

class Killed : public testing::TestWithParam<Row> {
 protected:
  static constexpr size_t kMessagesPerKill = 200;
  static constexpr size_t kOpen = 16;

  Options Talk(const std::string& client_id) const {
    Options options;
    options.servers = {broker_.url};
    options.session.client_id = client_id;
    options.session.version = GetParam().version;
    options.session.session_expiry_s = 3600;
    options.session.clean_start = false;
    options.reconnect.first = absl::Milliseconds(20);
    options.reconnect.most = absl::Milliseconds(100);
    return options;
  }

  // Those that are not acknowledged; of mosquitto's also those that have not arrived.
  size_t open() const {
    return sent_ -
           (GetParam().until_it_arrives ? std::min(done_.size(), got_.size()) : done_.size());
  }

  void Publish() {
    while (begun_ && sent_ < messages_ && open() < kOpen) {
      Message message;
      message.topic = "t";
      message.payload = std::to_string(sent_++);
      message.qos = GetParam().qos;
      publisher_->AsyncPublish(
          message, [this, payload = message.payload](absl::StatusOr<PublishResult> result) {
            EXPECT_TRUE(result.ok() && result->ok()) << result.status();
            done_.insert(payload);
            if (kills_ < Kills() && done_.size() > size_t(kills_ + 1) * kMessagesPerKill) {
              ++kills_;
              broker_.restart();
            }
            Publish();
          });
    }
  }

  const support::TempDir directory_;
  Killable broker_ = GetParam().make(directory_);
  asio::io_context io_;
  std::unique_ptr<Client> publisher_;
  const size_t messages_ = size_t(Kills() + 2) * kMessagesPerKill;
  size_t sent_ = 0;
  int kills_ = 0;
  bool begun_ = false;
  std::set<std::string> done_;
  std::map<std::string, int> got_;
};

TEST_P(Killed, ABrokerLosesNothingThatPublishReportedAsDone) {
  Options options = Talk("subscriber");
  options.subscriptions = {{"t", {.qos = QoS::kExactlyOnce}}};
  Client subscriber(io_.get_executor(), options);
  subscriber.OnMessage([&](const ReceivedMessage& message) {
    ++got_[message.payload];
    Publish();
  });
  publisher_ = std::make_unique<Client>(io_.get_executor(), Talk("publisher"));

  subscriber.OnState([&](State state, const absl::Status&) {
    if (state != State::kConnected || begun_) return;
    subscriber.AsyncPing([&](absl::StatusOr<absl::Duration> pong) {  // Behind the SUBACK.
      ASSERT_TRUE(pong.ok());
      publisher_->AsyncServe([](absl::StatusOr<Client::Done>) {});
      begun_ = true;
      Publish();
    });
  });
  subscriber.AsyncServe([](absl::StatusOr<Client::Done>) {});
  while (done_.size() < messages_ || got_.size() < messages_) {
    ASSERT_GT(io_.run_one_for(std::chrono::seconds(30)), 0u)
        << done_.size() << " done, " << got_.size() << " arrived, " << kills_ << " kills";
  }
  EXPECT_EQ(kills_, Kills());
  if (GetParam().qos == QoS::kExactlyOnce) {
    for (const auto& [payload, times] : got_) EXPECT_EQ(times, 1) << payload;
  }
  subscriber.Close();
  publisher_->Close();
  io_.run();
}

INSTANTIATE_TEST_SUITE_P(
    Brokers, Killed,
    testing::Values(Row{"mqttd_QoS1", Mqttd, mqtt::Version::k5, QoS::kAtLeastOnce},
                    Row{"mqttd_QoS2", Mqttd, mqtt::Version::k5, QoS::kExactlyOnce},
                    Row{"mqttd_QoS2_3_1_1", Mqttd, mqtt::Version::k311, QoS::kExactlyOnce},
                    Row{"mosquitto_QoS1", Mosquitto, mqtt::Version::k5, QoS::kAtLeastOnce, true},
                    Row{"mosquitto_QoS2", Mosquitto, mqtt::Version::k5, QoS::kExactlyOnce, true},
                    Row{"mosquitto_QoS2_3_1_1", Mosquitto, mqtt::Version::k311, QoS::kExactlyOnce,
                        true}),
    [](const auto& row) {
      std::string name = row.param.name;
      std::replace(name.begin(), name.end(), '.', '_');
      return name;
    });

}  // namespace
}  // namespace mqttd::client
