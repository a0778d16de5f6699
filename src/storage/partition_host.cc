#include "storage/partition_host.h"

#include <poll.h>
#include <pthread.h>
#include <rocksdb/env.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <thread>
#include <utility>
#include <variant>

#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/check.h"
#include "base/log.h"
#include "base/mailbox.h"
#include "base/mutex.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "base/thread_priority.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/keys.h"
#include "storage/core/time_record.h"
#include "storage/data_dir.h"
#include "storage/former_log.h"
#include "storage/leader/aside.h"
#include "storage/leader/host.h"
#include "storage/leader/read_barriers.h"
#include "storage/leader/routes.h"
#include "storage/log_end.h"
#include "storage/rocksdb_status.h"
#include "storage/state_db.h"

namespace storage {
namespace {

constexpr absl::Duration kDiskCheck = absl::Seconds(1);
// So often the wall clock is looked at, in case that it was set; and so old may DATA_DIR/time be,
// or less would be known of a machine whose wall clock is not set after the next power cut.
constexpr absl::Duration kWallCheck = absl::Seconds(10);
constexpr absl::Duration kTimeRecordAgeMax = absl::Minutes(10);
// So often a node that is aside looks whether its disk works again.
constexpr absl::Duration kAsideLook = absl::Seconds(1);
constexpr absl::Duration kStopPatience = absl::Seconds(5);

// What wakes the host's thread.
struct FromShard {
  ShardAddress shard;
  std::vector<Addressed> requests;
};
struct Task {
  std::function<void(Host&)> run;
};
// Does not wait for the start.
struct News {
  std::function<void(Host&)> tell;
};
struct StateFlushed {};
struct StateFailed {
  absl::Status status;
};
struct StopRequested {};
struct CopyRequested {
  std::string directory;
  std::function<void(absl::Status)> done;
};
struct Copied {
  absl::Status status;
};
using Input = std::variant<FromShard, std::vector<LogEvent>, Task, News, StateFlushed, StateFailed,
                           CopyRequested, Copied, StopRequested>;

// An eventfd to sleep on.
class Bell {
 public:
  Bell() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) { CHECK(fd_ >= 0) << "no eventfd"; }
  ~Bell() { close(fd_); }
  Bell(const Bell&) = delete;
  Bell& operator=(const Bell&) = delete;

  void Ring() const {
    const uint64_t one = 1;
    const ssize_t written = write(fd_, &one, sizeof(one));
    CHECK(written == sizeof(one)) << "an eventfd takes every ring";
  }
  // Until somebody rings, or the time is over.
  void Wait(absl::Duration timeout) const {
    pollfd waiting{.fd = fd_, .events = POLLIN, .revents = 0};
    const timespec limit = absl::ToTimespec(std::max(timeout, absl::ZeroDuration()));
    if (ppoll(&waiting, 1, &limit, nullptr) > 0) {
      uint64_t rings = 0;
      const ssize_t taken = read(fd_, &rings, sizeof(rings));
      (void)taken;  // Nothing to take: somebody rings again.
    }
  }

 private:
  const int fd_;
};

class RocksPartitionHost final : public PartitionHost {
 public:
  RocksPartitionHost(const StorageOptions& options, const base::Clock& clock, EventSink& sink,
                     ShardId shards, rocksdb::Env& env)
      : options_(options),
        clock_(clock),
        sink_(sink),
        shards_(shards),
        env_(env),
        aside_(options.partitions),
        mailbox_([this] { bell_.Ring(); }) {}
  ~RocksPartitionHost() override;

  absl::Status OpenStore(const CommandLogOpener& open_log);
  void Start(std::function<void()> ready) override;
  void Submit(const ShardAddress& from, std::vector<Addressed> batch) override;
  void SetNodes(const LiveNode& self, std::vector<LiveNode> others) override;
  void Resync(NodeId node, std::function<void()> begins) override;
  void OnHostMessage(NodeId from, Incarnation life, HostMessage message) override;
  void SetSend(std::function<void(NodeId to, HostMessage message)> send) override;
  void SetDoor(SetClosed close) override { close_ = std::move(close); }
  void Run(std::function<void(Host&)> task) override;
  void Checkpoint(std::string directory, std::function<void(absl::Status)> done) override;
  absl::Status Stop() override;
  const HostMetrics& metrics() const override { return metrics_; }
  PartitionMask led() const override { return core_ == nullptr ? 0 : core_->node().led.load(); }
  uint32_t partitions() const override { return options_.partitions; }
  const std::string& node_id() const override { return dir_->node_id(); }

