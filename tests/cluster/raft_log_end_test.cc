// What the record of the log's end says after a power cut, of a member whose log was cut back.
#include <fcntl.h>
#include <rocksdb/env.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cluster/raft_log.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/patience.h"
#include "tests/support/temp_dir.h"

namespace cluster {
namespace {

base::Mutex on_disk_mutex;
// The record, as a power cut would leave it.
std::string on_disk ABSL_GUARDED_BY(on_disk_mutex);

std::string ContentOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void NoteSync(int fd) {
  std::array<char, 512> path = {};
  const std::string link = absl::StrCat("/proc/self/fd/", fd);
  if (readlink(link.c_str(), path.data(), path.size() - 1) <= 0) return;
  if (!absl::EndsWith(path.data(), "log.end")) return;
  base::MutexLock lock(on_disk_mutex);
  on_disk = ContentOf(path.data());
}

// From a leader of that term, from entry 6 on: eraftpb.Message by hand.
std::string AppendOf(char leader, char term, char entries) {
  std::string message = {8, 3, 16, 1, 24, leader, 32, term, 40, 5, 48, 5};
  for (char index = 6; index < 6 + entries; ++index)
    message += {58, 7, 16, term, 24, index, 34, 1, 'x'};
  return message;
}

TEST(RaftLogEnd, ClaimsNoMoreThanIsThereAfterAPowerCut) {
  const support::TempDir directory;
  const std::string end_path = directory.path() + "/log.end";
  auto store = LogStore::Open(directory.path() + "/log", {}, *rocksdb::Env::Default(), true);
  ASSERT_TRUE(store.ok()) << store.status();
  base::Mutex mutex;
  base::CondVar changed;
  int appended = 0;
  storage::HostMetrics metrics;
  RaftLog log(
      {.partitions = 1}, *std::move(store),
      std::make_unique<storage::LogEnd>(end_path, 1, /*synced=*/true), base::RealClock::Get(),
      metrics,
      [&](const std::vector<RaftLoop::Message>& messages) {
        constexpr uint8_t kAppendResponse = 4;
        base::MutexLock lock(mutex);
        for (const RaftLoop::Message& message : messages)
          appended += message.kind == kAppendResponse ? 1 : 0;
        changed.SignalAll();
      },
      [](const std::vector<LogEvent>&) {});
  ASSERT_TRUE(log.Start({{.group = 0,
                          .replica = 1,
                          .applied = kGroupBegin,
                          .conf_state = {.voters = {1, 2, 3}}}})
                  .ok());
  const auto append = [&](const std::string& message) {
    std::vector<RaftLoop::Message> messages;
    messages.push_back({.group = 0, .to = 1, .kind = RaftGroup::kAppend, .data = message});
    base::MutexLock lock(mutex);
    const int before = appended;
    log.Receive(std::move(messages));
    while (appended == before) {
      ASSERT_TRUE(changed.WaitFor(mutex, absl::Seconds(30) * support::TestSlowdown()));
    }
  };
  append(AppendOf(2, 9, 5));
  {
    // The kernel has written it out by now.
    base::MutexLock lock(on_disk_mutex);
    on_disk = ContentOf(end_path);
  }
  ASSERT_EQ(storage::LogEnd(end_path, 1, true).claimed(0), 10u);
  append(AppendOf(3, 10, 1));
  ASSERT_EQ(log.ExtentOf(0, 1)->last, 6u);
  {
    base::MutexLock lock(on_disk_mutex);
    std::ofstream(end_path, std::ios::binary) << on_disk;
  }
  EXPECT_LE(storage::LogEnd(end_path, 1, true).claimed(0), 6u);
}

}  // namespace
}  // namespace cluster

// Instead of the C library's.
extern "C" int fdatasync(int fd) {
  const auto result = static_cast<int>(syscall(SYS_fdatasync, fd));
  if (result == 0) cluster::NoteSync(fd);
  return result;
}
