// The way out to one other node: items, in order, as its link takes them.
#ifndef CLUSTER_TRAFFIC_OUTLET_H_
#define CLUSTER_TRAFFIC_OUTLET_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "cluster/core/node_life.h"
#include "cluster/link/links.h"

namespace cluster {

// Items that were made together: one string.
class ItemBatch {
 public:
  // Where the next item is to be added; then say Added.
  std::string& bytes() { return bytes_; }
  void Added() { ends_.push_back(bytes_.size()); }
  size_t size() const { return ends_.size(); }
  bool empty() const { return ends_.empty(); }
  std::string_view operator[](size_t i) const {
    const size_t begin = i == 0 ? 0 : ends_[i - 1];
    return std::string_view(bytes_).substr(begin, ends_[i] - begin);
  }

 private:
  std::string bytes_;
  std::vector<size_t> ends_;
};

// Used under the lock of its peer, but `epoch`.
class Outlet {
 public:
  static constexpr size_t kPartBytes = 1 << 20;  // Of a larger item so much goes at a time.

  Outlet(Links& links, NodeId node) : links_(links), node_(node) {}

  // A link has begun, or is over: with what waits.
  void Open();
  void Close();
  bool open() const { return open_; }
  // Another one whenever something may have been lost: what is sent in one of them comes in order,
  // up to some point. Any thread.
  uint64_t epoch() const { return epoch_.load(std::memory_order_acquire); }

  // kFull: the same item is to be given again; a part of it may have gone. kDown: Close it.
  enum class Result : uint8_t { kSent, kFull, kDown };
  // `more`: as Links::Send has it.
  Result Send(std::string_view item, bool more = false);
  // Such a part has: nothing but the same item may be given next.
  bool is_within_item() const { return part_at_ != 0; }

  // What could not be sent at once.
  void Wait(ItemBatch batch);
  bool waits() const { return !waiting_.empty(); }
  Result SendWaiting();  // One item.

 private:
  Result SendWhole(std::string_view item, bool more);

  Links& links_;
  const NodeId node_;
  bool open_ = false;
  std::atomic<uint64_t> epoch_{1};
  std::deque<ItemBatch> waiting_;
  size_t waiting_at_ = 0;  // In the first batch.
  size_t part_at_ = 0;     // So much of the item has gone.
  std::string part_;
};

}  // namespace cluster

#endif  // CLUSTER_TRAFFIC_OUTLET_H_