 private:
  absl::Status OpenLog(const CommandLogOpener& open_log);
  absl::Status StartLog();
  absl::Status ForEachPartition(absl::FunctionRef<absl::Status(PartitionId)> visit) const;
  absl::Status Upgrade();
  void Serve();
  void TakeInputs();
  void On(FromShard& input);
  void On(std::vector<LogEvent>& input);
  void On(Task& input);
  void On(News& input) { input.tell(*core_); }
  void On(StateFlushed& input);
  void On(StateFailed& input);
  void On(CopyRequested& input);
  void On(Copied& input);
  void On(StopRequested& input);
  absl::Status Copy(const std::string& to);
  void RunCore();
  void DriveLog();
  void BoundReplay();
  void BeginFlush();
  void CheckDisk();
  void PostEvents();
  Aside::Moment Moment() const {
    return {.now = clock_.Monotonic(), .log_since = log_->writes_since()};
  }
  bool StepsAside(NodeId from, const KnowRoutes& question) ABSL_LOCKS_EXCLUDED(aside_mutex_);
  void BeginTurn() ABSL_LOCKS_EXCLUDED(aside_mutex_);
  void EndTurn() ABSL_LOCKS_EXCLUDED(aside_mutex_);
  bool MayStop() const;
  void Sleep();
  HostTime Now();
  TimeRecord ReadClocks();
  void SetTimeline();
  void KeepTime();
  void RecordTime(const TimeRecord& record, bool sync);
  absl::Status CutLog();
  absl::Status ShutDown();

  const StorageOptions options_;
  const base::Clock& clock_;
  EventSink& sink_;
  const ShardId shards_;
  rocksdb::Env& env_;
  HostMetrics metrics_;
  base::Mutex aside_mutex_;
  Aside aside_ ABSL_GUARDED_BY(aside_mutex_);
  SetClosed close_;
  Bell bell_;
  base::Mailbox<Input> mailbox_;

  // Set up by OpenStore, then the host's thread only.
  std::unique_ptr<DataDir> dir_;
  std::unique_ptr<StateDb> state_;
  std::unique_ptr<Host> core_;
  std::unique_ptr<CommandLog> log_;
  std::vector<FromShard> held_;  // Until the start is committed.
  std::vector<Task> early_;      // Likewise.
  absl::Duration next_disk_check_;
  absl::Duration slept_;  // By the machine, as far as the timeline knows.
  absl::Duration next_wall_check_;
  TimeRecord recorded_;                // As DATA_DIR/time has it.
  bool time_record_fails_ = false;     // Which was told.
  uint64_t log_bytes_ = 0;             // In the log since the state was last to be written out.
  bool flush_begins_ = false;          // When the core has handed over everything.
  std::optional<CopyRequested> copy_;  // Under way: the log is not cut meanwhile.
  std::thread copier_;                 // Makes it.
  bool disk_low_ = false;
  bool stopping_ = false;
  absl::Duration stops_at_;  // In a cluster, whatever is left then.

