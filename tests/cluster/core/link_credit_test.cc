#include "cluster/core/link_credit.h"

#include <deque>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "gtest/gtest.h"

namespace cluster {
namespace {

TEST(LinkCredit, IsFullAtItsLimitOfItemsOrBytes) {
  LinkCredit by_items({.items = 2, .bytes = 1000});
  by_items.Sent(1);
  EXPECT_FALSE(by_items.IsFull());
  EXPECT_FALSE(by_items.HasRoom());
  by_items.Sent(1);
  EXPECT_TRUE(by_items.IsFull());
  LinkCredit by_bytes({.items = 100, .bytes = 1000});
  by_bytes.Sent(5000);  // One item always may.
  EXPECT_TRUE(by_bytes.IsFull());
  EXPECT_TRUE(by_bytes.Taken({.items = 1, .bytes = 5000}));
  EXPECT_TRUE(by_bytes.HasRoom());
}

TEST(LinkCredit, APeerThatTakesWhatWasNotSentIsFoundOut) {
  LinkCredit credit({.items = 10, .bytes = 1000});
  credit.Sent(10);
  EXPECT_FALSE(credit.Taken({.items = 2, .bytes = 10}));
  EXPECT_FALSE(credit.Taken({.items = 1, .bytes = 11}));
  EXPECT_TRUE(credit.Taken({.items = 1, .bytes = 10}));
}

TEST(LinkCredit, APeerThatSendsMoreThanItMayIsFoundOut) {
  LinkCredit credit({.items = 2, .bytes = 1000});
  EXPECT_TRUE(credit.Received(1));
  EXPECT_TRUE(credit.Received(1));
  EXPECT_FALSE(credit.Received(1));
}

// Whatever the order of things: a sender that keeps to the limit is never accused, it never stands
// still for ever, and no more is under way than the limit and one item.
TEST(LinkCredit, RandomTrafficIsBoundedAndGoesOn) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    base::Rng rng(seed);
    const LinkCredit::Amount limit{.items = 1 + rng.Below(20), .bytes = 1 + rng.Below(2000)};
    const uint64_t item_max = 1 + rng.Below(500);
    LinkCredit sender(limit);
    LinkCredit receiver(limit);
    std::deque<uint64_t> network;
    std::deque<uint64_t> queue;
    std::deque<LinkCredit::Amount> back;
    uint64_t sent = 0;
    uint64_t held_bytes = 0;
    for (int step = 0; step < 5000; ++step) {
      switch (rng.Below(4)) {
        case 0:
          if (sender.IsFull()) break;
          network.push_back(rng.Below(item_max));
          sender.Sent(network.back());
          held_bytes += network.back();
          ++sent;
          break;
        case 1:
          if (network.empty()) break;
          ASSERT_TRUE(receiver.Received(network.front()));
          queue.push_back(network.front());
          network.pop_front();
          break;
        case 2:
          if (queue.empty()) break;
          ASSERT_TRUE(receiver.Took({.items = 1, .bytes = queue.front()}));
          held_bytes -= queue.front();
          queue.pop_front();
          if (const auto amount = receiver.ToTell()) back.push_back(*amount);
          break;
        case 3:
          if (back.empty()) break;
          ASSERT_TRUE(sender.Taken(back.front()));
          back.pop_front();
          break;
      }
      ASSERT_LE(network.size() + queue.size(), limit.items);
      ASSERT_LT(held_bytes, limit.bytes + item_max);
    }
    ASSERT_GT(sent, 300u);
  }
}

}  // namespace
}  // namespace cluster
