#include "storage/core/session_queue.h"

#include <algorithm>

#include "base/check.h"
#include "mqttd/storage/v1/records.pb.h"

namespace storage {

bool SessionQueue::IsReleased(uint64_t sequence) const {
  return std::binary_search(released_.begin(), released_.end(), sequence);
}

bool SessionQueue::HasInbound(uint16_t packet_id) const {
  return std::binary_search(inbound_.begin(), inbound_.end(), packet_id);
}

uint64_t SessionQueue::NthOpen(uint64_t n) const {
  uint64_t from = head_;
  for (const RangeSet::Run& run : done_.runs()) {
    const uint64_t open = run.first - from;
    if (n <= open) break;
    n -= open;
    from = run.last + 1;
  }
  return std::min(tail_, from + n - 1);
}

uint64_t SessionQueue::NextOpen(uint64_t sequence) const {
  sequence = std::max(sequence, head_);
  const std::vector<RangeSet::Run>& runs = done_.runs();
  const auto run =
      std::lower_bound(runs.begin(), runs.end(), sequence,
                       [](const RangeSet::Run& r, uint64_t value) { return r.last < value; });
  if (run != runs.end() && run->first <= sequence) sequence = run->last + 1;
  return std::min(sequence, tail_ + 1);
}

uint64_t SessionQueue::Append(uint32_t size) {
  appended_bytes_ += size;
  return ++tail_;
}

void SessionQueue::MarkDone(uint64_t sequence, uint32_t size) {
  DCHECK(IsOpen(sequence)) << "sequence " << sequence << " is not open";
  removed_bytes_ += size;
  const auto released = std::lower_bound(released_.begin(), released_.end(), sequence);
  if (released != released_.end() && *released == sequence) released_.erase(released);
  if (sequence != head_) {
    done_.insert(sequence);
    return;
  }
  ++head_;
  if (const uint64_t last = done_.TakeRunAt(head_); last != 0) head_ = last + 1;
}

void SessionQueue::MarkSentThrough(uint64_t sequence) {
  sent_through_ = std::max(sent_through_, std::min(sequence, tail_));
}

void SessionQueue::Release(uint64_t sequence) {
  const auto at = std::lower_bound(released_.begin(), released_.end(), sequence);
  if (at == released_.end() || *at != sequence) released_.insert(at, sequence);
}

bool SessionQueue::AddInbound(uint16_t packet_id) {
  const auto at = std::lower_bound(inbound_.begin(), inbound_.end(), packet_id);
  if (at != inbound_.end() && *at == packet_id) return false;
  inbound_.insert(at, packet_id);
  return true;
}

bool SessionQueue::RemoveInbound(uint16_t packet_id) {
  const auto at = std::lower_bound(inbound_.begin(), inbound_.end(), packet_id);
  if (at == inbound_.end() || *at != packet_id) return false;
  inbound_.erase(at);
  return true;
}

void SessionQueue::PopKnown() {
  ++known_first_;
  if (known_first_ * 2 < known_.size()) return;  // Half of it is gone: pays for the move.
  known_.erase(known_.begin(), known_.begin() + static_cast<std::ptrdiff_t>(known_first_));
  known_first_ = 0;
}

const KnownChunk* SessionQueue::FindKnown(uint64_t sequence) const {
  const absl::Span<const KnownChunk> chunks = known();
  const auto chunk =
      std::lower_bound(chunks.begin(), chunks.end(), sequence,
                       [](const KnownChunk& c, uint64_t value) { return c.last() < value; });
  return chunk == chunks.end() || sequence < chunk->first ? nullptr : &*chunk;
}

std::optional<uint32_t> SessionQueue::KnownSize(uint64_t sequence) const {
  const KnownChunk* const chunk = FindKnown(sequence);
  if (chunk == nullptr) return std::nullopt;
  return chunk->sizes[sequence - chunk->first];
}

uint64_t SessionQueue::KnownBody(uint64_t sequence) const {
  const KnownChunk* const chunk = FindKnown(sequence);
  return chunk == nullptr || chunk->bodies.empty() ? 0 : chunk->bodies[sequence - chunk->first];
}

std::string SessionQueue::EncodeCursor() const {
  mqttd::storage::v1::Cursor record;
  record.set_head(head_);
  uint64_t from = head_;
  for (const RangeSet::Run& run : done_.runs()) {
    record.add_done(run.first - from);
    record.add_done(run.last - run.first + 1);
    from = run.last + 1;
  }
  from = head_;
  for (const uint64_t sequence : released_) {
    record.add_released(sequence - from);
    from = sequence;
  }
  record.set_sent_through(sent_through_);
  record.set_removed_bytes(removed_bytes_);
  record.set_appended_bytes(appended_bytes_);
  record.set_tail(tail_);
  record.set_next_expiry_unix_ms(
      next_expiry_ms_ == kNeverExpires ? 0 : std::max<int64_t>(next_expiry_ms_, 1));
  for (const uint16_t packet_id : inbound_) record.add_inbound(packet_id);
  return record.SerializeAsString();
}

absl::Status SessionQueue::DecodeCursor(std::string_view bytes) {
  mqttd::storage::v1::Cursor record;
  if (!record.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return absl::DataLossError("unreadable cursor");
  }
  *this = SessionQueue();
  head_ = record.head();
  tail_ = record.tail();
  stored_through_ = tail_;
  sent_through_ = record.sent_through();
  removed_bytes_ = record.removed_bytes();
  appended_bytes_ = record.appended_bytes();
  if (head_ == 0 || head_ > tail_ + 1 || removed_bytes_ > appended_bytes_ ||
      record.done_size() % 2 != 0) {
    return absl::DataLossError("a cursor that contradicts itself");
  }
  uint64_t from = head_;
  for (int i = 0; i < record.done_size(); i += 2) {
    const uint64_t first = from + record.done(i);
    from = first + record.done(i + 1);
    if (!done_.Append({first, from - 1}) || from > tail_ + 1) {
      return absl::DataLossError("a cursor whose done set is out of order");
    }
  }
  from = head_;
  for (const uint64_t distance : record.released()) {
    from += distance;
    released_.push_back(from);
  }
  for (const uint32_t packet_id : record.inbound()) {
    inbound_.push_back(static_cast<uint16_t>(packet_id));
  }
  if (record.next_expiry_unix_ms() != 0) {
    next_expiry_ms_ = record.next_expiry_unix_ms();
  } else if (!record.has_next_expiry_unix_ms() && messages() != 0) {
    next_expiry_ms_ = 0;  // Of an earlier release: somebody must look.
  }
  return absl::OkStatus();
}

}  // namespace storage
