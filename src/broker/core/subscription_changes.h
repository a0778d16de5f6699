// What a durable session's client asked for that is not committed yet, and what to go back to.
#ifndef BROKER_CORE_SUBSCRIPTION_CHANGES_H_
#define BROKER_CORE_SUBSCRIPTION_CHANGES_H_

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "base/by_name.h"
#include "mqtt/types.h"

namespace broker {

// What a client said of a Topic Filter when it subscribed.
struct SubscriptionTerms {
  mqtt::SubscriptionOptions options;
  uint32_t subscription_id = 0;
};

// A SUBSCRIBE or UNSUBSCRIBE of one filter that acts already and is to be committed. Stays at its
// address until SubscriptionChanges has forgotten it.
struct SubscriptionChange {
  std::string filter;
  std::optional<SubscriptionTerms> before;  // What the session had until then; none: nothing.

  SubscriptionChange* older = nullptr;  // Of the same filter.
  SubscriptionChange* newer = nullptr;
};

// Of one connection, in the order of its requests. Answers may come in any order. Used on one
// thread. Cost of each function: O(1).
class SubscriptionChanges {
 public:
  bool Concern(std::string_view filter) const { return newest_.contains(filter); }

  // The client asked for it.
  void Add(SubscriptionChange& change) {
    if (const auto it = newest_.find(std::string_view(change.filter)); it != newest_.end()) {
      change.older = *it;
      change.older->newer = &change;
      newest_.erase(it);
    }
    newest_.insert(&change);
  }

  // It is committed.
  void Commit(SubscriptionChange& change) { Forget(change); }

  // It is refused. True: the session is to have what it had `before`. Else the client has asked for
  // something else since, which holds, and that is what it goes back to.
  bool Refuse(SubscriptionChange& change) {
    const bool newest = change.newer == nullptr;
    if (!newest) change.newer->before = change.before;
    Forget(change);
    return newest;
  }

 private:
  void Forget(SubscriptionChange& change) {
    if (change.older != nullptr) change.older->newer = change.newer;
    if (change.newer != nullptr) {
      change.newer->older = change.older;
    } else {
      newest_.erase(newest_.find(std::string_view(change.filter)));
      if (change.older != nullptr) newest_.insert(change.older);
    }
    change.older = nullptr;
    change.newer = nullptr;
  }

  struct FilterOfChange {
    std::string_view operator()(const SubscriptionChange* change) const { return change->filter; }
  };
  absl::flat_hash_set<SubscriptionChange*, base::HashByName<FilterOfChange>,
                      base::EqualByName<FilterOfChange>>
      newest_;
};

}  // namespace broker
#endif  // BROKER_CORE_SUBSCRIPTION_CHANGES_H_
