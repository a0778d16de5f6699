// Which Topic Filters a session subscribes to.
#ifndef BROKER_CORE_SUBSCRIPTION_SET_H_
#define BROKER_CORE_SUBSCRIPTION_SET_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "base/by_name.h"
#include "broker/core/router.h"

namespace broker {

// The texts of plain filters, and what was asked for, are the router's. Most sessions have one
// filter: that takes no memory of its own. Used on one thread.
class SubscriptionSet {
 public:
  size_t size() const { return many_ == nullptr ? one_ != nullptr : many_->Size(); }
  size_t shared_size() const { return many_ == nullptr ? 0 : many_->shared.size(); }
  // What all of them take, about, wherever in the process.
  uint64_t bytes() const {
    if (many_ == nullptr) return one_ == nullptr ? 0 : storage::SubscriptionBytes(one_->name());
    return many_->bytes;
  }

  // `filter` is whole, `$share/…` included.
  bool Contains(std::string_view filter) const {
    if (many_ == nullptr) return one_ != nullptr && one_->name() == filter;
    return many_->plain.contains(filter) || many_->shared.contains(base::AbslView(filter));
  }

  // A plain filter that the router has for as long as it is in here. False: it was known.
  bool Insert(const RoutedFilter* filter) {
    if (filter == one_) return false;
    if (size() == 0) {
      one_ = filter;
      return true;
    }
    return Count(many().plain.insert(filter).second, filter->name());
  }
  bool InsertShared(std::string_view filter) {
    return Count(many().shared.emplace(filter).second, filter);
  }

  // Before the router forgets it. False: it is not known.
  bool Erase(std::string_view filter) {
    if (!Contains(filter)) return false;
    if (many_ != nullptr) many_->bytes -= storage::SubscriptionBytes(filter);
    if (many_ == nullptr) {
      one_ = nullptr;
    } else if (const auto it = many_->plain.find(filter); it != many_->plain.end()) {
      many_->plain.erase(it);
    } else {
      many_->shared.erase(base::AbslView(filter));
    }
    if (many_ != nullptr && many_->Size() == 0) many_.reset();
    return true;
  }

  // Calls visit(std::string_view) for each. Not to be changed meanwhile.
  template <typename Visit>
  void ForEach(Visit&& visit) const {
    if (one_ != nullptr) visit(one_->name());
    if (many_ == nullptr) return;
    for (const RoutedFilter* filter : many_->plain) visit(filter->name());
    for (const std::string& filter : many_->shared) visit(std::string_view(filter));
  }

 private:
  struct Many {
    absl::flat_hash_set<const RoutedFilter*, base::HashByName<base::NameOfNamed>,
                        base::EqualByName<base::NameOfNamed>>
        plain;
    absl::flat_hash_set<std::string> shared;
    uint64_t bytes = 0;
    size_t Size() const { return plain.size() + shared.size(); }
  };
  Many& many() {
    if (many_ == nullptr) {
      many_ = std::make_unique<Many>();
      if (one_ != nullptr) Count(many_->plain.insert(one_).second, one_->name());
      one_ = nullptr;
    }
    return *many_;
  }

  bool Count(bool is_new, std::string_view filter) {
    if (is_new) many_->bytes += storage::SubscriptionBytes(filter);
    return is_new;
  }

  const RoutedFilter* one_ = nullptr;  // Null as soon as there are, or were, others.
  std::unique_ptr<Many> many_;
};

static_assert(sizeof(SubscriptionSet) == 16);

}  // namespace broker
#endif  // BROKER_CORE_SUBSCRIPTION_SET_H_
