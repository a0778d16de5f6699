// The client against a real broker: each transport, each interface, and a broker that is killed.
#include "client/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <string>
#include <vector>

#include "client/blocking_client.h"
#include "client/file_store.h"
#include "tests/support/broker_process.h"
#include "tests/support/temp_dir.h"

namespace mqttd::client {
namespace {

namespace asio = boost::asio;
using mqtt::QoS;
using support::BrokerOptions;
using support::BrokerProcess;

Options To(std::string server, std::string client_id = "") {
  Options options;
  options.servers = {std::move(server)};
  options.session.client_id = std::move(client_id);
  return options;
}

std::string Local(const std::string& scheme, uint16_t port, const std::string& path = "") {
  return scheme + "://127.0.0.1:" + std::to_string(port) + path;
}

Message At(std::string topic, std::string payload, QoS qos) {
  Message message;
  message.topic = std::move(topic);
  message.payload = std::move(payload);
  message.qos = qos;
  return message;
}

Subscription All(std::string filter) { return {std::move(filter), {.qos = QoS::kExactlyOnce}}; }

// Publishes at each QoS to itself and waits until all three have come.
asio::awaitable<void> TalkToItself(Options options, std::vector<std::string>& got) {
  Client client(co_await asio::this_coro::executor, std::move(options));
  client.OnMessage("self/#",
                   [&](const ReceivedMessage& message) { got.push_back(message.payload); });
  std::vector<Subscription> subscriptions(1, All("self/#"));
  const auto subscribed =
      co_await client.AsyncConnectAndSubscribe(subscriptions, asio::use_awaitable);
  EXPECT_TRUE(subscribed.ok() && subscribed->ok()) << subscribed.status();
  if (!subscribed.ok()) co_return;
  for (int level = 0; level <= 2; ++level) {
    const auto qos = static_cast<QoS>(level);
    const auto published =
        co_await client.AsyncPublish(At("self/t", std::to_string(level), qos), asio::use_awaitable);
    EXPECT_TRUE(published.ok() && published->ok()) << published.status();
  }
  const auto round_trip = co_await client.AsyncPing(asio::use_awaitable);  // Behind all of them.
  EXPECT_TRUE(round_trip.ok()) << round_trip.status();
  const auto left = co_await client.AsyncDisconnect(asio::use_awaitable);
  EXPECT_TRUE(left.ok()) << left.status();
}

std::vector<std::string> TalkToItself(Options options) {
  asio::io_context io;
  std::vector<std::string> got;
  asio::co_spawn(io, TalkToItself(std::move(options), got), asio::detached);
  io.run();
  return got;
}

class Transports : public testing::Test {
 protected:
  static std::string Certificate(const support::TempDir& directory) {
    const std::string base = directory.path();
    const std::string command =
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost "
        "-addext subjectAltName=IP:127.0.0.1 -keyout " +
        base + "/key.pem -out " + base + "/cert.pem 2>/dev/null";
    EXPECT_EQ(std::system(command.c_str()), 0);
    return base;
  }
};

TEST_F(Transports, EachCarriesTheSame) {
  const support::TempDir directory;
  const std::string base = Certificate(directory);
  BrokerProcess broker(
      {.listen = {"mqtt://127.0.0.1:0", "ws://127.0.0.1:0/mqtt", "mqtts://127.0.0.1:0",
                  "wss://127.0.0.1:0/mqtt", "unix:" + base + "/socket"},
       .set = {"tls.cert_file=" + base + "/cert.pem", "tls.key_file=" + base + "/key.pem"}});
  for (const mqtt::Version version : {mqtt::Version::k311, mqtt::Version::k5}) {
    for (const std::string& server : {Local("mqtt", broker.port(0)), Local("ws", broker.port(1)),
                                      Local("mqtts", broker.port(2)), Local("wss", broker.port(3)),
                                      "unix:" + base + "/socket"}) {
      SCOPED_TRACE(server);
      Options options = To(server);
      options.session.version = version;
      options.tls.ca_file = base + "/cert.pem";
      EXPECT_THAT(TalkToItself(options), testing::ElementsAre("0", "1", "2"));
    }
  }
}

// Each transport hands over every byte, in order.
TEST_F(Transports, MQTT311_7_1_2_1) {
  const support::TempDir directory;
  const std::string base = Certificate(directory);
  BrokerProcess broker(
      {.listen = {"mqtt://127.0.0.1:0", "ws://127.0.0.1:0/mqtt", "mqtts://127.0.0.1:0",
                  "wss://127.0.0.1:0/mqtt", "unix:" + base + "/socket"},
       .set = {"tls.cert_file=" + base + "/cert.pem", "tls.key_file=" + base + "/key.pem"}});
  std::string payload;
  for (int i = 0; payload.size() < (1u << 19); ++i) payload += std::to_string(i) + ",";
  for (const std::string& server :
       {Local("mqtt", broker.port(0)), Local("ws", broker.port(1)), Local("mqtts", broker.port(2)),
        Local("wss", broker.port(3)), "unix:" + base + "/socket"}) {
    SCOPED_TRACE(server);
    Options options = To(server);
    options.session.version = mqtt::Version::k311;
    options.tls.ca_file = base + "/cert.pem";
    BlockingClient client(options);
    std::vector<std::string> got;
    client.client().OnMessage(
        [&](const ReceivedMessage& message) { got.push_back(message.payload); });
    ASSERT_TRUE(client.ConnectAndSubscribe({All("large")}).ok());
    for (int i = 0; i < 3; ++i) {
      ASSERT_TRUE(client.Publish(At("large", payload, QoS::kAtLeastOnce)).ok());
    }
    ASSERT_TRUE(client.Ping().ok());
    EXPECT_THAT(got, testing::ElementsAre(payload, payload, payload));
  }
}

TEST_F(Transports, ACertificateOfAnotherIsRefusedInWords) {
  const support::TempDir directory;
  const std::string base = Certificate(directory);
  BrokerProcess broker(
      {.listen = {"mqtts://127.0.0.1:0"},
       .set = {"tls.cert_file=" + base + "/cert.pem", "tls.key_file=" + base + "/key.pem"}});
  BlockingClient client(To(Local("mqtts", broker.port())));  // Trusts the system's authorities.
  const auto result = client.Connect();
  ASSERT_FALSE(result.ok());
  EXPECT_THAT(std::string(result.status().message()), testing::HasSubstr("certificate"));
}

TEST(Client, ReportsWhatItCannotReachAndWhatIsRefused) {
  BlockingClient nobody(To("unix:/nonexistent/socket"));
  EXPECT_EQ(nobody.Connect().status().code(), absl::StatusCode::kUnavailable);
  BlockingClient nonsense(To("http://h"));
  EXPECT_EQ(nonsense.Connect().status().code(), absl::StatusCode::kInvalidArgument);

  BrokerProcess broker({.allow_anonymous = false, .set = {"auth.allow_anonymous=false"}});
  BlockingClient anonymous(To(Local("mqtt", broker.port())));
  const auto result = anonymous.Connect();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->ok());
  EXPECT_FALSE(result->reason == mqtt::ReasonCode::kSuccess);
}

TEST(Client, ServesUntilItIsClosedAndGivesUpWhereItIsNotWanted) {
  BrokerProcess broker({.allow_anonymous = false, .set = {"auth.allow_anonymous=false"}});
  asio::io_context io;
  Client client(io.get_executor(), To(Local("mqtt", broker.port())));
  absl::Status ended;
  client.AsyncServe([&](absl::StatusOr<Client::Done> result) { ended = result.status(); });
  io.run();
  EXPECT_EQ(ended.code(), absl::StatusCode::kPermissionDenied) << ended;
}

TEST(Client, MessagesAndTheirPropertiesComeAsTheyWereSent) {
  std::vector<ReceivedMessage> got;
  BlockingClient client(To(Local("mqtt", support::SharedBroker().port())));
  client.client().OnMessage([&](const ReceivedMessage& message) { got.push_back(message); });
  ASSERT_TRUE(client.Connect().ok());
  ASSERT_TRUE(client.Subscribe({All("client/properties")}).ok());
  Message message = At("client/properties", "{}", QoS::kAtLeastOnce);
  message.payload_is_utf8 = true;
  message.content_type = "application/json";
  message.response_topic = "client/answer";
  message.correlation_data = std::string("\0\1", 2);
  message.user_properties = {{"a", "1"}, {"a", "2"}};
  ASSERT_TRUE(client.Publish(message).ok());
  ASSERT_TRUE(client.Ping().ok());  // Its answer comes behind the message.
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(static_cast<const Message&>(got[0]), message);
}

// A client that dies with messages in flight: the next one, with the same store, sends them.
TEST(Client, AStoreCarriesWhatIsUnacknowledgedIntoTheNextProcess) {
  const support::TempDir directory;
  const std::string path = directory.path() + "/store";
  {
    auto store = FileStore::Open(path);
    ASSERT_TRUE(store.ok()) << store.status();
    ASSERT_TRUE(
        (*store)->PutOutbound(1, mqtt::PacketId{7}, At("stored", "x", QoS::kExactlyOnce)).ok());
  }
  BrokerProcess broker;
  std::vector<std::string> got;
  Options reading = To(Local("mqtt", broker.port()), "reader");
  BlockingClient reader(reading);
  reader.client().OnMessage(
      [&](const ReceivedMessage& message) { got.push_back(message.payload); });
  ASSERT_TRUE(reader.Connect().ok());
  ASSERT_TRUE(reader.Subscribe({All("stored")}).ok());
  {  // The session that the message belongs to.
    Options first = To(Local("mqtt", broker.port()), "writer");
    first.session.session_expiry_s = 3600;
    BlockingClient writer(first);
    ASSERT_TRUE(writer.Connect().ok());
    ASSERT_TRUE(writer.Disconnect().ok());
  }
  Options options = To(Local("mqtt", broker.port()), "writer");
  options.session.session_expiry_s = 3600;
  auto store = FileStore::Open(path);
  ASSERT_TRUE(store.ok()) << store.status();
  options.store = *std::move(store);
  std::vector<std::string> told;
  options.on_stored_done = [&](const Message& message, const absl::StatusOr<PublishResult>& done) {
    told.push_back(message.payload + " " + std::string(done.status().message()));
  };
  BlockingClient writer(options);
  ASSERT_TRUE(writer.Connect().ok());
  ASSERT_TRUE(writer.Publish(At("other", "", QoS::kExactlyOnce)).ok());  // Behind the stored one.
  ASSERT_TRUE(reader.Ping().ok());
  EXPECT_THAT(got, testing::ElementsAre("x"));
  ASSERT_TRUE(writer.Ping().ok());
  EXPECT_THAT(told, testing::ElementsAre("x "));
  EXPECT_TRUE(options.store->Load()->outbound.empty());
}

// Neither Asio's pool, nor one that looks up what is an address already.
TEST(Client, ABlockingClientHasOneThread) {
  const auto threads = [] {
    const std::filesystem::directory_iterator tasks("/proc/self/task");
    return std::distance(begin(tasks), end(tasks));
  };
  const std::string url = Local("mqtt", support::SharedBroker().port());
  const auto before = threads();
  BlockingClient client(To(url));
  ASSERT_TRUE(client.Connect().ok());
  ASSERT_TRUE(client.Subscribe({All("client/threads")}).ok());
  ASSERT_TRUE(client.Publish(At("client/threads", "x", QoS::kExactlyOnce)).ok());
  EXPECT_EQ(threads(), before + 1);
}

TEST(Client, ACancelledPublishThatWasNotSentEndsAsCancelled) {
  asio::io_context io;
  Client client(io.get_executor(), To("unix:/nonexistent/socket"));
  asio::cancellation_signal signal;
  absl::Status status;
  client.AsyncPublish(
      At("t", "x", QoS::kAtLeastOnce),
      asio::bind_cancellation_slot(
          signal.slot(), [&](absl::StatusOr<PublishResult> result) { status = result.status(); }));
  signal.emit(asio::cancellation_type::total);
  io.run();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace mqttd::client
