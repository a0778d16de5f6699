#include "broker/transport/websocket_upgrade.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace broker {
namespace {

using State = UpgradeResult::State;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

const char kRequest[] =
    "GET /mqtt HTTP/1.1\r\n"
    "Host: broker.example\r\n"
    "Upgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: mqtt\r\n"
    "\r\n";

std::string With(const std::string& from, const std::string& to) {
  std::string request = kRequest;
  return request.replace(request.find(from), from.size(), to);
}

TEST(WebSocketUpgrade, AcceptIsThatOfTheSpecificationsExample) {
  EXPECT_EQ(WebSocketAccept("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

TEST(WebSocketUpgrade, AnswersOnceTheRequestIsComplete) {
  const std::string request = kRequest;
  for (size_t size = 0; size < request.size(); ++size) {
    ASSERT_EQ(AnswerUpgrade(request.substr(0, size), "/mqtt").state, State::kNeedMore);
  }
  const UpgradeResult result = AnswerUpgrade(request + "\x82\x80", "/mqtt");
  ASSERT_EQ(result.state, State::kAccepted);
  EXPECT_EQ(result.bytes, request.size());
  EXPECT_EQ(result.path, "/mqtt");
  EXPECT_EQ(result.response,
            "HTTP/1.1 101 Switching Protocols\r\n"
            "Upgrade: websocket\r\n"
            "Connection: Upgrade\r\n"
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            "Sec-WebSocket-Protocol: mqtt\r\n"
            "\r\n");
}

TEST(WebSocketUpgrade, OnlyPagesOfTheNamedOriginsMayConnectAndWhatIsNoPage) {
  constexpr std::string_view kOrigins = "https://a.example, https://b.example:8443,null";
  const auto answer = [&](const std::string& header, std::string_view origins) {
    return AnswerUpgrade(With("Host:", header + "Host:"), "/mqtt", origins);
  };
  for (const char* origin :
       {"https://a.example", "HTTPS://A.example", "https://b.example:8443", "null"}) {
    const std::string header = std::string("Origin: ").append(origin).append("\r\n");
    EXPECT_EQ(answer(header, kOrigins).state, State::kAccepted) << origin;
  }
  for (const char* origin : {"https://evil.example", "http://a.example", "https://b.example",
                             "https://a.example.evil", ""}) {
    const std::string header = std::string("origin: ").append(origin).append("\r\n");
    const UpgradeResult result = answer(header, kOrigins);
    EXPECT_EQ(result.state, State::kRefused) << origin;
    EXPECT_TRUE(result.origin_refused);
    EXPECT_THAT(result.response, StartsWith("HTTP/1.1 403 "));
    EXPECT_EQ(answer(header, "").state, State::kAccepted) << origin;
  }
  EXPECT_EQ(answer("", kOrigins).state, State::kAccepted);
  EXPECT_THAT(answer("Origin: https://a.example\r\nOrigin: null\r\n", kOrigins).response,
              StartsWith("HTTP/1.1 400 "));
}

TEST(WebSocketUpgrade, AcceptsWhatRealClientsVary) {
  const std::vector<std::string> requests = {
      With("Upgrade: websocket", "uPGRADE:\t WebSocket  "),
      With("Connection: Upgrade", "Connection: keep-alive, upgrade"),
      With("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"),
      With("Upgrade: websocket", "Upgrade: h2c, websocket"),
      With("Protocol: mqtt", "Protocol: other,mqtt"),
      With("Protocol: mqtt", "Protocol: other\r\nsec-websocket-protocol: mqtt"),
      With("/mqtt", "/mqtt?token=a/b"),
      With("/mqtt", "http://broker.example/mqtt"),
      With("/mqtt", "ws://broker.example:8083/mqtt?x"),
      With("Host: broker.example", "Host:"),
      With("Host:",
           "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
           "Origin: https://page.example\r\nContent-Length: 0\r\nHost:"),
  };
  for (const std::string& request : requests) {
    const UpgradeResult result = AnswerUpgrade(request, "/mqtt");
    EXPECT_EQ(result.state, State::kAccepted) << request << result.error;
    EXPECT_EQ(result.path, "/mqtt");
    EXPECT_THAT(result.response, testing::Not(HasSubstr("Extensions")));
  }
}

TEST(WebSocketUpgrade, ChoosesTheClientsFirstKnownSubprotocol) {
  EXPECT_THAT(AnswerUpgrade(With("Protocol: mqtt", "Protocol: mqttv3.1, mqtt"), "").response,
              HasSubstr("Protocol: mqttv3.1\r\n"));
  EXPECT_THAT(AnswerUpgrade(With("Protocol: mqtt", "Protocol: x, mqtt, mqttv3.1"), "").response,
              HasSubstr("Protocol: mqtt\r\n"));
}

TEST(WebSocketUpgrade, AnEmptyServedPathServesEveryPath) {
  for (const char* path : {"/", "/mqtt", "/a/b"}) {
    const UpgradeResult result = AnswerUpgrade(With("/mqtt", path), "");
    EXPECT_EQ(result.state, State::kAccepted);
    EXPECT_EQ(result.path, path);
  }
}

TEST(WebSocketUpgrade, RefusesWithTheRightStatus) {
  struct Row {
    std::string request;
    std::string status;
    std::string header;
  };
  const std::vector<Row> rows = {
      {With("GET", "POST"), "405 ", "Allow: GET\r\n"},
      {With("GET", "HEAD"), "405 ", "Allow: GET\r\n"},
      {With("/mqtt", "/other"), "404 ", ""},
      {With("/mqtt", "/mqtt/"), "404 ", ""},
      {With("/mqtt", "http://broker.example"), "404 ", ""},
      {With("Upgrade: websocket\r\n", ""), "426 ", "Upgrade: websocket\r\n"},
      {With("Upgrade: websocket", "Upgrade: h2c"), "426 ", "Upgrade: websocket\r\n"},
      {With("Version: 13", "Version: 8"), "426 ", "Sec-WebSocket-Version: 13\r\n"},
      {With("Sec-WebSocket-Version: 13\r\n", ""), "426 ", "Sec-WebSocket-Version: 13\r\n"},
      {With("Connection: Upgrade", "Connection: close"), "400 ", ""},
      {With("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), "400 ", ""},
      {With("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBs!SBub25jZQ=="), "400 ", ""},
      {With("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), "400 ", ""},
      {With("Host:", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nHost:"), "400 ", ""},
      {With("Host: broker.example\r\n", ""), "400 ", ""},
      {With("Host:", "Host: a\r\nHost:"), "400 ", ""},
      {With("Protocol: mqtt", "Protocol: chat"), "400 ", ""},
      {With("Protocol: mqtt", "Protocol: MQTT"), "400 ", ""},
      {With("Sec-WebSocket-Protocol: mqtt\r\n", ""), "400 ", ""},
      {With("Host:", "Content-Length: 3\r\nHost:"), "400 ", ""},
      {With("Host:", "Transfer-Encoding: chunked\r\nHost:"), "400 ", ""},
      {With("Host: ", "Host : "), "400 ", ""},
      {With("Host:", " folded\r\nHost:"), "400 ", ""},
      {With("Host:", "no colon\r\nHost:"), "400 ", ""},
      {With("Host:", ": no name\r\nHost:"), "400 ", ""},
      {With("broker.example\r\n", "broker.\nexample\r\n"), "400 ", ""},
      {With("GET /mqtt HTTP/1.1", "GET /mqtt"), "400 ", ""},
      {With("GET /mqtt HTTP/1.1", "GET mqtt HTTP/1.1"), "400 ", ""},
      {With("GET /mqtt HTTP/1.1", "GET  /mqtt HTTP/1.1"), "400 ", ""},
      {With("HTTP/1.1", "HTTP/1.0"), "505 ", ""},
      {With("HTTP/1.1", "HTTP/2.0"), "505 ", ""},
      {"\r\n\r\n", "400 ", ""},
      {"GET /" + std::string(kUpgradeRequestBytesMax, 'x'), "431 ", ""},
  };
  for (const Row& row : rows) {
    const UpgradeResult result = AnswerUpgrade(row.request, "/mqtt");
    EXPECT_EQ(result.state, State::kRefused) << row.request;
    EXPECT_THAT(result.response, StartsWith("HTTP/1.1 " + row.status)) << row.request;
    EXPECT_THAT(result.response, HasSubstr(row.header));
    EXPECT_THAT(result.response, HasSubstr("Connection: close\r\n"));
    EXPECT_THAT(result.response, EndsWith(std::string("\r\n\r\n") + result.error + "\n"));
    EXPECT_THAT(result.response,
                HasSubstr("Content-Length: " + std::to_string(strlen(result.error) + 1) + "\r\n"));
  }
}

TEST(WebSocketUpgrade, ARequestOfTheGreatestLengthIsAnswered) {
  const std::string request = kRequest;
  const std::string padding(kUpgradeRequestBytesMax - request.size() - 5, 'x');
  const std::string longest = With("Host:", "X: " + padding + "\r\nHost:");
  ASSERT_EQ(longest.size(), kUpgradeRequestBytesMax);
  EXPECT_EQ(AnswerUpgrade(longest, "").state, State::kAccepted);
}

}  // namespace
}  // namespace broker
