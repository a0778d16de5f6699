#include "base/mailbox.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cstdint>
#include <memory>
#include <thread>
#include <vector>

namespace base {
namespace {

std::unique_ptr<Batch<int>> MakeBatch(std::vector<int> items) {
  auto batch = std::make_unique<Batch<int>>();
  batch->items = std::move(items);
  return batch;
}

std::vector<int> Take(Mailbox<int>& mailbox) {
  std::vector<int> taken;
  mailbox.TakeAll([&](int item) { taken.push_back(item); });
  return taken;
}

TEST(Mailbox, GivesWhatWasPostedInOrder) {
  Mailbox<int> mailbox([] {});
  mailbox.Post(MakeBatch({1, 2}));
  mailbox.Post(MakeBatch({}));
  mailbox.PostOne(3);
  mailbox.Post(MakeBatch({4}));
  EXPECT_FALSE(mailbox.empty());
  EXPECT_EQ(Take(mailbox), (std::vector<int>{1, 2, 3, 4}));
  EXPECT_TRUE(mailbox.empty());
  EXPECT_EQ(Take(mailbox), std::vector<int>{});
}

TEST(Mailbox, WakesOnlyAConsumerThatSleepsAndOnlyOnce) {
  int wakes = 0;
  Mailbox<int> mailbox([&] { ++wakes; });
  mailbox.PostOne(1);
  EXPECT_EQ(wakes, 0);
  EXPECT_FALSE(mailbox.Sleep()) << "slept on a full mailbox";
  Take(mailbox);
  ASSERT_TRUE(mailbox.Sleep());
  mailbox.PostOne(2);
  mailbox.PostOne(3);
  EXPECT_EQ(wakes, 1);
  mailbox.Awake();
  EXPECT_EQ(Take(mailbox), (std::vector<int>{2, 3}));
  mailbox.PostOne(4);
  EXPECT_EQ(wakes, 1);
}

TEST(Mailbox, FreesWhatWasNeverTaken) {
  auto witness = std::make_shared<int>(0);
  {
    Mailbox<std::shared_ptr<int>> mailbox([] {});
    mailbox.PostOne(witness);
    mailbox.PostOne(witness);
    EXPECT_EQ(witness.use_count(), 3);
  }
  EXPECT_EQ(witness.use_count(), 1);
}

// Producers race with a consumer that sleeps whenever it can: a lost wake-up hangs the test, a lost
// or swapped value fails it.
TEST(Mailbox, LosesNothingBetweenThreads) {
  constexpr int kProducers = 3;
  constexpr int kBatches = 4000;
  constexpr int kPerBatch = 3;
  struct Item {
    int producer;
    int number;
  };
  const int wake_fd = eventfd(0, EFD_CLOEXEC);
  ASSERT_GE(wake_fd, 0);
  Mailbox<Item> mailbox([wake_fd] {
    const uint64_t one = 1;
    ASSERT_EQ(write(wake_fd, &one, sizeof one), static_cast<ssize_t>(sizeof one));
  });
  std::vector<std::thread> producers;
  for (int producer = 0; producer < kProducers; ++producer) {
    producers.emplace_back([&mailbox, producer] {
      for (int number = 0; number < kBatches * kPerBatch;) {
        auto batch = std::make_unique<Batch<Item>>();
        for (int i = 0; i < kPerBatch; ++i) batch->items.push_back({producer, number++});
        mailbox.Post(std::move(batch));
      }
    });
  }
  std::vector<int> expected(kProducers, 0);
  size_t received = 0;
  bool ordered = true;
  while (received < size_t{kProducers} * kBatches * kPerBatch) {
    if (mailbox.Sleep()) {
      uint64_t count = 0;
      ASSERT_EQ(read(wake_fd, &count, sizeof count), static_cast<ssize_t>(sizeof count));
      mailbox.Awake();
    }
    received += mailbox.TakeAll([&](Item item) {
      ordered &= expected[static_cast<size_t>(item.producer)]++ == item.number;
    });
  }
  for (std::thread& producer : producers) producer.join();
  EXPECT_TRUE(ordered);
  EXPECT_EQ(expected, std::vector<int>(kProducers, kBatches * kPerBatch));
  close(wake_fd);
}

}  // namespace
}  // namespace base
