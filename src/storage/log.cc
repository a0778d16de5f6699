#include "storage/log.h"

#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "storage/log_db.h"
#include "storage/rocksdb_status.h"

namespace storage {
namespace {

constexpr size_t kEntryKeyBytes = 11;
constexpr size_t kTermBytes = 8;
constexpr size_t kBatchBytesKept = 1 << 20;

std::string EntryKey(PartitionId partition, uint64_t index) {
  return LogKey('l', partition, index);
}

std::string CutKey(PartitionId partition) { return LogKey('t', partition); }

absl::Status Damaged(PartitionId partition, absl::string_view what) {
  return absl::DataLossError(absl::StrCat(
      "the log of partition ", partition, " is damaged: ", what,
      ". Restore data_dir from a backup. If there is none, log_recovery: salvage starts with what "
      "can be read and loses the rest"));
}

}  // namespace

Log::Log(std::unique_ptr<LogDb> db)
    : db_(std::move(db)), batch_(std::make_unique<rocksdb::WriteBatch>()) {}

Log::~Log() = default;

absl::StatusOr<std::unique_ptr<Log>> Log::Open(std::string path, const StorageOptions& options,
                                               rocksdb::Env& env, bool create) {
  ASSIGN_OR_RETURN(std::unique_ptr<LogDb> db, LogDb::Open(std::move(path), options, env, create));
  return std::unique_ptr<Log>(new Log(std::move(db)));
}

absl::Status Log::Append(const std::vector<LogEntry>& entries, Sync sync) {
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
  return db_->Write(*batch_, sync == Sync::kYes);
}

absl::Status Log::SyncAppended() { return db_->SyncWritten(); }

absl::Status Log::Repair() { return db_->Repair(); }

absl::Status Log::Checkpoint(const std::string& directory) const {
  if (db_->db() == nullptr) return absl::UnavailableError("the log could not be opened again yet");
  return CheckpointOf(*db_->db(), directory);
}

absl::Status Log::Cut(PartitionId partition, uint64_t index) {
  std::string last;
  AppendBigEndian(last, index, 8);
  rocksdb::WriteBatch batch;
  RETURN_IF_ERROR(
      ToStatus(batch.DeleteRange(EntryKey(partition, 0), EntryKey(partition, index + 1)),
               "cutting the log"));
  RETURN_IF_ERROR(ToStatus(batch.Put(CutKey(partition), last), "cutting the log"));
  return db_->Write(batch, /*sync=*/false);
}

absl::Status Log::ReadAfter(PartitionId partition, uint64_t after,
                            const std::function<absl::Status(const LogEntry&)>& visit) const {
  rocksdb::DB* const db = db_->db();
  if (db == nullptr) return absl::UnavailableError("the log could not be opened again yet");
  std::string cut;
  const rocksdb::Status found = db->Get(rocksdb::ReadOptions(), CutKey(partition), &cut);
  if (!found.ok() && !found.IsNotFound()) return ToStatus(found, "reading the log");
  if (found.ok() && ReadBigEndian(cut) > after) {
    return Damaged(partition, absl::StrCat("it begins after entry ", ReadBigEndian(cut),
                                           ", but the state ends at entry ", after));
  }
  const std::string end = EntryKey(static_cast<PartitionId>(partition + 1), 0);
  const rocksdb::Slice upper_bound = end;
  rocksdb::ReadOptions read;
  read.iterate_upper_bound = &upper_bound;
  std::unique_ptr<rocksdb::Iterator> it(db->NewIterator(read));
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

absl::Status Log::Close() { return db_->Close(); }

}  // namespace storage
