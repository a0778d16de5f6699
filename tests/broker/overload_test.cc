// What a server does about more than it can take: connections, messages, requests, unread answers,
// memory, and shards that are stuck.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "broker/core/forward_credit.h"
#include "broker/shard/shard_context.h"
#include "tests/broker/fake_host.h"

namespace broker {
namespace {

using support::Packet;
using enum support::PacketType;
using enum support::PropertyId;

// ---- Limits on connections

constexpr std::string_view kProxied = "PROXY TCP4 192.0.2.1 192.0.2.9 4711 1883\r\n";

TEST_F(ServerTest, BehindAProxyTheLimitsAreOfTheAddressInItsHeader) {
  options_.listeners[0].listener.proxy_protocol = true;
  options_.listeners[0].listener.address_connections_max = 1;
  options_.listeners[0].listener.address_connection_rate_max = 2;
  Start();
  const auto connect = [this](std::string_view header, const std::string& id) {
    support::RawClient client(port_, support::Version::k5);
    client.Send(std::string(header) + Transient(id).Encode());
    return client;
  };
  support::RawClient first = connect(kProxied, "first");
  Grant(host_.Take<storage::OpenSession>());
  first.ExpectConnack();
  connect(kProxied, "second").ExpectConnack(0x97);
  support::RawClient other =
      connect("PROXY TCP4 192.0.2.2 192.0.2.9 4711 1883\r\n", "of another address");
  Grant(host_.Take<storage::OpenSession>());
  other.ExpectConnack();
  first.Disconnect();
  support::RawClient third = connect(kProxied, "third");
  Grant(host_.Take<storage::OpenSession>());
  third.ExpectConnack();
  third.Disconnect();
  connect(kProxied, "fourth").ExpectConnack(0x9F);
  EXPECT_EQ(server_->metrics().listeners.at(0).refused_address_max, 1u);
  EXPECT_EQ(server_->metrics().listeners.at(0).refused_address_rate, 1u);
}

// A storm: only so many CONNECTs are worked on, only so many connections are accepted, those who
// are connected are served meanwhile, and everyone gets in.
TEST_F(ServerTest, NewConnectionsTakeTurns) {
  options_.connects_pending_max = 2;
  options_.arrivals_max = 4;
  options_.arrivals_us_max = 1;
  Start();
  Client connected = Join(Transient("connected"));
  std::vector<support::RawClient> storm;
  constexpr size_t kStorm = 50;
  for (size_t i = 0; i < kStorm; ++i) storm.push_back(Knock(Transient(std::to_string(i))));
  std::vector<storage::OpenSession> asked;
  for (int i = 0; i < 2; ++i) asked.push_back(host_.Take<storage::OpenSession>());
  while (metrics().accept_holds.value() == 0) std::this_thread::yield();
  connected.wire.ExpectNothing();
  EXPECT_FALSE(host_.Has<storage::OpenSession>());
  EXPECT_LT(metrics().connections.value(), 30);  // One turn of accepting may be too many.
  for (size_t i = 0; i < kStorm; ++i) {
    Grant(asked.at(i));
    if (asked.size() < kStorm) asked.push_back(host_.Take<storage::OpenSession>());
  }
  for (support::RawClient& client : storm) client.ExpectConnack();
  EXPECT_EQ(metrics().clients_connected.value(), int64_t{kStorm} + 1);
  EXPECT_EQ(metrics().arrivals_waiting.value(), 0);
}

TEST_F(ServerTest, ConnectionsOfAllListenersHaveABound) {
  options_.connections_max = 1;
  Start();
  Client client = Join(Transient("first"));
  support::RawClient(port_, support::Version::k5).ExpectClosed();
  EXPECT_EQ(metrics().connections_refused[RefuseCause::kConnectionsMax].value(), 1u);
  client.wire.Disconnect();
  Join(Transient("second"));
}

// ---- Publishers that are too fast

TEST_F(ServerTest, APublisherAboveItsRateWaitsAndLosesNothing) {
  limits().publish_rate_max = 50;
  Start();
  Client subscriber = Join(Transient("subscriber"));
  subscriber.wire.Subscribe({{"t", 0}});
  Client publisher = Join(Transient("publisher"));
  std::string bytes;
  constexpr int kCount = 60;
  for (int i = 0; i < kCount; ++i) {
    const support::PublishPacket publish{.topic = "t", .payload = std::to_string(i)};
    bytes += publish.Encode(support::Version::k5);
  }
  const auto before = std::chrono::steady_clock::now();
  publisher.wire.Send(bytes);
  publisher.wire.ExpectNothing();  // PINGRESP comes after all of it.
  // The first 50 at once, and each further one 20 ms later; the last pause need not be over.
  EXPECT_GE(std::chrono::steady_clock::now() - before, std::chrono::milliseconds(150));
  for (int i = 0; i < kCount; ++i) subscriber.wire.ExpectPublish("t", std::to_string(i));
  EXPECT_GT(metrics().throttled[ThrottleCause::kRate].value(), 0u);
}

TEST_F(ServerTest, APublisherAboveItsRateIsDisconnectedIfThatIsThePolicy) {
  limits().publish_bytes_rate_max = 1000;
  limits().publish_rate_policy = PublishRatePolicy::kDisconnect;
  Start();
  Client publisher = Join(Transient("publisher"));
  publisher.wire.Publish({.topic = "t", .payload = std::string(500, 'x'), .qos = 1});
  publisher.wire.Send(support::PublishPacket{
      .topic = "t", .payload = std::string(1000, 'x'), .qos = 1, .packet_id = 7});
  publisher.wire.ExpectDisconnect(0x96);
  EXPECT_EQ(metrics().connections_closed[CloseCause::kOverloaded].value(), 1u);
}

// ---- Threads that are stuck

// A method of authentication that does what none may: it blocks its shard, until it is let go.
class Blocking final : public auth::AuthMethod {
 public:
  // The shard may still look at it when the test's own variables are gone.
  struct Gate {
    std::atomic<bool> entered{false};
    std::atomic<bool> open{false};
  };
  explicit Blocking(std::shared_ptr<Gate> gate) : gate_(std::move(gate)) {}
  std::string_view name() const override { return "blocking"; }
  auth::AuthStep Start(const auth::Credentials& /*credentials*/,
                       std::string_view /*data*/) override {
    gate_->entered = true;
    while (!gate_->open) std::this_thread::yield();
    return {};
  }
  auth::AuthStep Step(std::string_view /*data*/) override { return {}; }

