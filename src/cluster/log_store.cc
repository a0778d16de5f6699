#include "cluster/log_store.h"

#include <rocksdb/db.h>
#include <rocksdb/options.h>
#include <rocksdb/snapshot.h>
#include <rocksdb/write_batch.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "mqttd/cluster/v1/log.pb.h"
#include "storage/checkpoint.h"
#include "storage/core/after_damage.h"
#include "storage/log_db.h"
#include "storage/rocksdb_status.h"

namespace cluster {
namespace {

using storage::AppendBigEndian;
using storage::LogKey;
using storage::ReadBigEndian;
using storage::ToStatus;

constexpr size_t kKeyBytes = 11;
constexpr size_t kEntryHeadBytes = 9;        // Term, kind.
constexpr uint64_t kReadBytesMax = 1 << 20;  // At a time.

std::string EntryKey(GroupId group, uint64_t index) { return LogKey('e', group, index); }
std::string HardStateKey(GroupId group) { return LogKey('h', group); }
std::string BeginKey(GroupId group) { return LogKey('b', group); }
std::string MembersKey(GroupId group, uint64_t index) { return LogKey('c', group, index); }

uint64_t IndexOf(const rocksdb::Slice& key) { return ReadBigEndian(key.ToStringView().substr(3)); }

absl::Status Damaged(GroupId group, absl::string_view what) {
  return absl::DataLossError(absl::StrCat("the log of partition ", group, " is damaged: ", what,
                                          ". ", storage::kRestoreOrSalvage));
}

bool ParseEntry(uint64_t index, std::string_view value, EntryView& entry) {
  if (value.size() < kEntryHeadBytes) return false;
  entry.place = {.index = index, .term = ReadBigEndian(value.substr(0, 8))};
  entry.kind = static_cast<EntryKind>(value[8]);
  entry.data = value.substr(kEntryHeadBytes);
  return entry.kind <= EntryKind::kMemberChangeV2;
}

mqttd::cluster::v1::GroupMembers ToRecord(const ConfState& state) {
  mqttd::cluster::v1::GroupMembers record;
  record.mutable_voters()->Assign(state.voters.begin(), state.voters.end());
  record.mutable_learners()->Assign(state.learners.begin(), state.learners.end());
  record.mutable_voters_outgoing()->Assign(state.voters_outgoing.begin(),
                                           state.voters_outgoing.end());
  record.mutable_learners_next()->Assign(state.learners_next.begin(), state.learners_next.end());
  record.set_auto_leave(state.auto_leave);
  return record;
}

ConfState FromRecord(const mqttd::cluster::v1::GroupMembers& record) {
  return {.voters = {record.voters().begin(), record.voters().end()},
          .learners = {record.learners().begin(), record.learners().end()},
          .voters_outgoing = {record.voters_outgoing().begin(), record.voters_outgoing().end()},
          .learners_next = {record.learners_next().begin(), record.learners_next().end()},
          .auto_leave = record.auto_leave()};
}

// What is read was so at one moment, whatever is written meanwhile.
using Moment = const rocksdb::Snapshot*;

// A record under a key; false: there is none.
template <typename Record>
absl::StatusOr<bool> Get(rocksdb::DB& db, Moment moment, GroupId group, const std::string& key,
                         Record& record) {
  std::string value;
  rocksdb::ReadOptions options;
  options.snapshot = moment;
  const rocksdb::Status status = db.Get(options, key, &value);
  if (status.IsNotFound()) return false;
  RETURN_IF_ERROR(ToStatus(status, "reading the log"));
  if (!record.ParseFromString(value)) return Damaged(group, "a record is malformed");
  return true;
}

std::unique_ptr<rocksdb::Iterator> Iterate(rocksdb::DB& db, Moment moment,
                                           const rocksdb::Slice& end) {
  rocksdb::ReadOptions options;
  options.snapshot = moment;
  options.iterate_upper_bound = &end;
  return std::unique_ptr<rocksdb::Iterator>(db.NewIterator(options));
}

absl::StatusOr<EntryStore::Group> LoadAt(rocksdb::DB& db, Moment moment, GroupId group) {
  EntryStore::Group result;
  mqttd::cluster::v1::GroupBegin begin;
  ASSIGN_OR_RETURN(const bool found, Get(db, moment, group, BeginKey(group), begin));
  if (!found) return absl::NotFoundError(absl::StrCat("no log of group ", group));
  result.begin = {.index = begin.index(), .term = begin.term()};
  mqttd::cluster::v1::GroupHardState state;
  RETURN_IF_ERROR(Get(db, moment, group, HardStateKey(group), state).status());
  result.hard_state = {.term = state.term(), .vote = state.vote(), .commit = state.commit()};

  const std::string end = EntryKey(group, UINT64_MAX);
  const rocksdb::Slice bound = end;
  const auto entries = Iterate(db, moment, bound);
  entries->Seek(EntryKey(group, 0));
  result.last = result.begin.index;
  if (entries->Valid()) {
    if (IndexOf(entries->key()) != result.last + 1) {
      return Damaged(group, absl::StrCat("entry ", result.last + 1, " is missing"));
    }
    entries->SeekToLast();
    if (entries->Valid()) result.last = IndexOf(entries->key());
  }
  RETURN_IF_ERROR(ToStatus(entries->status(), "reading the log"));
  // Behind its beginning: files have what was cut until they are merged with others.
  const std::string first = EntryKey(group, result.begin.index + 1);
  const rocksdb::Range range(first, bound);
  rocksdb::SizeApproximationOptions approximation;
  approximation.include_memtables = true;
  RETURN_IF_ERROR(ToStatus(
      db.GetApproximateSizes(approximation, db.DefaultColumnFamily(), &range, 1, &result.bytes),
      "measuring the log"));

  const std::string members_end = MembersKey(group, UINT64_MAX);
  const rocksdb::Slice members_bound = members_end;
  const auto members = Iterate(db, moment, members_bound);
  for (members->Seek(MembersKey(group, 0)); members->Valid(); members->Next()) {
    mqttd::cluster::v1::GroupMembers record;
    if (members->key().size() != kKeyBytes ||
        !record.ParseFromString(members->value().ToString())) {
      return Damaged(group, "its members are malformed");
    }
    result.conf_states.push_back({.index = IndexOf(members->key()), .state = FromRecord(record)});
  }
  RETURN_IF_ERROR(ToStatus(members->status(), "reading the log"));
  if (result.conf_states.empty()) return Damaged(group, "it does not say who the members are");
  return result;
}

absl::Status ReadAt(rocksdb::DB& db, Moment moment, GroupId group, uint64_t low, uint64_t high,
                    uint64_t bytes_max, absl::FunctionRef<void(const EntryView&)> take) {
  const std::string end = EntryKey(group, high);
  const rocksdb::Slice bound = end;
  const auto it = Iterate(db, moment, bound);
  uint64_t bytes = 0;
  uint64_t index = low;
  for (it->Seek(EntryKey(group, low)); it->Valid() && index < high; it->Next(), ++index) {
    EntryView entry;
    if (it->key().size() != kKeyBytes || IndexOf(it->key()) != index ||
        !ParseEntry(index, it->value().ToStringView(), entry)) {
      return Damaged(group, absl::StrCat("entry ", index, " is missing or malformed"));
    }
    bytes += entry.data.size() + kKeyBytes + kEntryHeadBytes;
    if (bytes > bytes_max && index > low) return absl::OkStatus();
    take(entry);
  }
  RETURN_IF_ERROR(ToStatus(it->status(), "reading the log"));
  return index == high ? absl::OkStatus()
                       : Damaged(group, absl::StrCat("entry ", index, " is missing"));
}

}  // namespace

class LogStore::Batch final : public EntryBatch {
 public:
  void Append(GroupId group, absl::Span<const EntryView> entries, uint64_t last) override {
    const uint64_t first = entries.front().place.index;
    if (first <= last) Delete(EntryKey(group, first), EntryKey(group, last + 1));
    std::string head;
    for (const EntryView& entry : entries) {
      head.clear();
      AppendBigEndian(head, entry.place.term, 8);
      head.push_back(static_cast<char>(entry.kind));
      const std::string key = EntryKey(group, entry.place.index);
      const rocksdb::Slice keys[] = {key};
      const rocksdb::Slice values[] = {head, {entry.data.data(), entry.data.size()}};
      Check(raw_.Put(rocksdb::SliceParts(keys, 1), rocksdb::SliceParts(values, 2)));
    }
  }
  void SetHardState(GroupId group, const HardState& state) override {
    mqttd::cluster::v1::GroupHardState record;
    record.set_term(state.term);
    record.set_vote(state.vote);
    record.set_commit(state.commit);
    Check(raw_.Put(HardStateKey(group), record.SerializeAsString()));
  }
  void SetConfState(GroupId group, const ConfStateAt& state) override {
    Check(raw_.Put(MembersKey(group, state.index), ToRecord(state.state).SerializeAsString()));
  }
  void Cut(GroupId group, Place begin, uint64_t members) override {
    Delete(EntryKey(group, 0), EntryKey(group, begin.index + 1));
    SetBegin(group, begin);
    Delete(MembersKey(group, 0), MembersKey(group, members));
  }
  void Restart(GroupId group, Place begin, const ConfState& state) override {
    DeleteAll(group);
    SetBegin(group, begin);
    SetConfState(group, {.index = begin.index, .state = state});
  }
  void Remove(GroupId group) override {
    DeleteAll(group);
    Check(raw_.Delete(HardStateKey(group)));
    Check(raw_.Delete(BeginKey(group)));
  }

