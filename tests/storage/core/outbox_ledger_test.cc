#include "storage/core/outbox_ledger.h"

#include <deque>
#include <set>
#include <utility>

#include "base/rng.h"
#include "gtest/gtest.h"

namespace storage {
namespace {

constexpr OutboxLedger::Order kAlice = 1;
constexpr OutboxLedger::Order kBob = 2;

OutboxRef Record(uint64_t number, uint64_t kept_from = 1, PartitionId partition = 3) {
  return {.partition = partition, .number = number, .kept_from = kept_from};
}

TEST(OutboxLedger, ARepeatIsNotBegunAgainUnlessItWasGivenBack) {
  OutboxLedger ledger;
  EXPECT_TRUE(ledger.Begin(Record(1), kAlice));
  EXPECT_TRUE(ledger.Begin(Record(2), kAlice));
  EXPECT_TRUE(ledger.Begin(Record(1, 1, 4), kAlice));  // Another partition's.
  EXPECT_FALSE(ledger.Begin(Record(1), kAlice));
  ledger.GiveBack(Record(1), kAlice);
  EXPECT_TRUE(ledger.Begin(Record(1), kAlice));
  EXPECT_FALSE(ledger.Begin(Record(1), kAlice));
  EXPECT_FALSE(ledger.Begin(Record(2), kAlice));
}

TEST(OutboxLedger, APartitionIsToldWhatItIsToHaveBefore) {
  OutboxLedger ledger;
  for (uint64_t number = 1; number <= 4; ++number) ledger.Begin(Record(number), kAlice);
  EXPECT_EQ(ledger.AskOf(0, Record(1), kAlice), 0u);
  EXPECT_EQ(ledger.AskOf(0, Record(2), kAlice), 1u);
  EXPECT_EQ(ledger.AskOf(1, Record(2), kAlice), 0u);
  ledger.Has(0, Record(1));
  ledger.GiveBack(Record(2), kAlice);  // Refused by the first.
  EXPECT_EQ(ledger.AskOf(0, Record(3), kAlice), 2u);
  ledger.Begin(Record(2), kAlice);
  EXPECT_EQ(ledger.AskOf(0, Record(2), kAlice), 0u);
  EXPECT_EQ(ledger.AskOf(0, Record(4), kAlice), 3u);
}

// Of others none waits for it: a queue without room stops who publishes to it, and nobody else.
TEST(OutboxLedger, APartitionIsToldOfTheSamePublishersOnly) {
  OutboxLedger ledger;
  ledger.Begin(Record(1), kAlice);
  ledger.Begin(Record(2), kBob);
  ledger.Begin(Record(3), kAlice);
  ledger.Begin(Record(4), kBob);
  EXPECT_EQ(ledger.AskOf(0, Record(1), kAlice), 0u);
  EXPECT_EQ(ledger.AskOf(0, Record(2), kBob), 0u);
  EXPECT_EQ(ledger.AskOf(0, Record(3), kAlice), 1u);
  ledger.Has(0, Record(2));
  EXPECT_EQ(ledger.AskOf(0, Record(4), kBob), 0u);
  EXPECT_EQ(ledger.AskOf(0, Record(5, 2), kAlice), 3u) << "the first is out of the outbox";
}

TEST(OutboxLedger, WhatIsOutOfTheOutboxIsWaitedForNoMore) {
  OutboxLedger ledger;
  for (uint64_t number = 1; number <= 3; ++number) ledger.Begin(Record(number), kAlice);
  ledger.AskOf(0, Record(1), kAlice);
  ledger.GiveBack(Record(1), kAlice);
  EXPECT_TRUE(ledger.MustWait(Record(2), kAlice));
  EXPECT_FALSE(ledger.MustWait(Record(4, 2), kAlice));
  ledger.Begin(Record(4, 2), kAlice);  // The first has expired.
  EXPECT_FALSE(ledger.MustWait(Record(2), kAlice));
  EXPECT_FALSE(ledger.IsOvertaking(Record(2), kAlice));
  EXPECT_EQ(ledger.AskOf(0, Record(2, 2), kAlice), 0u);
}

// It may be for others when it is told of again.
TEST(OutboxLedger, WhatIsToldOfAgainIsNotWaitedForWhereItIsNotAskedFor) {
  OutboxLedger ledger;
  ledger.Begin(Record(1), kAlice);
  ledger.AskOf(0, Record(1), kAlice);
  ledger.GiveBack(Record(1), kAlice);
  ledger.Begin(Record(1), kAlice);
  ledger.Begin(Record(2), kAlice);
  EXPECT_EQ(ledger.AskOf(0, Record(2), kAlice), 0u);
}

TEST(OutboxLedger, OnlyTheSamePublishersWaitForOneThatWasGivenBack) {
  OutboxLedger ledger;
  for (const uint64_t number : {1u, 2u, 4u, 5u}) ledger.Begin(Record(number), kAlice);
  ledger.Begin(Record(3), kBob);
  ledger.GiveBack(Record(2), kAlice);
  ledger.GiveBack(Record(3), kBob);
  EXPECT_FALSE(ledger.MustWait(Record(1), kAlice));
  EXPECT_TRUE(ledger.MustWait(Record(4), kAlice));
  EXPECT_FALSE(ledger.MustWait(Record(3), kBob));
  EXPECT_TRUE(ledger.MustWait(Record(4), kBob));
  EXPECT_FALSE(ledger.MustWait(Record(4), 0));
  EXPECT_FALSE(ledger.MustWait(Record(4, 1, 2), kAlice));
}

// What was begun after it, and before it came again, is not passed on first.
TEST(OutboxLedger, WhatCameAgainIsPassedOnBeforeWhatWasBegunMeanwhile) {
  OutboxLedger ledger;
  ledger.Begin(Record(1), kAlice);
  ledger.Begin(Record(2), kAlice);
  EXPECT_FALSE(ledger.IsOvertaking(Record(2), kAlice));
  ledger.GiveBack(Record(1), kAlice);
  EXPECT_TRUE(ledger.IsOvertaking(Record(2), kAlice));
  ledger.Begin(Record(1), kAlice);
  EXPECT_FALSE(ledger.MustWait(Record(3), kAlice));
  EXPECT_TRUE(ledger.IsOvertaking(Record(2), kAlice));
  EXPECT_FALSE(ledger.IsOvertaking(Record(2), kBob));
  EXPECT_FALSE(ledger.IsOvertaking(Record(1), kAlice));
  ledger.PassedOn(Record(1), kAlice);
  EXPECT_FALSE(ledger.IsOvertaking(Record(2), kAlice));
}

// A partition that takes what it is asked for unless it fails, or has not what is to be there
// before: whatever is refused and told of again, it has all of it in the order of the numbers.
TEST(OutboxLedger, NoneOvertakesAnother) {
  struct Asked {
    uint64_t number = 0;
    uint64_t after = 0;
  };
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    base::Rng rng(seed);
    OutboxLedger ledger;
    std::set<uint64_t> outbox;
    std::set<uint64_t> given_back;
    std::deque<Asked> asked;
    std::deque<std::pair<uint64_t, bool>> answers;
    std::set<uint64_t> has;
    uint64_t last = 0;
    const auto tell = [&](uint64_t number) {
      const OutboxRef record = Record(number, *outbox.begin());
      EXPECT_TRUE(ledger.Begin(record, kAlice));
      asked.push_back({number, ledger.AskOf(0, record, kAlice)});
    };
    const auto take = [&](bool fails) {
      const auto [number, after] = asked.front();
      asked.pop_front();
      const bool ready = after == 0 || after < *outbox.begin() || has.contains(after);
      const bool takes = has.contains(number) || (ready && !fails);
      if (takes && has.insert(number).second) {
        EXPECT_EQ(*has.rbegin(), number);
      }
      answers.emplace_back(number, takes);
    };
    const auto hear = [&] {
      const auto [number, taken] = answers.front();
      answers.pop_front();
      if (taken) {
        ledger.Has(0, Record(number));
        ledger.PassedOn(Record(number), kAlice);
        outbox.erase(number);
      } else {
        ledger.GiveBack(Record(number), kAlice);
        given_back.insert(number);
      }
    };
    const auto tell_again = [&] {
      for (const uint64_t number : std::exchange(given_back, {})) tell(number);
    };
    for (int step = 0; step < 1000; ++step) {
      const uint64_t what = rng.Below(10);
      if (what < 4) {
        outbox.insert(++last);
        tell(last);
      } else if (what < 7) {
        if (!asked.empty()) take(/*fails=*/rng.Chance(0.2));
      } else if (what < 9) {
        if (!answers.empty()) hear();
      } else {
        tell_again();
      }
    }
    while (!outbox.empty()) {
      while (!asked.empty()) take(/*fails=*/false);
      while (!answers.empty()) hear();
      tell_again();
    }
    EXPECT_EQ(has.size(), last);
  }
}

TEST(OutboxLedger, ARecordIsHandedOutOnceWhoeverPassesItOn) {
  OutboxLedger ledger;
  const auto record = [](uint64_t number, uint64_t kept_from) {
    return OutboxRef{.partition = 3, .number = number, .kept_from = kept_from};
  };
  EXPECT_TRUE(ledger.HandOut(record(4, 4)));
  EXPECT_TRUE(ledger.HandOut(record(6, 4)));
  EXPECT_FALSE(ledger.HandOut(record(4, 4)));
  EXPECT_TRUE(ledger.HandOut(record(5, 4))) << "the numbers between were not for this node so far";
  EXPECT_TRUE(ledger.HandOut(record(9, 8)));
  EXPECT_FALSE(ledger.HandOut(record(7, 4))) << "it is gone: everybody has it";
  EXPECT_TRUE(ledger.HandOut(record(8, 4)));
  EXPECT_TRUE(ledger.HandOut({.partition = 2, .number = 4, .kept_from = 1}));
}

}  // namespace
}  // namespace storage
