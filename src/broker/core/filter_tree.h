// All Topic Filters of one shard, and which of them match a Topic Name.
#ifndef BROKER_CORE_FILTER_TREE_H_
#define BROKER_CORE_FILTER_TREE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "base/by_name.h"
#include "broker/core/named.h"

namespace broker {

// Topic Filter → T. Exact filters stand in a hash set, wildcards in a trie of interned levels:
// exact ones never slow the trie down, and the trie costs one small look-up for each level and
// wildcard. Used on one thread. The T of a filter stays at its address until it is erased.
template <typename T>
class FilterTree {
 public:
  using Node = Named<T>;

  FilterTree() {
    Intern("+");
    Intern("#");
  }

  size_t size() const { return exact_.size() + wildcards_; }
  size_t wildcards() const { return wildcards_; }

  Node* Find(std::string_view filter) const {
    if (!IsWildcard(filter)) return FindExact(filter, base::HashOfName(filter));
    const uint32_t place = Walk(filter);
    return place == kNone ? nullptr : places_[place].node.get();
  }

  // The filter's node, made if it is new.
  Node& Insert(std::string_view filter) {
    if (!IsWildcard(filter)) {
      const auto it = exact_.find(filter);
      return it != exact_.end() ? **it : **exact_.insert(Node::Create(filter)).first;
    }
    uint32_t place = kRoot;
    ForEachLevel(filter, [&](std::string_view level) { place = Child(place, Intern(level)); });
    typename Node::Ptr& node = places_[place].node;
    if (node == nullptr) {
      node = Node::Create(filter);
      ++wildcards_;
    }
    return *node;
  }

  void Erase(std::string_view filter) {
    if (!IsWildcard(filter)) {
      const auto it = exact_.find(filter);  // Erased by place: `filter` may be the node's own.
      if (it != exact_.end()) exact_.erase(it);
      return;
    }
    uint32_t place = Walk(filter);
    if (place == kNone || places_[place].node == nullptr) return;
    places_[place].node.reset();
    --wildcards_;
    while (place != kRoot && places_[place].children == 0 && places_[place].node == nullptr) {
      place = RemoveLeaf(place);
    }
  }

  // Calls visit(Node&) for every filter that matches the (valid) Topic Name; no order. Wildcards in
  // the first level do not match names that begin with '$' [MQTT-4.7.2-1]. `hash` is the topic's
  // HashOfName.
  template <typename Visit>
  void ForEachMatch(std::string_view topic, size_t hash, Visit&& visit) const {
    if (Node* node = FindExact(topic, hash); node != nullptr) visit(*node);
    if (wildcards_ == 0) return;
    absl::InlinedVector<uint32_t, kLevelsOnStack> levels;
    ForEachLevel(topic, [&](std::string_view level) {
      const auto it = level_ids_.find(level);
      levels.push_back(it == level_ids_.end() ? kNone : (*it)->value.id);
    });
    MatchLevels(levels.data(), levels.size(), !topic.empty() && topic[0] == '$', visit);
  }

  template <typename Visit>
  void ForEach(Visit&& visit) const {
    for (const auto& node : exact_) visit(*node);
    for (const Place& place : places_) {
      if (place.node != nullptr) visit(*place.node);
    }
  }

  static bool IsWildcard(std::string_view filter) {
    return filter.find_first_of("+#") != std::string_view::npos;
  }

  // Calls visit(std::string_view) for each level.
  template <typename Visit>
  static void ForEachLevel(std::string_view text, Visit&& visit) {
    for (;;) {
      const size_t slash = text.find('/');
      visit(text.substr(0, slash));
      if (slash == std::string_view::npos) return;
      text.remove_prefix(slash + 1);
    }
  }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kRoot = 0;
  static constexpr uint32_t kPlus = 0;  // Level ids of the wildcards, interned by the constructor.
  static constexpr uint32_t kHash = 1;
  static constexpr size_t kLevelsOnStack = 32;

  struct Place {
    uint32_t parent = kNone;
    uint32_t level = kNone;
    uint32_t children = 0;
    typename Node::Ptr node;
  };
  struct Level {
    uint32_t id = 0;
    uint32_t uses = 0;
  };

  static uint64_t Edge(uint32_t place, uint32_t level) { return uint64_t{place} << 32 | level; }

