#include "storage/core/subscription_index.h"

#include <utility>

#include "base/by_name.h"
#include "base/check.h"
#include "mqtt/topic.h"
#include "storage/core/session.h"

namespace storage {
namespace {

// Splits off the first level. Whether more levels follow.
bool TakeLevel(std::string_view& rest, std::string_view& level) {
  const size_t slash = rest.find('/');
  level = rest.substr(0, slash);
  if (slash == std::string_view::npos) return false;
  rest.remove_prefix(slash + 1);
  return true;
}

}  // namespace

// A level of filters with wildcards. '+' is a child like any other, of that name.
struct SubscriptionIndex::Node {
  absl::flat_hash_map<std::string, std::unique_ptr<Node>> children;
  Node* any = nullptr;           // The child '+'.
  FilterEntry* here = nullptr;   // The filter ends here.
  FilterEntry* below = nullptr;  // It ends with '#' here.

  bool empty() const { return children.empty() && here == nullptr && below == nullptr; }
};

SubscriptionIndex::SubscriptionIndex() : root_(std::make_unique<Node>()) {}
SubscriptionIndex::~SubscriptionIndex() = default;

bool SubscriptionIndex::Add(SessionSubscription& subscription) {
  FilterEntry* entry = nullptr;
  const auto found = entries_.find(subscription.record.filter);
  const bool first = found == entries_.end();
  if (first) {
    auto made = std::make_unique<FilterEntry>();
    made->filter = subscription.record.filter;
    entry = made.get();
    entries_.emplace(entry->filter, std::move(made));
    if (mqtt::HasWildcard(entry->filter)) Link(*entry);
  } else {
    entry = found->second.get();
  }
  subscription.entry = entry;
  subscription.position = static_cast<uint32_t>(entry->subscribers.size());
  entry->subscribers.push_back(&subscription);
  return first;
}

bool SubscriptionIndex::Remove(SessionSubscription& subscription) {
  FilterEntry& entry = *subscription.entry;
  CHECK(entry.subscribers[subscription.position] == &subscription) << "index out of step";
  SessionSubscription* const last = entry.subscribers.back();
  entry.subscribers[subscription.position] = last;
  last->position = subscription.position;
  entry.subscribers.pop_back();
  subscription.entry = nullptr;
  if (!entry.subscribers.empty()) return false;
  if (mqtt::HasWildcard(entry.filter)) Unlink(entry.filter);
  const auto found = entries_.find(entry.filter);
  const std::unique_ptr<FilterEntry> doomed = std::move(found->second);  // Holds the map's key.
  entries_.erase(found);
  return true;
}

void SubscriptionIndex::Link(FilterEntry& entry) {
  Node* node = root_.get();
  std::string_view rest = entry.filter;
  std::string_view level;
  for (bool more = true; more;) {
    more = TakeLevel(rest, level);
    if (level == "#") {
      node->below = &entry;
      return;
    }
    std::unique_ptr<Node>& child = node->children[base::AbslView(level)];
    if (child == nullptr) child = std::make_unique<Node>();
    if (level == "+") node->any = child.get();
    node = child.get();
  }
  node->here = &entry;
}

void SubscriptionIndex::Unlink(std::string_view filter) { UnlinkBelow(*root_, filter); }

bool SubscriptionIndex::UnlinkBelow(Node& node, std::string_view rest) {
  std::string_view level;
  const bool more = TakeLevel(rest, level);
  if (level == "#") {
    node.below = nullptr;
    return node.empty();
  }
  const auto child = node.children.find(base::AbslView(level));
  CHECK(child != node.children.end()) << "index out of step";
  bool child_empty = false;
  if (more) {
    child_empty = UnlinkBelow(*child->second, rest);
  } else {
    child->second->here = nullptr;
    child_empty = child->second->empty();
  }
  if (child_empty) {
    if (level == "+") node.any = nullptr;
    node.children.erase(child);
  }
  return node.empty();
}

void SubscriptionIndex::Match(std::string_view topic, Matches& matches) const {
  const auto exact = entries_.find(topic);
  if (exact != entries_.end()) matches.push_back(exact->second.get());
  if (root_->empty()) return;
  MatchBelow(*root_, topic, /*wildcards_match=*/topic.empty() || topic.front() != '$', matches);
}

void SubscriptionIndex::MatchBelow(const Node& node, std::string_view rest, bool wildcards_match,
                                   Matches& matches) {
  if (wildcards_match && node.below != nullptr) matches.push_back(node.below);
  std::string_view level;
  const bool more = TakeLevel(rest, level);
  const auto descend = [&](const Node& child) {
    if (more) {
      MatchBelow(child, rest, true, matches);
      return;
    }
    if (child.here != nullptr) matches.push_back(child.here);
    if (child.below != nullptr) matches.push_back(child.below);  // "a/#" takes "a" (§4.7.1.2).
  };
  if (wildcards_match && node.any != nullptr) descend(*node.any);
  if (const auto child = node.children.find(base::AbslView(level)); child != node.children.end()) {
    descend(*child->second);
  }
}

void SubscriptionIndex::ForEachFilter(absl::FunctionRef<void(std::string_view)> visit) const {
  for (const auto& [filter, entry] : entries_) visit(filter);
}

}  // namespace storage
