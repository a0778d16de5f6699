// Work that waits, taken in turns: one crowd does not make the others wait behind all of it.
#ifndef AUTH_CORE_FAIR_QUEUE_H_
#define AUTH_CORE_FAIR_QUEUE_H_

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <list>
#include <optional>
#include <utility>

#include "absl/container/btree_set.h"
#include "absl/container/flat_hash_map.h"

namespace auth {

// Whose turn an item takes.
struct FairPlace {
  uint64_t group = 0;
  uint64_t lane = 0;  // Within the group.
};

// Items belong to a lane of a group. Groups take turns, and within a group its lanes, each first in
// first out: with G groups waiting, at most one item in G is of any one of them, however many it
// pushed. No function costs more than O(log of what waits). Not thread-safe.
template <typename T>
class FairQueue {
 public:
  using Id = uint64_t;  // Of one item; never 0, never used again.

  using Place = FairPlace;

  size_t size() const { return items_.size(); }
  bool empty() const { return items_.empty(); }
  size_t groups() const { return groups_.size(); }

  Id Push(const Place& place, T item) {
    const auto [known, is_new] = groups_.try_emplace(place.group);
    Group& group = known->second;
    if (is_new) group.turn = turns_.insert(turns_.end(), place.group);
    Resize(by_size_, place.group, group.size, group.size + 1);
    ++group.size;
    const auto [known_lane, is_new_lane] = group.lanes.try_emplace(place.lane);
    Lane& lane = known_lane->second;
    if (is_new_lane) lane.turn = group.turns.insert(group.turns.end(), place.lane);
    Resize(group.by_size, place.lane, lane.items.size(), lane.items.size() + 1);
    const Id id = ++last_id_;
    lane.items.push_back({id, std::move(item)});
    items_.emplace(id, Where{place, std::prev(lane.items.end())});
    return id;
  }

  // The next in turn.
  std::optional<T> Pop() {
    if (empty()) return std::nullopt;
    Group& group = groups_.find(turns_.front())->second;
    Lane& lane = group.lanes.find(group.turns.front())->second;
    group.turns.splice(group.turns.end(), group.turns, group.turns.begin());
    turns_.splice(turns_.end(), turns_, turns_.begin());
    return Remove(lane.items.front().id);
  }

  // None: it was taken or removed before.
  std::optional<T> Remove(Id id) {
    const auto item = items_.find(id);
    if (item == items_.end()) return std::nullopt;
    const Where where = item->second;
    items_.erase(item);
    const auto group = groups_.find(where.place.group);
    const auto lane = group->second.lanes.find(where.place.lane);
    std::optional<T> removed(std::move(where.at->item));
    Resize(group->second.by_size, lane->first, lane->second.items.size(),
           lane->second.items.size() - 1);
    lane->second.items.erase(where.at);
    if (lane->second.items.empty()) {
      group->second.turns.erase(lane->second.turn);
      group->second.lanes.erase(lane);
    }
    Resize(by_size_, group->first, group->second.size, group->second.size - 1);
    if (--group->second.size == 0) {
      turns_.erase(group->second.turn);
      groups_.erase(group);
    }
    return removed;
  }

  // Makes room for one more of `place` at the cost of who has most: removes the newest item of the
  // longest lane of the largest group. None: `place` itself has most already.
  std::optional<T> RemoveForRoom(const Place& place) {
    if (empty()) return std::nullopt;
    const auto own = groups_.find(place.group);
    const auto& [largest, id] = *by_size_.rbegin();
    const bool takes_from_others = own == groups_.end() || own->second.size < largest;
    const Group& group = takes_from_others ? groups_.find(id)->second : own->second;
    const auto& [longest, lane_id] = *group.by_size.rbegin();
    if (!takes_from_others) {
      const auto own_lane = group.lanes.find(place.lane);
      if (own_lane != group.lanes.end() && own_lane->second.items.size() >= longest)
        return std::nullopt;
      if (own_lane == group.lanes.end() && longest <= 1) return std::nullopt;
    } else if (own == groups_.end() && largest <= 1) {
      return std::nullopt;
    }
    return Remove(group.lanes.find(lane_id)->second.items.back().id);
  }

 private:
  struct Entry {
    Id id;
    T item;
  };
  using Sizes = absl::btree_set<std::pair<size_t, uint64_t>>;
  struct Lane {
    std::list<Entry> items;
    std::list<uint64_t>::iterator turn;
  };
  struct Group {
    size_t size = 0;
    std::list<uint64_t> turns;  // Of its lanes; the front is next.
    absl::flat_hash_map<uint64_t, Lane> lanes;
    Sizes by_size;  // Of its lanes.
    std::list<uint64_t>::iterator turn;
  };
  struct Where {
    Place place;
    typename std::list<Entry>::iterator at;
  };

  static void Resize(Sizes& sizes, uint64_t who, size_t before, size_t after) {
    if (before != 0) sizes.erase({before, who});
    if (after != 0) sizes.insert({after, who});
  }

  std::list<uint64_t> turns_;  // Of the groups; the front is next.
  absl::flat_hash_map<uint64_t, Group> groups_;
  Sizes by_size_;  // Of the groups.
  absl::flat_hash_map<Id, Where> items_;
  Id last_id_ = 0;
};

}  // namespace auth

#endif  // AUTH_CORE_FAIR_QUEUE_H_
