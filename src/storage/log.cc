#include "storage/log.h"

#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "storage/core/options.h"
#include "storage/rocksdb_logger.h"
#include "storage/rocksdb_status.h"
#include "storage/rocksdb_threads.h"

namespace storage {
namespace {

// Big-endian, so that keys sort as numbers do.
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

std::string EntryKey(PartitionId partition, uint64_t index) {
  std::string key = "l";
  AppendBigEndian(key, partition, 2);
  AppendBigEndian(key, index, 8);
  return key;
}

std::string CutKey(PartitionId partition) {
  std::string key = "t";
  AppendBigEndian(key, partition, 2);
  return key;
}

constexpr size_t kEntryKeyBytes = 11;
constexpr size_t kTermBytes = 8;
constexpr size_t kBatchBytesKept = 1 << 20;

rocksdb::WriteOptions WithSync(Log::Sync sync) {
  rocksdb::WriteOptions options;
  options.sync = sync == Log::Sync::kYes;
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
  result->compression = rocksdb::kNoCompression;  // Written once, read after a crash at most.
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

absl::Status Damaged(PartitionId partition, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(
      "the log of partition ", partition, " is damaged: ", what,
      ". Restore data_dir from a backup. If there is none, log_recovery: salvage starts with what "
      "can be read and loses the rest"));
}

}  // namespace

Log::Log(std::string path, std::unique_ptr<rocksdb::Options> options)
    : path_(std::move(path)),
      options_(std::move(options)),
      batch_(std::make_unique<rocksdb::WriteBatch>()) {}

Log::~Log() {
  if (db_ != nullptr) (void)Close();
}

absl::StatusOr<std::unique_ptr<Log>> Log::Open(std::string path, const StorageOptions& options,
                                               rocksdb::Env& env, bool create) {
  auto log = std::unique_ptr<Log>(new Log(std::move(path), MakeOptions(options, env, create)));
  RETURN_IF_ERROR(log->OpenDb());
  return log;
}

absl::Status Log::OpenDb() {
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
        absl::StrCat(status.message(),
                     ". Nothing was changed. Restore data_dir from a backup. If there is "
                     "none, log_recovery: salvage starts with what can be read and loses "
                     "the rest"));
  }
  return status;
}

absl::Status Log::Append(const std::vector<LogEntry>& entries, Sync sync) {
  CHECK(db_ != nullptr) << "the log is closed";
  if (batch_->GetDataSize() > kBatchBytesKept) batch_ = std::make_unique<rocksdb::WriteBatch>();
  batch_->Clear();
  std::string term;
  for (const LogEntry& entry : entries) {
    term.clear();
    AppendBigEndian(term, entry.term, kTermBytes);
    const std::string key = EntryKey(entry.partition, entry.index);
    const rocksdb::Slice keys[] = {key};
    const rocksdb::Slice values[] = {term, {entry.data.data(), entry.data.size()}};
    RETURN_IF_ERROR(ToStatus(
        batch_->Put(rocksdb::SliceParts(keys, 1), rocksdb::SliceParts(values, 2)), "log entry"));
  }
  return ToStatus(db_->Write(WithSync(sync), batch_.get()), "writing the log");
}

absl::Status Log::SyncAppended() {
  CHECK(db_ != nullptr) << "the log is closed";
  return ToStatus(db_->SyncWAL(), "syncing the log");
}

absl::Status Log::Repair() {
  // Resume writes all of the memtable to a file and begins a new write-ahead log, so whatever a
  // failed fsync may have dropped from the kernel's cache is durable after it. It does not help
  // after errors that RocksDB takes for fatal.
  if (db_ == nullptr || !db_->Resume().ok()) RETURN_IF_ERROR(Reopen());
  rocksdb::WriteBatch batch;
  // The write itself is the proof that writing works.
  RETURN_IF_ERROR(ToStatus(batch.Put("r", "repaired"), "marking a repair"));
  return ToStatus(db_->Write(WithSync(Sync::kYes), &batch), "writing the log again");
}

absl::Status Log::Reopen() {
  if (db_ != nullptr) {
    db_->Close().PermitUncheckedError();  // It failed before; what it knows is on disk or lost.
    db_.reset();
  }
  return OpenDb();
}

absl::Status Log::Cut(PartitionId partition, uint64_t index) {
  CHECK(db_ != nullptr) << "the log is closed";
  std::string last;
  AppendBigEndian(last, index, 8);
  rocksdb::WriteBatch batch;
  RETURN_IF_ERROR(
      ToStatus(batch.DeleteRange(EntryKey(partition, 0), EntryKey(partition, index + 1)),
               "cutting the log"));
  RETURN_IF_ERROR(ToStatus(batch.Put(CutKey(partition), last), "cutting the log"));
  return ToStatus(db_->Write(WithSync(Sync::kNo), &batch), "cutting the log");
}

absl::Status Log::ReadAfter(PartitionId partition, uint64_t after,
                            const std::function<absl::Status(const LogEntry&)>& visit) const {
  if (db_ == nullptr) return absl::UnavailableError("the log could not be opened again yet");
  std::string cut;
  const rocksdb::Status found = db_->Get(rocksdb::ReadOptions(), CutKey(partition), &cut);
  if (!found.ok() && !found.IsNotFound()) return ToStatus(found, "reading the log");
  if (found.ok() && ReadBigEndian(cut) > after) {
    return Damaged(partition, absl::StrCat("it begins after entry ", ReadBigEndian(cut),
                                           ", but the state ends at entry ", after));
  }
  const std::string end = EntryKey(static_cast<PartitionId>(partition + 1), 0);
  const rocksdb::Slice upper_bound = end;
  rocksdb::ReadOptions read;
  read.iterate_upper_bound = &upper_bound;
  std::unique_ptr<rocksdb::Iterator> it(db_->NewIterator(read));
  LogEntry entry{.partition = partition, .index = after, .term = 0, .data = {}};
  for (it->Seek(EntryKey(partition, after + 1)); it->Valid(); it->Next()) {
    const std::string_view key = it->key().ToStringView();
    const std::string_view value = it->value().ToStringView();
    if (key.size() != kEntryKeyBytes || value.size() < kTermBytes) {
      return Damaged(partition, "an entry is malformed");
    }
    const uint64_t index = ReadBigEndian(key.substr(3));
    if (index != entry.index + 1) {
      return Damaged(partition, absl::StrCat("entry ", entry.index + 1, " is missing"));
    }
    entry.index = index;
    entry.term = ReadBigEndian(value.substr(0, kTermBytes));
    entry.data = value.substr(kTermBytes);
    RETURN_IF_ERROR(visit(entry));
  }
  return ToStatus(it->status(), "reading the log");
}

absl::Status Log::Close() {
  CHECK(db_ != nullptr) << "the log is closed";
  const absl::Status status = ToStatus(db_->Close(), "closing the log");
  db_.reset();
  return status;
}

}  // namespace storage
