// The whole host on real files: threads, RocksDB, death by _exit.
#include "storage/partition_host.h"

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/listener.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <functional>
#include <future>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "cluster/log_store.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/backup.h"
#include "storage/core/command_codec.h"
#include "storage/core/keys.h"
#include "storage/data_dir.h"
#include "storage/leader/host.h"
#include "storage/rocksdb_threads.h"
#include "tests/storage/host_rig.h"

namespace storage {
namespace {

StorageOptions OptionsIn(const support::TempDir& directory) {
  StorageOptions options;
  options.data_dir = directory.path() + "/store";
  options.partitions = 4;
  options.min_free_disk_bytes = 0;
  return options;
}

std::vector<std::string> Payloads(const std::vector<Delivery>& deliveries) {
  std::vector<std::string> payloads;
  for (const Delivery& delivery : deliveries) {
    payloads.emplace_back(delivery.message->payload());
  }
  return payloads;
}

TEST(PartitionHost, DeliversToAConnectedDurableSession) {
  support::TempDir directory;
  HostRig rig(OptionsIn(directory));
  ASSERT_TRUE(rig.Open().ok());
  rig.Start();
  const SessionOpened opened = rig.OpenSession("bob");
  ASSERT_TRUE(opened.status.ok());
  EXPECT_TRUE(opened.durable);
  EXPECT_FALSE(opened.session_present);
  ASSERT_TRUE(rig.Subscribe("bob", opened.epoch, "a/#").status.ok());
  EXPECT_TRUE(rig.Publish(MakeMessage("a/1", "one")).status.ok());
  EXPECT_TRUE(rig.Publish(MakeMessage("b/1", "not for bob")).status.ok());
  EXPECT_TRUE(rig.Publish(MakeMessage("a/2", "two")).status.ok());
  const std::vector<Delivery> received = rig.Receive(opened.epoch, 2);
  EXPECT_THAT(Payloads(received), testing::ElementsAre("one", "two"));
  EXPECT_FALSE(received[0].dup);
  EXPECT_TRUE(rig.Stop().ok());
}

TEST(PartitionHost, KeepsWhatWasNotAcknowledgedOverAStop) {
  support::TempDir directory;
  {
    HostRig rig(OptionsIn(directory));
    ASSERT_TRUE(rig.Open().ok());
    rig.Start();
    const SessionOpened opened = rig.OpenSession("bob");
    ASSERT_TRUE(rig.Subscribe("bob", opened.epoch, "a/#").status.ok());
    for (const char* payload : {"one", "two", "three"}) {
      ASSERT_TRUE(rig.Publish(MakeMessage("a", payload)).status.ok());
    }
    const std::vector<Delivery> received = rig.Receive(opened.epoch, 3);
    rig.Acknowledge("bob", opened.epoch, received[0].sequence);
    ASSERT_TRUE(rig.Stop().ok());
  }
  HostRig rig(OptionsIn(directory));
  ASSERT_TRUE(rig.Open().ok());
  rig.Start();
  const SessionOpened opened = rig.OpenSession("bob");
  EXPECT_TRUE(opened.session_present);
  ASSERT_EQ(opened.subscriptions.size(), 1u);
  EXPECT_EQ(opened.subscriptions[0].filter, "a/#");
  const std::vector<Delivery> received = rig.Receive(opened.epoch, 2);
  EXPECT_THAT(Payloads(received), testing::ElementsAre("two", "three"));
  EXPECT_TRUE(received[0].dup);
  EXPECT_TRUE(rig.Stop().ok());
}

std::unique_ptr<cluster::LogStore> OpenLog(const StorageOptions& options) {
  auto log =
      cluster::LogStore::Open(options.data_dir + "/log", options, *rocksdb::Env::Default(), false);
  EXPECT_TRUE(log.ok()) << log.status();
  return *std::move(log);
}

// A command of a kind that this release does not know, and one behind it that it does.
void LogAsANewerReleaseWould(const StorageOptions& options, PartitionId partition, uint64_t last) {
  const auto log = OpenLog(options);
  const absl::StatusOr<cluster::EntryStore::Group> group = log->Load(partition);
  ASSERT_TRUE(group.ok()) << group.status();
  ASSERT_EQ(group->last, last);
  std::string known;
  AppendEnqueue({.time_unix_ms = 1, .order = 1}, MakeMessage("a", "behind it")->parts(), true, {},
                known);
  const uint64_t term = group->hard_state.term;
  const std::vector<cluster::EntryView> entries = {
      {.place = {last + 1, term}, .data = "\x0A\x04\xA2\x06\x01x"},
      {.place = {last + 2, term}, .data = known}};
  const auto batch = log->NewBatch();
  batch->Append(partition, entries, last);
  ASSERT_TRUE(log->Write(*batch, cluster::EntryStore::Sync::kYes).ok());
}

uint64_t EntriesAfter(uint64_t index, const StorageOptions& options, PartitionId partition) {
  const absl::StatusOr<cluster::EntryStore::Group> group = OpenLog(options)->Load(partition);
  EXPECT_TRUE(group.ok()) << group.status();
  EXPECT_LE(group->begin.index, index);
  return group->last - index;
}

uint64_t LastEntry(HostRig& rig, PartitionId partition) {
  std::promise<uint64_t> last;
  rig.host().Run([&](Host& host) { last.set_value(host.logged(partition)); });
  return last.get_future().get();
}

TEST(PartitionHost, KeepsWhatANewerReleaseLoggedAndServesTheOtherPartitions) {
  support::TempDir directory;
  const StorageOptions options = OptionsIn(directory);
  const PartitionId stopped = PartitionOfClient("bob", options.partitions);
  std::string other = "alice";
  while (PartitionOfClient(other, options.partitions) == stopped) other += "e";
  uint64_t last = 0;
  {
    HostRig rig(options);
    ASSERT_TRUE(rig.Open().ok());
    rig.Start();
    ASSERT_TRUE(rig.OpenSession("bob").status.ok());
    ASSERT_TRUE(rig.OpenSession(other).status.ok());
    last = LastEntry(rig, stopped);
    ASSERT_TRUE(rig.Stop().ok());
  }
  LogAsANewerReleaseWould(options, stopped, last);
  for (int start = 0; start < 2; ++start) {
    SCOPED_TRACE(start);
    HostRig rig(options);
    const absl::Status open = rig.Open();
    ASSERT_TRUE(open.ok()) << open;
    EXPECT_EQ(rig.host().metrics().partitions_stopped.value(), 1);
    rig.Start();
    EXPECT_FALSE(rig.OpenSession("bob").status.ok());
    EXPECT_TRUE(rig.OpenSession(other).session_present);
    const absl::Status stop = rig.Stop();
    EXPECT_TRUE(stop.ok()) << stop;
    // And the first entry of each term since.
    EXPECT_EQ(EntriesAfter(last, options, stopped), 3u + static_cast<uint64_t>(start));
  }
}

// What the child of the next test does: it publishes, says what was answered, and ends without a
// word in the middle of things. In a program of its own, because a process with threads cannot
// fork.
constexpr int kMessages = 200;
constexpr char kChildDirectory[] = "MQTTD_TEST_CHILD_DIRECTORY";
constexpr int kChildOutput = 3;

TEST(PartitionHostChild, DISABLED_PublishesAndDies) {
  const char* const directory = getenv(kChildDirectory);
  ASSERT_NE(directory, nullptr);
  StorageOptions options;
  options.data_dir = directory;
  options.partitions = 4;
  options.min_free_disk_bytes = 0;
  HostRig rig(options);
  CHECK(rig.Open().ok()) << "open";
  rig.Start();
  const SessionOpened opened = rig.OpenSession("bob");
  CHECK(rig.Subscribe("bob", opened.epoch, "a/#").status.ok()) << "subscribe";
  std::vector<Token> tokens;
  for (int i = 0; i < kMessages; ++i) {
    tokens.push_back(rig.SendPublish(MakeMessage("a", std::to_string(i))));
  }
  for (int i = 0; i < kMessages; ++i) {
    if (!rig.ears().Await<Published>(tokens[static_cast<size_t>(i)]).status.ok()) continue;
    CHECK(write(kChildOutput, &i, sizeof(i)) == sizeof(i)) << "pipe";
  }
  _exit(0);
}

TEST(PartitionHost, LosesNothingThatWasAnsweredWhenTheProcessDies) {
  support::TempDir directory;
  const StorageOptions options = OptionsIn(directory);
  int answered[2];
  ASSERT_EQ(pipe(answered), 0);
  ASSERT_EQ(setenv(kChildDirectory, options.data_dir.c_str(), 1), 0);
  const pid_t child = vfork();
  if (child == 0) {
    dup2(answered[1], kChildOutput);
    execl("/proc/self/exe", "child", "--gtest_filter=PartitionHostChild.*",
          "--gtest_also_run_disabled_tests", "--gtest_output=", nullptr);
    _exit(1);
  }
  close(answered[1]);
  std::vector<std::string> promised;
  for (int i = 0; read(answered[0], &i, sizeof(i)) == sizeof(i);) {
    promised.push_back(std::to_string(i));
  }
  close(answered[0]);
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(status, 0);
  ASSERT_EQ(promised.size(), static_cast<size_t>(kMessages));

  HostRig rig(options);
  ASSERT_TRUE(rig.Open().ok());
  rig.Start();
  const SessionOpened opened = rig.OpenSession("bob", 3600, 1000);
  EXPECT_TRUE(opened.session_present);
  EXPECT_EQ(Payloads(rig.Receive(opened.epoch, kMessages)), promised);
  EXPECT_TRUE(rig.Stop().ok());
}

// For the log's sake: nothing of it changes the state.
void PublishUntilTheStateIsFlushed(HostRig& rig) {
  while (rig.host().metrics().state_flushes.value() == 0) {
    ASSERT_TRUE(rig.Publish(MakeMessage("nobody", std::string(100'000, 'x'))).status.ok());
  }
}

TEST(PartitionHost, CutsALogWhoseEntriesChangeNothing) {
  support::TempDir directory;
  StorageOptions options = OptionsIn(directory);
  options.durability = Durability::kNone;
  options.log_memtable_bytes = 1 << 20;
  HostRig rig(options);
  ASSERT_TRUE(rig.Open().ok());
  rig.Start();
  ASSERT_NO_FATAL_FAILURE(PublishUntilTheStateIsFlushed(rig));
  EXPECT_TRUE(rig.Stop().ok());
}

// The nice value of this process's thread of that name.
std::optional<int> NiceOfThread(std::string_view wanted) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/task")) {
    std::string name;
    std::ifstream comm(entry.path() / "comm");
    std::getline(comm, name);
    if (name != wanted) continue;
    errno = 0;
    const int nice =
        getpriority(PRIO_PROCESS, static_cast<id_t>(std::stoul(entry.path().filename())));
    if (errno == 0) return nice;
  }
  return std::nullopt;
}

int LowerNice() {
  return std::min(getpriority(PRIO_PROCESS, static_cast<id_t>(getpid())) + 10, 19);
}

TEST(PartitionHost, ItsThreadsGiveWayToTheShards) {
  support::TempDir directory;
  HostRig rig(OptionsIn(directory));
  ASSERT_TRUE(rig.Open().ok());
  rig.Start();
  ASSERT_TRUE(rig.OpenSession("bob").status.ok());  // Through both.
  EXPECT_EQ(NiceOfThread("partitions"), LowerNice());
  EXPECT_EQ(NiceOfThread("raft"), LowerNice());
  EXPECT_TRUE(rig.Stop().ok());
}

TEST(RocksDbThreads, GiveWayFromTheirFirstFlushOrCompactionOn) {
  const auto listener = MakeThreadPriorityListener();
  const auto nice_after = [](const std::function<void()>& job) {
    int nice = 0;
    std::thread([&] {
      job();
      nice = getpriority(PRIO_PROCESS, 0);
    }).join();
    return nice;
  };
  EXPECT_EQ(nice_after([&] { listener->OnFlushBegin(nullptr, {}); }), LowerNice());
  EXPECT_EQ(nice_after([&] { listener->OnCompactionBegin(nullptr, {}); }), LowerNice());
}

TEST(RocksDbThreads, AreToldByTheStore) {
  support::TempDir directory;
  StorageOptions options = OptionsIn(directory);
  options.log_memtable_bytes = 1 << 20;
  HostRig rig(options);
  ASSERT_TRUE(rig.Open().ok());
  rig.Start();
  ASSERT_NO_FATAL_FAILURE(PublishUntilTheStateIsFlushed(rig));
  EXPECT_EQ(NiceOfThread("rocksdb:high"), LowerNice());
  EXPECT_TRUE(rig.Stop().ok());
}

TEST(PartitionHost, TakesOverWithinOneProcess) {
  support::TempDir directory;
  HostRig rig(OptionsIn(directory));
  ASSERT_TRUE(rig.Open().ok());
  rig.Start();
  const SessionOpened first = rig.OpenSession("bob");
  const ConnectionRef first_connection = rig.last_connection();
  OpenSession open;
  open.token = 1000;
  open.connection = {.shard = 0, .incarnation = rig.host().incarnation(), .connection = 77};
  open.client_id = "bob";
  open.expiry_s = 60;
  open.window_messages = 1;
  rig.Send(open);
  const TakenOver taken = rig.ears().Await<TakenOver>();
  EXPECT_EQ(taken.connection, first_connection);
  EXPECT_EQ(taken.epoch, first.epoch);
  EXPECT_EQ(rig.ears().Count<SessionOpened>(), 0u);
  CloseSession close;
  close.client_id = "bob";
  close.epoch = first.epoch;
  close.connection = first_connection;
  close.cause = CloseCause::kTakenOver;
  rig.Send(close);
  const SessionOpened second = rig.ears().Await<SessionOpened>(Token{1000});
  EXPECT_TRUE(second.session_present);
  EXPECT_GT(second.epoch, first.epoch);
  EXPECT_TRUE(rig.Stop().ok());
}

TEST(PartitionHost, RefusesADirectoryInUse) {
  support::TempDir directory;
  HostRig first(OptionsIn(directory));
  ASSERT_TRUE(first.Open().ok());
  HostRig second(OptionsIn(directory));
  const absl::Status status = second.Open();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("in use by another process"));
}

TEST(PartitionHost, RefusesAnotherNumberOfPartitions) {
  support::TempDir directory;
  StorageOptions options = OptionsIn(directory);
  {
    HostRig rig(options);
    ASSERT_TRUE(rig.Open().ok());
  }
  options.partitions = 8;
  HostRig rig(options);
  const absl::Status status = rig.Open();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("was made with 4"));
}

TEST(PartitionHost, RefusesAFormatItDoesNotKnow) {
  support::TempDir directory;
  {
    HostRig rig(OptionsIn(directory));
    ASSERT_TRUE(rig.Open().ok());
  }
  std::ofstream(directory.path() + "/store/node")
      << "format_version: 999\nnode_id: x\npartitions: 4\n";
  HostRig rig(OptionsIn(directory));
  const absl::Status status = rig.Open();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("format version 999"));
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("newer release"));
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(PartitionHost, TakesAnEarlierFormatOverOnceItHasReadAllOfIt) {
  support::TempDir directory;
  const StorageOptions options = OptionsIn(directory);
  {
    HostRig rig(options);
    ASSERT_TRUE(rig.Open().ok());
  }
  const std::string node = options.data_dir + "/node";
  const std::string ours = ReadFile(node);
  ASSERT_THAT(ours, testing::StartsWith("format_version: 3\n"));
  std::string earlier = ours;
  earlier.replace(16, 1, "1");
  std::ofstream(node) << earlier;
  std::filesystem::remove(options.data_dir + "/log.end");  // It is about another log.
  std::filesystem::rename(options.data_dir + "/log", options.data_dir + "/elsewhere");
  {
    HostRig rig(options);
    EXPECT_FALSE(rig.Open().ok());
  }
  EXPECT_EQ(ReadFile(node), earlier);  // It could not be read.
  std::filesystem::remove_all(options.data_dir + "/log");
  std::filesystem::rename(options.data_dir + "/elsewhere", options.data_dir + "/log");
  HostRig rig(options);
  ASSERT_TRUE(rig.Open().ok());
  EXPECT_EQ(ReadFile(node), ours);
}

TEST(PartitionHost, KeepsItsIdentity) {
  support::TempDir directory;
  std::string id;
  {
    HostRig rig(OptionsIn(directory));
    ASSERT_TRUE(rig.Open().ok());
    id = rig.host().node_id();
    EXPECT_EQ(id.size(), 36u);
  }
  HostRig rig(OptionsIn(directory));
  ASSERT_TRUE(rig.Open().ok());
  EXPECT_EQ(rig.host().node_id(), id);
}

TEST(PartitionHost, CountsItsStarts) {
  support::TempDir directory;
  const StorageOptions options = OptionsIn(directory);
  const std::string file = options.data_dir + "/incarnation";
  for (uint32_t start = 1; start <= 3; ++start) {
    HostRig rig(options);
    ASSERT_TRUE(rig.Open().ok());
    EXPECT_EQ(rig.host().incarnation(), Incarnation(start));
  }
  EXPECT_EQ(ReadFile(file), "incarnation: 3\n");
  std::ofstream(file) << "incarnation: ";
  {
    HostRig rig(options);
    const absl::Status status = rig.Open();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("/incarnation is damaged"));
  }
  std::filesystem::remove(file);  // As an earlier release left it.
  HostRig rig(options);
  ASSERT_TRUE(rig.Open().ok());
  EXPECT_EQ(rig.host().incarnation(), Incarnation(1));
}

