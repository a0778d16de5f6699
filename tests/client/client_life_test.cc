// The life of a client's connection, against a server in memory: peers that fall silent or talk
// nonsense, handlers that throw, and the client's own end.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/client/connection_fixture.h"

namespace mqttd::client {
namespace {

using mqtt::QoS;
using mqtt::ReasonCode;
using testing::ElementsAre;
using testing::HasSubstr;

Message At(QoS qos) {
  Message message;
  message.topic = "t";
  message.qos = qos;
  return message;
}

class ClientLife : public ClientConnection {
 protected:
  // The exceptions that leave run() until `done`, and what is at hand then.
  std::vector<std::string> ThrownUntil(const std::function<bool()>& done) {
    std::vector<std::string> thrown;
    const auto step = [&](const auto& run) {
      try {
        return run() > 0;
      } catch (const std::exception& exception) {
        thrown.emplace_back(exception.what());
        return true;
      }
    };
    if (io_.stopped()) io_.restart();
    while (!done() && step([&] { return io_.run_one_for(std::chrono::seconds(30)); })) {
    }
    EXPECT_TRUE(done()) << "nothing happens";
    while (step([&] { return io_.poll(); })) {
    }
    return thrown;
  }
  // What the client's connections end with.
  void ListenTo(Client& client) {
    client.OnState([this](State state, const absl::Status& why) {
      if (state == State::kDisconnected) ended_.emplace_back(why.message());
      if (state == State::kConnected) ++stood_;
    });
  }

