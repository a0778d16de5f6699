// The log writer when the log cannot be written.
#include "storage/log_writer.h"

#include <deque>
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

using Fault = FaultyDisk::Fault;
using testing::ElementsAre;

class LogWriterTest : public testing::Test {
 protected:
  LogWriterTest() {
    auto log = Log::Open(directory_.path() + "/log", options_, *env_, /*create=*/true);
    EXPECT_TRUE(log.ok()) << log.status();
    writer_ = std::make_unique<LogWriter>(*std::move(log), nullptr, options_,
                                          base::RealClock::Get(), metrics_);
    const LogStart start = {.partition = 0, .index = 0, .term = 1};
    EXPECT_TRUE(
        writer_
            ->Start({&start, 1}, [this](std::vector<LogEvent> events) { Take(std::move(events)); })
            .ok());
    EXPECT_TRUE(Next<RoleChange>().leads);
  }

  void Submit(uint64_t number, const std::string& entry, bool sync) {
    Submission submission;
    submission.proposals.push_back({.partition = 0, .number = number, .entry = entry});
    submission.sync = sync;
    Take(writer_->Submit(std::move(submission)));
  }
  template <typename Event>
  Event Next() {
    base::MutexLock lock(mutex_);
    while (events_.empty()) changed_.Wait(mutex_);
    const LogEvent event = std::move(events_.front());
    events_.pop_front();
    EXPECT_TRUE(std::holds_alternative<Event>(event));
    return std::get<Event>(event);
  }
  std::vector<std::string> Entries() {
    std::vector<std::string> found;
    const absl::Status read = writer_->ReadAfter(0, 0, [&](const LogEntry& entry) {
      found.emplace_back(entry.data);
      return absl::OkStatus();
    });
    EXPECT_TRUE(read.ok()) << read;
    return found;
  }

  const support::TempDir directory_;
  const std::shared_ptr<FaultyDisk> disk_ = std::make_shared<FaultyDisk>();
  const std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(disk_);
  const StorageOptions options_;
  HostMetrics metrics_;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::deque<LogEvent> events_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<LogWriter> writer_;

 private:
  void Take(std::vector<LogEvent> events) {
    base::MutexLock lock(mutex_);
    for (LogEvent& event : events) events_.push_back(std::move(event));
    changed_.SignalAll();
  }
};

TEST_F(LogWriterTest, WritesWhatIsInDoubtAgainUnderTheSameIndex) {
  Submit(1, "kept", /*sync=*/true);
  EXPECT_EQ(Next<Committed>().index, 1u);
  disk_->Set(Fault::kSyncFails);
  Submit(2, "in doubt", /*sync=*/true);
  EXPECT_FALSE(Next<LogHealth>().status.ok());
  EXPECT_EQ(metrics_.log_healthy.value(), 0);

  disk_->Set(Fault::kNone);
  absl::Status health;
  do {  // It may have tried before.
    health = Next<LogHealth>().status;
  } while (!health.ok());
  const Committed again = Next<Committed>();
  EXPECT_EQ(again.index, 2u);
  EXPECT_EQ(again.proposal, 2u);
  EXPECT_EQ(again.entry, "in doubt");
  EXPECT_THAT(Entries(), ElementsAre("kept", "in doubt"));
  EXPECT_EQ(metrics_.log_healthy.value(), 1);
}

TEST_F(LogWriterTest, WhatNobodyWaitsForIsWrittenAtOnce) {
  Submit(1, "one", /*sync=*/false);
  EXPECT_EQ(Next<Committed>().proposal, 1u);
  EXPECT_EQ(metrics_.log_fsyncs.value(), 0u);
  EXPECT_TRUE(writer_->Stop().ok());
}

}  // namespace
}  // namespace storage
