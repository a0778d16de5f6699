// Topic Filters, each with a value, and which of them match a Topic Name.
#ifndef MQTT_FILTER_TREE_H_
#define MQTT_FILTER_TREE_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "absl/hash/hash.h"
#include "base/by_name.h"
#include "base/named.h"

namespace mqtt {

// Topic Filter → T. Exact filters stand in a hash set, so that they never slow down the look-up of
// those with wildcards. Those stand in a trie whose places hold as many levels as no other filter
// branches off from: it has at most two places for each filter, however many levels that has, and
// what a filter costs beside its text does not depend on its depth. No function recurs: filters and
// topics may have 65,535 levels.
//
// Used on one thread. The T of a filter stays at its address until the filter is erased.
template <typename T>
class FilterTree {
 public:
  using Node = base::Named<T>;

  FilterTree() = default;
  FilterTree(const FilterTree&) = delete;
  FilterTree& operator=(const FilterTree&) = delete;
  ~FilterTree() {
    for (Place& place : places_) Drop(place);
  }

  size_t size() const { return exact_.size() + wildcards_; }
  size_t wildcards() const { return wildcards_; }
  // What the filters with wildcards take, beside their nodes: places of 24 bytes, and a set of
  // them.
  size_t places() const { return edges_.size() + 1; }

  Node* Find(std::string_view filter) const {
    if (!IsWildcard(filter)) return FindExact(filter, base::HashOfName(filter));
    const uint32_t place = Walk(filter);
    return place == kNone ? nullptr : NodeOf(places_[place]);
  }

  // The filter's node, made if it is new. Cost: the filter's length.
  Node& Insert(std::string_view filter) {
    if (!IsWildcard(filter)) {
      const auto it = exact_.find(filter);
      return it != exact_.end() ? **it : **exact_.insert(Node::Create(filter)).first;
    }
    uint32_t at = kRoot;
    for (size_t begin = 0; begin != kPast;) {
      const uint32_t child = Child(at, LevelAt(filter, begin));
      if (child == kNone) return AddLeaf(at, filter, filter.size() - begin);
      const size_t common = CommonPrefix(LabelOf(places_[child]), filter.substr(begin));
      at = common == places_[child].label_size ? child : Split(child, common);
      begin = Behind(filter, begin + common);
    }
    Place& place = places_[at];
    if (!place.has_node) SetNode(place, Node::Create(filter));
    return *place.content.node;
  }

  void Erase(std::string_view filter) {
    if (!IsWildcard(filter)) {
      const auto it = exact_.find(filter);  // Erased by place: `filter` may be the node's own.
      if (it != exact_.end()) exact_.erase(it);
      return;
    }
    const uint32_t at = Walk(filter);
    if (at == kNone || !places_[at].has_node) return;
    --wildcards_;
    if (places_[at].children == 0) {
      const uint32_t parent = places_[at].parent;
      RemoveLeaf(at);
      if (IsNeedless(parent)) MergeWithChild(parent);
    } else {
      const Label label(LabelOf(places_[at]));  // In the node's own text so far.
      Drop(places_[at]);
      SetLabel(places_[at], label.text());
      if (IsNeedless(at)) MergeWithChild(at);
    }
  }

  // Calls visit(Node&) for every filter that matches the (valid) Topic Name; no order. Wildcards in
  // the first level do not match names that begin with '$' [MQTT-4.7.2-1]. `hash` is the topic's
  // HashOfName.
  template <typename Visit>
  void ForEachMatch(std::string_view topic, size_t hash, Visit&& visit) const {
    if (Node* node = FindExact(topic, hash); node != nullptr) visit(*node);
    if (wildcards_ == 0) return;
    const bool dollar = !topic.empty() && topic.front() == '$';
    absl::InlinedVector<Step, kForksOnStack> forks;
    for (Step at = {kRoot, 0};;) {
      const Place& place = places_[at.place];
      if (at.begin == kPast && place.has_node) visit(*place.content.node);
      Step next = {kNone, 0};
      if (place.children == 1) {
        next = Follow(place.children_xor, topic, at.begin, dollar, visit);
      } else if (place.children > 1) {
        if (place.has_hash_child) Follow(Child(at.place, "#"), topic, at.begin, dollar, visit);
        if (at.begin != kPast) {
          next = Follow(Child(at.place, LevelAt(topic, at.begin)), topic, at.begin, dollar, visit);
          if (place.has_plus_child) {
            const Step plus = Follow(Child(at.place, "+"), topic, at.begin, dollar, visit);
            if (next.place == kNone) {
              next = plus;
            } else if (plus.place != kNone) {
              forks.push_back(plus);
            }
          }
        }
      }
      if (next.place != kNone) {
        at = next;
      } else if (!forks.empty()) {
        at = forks.back();
        forks.pop_back();
      } else {
        return;
      }
    }
  }

  template <typename Visit>
  void ForEach(Visit&& visit) const {
    for (const auto& node : exact_) visit(*node);
    for (const Place& place : places_) {
      if (place.has_node) visit(*place.content.node);
    }
  }

