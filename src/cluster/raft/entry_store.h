// Where the logs of all groups of a node are kept, as the loop sees it.
#ifndef CLUSTER_RAFT_ENTRY_STORE_H_
#define CLUSTER_RAFT_ENTRY_STORE_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "cluster/raft/types.h"

namespace cluster {

// What one round of the loop writes, of all groups: all of it or nothing. Takes copies.
class EntryBatch {
 public:
  virtual ~EntryBatch() = default;
  // They replace what the group has from the first of them on. `last` is where its log ended.
  virtual void Append(GroupId group, absl::Span<const EntryView> entries, uint64_t last) = 0;
  virtual void SetHardState(GroupId group, const HardState& state) = 0;
  virtual void SetConfState(GroupId group, const ConfStateAt& state) = 0;
  // The log begins behind `begin`, which it has. The members there are those of entry `members`.
  virtual void Cut(GroupId group, Place begin, uint64_t members) = 0;
  // It has no entries and begins behind `begin`.
  virtual void Restart(GroupId group, Place begin, const ConfState& state) = 0;
  // Nothing of the group stays.
  virtual void Remove(GroupId group) = 0;
};

class EntryStore {
 public:
  struct Group {
    HardState hard_state;
    Place begin;
    uint64_t last = 0;
    uint64_t bytes = 0;                    // Of its entries, about.
    std::vector<ConfStateAt> conf_states;  // By index: one of `begin` or before, all behind it.
  };
  enum class Sync { kNo, kYes };
  // What an entry takes beside its data, about: its key, term and kind.
  static constexpr uint64_t kEntryOverhead = 20;

  virtual ~EntryStore() = default;
  virtual std::unique_ptr<EntryBatch> NewBatch() = 0;
  // After an error it is not known whether it was written: the same batch is to be written again,
  // before any other.
  virtual absl::Status Write(EntryBatch& batch, Sync sync) = 0;
  // kNotFound: there is no such group. kDataLoss: what there is makes no sense.
  virtual absl::StatusOr<Group> Load(GroupId group) = 0;
  // The entries [low, high) in order: at least one, then as many as fit into `bytes_max`.
  // kDataLoss: one is missing. May be called while a batch is being written.
  virtual absl::Status Read(GroupId group, uint64_t low, uint64_t high, uint64_t bytes_max,
                            absl::FunctionRef<void(const EntryView&)> take) = 0;
};

}  // namespace cluster

#endif  // CLUSTER_RAFT_ENTRY_STORE_H_
