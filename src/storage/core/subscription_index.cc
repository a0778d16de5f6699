#include "storage/core/subscription_index.h"

#include "base/by_name.h"
#include "base/check.h"
#include "storage/core/session.h"

namespace storage {

bool SubscriptionIndex::Add(SessionSubscription& subscription) {
  FilterEntry& entry = filters_.Insert(subscription.record.filter);
  subscription.entry = &entry;
  subscription.position = static_cast<uint32_t>(entry.value.list.size());
  entry.value.list.push_back(&subscription);
  return subscription.position == 0;
}

bool SubscriptionIndex::Remove(SessionSubscription& subscription) {
  FilterEntry& entry = *subscription.entry;
  auto& list = entry.value.list;
  CHECK(list[subscription.position] == &subscription) << "index out of step";
  SessionSubscription* const last = list.back();
  list[subscription.position] = last;
  last->position = subscription.position;
  list.pop_back();
  subscription.entry = nullptr;
  if (!list.empty()) return false;
  filters_.Erase(entry.name());
  return true;
}

void SubscriptionIndex::Match(std::string_view topic, Matches& matches) const {
  filters_.ForEachMatch(topic, base::HashOfName(topic),
                        [&](const FilterEntry& entry) { matches.push_back(&entry); });
}

void SubscriptionIndex::ForEachFilter(absl::FunctionRef<void(std::string_view)> visit) const {
  filters_.ForEach([&](const FilterEntry& entry) { visit(entry.name()); });
}

}  // namespace storage