  std::thread thread_;
  absl::Status stop_status_;  // Of the thread's end.
};

// ---- Opening -----------------------------------------------------------------------------------

absl::Status RocksPartitionHost::OpenStore(const CommandLogOpener& open_log) {
  ASSIGN_OR_RETURN(dir_, DataDir::Open(options_.data_dir, options_.partitions, env_));
  const bool create = dir_->created();
  if (dir_->open_to_others()) {
    base::Log(base::LogLevel::kWarning, "other users of this machine may read the data directory",
              {{"data_dir", options_.data_dir},
               {"mode", absl::StrFormat("%04o", dir_->mode())},
               {"advice", absl::StrCat("chmod -R go= ", options_.data_dir)}});
  }
  StateDb::Listener listener;
  listener.flushed = [this] { mailbox_.PostOne(StateFlushed{}); };
  listener.failed = [this](absl::Status status) {
    mailbox_.PostOne(StateFailed{std::move(status)});
  };
  ASSIGN_OR_RETURN(state_,
                   StateDb::Open(dir_->state_path(), options_, env_, create, std::move(listener)));
  base::Rng rng = base::Rng::FromEntropy();
  core_ = std::make_unique<Host>(options_, shards_, *state_, metrics_, rng);
  RETURN_IF_ERROR(core_->Load());
  if (dir_->needs_upgrade()) RETURN_IF_ERROR(Upgrade());
  RETURN_IF_ERROR(OpenLog(open_log));
  state_->SetPatient(false);
  SetTimeline();
  if (create) RETURN_IF_ERROR(dir_->FinishCreation());
  ASSIGN_OR_RETURN(incarnation_, dir_->BeginIncarnation());
  core_->SetSelf(node_, incarnation_);
  core_->node().may_publish = [this](const SessionUser& author, std::string_view topic) {
    return sink_.MayPublish(author, topic);
  };
  core_->node().may_read = [this](const SessionUser& reader, std::string_view topic) {
    return sink_.MayRead(reader, topic);
  };
  core_->SetLogReader([this](PartitionId partition, uint64_t after,
                             const std::function<absl::Status(const LogEntry&)>& visit) {
    return log_->ReadAfter(partition, after, visit);
  });
  return absl::OkStatus();
}

absl::Status RocksPartitionHost::OpenLog(const CommandLogOpener& open_log) {
  ASSIGN_OR_RETURN(log_, open_log({.path = dir_->log_path(),
                                   .end_path = dir_->log_end_path(),
                                   .create = dir_->created(),
                                   .options = options_,
                                   .env = env_,
                                   .clock = clock_,
                                   .metrics = metrics_}));
  uint64_t replayed = 0;
  const absl::Duration begin = clock_.Monotonic();
  RETURN_IF_ERROR(ForEachPartition([&](PartitionId id) {
    return log_->ReadAfter(id, core_->applied(id), [&](const LogEntry& entry) {
      ++replayed;
      log_bytes_ += entry.data.size();  // A start that follows another replays all of it again.
      return core_->Replay(entry);
    });
  }));
  base::Log(base::LogLevel::kInfo, "store opened",
            {{"data_dir", options_.data_dir},
             {"node_id", dir_->node_id()},
             {"replayed_entries", replayed},
             {"replay_time", clock_.Monotonic() - begin}});
  return StartLog();
}

absl::Status RocksPartitionHost::ForEachPartition(
    absl::FunctionRef<absl::Status(PartitionId)> visit) const {
  for (uint32_t i = 0; i < options_.partitions; ++i) {
    RETURN_IF_ERROR(visit(static_cast<PartitionId>(i)));
  }
  return absl::OkStatus();
}

absl::Status RocksPartitionHost::StartLog() {
  std::vector<LogStart> starts;
  for (uint32_t i = 0; i < options_.partitions; ++i) {
    const auto id = static_cast<PartitionId>(i);
    const Partition& partition = core_->partition(id);
    starts.push_back({id, partition.applied_index(), partition.applied_term()});
  }
  return log_->Start(starts,
                     [this](std::vector<LogEvent> events) { mailbox_.PostOne(std::move(events)); });
}

// The log of formats 1 and 2 is read to its end, and what it made is written out. Then it is
// emptied, and each partition's log begins anew, as if what is applied had been its first entry.
// Until the end of it another release would find what it left, or the same without need of the log.
absl::Status RocksPartitionHost::Upgrade() {
  ASSIGN_OR_RETURN(const std::unique_ptr<FormerLog> log,
                   FormerLog::Open(dir_->log_path(), options_, env_));
  const LogEnd end(dir_->log_end_path(), options_.partitions,
                   options_.durability == Durability::kSync);
  RETURN_IF_ERROR(ForEachPartition([&](PartitionId id) -> absl::Status {
    absl::Status read = log->ReadAfter(
        id, core_->applied(id), [this](const LogEntry& entry) { return core_->Replay(entry); });
    if (!read.ok() || end.claimed(id) <= core_->logged(id)) return read;
    return end.Missing(id, core_->logged(id), options_.log_recovery);
  }));
  RETURN_IF_ERROR(core_->BeginLogs());
  RETURN_IF_ERROR(state_->Flush());
  RETURN_IF_ERROR(log->Empty());
  RETURN_IF_ERROR(log->Close());
  const uint32_t from = dir_->format();
  RETURN_IF_ERROR(dir_->FinishUpgrade());
  base::Log(
      base::LogLevel::kInfo,
      "data directory upgraded to a new format: earlier releases cannot open it any more",
      {{"data_dir", options_.data_dir}, {"from_format", from}, {"to_format", dir_->format()}});
  return absl::OkStatus();
}

void RocksPartitionHost::Start(std::function<void()> ready) {
  CHECK(!thread_.joinable()) << "started twice";
  // What the machine slept until now is in the cluster's time.
  if (core_->shards().in_cluster()) slept_ = clock_.SinceBoot() - clock_.Monotonic();
  core_->SetTime(Now());
  core_->Begin(std::move(ready));
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "partitions");
    base::SetThreadPriority(base::ThreadPriority::kWork);
    Serve();
  });
}

