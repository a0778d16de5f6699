#include "storage/state_db.h"

#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "storage/checkpoint.h"
#include "storage/core/after_damage.h"
#include "storage/core/options.h"
#include "storage/rocksdb_logger.h"
#include "storage/rocksdb_status.h"
#include "storage/rocksdb_threads.h"

namespace storage {
namespace {

constexpr size_t kBatchBytesKept = 4 << 20;

rocksdb::Slice AsSlice(std::string_view text) { return {text.data(), text.size()}; }

class RocksIterator final : public StateIterator {
 public:
  RocksIterator(rocksdb::DB& db, std::string_view lower, std::string_view upper)
      : lower_(lower), upper_(upper), lower_slice_(lower_), upper_slice_(upper_) {
    rocksdb::ReadOptions options;
    options.iterate_lower_bound = &lower_slice_;
    options.iterate_upper_bound = &upper_slice_;
    it_.reset(db.NewIterator(options));
  }

  bool Valid() const override { return it_->Valid(); }
  void Seek(std::string_view key) override { it_->Seek(AsSlice(key)); }
  void SeekForPrev(std::string_view key) override { it_->SeekForPrev(AsSlice(key)); }
  void Next() override { it_->Next(); }
  std::string_view key() const override { return it_->key().ToStringView(); }
  std::string_view value() const override { return it_->value().ToStringView(); }
  absl::Status status() const override { return ToStatus(it_->status(), "reading the state"); }

 private:
  const std::string lower_;
  const std::string upper_;
  const rocksdb::Slice lower_slice_;
  const rocksdb::Slice upper_slice_;
  std::unique_ptr<rocksdb::Iterator> it_;
};

// Of a database that is not open: every read says so.
class ClosedIterator final : public StateIterator {
 public:
  bool Valid() const override { return false; }
  void Seek(std::string_view) override {}
  void SeekForPrev(std::string_view) override {}
  void Next() override {}
  std::string_view key() const override { return {}; }
  std::string_view value() const override { return {}; }
  absl::Status status() const override;
};

absl::Status Closed() { return absl::UnavailableError("the state could not be opened again yet"); }

absl::Status ClosedIterator::status() const { return Closed(); }

class StateListener final : public rocksdb::EventListener {
 public:
  StateListener(StateDb::Listener listener, std::atomic<bool>& damaged)
      : listener_(std::move(listener)), damaged_(damaged) {}
  void OnFlushCompleted(rocksdb::DB* /*db*/, const rocksdb::FlushJobInfo& /*info*/) override {
    listener_.flushed();
  }
  void OnBackgroundError(rocksdb::BackgroundErrorReason /*reason*/,
                         rocksdb::Status* error) override {
    if (error->IsCorruption()) damaged_.store(true);
    listener_.failed(ToStatus(*error, "writing the state out"));
  }

 private:
  const StateDb::Listener listener_;
  std::atomic<bool>& damaged_;
};

std::unique_ptr<rocksdb::Options> MakeOptions(const StorageOptions& options, rocksdb::Env& env,
                                              bool create,
                                              std::shared_ptr<StateListener> listener) {
  auto made = std::make_unique<rocksdb::Options>();
  rocksdb::Options& result = *made;
  result.env = &env;
  result.create_if_missing = create;
  result.write_buffer_size = options.state_memtable_bytes;
  result.max_write_buffer_number = 3;
  result.max_background_jobs = 2;
  result.max_open_files = 1024;
  result.info_log = MakeRocksDbLogger("state");
  result.compression = rocksdb::kLZ4Compression;
  result.bytes_per_sync = 1 << 20;
  result.avoid_flush_during_shutdown = true;  // Stop flushes; a crash must look like one.
  result.max_bgerror_resume_count = 0;        // Repair does that, and knows whether it went well.
  result.listeners = {MakeThreadPriorityListener(), std::move(listener)};
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = rocksdb::NewLRUCache(options.block_cache_bytes);
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10));
  table.format_version = 5;
  result.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return made;
}

}  // namespace

RocksBatch::RocksBatch() : batch_(std::make_unique<rocksdb::WriteBatch>()) {}
RocksBatch::~RocksBatch() = default;

// A WriteBatch in memory fails only beyond 4 GiB, which an iteration never reaches.
void RocksBatch::Put(std::string_view key, std::string_view value) {
  const rocksdb::Status status = batch_->Put(AsSlice(key), AsSlice(value));
  CHECK(status.ok()) << status.ToString();
}

void RocksBatch::Delete(std::string_view key) {
  const rocksdb::Status status = batch_->Delete(AsSlice(key));
  CHECK(status.ok()) << status.ToString();
}

void RocksBatch::DeleteRange(std::string_view lower, std::string_view upper) {
  const rocksdb::Status status = batch_->DeleteRange(AsSlice(lower), AsSlice(upper));
  CHECK(status.ok()) << status.ToString();
}

