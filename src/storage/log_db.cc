#include "storage/log_db.h"

#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "storage/core/after_damage.h"
#include "storage/core/options.h"
#include "storage/rocksdb_logger.h"
#include "storage/rocksdb_status.h"
#include "storage/rocksdb_threads.h"

namespace storage {

void AppendBigEndian(std::string& out, uint64_t value, int bytes) {
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift & 0xFF));
  }
}

uint64_t ReadBigEndian(std::string_view text) {
  uint64_t value = 0;
  for (const char c : text) value = value << 8 | static_cast<uint8_t>(c);
  return value;
}

std::string LogKey(char kind, uint16_t partition) {
  std::string key(1, kind);
  AppendBigEndian(key, partition, 2);
  return key;
}

std::string LogKey(char kind, uint16_t partition, uint64_t index) {
  std::string key = LogKey(kind, partition);
  AppendBigEndian(key, index, 8);
  return key;
}

namespace {

rocksdb::WriteOptions WithSync(bool sync) {
  rocksdb::WriteOptions options;
  options.sync = sync;
  return options;
}

std::unique_ptr<rocksdb::Options> MakeOptions(const StorageOptions& options, rocksdb::Env& env,
                                              bool create) {
  auto result = std::make_unique<rocksdb::Options>();
  result->env = &env;
  result->create_if_missing = create;
  result->write_buffer_size = options.log_memtable_bytes;
  result->max_write_buffer_number = 3;
  result->max_background_jobs = 2;
  result->max_open_files = 256;
  result->info_log = MakeRocksDbLogger("log");
  result->listeners = {MakeThreadPriorityListener()};
  result->compression = rocksdb::kNoCompression;  // Written once, and read seldom.
  result->wal_recovery_mode = options.log_recovery == LogRecovery::kStrict
                                  ? rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords
                                  : rocksdb::WALRecoveryMode::kPointInTimeRecovery;
  // Hand over to the kernel in steps, so that the group commit's fsync finds little to do.
  result->bytes_per_sync = 1 << 20;
  rocksdb::BlockBasedTableOptions table;
  table.no_block_cache = true;
  result->table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return result;
}

}  // namespace

LogDb::LogDb(std::string path, std::unique_ptr<rocksdb::Options> options)
    : path_(std::move(path)), options_(std::move(options)) {}

LogDb::~LogDb() {
  if (db_ != nullptr) (void)Close();
}

absl::StatusOr<std::unique_ptr<LogDb>> LogDb::Open(std::string path, const StorageOptions& options,
                                                   rocksdb::Env& env, bool create) {
  auto log = std::unique_ptr<LogDb>(new LogDb(std::move(path), MakeOptions(options, env, create)));
  RETURN_IF_ERROR(log->OpenDb());
  return log;
}

absl::Status LogDb::OpenDb() {
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened = rocksdb::DB::Open(*options_, path_, &db);
  if (opened.ok()) {
    db_.reset(db);
    return absl::OkStatus();
  }
  const absl::Status status = ToStatus(opened, absl::StrCat("opening the log ", path_));
  if (status.code() == absl::StatusCode::kDataLoss ||
      absl::StrContains(status.message(), "does not exist")) {
    return absl::DataLossError(
        absl::StrCat(status.message(), ". Nothing was changed. ", kRestoreOrSalvage));
  }
  return status;
}

absl::Status LogDb::Write(rocksdb::WriteBatch& batch, bool sync) {
  CHECK(db_ != nullptr) << "the log is closed";
  return ToStatus(db_->Write(WithSync(sync), &batch), "writing the log");
}

absl::Status LogDb::SyncWritten() {
  CHECK(db_ != nullptr) << "the log is closed";
  return ToStatus(db_->SyncWAL(), "syncing the log");
}

absl::Status LogDb::Repair() {
  // Resume writes all of the memtable to a file and begins a new write-ahead log, so whatever a
  // failed fsync may have dropped from the kernel's cache is durable after it. It does not help
  // after errors that RocksDB takes for fatal.
  if (db_ == nullptr || !db_->Resume().ok()) RETURN_IF_ERROR(Reopen());
  rocksdb::WriteBatch batch;
  // The write itself is the proof that writing works.
  RETURN_IF_ERROR(ToStatus(batch.Put("r", "repaired"), "marking a repair"));
  return ToStatus(db_->Write(WithSync(true), &batch), "writing the log again");
}

absl::Status LogDb::Reopen() {
  if (db_ != nullptr) {
    db_->Close().PermitUncheckedError();  // It failed before; what it knows is on disk or lost.
    db_.reset();
  }
  return OpenDb();
}

absl::Status LogDb::Close() {
  CHECK(db_ != nullptr) << "the log is closed";
  const absl::Status status = ToStatus(db_->Close(), "closing the log");
  db_.reset();
  return status;
}

}  // namespace storage