  static bool IsWildcard(std::string_view filter) {
    return filter.find_first_of("+#") != std::string_view::npos;
  }

 private:
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kRoot = 0;
  static constexpr size_t kPast = SIZE_MAX;  // Behind the last level.
  static constexpr size_t kForksOnStack = 16;

  // Where filters branch, or one ends. Its label is the levels between its parent and itself, at
  // least one. But for the root, a place without a node has two children or more.
  struct Place {
    uint32_t parent = kNone;  // Of a free one: the next free one.
    uint32_t children = 0;
    uint32_t children_xor = 0;  // Of their numbers: the number itself, of an only child.
    uint32_t label_size : 17 = 0;
    uint32_t has_node : 1 = 0;
    uint32_t has_plus_child : 1 = 0;  // Whose label begins so.
    uint32_t has_hash_child : 1 = 0;
    union {
      Node* node;   // Owned. The label is the end of its name.
      char* label;  // Owned; null: it is empty.
    } content = {nullptr};
  };
  static_assert(sizeof(Place) == 24);

  // A place reached, and where the topic's next level begins.
  struct Step {
    uint32_t place;
    size_t begin;
  };

  // A copy of a label that is about to go.
  class Label {
   public:
    explicit Label(std::string_view text) : text_(text.begin(), text.end()) {}
    std::string_view text() const { return {text_.data(), text_.size()}; }
    void Append(std::string_view more) {
      text_.push_back('/');
      text_.insert(text_.end(), more.begin(), more.end());
    }

   private:
    absl::InlinedVector<char, 128> text_;
  };

  // A child is known by its parent and the first level of its label.
  struct Edge {
    uint32_t parent;
    std::string_view level;
  };
  struct EdgeHash {
    using is_transparent = void;
    const std::vector<Place>* places;
    size_t operator()(const Edge& edge) const {
      return absl::HashOf(edge.parent, base::AbslView(edge.level));
    }
    size_t operator()(uint32_t place) const { return (*this)(EdgeTo((*places)[place])); }
  };
  struct EdgeEqual {
    using is_transparent = void;
    const std::vector<Place>* places;
    bool operator()(uint32_t a, uint32_t b) const { return a == b; }
    bool operator()(uint32_t a, const Edge& b) const {
      const Place& place = (*places)[a];
      return place.parent == b.parent && LevelAt(LabelOf(place), 0) == b.level;
    }
    bool operator()(const Edge& a, uint32_t b) const { return (*this)(b, a); }
  };

  static std::string_view LevelAt(std::string_view text, size_t begin) {
    return text.substr(begin, text.find('/', begin) - begin);
  }
  // Where the level behind the one that ends at `end` begins.
  static size_t Behind(std::string_view text, size_t end) {
    return end == text.size() ? kPast : end + 1;
  }
  // How many bytes of whole levels both begin with. Their first levels are equal.
  static size_t CommonPrefix(std::string_view a, std::string_view b) {
    const auto ends_level = [](std::string_view text, size_t at) {
      return at == text.size() || text[at] == '/';
    };
    size_t common = 0;
    for (size_t i = 0;; ++i) {
      const bool a_ends = ends_level(a, i);
      if (a_ends != ends_level(b, i)) return common;
      if (a_ends) common = i;
      if (i == a.size() || i == b.size() || a[i] != b[i]) return common;
    }
  }

  static Node* NodeOf(const Place& place) { return place.has_node ? place.content.node : nullptr; }
  static std::string_view LabelOf(const Place& place) {
    if (!place.has_node) return {place.content.label, place.label_size};
    const std::string_view name = place.content.node->name();
    return name.substr(name.size() - place.label_size);
  }
  static Edge EdgeTo(const Place& place) { return {place.parent, LevelAt(LabelOf(place), 0)}; }

  Node* FindExact(std::string_view topic, size_t hash) const {
    const auto it = exact_.find(topic, hash);
    return it == exact_.end() ? nullptr : it->get();
  }

  uint32_t Child(uint32_t parent, std::string_view level) const {
    const auto it = edges_.find(Edge{parent, level});
    return it == edges_.end() ? kNone : *it;
  }

  // Where the topic is behind the child's label; kNone: nowhere, or it was visited because it ends
  // with '#'.
  template <typename Visit>
  Step Follow(uint32_t child, std::string_view topic, size_t begin, bool dollar,
              Visit& visit) const {
    if (child == kNone) return {kNone, 0};
    const std::string_view label = LabelOf(places_[child]);
    for (size_t i = 0;;) {
      const std::string_view level = LevelAt(label, i);
      const bool wild = level == "+" || level == "#";
      if (wild && dollar && begin == 0) return {kNone, 0};
      if (level == "#") {
        visit(*places_[child].content.node);  // Nothing follows it. Also the parent level.
        return {kNone, 0};
      }
      if (begin == kPast) return {kNone, 0};
      const std::string_view have = LevelAt(topic, begin);
      if (!wild && level != have) return {kNone, 0};
      begin = Behind(topic, begin + have.size());
      i = Behind(label, i + level.size());
      if (i == kPast) return {child, begin};
    }
  }

