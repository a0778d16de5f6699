// Which sessions of a partition take a topic: exact filters in a hash map, wildcards in a trie.
#ifndef STORAGE_CORE_SUBSCRIPTION_INDEX_H_
#define STORAGE_CORE_SUBSCRIPTION_INDEX_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"

namespace storage {

struct SessionSubscription;

// A filter and who has it. The order of subscribers means nothing.
struct FilterEntry {
  std::string filter;
  std::vector<SessionSubscription*> subscribers;  // Never empty outside the index.
};

// Part of a partition, used on its thread. Rebuilt from the subscriptions' records at start.
class SubscriptionIndex {
 public:
  using Matches = absl::InlinedVector<const FilterEntry*, 8>;

  SubscriptionIndex();
  ~SubscriptionIndex();

  // Puts the subscription under its record's filter (a plain one) and sets its `entry` and
  // `position`. Whether it is the filter's first.
  bool Add(SessionSubscription& subscription);
  // Whether it was the filter's last. Cost: O(levels), whatever the number of subscribers.
  bool Remove(SessionSubscription& subscription);

  // Appends the entries whose filters match [MQTT-4.7.2-1] included: no wildcard in the first level
  // takes a topic that begins with '$'.
  void Match(std::string_view topic, Matches& matches) const;

  void ForEachFilter(absl::FunctionRef<void(std::string_view)> visit) const;
  size_t filter_count() const { return entries_.size(); }

 private:
  struct Node;
  void Link(FilterEntry& entry);
  void Unlink(std::string_view filter);
  static bool UnlinkBelow(Node& node, std::string_view rest);
  static void MatchBelow(const Node& node, std::string_view rest, bool wildcards_match,
                         Matches& matches);

  absl::flat_hash_map<std::string_view, std::unique_ptr<FilterEntry>> entries_;
  std::unique_ptr<Node> root_;  // Filters with wildcards only.
};

}  // namespace storage

#endif  // STORAGE_CORE_SUBSCRIPTION_INDEX_H_
