#include "client/core/endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace mqttd::client {
namespace {

struct Row {
  std::string url;
  std::string is;  // ToString of what it becomes.
};

class GoodEndpoint : public testing::TestWithParam<Row> {};

TEST_P(GoodEndpoint, IsTakenApart) {
  const auto endpoint = ParseEndpoint(GetParam().url);
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_EQ(endpoint->ToString(), GetParam().is);
  EXPECT_EQ(*ParseEndpoint(endpoint->ToString()), *endpoint);
}

INSTANTIATE_TEST_SUITE_P(
    All, GoodEndpoint,
    testing::Values(Row{"localhost", "mqtt://localhost:1883"}, Row{"mqtt://h:7", "mqtt://h:7"},
                    Row{"TCP://h", "mqtt://h:1883"}, Row{"ssl://h", "mqtts://h:8883"},
                    Row{"mqtts://h", "mqtts://h:8883"}, Row{"ws://h", "ws://h:80/mqtt"},
                    Row{"wss://h:8443/x?y=1", "wss://h:8443/x?y=1"},
                    Row{"mqtt://[::1]:99", "mqtt://[::1]:99"}, Row{"::1", "mqtt://[::1]:1883"},
                    Row{"unix:/run/m.sock", "unix:/run/m.sock"},
                    Row{"unix:///run/m.sock", "unix:/run/m.sock"}));

class BadEndpoint : public testing::TestWithParam<std::string> {};

TEST_P(BadEndpoint, IsRefusedByName) {
  const auto endpoint = ParseEndpoint(GetParam());
  ASSERT_FALSE(endpoint.ok());
  EXPECT_THAT(std::string(endpoint.status().message()), testing::HasSubstr(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(All, BadEndpoint,
                         testing::Values("http://h", "mqtt://", "mqtt://h:", "mqtt://h:0",
                                         "mqtt://h:65536", "mqtt://h:x", "mqtt://[::1",
                                         "mqtt://[::1]x", "mqtt://h/path", "mqtt://user:pw@h",
                                         "unix:"));

TEST(FollowReference, TakesTheFirstServerThatCanBeRead) {
  const Endpoint from = *ParseEndpoint("mqtts://old");
  EXPECT_EQ(FollowReference(from, "a:b:c:d new:1234 other")->host, "a:b:c:d");
  EXPECT_EQ(FollowReference(from, "new:bad next")->ToString(), "mqtts://next:8883");
  EXPECT_EQ(FollowReference(from, "[::1]:5")->ToString(), "mqtts://[::1]:5");
  EXPECT_FALSE(FollowReference(from, " ").ok());
}

}  // namespace
}  // namespace mqttd::client
