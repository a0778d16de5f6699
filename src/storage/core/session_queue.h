// The moving part of a durable session: where its queue stands, and which identifiers are in use.
//
// The messages themselves are chunks in the store (keys.h) and never in memory. Here are the
// sequences of head and tail, what is done in between, and the sizes of the entries near the head.
#ifndef STORAGE_CORE_SESSION_QUEUE_H_
#define STORAGE_CORE_SESSION_QUEUE_H_

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "mqtt/types.h"
#include "storage/core/kv.h"
#include "storage/core/partition_api.h"
#include "storage/core/range_set.h"

namespace storage {

inline constexpr uint32_t kChunkEntriesMax = 16;

// The Packet Identifier of a queued message, for ever (§2.2.1): a resend has the original one
// [MQTT-4.4.0-1]. Two messages in flight never share one, because whoever sends keeps all that is
// in flight within kSequenceSpan of the head.
inline constexpr uint64_t kSequenceSpan = 65'535;
constexpr mqtt::PacketId PacketIdOf(uint64_t sequence) {
  return {static_cast<uint16_t>(sequence % kSequenceSpan + 1)};
}

// The sequence that a Packet Identifier in flight stands for: the one at or above the head.
constexpr uint64_t SequenceInFlight(mqtt::PacketId id, uint64_t head) {
  const uint64_t wanted = id.value - 1u;
  const uint64_t from = head % kSequenceSpan;
  return head + (wanted >= from ? wanted - from : wanted + kSequenceSpan - from);
}

class SessionQueue {
 public:
  // Sequences start at 1. All below the head are done; head = tail + 1 when nothing is queued.
  uint64_t head() const { return head_; }
  uint64_t tail() const { return tail_; }
  uint64_t sent_through() const { return sent_through_; }
  // Messages and bytes that are queued or in flight.
  uint64_t messages() const { return tail_ + 1 - head_ - done_.size(); }
  uint64_t bytes() const { return appended_bytes_ - removed_bytes_; }

  bool IsDone(uint64_t sequence) const { return sequence < head_ || done_.contains(sequence); }
  bool IsReleased(uint64_t sequence) const;
  const std::vector<uint64_t>& released() const { return released_; }  // Ascending.
  const std::vector<uint16_t>& inbound() const { return inbound_; }    // Ascending.
  bool HasInbound(uint16_t packet_id) const;

  // The sequence of the n-th message that is not done; the tail if there are fewer.
  uint64_t NthOpen(uint64_t n) const;

 private:
  friend class QueueWriter;

  // Entry sizes of a chunk in the store (or in the entry that is being applied).
  struct KnownChunk {
    uint64_t first = 0;
    absl::InlinedVector<uint32_t, 2> sizes;
    uint64_t last() const { return first + sizes.size() - 1; }
  };

  uint64_t head_ = 1;
  uint64_t tail_ = 0;
  uint64_t appended_bytes_ = 0;
  uint64_t removed_bytes_ = 0;
  uint64_t sent_through_ = 0;
  RangeSet done_;                   // Beyond the head.
  std::vector<uint64_t> released_;  // PUBREC received.
  std::vector<uint16_t> inbound_;
  // Chunks without a gap from the head's on. A cache: read again from the store when short.
  std::deque<KnownChunk> known_;
};

}  // namespace storage

#endif  // STORAGE_CORE_SESSION_QUEUE_H_
