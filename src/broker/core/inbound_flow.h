// PUBLISH from a client: Receive Maximum, repeats at QoS 2, and the order of acknowledgements.
#ifndef BROKER_CORE_INBOUND_FLOW_H_
#define BROKER_CORE_INBOUND_FLOW_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "mqtt/types.h"

namespace broker {

// What is to be done with a PUBLISH of QoS 1 or 2.
enum class Admission : uint8_t {
  kRoute,   // New: route it, then acknowledge.
  kRepeat,  // QoS 2, known and already answered: PUBREC again, route nothing [MQTT5-4.3.3-10]
            // [MQTT311-4.3.3-2].
  kRepeatPending,  // QoS 2, known, its PUBREC still waits for the commit: nothing.
};

// Part of one session, used on its shard's thread. What must survive a crash (identifiers awaiting
// PUBREL of a durable session) is in the session's partition too; `Restore` brings it back.
class InboundFlow {
 public:
  // An acknowledgement that is due, in the order in which the PUBLISHes came.
  struct Ack {
    mqtt::PacketId id;
    mqtt::QoS qos = mqtt::QoS::kAtLeastOnce;
    mqtt::ReasonCode reason = mqtt::ReasonCode::kSuccess;
    bool ready = false;
  };

  explicit InboundFlow(uint16_t receive_maximum) : receive_maximum_(receive_maximum) {}

  // Of the Receive Maximum, reckoned as the client reckons its send quota (§4.9): a PUBLISH takes
  // one, PUBACK, PUBCOMP and a PUBREC ≥ 0x80 give one back. What an earlier connection left
  // unfinished takes nothing until it is sent again.
  uint32_t quota_used() const { return quota_used_; }
  // As much waits for our acknowledgement as a 5.0 client may have unfinished: time to stop reading
  // from a client that knows no such limit. Exchanges that wait for its PUBREL do not count, for
  // that would then not be read either.
  bool full() const { return open_ != nullptr && open_->acks.size() >= receive_maximum_; }

  // A PUBLISH of QoS 1 or 2 came. kReceiveMaximumExceeded [MQTT5-3.3.4-7] if it is one too many
  // (5.0; a 3.1.1 client has no such limit: the connection stops reading while `full`).
  std::optional<mqtt::Violation> Admit(mqtt::Version version, mqtt::QoS qos, mqtt::PacketId id,
                                       Admission& admission) {
    const bool no_quota = version == mqtt::Version::k5 && quota_used_ >= receive_maximum_;
    const mqtt::Violation too_many{mqtt::ReasonCode::kReceiveMaximumExceeded, "MQTT5-3.3.4-7"};
    if (qos == mqtt::QoS::kExactlyOnce) {
      if (Origin* const origin = Find(id); origin != nullptr) {
        if (*origin == Origin::kEarlierConnection) {
          if (no_quota) return too_many;
          *origin = Origin::kThisConnection;
          ++quota_used_;
        }
        admission = IsQueued(qos, id) ? Admission::kRepeatPending : Admission::kRepeat;
        return std::nullopt;
      }
    }
    if (no_quota) return too_many;
    ++quota_used_;
    admission = Admission::kRoute;
    if (qos == mqtt::QoS::kExactlyOnce)
      open().awaiting_pubrel.emplace(id.value, Origin::kThisConnection);
    return std::nullopt;
  }

  // True if nothing waits before it: then an acknowledgement may leave at once, and `AckedNow` says
  // that it did.
  bool in_order() const { return open_ == nullptr || open_->acks.empty(); }
  void AckedNow(mqtt::QoS qos, mqtt::PacketId id, mqtt::ReasonCode reason) {
    Settle({id, qos, reason, true});
    CloseIfEmpty();
  }

