// The log writer when the log cannot be written.
#include "storage/log_writer.h"

#include <array>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/core/metrics.h"
#include "storage/core/options.h"
#include "tests/storage/faulty_disk.h"
#include "tests/support/temp_dir.h"

namespace storage {
namespace {

// A partition that has to be made anew, from the state and the log, does not wait for the repair:
// the repair may wait for the partition.
TEST(LogWriter, WhatWasWrittenCanBeReadWhileTheLogWaitsForItsRepair) {
  const support::TempDir directory;
  const auto disk = std::make_shared<FaultyDisk>();
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(disk);
  const StorageOptions options;
  const base::RealClock clock;
  HostMetrics metrics;
  absl::StatusOr<std::unique_ptr<Log>> log =
      Log::Open(directory.path() + "/log", options, *env, /*create=*/true);
  ASSERT_TRUE(log.ok()) << log.status();
  std::array<std::promise<LogWriter::Result>, 4> reports;
  size_t reported = 0;  // On the writer's thread.
  LogWriter writer(
      *std::move(log), nullptr, options, clock, metrics,
      [&](LogWriter::Result result) { reports[reported++].set_value(std::move(result)); });
  writer.Start();
  writer.Write({{0, 1, 1, "kept"}}, Log::Sync::kYes);
  ASSERT_TRUE(reports[0].get_future().get().status.ok());
  disk->Set(FaultyDisk::Fault::kSyncFails);
  writer.Write({{0, 2, 1, "in doubt"}}, Log::Sync::kYes);
  ASSERT_FALSE(reports[1].get_future().get().status.ok());
  disk->Set(FaultyDisk::Fault::kNone);

  std::vector<std::string> found;
  const auto note = [&](const LogEntry& entry) {
    found.emplace_back(entry.data);
    return absl::OkStatus();
  };
  EXPECT_TRUE(writer.ReadAfter(0, 0, note).ok());
  ASSERT_FALSE(found.empty());
  EXPECT_EQ(found[0], "kept");

  // The same under the same index, whether it was there already or not.
  writer.Repair();
  ASSERT_TRUE(reports[2].get_future().get().status.ok());
  writer.Write({{0, 2, 1, "in doubt"}}, Log::Sync::kYes);
  ASSERT_TRUE(reports[3].get_future().get().status.ok());
  found.clear();
  EXPECT_TRUE(writer.ReadAfter(0, 0, note).ok());
  EXPECT_THAT(found, testing::ElementsAre("kept", "in doubt"));
}

}  // namespace
}  // namespace storage
