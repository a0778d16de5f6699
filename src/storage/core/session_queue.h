// The moving part of a durable session: where its queue stands, and which identifiers are in use.
//
// The messages themselves are chunks in the store (keys.h), or will be with the next flush. Here
// are the sequences of head and tail, what is done in between, and the sizes of the entries near
// the head.
#ifndef STORAGE_CORE_SESSION_QUEUE_H_
#define STORAGE_CORE_SESSION_QUEUE_H_

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "absl/types/span.h"
#include "mqtt/types.h"
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

inline constexpr int64_t kNeverExpires = std::numeric_limits<int64_t>::max();

// Entry sizes of a chunk that is in the store.
struct KnownChunk {
  uint64_t first = 0;
  absl::InlinedVector<uint32_t, 2> sizes;
  std::vector<uint64_t> bodies;  // Of each entry, 0: of its own. Empty: all are.
  void Add(uint32_t size, uint64_t body) {
    if (body != 0 && bodies.empty()) bodies.resize(sizes.size());
    if (body != 0 || !bodies.empty()) bodies.push_back(body);
    sizes.push_back(size);
  }
  uint64_t last() const { return first + sizes.size() - 1; }
};

// Changed by the partition only.
class SessionQueue {
 public:
  // Sequences start at 1. All below the head are done; head = tail + 1 when nothing is queued.
  uint64_t head() const { return head_; }
  uint64_t tail() const { return tail_; }
  // Up to here was, or may have been, sent on an earlier connection.
  uint64_t sent_through() const { return sent_through_; }
  // Messages and bytes (of their entries in chunks) that are queued or in flight.
  uint64_t messages() const { return tail_ + 1 - head_ - done_.size(); }
  uint64_t bytes() const { return appended_bytes_ - removed_bytes_; }

  // Acknowledged or dropped.
  bool IsDone(uint64_t sequence) const { return sequence < head_ || done_.contains(sequence); }
  bool IsOpen(uint64_t sequence) const { return sequence <= tail_ && !IsDone(sequence); }
  // PUBREC was received, and PUBCOMP not.
  bool IsReleased(uint64_t sequence) const;
  const std::vector<uint64_t>& released() const { return released_; }  // Ascending.
  // Packet Identifiers of QoS 2 messages from the client whose PUBREL has not come.
  const std::vector<uint16_t>& inbound() const { return inbound_; }  // Ascending.
  bool HasInbound(uint16_t packet_id) const;

  // The sequence of the n-th open message, n ≥ 1; the tail if there are fewer.
  uint64_t NthOpen(uint64_t n) const;
  // The first open message at or behind `sequence`; tail + 1 if there is none.
  uint64_t NextOpen(uint64_t sequence) const;

  // ---- For the partition ----

  uint64_t Append(uint32_t size);  // The new tail.
  // An open message is done. `size` as it was appended with.
  void MarkDone(uint64_t sequence, uint32_t size);
  void MarkSentThrough(uint64_t sequence);
  void Release(uint64_t sequence);
  bool AddInbound(uint16_t packet_id);     // Whether it was new.
  bool RemoveInbound(uint16_t packet_id);  // Whether it was there.

  // Nothing behind it is in the store.
  uint64_t stored_through() const { return stored_through_; }
  void SetStoredThrough(uint64_t sequence) { stored_through_ = sequence; }

  // Chunks from the head's on, none left out. A cache of the store, not part of the state; short
  // when the queue is long or was just loaded.
  absl::Span<const KnownChunk> known() const {
    return absl::MakeConstSpan(known_).subspan(known_first_);
  }
  uint64_t known_through() const { return known().empty() ? head_ - 1 : known_.back().last(); }
  // Whether `chunk` is the next to know: none of the store stands between, not one of done messages
  // either, or nobody would ever delete that.
  bool Follows(const KnownChunk& chunk) const {
    return chunk.first <= known_through() + 1 && known_through() < chunk.last();
  }
  // Whether it can be the next in the store: what is missing between was done before it was
  // written.
  bool MayFollow(const KnownChunk& chunk) const {
    return known_through() < chunk.last() && chunk.first <= NextOpen(known_through() + 1);
  }
  void AddKnown(KnownChunk chunk) { known_.push_back(std::move(chunk)); }
  void PopKnown();
  std::optional<uint32_t> KnownSize(uint64_t sequence) const;
  uint64_t KnownBody(uint64_t sequence) const;  // 0: of its own, or not known.

  uint64_t appended_bytes() const { return appended_bytes_; }

  // No queued message that may still expire does so earlier. A hint that may be too early: replicas
  // need not agree about it, so nothing may depend on it but when a queue is looked at.
  int64_t next_expiry_ms() const { return next_expiry_ms_; }
  void SetNextExpiry(int64_t at_unix_ms) { next_expiry_ms_ = at_unix_ms; }

  // Appends a Cursor record.
  std::string EncodeCursor() const;
  absl::Status DecodeCursor(std::string_view record);

 private:
  const KnownChunk* FindKnown(uint64_t sequence) const;

  uint64_t head_ = 1;
  uint64_t tail_ = 0;
  uint64_t stored_through_ = 0;
  uint64_t appended_bytes_ = 0;  // Running sums: the difference is what is queued.
  uint64_t removed_bytes_ = 0;
  uint64_t sent_through_ = 0;
  int64_t next_expiry_ms_ = kNeverExpires;
  RangeSet done_;  // Beyond the head.
  std::vector<uint64_t> released_;
  std::vector<uint16_t> inbound_;
  std::vector<KnownChunk> known_;  // Not a deque: an empty one would take 600 bytes.
  size_t known_first_ = 0;         // What is before it is gone.
};

// How many chunks a queue knows at most of those that nobody has asked for yet.
inline constexpr size_t kKnownChunksMax = 256;

}  // namespace storage

#endif  // STORAGE_CORE_SESSION_QUEUE_H_
