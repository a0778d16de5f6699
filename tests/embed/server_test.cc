// The embedded server's life, and its own messages.
#include "embed/server.h"

#include <netinet/in.h>
#include <sys/socket.h>

#include <atomic>
#include <fstream>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "tests/embed/embedded.h"

namespace mqttd {
namespace {

using support::PublishPacket;
using support::RawClient;
using enum support::PacketType;

using ServerTest = EmbeddedTest;

// Calls of `Publish` and the like, as one that waits.
class Outcome {
 public:
  Done done() {
    return [this](absl::Status status) { came_.Put(std::move(status)); };
  }
  absl::Status Take() { return came_.Take(); }

 private:
  Inbox<absl::Status> came_;
};

TEST_F(ServerTest, ServesUntilItIsShutDownAndSaysSo) {
  Start();
  auto waits = std::async(std::launch::async, [this] { return server_->Wait(); });
  RawClient client = Join("client");
  EXPECT_EQ(server_->GetStatistics().clients, 1u);
  EXPECT_EQ(server_->Shutdown(), absl::OkStatus());
  client.ExpectDisconnect(0x8B);
  EXPECT_TRUE(IsServerClosed(waits.get()));
  EXPECT_TRUE(IsServerClosed(server_->Wait()));
  EXPECT_EQ(server_->Shutdown(), absl::OkStatus());
  EXPECT_EQ(server_->Start().code(), absl::StatusCode::kFailedPrecondition);
}

// As on a signal that comes before the server is up.
TEST_F(ServerTest, WhatWasShutDownBeforeItStartedIsClosed) {
  Server server(options_);
  EXPECT_EQ(server.Shutdown(), absl::OkStatus());
  EXPECT_TRUE(IsServerClosed(server.Start()));
  EXPECT_TRUE(IsServerClosed(server.ListenAndServe()));
  EXPECT_TRUE(IsServerClosed(server.ListenAndServe("mqtt://127.0.0.1:0")));
}

// Whoever waits still reads how it ended: the sanitizers see who reads too late.
TEST_F(ServerTest, GoesWhenThoseWhoWaitHaveReturned) {
  constexpr size_t kThreads = 4;
  for (int round = 0; round < 3; ++round) {
    Start();
    std::vector<std::thread> threads;
    std::atomic<size_t> closed{0};
    Server& server = *server_;
    for (size_t i = 0; i < kThreads; ++i) {
      threads.emplace_back([&] {
        if (IsServerClosed(server.ListenAndServe("mqtt://127.0.0.1:0"))) ++closed;
      });
    }
    while (server.urls().size() != 1 + kThreads) std::this_thread::yield();
    server_.reset();
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(closed, kThreads);
  }
}

TEST_F(ServerTest, ShutsDownAtItsDeadlineWhateverClientsDo) {
  options_.settings["broker.linger_timeout"] = "1h";
  Start();
  RawClient deaf = Join("deaf");  // Reads no DISCONNECT, and does not close.
  EXPECT_EQ(server_->Shutdown(absl::ZeroDuration()), absl::OkStatus());
}

TEST_F(ServerTest, ServesOnAGivenSocket) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ASSERT_EQ(listen(fd, 16), 0);
  socklen_t length = sizeof(address);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length);
  Server server(options_);
  auto serves = std::async(std::launch::async, [&] { return server.Serve(fd); });
  {
    RawClient client(ntohs(address.sin_port), {.client_id = "client"});
    client.ExpectNothing();
  }
  EXPECT_EQ(server.Shutdown(), absl::OkStatus());
  EXPECT_TRUE(IsServerClosed(serves.get()));
}

