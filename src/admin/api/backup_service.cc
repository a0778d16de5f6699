#include "admin/api/backup_service.h"

#include <pthread.h>

#include <filesystem>
#include <future>
#include <system_error>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "base/thread_priority.h"
#include "mqttd/admin/v1/backup.pb.h"
#include "storage/backup.h"

namespace admin {
namespace {

constexpr char kService[] = "mqttd.admin.v1.Backup";
constexpr absl::Duration kTellInterval = absl::Milliseconds(200);

void Tell(Outlet& outlet, pb::BackupProgress::Phase phase, uint64_t bytes, uint64_t bytes_total) {
  pb::BackupProgress progress;
  progress.set_phase(phase);
  progress.set_bytes(bytes);
  progress.set_bytes_total(bytes_total);
  (void)outlet.Send(progress);  // Who reads slowly is told less often.
}

absl::Status CheckPath(const std::string& directory) {
  if (absl::StartsWith(directory, "/")) return absl::OkStatus();
  return absl::InvalidArgumentError(
      "directory: an absolute path on the broker's machine, such as /var/backups/mqttd/monday");
}

// What one node of a cluster has of its logs it has acknowledged to the others, who count on it: no
// earlier copy of it may ever take its place.
absl::Status CheckIsAlone(const BrokerAccess& broker) {
  if (broker.sources().cluster == nullptr) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "this is a node of a cluster, and could not be restored from a backup of its own: it would "
      "have forgotten what it acknowledged to the others, which have copies of what is stored "
      "here. "
      "Copy the data directories of all nodes while all are stopped; or keep what `mqttctl "
      "retained "
      "export` prints (docs/operations.md, Backups)");
}

absl::Status Verify(const std::string& directory, const storage::GoesOn& goes_on,
                    const std::shared_ptr<Outlet>& outlet) {
  Tell(*outlet, pb::BackupProgress::PHASE_VERIFY, 0, 0);
  base::SetThreadPriority(base::ThreadPriority::kSpare);
  ASSIGN_OR_RETURN(const uint64_t bytes,
                   storage::VerifyBackup(directory, storage::Pace::kGivesWay, goes_on));
  Tell(*outlet, pb::BackupProgress::PHASE_DONE, bytes, bytes);
  return absl::OkStatus();
}

}  // namespace

void Backups::AddTo(Methods& methods) {
  methods.AddStream<pb::CreateBackupRequest, pb::BackupProgress>(
      kService, "Create",
      [this](const Caller&, const pb::CreateBackupRequest& request,
             const std::shared_ptr<Outlet>& outlet) {
        absl::Status status = CheckPath(request.directory());
        if (status.ok()) status = CheckIsAlone(broker_);
        if (status.ok()) status = broker_.CheckOpen();
        if (!status.ok()) return outlet->End(status);
        Run(outlet, [this, directory = request.directory()](const auto& to) {
          return Create(directory, to);
        });
      });
  methods.AddStream<pb::VerifyBackupRequest, pb::BackupProgress>(
      kService, "Verify",
      [this](const Caller&, const pb::VerifyBackupRequest& request,
             const std::shared_ptr<Outlet>& outlet) {
        if (absl::Status status = CheckPath(request.directory()); !status.ok())
          return outlet->End(status);
        Run(outlet, [this, directory = request.directory()](const auto& to) {
          return Verify(directory, UntilStopped(), to);
        });
      });
}

void Backups::Run(const std::shared_ptr<Outlet>& outlet,
                  std::function<absl::Status(const std::shared_ptr<Outlet>&)> work) {
  base::MutexLock lock(mutex_);
  if (busy_) {
    outlet->End(absl::UnavailableError("another backup is being made or verified"));
    return;
  }
  if (thread_.joinable()) thread_.join();  // It has nothing left to do.
  busy_ = true;
  stop_ = false;
  outlet->OnGone([this] { stop_ = true; });
  thread_ = std::thread([this, outlet, work = std::move(work)] {
    pthread_setname_np(pthread_self(), "backup");
    base::SetThreadPriority(base::ThreadPriority::kWork);  // A journal may wait for what it writes.
    const absl::Status status = work(outlet);
    {
      base::MutexLock done(mutex_);
      busy_ = false;
    }
    outlet->End(status);
  });
}

// On the data directory's own file system, where it is made of links.
absl::Status Backups::Fix(const std::string& checkpoint) {
  storage::RemoveCheckpoint(checkpoint);
  const auto promise = std::make_shared<std::promise<absl::Status>>();
  std::future<absl::Status> done = promise->get_future();
  if (!broker_.Checkpoint(
          checkpoint, [promise](absl::Status status) { promise->set_value(std::move(status)); }))
    return BrokerAccess::Closed();
  RETURN_IF_ERROR(done.get());
  std::error_code error;
  const std::string own = broker_.sources().data_dir + "/admin";
  if (!std::filesystem::exists(own, error)) return absl::OkStatus();
  std::filesystem::copy(own, checkpoint + "/admin", std::filesystem::copy_options::recursive,
                        error);
  if (error)
    return absl::UnavailableError(absl::StrCat("cannot copy ", own, ": ", error.message()));
  return absl::OkStatus();
}

absl::Status Backups::Create(const std::string& directory, const std::shared_ptr<Outlet>& outlet) {
  std::error_code error;
  if (std::filesystem::exists(directory, error))
    return absl::AlreadyExistsError(absl::StrCat(directory, " is there already"));
  Tell(*outlet, pb::BackupProgress::PHASE_CHECKPOINT, 0, 0);
  const std::string checkpoint = storage::CheckpointIn(broker_.sources().data_dir);
  const absl::Cleanup clean_up = [&] { storage::RemoveCheckpoint(checkpoint); };
  RETURN_IF_ERROR(Fix(checkpoint));
  const base::Clock& clock = *broker_.sources().clock;
  absl::Duration told = clock.Monotonic();
  uint64_t total = 0;
  RETURN_IF_ERROR(storage::CopyBackup(checkpoint, directory, storage::Pace::kGivesWay,
                                      [&](uint64_t bytes, uint64_t all) {
                                        total = all;
                                        const absl::Duration now = clock.Monotonic();
                                        if (bytes == 0 || now - told >= kTellInterval) {
                                          told = now;
                                          Tell(*outlet, pb::BackupProgress::PHASE_COPY, bytes, all);
                                        }
                                        return !stop_;
                                      }));
  absl::Cleanup remove = [&] { storage::RemoveCheckpoint(directory); };
  Tell(*outlet, pb::BackupProgress::PHASE_VERIFY, total, total);
  base::SetThreadPriority(base::ThreadPriority::kSpare);
  RETURN_IF_ERROR(
      storage::VerifyBackup(directory, storage::Pace::kGivesWay, UntilStopped()).status());
  std::move(remove).Cancel();
  Tell(*outlet, pb::BackupProgress::PHASE_DONE, total, total);
  return absl::OkStatus();
}

void Backups::Stop() {
  stop_ = true;
  std::thread thread;
  {
    base::MutexLock lock(mutex_);
    thread = std::move(thread_);
  }
  if (thread.joinable()) thread.join();
}

}  // namespace admin
