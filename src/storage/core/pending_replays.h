// Retained messages that a session is still to get for its new subscriptions.
#ifndef STORAGE_CORE_PENDING_REPLAYS_H_
#define STORAGE_CORE_PENDING_REPLAYS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "base/by_name.h"

namespace storage {

// Of one subscription: while it is pending and the session connected, the host scans a page and
// proposes EnqueueRetainedPage.
struct RetainedReplay {
  uint64_t number = 0;      // Unique in the session, ascending.
  std::string_view filter;  // The subscription's own text: it goes after the replay.
  uint64_t since_order =
      0;               // Messages set later came live, if their partitions say so: retained.h.
  std::string cursor;  // The host's: which partition, and that one's cursor.
};

// Those of one session. Each is a record of its own in the store, so that a step costs the same
// however many wait. Most sessions have none: that takes a pointer.
class PendingReplays {
 public:
  bool empty() const { return state_ == nullptr || state_->by_number.empty(); }
  size_t size() const { return empty() ? 0 : state_->by_number.size(); }

  // The one that is next; there is one.
  const RetainedReplay& front() const { return state_->by_number.begin()->second; }

  // The one that follows it; null: none.
  const RetainedReplay* After(uint64_t number) const {
    const auto next = state_->by_number.upper_bound(number);
    return next == state_->by_number.end() ? nullptr : &next->second;
  }

  // Null: it is over.
  const RetainedReplay* Find(uint64_t number) const {
    if (state_ == nullptr) return nullptr;
    const auto found = state_->by_number.find(number);
    return found == state_->by_number.end() ? nullptr : &found->second;
  }

  // The filter has no other.
  void Add(RetainedReplay replay) {
    state().by_filter[base::AbslView(replay.filter)] = replay.number;
    state_->changed.push_back(replay.number);
    const uint64_t number = replay.number;
    state_->by_number.emplace(number, std::move(replay));
  }
  // As it is in the store.
  void AddStored(RetainedReplay replay) {
    Add(std::move(replay));
    state_->changed.pop_back();
  }
  void MoveOn(uint64_t number, std::string cursor) {
    state_->by_number.find(number)->second.cursor = std::move(cursor);
    state_->changed.push_back(number);
  }
  void Erase(uint64_t number) {
    const auto found = state_->by_number.find(number);
    state_->by_filter.erase(base::AbslView(found->second.filter));
    state_->by_number.erase(found);
    state_->changed.push_back(number);
  }
  // False: there is none.
  bool EraseOf(std::string_view filter) {
    if (state_ == nullptr) return false;
    const auto found = state_->by_filter.find(base::AbslView(filter));
    if (found == state_->by_filter.end()) return false;
    Erase(found->second);
    return true;
  }

  // Calls visit(const RetainedReplay&), the oldest first.
  template <typename Visit>
  void ForEach(Visit&& visit) const {
    if (state_ == nullptr) return;
    for (const auto& [number, replay] : state_->by_number) visit(replay);
  }

  // The numbers of those that are not as the store has them: added, moved on or gone. Each may be
  // named more than once.
  std::vector<uint64_t> TakeChanged() {
    if (state_ == nullptr) return {};
    std::vector<uint64_t> changed = std::exchange(state_->changed, {});
    if (state_->by_number.empty()) state_.reset();
    return changed;
  }

 private:
  struct State {
    absl::btree_map<uint64_t, RetainedReplay> by_number;
    absl::flat_hash_map<absl::string_view, uint64_t> by_filter;
    std::vector<uint64_t> changed;
  };
  State& state() {
    if (state_ == nullptr) state_ = std::make_unique<State>();
    return *state_;
  }

  std::unique_ptr<State> state_;
};

}  // namespace storage

#endif  // STORAGE_CORE_PENDING_REPLAYS_H_
