#include "admin/api/http_api.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "admin/api/access.h"
#include "admin/api/calls.h"
#include "mqttd/admin/v1/metrics.pb.h"
#include "tests/support/fake_clock.h"

namespace admin {
namespace {

using testing::HasSubstr;

// What the server at that address says to a call of Metrics/List.
std::string Post(const std::string& address) {
  int port = 0;
  EXPECT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1), &port)) << address;
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to)), 0);
  const std::string request = absl::StrCat("POST /api/v1/Metrics/List HTTP/1.1\r\nHost: ", address,
                                           "\r\nContent-Type: application/json\r\n",
                                           "Content-Length: 2\r\nConnection: close\r\n\r\n{}");
  EXPECT_EQ(send(fd, request.data(), request.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t count = 0; (count = recv(fd, buffer, sizeof(buffer), 0)) > 0;)
    answer.append(buffer, static_cast<size_t>(count));
  close(fd);
  return answer;
}

TEST(HttpApi, WhatNobodyWaitsForKeepsNoPlaceAndIsBounded) {
  const support::FakeClock clock;
  const auto table = AccessTable::Load({});
  ASSERT_TRUE(table.ok()) << table.status();
  const Access access(*table);
  Calls calls(access, clock,
              {.calls_max = 1, .left_behind_max = 2, .patience = absl::Milliseconds(20)},
              [] { return "the store's thread has not answered for 41 s"; });
  std::vector<Reply<pb::ListMetricsResponse>> unanswered;
  Methods methods;
  methods.Add<pb::ListMetricsRequest, pb::ListMetricsResponse>(
      "mqttd.admin.v1.Metrics", "List",
      [&](const Caller&, const pb::ListMetricsRequest&, Reply<pb::ListMetricsResponse> reply) {
        unanswered.push_back(std::move(reply));  // All on the server's thread.
      });
  HttpApi api(methods, calls);
  const auto server = HttpServer::Start({.address = "127.0.0.1", .calls = &api},
                                        [](const HttpRequest&) { return HttpResponse(); });
  ASSERT_TRUE(server.ok()) << server.status();
  for (uint64_t i = 1; i <= 2; ++i) {
    EXPECT_THAT(Post((*server)->address()), HasSubstr("the store's thread has not answered"));
    EXPECT_EQ(calls.view().left_behind, i);
    EXPECT_EQ(calls.view().calls, 0u);
  }
  EXPECT_THAT(Post((*server)->address()), HasSubstr("2 calls of Metrics/List"));
  for (const auto& reply : unanswered) reply(pb::ListMetricsResponse());
  EXPECT_EQ(calls.view().left_behind, 0u);
}

}  // namespace
}  // namespace admin
