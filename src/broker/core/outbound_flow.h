// PUBLISH to a client: the window, the identifiers in flight, and what waits for them.
#ifndef BROKER_CORE_OUTBOUND_FLOW_H_
#define BROKER_CORE_OUTBOUND_FLOW_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "broker/core/in_flight_table.h"
#include "mqtt/message.h"
#include "mqtt/types.h"

namespace broker {

// A message on its way to one session, as its subscriptions want it.
struct OutboundMessage {
  mqtt::MessagePtr message;
  mqtt::QoS qos = mqtt::QoS::kAtMostOnce;
  bool retain = false;
  absl::InlinedVector<uint32_t, 1> subscription_ids;
  std::string shared_filter;  // Not empty: one of a `$share` group, to be handed on if the session
                              // ends before it is done.
};

// Part of one session, used on its shard's thread.
//
// Of a transient session it also owns the queue of what waits for the window. Of a durable session
// the partition does that: here is only what is in flight on this connection, by identifiers that
// the partition's sequence numbers give.
class OutboundFlow {
 public:
  enum class AckResult : uint8_t {
    kDone,         // The exchange is over.
    kRelease,      // PUBREC: send PUBREL.
    kCommitFirst,  // PUBREC of a durable session: PUBREL when it is durable.
    kUnknown,      // No such identifier in flight.
    kWrongType,    // PUBACK for QoS 2 or the reverse: a Protocol Error.
  };
  using State = InFlightTable::State;

  explicit OutboundFlow(uint16_t window) : window_(window == 65'535 ? uint16_t{65'534} : window) {}

  // Room for one more in flight [MQTT5-3.3.4-9].
  bool has_room() const { return table_.size() < window_; }
  size_t in_flight() const { return table_.size(); }
  uint16_t window() const { return window_; }
  template <typename Visit>
  void ForEachInFlight(Visit&& visit) const {  // visit(identifier, State)
    table_.ForEach(std::forward<Visit>(visit));
  }

  // A message of QoS 1 or 2 leaves: the identifier it gets.
  mqtt::PacketId Start(mqtt::QoS qos) {
    const mqtt::PacketId id = table_.NextFree();
    table_.Set(id, InitialState(qos));
    return id;
  }