// A log whose partitions another node leads: it says what the test says.
class FollowedLog final : public CommandLog {
 public:
  struct Shared {
    base::Mutex mutex;
    base::CondVar changed;
    Post post ABSL_GUARDED_BY(mutex);
    uint64_t flushed ABSL_GUARDED_BY(mutex) = 0;
  };
  explicit FollowedLog(Shared& shared) : shared_(shared) {}

  absl::Status ReadAfter(PartitionId, uint64_t, const Visit&) override { return absl::OkStatus(); }
  absl::Status Start(absl::Span<const LogStart>, Post post) override {
    base::MutexLock lock(shared_.mutex);
    shared_.post = std::move(post);
    return absl::OkStatus();
  }
  std::vector<LogEvent> Submit(Submission) override { return {}; }
  void Flushed(PartitionId, uint64_t index) override {
    base::MutexLock lock(shared_.mutex);
    shared_.flushed = std::max(shared_.flushed, index);
    shared_.changed.SignalAll();
  }
  void TellCommitted(PartitionId) override {}
  void SetFit(PartitionId, bool) override {}
  void ReadBarrier(PartitionId, uint64_t) override {}
  absl::Status Checkpoint(const std::string&) override { return absl::OkStatus(); }
  absl::Status Stop() override { return absl::OkStatus(); }

