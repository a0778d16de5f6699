// All Topic Filters of one shard, and which of them match a Topic Name.
#ifndef BROKER_CORE_FILTER_TREE_H_
#define BROKER_CORE_FILTER_TREE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/strings/string_view.h"

namespace broker {

// absl's own hash takes absl::string_view, which in Debian's build is not std::string_view.
inline absl::string_view AbslView(std::string_view text) { return {text.data(), text.size()}; }

// Topic Filter → T. Exact filters stand in a hash map, wildcards in a trie of interned levels:
// exact ones never slow the trie down, and the trie costs one small look-up for each level and
// wildcard. Used on one thread. The T of a filter stays at its address until it is erased.
template <typename T>
class FilterTree {
 public:
  struct Node {
    std::string filter;
    T value;
  };

  size_t size() const { return exact_.size() + wildcards_; }

  Node* Find(std::string_view filter) const {
    if (!IsWildcard(filter)) {
      const auto it = exact_.find(AbslView(filter));
      return it == exact_.end() ? nullptr : it->second.get();
    }
    const uint32_t place = Walk(filter);
    return place == kNone ? nullptr : places_[place].node.get();
  }

  // The filter's node, made if it is new.
  Node& Insert(std::string_view filter) {
    if (!IsWildcard(filter)) {
      if (Node* node = Find(filter); node != nullptr) return *node;
      auto node = std::make_unique<Node>();
      node->filter.assign(filter);
      Node& result = *node;
      exact_.emplace(absl::string_view(result.filter), std::move(node));
      return result;
    }
    uint32_t place = kRoot;
    ForEachLevel(filter, [&](std::string_view level) { place = Child(place, Intern(level)); });
    std::unique_ptr<Node>& node = places_[place].node;
    if (node == nullptr) {
      node = std::make_unique<Node>();
      node->filter.assign(filter);
      ++wildcards_;
    }
    return *node;
  }

  void Erase(std::string_view filter) {
    if (!IsWildcard(filter)) {
      exact_.erase(AbslView(filter));
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
  // the first level do not match names that begin with '$' [MQTT-4.7.2-1].
  template <typename Visit>
  void ForEachMatch(std::string_view topic, Visit&& visit) const {
    if (Node* node = FindExact(topic); node != nullptr) visit(*node);
    if (wildcards_ == 0) return;
    uint32_t levels[kLevelsOnStack];
    std::vector<uint32_t> many;
    size_t count = 0;
    ForEachLevel(topic, [&](std::string_view level) {
      const auto it = level_ids_.find(AbslView(level));
      const uint32_t id = it == level_ids_.end() ? kNone : it->second;
      if (count < kLevelsOnStack) {
        levels[count] = id;
      } else {
        if (many.empty()) many.assign(levels, levels + kLevelsOnStack);
        many.push_back(id);
      }
      ++count;
    });
    const uint32_t* const ids = many.empty() ? levels : many.data();
    MatchLevels(ids, count, !topic.empty() && topic[0] == '$', visit);
  }

  template <typename Visit>
  void ForEach(Visit&& visit) const {
    for (const auto& [filter, node] : exact_) visit(*node);
    for (const Place& place : places_) {
      if (place.node != nullptr) visit(*place.node);
    }
  }

  static bool IsWildcard(std::string_view filter) {
    return filter.find_first_of("+#") != std::string_view::npos;
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
    std::unique_ptr<Node> node;
  };
  struct Level {
    std::string text;
    uint32_t uses = 0;
  };

  template <typename Visit>
  static void ForEachLevel(std::string_view text, Visit&& visit) {
    for (;;) {
      const size_t slash = text.find('/');
      visit(text.substr(0, slash));
      if (slash == std::string_view::npos) return;
      text.remove_prefix(slash + 1);
    }
  }

  static uint64_t Edge(uint32_t place, uint32_t level) { return uint64_t{place} << 32 | level; }

  Node* FindExact(std::string_view topic) const {
    const auto it = exact_.find(AbslView(topic));
    return it == exact_.end() ? nullptr : it->second.get();
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
      const auto it = level_ids_.find(AbslView(level));
      place = it == level_ids_.end() ? kNone : Next(place, it->second);
    });
    return place;
  }

  uint32_t Intern(std::string_view text) {
    if (const auto it = level_ids_.find(AbslView(text)); it != level_ids_.end()) return it->second;
    uint32_t id;
    if (free_levels_.empty()) {
      id = static_cast<uint32_t>(levels_.size());
      levels_.push_back(std::make_unique<Level>());
    } else {
      id = free_levels_.back();
      free_levels_.pop_back();
    }
    levels_[id]->text.assign(text);
    level_ids_.emplace(absl::string_view(levels_[id]->text), id);
    return id;
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
    ++levels_[level]->uses;
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
    if (--levels_[level]->uses == 0 && level > kHash) {
      level_ids_.erase(absl::string_view(levels_[level]->text));
      levels_[level]->text = std::string();  // Up to 64 KiB.
      free_levels_.push_back(level);
    }
    return parent;
  }

  absl::flat_hash_map<absl::string_view, std::unique_ptr<Node>>
      exact_;  // Keys view the nodes' filters.
  std::vector<Place> places_ = std::vector<Place>(1);
  std::vector<uint32_t> free_places_;
  absl::flat_hash_map<uint64_t, uint32_t> edges_;
  std::vector<std::unique_ptr<Level>> levels_;
  std::vector<uint32_t> free_levels_;
  absl::flat_hash_map<absl::string_view, uint32_t> level_ids_;  // Keys view the levels' texts.
  size_t wildcards_ = 0;

 public:
  FilterTree() {
    Intern("+");
    Intern("#");
  }
};

}  // namespace broker
#endif  // BROKER_CORE_FILTER_TREE_H_
