// Numbers for what all shards must know, and who waits until they do.
#ifndef STORAGE_LEADER_ROUTE_LEDGER_H_
#define STORAGE_LEADER_ROUTE_LEDGER_H_

#include <algorithm>
#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

namespace storage {

// `Waiter` is what to do when every shard has confirmed; they are released in the order they came.
template <typename Waiter>
class RouteLedger {
 public:
  explicit RouteLedger(size_t shards) : confirmed_(shards, 0) {}

  // For the next RouteChange, RouteBlock or ShareMemberChange.
  uint64_t Next() { return ++last_; }
  uint64_t last() const { return last_; }
  uint64_t confirmed() const { return *std::min_element(confirmed_.begin(), confirmed_.end()); }

  void Confirm(size_t shard, uint64_t number) {
    confirmed_[shard] = std::max(confirmed_[shard], std::min(number, last_));
  }

  // Waits for everything numbered so far: a route that another session made a moment ago, and that
  // this one shares, may not be known everywhere yet either.
  void Wait(Waiter waiter) { waiting_.emplace_back(last_, std::move(waiter)); }

  template <typename Release>
  void ReleaseReady(Release&& release) {
    if (waiting_.empty()) return;
    const uint64_t ready = confirmed();
    while (!waiting_.empty() && waiting_.front().first <= ready) {
      Waiter waiter = std::move(waiting_.front().second);
      waiting_.pop_front();
      release(std::move(waiter));
    }
  }

 private:
  uint64_t last_ = 0;
  std::vector<uint64_t> confirmed_;  // By shard.
  std::deque<std::pair<uint64_t, Waiter>> waiting_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_ROUTE_LEDGER_H_
