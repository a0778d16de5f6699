#include "storage/former_log.h"

#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/write_batch.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "storage/log_db.h"
#include "storage/rocksdb_status.h"

namespace storage {
namespace {

constexpr size_t kEntryKeyBytes = 11;
constexpr size_t kTermBytes = 8;

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

FormerLog::FormerLog(std::unique_ptr<LogDb> db) : db_(std::move(db)) {}

FormerLog::~FormerLog() = default;

absl::StatusOr<std::unique_ptr<FormerLog>> FormerLog::Open(std::string path,
                                                           const StorageOptions& options,
                                                           rocksdb::Env& env) {
  ASSIGN_OR_RETURN(std::unique_ptr<LogDb> db,
                   LogDb::Open(std::move(path), options, env, /*create=*/false));
  return std::unique_ptr<FormerLog>(new FormerLog(std::move(db)));
}

absl::Status FormerLog::ReadAfter(PartitionId partition, uint64_t after,
                                  const std::function<absl::Status(const LogEntry&)>& visit) const {
  rocksdb::DB& db = *db_->db();
  std::string cut;
  const rocksdb::Status found = db.Get(rocksdb::ReadOptions(), CutKey(partition), &cut);
  if (!found.ok() && !found.IsNotFound()) return ToStatus(found, "reading the log");
  if (found.ok() && ReadBigEndian(cut) > after) {
    return Damaged(partition, absl::StrCat("it begins after entry ", ReadBigEndian(cut),
                                           ", but the state ends at entry ", after));
  }
  const std::string end = EntryKey(static_cast<PartitionId>(partition + 1), 0);
  const rocksdb::Slice upper_bound = end;
  rocksdb::ReadOptions read;
  read.iterate_upper_bound = &upper_bound;
  std::unique_ptr<rocksdb::Iterator> it(db.NewIterator(read));
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

absl::Status FormerLog::Empty() {
  rocksdb::WriteBatch batch;
  for (const char kind : {'l', 't'}) {
    const std::string begin(1, kind);
    const std::string end(1, static_cast<char>(kind + 1));
    RETURN_IF_ERROR(ToStatus(batch.DeleteRange(begin, end), "emptying the log"));
  }
  return db_->Write(batch, /*sync=*/true);
}

absl::Status FormerLog::Close() { return db_->Close(); }

}  // namespace storage