RocksPartitionHost::~RocksPartitionHost() {
  if (thread_.joinable()) (void)Stop();
}

absl::Status RocksPartitionHost::Stop() {
  if (!thread_.joinable()) return absl::OkStatus();
  mailbox_.PostOne(StopRequested{});
  thread_.join();
  return stop_status_;
}

void RocksPartitionHost::Submit(const ShardAddress& from, std::vector<Addressed> batch) {
  if (batch.empty()) return;
  mailbox_.PostOne(FromShard{from, std::move(batch)});
}

void RocksPartitionHost::SetNodes(const LiveNode& self, std::vector<LiveNode> others) {
  if (thread_.joinable()) {
    CHECK(self.node == node_ && self.incarnation == incarnation_)
        << "a node stays the one that it is";
    mailbox_.PostOne(News{[others = std::move(others)](Host& host) { host.SetNodes(others); }});
    return;
  }
  node_ = self.node;
  incarnation_ = self.incarnation;
  core_->SetSelf(self.node, self.incarnation, self.replicas);
  core_->SetNodes(others);
}

void RocksPartitionHost::Resync(NodeId node, std::function<void()> begins) {
  mailbox_.PostOne(News{[node, begins = std::move(begins)](Host& host) {
    begins();
    host.Resync(node);
  }});
}

void RocksPartitionHost::OnHostMessage(NodeId from, Incarnation life, HostMessage message) {
  const auto* const question = std::get_if<KnowRoutes>(&message);
  if (question != nullptr && close_ && StepsAside(from, *question)) return;
  mailbox_.PostOne(News{[from, life, message = std::move(message)](Host& host) {
    host.OnHostMessage(from, life, message);
  }});
}

// The host's thread may wait for a disk that hangs, and hears nothing then. True: it need not.
bool RocksPartitionHost::StepsAside(NodeId from, const KnowRoutes& question) {
  Aside::Then then = Aside::Then::kPassOn;
  std::string why;
  {
    base::MutexLock lock(aside_mutex_);
    then = aside_.Hear(from, question, Moment());
    why = aside_.why();
  }
  if (then == Aside::Then::kStepAside) {
    for (uint32_t id = 0; id < options_.partitions; ++id)
      log_->SetFit(static_cast<PartitionId>(id), false);  // The host would say so if it could.
    close_(why, [this] {
      base::MutexLock lock(aside_mutex_);
      aside_.Closed();
    });
  }
  if (then != Aside::Then::kAnswer) return false;
  core_->node().send(from, RoutesKnown{.partition = question.partition, .ticket = question.ticket});
  return true;
}

void RocksPartitionHost::SetSend(std::function<void(NodeId to, HostMessage message)> send) {
  CHECK(!thread_.joinable()) << "set when it has started";
  core_->node().send = std::move(send);
  core_->node().tell_committed = [this](PartitionId id) { log_->TellCommitted(id); };
  core_->node().set_fit = [this](PartitionId id, bool fit) { log_->SetFit(id, fit); };
  core_->node().barriers->SetAsk(
      [this](PartitionId id, uint64_t ticket) { log_->ReadBarrier(id, ticket); });
}

void RocksPartitionHost::Run(std::function<void(Host&)> task) {
  mailbox_.PostOne(Task{std::move(task)});
}

void RocksPartitionHost::Checkpoint(std::string directory, std::function<void(absl::Status)> done) {
  mailbox_.PostOne(CopyRequested{std::move(directory), std::move(done)});
}

// ---- The thread --------------------------------------------------------------------------------

