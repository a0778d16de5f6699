// Which sessions of a partition take a topic.
#ifndef STORAGE_CORE_SUBSCRIPTION_INDEX_H_
#define STORAGE_CORE_SUBSCRIPTION_INDEX_H_

#include <cstddef>
#include <string_view>

#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "base/named.h"
#include "mqtt/filter_tree.h"

namespace storage {

struct SessionSubscription;

// Who has a filter. The order means nothing. Most filters have one subscriber: that takes no block
// of its own.
struct FilterSubscribers {
  absl::InlinedVector<SessionSubscription*, 2> list;  // Never empty outside the index.
};
using FilterEntry = base::Named<FilterSubscribers>;

// Part of a partition, used on its thread. Rebuilt from the subscriptions' records at start.
class SubscriptionIndex {
 public:
  using Matches = absl::InlinedVector<const FilterEntry*, 8>;

  // Puts the subscription under its record's filter (a plain one) and sets its `entry` and
  // `position`. Whether it is the filter's first.
  bool Add(SessionSubscription& subscription);
  // Whether it was the filter's last. Cost: the filter's length, whatever the number of
  // subscribers.
  bool Remove(SessionSubscription& subscription);

  // Appends the entries whose filters match [MQTT-4.7.2-1] included: no wildcard in the first level
  // takes a topic that begins with '$'.
  void Match(std::string_view topic, Matches& matches) const;

  void ForEachFilter(absl::FunctionRef<void(std::string_view)> visit) const;
  size_t filter_count() const { return filters_.size(); }

 private:
  mqtt::FilterTree<FilterSubscribers> filters_;
};

}  // namespace storage

#endif  // STORAGE_CORE_SUBSCRIPTION_INDEX_H_
