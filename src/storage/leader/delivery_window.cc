#include "storage/leader/delivery_window.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "storage/core/partition.h"

namespace storage {

size_t DeliveryWindow::RoomMessages() const {
  if (in_flight_ >= messages_max_) return 0;
  const size_t run = in_flight_ + uncommitted_;
  const size_t run_max = static_cast<size_t>(kRunAhead) * messages_max_;
  return run >= run_max ? 0 : std::min<size_t>(messages_max_ - in_flight_, run_max - run);
}

void DeliveryWindow::Sent(uint64_t sequence, size_t bytes) {
  CHECK(sequence >= next_) << "a sequence is sent once per connection";
  next_ = sequence + 1;
  sent_through_ = sequence;
  const auto size =
      static_cast<uint32_t>(std::min<size_t>(bytes, std::numeric_limits<uint32_t>::max()));
  items_.push_back({.sequence = sequence, .bytes = size, .done = false});
  bytes_in_flight_ += size;
  ++in_flight_;
}

void DeliveryWindow::Resume(uint64_t sent_through, const std::vector<uint64_t>& open) {
  for (const uint64_t sequence : open) Sent(sequence, 0);
  sent_through_ = sent_through;
  SkipTo(sent_through + 1);
}

bool DeliveryWindow::IsInFlight(uint64_t sequence) const {
  return std::any_of(
      items_.begin() + static_cast<std::ptrdiff_t>(first_), items_.end(),
      [sequence](const Item& item) { return item.sequence == sequence && !item.done; });
}

bool DeliveryWindow::Acknowledge(uint64_t sequence, AckKind kind) {
  const auto begin = items_.begin() + static_cast<std::ptrdiff_t>(first_);
  const auto it =
      std::lower_bound(begin, items_.end(), sequence,
                       [](const Item& item, uint64_t wanted) { return item.sequence < wanted; });
  if (it == items_.end() || it->sequence != sequence || it->done) return false;
  if (kind == AckKind::kPubRec) return true;  // In flight until PUBCOMP.
  it->done = true;
  bytes_in_flight_ -= it->bytes;
  --in_flight_;
  ++uncommitted_;
  while (first_ < items_.size() && items_[first_].done) ++first_;
  if (first_ == items_.size()) {
    items_.clear();
    first_ = 0;
  } else if (first_ > 32 && first_ > items_.size() / 2) {
    items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(first_));
    first_ = 0;
  }
  return true;
}

}  // namespace storage
