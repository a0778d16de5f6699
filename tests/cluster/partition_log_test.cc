// The log of a node's partitions, as their host sees it, on real disks.
#include "cluster/partition_log.h"

#include <rocksdb/env.h>

#include <deque>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "base/status_macros.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/backup.h"
#include "tests/storage/faulty_disk.h"
#include "tests/support/patience.h"
#include "tests/support/temp_dir.h"

namespace cluster {
namespace {

using storage::Committed;
using storage::LogEntry;
using storage::LogStart;
using Fault = storage::FaultyDisk::Fault;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr uint32_t kPartitions = 2;

class PartitionLogTest : public testing::Test {
 protected:
  PartitionLogTest() { options_.partitions = kPartitions; }
  ~PartitionLogTest() override { log_ = nullptr; }

  absl::Status Open() {
    log_ = nullptr;
    {
      base::MutexLock lock(mutex_);
      events_.clear();
    }
    ASSIGN_OR_RETURN(log_, PartitionLog::Open(Place()));
    return absl::OkStatus();
  }
  absl::Status OpenInCluster() {
    log_ = nullptr;
    ASSIGN_OR_RETURN(
        log_, PartitionLog::OpenInCluster(Place(), {.send = [](auto) {}, .others = [](auto) {}}));
    return absl::OkStatus();
  }
  storage::CommandLogPlace Place() {
    return {.path = Path("log"),
            .end_path = Path("log.end"),
            .create = std::exchange(create_, false),
            .options = options_,
            .env = *env_,
            .clock = base::RealClock::Get(),
            .metrics = metrics_};
  }
  // As the state has it: by partition.
  absl::Status Start(std::vector<LogStart> at = {{0, 0, 0}, {1, 0, 0}}) {
    return log_->Start(at, [this](std::vector<storage::LogEvent> events) { Take(events); });
  }
  void OpenAndStart() {
    ASSERT_TRUE(Open().ok());
    ASSERT_TRUE(Start().ok());
    AwaitLeadership();
  }
  // Until it leads both, and the first entry of its term is committed.
  void AwaitLeadership() {
    for (uint32_t i = 0; i < kPartitions; ++i) {
      const auto change = Next<storage::RoleChange>();
      EXPECT_TRUE(change.leads);
      EXPECT_GT(change.acts_behind, 5u);
    }
    for (uint32_t i = 0; i < kPartitions; ++i) last_ = Next<Committed>();
    EXPECT_TRUE(last_.entry.empty());
  }
  void Submit(uint64_t number, const std::string& entry, bool sync) {
    storage::Submission submission;
    submission.sync = sync;
    submission.proposals.push_back({.partition = 1, .number = number, .entry = entry});
    std::vector<storage::LogEvent> events = log_->Submit(std::move(submission));
    here_ += events.size();
    Take(events);
  }
  // The next of these; what else comes is left.
  template <typename Event>
  Event Next() {
    base::MutexLock lock(mutex_);
    while (true) {
      for (auto it = events_.begin(); it != events_.end(); ++it) {
        if (!std::holds_alternative<Event>(*it)) continue;
        Event event = std::get<Event>(std::move(*it));
        events_.erase(it);
        return event;
      }
      EXPECT_TRUE(changed_.WaitFor(mutex_, absl::Seconds(30) * support::TestSlowdown()));
    }
  }
  std::vector<std::string> EntriesAfter(uint64_t after) {
    std::vector<std::string> found;
    const absl::Status read = log_->ReadAfter(1, after, [&](const LogEntry& entry) {
      found.emplace_back(entry.data);
      return absl::OkStatus();
    });
    EXPECT_TRUE(read.ok()) << read;
    return found;
  }
  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }

  const support::TempDir directory_;
  const std::shared_ptr<storage::FaultyDisk> disk_ = std::make_shared<storage::FaultyDisk>();
  const std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(disk_);
  storage::StorageOptions options_;
  storage::HostMetrics metrics_;
  bool create_ = true;
  Committed last_;
  size_t here_ = 0;  // Events that came with Submit.
  base::Mutex mutex_;
  base::CondVar changed_;
  std::deque<storage::LogEvent> events_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<storage::CommandLog> log_;