TEST_F(ServerTest, SaysWhatIsWrongWithItsOptions) {
  options_.listeners = {{.url = "mqtt://127.0.0.1:0"}, {.url = "mqtts://127.0.0.1:0"}};
  Server without_certificate(options_);
  const absl::Status no_certificate = without_certificate.Start();
  EXPECT_NE(no_certificate.message().find("cert"), absl::string_view::npos) << no_certificate;
  options_.listeners.resize(1);
  options_.settings["broker.shrads"] = "1";
  Server misspelt(options_);
  const absl::Status status = misspelt.ListenAndServe();
  EXPECT_NE(status.message().find("broker.shards"), absl::string_view::npos) << status;
  EXPECT_FALSE(IsServerClosed(status));
}

TEST_F(ServerTest, PublishesAndSubscribesWithoutASocket) {
  // Of no concern to what the process itself does.
  hooks_.on_publish = [](const auto&, const auto&, const auto& reply) {
    reply(PublishDecision::Pass());
  };
  hooks_.on_deliver = [](const auto&, const auto&) { return true; };
  hooks_.on_subscribe = [](const auto&, const auto&, const auto& reply) { reply({}); };
  Start();
  Outcome outcome;
  Inbox<client::ReceivedMessage> came;
  server_->Subscribe(
      {"in/#", {.qos = mqtt::QoS::kAtLeastOnce}},
      [&](const client::ReceivedMessage& message) { came.Put(message); }, outcome.done());
  EXPECT_EQ(outcome.Take(), absl::OkStatus());
  RawClient client = Join("client");
  client.Subscribe({{"out", 1}});
  client.Publish({.topic = "in/1", .payload = "hello", .qos = 1});
  EXPECT_EQ(came.Take().payload, "hello");
  Message message{.topic = "out", .payload = "answer", .qos = mqtt::QoS::kAtLeastOnce};
  server_->Publish(message, outcome.done());
  EXPECT_EQ(outcome.Take(), absl::OkStatus());
  client.Acknowledge(client.ExpectPublish("out", "answer"));
  message = {.topic = "kept", .payload = "r", .qos = mqtt::QoS::kExactlyOnce, .retain = true};
  server_->Publish(message, outcome.done());
  EXPECT_EQ(outcome.Take(), absl::OkStatus());
  server_->Unsubscribe("in/#", outcome.done());
  EXPECT_EQ(outcome.Take(), absl::OkStatus());
  server_->Publish({.topic = "bad/#"}, outcome.done());
  EXPECT_EQ(outcome.Take().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ServerTest, ItsOwnMessagesKeepTheirOrderAndAllArrive) {
  Start();
  RawClient client = Join("client");
  client.Subscribe({{"t", 0}});
  constexpr int kMessages = 3000;  // More than the pipe holds at once.
  for (int i = 0; i < kMessages; ++i) {
    Message message{.topic = "t", .payload = std::to_string(i) + std::string(300, '.')};
    message.qos = mqtt::QoS::kAtLeastOnce;
    server_->Publish(message);
  }
  for (int i = 0; i < kMessages; ++i) {
    const support::Packet packet = client.Expect(kPublish);
    ASSERT_EQ(std::stoi(packet.payload), i);
  }
}

TEST_F(ServerTest, AHandlerThatThrowsGetsTheNextMessage) {
  Start();
  Outcome outcome;
  Inbox<std::string> came;
  server_->Subscribe(
      {"t", {}},
      [&](const client::ReceivedMessage& message) {
        came.Put(message.payload);
        throw 1;
      },
      outcome.done());
  EXPECT_EQ(outcome.Take(), absl::OkStatus());
  server_->Publish({.topic = "t", .payload = "1"});
  server_->Publish({.topic = "t", .payload = "2"});
  EXPECT_EQ(came.Take(), "1");
  EXPECT_EQ(came.Take(), "2");
}

TEST_F(ServerTest, WhatIsNotRunningPublishesNothing) {
  Server server(options_);
  Outcome outcome;
  server.Publish({.topic = "t"}, outcome.done());
  EXPECT_EQ(outcome.Take().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(server.Wait().code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(ServerTest, WhatWasStoredIsThereAtTheNextStart) {
  Start();
  Outcome outcome;
  server_->Publish(
      {.topic = "t", .payload = "kept", .qos = mqtt::QoS::kAtLeastOnce, .retain = true},
      outcome.done());
  EXPECT_EQ(outcome.Take(), absl::OkStatus());
  EXPECT_EQ(server_->Shutdown(), absl::OkStatus());
  Start();
  RawClient client = Join("client");
  client.Subscribe({{"t", 0}});
  client.ExpectPublish("t", "kept");
}

// While its clients stay, and those who come in elsewhere do not notice.
TEST_F(ServerTest, ListenersComeAndGo) {
  Start();
  RawClient first = Join("first");
  const auto port_of = [](const std::string& url) {
    return static_cast<uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
  };
  const std::string path = directory_.path() + "/socket";
  for (int round = 0; round < 3; ++round) {
    const auto second = server_->Listen({.url = "mqtt://127.0.0.1:0"});
    ASSERT_TRUE(second.ok()) << second.status();
    const auto local = server_->Listen({.url = "unix:" + path});
    ASSERT_TRUE(local.ok()) << local.status();
    EXPECT_EQ(server_->urls().size(), 3u);
    EXPECT_EQ(server_->Listen({.url = "unix:" + path}).status().code(),
              absl::StatusCode::kAlreadyExists);
    RawClient late(port_of(*second), {.client_id = "late"});
    late.Subscribe({{"t", 0}});
    EXPECT_EQ(server_->CloseListener(*second), absl::OkStatus());
    EXPECT_EQ(server_->CloseListener(*second).code(), absl::StatusCode::kNotFound);
    EXPECT_EQ(server_->CloseListener(*local), absl::OkStatus());
    first.Send(PublishPacket{.topic = "t", .payload = "x"});
    late.ExpectPublish("t", "x");
    EXPECT_EQ(server_->urls().size(), 1u);
    EXPECT_EQ(server_->Reload(), absl::OkStatus());
    late.Disconnect();
  }
  EXPECT_FALSE(server_->Listen({.url = "mqtt://nonsense:port"}).ok());
  Join("third");
  EXPECT_EQ(server_->Shutdown(), absl::OkStatus());
  EXPECT_EQ(server_->Listen({.url = "mqtt://127.0.0.1:0"}).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(ServerTest, AReloadReachesListenersThatCameLater) {
  const std::string acl = directory_.path() + "/acl";
  std::ofstream(acl) << "topic read t\n";
  options_.settings["auth.acl_file"] = acl;
  Start();
  const auto second = server_->Listen({.url = "mqtt://127.0.0.1:0"});
  ASSERT_TRUE(second.ok()) << second.status();
  port_ = static_cast<uint16_t>(std::stoi(second->substr(second->rfind(':') + 1)));
  Join("before").Subscribe({{"t", 0}});
  std::ofstream(acl) << "topic read other\n";
  EXPECT_EQ(server_->Reload(), absl::OkStatus());
  RawClient after = Join("after");
  after.Send(support::Subscribe(support::Version::k5, 1, {{"t", 0}}));
  EXPECT_EQ(after.Expect(kSuback).reasons, std::vector<uint8_t>{0x87});
}

// A second one serves beside the first, as with several goroutines in Go.
TEST_F(ServerTest, ServesOnAnotherAddressWhileItServes) {
  Start();
  const std::string path = directory_.path() + "/socket";
  absl::Status ended;
  std::thread serving([&] { ended = server_->ListenAndServe("unix:" + path); });
  while (server_->urls().size() != 2) std::this_thread::yield();
  EXPECT_EQ(server_->urls().at(1), "unix:" + path);
  EXPECT_EQ(server_->Shutdown(), absl::OkStatus());
  serving.join();
  EXPECT_TRUE(IsServerClosed(ended)) << ended;
}

}  // namespace
}  // namespace mqttd