  std::vector<std::string> ended_;
  int stood_ = 0;
  int over_ = 0;  // Operations that ended; also behind the test's body.
};

// ---- Peers that fall silent ------------------------------------------------------------------

TEST_F(ClientLife, APeerThatFellSilentIsLeftHoweverMuchIsPublishedToIt) {
  Options options = Here();
  options.session.keep_alive_s = 1;
  options.ping_timeout = absl::Milliseconds(100);
  Client client(io_.get_executor(), options);
  ListenTo(client);
  ASSERT_TRUE(Connect(client).ok());
  network_->answering = false;
  asio::steady_timer pace(io_);
  int published = 0;
  const std::function<void()> publish = [&] {
    client.AsyncPublish(At(QoS::kAtMostOnce), [](absl::StatusOr<PublishResult>) {});
    pace.expires_after(std::chrono::milliseconds(100));
    pace.async_wait([&](const boost::system::error_code& error) {
      if (!error && ++published < 100) publish();
    });
  };
  publish();
  Until([&] { return !ended_.empty() || published == 100; });
  EXPECT_THAT(ended_, ElementsAre(HasSubstr("PINGREQ")));
  pace.cancel();
}

TEST_F(ClientLife, APingThatIsNotAnsweredEndsAndSoDoesTheConnection) {
  Options options = Here();
  options.session.keep_alive_s = 0;
  options.ping_timeout = absl::Milliseconds(50);
  Client client(io_.get_executor(), options);
  ListenTo(client);
  ASSERT_TRUE(Connect(client).ok());
  network_->answering = false;
  const auto pong = Await<absl::Duration>([&](auto done) { client.AsyncPing(done); });
  EXPECT_EQ(pong.status().code(), absl::StatusCode::kUnavailable) << pong.status();
  Until([&] { return !ended_.empty(); });
  EXPECT_THAT(ended_, ElementsAre(HasSubstr("PINGREQ")));
}

TEST_F(ClientLife, PingsHaveABound) {
  Options options = Here();
  options.pings_max = 2;
  Client client(io_.get_executor(), options);
  ASSERT_TRUE(Connect(client).ok());
  network_->answering = false;
  for (int i = 0; i < 2; ++i) client.AsyncPing([this](absl::StatusOr<absl::Duration>) { ++over_; });
  const auto third = Await<absl::Duration>([&](auto done) { client.AsyncPing(done); });
  EXPECT_EQ(third.status().code(), absl::StatusCode::kResourceExhausted) << third.status();
  EXPECT_EQ(over_, 0);
}

TEST_F(ClientLife, RequestsHaveABound) {
  Options options = Here();
  options.responses_max = 2;
  options.session.requests_max = 3;
  Client client(io_.get_executor(), options);
  const auto request = [&](auto done) {
    client.AsyncRequest(At(QoS::kAtLeastOnce), absl::InfiniteDuration(), done);
  };
  for (int i = 0; i < 2; ++i) request([this](absl::StatusOr<ReceivedMessage>) { ++over_; });
  const auto third = Await<ReceivedMessage>(request);
  EXPECT_EQ(third.status().code(), absl::StatusCode::kResourceExhausted) << third.status();
  // One SUBSCRIBE waits for the responses' topic.
  const auto subscribe = [&](auto done) { client.AsyncSubscribe({{"a", {}}}, done); };
  for (int i = 0; i < 2; ++i) subscribe([this](absl::StatusOr<SubscribeResult>) { ++over_; });
  const auto fourth = Await<SubscribeResult>(subscribe);
  EXPECT_EQ(fourth.status().code(), absl::StatusCode::kResourceExhausted) << fourth.status();
  EXPECT_EQ(over_, 0);
}

// ---- Several servers, and some that talk nonsense --------------------------------------------

TEST_F(ClientLife, ABrokenAnswerToConnectIsAFailedTryAndTheNextServerIsTried) {
  Options options = Here();
  std::vector<std::string> dialed;
  options.dialer = [this, &dialed, dial = options.dialer](const Endpoint& endpoint) {
    dialed.push_back(endpoint.host);
    network_->server.claim_session() = endpoint.host == "broken";  // [MQTT5-3.2.2-4]
    return dial(endpoint);
  };
  options.servers = {"mqtt://broken", "mqtt://sound"};
  Client client(io_.get_executor(), options);
  ListenTo(client);
  client.AsyncServe([](absl::StatusOr<Client::Done>) {});
  Until([&] { return stood_ == 1; });
  EXPECT_THAT(dialed, ElementsAre("broken", "sound"));
  network_->HangUp();  // The one that stood is tried first.
  Until([&] { return stood_ == 2; });
  EXPECT_THAT(dialed, ElementsAre("broken", "sound", "sound"));
}

TEST_F(ClientLife, AServerThatAnswersConnectBrokenlyIsTriedAgain) {
  Options options = Here();
  Client client(io_.get_executor(), options);
  ListenTo(client);
  network_->server.claim_session() = true;
  client.AsyncServe([this](absl::StatusOr<Client::Done>) { ++over_; });
  Until([&] { return network_->dialed == 3 || over_ > 0; });
  ASSERT_EQ(over_, 0);
  network_->server.claim_session() = false;
  Until([&] { return stood_ == 1; });
  EXPECT_THAT(ended_, testing::Each(HasSubstr("broke the protocol")));
}

TEST_F(ClientLife, AServerReferenceIsFollowed) {
  Options options = Here();
  std::vector<std::string> dialed;
  options.dialer = [this, &dialed, dial = options.dialer](const Endpoint& endpoint) {
    dialed.push_back(endpoint.host);
    mqtt::ConnAck& connack = network_->server.connack();
    const bool moved = endpoint.host == "old";
    connack.reason = moved ? ReasonCode::kServerMoved : ReasonCode::kSuccess;
    connack.server_reference = std::nullopt;
    if (moved) connack.server_reference = "new:1884";
    return dial(endpoint);
  };
  options.servers = {"mqtt://old"};
  Client client(io_.get_executor(), options);
  ListenTo(client);
  client.AsyncServe([](absl::StatusOr<Client::Done>) {});
  Until([&] { return stood_ == 1; });
  EXPECT_THAT(dialed, ElementsAre("old", "new"));
}

// Two servers that send clients to one another get no storm of connections: after a few, each try
// waits.
TEST_F(ClientLife, ServersThatReferToOneAnotherAreNotFollowedForEver) {
  Options options = Here();
  options.reconnect = {absl::Hours(1), absl::Hours(1)};
  options.dialer = [this, dial = options.dialer](const Endpoint& endpoint) {
    mqtt::ConnAck& connack = network_->server.connack();
    connack.reason = ReasonCode::kUseAnotherServer;
    connack.server_reference = endpoint.host == "a" ? "b" : "a";
    return dial(endpoint);
  };
  options.servers = {"mqtt://a"};
  Client client(io_.get_executor(), options);
  client.AsyncServe([](absl::StatusOr<Client::Done>) {});
  while (network_->dialed < 100 && io_.poll_one() > 0) {
  }
  EXPECT_LT(network_->dialed, 20u);
  EXPECT_GT(network_->dialed, 1u);
}

TEST_F(ClientLife, ARefusalIsFinalUnlessItIsToBeTriedAgain) {
  Options options = Here();
  network_->server.connack().reason = ReasonCode::kNotAuthorized;
  {
    Client client(io_.get_executor(), options);
    const auto served = Await<Client::Done>([&](auto done) { client.AsyncServe(done); });
    EXPECT_EQ(served.status().code(), absl::StatusCode::kPermissionDenied) << served.status();
  }
  options.give_up_when_refused = false;
  const size_t before = network_->dialed;
  Client client(io_.get_executor(), options);
  ListenTo(client);
  client.AsyncServe([](absl::StatusOr<Client::Done>) {});
  Until([&] { return network_->dialed == before + 3; });
  network_->server.connack().reason = ReasonCode::kSuccess;
  Until([&] { return stood_ == 1; });
}

TEST_F(ClientLife, AClientServesOnce) {
  Client client(io_.get_executor(), Here());
  client.AsyncServe([](absl::StatusOr<Client::Done>) {});
  const auto second = Await<Client::Done>([&](auto done) { client.AsyncServe(done); });
  EXPECT_EQ(second.status().code(), absl::StatusCode::kFailedPrecondition) << second.status();
}

// ---- Exceptions ------------------------------------------------------------------------------

TEST_F(ClientLife, WhatAHandlerThrowsLeavesRunAndTheClientGoesOn) {
  Client client(io_.get_executor(), Here());
  std::vector<std::string> got;
  client.OnMessage([&](const ReceivedMessage& message) {
    if (message.payload == "bad") throw std::runtime_error("the handler");
    got.push_back(message.payload);
  });
  ASSERT_TRUE(Connect(client).ok());
  network_->server.Send("bad", QoS::kAtLeastOnce);
  network_->server.Send("good", QoS::kAtLeastOnce);
  network_->changed.cancel();
  EXPECT_THAT(ThrownUntil([&] { return network_->server.unacknowledged() == 0; }),
              ElementsAre("the handler"));
  EXPECT_THAT(got, ElementsAre("good"));
  const auto published =
      Await<PublishResult>([&](auto done) { client.AsyncPublish(At(QoS::kExactlyOnce), done); });
  EXPECT_TRUE(published.ok()) << published.status();
}

TEST_F(ClientLife, WhatACompletionThrowsLeavesRunAndTheClientGoesOn) {
  Client client(io_.get_executor(), Here());
  bool thrown = false;
  client.AsyncConnect([&](absl::StatusOr<ConnectResult>) {
    thrown = true;
    throw std::runtime_error("connected");
  });
  EXPECT_THAT(ThrownUntil([&] { return thrown; }), ElementsAre("connected"));
  int over = 0;
  for (int i = 0; i < 2; ++i) {
    client.AsyncPublish(At(QoS::kAtLeastOnce), [&](absl::StatusOr<PublishResult>) {
      ++over;
      throw std::runtime_error("published");
    });
  }
  EXPECT_THAT(ThrownUntil([&] { return over == 2; }), ElementsAre("published", "published"));
  EXPECT_TRUE(Await<absl::Duration>([&](auto done) { client.AsyncPing(done); }).ok());
}

TEST_F(ClientLife, AStateHandlerThatThrowsKeepsNoConnectionFromBeingMade) {
  Client client(io_.get_executor(), Here());
  client.OnState([&](State state, const absl::Status&) {
    if (state == State::kConnecting) throw std::runtime_error("connecting");
  });
  std::optional<absl::StatusOr<ConnectResult>> result;
  client.AsyncConnect(Into(result));
  EXPECT_THAT(ThrownUntil([&] { return result.has_value(); }), ElementsAre("connecting"));
  EXPECT_TRUE(result->ok()) << result->status();
}

TEST_F(ClientLife, ADialerThatThrowsHasFailedAndMayBeAskedAgain) {
  Options options = Here();
  options.dialer = [dial = options.dialer, times = 0](const Endpoint& endpoint) mutable {
    if (times++ == 0) throw std::runtime_error("no line");
    return dial(endpoint);
  };
  Client client(io_.get_executor(), options);
  const auto first = Connect(client);
  EXPECT_EQ(first.status().code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(first.status().message()), HasSubstr("no line"));
  EXPECT_TRUE(Connect(client).ok());
}

// ---- The client's end, and what is called where ----------------------------------------------

TEST_F(ClientLife, NoCompletionIsCalledInsideTheCallThatBeginsItsOperation) {
  Client client(io_.get_executor(), Here());
  ASSERT_TRUE(Connect(client).ok());
  bool inside = false;
  int over = 0;
  const auto outside = [&](const auto&) {
    EXPECT_FALSE(inside);
    ++over;
  };
  const auto ask = [&] {
    inside = true;
    client.AsyncPublish(At(QoS::kAtMostOnce), outside);  // On its way at once.
    client.AsyncPublish({}, outside);                    // Refused at once: no topic.
    client.AsyncSubscribe({}, outside);
    client.AsyncUnsubscribe({}, outside);
    client.AsyncRoundTrip(PublishPacket{At(QoS::kAtMostOnce)}, outside);
    client.AsyncConnect(outside);
    client.AsyncReauthenticate(outside);
    client.AsyncStatistics(outside);
    inside = false;
  };
  client.AsyncStatistics([&](const auto&) { ask(); });  // Where the client's work runs.
  Until([&] { return over == 8; });
  client.AsyncStatistics([&](const auto&) {
    inside = true;
    client.AsyncPing(outside);
    client.Close();
    client.AsyncPing(outside);
    client.AsyncPublish(At(QoS::kAtLeastOnce), outside);
    client.AsyncServe(outside);
    client.AsyncDisconnect(outside);
    inside = false;
  });
  Until([&] { return over == 13; });
}

TEST_F(ClientLife, ADestroyedClientCallsNoHandlerAndEndsWhatWasOpen) {
  auto client = std::make_unique<Client>(io_.get_executor(), Here());
  ASSERT_TRUE(Connect(*client).ok());
  int handled = 0;
  client->OnMessage([&](const ReceivedMessage&) { ++handled; });
  client->OnState([&](State, const absl::Status&) { ++handled; });
  network_->answering = false;
  std::optional<absl::StatusOr<PublishResult>> published;
  client->AsyncPublish(At(QoS::kAtLeastOnce), Into(published));
  Until([&] { return network_->server.publishes().size() == 1; });
  network_->server.Send("late", QoS::kAtMostOnce);
  network_->answering = true;
  network_->changed.cancel();  // The client is about to read it.
  asio::post(io_, [&] {
    client.reset();
    EXPECT_FALSE(published.has_value()) << "a completion inside the destructor";
  });
  Until([&] { return published.has_value(); });
  io_.poll();
  EXPECT_EQ(handled, 0);
  EXPECT_EQ(network_->closed, 1u);
}

// On a thread that the destructor does not run on: it waits for a handler that runs, and no other
// begins.
TEST_F(ClientLife, TheDestructorWaitsForAHandlerOnAnotherThread) {
  auto client = std::make_unique<Client>(io_.get_executor(), Here());
  ASSERT_TRUE(Connect(*client).ok());
  std::promise<void> entered;
  std::promise<void> destroying;
  std::atomic<bool> over = false;
  client->OnMessage([&](const ReceivedMessage&) {
    entered.set_value();
    destroying.get_future().get();
    for (int i = 0; i < 10'000; ++i) std::this_thread::yield();
    over = true;
  });
  network_->server.Send("now", QoS::kAtMostOnce);
  network_->changed.cancel();
  std::thread executor([&] { io_.run_for(std::chrono::seconds(30)); });
  entered.get_future().get();
  destroying.set_value();
  client.reset();
  EXPECT_TRUE(over);
  executor.join();
}

}  // namespace
}  // namespace mqttd::client
