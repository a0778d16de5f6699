// For tests that are named by the statement that they show: a client that talks to a real server,
// with a wiretap between them.
#ifndef TESTS_CLIENT_STATEMENTS_STATEMENTS_TEST_H_
#define TESTS_CLIENT_STATEMENTS_STATEMENTS_TEST_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "client/client.h"
#include "mqtt/decode.h"
#include "tests/client/statements/peer.h"
#include "tests/client/statements/wiretap.h"
#include "tests/support/patience.h"

namespace mqttd::client {

using mqtt::PacketType;
using mqtt::QoS;
using mqtt::ReasonCode;
using mqtt::Version;

template <typename Result>
using Later = std::shared_ptr<std::optional<absl::StatusOr<Result>>>;

// A client and what is seen of it.
struct Subject {
  Subject(Version v, boost::asio::io_context& io, Options options)
      : version(v), tap(v), client(io.get_executor(), WithTap(std::move(options), tap)) {
    client.OnMessage([this](const ReceivedMessage& message) { got.push_back(message); });
    client.OnState([this](State now, const absl::Status& reason) {
      state = now;
      why = reason;
    });
  }
  static Options WithTap(Options options, Wiretap& tap) {
    options.dialer = tap.MakeDialer();
    return options;
  }
  std::vector<std::string> payloads() const {
    std::vector<std::string> out;
    for (const ReceivedMessage& message : got) out.push_back(message.payload);
    return out;
  }

  const Version version;
  Wiretap tap;
  std::vector<ReceivedMessage> got;
  State state = State::kDisconnected;
  absl::Status why;
  std::optional<absl::Status> ended;  // Of AsyncServe.
  Client client;                      // The first to go.
};

// The parameter is the server. Any number of clients, on the test's thread.
class ClientStatements : public testing::TestWithParam<PeerKind> {
 protected:
  ~ClientStatements() override {
    LeaveAll();
    work_.reset();
    io_.run_for(std::chrono::seconds(30));
  }

  // This test's server says so in CONNACK.
  void Limit(const PeerLimits& limits) { own_ = MakePeer(GetParam(), limits); }
  const Peer& peer() const { return own_.has_value() ? *own_ : SharedPeer(GetParam()); }

  // Of this test alone.
  std::string Own(const std::string& name) const {
    const testing::TestInfo& test = *testing::UnitTest::GetInstance()->current_test_info();
    std::string all = std::string(test.name()) + "-" + name;
    std::replace(all.begin(), all.end(), '/', '-');
    return all;
  }

  using Change = std::function<void(Options&)>;
  Options Here(Version version, const std::string& id = "device") const {
    Options options;
    options.servers = {peer().unix_url};
    options.session.version = version;
    options.session.client_id = Own(id);
    options.reconnect = {absl::Milliseconds(1), absl::Milliseconds(10)};
    return options;
  }
  static void Kept(Options& options) {
    options.session.clean_start = false;
    options.session.session_expiry_s = 3600;
  }
  // Not connected yet.
  Subject& Make(Version version, const Change& change = {}, const std::string& id = "device") {
    Options options = Here(version, id);
    if (change) change(options);
    return subjects_.emplace_back(version, io_, std::move(options));
  }
  // Connected, and again whenever the connection is lost.
  Subject& Join(Version version, const Change& change = {}, const std::string& id = "device") {
    Subject& subject = Make(version, change, id);
    Serve(subject);
    Until([&] { return subject.state == State::kConnected; });
    return subject;
  }
  void Serve(Subject& subject) {
    subject.client.AsyncServe(
        [&subject](absl::StatusOr<Client::Done> result) { subject.ended = result.status(); });
  }
  // One that listens to `filter`, and is not what the test is about.
  Subject& Listener(const std::string& filter, QoS qos = QoS::kExactlyOnce) {
    Subject& listener = Join(Version::k5, {}, "listener");
    Subscribe(listener, filter, qos);
    return listener;
  }
  Subject& Talker() {
    if (talker_ == nullptr) talker_ = &Join(Version::k5, {}, "talker");
    return *talker_;
  }
  // By the PINGREQs of another client.
  void LetSecondsPass(size_t seconds) {
    Subject& clock = Join(
        Version::k5, [](Options& options) { options.session.keep_alive_s = 1; }, "clock");
    UntilHeard(clock, PacketType::kPingResp, seconds);
    clock.client.Close();
  }
  // Their identifiers may be used again.
  void LeaveAll() {
    for (Subject& subject : subjects_) subject.client.Close();
    talker_ = nullptr;
  }

