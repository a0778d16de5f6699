// What a listener counts, and the place a connection takes in that count.
#ifndef BROKER_TRANSPORT_LISTENER_COUNTERS_H_
#define BROKER_TRANSPORT_LISTENER_COUNTERS_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <utility>

namespace broker {

// Monotonic, but for `connections`. Written by all shards, relaxed.
struct ListenerCounters {
  std::atomic<uint32_t> connections{0};              // Open now.
  std::atomic<uint64_t> accepted{0};                 // Given to a shard.
  std::atomic<uint64_t> refused_connections_max{0};  // Closed at once: the limit was reached.
  std::atomic<uint64_t> refused_address_max{0};      // … from the same address, likewise.
  std::atomic<uint64_t> refused_address_rate{0};     // … or more a second than allowed.
  std::atomic<uint64_t> refused_origins{0};          // WebSocket: a page that may not connect.
  std::atomic<uint64_t> refused_descriptors{0};      // Closed at once: no descriptor was left.
  std::atomic<uint64_t> rate_waits{0};  // Accepting waited: more came a second than allowed.
  std::atomic<uint64_t> pauses{0};      // Accepting stopped for a moment: no descriptor or memory.
};

// One of a listener's `connections`, given back when destroyed. May be empty.
class ConnectionSlot {
 public:
  ConnectionSlot() = default;
  ~ConnectionSlot() {
    if (counters_ != nullptr) counters_->connections.fetch_sub(1, std::memory_order_relaxed);
  }
  ConnectionSlot(ConnectionSlot&& other) noexcept = default;
  ConnectionSlot& operator=(ConnectionSlot&& other) noexcept {
    std::swap(counters_, other.counters_);
    return *this;
  }

  // Empty if `connections_max` (0: no limit) are open already.
  static ConnectionSlot Take(std::shared_ptr<ListenerCounters> counters, uint32_t connections_max) {
    const uint32_t before = counters->connections.fetch_add(1, std::memory_order_relaxed);
    ConnectionSlot slot(std::move(counters));
    if (connections_max != 0 && before >= connections_max) return ConnectionSlot();
    return slot;
  }

  bool empty() const { return counters_ == nullptr; }

 private:
  explicit ConnectionSlot(std::shared_ptr<ListenerCounters> counters)
      : counters_(std::move(counters)) {}

  std::shared_ptr<ListenerCounters> counters_;
};

}  // namespace broker
#endif  // BROKER_TRANSPORT_LISTENER_COUNTERS_H_