void RocksBatch::Clear() {
  if (batch_->GetDataSize() > kBatchBytesKept) {
    batch_ = std::make_unique<rocksdb::WriteBatch>();  // Else it would keep the room for ever.
  } else {
    batch_->Clear();
  }
}

StateDb::StateDb(std::string path, const StorageOptions& options, rocksdb::Env& env, bool create,
                 Listener listener)
    : path_(std::move(path)),
      options_(MakeOptions(options, env, create,
                           std::make_shared<StateListener>(std::move(listener), damaged_))) {}

absl::StatusOr<std::unique_ptr<StateDb>> StateDb::Open(const std::string& path,
                                                       const StorageOptions& options,
                                                       rocksdb::Env& env, bool create,
                                                       Listener listener) {
  auto state =
      std::unique_ptr<StateDb>(new StateDb(path, options, env, create, std::move(listener)));
  RETURN_IF_ERROR(state->OpenDb());
  return state;
}

absl::Status StateDb::OpenDb() {
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened = rocksdb::DB::Open(*options_, path_, &db);
  if (opened.ok()) {
    db_.reset(db);
    return absl::OkStatus();
  }
  const absl::Status status = ToStatus(opened, absl::StrCat("opening the state ", path_));
  if (status.code() == absl::StatusCode::kDataLoss ||
      absl::StrContains(status.message(), "does not exist")) {
    return absl::DataLossError(
        absl::StrCat(status.message(), ". Nothing was changed. ", kRestoreDataDir));
  }
  return status;
}

StateDb::~StateDb() {
  if (db_ != nullptr) (void)Close();
}

absl::StatusOr<bool> StateDb::Get(std::string_view key, std::string& value) const {
  if (db_ == nullptr) return Closed();
  const rocksdb::Status status = db_->Get(rocksdb::ReadOptions(), AsSlice(key), &value);
  if (status.IsNotFound()) return false;
  RETURN_IF_ERROR(ToStatus(status, "reading the state"));
  return true;
}

std::unique_ptr<StateIterator> StateDb::NewIterator(std::string_view lower,
                                                    std::string_view upper) const {
  if (db_ == nullptr) return std::make_unique<ClosedIterator>();
  return std::make_unique<RocksIterator>(*db_, lower, upper);
}

absl::Status StateDb::Write() {
  if (batch_.batch_->Count() == 0) return absl::OkStatus();
  if (db_ == nullptr) return Closed();
  rocksdb::WriteOptions options;
  options.disableWAL = true;
  options.no_slowdown = !patient_;
  const rocksdb::Status written = db_->Write(options, batch_.batch_.get());
  if (written.IsIncomplete()) return absl::AbortedError("the state is being written out");
  RETURN_IF_ERROR(ToStatus(written, "writing the state"));
  batch_.Clear();
  return absl::OkStatus();
}

absl::StatusOr<bool> StateDb::GetFlushed(std::string_view key, std::string& value) const {
  if (db_ == nullptr) return Closed();
  rocksdb::ReadOptions options;
  options.read_tier = rocksdb::kPersistedTier;  // Skips memtables, as there is no log of their own.
  const rocksdb::Status status = db_->Get(options, AsSlice(key), &value);
  if (status.IsNotFound()) return false;
  RETURN_IF_ERROR(ToStatus(status, "reading the state"));
  return true;
}

// Resume does not help after errors that RocksDB takes for fatal. A damaged file is left alone from
// then on: merging it with others would fail again and again, and everything else stop with it.
absl::StatusOr<StateStore::Repaired> StateDb::Repair() {
  base::MutexLock lock(copying_);
  if (db_ != nullptr && db_->Resume().ok()) return Repaired::kWhole;
  if (db_ != nullptr) {
    db_->Close().PermitUncheckedError();  // It failed before; the log has what is lost.
    db_.reset();
  }
  batch_.Clear();
  if (damaged_.load()) options_->disable_auto_compactions = true;
  RETURN_IF_ERROR(OpenDb());
  return Repaired::kReopened;
}

absl::Status StateDb::Checkpoint(const std::string& directory) {
  base::MutexLock lock(copying_);
  if (db_ == nullptr) return Closed();
  return CheckpointOf(*db_, directory);
}

absl::Status StateDb::BeginFlush() {
  if (db_ == nullptr) return Closed();
  rocksdb::FlushOptions options;
  options.wait = false;
  options.allow_write_stall = true;  // Else it would wait here for a flush under way.
  return ToStatus(db_->Flush(options), "writing the state out");
}

absl::Status StateDb::Flush() {
  if (db_ == nullptr) return Closed();
  return ToStatus(db_->Flush(rocksdb::FlushOptions()), "writing the state out");
}

absl::Status StateDb::Close() {
  base::MutexLock lock(copying_);
  if (db_ == nullptr) return absl::OkStatus();
  const absl::Status status = ToStatus(db_->Close(), "closing the state");
  db_.reset();
  return status;
}

}  // namespace storage