// The later clock is read last: what lies between cannot look like sleep.
HostTime RocksPartitionHost::Now() {
  const absl::Duration boot = clock_.SinceBoot();
  const int64_t monotonic_ns = clock_.MonotonicNs();
  const absl::Duration monotonic = absl::Nanoseconds(monotonic_ns);
  if (const absl::Duration more = boot - monotonic - slept_; more >= absl::Milliseconds(1)) {
    timeline_.Skip(absl::ToInt64Milliseconds(more));
    slept_ += absl::Trunc(more, absl::Milliseconds(1));
  }
  return {.unix_ms = timeline_.UnixMs(monotonic_ns), .monotonic = monotonic};
}

// ---- Time across starts ------------------------------------------------------------------------

TimeRecord RocksPartitionHost::ReadClocks() {
  TimeRecord record;
  record.clocks = {.boot_id = clock_.BootId(),
                   .boot_ms = absl::ToInt64Milliseconds(clock_.SinceBoot()),
                   .wall_ms = absl::ToUnixMillis(clock_.Now())};
  record.unix_ms = Now().unix_ms;
  return record;
}

void RocksPartitionHost::SetTimeline() {
  const std::optional<TimeRecord> last = dir_->ReadTime();
  slept_ = clock_.SinceBoot() - clock_.Monotonic();
  const int64_t start_ms = TimeAtStart(last, ReadClocks().clocks, core_->last_time_unix_ms());
  timeline_.Set(start_ms, clock_.MonotonicNs());
  RecordTime(ReadClocks(), /*sync=*/true);
}

// A step of the wall clock goes into the record: then the difference of two wall clocks that were
// set is how long the machine was off, even if one of them was not when the broker started.
void RocksPartitionHost::KeepTime() {
  const absl::Duration now = clock_.Monotonic();
  if (now < next_wall_check_) return;
  next_wall_check_ = now + kWallCheck;
  const TimeRecord record = ReadClocks();
  const bool was_set = WallClockWasSet(recorded_, record);
  const int64_t age_ms = record.unix_ms - recorded_.unix_ms;
  if (!was_set && age_ms < absl::ToInt64Milliseconds(kTimeRecordAgeMax)) return;
  if (was_set) base::Log(base::LogLevel::kInfo, "the wall clock was set; no interval changes");
  RecordTime(record, /*sync=*/was_set);
}

// On an error the last record holds: the next start may count less time than has passed.
void RocksPartitionHost::RecordTime(const TimeRecord& record, bool sync) {
  recorded_ = record;
  const absl::Status written = dir_->WriteTime(record, sync);
  if (!written.ok() && !time_record_fails_) {
    base::Log(base::LogLevel::kWarning, "cannot record the time", {{"error", written}});
  }
  time_record_fails_ = !written.ok();
}

void RocksPartitionHost::Serve() {
  // The cluster's time may be another than that with which it was opened.
  if (const TimeRecord record = ReadClocks(); WallClockWasSet(recorded_, record))
    RecordTime(record, /*sync=*/true);
  while (true) {
    BeginTurn();
    TakeInputs();
    CheckDisk();
    KeepTime();
    DriveLog();
    RunCore();
    DriveLog();  // What the run asked for must not wait for the next.
    BoundReplay();
    BeginFlush();
    PostEvents();
    EndTurn();
    // A store that fails is not waited for: what was answered is in the log.
    if (stopping_ && mailbox_.empty() && MayStop()) break;
    Sleep();
  }
  if (copier_.joinable()) copier_.join();
  stop_status_ = ShutDown();
  Copied never{absl::UnavailableError("the broker is stopping")};
  if (copy_.has_value()) On(never);
}

void RocksPartitionHost::TakeInputs() {
  mailbox_.TakeAll([this](Input input) {
    metrics_.mailbox_batches.Add();
    std::visit([this](auto& one) { On(one); }, input);
  });
  if (!core_->begun()) return;
  for (Task& task : std::exchange(early_, {})) task.run(*core_);
  if (held_.empty()) return;
  for (FromShard& input : std::exchange(held_, {})) On(input);
}

void RocksPartitionHost::On(FromShard& input) {
  if (!core_->begun()) {
    held_.push_back(std::move(input));
    return;
  }
  for (Addressed& request : input.requests) core_->OnRequest(input.shard, std::move(request));
}

