// §4.12 Enhanced authentication, §3.15 AUTH. mqttd has no method of its own, so the broker runs in
// this process with a method of the test's.
#include <unistd.h>

#include <charconv>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include "absl/synchronization/notification.h"
#include "auth/core/method.h"
#include "base/clock.h"
#include "broker/server.h"
#include "cluster/partition_log.h"
#include "storage/partition_host.h"
#include "tests/spec/spec_test.h"

namespace spec {
namespace {

using enum PropertyId;
using enum PacketType;
using support::Auth;

constexpr unsigned kContinue = 0x18;
constexpr unsigned kAgain = 0x19;

// "COUNT": the client's data says how many more answers "go on" the server wants, or "no", which
// fails.
class CountMethod final : public auth::AuthMethod {
 public:
  std::string_view name() const override { return "COUNT"; }

  auth::AuthStep Start(const auth::Credentials&, std::string_view data) override {
    if (std::from_chars(data.data(), data.data() + data.size(), left_).ec != std::errc())
      return {.code = auth::AuthCode::kNotAuthorized};
    return Next();
  }

  auth::AuthStep Step(std::string_view data) override {
    if (data != "go on") return {.code = auth::AuthCode::kNotAuthorized};
    return Next();
  }

 private:
  auth::AuthStep Next() {
    if (left_-- > 0) return {.kind = auth::AuthStep::Kind::kContinue, .data = "challenge"};
    return {.kind = auth::AuthStep::Kind::kOk, .data = "welcome"};
  }

  int left_ = 0;
};

class BrokerWithMethod {
 public:
  BrokerWithMethod() {
    methods_.Register("COUNT", [] { return std::make_unique<CountMethod>(); });
    broker::BrokerOptions options;
    options.shards = 1;
    options.listeners.resize(1);
    options.listeners[0].name = "test";
    options.listeners[0].listener.url = broker::ParseListenerUrl("mqtt://127.0.0.1:0").value();
    options.listeners[0].auth.allow_anonymous = true;
    server_ =
        broker::Server::Create(options, {.clock = &base::RealClock::Get(), .methods = &methods_})
            .value();
    storage::StorageOptions storage;
    storage.data_dir = directory_.string();
    storage.durability = storage::Durability::kNone;
    host_ = storage::PartitionHost::Open(storage, &cluster::PartitionLog::Open,
                                         base::RealClock::Get(), *server_, server_->shards())
                .value();
    absl::Notification ready;
    server_->Start(*host_, [&ready] { ready.Notify(); });
    ready.WaitForNotification();
    const std::string url = server_->urls().at(0);
    port_ = static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  }
  ~BrokerWithMethod() {
    server_->ShutDown();
    EXPECT_TRUE(host_->Stop().ok());
    std::filesystem::remove_all(directory_);
  }
  uint16_t port() const { return port_; }

 private:
  const std::filesystem::path directory_ =
      std::filesystem::temp_directory_path() / ("mqttd-auth-" + std::to_string(getpid()));
  auth::AuthMethodRegistry methods_;
  std::unique_ptr<broker::Server> server_;
  std::unique_ptr<storage::PartitionHost> host_;
  uint16_t port_ = 0;
};

class EnhancedAuth : public testing::Test {
 protected:
  static void SetUpTestSuite() { broker_ = std::make_unique<BrokerWithMethod>(); }
  static void TearDownTestSuite() { broker_.reset(); }

  static Properties Method(std::string_view data, std::string_view method = "COUNT") {
    return Properties().Text(kAuthenticationMethod, method).Text(kAuthenticationData, data);
  }
  static ConnectPacket With(std::string_view data, std::string_view method = "COUNT") {
    ConnectPacket connect = Transient(kV5, "client");
    connect.properties = Method(data, method);
    return connect;
  }
  // A connection on which CONNECT was sent.
  static RawClient Begin(const ConnectPacket& connect) {
    RawClient client(broker_->port());
    client.Send(connect.Encode());
    return client;
  }
  static Packet ExpectAuth(RawClient& client, unsigned reason, Where where = Where::current()) {
    Packet packet = client.Expect(kAuth, where);
    if (packet.reason != reason) support::Fail("other code: " + packet.ToString(), where);
    return packet;
  }
  // The connection ends, before CONNACK 0x00: with a CONNACK that refuses, or with nothing.
  static void ExpectRefused(RawClient& client, Where where = Where::current()) {
    const std::optional<Packet> packet = client.Read(where);
    if (!packet) return;
    if (packet->type != kConnack || packet->reason < 0x80)
      support::Fail("got " + packet->ToString(), where);
    client.ExpectClosed(where);
  }

