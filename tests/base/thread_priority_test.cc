#include "base/thread_priority.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <thread>

namespace base {
namespace {

int NiceOfThread() { return getpriority(PRIO_PROCESS, 0); }

int NiceOfAThreadThatIs(ThreadPriority priority) {
  int nice = 0;
  std::thread([&] {
    SetThreadPriority(priority);
    nice = NiceOfThread();
  }).join();
  return nice;
}

TEST(ThreadPriority, WorkGivesWayToTurns) {
  const int mine = NiceOfThread();
  if (mine == 19) GTEST_SKIP() << "nothing is lower";
  EXPECT_EQ(NiceOfAThreadThatIs(ThreadPriority::kTurns), mine);
  EXPECT_EQ(NiceOfAThreadThatIs(ThreadPriority::kWork), std::min(mine + 10, 19));
  EXPECT_EQ(NiceOfThread(), mine) << "of one thread, not of the process";
}

TEST(ThreadPriority, SpareIsTheLowest) {
  EXPECT_EQ(NiceOfAThreadThatIs(ThreadPriority::kSpare), 19);
}

// A pool starts threads from whoever first gives it something to do.
TEST(ThreadPriority, IsThatOfTheProcessAndNotOfTheThreadThatStartedIt) {
  const int mine = NiceOfThread();
  int nice = 0;
  std::thread([&] {
    SetThreadPriority(ThreadPriority::kWork);
    nice = NiceOfAThreadThatIs(ThreadPriority::kWork);
  }).join();
  EXPECT_EQ(nice, std::min(mine + 10, 19));
}

// sched_getattr(2) says the slice of an ordinary thread where it can be set.
uint64_t SliceNs() {
  std::array<char, 56> attributes{};
  if (syscall(SYS_sched_getattr, 0, attributes.data(), attributes.size(), 0) != 0) return 0;
  uint64_t slice_ns = 0;
  std::memcpy(&slice_ns, &attributes[24], sizeof(slice_ns));
  return slice_ns;
}

uint64_t SliceOfAThreadThatIs(ThreadPriority priority) {
  uint64_t slice_ns = 0;
  std::thread([&] {
    SetThreadPriority(priority);
    slice_ns = SliceNs();
  }).join();
  return slice_ns;
}

TEST(ThreadPriority, TurnsHaveAShortSliceAndSpareALongOne) {
  const uint64_t usual_ns = SliceNs();
  if (usual_ns == 0) GTEST_SKIP() << "the slice cannot be set on this system";
  if (usual_ns == kShortSliceNs) GTEST_SKIP() << "all threads have it";
  EXPECT_EQ(SliceOfAThreadThatIs(ThreadPriority::kTurns), uint64_t{kShortSliceNs});
  EXPECT_EQ(SliceOfAThreadThatIs(ThreadPriority::kSpare), uint64_t{kLongSliceNs});
}

}  // namespace
}  // namespace base
