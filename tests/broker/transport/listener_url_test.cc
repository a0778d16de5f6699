#include "broker/transport/listener_url.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace broker {
namespace {

using Scheme = ListenerUrl::Scheme;
using testing::HasSubstr;

struct GoodRow {
  std::string text;
  ListenerUrl url;
  std::string canonical;
};

TEST(ListenerUrl, ReadsEachFormAndWritesItBack) {
  const std::string path(107, 'x');
  const std::vector<GoodRow> rows = {
      {"mqtt://127.0.0.1:1884", {Scheme::kMqtt, "127.0.0.1", 1884, ""}, "mqtt://127.0.0.1:1884"},
      {"mqtt://0.0.0.0", {Scheme::kMqtt, "0.0.0.0", 1883, ""}, "mqtt://0.0.0.0:1883"},
      {"mqtt://0.0.0.0/", {Scheme::kMqtt, "0.0.0.0", 1883, ""}, "mqtt://0.0.0.0:1883"},
      {"mqtts://broker.example",
       {Scheme::kMqtts, "broker.example", 8883, ""},
       "mqtts://broker.example:8883"},
      {"mqtt://[::1]:0", {Scheme::kMqtt, "::1", 0, ""}, "mqtt://[::1]:0"},
      {"mqtt://[2001:db8::1]",
       {Scheme::kMqtt, "2001:db8::1", 1883, ""},
       "mqtt://[2001:db8::1]:1883"},
      {"mqtt://*:1", {Scheme::kMqtt, "", 1, ""}, "mqtt://*:1"},
      {"mqtt://:65535", {Scheme::kMqtt, "", 65535, ""}, "mqtt://*:65535"},
      {"ws://localhost", {Scheme::kWs, "localhost", 8083, ""}, "ws://localhost:8083"},
      {"ws://localhost/", {Scheme::kWs, "localhost", 8083, "/"}, "ws://localhost:8083/"},
      {"wss://[::]/mqtt", {Scheme::kWss, "::", 8084, "/mqtt"}, "wss://[::]:8084/mqtt"},
      {"unix:/run/mqttd.sock", {Scheme::kUnix, "", 0, "/run/mqttd.sock"}, "unix:/run/mqttd.sock"},
      {"unix:///run/mqttd.sock", {Scheme::kUnix, "", 0, "/run/mqttd.sock"}, "unix:/run/mqttd.sock"},
      {"unix:/" + path.substr(1),
       {Scheme::kUnix, "", 0, "/" + path.substr(1)},
       "unix:/" + path.substr(1)},
  };
  for (const GoodRow& row : rows) {
    const auto url = ParseListenerUrl(row.text);
    ASSERT_TRUE(url.ok()) << row.text << ": " << url.status();
    EXPECT_EQ(*url, row.url) << row.text;
    EXPECT_EQ(url->ToString(), row.canonical);
    EXPECT_EQ(ParseListenerUrl(row.canonical).value(), *url);
  }
}

TEST(ListenerUrl, SaysWhatIsWrong) {
  const std::vector<std::pair<std::string, std::string>> rows = {
      {"", "begins with mqtt://"},
      {"127.0.0.1:1883", "begins with mqtt://"},
      {"tcp://127.0.0.1", "begins with mqtt://"},
      {"MQTT://127.0.0.1", "begins with mqtt://"},
      {"mqtt:127.0.0.1", "'//' is missing"},
      {"mqtt://127.0.0.1:", "port is not a number"},
      {"mqtt://127.0.0.1:65536", "port is not a number"},
      {"mqtt://127.0.0.1:-1", "port is not a number"},
      {"mqtt://127.0.0.1:18x", "port is not a number"},
      {"mqtt://256.0.0.1", "not a valid IPv4"},
      {"mqtt://1.2.3", "not a valid IPv4"},
      {"mqtt://::1", "written in '[' and ']'"},
      {"mqtt://[::1", "']' is missing"},
      {"mqtt://[::1]1883", "may follow ']'"},
      {"mqtt://[127.0.0.1]", "not an IPv6"},
      {"mqtt://a/b", "only ws and wss"},
      {"mqtt://user@host", "no user name"},
      {"mqtt://ho!st", "invalid character"},
      {"mqtt://host name", "blank"},
      {"ws://host/mqtt?x=1", "no query"},
      {"ws://host?x=1", "no query"},
      {"ws://host/#a", "no fragment"},
      {"unix:relative", "absolute"},
      {"unix:", "absolute"},
      {"unix:/run/", "names a directory"},
      {"unix:/" + std::string(107, 'x'), "at most 107"},
      {std::string("unix:/a\0b", 9), "blank"},
  };
  for (const auto& [text, words] : rows) {
    const auto url = ParseListenerUrl(text);
    ASSERT_FALSE(url.ok()) << text;
    EXPECT_EQ(url.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(url.status().message()), HasSubstr(words));
    EXPECT_THAT(std::string(url.status().message()), HasSubstr("'" + text + "'"));
  }
}

TEST(ListenerUrl, KnowsWhatOnlyThisMachineReaches) {
  for (const char* text :
       {"mqtt://127.0.0.1", "mqtt://127.8.8.8", "ws://localhost", "mqtt://[::1]", "unix:/run/x"}) {
    EXPECT_TRUE(ParseListenerUrl(text)->loopback()) << text;
  }
  for (const char* text : {"mqtt://0.0.0.0", "mqtt://*", "mqtt://[::]", "mqtt://192.0.2.1",
                           "mqtt://127.example.org"}) {
    EXPECT_FALSE(ParseListenerUrl(text)->loopback()) << text;
  }
}

}  // namespace
}  // namespace broker
