// What a durable session's connection has in flight: how far its queue was sent, and how much more
// may be.
#ifndef STORAGE_LEADER_DELIVERY_WINDOW_H_
#define STORAGE_LEADER_DELIVERY_WINDOW_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "storage/core/partition_api.h"

namespace storage {

// Lives as long as the connection. The window is free again when the client acknowledges, not when
// that is committed; what is acknowledged and not committed is bounded by another window's worth,
// so that a crash knows how much may have been sent (kRunAhead in core/partition.h).
class DeliveryWindow {
 public:
  DeliveryWindow() = default;
  // `head`: the first sequence of the queue that is not done.
  DeliveryWindow(uint32_t messages_max, uint64_t bytes_max, uint64_t head)
      : messages_max_(messages_max == 0 ? 1 : messages_max), bytes_max_(bytes_max), next_(head) {}

  // On a connection to which everything up to `sent_through` was sent already, by another leader.
  // `open`: of that, what is not done, ascending. How large they are is not known any more: they
  // count as messages only.
  void Resume(uint64_t sent_through, const std::vector<uint64_t>& open);

  // The sequence to be sent next; all below was sent or is done.
  uint64_t next() const { return next_; }
  // Greatest that was sent on this connection; 0: none.
  uint64_t sent_through() const { return sent_through_; }

  // How many messages may be sent now. One at least goes whatever its size when nothing is in
  // flight.
  size_t RoomMessages() const;
  size_t RoomBytes() const {
    return bytes_in_flight_ >= bytes_max_ ? 0 : bytes_max_ - bytes_in_flight_;
  }
  bool HasRoom() const { return RoomMessages() > 0 && (in_flight_ == 0 || RoomBytes() > 0); }
  // Room is missing only because acknowledgements are not committed yet.
  bool WaitsForCommit() const { return in_flight_ < messages_max_ && RoomMessages() == 0; }

  void Sent(uint64_t sequence, size_t bytes);
  // Messages from next() on were passed over and are to be dropped. Until that is committed they
  // count like acknowledged ones: they stand before what is sent after them.
  void Dropped(size_t messages) { uncommitted_ += messages; }
  // The queue was read up to `next` without anything to send.
  void SkipTo(uint64_t next) { next_ = next > next_ ? next : next_; }

  // True if the sequence was in flight: worth a command.
  bool Acknowledge(uint64_t sequence, AckKind kind);
  // `done` messages, acknowledged or dropped, left the queue.
  void Committed(uint32_t done) { uncommitted_ -= done < uncommitted_ ? done : uncommitted_; }

  bool IsInFlight(uint64_t sequence) const;
  size_t in_flight() const { return in_flight_; }

 private:
  struct Item {
    uint64_t sequence = 0;
    uint32_t bytes = 0;
    bool done = false;
  };

  uint32_t messages_max_ = 1;
  uint64_t bytes_max_ = 0;
  uint64_t next_ = 1;
  uint64_t sent_through_ = 0;
  uint64_t bytes_in_flight_ = 0;
  size_t in_flight_ = 0;
  size_t uncommitted_ = 0;
  size_t first_ = 0;         // items_ before it are gone.
  std::vector<Item> items_;  // Ascending.
};

}  // namespace storage

#endif  // STORAGE_LEADER_DELIVERY_WINDOW_H_