 private:
  void Take(std::vector<storage::LogEvent>& events) {
    base::MutexLock lock(mutex_);
    for (storage::LogEvent& event : events) events_.push_back(std::move(event));
    changed_.SignalAll();
  }
};

TEST_F(PartitionLogTest, CommitsWhatIsProposedAndReadsItBackAfterAStart) {
  OpenAndStart();
  Submit(1, "one", /*sync=*/true);
  const Committed one = Next<Committed>();
  EXPECT_EQ(one.index, last_.index + 1);
  EXPECT_EQ(one.proposal, 1u);
  EXPECT_EQ(one.entry, "one");
  Submit(2, "two", /*sync=*/true);
  EXPECT_EQ(Next<Committed>().entry, "two");
  EXPECT_TRUE(log_->Stop().ok());

  ASSERT_TRUE(Open().ok());
  EXPECT_THAT(EntriesAfter(0), ElementsAre("", "one", "two"));
  EXPECT_THAT(EntriesAfter(one.index), ElementsAre("two"));
  ASSERT_TRUE(Start({{0, 6, last_.term}, {1, one.index + 1, one.term}}).ok());
  AwaitLeadership();
  EXPECT_EQ(last_.index, one.index + 2);
  EXPECT_GT(last_.term, one.term);
}

// Two changes of threads would cost more than the write.
TEST_F(PartitionLogTest, WritesWhatNobodyWaitsForOnTheCallersThread) {
  OpenAndStart();
  const uint64_t fsyncs = metrics_.log_fsyncs.value();
  uint64_t number = 0;
  // The loop's thread may be on its way to rest.
  while (here_ == 0) {
    Submit(++number, "lazy", /*sync=*/false);
    EXPECT_EQ(Next<Committed>().proposal, number);
  }
  EXPECT_EQ(metrics_.log_fsyncs.value(), fsyncs);
  Submit(++number, "promised", /*sync=*/true);
  EXPECT_EQ(Next<Committed>().proposal, number);
  EXPECT_EQ(metrics_.log_fsyncs.value(), fsyncs + 1);
}

TEST_F(PartitionLogTest, WritesWhatIsInDoubtAgainUnderTheSameIndex) {
  OpenAndStart();
  disk_->Set(Fault::kSyncFails);
  Submit(1, "in doubt", /*sync=*/true);
  EXPECT_FALSE(Next<storage::LogHealth>().status.ok());
  EXPECT_EQ(metrics_.log_healthy.value(), 0);
  disk_->Set(Fault::kNone);
  absl::Status health;
  do {  // It may have tried before.
    health = Next<storage::LogHealth>().status;
  } while (!health.ok());
  EXPECT_EQ(Next<Committed>().index, last_.index + 1);
  EXPECT_THAT(EntriesAfter(last_.index), ElementsAre("in doubt"));
  EXPECT_EQ(metrics_.log_healthy.value(), 1);
}

TEST_F(PartitionLogTest, NoticesThatItsEndIsMissing) {
  OpenAndStart();
  Submit(1, "one", /*sync=*/true);
  const uint64_t last = Next<Committed>().index;
  EXPECT_TRUE(log_->Stop().ok());
  // A copy from before is put in its place.
  const std::string copy = Path("copy");
  ASSERT_TRUE(std::filesystem::create_directory(Path("checkpoint")));
  ASSERT_TRUE(Open().ok());
  ASSERT_TRUE(Start({{0, 6, last_.term}, {1, last, last_.term}}).ok());
  AwaitLeadership();
  ASSERT_TRUE(log_->Checkpoint(Path("checkpoint/log")).ok());
  Submit(2, "two", /*sync=*/true);
  Next<Committed>();
  const auto keep_on = [](uint64_t /*bytes*/, uint64_t /*total*/) { return true; };
  ASSERT_TRUE(storage::CopyBackup(Path("checkpoint"), copy, storage::Pace::kFull, keep_on).ok());
  EXPECT_TRUE(log_->Stop().ok());
  log_ = nullptr;
  std::filesystem::remove_all(Path("log"));
  std::filesystem::rename(copy + "/log", Path("log"));

  ASSERT_TRUE(Open().ok());
  const absl::Status strict = Start({{0, 7, last_.term}, {1, last + 1, last_.term}});
  EXPECT_EQ(strict.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(strict.message()), testing::HasSubstr("log_recovery: salvage"));
  options_.log_recovery = storage::LogRecovery::kSalvage;
  ASSERT_TRUE(Open().ok());
  EXPECT_TRUE(Start({{0, 7, last_.term}, {1, last + 1, last_.term}}).ok());
  EXPECT_EQ(metrics_.log_entries_lost.value(), 1);
}

TEST_F(PartitionLogTest, OfAMemberIsNeverSalvaged) {
  OpenAndStart();
  const std::vector<LogStart> here = {{0, 6, last_.term}, {1, last_.index, last_.term}};
  EXPECT_TRUE(log_->Stop().ok());
  log_ = nullptr;
  storage::LogEnd end(Path("log.end"), kPartitions, /*synced=*/true);
  end.Note(1, last_.index + 1);
  end.Claim();
  options_.log_recovery = storage::LogRecovery::kSalvage;
  ASSERT_TRUE(OpenInCluster().ok());
  EXPECT_EQ(Start(here).code(), absl::StatusCode::kDataLoss);
  ASSERT_TRUE(Open().ok());
  EXPECT_TRUE(Start(here).ok());
}

// A backup of a node of a cluster, as earlier releases made them.
TEST_F(PartitionLogTest, OfAMemberIsNotTakenForThatOfANodeAlone) {
  {
    auto store = LogStore::Open(Path("log"), options_, *env_, std::exchange(create_, false));
    ASSERT_TRUE(store.ok()) << store.status();
    const std::unique_ptr<EntryBatch> batch = (*store)->NewBatch();
    batch->Restart(1, kGroupBegin, {.voters = {1, 2, 3}});
    ASSERT_TRUE((*store)->Write(*batch, EntryStore::Sync::kYes).ok());
  }
  ASSERT_TRUE(Open().ok());
  const absl::Status start = Start();
  EXPECT_EQ(start.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(start.message()), testing::HasSubstr("must not come back"));
}

TEST_F(PartitionLogTest, SaysThatTheStateLacksWhatWasCut) {
  OpenAndStart();
  for (uint64_t number = 1; number <= 4; ++number) {
    Submit(number, std::string(1 << 20, 'x'), /*sync=*/true);
    last_ = Next<Committed>();
  }
  log_->Flushed(1, last_.index);
  Submit(5, "behind it", /*sync=*/true);
  Next<Committed>();
  EXPECT_TRUE(log_->Stop().ok());
  ASSERT_TRUE(Open().ok());
  EXPECT_THAT(EntriesAfter(last_.index), ElementsAre("behind it"));
  const absl::Status read =
      log_->ReadAfter(1, 6, [](const LogEntry& /*entry*/) { return absl::OkStatus(); });
  EXPECT_EQ(read.code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace cluster
