#include "mqtt/message.h"

#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "mqtt/message_memory.h"
#include "tests/mqtt/wire_text.h"

namespace mqtt {
namespace {

constexpr int64_t kNow = 1'700'000'000'000;

TEST(Message, HoldsCopiesOfItsParts) {
  std::string topic = "a/b", payload("p\0q", 3), properties = Wire("26 s'k' s'v'"),
              publisher = "me";
  const MessagePtr message = Message::Create({.topic = topic,
                                              .payload = payload,
                                              .properties = properties,
                                              .qos = QoS::kExactlyOnce,
                                              .retain = true,
                                              .created_at_unix_ms = kNow,
                                              .expires_at_unix_ms = kNow + 5000,
                                              .publisher = publisher});
  topic = payload = properties = publisher = "changed";
  EXPECT_EQ(message->topic(), "a/b");
  EXPECT_EQ(message->payload(), std::string_view("p\0q", 3));
  EXPECT_EQ(message->properties(), Wire("26 s'k' s'v'"));
  EXPECT_EQ(message->publisher(), "me");
  EXPECT_EQ(message->qos(), QoS::kExactlyOnce);
  EXPECT_TRUE(message->retain());
  EXPECT_EQ(message->created_at_unix_ms(), kNow);
  EXPECT_EQ(message->expires_at_unix_ms(), kNow + 5000);
  EXPECT_EQ(message->bytes(), sizeof(Message) + 3 + 3 + 7 + 2);
}

TEST(Message, MayBeEmptyButForItsTopic) {
  const MessagePtr message = Message::Create({.topic = "a"});
  EXPECT_EQ(message->payload(), "");
  EXPECT_EQ(message->properties(), "");
  EXPECT_EQ(message->publisher(), "");
  EXPECT_FALSE(message->has_expired(INT64_MAX));
  EXPECT_EQ(message->remaining_expiry(kNow), std::nullopt);
}

TEST(Message, CountsItsExpiryDown_MQTT5_3_3_2_6) {
  const MessagePtr message = Message::Create(
      {.topic = "a", .created_at_unix_ms = kNow, .expires_at_unix_ms = kNow + 10'000});
  EXPECT_EQ(message->remaining_expiry(kNow), 10u);
  EXPECT_EQ(message->remaining_expiry(kNow + 1), 10u);
  EXPECT_EQ(message->remaining_expiry(kNow + 1000), 9u);
  EXPECT_EQ(message->remaining_expiry(kNow + 9'999), 1u);  // It still lives, so not 0.
  EXPECT_FALSE(message->has_expired(kNow + 9'999));
  EXPECT_TRUE(message->has_expired(kNow + 10'000));
  EXPECT_EQ(message->remaining_expiry(kNow + 10'000), 0u);
  // Never more than came in, for who reads the clock before the message came.
  EXPECT_EQ(message->remaining_expiry(kNow - 1), 10u);
  EXPECT_EQ(message->remaining_expiry(INT64_MIN / 2), 10u);
}

TEST(Message, IsMadeFromAPublish) {
  const std::string raw = Wire("02 0000000A 26 s'k' s'v'");
  const Publish publish{.qos = QoS::kAtLeastOnce,
                        .retain = true,
                        .payload = "p",
                        .topic_alias = 1,
                        .message_expiry_interval = 10,
                        .raw_properties = raw,
                        .properties_need_filter = true};
  std::string scratch;
  const MessagePtr message = MakeMessage(publish, "resolved", "client", kNow, scratch);
  EXPECT_EQ(message->topic(), "resolved");
  EXPECT_EQ(message->properties(), Wire("26 s'k' s'v'"));
  EXPECT_EQ(message->expires_at_unix_ms(), kNow + 10'000);
  EXPECT_EQ(message->publisher(), "client");
  std::ostringstream text;
  text << *message;
  EXPECT_EQ(text.str(),
            "Message topic=\"resolved\" payload=1B qos=1 retain expires-at=1700000010000 "
            "publisher=\"client\" user:\"k\"=\"v\"");
}

TEST(Message, AnExpiryOfZeroIsOverAtOnce) {
  std::string scratch;
  const MessagePtr message =
      MakeMessage(Publish{.message_expiry_interval = 0}, "a", "c", kNow, scratch);
  EXPECT_TRUE(message->has_expired(kNow));
}

TEST(Message, AWillsExpiryBeginsWhenItIsPublished) {
  std::string scratch;
  const MessagePtr stored = MakeMessage(
      Will{.topic = "w", .payload = "gone", .message_expiry_interval = 60}, "c", kNow, scratch);
  const MessagePtr published = Restamp(*stored, kNow + 3'600'000);
  EXPECT_EQ(published->expires_at_unix_ms(), kNow + 3'660'000);
  EXPECT_EQ(published->remaining_expiry(kNow + 3'600'000), 60u);
  EXPECT_EQ(published->topic(), "w");
  EXPECT_EQ(published->payload(), "gone");
  EXPECT_EQ(Restamp(*Message::Create({.topic = "w"}), kNow)->expires_at_unix_ms(), 0);
}

TEST(MessagePtr, CopiesAndMovesLikeAPointer) {
  MessagePtr a = Message::Create({.topic = "a"});
  const Message* const message = a.get();
  MessagePtr b = a;
  EXPECT_EQ(a, b);
  MessagePtr c = std::move(a);
  EXPECT_FALSE(a);  // NOLINT(bugprone-use-after-move): null is what a move leaves.
  EXPECT_EQ(c.get(), message);
  b.reset();
  EXPECT_FALSE(b);
  b = c;
  c = Message::Create({.topic = "c"});
  EXPECT_EQ(b->topic(), "a");
  MessagePtr& alias = b;
  b = alias;
  EXPECT_EQ(b.get(), message);
  b = std::move(alias);
  EXPECT_EQ(b.get(), message);
  EXPECT_EQ(sizeof(MessagePtr), sizeof(void*));
}

TEST(MessagePtr, IsSharedBetweenThreads) {
  MessagePtr message = Message::Create({.topic = "a", .payload = "shared"});
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([copy = message] {
      for (int k = 0; k < 10'000; ++k) {
        const MessagePtr again = copy;
        ASSERT_EQ(again->payload(), "shared");
      }
    });
  }
  message.reset();
  for (std::thread& thread : threads) thread.join();
}

// Wherever a message waits, and however many wait for it, it is counted once; the thread that frees
// it may be another than the one that made it.
TEST(MessageMemory, CountsEachMessageOnceUntilTheLastReferenceGoes) {
  const int64_t before = MessageMemoryBytes();
  MessagePtr message = Message::Create({.topic = "t", .payload = std::string(1000, 'x')});
  const auto bytes = static_cast<int64_t>(message->bytes());
  EXPECT_EQ(MessageMemoryBytes() - before, bytes);
  std::thread([copy = message, moved = std::move(message)] {
    EXPECT_EQ(copy->bytes(), moved->bytes());
  }).join();
  EXPECT_EQ(MessageMemoryBytes(), before);
}

// More threads than have a count of their own.
TEST(MessageMemory, HoweverManyThreadsThereHaveBeen) {
  const int64_t before = MessageMemoryBytes();
  std::vector<MessagePtr> kept(200);
  for (MessagePtr& message : kept) {
    std::thread([&message] { message = Message::Create({.topic = "t"}); }).join();
  }
  EXPECT_EQ(MessageMemoryBytes() - before, static_cast<int64_t>(200 * kept[0]->bytes()));
  kept.clear();
  EXPECT_EQ(MessageMemoryBytes(), before);
}

}  // namespace
}  // namespace mqtt
