// The endpoint over real sockets, and its routes.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "admin/endpoint.h"
#include "admin/http_server.h"
#include "storage/core/metrics.h"
#include "tests/support/fake_clock.h"

namespace admin {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// A blocking client of a server on 127.0.0.1.
class Client {
 public:
  explicit Client(const HttpServer& server) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    int port = 0;
    const std::string& address = server.address();
    EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port)) << address;
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(static_cast<uint16_t>(port));
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
  }
  ~Client() { close(fd_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void Send(const std::string& text) {
    EXPECT_EQ(send(fd_, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }

  // Until the server closes.
  std::string ReadAll() {
    std::string text;
    char buffer[4096];
    for (ssize_t count = 0; (count = recv(fd_, buffer, sizeof(buffer), 0)) > 0;) {
      text.append(buffer, static_cast<size_t>(count));
    }
    return text;
  }

  // Until `end` was read.
  std::string ReadUntil(absl::string_view end) {
    std::string text;
    char c = 0;
    while (!absl::EndsWith(text, end) && recv(fd_, &c, 1, 0) == 1) text += c;
    return text;
  }

 private:
  int fd_;
};

std::unique_ptr<HttpServer> Serve(HttpServerOptions options = {}) {
  options.address = "127.0.0.1";
  auto server = HttpServer::Start(options, [](const HttpRequest& request) {
    HttpResponse response;
    response.body = absl::StrCat("you asked for ", request.path);
    return response;
  });
  EXPECT_TRUE(server.ok()) << server.status();
  return *std::move(server);
}

std::string Ask(const HttpServer& server, const std::string& request) {
  Client client(server);
  client.Send(request);
  return client.ReadAll();
}

TEST(HttpServer, AnswersAGet) {
  const auto server = Serve();
  EXPECT_THAT(Ask(*server, "GET /a?b=c HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("Content-Length: 16\r\n"),
                    EndsWith("\r\n\r\nyou asked for /a")));
}

// Those who connect and say nothing, or half of something, make room for who has a question.
TEST(HttpServer, SilentConnectionsShutNobodyOut) {
  HttpServerOptions options;
  options.connections_max = 4;
  const auto server = Serve(options);
  std::vector<std::unique_ptr<Client>> silent;
  for (int i = 0; i < 20; ++i) {
    silent.push_back(std::make_unique<Client>(*server));
    if (i % 2 == 0) silent.back()->Send("GET /half HTTP/1.1\r\n");
  }
  EXPECT_THAT(Ask(*server, "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              EndsWith("you asked for /a"));
  EXPECT_EQ(silent.front()->ReadAll(), "");  // It has been there for longest.
}

// Nor those who have asked and keep their place, or do not read what they asked for.
TEST(HttpServer, ConnectionsThatNobodyGoesOnWithShutNobodyOut) {
  HttpServerOptions options;
  options.connections_max = 4;
  const auto server = Serve(options);
  std::vector<std::unique_ptr<Client>> kept;
  for (int i = 0; i < 4; ++i) {
    kept.push_back(std::make_unique<Client>(*server));
    kept.back()->Send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n");
    kept.back()->ReadUntil("asked for /a");
  }
  EXPECT_THAT(Ask(*server, "GET /b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              EndsWith("you asked for /b"));
  EXPECT_EQ(kept.front()->ReadAll(), "");  // It has been idle for longest.
}

TEST(HttpServer, AnswersHeadWithTheLengthAndNoBody) {
  const auto server = Serve();
  EXPECT_THAT(Ask(*server, "HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              AllOf(HasSubstr("Content-Length: 16\r\n"), EndsWith("\r\n\r\n")));
}

TEST(HttpServer, KeepsAConnectionForFurtherRequests) {
  const auto server = Serve();
  Client client(*server);
  client.Send("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(client.ReadUntil("asked for /a"), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(client.ReadUntil("asked for /b"), StartsWith("HTTP/1.1 200"));
}

TEST(HttpServer, ClosesAfterHttp10) {
  const auto server = Serve();
  EXPECT_THAT(Ask(*server, "GET / HTTP/1.0\r\n\r\n"), StartsWith("HTTP/1.0 200"));
}

TEST(HttpServer, RefusesOtherMethodsBodiesAndHeaps) {
  const auto server = Serve();
  EXPECT_THAT(Ask(*server, "DELETE / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("Allow: GET, HEAD\r\n")));
  EXPECT_THAT(Ask(*server, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
              StartsWith("HTTP/1.1 413 "));
  EXPECT_THAT(Ask(*server, "GET / HTTP/1.1\r\nX: " + std::string(8300, 'a')),
              StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(Ask(*server, "\x10\x0c not http\r\n\r\n"), StartsWith("HTTP/1.1 400 "));
}

TEST(HttpServer, ClosesWhoSaysNothingInTime) {
  HttpServerOptions options;
  options.request_timeout = absl::Milliseconds(20);
  const auto server = Serve(options);
  Client client(*server);
  client.Send("GET / HT");
  EXPECT_THAT(client.ReadAll(), IsEmpty());
}

// Takes every request; another thread writes the stream that the server's begins, before the server
// comes to do anything of either.
class CallsOfTwoThreads final : public HttpCalls {
 public:
  bool Takes(const HttpRequest& /*request*/) const override { return true; }
  std::unique_ptr<HttpCall> Begin(const HttpRequest& /*request*/,
                                  HttpResponse& /*answer*/) override {
    return std::make_unique<Stream>();
  }
  HttpResponse Refuse(int status, absl::string_view /*why*/) const override { return {status}; }

 private:
  class Stream final : public HttpCall {
   public:
    void Run(std::string /*body*/, std::shared_ptr<HttpExchange> exchange) override {
      exchange->BeginStream("text/event-stream");
      std::thread([&exchange] {
        exchange->Write([] { return std::string("data: 1"); }, [](bool) {});
        exchange->EndStream();
      }).join();
    }
  };
};

TEST(HttpServer, AStreamBeginsWithItsHeaderWhicheverThreadWrites) {
  CallsOfTwoThreads calls;
  HttpServerOptions options;
  options.calls = &calls;
  const auto server = Serve(options);
  EXPECT_THAT(Ask(*server, "POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), EndsWith("7\r\ndata: 1\r\n0\r\n\r\n")));
}

// Has the same to say to each call.
class RefusedCalls final : public HttpCalls {
 public:
  bool Takes(const HttpRequest& request) const override {
    return absl::StartsWith(request.path, "/api/");
  }
  std::unique_ptr<HttpCall> Begin(const HttpRequest& /*request*/, HttpResponse& answer) override {
    answer = {404, "application/json", "{}\n"};
    return nullptr;
  }
  HttpResponse Refuse(int status, absl::string_view why) const override {
    return {status, "application/json", absl::StrCat("{\"message\":\"", why, "\"}\n")};
  }
};

// A call's errors are of the one form that callers read.
TEST(HttpServer, WhatCannotBeReadIsRefusedInTheFormOfItsPath) {
  RefusedCalls calls;
  HttpServerOptions options;
  options.calls = &calls;
  options.body_bytes_max = 100;
  const auto server = Serve(options);
  const auto refused = [&](const std::string& path, const std::string& rest) {
    return Ask(*server, "POST " + path + " HTTP/1.1\r\n" + rest);
  };
  const std::string large_header = "X: " + std::string(8300, 'a');
  const std::string large_body = "Host: x\r\nContent-Length: 101\r\n\r\n";
  const std::string no_header = "what is this\r\n\r\n";
  const std::string json = "Content-Type: application/json\r\n";
  EXPECT_THAT(refused("/api/x", large_header),
              AllOf(StartsWith("HTTP/1.1 431 "), HasSubstr(json),
                    EndsWith("{\"message\":\"the header is too large\"}\n")));
  EXPECT_THAT(refused("/api/x", large_body),
              AllOf(StartsWith("HTTP/1.1 413 "), HasSubstr(json),
                    EndsWith("{\"message\":\"the body is too large\"}\n")));
  EXPECT_THAT(refused("/api/x", no_header),
              AllOf(StartsWith("HTTP/1.1 400 "), HasSubstr(json),
                    EndsWith("{\"message\":\"this is not HTTP\"}\n")));
  for (const std::string& rest : {large_header, large_body, no_header}) {
    EXPECT_THAT(refused("/x", rest),
                AllOf(HasSubstr("Content-Type: text/plain"), testing::Not(HasSubstr("message"))));
  }
}

// Or it would be taken for the beginning of the next answer.
TEST(HttpServer, HeadGetsNoBodyWhateverIsAsked) {
  RefusedCalls calls;
  HttpServerOptions options;
  options.calls = &calls;
  const auto server = Serve(options);
  EXPECT_THAT(Ask(*server,
                  "HEAD /api/x HTTP/1.1\r\nHost: x\r\n\r\n"
                  "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 404 "), HasSubstr("Content-Length: 3\r\n"),
                    HasSubstr("\r\n\r\nHTTP/1.1 200 OK\r\n"), EndsWith("you asked for /a")));
  EXPECT_THAT(Ask(*server, "HEAD /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"),
              AllOf(StartsWith("HTTP/1.1 413 "), EndsWith("\r\n\r\n")));
}

TEST(HttpServer, EndsWithConnectionsOpen) {
  auto server = Serve();
  Client idle(*server);
  Client half(*server);
  half.Send("GET / HT");
  server.reset();
  EXPECT_THAT(half.ReadAll(), IsEmpty());
}

TEST(HttpServer, SaysWhyItCannotListen) {
  const auto server = Serve();
  HttpServerOptions options;
  options.address = "127.0.0.1";
  int port = 0;
  ASSERT_TRUE(absl::SimpleAtoi(server->address().substr(10), &port));
  options.port = static_cast<uint16_t>(port);
  const absl::Status taken = HttpServer::Start(options, {}).status();
  EXPECT_EQ(taken.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(taken.message()),
              HasSubstr("cannot listen on " + server->address() + ": "));
  options.address = "here";
  EXPECT_EQ(HttpServer::Start(options, {}).status().code(), absl::StatusCode::kInvalidArgument);
}

// ---- Routes.

class RouteTest : public testing::Test {
 protected:
  HttpResponse Get(const std::string& path) {
    HttpRequest request;
    request.path = path;
    return Route(request, sources_);
  }

  support::FakeClock clock_;
  Readiness readiness_;
  broker::MetricsSnapshot snapshot_{.started = clock_.Now()};
  EndpointSources sources_ = {.metrics = [this] { return snapshot_; },
                              .readiness = &readiness_,
                              .clock = &clock_,
                              .node_id = [] { return std::string("n-1"); }};
};

TEST_F(RouteTest, TheProcessIsHealthyWhileItStarts) {
  EXPECT_EQ(Get("/healthz").status, 200);
  EXPECT_EQ(Get("/healthz").body, "ok\n");
}

TEST_F(RouteTest, AProcessWithAShardThatIsStuckIsNotHealthy) {
  snapshot_.stall = {.shard = 1, .seconds = 29, .stuck = false};
  EXPECT_EQ(Get("/healthz").status, 200);
  snapshot_.stall = {.shard = 1, .seconds = 30, .stuck = true};
  EXPECT_EQ(Get("/healthz").status, 503);
  EXPECT_EQ(Get("/healthz").body, "shard 1 has been stuck for 30 s\n");
}

TEST_F(RouteTest, ReadinessFollowsTheBrokerAndSaysWhy) {
  EXPECT_EQ(Get("/readyz").status, 503);
  EXPECT_EQ(Get("/readyz").body, "starting\n");
  readiness_.Set(Readiness::State::kReady, "ready");
  EXPECT_EQ(Get("/readyz").status, 200);
  readiness_.Set(Readiness::State::kDraining, "stopping");
  EXPECT_EQ(Get("/readyz").status, 503);
  EXPECT_EQ(Get("/readyz").body, "stopping\n");
}

TEST_F(RouteTest, WhoReplacesOneNodeAfterTheOtherIsStoppedWhereReplicasAreLost) {
  EXPECT_EQ(Get("/readyz/replicas").status, 503);
  EXPECT_EQ(Get("/readyz/replicas").body, "starting\n");
  readiness_.Set(Readiness::State::kReady, "ready");
  EXPECT_EQ(Get("/readyz/replicas").status, 200);
  base::ClusterView cluster;
  cluster.holds_lease = true;
  sources_.cluster = [&cluster] { return cluster; };
  EXPECT_EQ(Get("/readyz/replicas").status, 200);
  EXPECT_THAT(Get("/metrics").body, HasSubstr("\nmqttd_cluster_replicas_lost 0\n"));
  cluster.lost = "those of node 3 are lost";
  cluster.replicas_lost = 16;
  EXPECT_EQ(Get("/readyz/replicas").status, 503);
  EXPECT_EQ(Get("/readyz/replicas").body, "those of node 3 are lost\n");
  EXPECT_EQ(Get("/readyz").status, 200);  // Clients are served.
  EXPECT_THAT(Get("/metrics").body, HasSubstr("\nmqttd_ready 1\n"));
  EXPECT_THAT(Get("/metrics").body, HasSubstr("\nmqttd_cluster_replicas_lost 16\n"));
  snapshot_.memory.high = true;
  EXPECT_EQ(Get("/readyz/replicas").body, "memory is short\n");
  snapshot_.memory.high = false;
  cluster.holds_lease = false;  // Whoever reaches this node alone is served by it.
  EXPECT_EQ(Get("/readyz/replicas").status, 200);
}

TEST_F(RouteTest, ABrokerThatSendsItsClientsAwaySaysSoInItsMetrics) {
  readiness_.Set(Readiness::State::kReady, "ready");
  EXPECT_THAT(Get("/metrics").body, testing::HasSubstr("mqttd_draining 0\n"));
  readiness_.Set(Readiness::State::kDraining, "draining: 3 connections left");
  EXPECT_THAT(Get("/metrics").body, testing::HasSubstr("mqttd_draining 1\n"));
}

TEST_F(RouteTest, ABrokerShortOfMemoryIsNotReadyForMoreClients) {
  readiness_.Set(Readiness::State::kReady, "ready");
  snapshot_.memory.high = true;
  EXPECT_EQ(Get("/readyz").status, 503);
  EXPECT_EQ(Get("/readyz").body, "memory is short\n");
  EXPECT_EQ(Get("/healthz").status, 200);
  EXPECT_THAT(Get("/metrics").body, HasSubstr("\nmqttd_ready 0\n"));
  snapshot_.memory.high = false;
  EXPECT_EQ(Get("/readyz").status, 200);
  EXPECT_THAT(Get("/metrics").body, HasSubstr("\nmqttd_ready 1\n"));
}

TEST_F(RouteTest, ABrokerThatCannotStoreIsNotReadyUntilItCan) {
  readiness_.Set(Readiness::State::kReady, "ready");
  storage::HostMetrics storage;
  snapshot_.storage = &storage;
  storage.state_healthy.Set(1);
  storage.log_healthy.Set(0);
  EXPECT_EQ(Get("/readyz").status, 503);
  EXPECT_EQ(Get("/readyz").body,
            "the log cannot be written: the disk is full, read-only or failing\n");
  EXPECT_EQ(Get("/healthz").status, 200);
  storage.log_healthy.Set(1);
  EXPECT_EQ(Get("/readyz").status, 200);
  storage.state_healthy.Set(0);
  EXPECT_EQ(Get("/readyz").body,
            "the state cannot be written or read: the disk is full, read-only or failing\n");
  storage.state_healthy.Set(1);
  storage.partitions_stopped.Set(2);
  EXPECT_EQ(Get("/readyz").status, 503);
  EXPECT_EQ(Get("/readyz").body,
            "2 partitions stand still: a newer release of mqttd wrote what this one cannot read. "
            "Start that release; nothing is lost. The log says more\n");
  storage.partitions_stopped.Set(0);
  storage.damaged.Set(1);
  EXPECT_EQ(Get("/readyz").status, 503);
  storage.damaged.Set(0);
  storage.disk_low.Set(1);
  EXPECT_EQ(Get("/readyz").status, 503);
  EXPECT_EQ(Get("/readyz").body, "the disk is nearly full\n");
}

TEST_F(RouteTest, ThePageForPeopleEscapesWhatItShows) {
  snapshot_.listeners.push_back({.url = "ws://h/<b>&", .connections = 3});
  clock_.Advance(absl::Seconds(90));
  const HttpResponse page = Get("/");
  EXPECT_EQ(page.content_type, "text/html; charset=utf-8");
  EXPECT_THAT(page.body, HasSubstr("<td>ws://h/&lt;b&gt;&amp;</td><td>3 connections</td>"));
  EXPECT_THAT(page.body, HasSubstr("Node n-1, up 1m30s"));
}

TEST_F(RouteTest, MetricsHavePrometheusContentType) {
  EXPECT_EQ(Get("/metrics").content_type, "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_THAT(Get("/metrics").body, HasSubstr("mqttd_info{version="));
}

TEST_F(RouteTest, NothingElseIsThere) { EXPECT_EQ(Get("/metrics/").status, 404); }

TEST_F(RouteTest, OffMeansNoServer) {
  const auto none = StartEndpoint({.listen = "off"}, sources_);
  ASSERT_TRUE(none.ok());
  EXPECT_EQ(*none, nullptr);
  const auto some = StartEndpoint({.listen = "127.0.0.1:0"}, sources_);
  ASSERT_TRUE(some.ok()) << some.status();
  EXPECT_THAT(Ask(**some, "GET /healthz HTTP/1.0\r\n\r\n"), EndsWith("\r\n\r\nok\n"));
}

}  // namespace
}  // namespace admin