  void Until(const std::function<bool()>& done) {
    const auto limit = std::chrono::seconds(30) * support::TestSlowdown();
    while (!done()) {
      if (io_.run_one_for(limit) == 0) {
        ADD_FAILURE() << "nothing happens";
        throw std::runtime_error("nothing happens");
      }
    }
  }
  template <typename Result>
  absl::StatusOr<Result> Await(const Later<Result>& later) {
    Until([&] { return later->has_value(); });
    return **later;
  }
  template <typename Result>
  static auto Into(const Later<Result>& later) {
    return [later](absl::StatusOr<Result> result) { later->emplace(std::move(result)); };
  }
  template <typename Result>
  static Later<Result> NewLater() {
    return std::make_shared<std::optional<absl::StatusOr<Result>>>();
  }

  Later<ConnectResult> StartConnect(Subject& subject) {
    auto later = NewLater<ConnectResult>();
    subject.client.AsyncConnect(Into(later));
    return later;
  }
  absl::StatusOr<ConnectResult> Connect(Subject& subject) { return Await(StartConnect(subject)); }
  // The CONNECT that these options make, whatever the server says to it.
  mqtt::Connect ConnectOf(Version version, const Change& change = {}) {
    Subject& subject = Make(version, change);
    static_cast<void>(Connect(subject));
    return ConnectOf(subject);
  }
  mqtt::Connect ConnectOf(const Subject& subject) {
    const Heard& heard = *subject.tap.Sent(PacketType::kConnect).back();
    mqtt::Connect connect;
    const auto violation = mqtt::DecodeConnect(HeaderOf(heard), mqtt::AsBytes(heard.body), connect);
    EXPECT_FALSE(violation.has_value()) << violation->rule;
    return connect;
  }
  // Byte 8 of CONNECT.
  static uint8_t ConnectFlags(const Heard& connect) {
    return static_cast<uint8_t>(connect.body[7]);
  }

  Message At(const std::string& topic, std::string payload, QoS qos) const {
    Message message;
    message.topic = topic;
    message.payload = std::move(payload);
    message.qos = qos;
    return message;
  }
  Later<PublishResult> StartPublish(Subject& subject, Message message) {
    auto later = NewLater<PublishResult>();
    subject.client.AsyncPublish(std::move(message), Into(later));
    return later;
  }
  Later<PublishResult> StartPublish(Subject& subject, std::string payload, QoS qos) {
    return StartPublish(subject, At(Own("t"), std::move(payload), qos));
  }
  absl::StatusOr<PublishResult> Publish(Subject& subject, Message message) {
    return Await(StartPublish(subject, std::move(message)));
  }
  void Publish(Subject& subject, std::string payload, QoS qos) {
    const auto result = Publish(subject, At(Own("t"), std::move(payload), qos));
    EXPECT_TRUE(result.ok() && result->ok()) << result.status();
  }
  Later<SubscribeResult> StartSubscribe(Subject& subject, std::vector<Subscription> subscriptions,
                                        SubscribeOptions options = {}) {
    auto later = NewLater<SubscribeResult>();
    subject.client.AsyncSubscribe(std::move(subscriptions), std::move(options), Into(later));
    return later;
  }
  void Subscribe(Subject& subject, const std::string& filter, QoS qos) {
    const auto result = Await(StartSubscribe(subject, {{filter, {.qos = qos}}}));
    EXPECT_TRUE(result.ok() && result->ok()) << result.status();
  }
  Later<UnsubscribeResult> StartUnsubscribe(Subject& subject, std::vector<std::string> filters) {
    auto later = NewLater<UnsubscribeResult>();
    subject.client.AsyncUnsubscribe(std::move(filters), Into(later));
    return later;
  }
  // What was sent before has been answered, as far as the server answers it at once.
  void Ping(Subject& subject) {
    auto later = NewLater<absl::Duration>();
    subject.client.AsyncPing(Into(later));
    const auto took = Await(later);
    EXPECT_TRUE(took.ok()) << took.status();
  }
  absl::Status Disconnect(Subject& subject, DisconnectOptions options = {}) {
    auto later = NewLater<Client::Done>();
    subject.client.AsyncDisconnect(std::move(options), Into(later));
    return Await(later).status();
  }
  Statistics StatisticsOf(Subject& subject) {
    auto later = NewLater<Statistics>();
    subject.client.AsyncStatistics(Into(later));
    return *Await(later);
  }
  // The connection breaks, and a new one stands.
  void Break(Subject& subject) {
    const size_t before = subject.tap.connections();
    subject.tap.HangUp();
    Until([&] { return subject.tap.connections() > before && subject.state == State::kConnected; });
  }
  void UntilSent(Subject& subject, PacketType type, size_t count) {
    Until([&] { return subject.tap.Sent(type).size() >= count; });
  }
  void UntilHeard(Subject& subject, PacketType type, size_t count) {
    Until([&] { return subject.tap.Received(type).size() >= count; });
  }