void RocksPartitionHost::On(std::vector<LogEvent>& input) {
  for (LogEvent& event : input) {
    const auto* const committed = std::get_if<Committed>(&event);
    // What was proposed here is counted.
    if (committed != nullptr && committed->proposal == 0) log_bytes_ += committed->entry.size();
    core_->OnLog(std::move(event));
  }
}

void RocksPartitionHost::On(Task& input) {
  if (core_->begun()) return input.run(*core_);
  early_.push_back(std::move(input));
}

void RocksPartitionHost::On(StateFlushed& /*input*/) {
  metrics_.state_flushes.Add();
  if (copy_.has_value()) return;  // The next flush cuts.
  const absl::Status cut = CutLog();
  if (!cut.ok()) base::Log(base::LogLevel::kError, "cannot cut the log", {{"error", cut}});
}

void RocksPartitionHost::On(StateFailed& input) { core_->OnStateError(input.status); }

// First the state, then the log, which is not cut between them: so the log's copy has all that the
// state's has not. What comes between the two is in the log's.
void RocksPartitionHost::On(CopyRequested& input) {
  if (copy_.has_value()) return input.done(absl::UnavailableError("a copy is being made"));
  if (!core_->begun() || stopping_)
    return input.done(absl::UnavailableError("the store is starting or stopping"));
  copy_ = std::move(input);
  copier_ = std::thread([this, to = copy_->directory] {
    pthread_setname_np(pthread_self(), "checkpoint");
    base::SetThreadPriority(base::ThreadPriority::kWork);
    mailbox_.PostOne(Copied{Copy(to)});
  });
}

// On a thread of its own: what the file system takes for it, neither the state nor the log waits
// for.
absl::Status RocksPartitionHost::Copy(const std::string& to) {
  RETURN_IF_ERROR(ToStatus(env_.CreateDir(to), absl::StrCat("making ", to)));
  RETURN_IF_ERROR(dir_->CopyFilesTo(to));
  RETURN_IF_ERROR(state_->Checkpoint(to + "/state"));
  return log_->Checkpoint(to + "/log");
}

void RocksPartitionHost::On(Copied& input) {
  if (copier_.joinable()) copier_.join();
  const std::function<void(absl::Status)> done = std::move(copy_->done);
  copy_.reset();
  done(std::move(input.status));
}

void RocksPartitionHost::On(StopRequested& /*input*/) {
  stopping_ = true;
  stops_at_ = clock_.Monotonic() + kStopPatience;
}

// In a cluster what is not committed may need others, who go on with it in any case.
bool RocksPartitionHost::MayStop() const {
  if (core_->Drained() || !core_->node().healthy()) return true;
  return core_->shards().in_cluster() && clock_.Monotonic() >= stops_at_;
}

// The log keeps what the state has in memory only.
absl::Status RocksPartitionHost::CutLog() {
  std::string value;
  pb::Meta meta;
  for (uint32_t i = 0; i < options_.partitions; ++i) {
    const auto id = static_cast<PartitionId>(i);
    ASSIGN_OR_RETURN(const bool found, state_->GetFlushed(MetaKey(id), value));
    if (!found) continue;
    if (!meta.ParseFromString(value)) {
      return absl::DataLossError(absl::StrCat("the state of partition ", id, " is damaged"));
    }
    log_->Flushed(id, meta.applied_index());
  }
  return absl::OkStatus();
}

void RocksPartitionHost::BeginTurn() {
  core_->SetTime(Now());
  Node& node = core_->node();
  const Aside::Moment moment = Moment();
  node.log_is_late = moment.log_is_late();
  base::MutexLock lock(aside_mutex_);
  aside_.BeginTurn(moment.now);
  node.aside = aside_.is_aside();
  if (!node.aside) return;
  const uint64_t attempt = aside_.MayReturn(moment.now, [&](const std::vector<uint64_t>& through) {
    return node.routes->elsewhere().AreTold(through);
  });
  if (attempt == 0) return;
  Confirmed waiter;
  waiter.call = [this, attempt] {
    base::MutexLock returning(aside_mutex_);
    if (aside_.Return(attempt)) close_("", [] {});
  };
  node.routes->Wait(std::move(waiter));
}

void RocksPartitionHost::EndTurn() {
  const absl::Status standing = core_->node().Standing();
  base::MutexLock lock(aside_mutex_);
  aside_.EndTurn(standing, Moment());
}