  uint32_t Walk(std::string_view filter) const {
    uint32_t at = kRoot;
    for (size_t begin = 0; begin != kPast;) {
      at = Child(at, LevelAt(filter, begin));
      if (at == kNone) return kNone;
      const size_t size = places_[at].label_size;
      if (CommonPrefix(LabelOf(places_[at]), filter.substr(begin)) != size) return kNone;
      begin = Behind(filter, begin + size);
    }
    return at;
  }

  // ---- Changes of places. An edge is looked up by its child's parent and label: it is taken out
  // before these change, and put back afterwards.

  uint32_t NewPlace() {
    if (free_ == kNone) {
      places_.emplace_back();
      return static_cast<uint32_t>(places_.size() - 1);
    }
    const uint32_t id = free_;
    free_ = places_[id].parent;
    places_[id] = Place();
    return id;
  }
  void FreePlace(uint32_t id) {
    Drop(places_[id]);
    places_[id] = Place();
    places_[id].parent = free_;
    free_ = id;
  }

  static void Drop(Place& place) {
    if (place.has_node) {
      typename Node::Delete()(place.content.node);
    } else {
      delete[] place.content.label;
    }
    place.has_node = 0;
    place.content.label = nullptr;
  }
  // Of a place without a node.
  static void SetLabel(Place& place, std::string_view label) {
    char* const copy = new char[label.size()];
    std::memcpy(copy, label.data(), label.size());
    delete[] place.content.label;
    place.content.label = copy;
    place.label_size = static_cast<uint32_t>(label.size()) & 0x1FFFF;
  }
  void SetNode(Place& place, typename Node::Ptr node) {
    delete[] place.content.label;
    place.content.node = node.release();
    place.has_node = 1;
    ++wildcards_;
  }

  void Link(uint32_t parent, uint32_t child) {
    places_[child].parent = parent;
    Place& place = places_[parent];
    ++place.children;
    place.children_xor ^= child;
    MarkWildcard(place, child, true);
    edges_.insert(child);
  }
  void Unlink(uint32_t parent, uint32_t child) {
    edges_.erase(edges_.find(EdgeTo(places_[child])));
    Place& place = places_[parent];
    --place.children;
    place.children_xor ^= child;
    MarkWildcard(place, child, false);
  }
  void MarkWildcard(Place& parent, uint32_t child, bool present) {
    const std::string_view level = LevelAt(LabelOf(places_[child]), 0);
    if (level == "+") parent.has_plus_child = present ? 1 : 0;
    if (level == "#") parent.has_hash_child = present ? 1 : 0;
  }

  Node& AddLeaf(uint32_t parent, std::string_view filter, size_t label_size) {
    const uint32_t leaf = NewPlace();
    SetNode(places_[leaf], Node::Create(filter));
    places_[leaf].label_size = static_cast<uint32_t>(label_size) & 0x1FFFF;
    Link(parent, leaf);
    return *places_[leaf].content.node;
  }

  void RemoveLeaf(uint32_t leaf) {
    Unlink(places_[leaf].parent, leaf);
    FreePlace(leaf);
  }

  // A place of its own for the first bytes of the label. The lower part stays where it is.
  uint32_t Split(uint32_t lower, size_t upper_size) {
    const uint32_t parent = places_[lower].parent;
    const Label label(LabelOf(places_[lower]));
    Unlink(parent, lower);
    const uint32_t upper = NewPlace();
    SetLabel(places_[upper], label.text().substr(0, upper_size));
    ReplaceLabel(places_[lower], label.text().substr(upper_size + 1));
    Link(parent, upper);
    Link(upper, lower);
    return upper;
  }

  bool IsNeedless(uint32_t id) const {
    return id != kRoot && !places_[id].has_node && places_[id].children == 1;
  }

  // The only child takes the place's levels in front of its own.
  void MergeWithChild(uint32_t id) {
    const uint32_t child = places_[id].children_xor;
    const uint32_t parent = places_[id].parent;
    Label label(LabelOf(places_[id]));
    label.Append(LabelOf(places_[child]));
    Unlink(id, child);
    Unlink(parent, id);
    FreePlace(id);
    ReplaceLabel(places_[child], label.text());
    Link(parent, child);
  }

  static void ReplaceLabel(Place& place, std::string_view label) {
    if (!place.has_node) return SetLabel(place, label);
    place.label_size = static_cast<uint32_t>(label.size()) & 0x1FFFF;
  }

  base::NamedSet<T> exact_;
  std::vector<Place> places_ = std::vector<Place>(1);
  uint32_t free_ = kNone;
  // All places but the root.
  absl::flat_hash_set<uint32_t, EdgeHash, EdgeEqual> edges_{0, EdgeHash{&places_},
                                                            EdgeEqual{&places_}};
  size_t wildcards_ = 0;
};

}  // namespace mqtt
#endif  // MQTT_FILTER_TREE_H_