  // The same for a durable session, whose sequence numbers decide [MQTT5-4.4.0-1]
  // [MQTT311-4.4.0-1].
  void StartDurable(uint64_t sequence, mqtt::QoS qos, bool release_only) {
    last_sequence_ = sequence > last_sequence_ ? sequence : last_sequence_;
    table_.Set(IdOf(sequence), release_only ? State::kAwaitingPubComp : InitialState(qos));
  }
  static mqtt::PacketId IdOf(uint64_t sequence) {
    return mqtt::PacketId{static_cast<uint16_t>(sequence % 65'535 + 1)};
  }
  // The highest sequence that was sent on this connection; 0: none.
  uint64_t last_sequence() const { return last_sequence_; }
  // What is in flight lies within 65,535 below the highest sequence.
  uint64_t SequenceOf(mqtt::PacketId id) const {
    const uint64_t behind = (last_sequence_ + 65'535 - (id.value - 1u)) % 65'535;
    return last_sequence_ - behind;
  }

  AckResult OnPubAck(mqtt::PacketId id) {
    const State state = table_.Find(id);
    if (state == State::kFree) return AckResult::kUnknown;
    if (state != State::kAwaitingPubAck) return AckResult::kWrongType;
    Finish(id);
    return AckResult::kDone;
  }

  // `refused`: Reason Code ≥ 0x80, which ends the exchange [MQTT5-4.4.0-2].
  AckResult OnPubRec(mqtt::PacketId id, bool refused, bool durable) {
    const State state = table_.Find(id);
    if (state == State::kFree) return AckResult::kUnknown;
    if (state == State::kAwaitingPubAck) return AckResult::kWrongType;
    if (refused && state == State::kAwaitingPubRec) {
      Finish(id);
      return AckResult::kDone;
    }
    if (state == State::kAwaitingPubComp)
      return AckResult::kRelease;  // A repeated PUBREC: PUBREL again.
    table_.Set(id, durable ? State::kPubRecCommitting : State::kAwaitingPubComp);
    return durable ? AckResult::kCommitFirst : AckResult::kRelease;
  }

  // The PUBREC is durable. False: the identifier is gone, send nothing.
  bool OnPubRecCommitted(mqtt::PacketId id) {
    if (table_.Find(id) != State::kPubRecCommitting) return false;
    table_.Set(id, State::kAwaitingPubComp);
    return true;
  }

  AckResult OnPubComp(mqtt::PacketId id) {
    const State state = table_.Find(id);
    if (state == State::kFree) return AckResult::kUnknown;
    if (state != State::kAwaitingPubComp) return AckResult::kWrongType;
    Finish(id);
    return AckResult::kDone;
  }

  // The queue of a transient session: in order, behind the window.
  bool queue_empty() const { return queue_ == nullptr || queue_->messages.empty(); }
  size_t queued_messages() const { return queue_ == nullptr ? 0 : queue_->messages.size(); }
  uint64_t queued_bytes() const { return queue_ == nullptr ? 0 : queue_->bytes; }
  void Push(OutboundMessage message) {
    if (queue_ == nullptr) queue_ = std::make_unique<Pending>();
    queue_->bytes += message.message->bytes();
    if (const int64_t expires = message.message->expires_at_unix_ms(); expires != 0) {
      queue_->look_at_unix_ms = std::min(queue_->look_at_unix_ms, expires);
    }
    queue_->messages.push_back(std::move(message));
  }
  // What an operator is told of the queue, since it was empty.
  bool queue_crowded() const { return queue_ != nullptr && queue_->crowded; }
  void SetQueueCrowded(bool crowded) { queue_->crowded = crowded; }
  uint64_t CountDropped() { return queue_ == nullptr ? 1 : ++queue_->dropped; }
  // Takes out of the queue what has expired; `dropped(const OutboundMessage&)` for each. Cost: the
  // queue, but not for more than a tenth of the time.
  template <typename Dropped>
  void DropExpired(int64_t now_unix_ms, Dropped&& dropped) {
    if (queue_ == nullptr || queue_->look_at_unix_ms > now_unix_ms) return;
    Pending& queue = *queue_;
    int64_t next = std::numeric_limits<int64_t>::max();
    std::erase_if(queue.messages, [&](const OutboundMessage& entry) {
      if (entry.message->has_expired(now_unix_ms)) {
        queue.bytes -= entry.message->bytes();
        dropped(entry);
        return true;
      }
      const int64_t expires = entry.message->expires_at_unix_ms();
      if (expires != 0) next = std::min(next, expires);
      return false;
    });
    const auto rest_ms = static_cast<int64_t>(queue.messages.size() / 1000);
    queue.look_at_unix_ms = std::max(next, now_unix_ms + rest_ms);
    if (queue.messages.empty()) queue_.reset();
  }
  const OutboundMessage& Front() const { return queue_->messages.front(); }
  OutboundMessage Pop() {
    OutboundMessage message = std::move(queue_->messages.front());
    queue_->messages.pop_front();
    queue_->bytes -= message.message->bytes();
    if (queue_->messages.empty()) queue_.reset();
    return message;
  }

  // A shared message in flight at QoS 1: kept until the client has it, so that another member can
  // get it.
  struct SharedInFlight {
    mqtt::MessagePtr message;
    std::string shared_filter;
    uint64_t number = 0;  // In the order in which they were sent.
  };
  // One of QoS 2 stays with this session from its first PUBLISH on: when the session ends before
  // PUBREC nobody knows whether the client has it, and it goes to no other client [MQTT5-4.8.2-5].
  void RememberShared(mqtt::PacketId id, mqtt::MessagePtr message, std::string shared_filter) {
    if (table_.Find(id) != State::kAwaitingPubAck) return;
    if (shared_ == nullptr) shared_ = std::make_unique<Shared>();
    shared_->by_id[id.value] = {std::move(message), std::move(shared_filter), ++shared_->sent};
  }

  // The session ends: `hand_on(MessagePtr, shared_filter)` for each shared message that another
  // member may get, in the order in which they came: of QoS 1 what is not acknowledged, and
  // whatever was never sent.
  template <typename HandOn>
  void TakeShared(HandOn&& hand_on) {
    if (shared_ != nullptr) {
      std::vector<SharedInFlight> entries;
      for (auto& [id, entry] : shared_->by_id) entries.push_back(std::move(entry));
      shared_.reset();
      std::sort(entries.begin(), entries.end(),
                [](const auto& a, const auto& b) { return a.number < b.number; });
      for (SharedInFlight& entry : entries) hand_on(std::move(entry.message), entry.shared_filter);
    }
    const std::unique_ptr<Pending> queue = std::move(queue_);
    if (queue == nullptr) return;
    for (OutboundMessage& entry : queue->messages) {
      if (!entry.shared_filter.empty()) hand_on(std::move(entry.message), entry.shared_filter);
    }
  }

 private:
  struct Pending {
    std::deque<OutboundMessage> messages;
    uint64_t bytes = 0;
    bool crowded = false;
    uint64_t dropped = 0;
    int64_t look_at_unix_ms = std::numeric_limits<int64_t>::max();  // For what has expired.
  };

  static State InitialState(mqtt::QoS qos) {
    return qos == mqtt::QoS::kExactlyOnce ? State::kAwaitingPubRec : State::kAwaitingPubAck;
  }
  void Finish(mqtt::PacketId id) {
    table_.Erase(id);
    if (shared_ != nullptr) shared_->by_id.erase(id.value);
  }

  InFlightTable table_;
  uint64_t last_sequence_ = 0;
  std::unique_ptr<Pending> queue_;
  struct Shared {
    absl::flat_hash_map<uint16_t, SharedInFlight> by_id;
    uint64_t sent = 0;
  };
  std::unique_ptr<Shared> shared_;
  uint16_t window_;
};

// A budget: part of every session.
static_assert(sizeof(OutboundFlow) <= 64);

}  // namespace broker
#endif  // BROKER_CORE_OUTBOUND_FLOW_H_
