#include "storage/core/replica.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace storage {

Replica::Replica(PartitionId id, StateStore& store, uint64_t pending_bytes_max,
                 absl::Span<const ApplyRules> rules)
    : id_(id),
      store_(store),
      pending_bytes_max_(pending_bytes_max),
      rules_(rules),
      partition_(std::make_unique<Partition>(id, rules)) {}

absl::Status Replica::Load() { return Stopping(LoadInto(*partition_)); }

// OK if the replica has stopped: that is for status().
absl::Status Replica::Stopping(const absl::Status& status) {
  if (status.ok() || !partition_->stopped()) return status;
  Failed(status);
  return absl::OkStatus();
}

absl::Status Replica::LoadInto(Partition& partition) {
  RETURN_IF_ERROR(partition.Load(store_.reader()));
  RETURN_IF_ERROR(partition.Upgrade(store_.reader(), store_.batch()));
  return store_.Write();
}

absl::Status Replica::Replay(const LogEntry& entry) {
  return stopped_ ? absl::OkStatus() : Stopping(ApplyLogged(*partition_, entry));
}

absl::Status Replica::BeginLog() {
  RETURN_IF_ERROR(status_);
  partition_->BeginLog();
  partition_->Flush(store_.batch());
  return store_.Write();
}

absl::Status Replica::ApplyLogged(Partition& partition, const LogEntry& entry) {
  Effects effects;
  effects.wants_deliveries = false;
  RETURN_IF_ERROR(partition.ApplyEntry(entry.data, {}, entry.index, entry.term, store_.reader(),
                                       store_.batch(), effects));
  return store_.Write();
}

absl::Status Replica::Apply(const LogEntry& entry, absl::Span<const mqtt::MessagePtr> messages,
                            Effects& effects) {
  absl::Status applied = partition_->ApplyEntry(entry.data, messages, entry.index, entry.term,
                                                store_.reader(), store_.batch(), effects);
  if (applied.ok()) return applied;
  effects.Clear();
  Failed(applied);
  return applied;
}

void Replica::Failed(const absl::Status& status) {
  store_.Discard();
  status_ = status;
  stopped_ = partition_->stopped();
}

absl::Status Replica::Reload(const LogReader& read_log) {
  auto fresh = std::make_unique<Partition>(id_, rules_);
  fresh->KeepSlotsOf(*partition_);
  if (absl::Status made = MakeAgain(*fresh, read_log); !made.ok()) {
    store_.Discard();
    return made;
  }
  fresh->StopKeepingSlots();
  partition_ = std::move(fresh);
  status_ = absl::OkStatus();
  return absl::OkStatus();
}

absl::Status Replica::MakeAgain(Partition& fresh, const LogReader& read_log) {
  const uint64_t applied = partition_->applied_index();
  RETURN_IF_ERROR(LoadInto(fresh));
  const auto apply = [&](const LogEntry& entry) -> absl::Status {
    if (entry.index > applied) return absl::OkStatus();
    RETURN_IF_ERROR(ApplyLogged(fresh, entry));
    if (fresh.unflushed_bytes() <= pending_bytes_max_) return absl::OkStatus();
    fresh.Flush(store_.batch());
    return store_.Write();
  };
  if (fresh.applied_index() < applied) {
    RETURN_IF_ERROR(read_log(id_, fresh.applied_index(), apply));
  }
  if (fresh.applied_index() == applied) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("the log of partition ", id_, " ends at entry ",
                                          fresh.applied_index(), " and not at ", applied));
}

absl::Status Replica::Flush() {
  if (!has_news()) return absl::OkStatus();
  partition_->Flush(store_.batch());
  return store_.Write();
}

}  // namespace storage