 private:
  Shared& shared_;
};

// The log of a node that follows fills by what others propose. Where that changes the state little
// (messages that are acknowledged soon), it would never be written out, and the log never cut.
TEST(PartitionHost, WhatOthersProposeHasTheStateWrittenOutToo) {
  support::TempDir directory;
  StorageOptions options = OptionsIn(directory);
  options.log_memtable_bytes = 1 << 20;
  Ears ears;
  FollowedLog::Shared log;
  auto opened = PartitionHost::Open(
      options, [&log](const CommandLogPlace&) { return std::make_unique<FollowedLog>(log); },
      base::RealClock::Get(), ears, 1);
  ASSERT_TRUE(opened.ok()) << opened.status();
  PartitionHost& host = **opened;
  ears.Attach(&host);
  host.Start([] {});
  std::string entry;
  AppendEnqueue({.time_unix_ms = 1, .order = 1},
                MakeMessage("a", std::string(100'000, 'x'))->parts(), true, {}, entry);
  std::vector<LogEvent> events;
  for (uint64_t index = kLogBegin.index + 1; index <= kLogBegin.index + 20; ++index)
    events.emplace_back(Committed{.index = index, .term = kLogBegin.term, .entry = entry});
  {
    base::MutexLock lock(log.mutex);
    log.post(std::move(events));
    while (log.flushed == 0) {
      if (!log.changed.WaitFor(log.mutex, absl::Seconds(60))) break;
    }
    EXPECT_GT(log.flushed, kLogBegin.index);
  }
  EXPECT_TRUE(host.Stop().ok());
  ears.Attach(nullptr);
}

// A disk on which a link takes until it is let go.
class SlowLinks final : public rocksdb::FileSystemWrapper {
 public:
  // To what has this in its path.
  explicit SlowLinks(std::string slow)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), slow_(std::move(slow)) {}
  const char* Name() const override { return "SlowLinks"; }
  rocksdb::IOStatus LinkFile(const std::string& from, const std::string& to,
                             const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override {
    const bool slow = to.find(slow_) != std::string::npos;
    if (slow && !std::exchange(begun_told_, true)) begun_.set_value();
    if (slow) go_on_.wait();
    return target()->LinkFile(from, to, options, debug);
  }
  void AwaitBegin() { begun_.get_future().wait(); }
  void GoOn() { let_go_.set_value(); }

 private:
  const std::string slow_;
  bool begun_told_ = false;  // Of the one thread that makes a copy.
  std::promise<void> begun_;
  std::promise<void> let_go_;
  const std::shared_future<void> go_on_ = let_go_.get_future().share();
};

bool KeepOn(uint64_t /*bytes*/, uint64_t /*bytes_total*/) { return true; }

// Neither the host nor the log waits for the files of a copy; and what it has is what there was
// when the log's were taken.
TEST(PartitionHost, GoesOnWhileACopyIsMade) {
  for (const std::string part : {"/checkpoint/state/", "/checkpoint/log/"}) {
    support::TempDir directory;
    const auto disk = std::make_shared<SlowLinks>(part);
    const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(disk);
    HostRig rig(OptionsIn(directory), env.get());
    ASSERT_TRUE(rig.Open().ok());
    rig.Start();
    const SessionOpened opened = rig.OpenSession("bob");
    ASSERT_TRUE(rig.Subscribe("bob", opened.epoch, "a").status.ok());
    EXPECT_TRUE(rig.Publish(MakeMessage("a", "before")).status.ok());

    const std::string checkpoint = directory.path() + "/checkpoint";
    std::promise<absl::Status> copied;
    rig.host().Checkpoint(checkpoint, [&](absl::Status status) { copied.set_value(status); });
    disk->AwaitBegin();
    EXPECT_TRUE(rig.Publish(MakeMessage("a", "meanwhile")).status.ok());
    disk->GoOn();
    const absl::Status made = copied.get_future().get();
    ASSERT_TRUE(made.ok()) << made;
    EXPECT_TRUE(rig.Publish(MakeMessage("a", "after")).status.ok());
    StorageOptions options = OptionsIn(directory);
    options.data_dir = directory.path() + "/copy";
    ASSERT_TRUE(CopyBackup(checkpoint, options.data_dir, Pace::kGivesWay, KeepOn).ok());
    EXPECT_TRUE(VerifyBackup(options.data_dir, Pace::kGivesWay, [] { return true; }).ok());
    int pieces = 0;
    EXPECT_TRUE(absl::IsCancelled(
        VerifyBackup(options.data_dir, Pace::kGivesWay, [&] { return ++pieces < 3; }).status()))
        << "nobody waits for it any more";
    ASSERT_TRUE(rig.Stop().ok());

    HostRig restored(options);
    ASSERT_TRUE(restored.Open().ok());
    restored.Start();
    const SessionOpened again = restored.OpenSession("bob");
    EXPECT_TRUE(again.session_present);
    const bool has_meanwhile = part == "/checkpoint/state/";  // The log's files come behind.
    EXPECT_TRUE(restored.Publish(MakeMessage("a", "new")).status.ok());
    EXPECT_EQ(Payloads(restored.Receive(again.epoch, has_meanwhile ? 3 : 2)),
              has_meanwhile ? (std::vector<std::string>{"before", "meanwhile", "new"})
                            : (std::vector<std::string>{"before", "new"}));
    ASSERT_TRUE(restored.Stop().ok());
  }
}

TEST(CopyBackup, RefusesACheckpointOfWhichItIsNotKnownWhatCounts) {
  support::TempDir directory;
  const std::string checkpoint = directory.path() + "/checkpoint";
  std::filesystem::create_directories(checkpoint + "/log");
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(checkpoint + "/log/" + name) << text;
  };
  write("1.log", "counts, and what comes behind it");
  write("LENGTHS", "1.log 6\n");
  const std::string to = directory.path() + "/to";
  ASSERT_TRUE(CopyBackup(checkpoint, to, Pace::kFull, KeepOn).ok());
  EXPECT_EQ(std::filesystem::file_size(to + "/log/1.log"), 6u);
  write("LENGTHS", "1.log ");
  EXPECT_FALSE(CopyBackup(checkpoint, to + "2", Pace::kFull, KeepOn).ok());
}

// Where a volume is mounted nothing can be renamed to, and beside it is another file system.
TEST(CopyBackup, FillsAnEmptyDirectoryThatIsThere) {
  namespace fs = std::filesystem;
  support::TempDir directory;
  const std::string checkpoint = directory.path() + "/checkpoint";
  fs::create_directories(checkpoint + "/log");
  std::ofstream(checkpoint + "/node") << "node";
  std::ofstream(checkpoint + "/log/CURRENT") << "log";
  const std::string to = directory.path() + "/parent/to";
  fs::create_directories(to + "/lost+found");
  struct stat before = {};
  ASSERT_EQ(stat(to.c_str(), &before), 0);

  ASSERT_TRUE(
      absl::IsCancelled(CopyBackup(checkpoint, to + "/", Pace::kFull,
                                   [](uint64_t done, uint64_t /*all*/) { return done == 0; })));
  EXPECT_FALSE(fs::exists(to + "/" + kUnfinishedCopy)) << "nothing is left of one that is stopped";
  // Of one in the midst of which the machine stopped something is.
  fs::create_directories(to + "/" + kUnfinishedCopy);
  std::ofstream(to + "/" + kUnfinishedCopy + "/" + kNamesOfCopy) << "node\nlog\n";
  fs::create_directories(to + "/log");
  std::ofstream(to + "/log/CURRENT") << "a part";
  const auto opened = DataDir::Open(to, 1, *rocksdb::Env::Default());
  EXPECT_EQ(opened.status().code(), absl::StatusCode::kFailedPrecondition) << opened.status();

  ASSERT_TRUE(CopyBackup(checkpoint, to + "/", Pace::kFull, KeepOn).ok());
  EXPECT_EQ(fs::file_size(to + "/log/CURRENT"), 3u);
  EXPECT_TRUE(fs::exists(to + "/node"));
  EXPECT_FALSE(fs::exists(to + "/" + kUnfinishedCopy));
  struct stat after = {};
  ASSERT_EQ(stat(to.c_str(), &after), 0);
  EXPECT_EQ(after.st_ino, before.st_ino) << "it is still the same directory";
  EXPECT_EQ(std::distance(fs::directory_iterator(directory.path() + "/parent"), {}), 1)
      << "nothing was written beside it";
  EXPECT_TRUE(absl::IsAlreadyExists(CopyBackup(checkpoint, to, Pace::kFull, KeepOn)));
  const std::string fresh = directory.path() + "/fresh/";
  ASSERT_TRUE(CopyBackup(checkpoint, fresh, Pace::kFull, KeepOn).ok());
  EXPECT_TRUE(fs::exists(fresh + "node"));
}

// Whoever put it there has it only once.
TEST(CopyBackup, RemovesNothingThatNoCopyHasWritten) {
  namespace fs = std::filesystem;
  support::TempDir directory;
  const std::string backup = directory.path() + "/backup";
  fs::create_directories(backup + "/log");
  std::ofstream(backup + "/node") << "node";
  std::ofstream(backup + "/log/CURRENT") << "log";
  const std::string to = directory.path() + "/to";
  for (const bool moved : {false, true}) {
    fs::create_directories(to + "/" + kUnfinishedCopy);
    if (moved) std::ofstream(to + "/" + kUnfinishedCopy + "/" + kNamesOfCopy) << "node\nlog\n";
    fs::create_directories(to + "/log");
    const std::string theirs = to + (moved ? "/theirs" : "/log/theirs");
    std::ofstream(theirs) << "somebody's";
    for (const absl::Status& status :
         {CopyBackup(backup, to, Pace::kFull, KeepOn), RestoreBackup(backup, to, KeepOn)}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
      EXPECT_THAT(std::string(status.message()), testing::HasSubstr(moved ? " theirs" : " log"));
    }
    EXPECT_TRUE(fs::exists(theirs));
    EXPECT_TRUE(fs::exists(to + "/log"));
    fs::remove_all(theirs);
    if (!moved) fs::remove_all(to + "/log");
    EXPECT_TRUE(CopyBackup(backup, to, Pace::kFull, KeepOn).ok());
    EXPECT_TRUE(fs::exists(to + "/node"));
    EXPECT_FALSE(fs::exists(to + "/" + kUnfinishedCopy));
    fs::remove_all(to);
  }
  fs::create_directories(to + ".partial/state");
  std::ofstream(to + ".partial/theirs") << "somebody's";
  EXPECT_FALSE(CopyBackup(backup, to, Pace::kFull, KeepOn).ok());
  EXPECT_TRUE(fs::exists(to + ".partial/theirs"));
  fs::remove(to + ".partial/theirs");
  EXPECT_TRUE(CopyBackup(backup, to, Pace::kFull, KeepOn).ok());
}

TEST(DataDir, RemovesWhatABackupLeftThatWasKilled) {
  support::TempDir directory;
  const std::string checkpoint = CheckpointIn(directory.path());
  std::filesystem::create_directories(checkpoint + "/log");
  std::ofstream(checkpoint + "/log/000001.log") << "a link to what is deleted since";
  ASSERT_TRUE(DataDir::Open(directory.path(), 1, *rocksdb::Env::Default()).ok());
  EXPECT_FALSE(std::filesystem::exists(checkpoint));
}

}  // namespace
}  // namespace storage