 private:
  const std::shared_ptr<Gate> gate_;
};

TEST_F(ServerTest, AShardThatDoesNotComeToItsNextTaskIsSeen) {
  const auto gate = std::make_shared<Blocking::Gate>();
  methods_.Register("blocking", [gate] { return std::make_unique<Blocking>(gate); });
  options_.stall_timeout_s = 3;
  Start();
  for (int i = 0; i < 10; ++i) {  // One that works answers each time.
    server_->WatchShards();
    Join(Transient("client")).wire.Disconnect();
    EXPECT_EQ(server_->stall().seconds, 0u);
  }
  support::ConnectPacket connect = Transient("stuck");
  connect.properties = support::Properties().Text(kAuthenticationMethod, "blocking");
  support::RawClient client = Knock(connect);
  while (!gate->entered) std::this_thread::yield();
  for (int i = 0; i < 3; ++i) server_->WatchShards();
  EXPECT_EQ(server_->stall().seconds, 2u);
  EXPECT_FALSE(server_->stall().stuck);
  server_->WatchShards();
  EXPECT_EQ(server_->stall().seconds, 3u);
  EXPECT_TRUE(server_->metrics().stall.stuck);
  gate->open = true;
  while (server_->stall().seconds != 0) std::this_thread::yield();
  EXPECT_FALSE(server_->stall().stuck);
}

// As in a cluster that has to be found first, which may take until the last machine is back.
TEST_F(ServerTest, AShardThatIsNotStartedYetIsNotStuck) {
  options_.stall_timeout_s = 3;
  Create();
  for (int i = 0; i < 10; ++i) server_->WatchShards();
  EXPECT_EQ(server_->stall().seconds, 0u);
  EXPECT_FALSE(server_->metrics().stall.stuck);
}

// ---- Memory

TEST_F(ServerTest, WhileMemoryIsShortNewClientsAreRefusedAndPublishersSlowedDown) {
  options_.memory_high_bytes = 1'000'000'000;
  Start();
  Client client = Join(Transient("client"));
  memory_ = options_.memory_high_bytes;
  while (!server_->metrics().memory.high) std::this_thread::yield();
  Knock(Transient("late")).ExpectConnack(0x89);
  EXPECT_EQ(metrics().connections_refused[RefuseCause::kMemory].value(), 1u);
  client.wire.Publish({.topic = "t", .qos = 1});  // It is taken, and then there is a pause.
  EXPECT_EQ(metrics().throttled[ThrottleCause::kMemory].value(), 1u);
  memory_ = 0;
  client.wire.ExpectNothing();
  while (server_->metrics().memory.high) std::this_thread::yield();
  Join(Transient("late"));
}

// What is held for clients counts by itself too: the account has one message once, however many
// wait for it, and says so before the system does.
TEST_F(ServerTest, WhatTheAccountOfMemoryHoldsIsComparedWithTheMark) {
  constexpr int64_t kMiB = 1 << 20;
  options_.memory_high_bytes = uint64_t{64 * kMiB};
  Start();
  Client client = Join(Transient("client"));
  auto message =
      mqtt::Message::Create({.topic = "t", .payload = std::string(size_t{64 * kMiB}, 'x')});
  std::vector<mqtt::MessagePtr> waiting(1000, message);
  while (!server_->metrics().memory.high) std::this_thread::yield();
  const int64_t held =
      server_->metrics().memory.account.at(static_cast<size_t>(base::MemoryUse::kMessages));
  EXPECT_GE(held, 64 * kMiB);
  EXPECT_LT(held, 65 * kMiB);
  Knock(Transient("late")).ExpectConnack(0x89);
  waiting.clear();
  message.reset();
  while (server_->metrics().memory.high) std::this_thread::yield();
  Join(Transient("late"));
}

// ---- Between shards

// More than may be on its way between two shards: the publisher waits now and then, nothing is lost
// and nothing stands still.
TEST_F(ServerTest, WhatGoesToAnotherShardArrivesHoweverMuchItIs) {
  options_.shards = 2;
  limits().output_bytes_max = 64 * 1024 * 1024;
  Start();
  std::vector<Client> clients;
  const auto on_shard = [&](storage::ShardId shard) -> Client& {
    for (;;) {  // The kernel chooses.
      for (Client& client : clients) {
        if (client.ref.shard == shard) return client;
      }
      clients.push_back(Join(Transient("client-" + std::to_string(clients.size()))));
    }
  };
  on_shard(0);
  on_shard(1);
  Client& publisher = on_shard(0);
  Client& subscriber = on_shard(1);
  subscriber.wire.Subscribe({{"t", 0}});
  constexpr uint64_t kCount = 3 * ForwardCredit::kMessagesMax;
  std::string bytes;
  for (uint64_t i = 0; i < kCount; ++i) {
    const support::PublishPacket publish{.topic = "t", .payload = std::to_string(i)};
    bytes += publish.Encode(support::Version::k5);
  }
  publisher.wire.Send(bytes);
  publisher.wire.ExpectNothing();
  for (uint64_t i = 0; i < kCount; ++i) subscriber.wire.ExpectPublish("t", std::to_string(i));
}

// ---- Requests that are not answered

TEST_F(ServerTest, AClientWithTooManyUnansweredRequestsIsNotReadFrom) {
  Start();
  Client client = Join(Durable("client"));
  constexpr uint16_t kCount = 2 * ShardContext::kRequestsWaitingMax;
  std::string bytes;
  for (uint16_t id = 1; id <= kCount; ++id) {
    bytes += support::Unsubscribe(support::Version::k5, id, {"t"});
  }
  client.wire.Send(bytes);
  std::vector<storage::Unsubscribe> asked;
  while (asked.size() < ShardContext::kRequestsWaitingMax)
    asked.push_back(host_.Take<storage::Unsubscribe>());
  Join(Transient("other"));  // The shard had time for more.
  EXPECT_FALSE(host_.Has<storage::Unsubscribe>());
  for (uint16_t id = 1; id <= kCount; ++id) {
    if (id > asked.size()) asked.push_back(host_.Take<storage::Unsubscribe>());
    Post(0, storage::UnsubscribeDone{asked[id - 1u].token, {}, {true}});
    client.wire.ExpectAck(kUnsuback, id);
  }
  client.wire.ExpectNothing();
}

// Answers that nobody reads do not pile up without a bound, and all come when somebody does.
TEST_F(ServerTest, AClientThatDoesNotReadItsAnswersIsNotReadFrom) {
  Start();
  Client client = Join(Transient("client"));
  constexpr size_t kBytes = 64 * 1024 * 1024;  // More than the kernel holds.
  std::thread sender([&] {
    std::string pings;
    while (pings.size() < 1024 * 1024) pings += support::kPingreq;
    for (size_t sent = 0; sent < kBytes; sent += pings.size()) client.wire.socket().Send(pings);
  });
  while (metrics().reads_paused.value() == 0) std::this_thread::yield();
  EXPECT_LT(metrics().output_bytes.value(), 1024 * 1024);
  size_t received = 0;
  for (std::string buffer; received < kBytes; received += buffer.size()) {
    buffer.clear();
    if (!client.wire.socket().Receive(buffer, support::Where::current())) break;
  }
  EXPECT_EQ(received, kBytes);
  sender.join();
}

}  // namespace
}  // namespace broker
