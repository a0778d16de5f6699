#include "admin/api/thread_answers.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "tests/support/fake_clock.h"

namespace admin {
namespace {

TEST(ThreadAnswers, AThreadThatDoesNothingOfWhatWaitsIsSilent) {
  support::FakeClock clock;
  const ThreadAnswers answers(&clock);
  int sum = 0;
  const std::function<void(int&)> add = [](int& to) { ++to; };
  const auto first = answers.Expect("shard 3", add);
  const auto second = answers.Expect("shard 3", add);
  clock.Advance(absl::Seconds(4));
  EXPECT_EQ(answers.Silent(), "");
  first(sum);  // It goes on: the second is waited for from now on.
  clock.Advance(absl::Seconds(4));
  EXPECT_EQ(answers.Silent(), "");
  clock.Advance(absl::Seconds(3));
  EXPECT_EQ(answers.Silent(), "shard 3 has not answered for 7 s");
  const auto other = answers.Expect("the main thread", add);
  clock.Advance(absl::Seconds(5));
  EXPECT_EQ(answers.Silent(),
            "shard 3 has not answered for 12 s, the main thread has not answered for 5 s");
  second(sum);
  other(sum);
  EXPECT_EQ(answers.Silent(), "");
  EXPECT_EQ(sum, 3);
}

}  // namespace
}  // namespace admin
