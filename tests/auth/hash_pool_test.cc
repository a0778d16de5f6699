#include "auth/hash_pool.h"

#include <atomic>
#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace auth {
namespace {

using ::testing::ElementsAre;
using Submitted = HashPool::Submitted;

// Keeps a pool thread busy until opened, so that the queue's state is known.
class Gate {
 public:
  std::function<void()> Task() {
    return [this] {
      entered_.set_value();
      open_.get_future().wait();
    };
  }
  void WaitUntilEntered() { entered_.get_future().wait(); }
  void Open() { open_.set_value(); }

 private:
  std::promise<void> entered_;
  std::promise<void> open_;
};

TEST(HashPool, RunsTasksInOrderOffTheCallersThread) {
  HashPool pool({.threads = 1, .queue_max = 10});
  std::vector<int> ran;
  std::thread::id thread;
  std::promise<void> last;
  EXPECT_EQ(pool.Submit({[&] { ran.push_back(1); }}), Submitted::kAccepted);
  EXPECT_EQ(pool.Submit({[&] { ran.push_back(2); }}), Submitted::kAccepted);
  EXPECT_EQ(pool.Submit({[&] {
    thread = std::this_thread::get_id();
    last.set_value();
  }}),
            Submitted::kAccepted);
  last.get_future().wait();
  EXPECT_THAT(ran, ElementsAre(1, 2));
  EXPECT_NE(thread, std::this_thread::get_id());
}

TEST(HashPool, RefusesWhenTheQueueIsFullAndCountsIt) {
  Gate gate;
  std::promise<void> done;
  HashPool pool({.threads = 1, .queue_max = 1});
  ASSERT_EQ(pool.Submit({gate.Task()}), Submitted::kAccepted);
  gate.WaitUntilEntered();  // It runs, so it no longer waits.
  EXPECT_EQ(pool.waiting(), 0u);
  EXPECT_EQ(pool.Submit({[&] { done.set_value(); }}), Submitted::kAccepted);
  EXPECT_EQ(pool.Submit({[] { ADD_FAILURE() << "refused, yet run"; }}), Submitted::kQueueFull);
  EXPECT_EQ(pool.waiting(), 1u);
  EXPECT_EQ(pool.refused(), 1u);
  gate.Open();
  done.get_future().wait();
  EXPECT_GE(pool.completed(), 1u);
}

TEST(HashPool, ThreadsWorkAtTheSameTime) {
  Gate first;
  Gate second;
  HashPool pool({.threads = 2, .queue_max = 2});
  ASSERT_EQ(pool.Submit({first.Task()}), Submitted::kAccepted);
  ASSERT_EQ(pool.Submit({second.Task()}), Submitted::kAccepted);
  first.WaitUntilEntered();  // Would never return for both if there were one thread.
  second.WaitUntilEntered();
  first.Open();
  second.Open();
}

TEST(HashPool, DestructionFinishesWhatRunsAndDropsWhatWaits) {
  std::promise<void> entered;
  std::atomic<bool> finished = false;
  std::atomic<bool> waiting_ran = false;
  auto pool = std::make_unique<HashPool>(HashPool::Limits{.threads = 1, .queue_max = 10});
  // The task itself sees to it that the pool is being destroyed when it ends: it refuses from then.
  HashPool* const raw = pool.get();
  ASSERT_EQ(pool->Submit({[&, raw] {
    entered.set_value();
    while (raw->Submit({[] {}}) != Submitted::kStopping) std::this_thread::yield();
    finished = true;
  }}),
            Submitted::kAccepted);
  entered.get_future().wait();
  (void)pool->Submit({[&] { waiting_ran = true; }});
  pool.reset();
  EXPECT_TRUE(finished);
  EXPECT_FALSE(waiting_ran);
}

TEST(HashPool, AfterStopNothingRunsNorIsTaken) {
  Gate gate;
  std::atomic<bool> stopped = false;
  HashPool pool({.threads = 1, .queue_max = 10});
  ASSERT_EQ(pool.Submit({gate.Task()}), Submitted::kAccepted);
  gate.WaitUntilEntered();
  EXPECT_EQ(pool.Submit({[] { ADD_FAILURE() << "dropped, yet run"; }}), Submitted::kAccepted);
  std::thread stopper([&] {
    pool.Stop();
    stopped = true;
  });
  while (pool.Submit({[] {}}) != Submitted::kStopping) std::this_thread::yield();
  EXPECT_FALSE(stopped) << "a task is still running";
  gate.Open();
  stopper.join();
  EXPECT_EQ(pool.waiting(), 0u);
  EXPECT_EQ(pool.completed(), 1u);
  pool.Stop();  // Once more does no harm.
}

TEST(HashPool, WhatNobodyWaitsForIsNotRun) {
  Gate gate;
  HashPool pool({.threads = 1, .queue_max = 10});
  ASSERT_EQ(pool.Submit({gate.Task()}), Submitted::kAccepted);
  gate.WaitUntilEntered();
  HashPool::Ticket gone;
  HashPool::Ticket waits;
  std::promise<void> ran;
  ASSERT_EQ(pool.Submit({[] { ADD_FAILURE() << "nobody waits"; }}, &gone), Submitted::kAccepted);
  ASSERT_EQ(pool.Submit({[&] { ran.set_value(); }}, &waits), Submitted::kAccepted);
  EXPECT_EQ(pool.waiting(), 2u);
  gone = {};
  EXPECT_EQ(pool.waiting(), 1u) << "it leaves its place to others at once";
  EXPECT_EQ(pool.abandoned(), 1u);
  gate.Open();
  ran.get_future().wait();
  waits = {};  // It has run: nothing is left to give up.
  EXPECT_EQ(pool.abandoned(), 1u);
}

TEST(HashPool, ATicketMayOutliveThePool) {
  HashPool::Ticket ticket;
  {
    Gate gate;
    HashPool pool({.threads = 1, .queue_max = 10});
    ASSERT_EQ(pool.Submit({gate.Task()}), Submitted::kAccepted);
    gate.WaitUntilEntered();
    ASSERT_EQ(pool.Submit({[] {}}, &ticket), Submitted::kAccepted);
    gate.Open();
  }
  ticket = {};
}

TEST(HashPool, WhoHasMostInAFullQueueGivesWay) {
  Gate gate;
  HashPool pool({.threads = 1, .queue_max = 2});
  ASSERT_EQ(pool.Submit({gate.Task()}), Submitted::kAccepted);
  gate.WaitUntilEntered();
  int refused = 0;
  const auto flood = [&] {
    return pool.Submit({[] {}, [&] { ++refused; }, {.group = 1, .lane = 1}});
  };
  EXPECT_EQ(flood(), Submitted::kAccepted);
  EXPECT_EQ(flood(), Submitted::kAccepted);
  EXPECT_EQ(flood(), Submitted::kQueueFull);
  EXPECT_EQ(refused, 0) << "it was told by the return value";
  std::promise<void> other;
  EXPECT_EQ(pool.Submit({[&] { other.set_value(); }, {}, {.group = 2, .lane = 1}}),
            Submitted::kAccepted);
  EXPECT_EQ(refused, 1);
  EXPECT_EQ(pool.refused(), 2u);
  gate.Open();
  other.get_future().wait();
}

}  // namespace
}  // namespace auth