  static std::unique_ptr<BrokerWithMethod> broker_;
};
std::unique_ptr<BrokerWithMethod> EnhancedAuth::broker_;

TEST_F(EnhancedAuth, MQTT5_4_12_0_1) {
  RawClient client = Begin(With("0", "OTHER"));
  client.ExpectConnack(0x8C);
  client.ExpectClosed();
}

TEST_F(EnhancedAuth, MQTT5_4_12_0_2) {
  RawClient client = Begin(With("2"));
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(ExpectAuth(client, kContinue).Text(kAuthenticationData), "challenge");
    client.Send(Auth(kContinue, Method("go on")));
  }
  EXPECT_EQ(client.ExpectConnack().Text(kAuthenticationData), "welcome");
  client.ExpectNothing();
}

// Another code than 0x18 in the middle is a Protocol Error.
TEST_F(EnhancedAuth, MQTT5_4_12_0_3) {
  for (const unsigned reason : {0x00U, kAgain}) {
    RawClient client = Begin(With("1"));
    ExpectAuth(client, kContinue);
    client.Send(Auth(reason, Method("go on")));
    ExpectRefused(client);
  }
}

TEST_F(EnhancedAuth, MQTT5_4_12_0_4) {
  {
    RawClient client = Begin(With("no"));
    client.ExpectConnack(0x87);
    client.ExpectClosed();
  }
  RawClient client = Begin(With("1"));
  ExpectAuth(client, kContinue);
  client.Send(Auth(kContinue, Method("no")));
  client.ExpectConnack(0x87);
  client.ExpectClosed();
}

TEST_F(EnhancedAuth, MQTT5_4_12_0_5) {
  {
    RawClient client = Begin(With("1"));
    EXPECT_EQ(ExpectAuth(client, kContinue).Text(kAuthenticationMethod), "COUNT");
    client.Send(Auth(kContinue, Method("go on")));
    EXPECT_EQ(client.ExpectConnack().Text(kAuthenticationMethod), "COUNT");
    client.Send(Auth(kAgain, Method("0")));
    EXPECT_EQ(ExpectAuth(client, 0).Text(kAuthenticationMethod), "COUNT");
  }
  for (const Properties& properties : {Method("go on", "OTHER"), Properties()}) {
    RawClient client = Begin(With("1"));
    ExpectAuth(client, kContinue);
    client.Send(Auth(kContinue, properties));
    ExpectRefused(client);
  }
}

TEST_F(EnhancedAuth, MQTT5_4_12_0_6) {
  RawClient client = Begin(Transient(kV5, "client"));
  const Packet connack = client.ExpectConnack();
  EXPECT_FALSE(connack.Has(kAuthenticationMethod));
  EXPECT_FALSE(connack.Has(kAuthenticationData));
  client.ExpectNothing();
}

TEST_F(EnhancedAuth, MQTT5_4_12_1_1) {
  {
    RawClient client = Begin(With("0"));
    client.ExpectConnack();
    client.Send(Auth(kAgain, Method("1")));
    ExpectAuth(client, kContinue);
    client.ExpectNothing();  // Everything else goes on meanwhile.
    client.Send(Auth(kContinue, Method("go on")));
    ExpectAuth(client, 0);
  }
  RawClient client = Begin(With("0"));
  client.ExpectConnack();
  client.Send(Auth(kAgain, Method("0", "OTHER")));
  client.ExpectDisconnect(0x82);
}

TEST_F(EnhancedAuth, MQTT5_4_12_1_2) {
  RawClient client = Begin(With("0"));
  client.ExpectConnack();
  client.Send(Auth(kAgain, Method("1")));
  ExpectAuth(client, kContinue);
  client.Send(Auth(kContinue, Method("no")));
  client.ExpectDisconnect(0x87);
}

// Before CONNACK only AUTH and DISCONNECT: any other packet ends the connection, and does nothing.
TEST_F(EnhancedAuth, MQTT5_3_1_2_30) {
  for (const std::string& bytes :
       {std::string(support::kPingreq), support::Subscribe(kV5, 1, {{Unique("t"), 0}}),
        PublishPacket{.topic = Unique("t"), .payload = "no", .retain = true}.Encode(kV5),
        With("0").Encode()}) {
    RawClient client = Begin(With("1"));
    ExpectAuth(client, kContinue);
    client.Send(bytes);
    ExpectRefused(client);
  }
  {
    RawClient client = Begin(With("1"));
    ExpectAuth(client, kContinue);
    client.Send(support::Disconnect(kV5));
    client.ExpectClosed();
  }
  RawClient watcher = Begin(Transient(kV5, "watcher"));
  watcher.ExpectConnack();
  watcher.Subscribe({{Unique("t"), 0}});
  ExpectEnd(watcher, watcher, Unique("t"), 0);
}

TEST_F(EnhancedAuth, MQTT5_3_15_2_1) {
  RawClient client = Begin(With("1"));
  EXPECT_EQ(client.Expect(kAuth).reason, kContinue);
  client.Send(Auth(kContinue, Method("go on")));
  client.ExpectConnack();
  client.Send(Auth(kAgain, Method("1")));
  EXPECT_EQ(client.Expect(kAuth).reason, kContinue);
  client.Send(Auth(kContinue, Method("go on")));
  EXPECT_EQ(client.Expect(kAuth).reason, 0x00);
}

// The method and its data fill the client's maximum to the byte: nothing is added, in the first
// exchange or in a later.
TEST_F(EnhancedAuth, MQTT5_3_15_2_2) {
  const auto size = static_cast<uint32_t>(Auth(kContinue, Method("challenge")).size());
  ConnectPacket connect = With("1");
  connect.properties.Number(kMaximumPacketSize, size);
  RawClient client = Begin(connect);
  const Packet packet = ExpectAuth(client, kContinue);
  EXPECT_EQ(packet.bytes, size);
  EXPECT_FALSE(packet.Has(kReasonString));
}
TEST_F(EnhancedAuth, MQTT5_3_15_2_3) {
  constexpr uint32_t kMaximum = 64;
  ConnectPacket connect = With("0");
  connect.properties.Number(kMaximumPacketSize, kMaximum);
  RawClient client = Begin(connect);
  client.ExpectConnack();
  client.Send(Auth(kAgain, Method("1")));
  EXPECT_LE(ExpectAuth(client, kContinue).bytes, kMaximum);
  client.Send(Auth(kContinue, Method("go on")));
  const Packet packet = ExpectAuth(client, 0);
  EXPECT_LE(packet.bytes, kMaximum);
  EXPECT_FALSE(packet.Has(kUserProperty));
}

}  // namespace
}  // namespace spec