  // The acknowledgement of `id` has its place after those before it [MQTT5-4.6.0-2]
  // [MQTT5-4.6.0-3]; `ready` if it waits for nothing else.
  void Queue(mqtt::QoS qos, mqtt::PacketId id, mqtt::ReasonCode reason, bool ready) {
    open().acks.push_back({id, qos, reason, ready});
  }

  // The commit of the oldest acknowledgement that was not ready is done. Calls `emit(Ack)` for all
  // that may leave now.
  template <typename Emit>
  void Complete(mqtt::PacketId id, mqtt::QoS qos, mqtt::ReasonCode reason, Emit&& emit) {
    auto& acks = open().acks;
    for (Ack& ack : acks) {
      if (ack.id == id && ack.qos == qos && !ack.ready) {
        ack.reason = reason;
        ack.ready = true;
        break;
      }
    }
    size_t done = 0;
    for (; done < acks.size() && acks[done].ready; ++done) {
      Settle(acks[done]);
      emit(std::as_const(acks[done]));
    }
    acks.erase(acks.begin(), acks.begin() + static_cast<ptrdiff_t>(done));
    CloseIfEmpty();
  }

  // PUBREL came. False: nobody knows the identifier (PUBCOMP 0x92 in 5.0).
  bool Knows(mqtt::PacketId id) const {
    return open_ != nullptr && open_->awaiting_pubrel.contains(id.value);
  }
  // PUBCOMP leaves, with whatever Reason Code: the identifier may be used again [MQTT5-4.3.3-11]
  // [MQTT311-4.3.3-2]. To be called for an unknown one too, for the client's quota grows by it.
  void Release(mqtt::PacketId id) {
    if (open_ != nullptr) open_->awaiting_pubrel.erase(id.value);
    GiveBack();
    CloseIfEmpty();
  }

  // A resumed session's identifiers whose PUBREL is still to come.
  void Restore(uint16_t id) { open().awaiting_pubrel.emplace(id, Origin::kEarlierConnection); }

 private:
  enum class Origin : uint8_t { kThisConnection, kEarlierConnection };

  bool IsQueued(mqtt::QoS qos, mqtt::PacketId id) const {
    return std::any_of(open_->acks.begin(), open_->acks.end(),
                       [&](const Ack& ack) { return ack.id == id && ack.qos == qos; });
  }
  void Settle(const Ack& ack) {
    if (ack.qos != mqtt::QoS::kExactlyOnce) {
      GiveBack();
    } else if (mqtt::IsError(ack.reason) && open_ != nullptr &&
               open_->awaiting_pubrel.erase(ack.id.value) != 0) {
      GiveBack();  // PUBREC ≥ 0x80 ends the exchange [MQTT5-4.3.3-9].
    }
  }
  void GiveBack() {
    if (quota_used_ > 0) --quota_used_;  // Never above the initial quota (§4.9).
  }

  // What is unfinished; most of the time, in most sessions, nothing is.
  struct Open {
    absl::flat_hash_map<uint16_t, Origin> awaiting_pubrel;  // From PUBLISH until PUBCOMP.
    // In order of arrival; the first is not ready, or it would be gone.
    absl::InlinedVector<Ack, 4> acks;
  };
  Open& open() {
    if (open_ == nullptr) open_ = std::make_unique<Open>();
    return *open_;
  }
  Origin* Find(mqtt::PacketId id) {
    if (open_ == nullptr) return nullptr;
    const auto it = open_->awaiting_pubrel.find(id.value);
    return it == open_->awaiting_pubrel.end() ? nullptr : &it->second;
  }
  void CloseIfEmpty() {
    if (open_ != nullptr && open_->acks.empty() && open_->awaiting_pubrel.empty()) open_.reset();
  }

  std::unique_ptr<Open> open_;
  uint32_t quota_used_ = 0;
  uint16_t receive_maximum_;
};

// A budget: part of every session.
static_assert(sizeof(InboundFlow) <= 16);

}  // namespace broker
#endif  // BROKER_CORE_INBOUND_FLOW_H_