  static mqtt::FrameHeader HeaderOf(const Heard& heard) {
    return mqtt::PeekFrame(mqtt::AsBytes(heard.frame), mqtt::kPacketSizeMax, Version::kUnknown)
        .header;
  }
  // As a server reads it.
  mqtt::Publish PublishOf(const Subject& subject, const Heard& heard) {
    mqtt::Publish publish;
    const auto violation = mqtt::DecodePublish(heard.flags, mqtt::AsBytes(heard.body),
                                               subject.version, mqtt::Sender::kClient, publish);
    EXPECT_FALSE(violation.has_value()) << violation->rule;
    return publish;
  }
  std::vector<mqtt::Publish> PublishesOf(const Subject& subject) {
    std::vector<mqtt::Publish> out;
    for (const Heard* heard : subject.tap.Sent(PacketType::kPublish)) {
      out.push_back(PublishOf(subject, *heard));
    }
    return out;
  }
  mqtt::Ack AckOf(const Subject& subject, const Heard& heard) {
    mqtt::Ack ack;
    const auto violation =
        mqtt::DecodeAck(heard.type, heard.flags, mqtt::AsBytes(heard.body), subject.version, ack);
    EXPECT_FALSE(violation.has_value()) << violation->rule;
    return ack;
  }
  std::vector<uint16_t> IdsOf(const Subject& subject, PacketType type) {
    std::vector<uint16_t> out;
    for (const Heard* heard : subject.tap.Sent(type)) {
      out.push_back(AckOf(subject, *heard).packet_id.value);
    }
    return out;
  }
  // Of QoS 1 and 2 messages that the server sent.
  std::vector<uint16_t> IdsFromServer(const Subject& subject) {
    std::vector<uint16_t> out;
    for (const Heard* heard : subject.tap.Received(PacketType::kPublish)) {
      mqtt::Publish publish;
      EXPECT_FALSE(mqtt::DecodePublish(heard->flags, mqtt::AsBytes(heard->body), subject.version,
                                       mqtt::Sender::kServer, publish));
      if (publish.qos != QoS::kAtMostOnce) out.push_back(publish.packet_id.value);
    }
    return out;
  }

  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_ =
      boost::asio::make_work_guard(io_);
  std::optional<Peer> own_;
  std::list<Subject> subjects_;
  Subject* talker_ = nullptr;
};

#define MQTTD_AGAINST_BOTH_SERVERS(suite)                                           \
  INSTANTIATE_TEST_SUITE_P(Against, suite,                                          \
                           testing::Values(PeerKind::kMqttd, PeerKind::kMosquitto), \
                           [](const auto& row) { return NameOf(row.param); })

}  // namespace mqttd::client

#endif  // TESTS_CLIENT_STATEMENTS_STATEMENTS_TEST_H_