  rocksdb::WriteBatch& raw() { return raw_; }

 private:
  // A batch in memory refuses nothing but what is too large for any.
  static void Check(const rocksdb::Status& status) {
    CHECK(status.ok()) << "a batch of the log: " << status.ToString();
  }
  void Delete(const std::string& from, const std::string& to) { Check(raw_.DeleteRange(from, to)); }
  void DeleteAll(GroupId group) {
    Delete(EntryKey(group, 0), EntryKey(group, UINT64_MAX));
    Delete(MembersKey(group, 0), MembersKey(group, UINT64_MAX));
  }
  void SetBegin(GroupId group, Place begin) {
    mqttd::cluster::v1::GroupBegin record;
    record.set_index(begin.index);
    record.set_term(begin.term);
    Check(raw_.Put(BeginKey(group), record.SerializeAsString()));
  }

  rocksdb::WriteBatch raw_;
};

LogStore::LogStore(std::unique_ptr<storage::LogDb> db) : db_(std::move(db)) {}
LogStore::~LogStore() = default;

absl::StatusOr<std::unique_ptr<LogStore>> LogStore::Open(std::string path,
                                                         const storage::StorageOptions& options,
                                                         rocksdb::Env& env, bool create) {
  ASSIGN_OR_RETURN(std::unique_ptr<storage::LogDb> db,
                   storage::LogDb::Open(std::move(path), options, env, create));
  return std::unique_ptr<LogStore>(new LogStore(std::move(db)));
}

std::unique_ptr<EntryBatch> LogStore::NewBatch() { return std::make_unique<Batch>(); }

absl::Status LogStore::Write(EntryBatch& batch, Sync sync) {
  return db_->Write(static_cast<Batch&>(batch).raw(), sync == Sync::kYes);
}

absl::StatusOr<EntryStore::Group> LogStore::Load(GroupId group) {
  rocksdb::DB* const db = db_->db();
  if (db == nullptr) return absl::UnavailableError("the log could not be opened again yet");
  return LoadAt(*db, rocksdb::ManagedSnapshot(db).snapshot(), group);
}

absl::Status LogStore::Read(GroupId group, uint64_t low, uint64_t high, uint64_t bytes_max,
                            absl::FunctionRef<void(const EntryView&)> take) {
  rocksdb::DB* const db = db_->db();
  if (db == nullptr) return absl::UnavailableError("the log could not be opened again yet");
  absl::Status status =
      ReadAt(*db, rocksdb::ManagedSnapshot(db).snapshot(), group, low, high, bytes_max, take);
  if (absl::IsUnavailable(status)) {
    base::LogLimited(base::LogLevel::kWarning, "the log cannot be read; it is tried again", "read",
                     {{"group", group}, {"error", status}});
  }
  return status;
}

absl::Status LogStore::ReadAfter(GroupId group, uint64_t after,
                                 absl::FunctionRef<absl::Status(const EntryView&)> visit) {
  rocksdb::DB* const db = db_->db();
  if (db == nullptr) return absl::UnavailableError("the log could not be opened again yet");
  rocksdb::ManagedSnapshot held(db);
  const Moment moment = held.snapshot();
  const absl::StatusOr<Group> stored = LoadAt(*db, moment, group);
  if (absl::IsNotFound(stored.status())) return absl::OkStatus();
  RETURN_IF_ERROR(stored.status());
  if (stored->begin.index > after) return BeginsBehind(group, stored->begin.index, after);
  absl::Status visited;
  uint64_t next = after + 1;
  while (next <= stored->last && visited.ok()) {
    RETURN_IF_ERROR(ReadAt(*db, moment, group, next, stored->last + 1, kReadBytesMax,
                           [&](const EntryView& entry) {
                             next = entry.place.index + 1;
                             if (visited.ok()) visited = visit(entry);
                           }));
  }
  return visited;
}

absl::Status LogStore::BeginsBehind(GroupId group, uint64_t begin, uint64_t applied) {
  return Damaged(group, absl::StrCat("it begins behind entry ", begin,
                                     ", but the state ends at entry ", applied));
}

absl::Status LogStore::Checkpoint(const std::string& directory) const {
  if (db_->db() == nullptr) return absl::UnavailableError("the log could not be opened again yet");
  return storage::CheckpointOf(*db_->db(), directory);
}

absl::Status LogStore::SyncWritten() { return db_->SyncWritten(); }

absl::Status LogStore::Repair() { return db_->Repair(); }

absl::Status LogStore::Close() { return db_->Close(); }

}  // namespace cluster
