#include "base/mutex.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace base {
namespace {

struct Counter {
  Mutex mutex;
  CondVar changed;
  int value ABSL_GUARDED_BY(mutex) = 0;
};

TEST(Mutex, OneAtATimeAndSignalsArrive) {
  constexpr int kThreads = 4;
  constexpr int kEach = 1000;
  Counter counter;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&counter] {
      for (int n = 0; n < kEach; ++n) {
        MutexLock lock(counter.mutex);
        ++counter.value;
        counter.changed.SignalOne();
      }
    });
  }
  {
    MutexLock lock(counter.mutex);
    while (counter.value < kThreads * kEach) counter.changed.Wait(counter.mutex);
    EXPECT_EQ(counter.value, kThreads * kEach);
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(Mutex, AWaitWithALimitEndsWithoutASignal) {
  Mutex mutex;
  CondVar never;
  MutexLock lock(mutex);
  bool woken = true;
  while (woken) woken = never.WaitFor(mutex, absl::Microseconds(10));  // For no reason: allowed.
  EXPECT_FALSE(woken);
}

}  // namespace
}  // namespace base
