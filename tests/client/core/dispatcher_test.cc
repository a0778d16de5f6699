#include "client/core/dispatcher.h"

#include <gtest/gtest.h>

#include <string>

#include "client/core/backoff.h"

namespace mqttd::client {
namespace {

ReceivedMessage On(std::string topic) {
  ReceivedMessage message;
  message.topic = std::move(topic);
  return message;
}

size_t Dispatch(const Dispatcher& dispatcher, const ReceivedMessage& message) {
  return dispatcher.Dispatch(message, [&](const MessageHandler& handler) { handler(message); });
}

TEST(Dispatcher, CallsEachHandlerWhoseFilterMatchesAndElseTheDefault) {
  Dispatcher dispatcher;
  std::string called;
  dispatcher.Set("a/#", [&](const ReceivedMessage&) { called += "1"; });
  dispatcher.Set("$share/g/a/b", [&](const ReceivedMessage&) { called += "2"; });
  dispatcher.SetDefault([&](const ReceivedMessage&) { called += "d"; });
  EXPECT_EQ(Dispatch(dispatcher, On("a/b")), 2u);
  EXPECT_EQ(Dispatch(dispatcher, On("x")), 1u);
  dispatcher.Set("a/#", nullptr);
  EXPECT_EQ(Dispatch(dispatcher, On("a/b")), 1u);
  EXPECT_EQ(called, "12d2");
}

TEST(Dispatcher, AHandlerMayRemoveItself) {
  Dispatcher dispatcher;
  int calls = 0;
  dispatcher.Set("a", [&](const ReceivedMessage&) {
    ++calls;
    dispatcher.Set("a", nullptr);
  });
  EXPECT_EQ(Dispatch(dispatcher, On("a")), 1u);
  EXPECT_EQ(Dispatch(dispatcher, On("a")), 0u);
  EXPECT_EQ(calls, 1);
}

TEST(Backoff, DoublesWithJitterUpToItsBoundAndBeginsAnew) {
  Backoff backoff({.first = absl::Seconds(1), .most = absl::Seconds(4)}, base::Rng(1));
  for (const int bound : {1, 2, 4, 4, 4}) {
    const absl::Duration wait = backoff.Next();
    EXPECT_GE(wait, absl::Seconds(bound) / 2);
    EXPECT_LE(wait, absl::Seconds(bound));
  }
  backoff.Reset();
  EXPECT_LE(backoff.Next(), absl::Seconds(1));
}

}  // namespace
}  // namespace mqttd::client
