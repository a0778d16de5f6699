// A client process that is killed while it publishes with a store in a file: whatever it had
// accepted arrives, at QoS 2 once.
//
// MQTTD_CLIENT_KILLS says how often (default 5).
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "base/rng.h"
#include "client/client.h"
#include "client/file_store.h"
#include "tests/client/kills.h"
#include "tests/support/broker_process.h"
#include "tests/support/temp_dir.h"

namespace mqttd::client {
namespace {

namespace asio = boost::asio;
using mqtt::QoS;

class KilledClient : public testing::TestWithParam<QoS> {
 protected:
  Options Talk(const std::string& client_id) const {
    Options options;
    options.servers = {url_};
    options.session.client_id = client_id;
    options.session.session_expiry_s = 3600;
    options.session.clean_start = false;
    options.session.inflight_messages_max = 4;  // So that many wait.
    options.reconnect.first = absl::Milliseconds(20);
    return options;
  }
  Options Publishing() const {
    Options options = Talk("publisher");
    auto store = FileStore::Open(directory_.path() + "/store");
    EXPECT_TRUE(store.ok()) << store.status();
    options.store = *std::move(store);
    return options;
  }

  // In a process of its own: publishes numbers from `first` on, and writes each to `accepted` once
  // the client has it. Some before there is a connection.
  [[noreturn]] void PublishForEver(int first, int accepted) const {
    asio::io_context io;
    Client client(io.get_executor(), Publishing());
    int open = 0;
    const std::function<void()> publish = [&] {
      for (; open < 20; ++open, ++first) {
        Message message;
        message.topic = "t";
        message.payload = std::to_string(first);
        message.qos = GetParam();
        client.AsyncPublish(message, [&](absl::StatusOr<PublishResult> result) {
          if (!result.ok()) _exit(3);
          --open;
          publish();
        });
        if (::write(accepted, &first, sizeof first) != sizeof first) _exit(4);
      }
    };
    asio::post(io, [&] {  // On the executor: what is asked there is accepted at once.
      publish();
      client.AsyncServe([](absl::StatusOr<Client::Done>) {});
    });
    io.run();
    _exit(5);
  }

  // Kills it once it has accepted `count`; the first number for the next process. The one before
  // may have been accepted without a word.
  int LiveAndDie(int first, int count) {
    int ends[2];
    EXPECT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      PublishForEver(first, ends[1]);
    }
    ::close(ends[1]);
    int number = first - 1;
    const auto take = [&] {
      if (::read(ends[0], &number, sizeof number) != sizeof number) return false;
      accepted_.insert(number);
      return true;
    };
    while (number < first + count && take()) {
    }
    ::kill(child, SIGKILL);
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status)) << "it ended by itself: " << WEXITSTATUS(status);
    while (take()) {  // What it had said by then.
    }
    ::close(ends[0]);
    return number + 2;
  }

  std::set<int> accepted_;
  const support::TempDir directory_;
  const std::string url_ = "unix:" + std::string(directory_.path()) + "/socket";
  support::BrokerProcess broker_{support::BrokerOptions{.listen = {url_}}};
};

TEST_P(KilledClient, LosesNothingThatItHadAccepted) {
  asio::io_context io;
  std::map<int, int> got;
  std::set<int> missing;
  Options reading = Talk("subscriber");
  reading.subscriptions = {{"t", {.qos = QoS::kExactlyOnce}}};
  Client subscriber(io.get_executor(), reading);
  subscriber.OnMessage([&](const ReceivedMessage& message) {
    const int number = std::atoi(message.payload.c_str());
    ++got[number];
    missing.erase(number);
  });
  bool ready = false;
  subscriber.OnState([&](State state, const absl::Status&) {
    if (state != State::kConnected) return;
    subscriber.AsyncPing([&](absl::StatusOr<absl::Duration>) { ready = true; });
  });
  subscriber.AsyncServe([](absl::StatusOr<Client::Done>) {});
  const auto until = [&](const std::function<bool()>& done) {
    while (!done()) ASSERT_GT(io.run_one_for(std::chrono::seconds(30)), 0u) << got.size();
  };
  until([&] { return ready; });

  base::Rng rng(1);
  int next = 0;
  for (int kill = 0; kill < Kills(); ++kill) {
    next = LiveAndDie(next, static_cast<int>(rng() % 200));
    io.poll();
  }
  for (const int number : accepted_) {
    if (!got.contains(number)) missing.insert(number);
  }
  int told = 0;
  Options last = Publishing();
  const size_t left = last.store->Load()->outbound.size();
  last.on_stored_done = [&](const Message&, const absl::StatusOr<PublishResult>& result) {
    EXPECT_TRUE(result.ok()) << result.status();
    ++told;
  };
  Client publisher(io.get_executor(), last);
  publisher.AsyncServe([](absl::StatusOr<Client::Done>) {});
  until([&] { return size_t(told) == left && missing.empty(); });
  EXPECT_TRUE(last.store->Load()->outbound.empty());
  for (const auto& [number, times] : got) {
    if (GetParam() == QoS::kExactlyOnce) {
      EXPECT_EQ(times, 1) << number;
    }
  }
  RecordProperty("accepted", static_cast<int>(accepted_.size()));
  RecordProperty("left_to_the_last", static_cast<int>(left));
  subscriber.Close();
  publisher.Close();
  io.run();
}

INSTANTIATE_TEST_SUITE_P(Levels, KilledClient,
                         testing::Values(QoS::kAtLeastOnce, QoS::kExactlyOnce),
                         [](const auto& row) {
                           return "QoS" + std::to_string(static_cast<int>(row.param));
                         });

}  // namespace
}  // namespace mqttd::client