void RocksPartitionHost::RunCore() {
  const uint64_t applied = metrics_.entries_applied.value();
  const absl::Duration begin = clock_.Monotonic();
  core_->Run();
  if (metrics_.entries_applied.value() != applied) {
    metrics_.apply_latency.Record(clock_.Monotonic() - begin);
  }
}

void RocksPartitionHost::DriveLog() {
  std::optional<Submission> submission = core_->TakeSubmission();
  if (!submission.has_value()) return;
  for (const ProposedEntry& proposal : submission->proposals) log_bytes_ += proposal.entry.size();
  std::vector<LogEvent> events = log_->Submit(*std::move(submission));
  On(events);
}

// Most entries fill the log and not the state: messages that match nobody, or that are acknowledged
// soon. Then the state is written out for the log's sake, or a start would have ever more to
// replay, and the log would never be cut. Whoever has proposed them: a node may lead little.
void RocksPartitionHost::BoundReplay() {
  // Half: entries that are cut before the log fills its memory never become files.
  if (log_bytes_ < options_.log_memtable_bytes / 2) return;
  log_bytes_ = 0;
  core_->WantFlush();
  flush_begins_ = true;
}

// Once all is in its memory.
void RocksPartitionHost::BeginFlush() {
  if (!flush_begins_ || !core_->FlushIsDone()) return;
  flush_begins_ = false;
  const absl::Status begun = state_->BeginFlush();
  if (!begun.ok()) base::Log(base::LogLevel::kWarning, "flush", {{"error", begun}});
}

void RocksPartitionHost::CheckDisk() {
  const absl::Duration now = clock_.Monotonic();
  if (options_.min_free_disk_bytes == 0 || now < next_disk_check_) return;
  next_disk_check_ = now + kDiskCheck;
  uint64_t free = 0;
  if (!env_.GetFreeSpace(options_.data_dir, &free).ok()) return;  // Then writing will tell.
  disk_low_ = free < options_.min_free_disk_bytes;
  core_->SetDiskFree(free);
}

void RocksPartitionHost::PostEvents() {
  for (ShardSlot slot = 0; slot < core_->shards().slots(); ++slot) {
    std::vector<Event> events = core_->TakeEvents(slot);
    if (!events.empty()) sink_.Post(core_->shards().AddressOf(slot), std::move(events));
  }
}

void RocksPartitionHost::Sleep() {
  std::optional<absl::Duration> until = core_->NextWake();
  if (disk_low_) until = std::min(until.value_or(next_disk_check_), next_disk_check_);
  until = std::min(until.value_or(next_wall_check_), next_wall_check_);
  if (stopping_ && clock_.Monotonic() < stops_at_) until = std::min(*until, stops_at_);
  if (core_->node().aside) until = std::min(*until, clock_.Monotonic() + kAsideLook);
  const absl::Duration timeout = *until - clock_.Monotonic();
  if (timeout <= absl::ZeroDuration()) return;
  if (mailbox_.Sleep()) bell_.Wait(timeout);
  mailbox_.Awake();
}

// Everything is applied: write it out, so that the next start has nothing to replay. A store that
// fails is left as it is.
absl::Status RocksPartitionHost::ShutDown() {
  absl::Status status = core_->healthy()
                            ? absl::OkStatus()
                            : absl::UnavailableError("the store could not be written to the end");
  const auto note = [&](const absl::Status& step) {
    if (status.ok()) status = step;
  };
  state_->SetPatient(true);
  if (core_->node().healthy()) note(core_->FlushAll());
  RecordTime(ReadClocks(), /*sync=*/true);
  if (core_->node().healthy()) note(state_->Flush());
  if (status.ok()) note(CutLog());
  note(log_->Stop());
  note(state_->Close());
  return status;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PartitionHost>> PartitionHost::Open(const StorageOptions& options,
                                                                   const CommandLogOpener& open_log,
                                                                   const base::Clock& clock,
                                                                   EventSink& sink, ShardId shards,
                                                                   rocksdb::Env* env) {
  RETURN_IF_ERROR(Validate(options));
  auto host = std::make_unique<RocksPartitionHost>(
      options, clock, sink, shards, env != nullptr ? *env : *rocksdb::Env::Default());
  RETURN_IF_ERROR(host->OpenStore(open_log));
  return host;
}

}  // namespace storage