  Node* FindExact(std::string_view topic, size_t hash) const {
    const auto it = exact_.find(topic, hash);
    return it == exact_.end() ? nullptr : it->get();
  }

  uint32_t Next(uint32_t place, uint32_t level) const {
    if (level == kNone) return kNone;
    const auto it = edges_.find(Edge(place, level));
    return it == edges_.end() ? kNone : it->second;
  }

  // Walks down all paths that match; a loop, for a topic may have 65,535 levels.
  template <typename Visit>
  void MatchLevels(const uint32_t* levels, size_t count, bool dollar, Visit& visit) const {
    struct Step {
      uint32_t place;
      uint32_t depth;
    };
    absl::InlinedVector<Step, kLevelsOnStack> forks;
    Step at = {kRoot, 0};
    for (;;) {
      const bool wild = !(dollar && at.depth == 0);
      if (wild) {
        if (const uint32_t hash = Next(at.place, kHash); hash != kNone)
          Visit1(hash, visit);  // Also the parent level.
      }
      uint32_t next = kNone;
      if (at.depth == count) {
        Visit1(at.place, visit);
      } else {
        const uint32_t plus = wild ? Next(at.place, kPlus) : kNone;
        next = Next(at.place, levels[at.depth]);
        if (next == kNone) {
          next = plus;
        } else if (plus != kNone) {
          forks.push_back({plus, at.depth + 1});
        }
      }
      if (next != kNone) {
        at = {next, at.depth + 1};
      } else if (!forks.empty()) {
        at = forks.back();
        forks.pop_back();
      } else {
        return;
      }
    }
  }

  template <typename Visit>
  void Visit1(uint32_t place, Visit& visit) const {
    if (places_[place].node != nullptr) visit(*places_[place].node);
  }

  uint32_t Walk(std::string_view filter) const {
    uint32_t place = kRoot;
    ForEachLevel(filter, [&](std::string_view level) {
      if (place == kNone) return;
      const auto it = level_ids_.find(level);
      place = it == level_ids_.end() ? kNone : Next(place, (*it)->value.id);
    });
    return place;
  }

  uint32_t Intern(std::string_view text) {
    if (const auto it = level_ids_.find(text); it != level_ids_.end()) return (*it)->value.id;
    auto level = Named<Level>::Create(text);
    Named<Level>* const made = level.get();
    if (free_levels_.empty()) {
      made->value.id = static_cast<uint32_t>(levels_.size());
      levels_.push_back(made);
    } else {
      made->value.id = free_levels_.back();
      free_levels_.pop_back();
      levels_[made->value.id] = made;
    }
    level_ids_.insert(std::move(level));
    return made->value.id;
  }

  uint32_t Child(uint32_t parent, uint32_t level) {
    if (const uint32_t found = Next(parent, level); found != kNone) return found;
    uint32_t id;
    if (free_places_.empty()) {
      id = static_cast<uint32_t>(places_.size());
      places_.emplace_back();
    } else {
      id = free_places_.back();
      free_places_.pop_back();
    }
    places_[id].parent = parent;
    places_[id].level = level;
    ++places_[parent].children;
    ++levels_[level]->value.uses;
    edges_.emplace(Edge(parent, level), id);
    return id;
  }

  uint32_t RemoveLeaf(uint32_t place) {
    const uint32_t parent = places_[place].parent;
    const uint32_t level = places_[place].level;
    edges_.erase(Edge(parent, level));
    --places_[parent].children;
    places_[place] = Place();
    free_places_.push_back(place);
    if (--levels_[level]->value.uses == 0 && level > kHash) {
      const auto it = level_ids_.find(levels_[level]->name());
      levels_[level] = nullptr;
      free_levels_.push_back(level);
      level_ids_.erase(it);
    }
    return parent;
  }

  NamedSet<T> exact_;
  std::vector<Place> places_ = std::vector<Place>(1);
  std::vector<uint32_t> free_places_;
  absl::flat_hash_map<uint64_t, uint32_t> edges_;
  NamedSet<Level> level_ids_;
  std::vector<Named<Level>*> levels_;  // By id.
  std::vector<uint32_t> free_levels_;
  size_t wildcards_ = 0;
};

}  // namespace broker
#endif  // BROKER_CORE_FILTER_TREE_H_
