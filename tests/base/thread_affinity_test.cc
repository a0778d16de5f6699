#include "base/thread_affinity.h"

#include <gtest/gtest.h>

#include <thread>

namespace base {
namespace {

TEST(ThreadAffinity, BelongsToTheFirstThreadThatChecks) {
  ThreadAffinity affinity;
  std::thread([&] { affinity.Check(); }).join();
#ifndef NDEBUG
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(affinity.Check(), "does not own it");
#endif
  affinity.Bind();
  affinity.Check();
  affinity.Release();
  std::thread([&] { affinity.Check(); }).join();
}

}  // namespace
}  // namespace base
