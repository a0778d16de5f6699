// When memory is short: the decision, and the thread that asks for it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <sstream>
#include <thread>

#include "broker/core/limits.h"
#include "broker/core/memory_gate.h"
#include "broker/memory_monitor.h"

namespace broker {
namespace {

using Change = MemoryGate::Change;

TEST(MemoryGate, RisesAtTheMarkAndFallsWhenAnEighthIsFree) {
  MemoryGate gate(800);
  EXPECT_EQ(gate.Update(799), Change::kNone);
  EXPECT_EQ(gate.Update(800), Change::kRose);
  EXPECT_EQ(gate.Update(5000), Change::kNone);
  EXPECT_EQ(gate.Update(700), Change::kNone);
  EXPECT_TRUE(gate.high());
  EXPECT_EQ(gate.Update(699), Change::kFell);
  EXPECT_EQ(gate.Update(799), Change::kNone);
  EXPECT_FALSE(gate.high());
}

TEST(MemoryGate, WhatIsLeftOfABoundIsNeverNothing) {
  EXPECT_EQ(BoundWhileMemoryIsShort(1600), 100u);
  EXPECT_EQ(BoundWhileMemoryIsShort(15), 1u);
  EXPECT_EQ(BoundWhileMemoryIsShort(1), 1u);
}

TEST(MemoryLimitFiles, AServiceIsLimitedByItsGroupAndThoseAbove) {
  std::istringstream own("1:name=systemd:/x\n0::/system.slice/mqttd.service\n");
  EXPECT_THAT(MemoryLimitFiles(own),
              testing::IsSupersetOf({"/sys/fs/cgroup/system.slice/mqttd.service/memory.max",
                                     "/sys/fs/cgroup/system.slice/memory.max",
                                     "/sys/fs/cgroup/memory.max"}));
}

TEST(MemoryLimitFiles, InAContainerTheGroupIsTheRoot) {
  std::istringstream own("0::/\n");
  EXPECT_THAT(MemoryLimitFiles(own),
              testing::ElementsAre("/sys/fs/cgroup/memory.max",
                                   "/sys/fs/cgroup/memory/memory.limit_in_bytes"));
}

TEST(MemoryMonitor, TellsEachChangeOnce) {
  std::atomic<uint64_t> used{10};
  std::atomic<int> rose{0};
  std::atomic<int> fell{0};
  MemoryMonitor monitor(
      100, [&] { return used.load(); }, [&](bool high) { ++(high ? rose : fell); });
  monitor.Start();
  while (monitor.used_bytes() != 10) std::this_thread::yield();
  EXPECT_FALSE(monitor.high());
  used = 100;
  while (rose == 0) std::this_thread::yield();
  used = 120;
  while (monitor.used_bytes() != 120) std::this_thread::yield();
  EXPECT_TRUE(monitor.high());
  used = 50;
  while (fell == 0) std::this_thread::yield();
  monitor.Stop();
  EXPECT_FALSE(monitor.high());
  EXPECT_EQ(monitor.rises(), 1u);
  EXPECT_EQ(rose, 1);
  EXPECT_EQ(fell, 1);
}

TEST(MemoryMonitor, TheSystemSaysWhatIsUsedAndWhatThereIs) {
  EXPECT_GT(ResidentBytes(), uint64_t{1} << 20);
  EXPECT_GT(UsableMemoryBytes(), ResidentBytes());
}

}  // namespace
}  // namespace broker
