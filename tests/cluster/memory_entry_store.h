// Logs of groups in memory, on a disk that forgets what was not synced.
#ifndef TESTS_CLUSTER_MEMORY_ENTRY_STORE_H_
#define TESTS_CLUSTER_MEMORY_ENTRY_STORE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/rng.h"
#include "cluster/raft/entry_store.h"

namespace cluster {

class MemoryEntryStore final : public EntryStore {
 public:
  std::unique_ptr<EntryBatch> NewBatch() override { return std::make_unique<Batch>(); }

  absl::Status Write(EntryBatch& batch, Sync sync) override {
    if (!fail_.ok()) return fail_;
    ++writes;
    unsynced_.push_back(static_cast<Batch&>(batch).changes);
    Apply(current_, unsynced_.back());
    if (sync == Sync::kYes) {
      for (const Changes& changes : std::exchange(unsynced_, {})) Apply(synced_, changes);
    }
    return absl::OkStatus();
  }
  void FailWith(absl::Status status) { fail_ = std::move(status); }

  void LoseUnsynced() {
    current_ = synced_;
    unsynced_.clear();
  }
  // Keeps what was synced, and of the other writes, in order, some.
  void Crash(base::Rng& rng) {
    current_ = synced_;
    const size_t kept = rng.Below(unsynced_.size() + 1);
    unsynced_.resize(kept);
    for (const Changes& changes : std::exchange(unsynced_, {})) {
      Apply(current_, changes);
      Apply(synced_, changes);
    }
    fail_ = absl::OkStatus();
  }

  absl::StatusOr<EntryStore::Group> Load(GroupId group) override {
    const auto it = current_.find(group);
    if (it == current_.end()) return absl::NotFoundError("no such group");
    const Stored& stored = it->second;
    EntryStore::Group result = {.hard_state = stored.hard_state, .begin = stored.begin};
    result.last = stored.begin.index + stored.entries.size();
    for (const auto& [index, entry] : stored.entries)
      result.bytes += entry.data.size() + kEntryOverhead;
    CHECK(stored.entries.empty() || stored.entries.rbegin()->first == result.last)
        << "the log has a gap";
    for (const auto& [index, state] : stored.conf_states) {
      result.conf_states.push_back({.index = index, .state = state});
    }
    return result;
  }

  absl::Status Read(GroupId group, uint64_t low, uint64_t high, uint64_t bytes_max,
                    absl::FunctionRef<void(const EntryView&)> take) override {
    ++reads;
    if (!fail_.ok()) return fail_;
    const Stored& stored = current_.at(group);
    uint64_t bytes = 0;
    for (uint64_t index = low; index < high; ++index) {
      const auto it = stored.entries.find(index);
      if (it == stored.entries.end()) return absl::DataLossError("an entry is missing");
      const Entry& entry = it->second;
      bytes += entry.data.size() + 32;
      if (bytes > bytes_max && index > low) break;
      take({entry.place, entry.kind, entry.data});
    }
    return absl::OkStatus();
  }

  size_t writes = 0;
  size_t reads = 0;

 private:
  struct Entry {
    Place place;
    EntryKind kind = EntryKind::kCommand;
    std::string data;
  };
  struct Stored {
    HardState hard_state;
    Place begin;
    std::map<uint64_t, Entry> entries;
    std::map<uint64_t, ConfState> conf_states;
  };
  using Groups = std::map<GroupId, Stored>;
  using Changes = std::vector<std::function<void(Groups&)>>;

  struct Batch final : public EntryBatch {
    // As a store of keys does it: what is behind `last` would stay.
    void Append(GroupId group, absl::Span<const EntryView> views, uint64_t last) override {
      std::vector<Entry> entries;
      for (const EntryView& view : views) {
        entries.push_back({view.place, view.kind, std::string(view.data)});
      }
      changes.push_back([group, last, entries = std::move(entries)](Groups& groups) {
        std::map<uint64_t, Entry>& stored = groups[group].entries;
        stored.erase(stored.lower_bound(entries.front().place.index), stored.upper_bound(last));
        for (const Entry& entry : entries) stored[entry.place.index] = entry;
      });
    }
    void SetHardState(GroupId group, const HardState& state) override {
      changes.push_back([=](Groups& groups) { groups[group].hard_state = state; });
    }
    void SetConfState(GroupId group, const ConfStateAt& state) override {
      changes.push_back(
          [=](Groups& groups) { groups[group].conf_states[state.index] = state.state; });
    }
    void Cut(GroupId group, Place begin, uint64_t members) override {
      changes.push_back([=](Groups& groups) {
        Stored& stored = groups[group];
        stored.entries.erase(stored.entries.begin(), stored.entries.upper_bound(begin.index));
        stored.begin = begin;
        stored.conf_states.erase(stored.conf_states.begin(),
                                 stored.conf_states.lower_bound(members));
      });
    }
    void Restart(GroupId group, Place begin, const ConfState& state) override {
      changes.push_back([=](Groups& groups) {
        Stored& stored = groups[group];
        stored.entries.clear();
        stored.begin = begin;
        stored.conf_states = {{begin.index, state}};
      });
    }
    void Remove(GroupId group) override {
      changes.push_back([=](Groups& groups) { groups.erase(group); });
    }
    Changes changes;
  };

  static void Apply(Groups& groups, const Changes& changes) {
    for (const auto& change : changes) change(groups);
  }

  Groups current_;
  Groups synced_;
  std::vector<Changes> unsynced_;
  absl::Status fail_;
};

}  // namespace cluster

#endif  // TESTS_CLUSTER_MEMORY_ENTRY_STORE_H_
