// What a client asks for: Receive Maximum, repeats at QoS 2, and the order of acknowledgements.
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
  // An acknowledgement that is due: PUBACK, PUBREC, PUBCOMP, SUBACK or UNSUBACK.
  struct Ack {
    mqtt::PacketType type = mqtt::PacketType::kPubAck;
    mqtt::PacketId id;
    mqtt::ReasonCode reason = mqtt::ReasonCode::kSuccess;
    bool ready = false;
  };
  // A place among those that wait, good until it leaves.
  using Ticket = uint32_t;

  explicit InboundFlow(uint16_t receive_maximum) : receive_maximum_(receive_maximum) {}

  // Of the Receive Maximum, reckoned as the client reckons its send quota (§4.9): a PUBLISH takes
  // one, PUBACK, PUBCOMP and a PUBREC ≥ 0x80 give one back. What an earlier connection left
  // unfinished takes nothing until it is sent again.
  uint32_t quota_used() const { return quota_used_; }
  // Time to stop reading. As many PUBLISHes wait for our acknowledgement as a 5.0 client may have
  // unfinished, and the client knows no such limit: exchanges that wait for its PUBREL do not
  // count, for that would then not be read either. Or many more acknowledgements wait than these:
  // of repeats, say.
  bool full(mqtt::Version version) const {
    if (open_ == nullptr) return false;
    if (version != mqtt::Version::k5 && open_->publishes >= receive_maximum_) return true;
    return open_->waiting() >= size_t{receive_maximum_} + kOthersWaitingMax;
  }

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
        admission = IsQueued(id) ? Admission::kRepeatPending : Admission::kRepeat;
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
  // that it did. What a client asks for is acknowledged in the order in which it asked, whatever
  // takes how long: PUBACKs [MQTT5-4.6.0-2], PUBRECs [MQTT5-4.6.0-3], and all of them together.
  bool in_order() const { return open_ == nullptr || open_->waiting() == 0; }
  void AckedNow(mqtt::PacketType type, mqtt::PacketId id, mqtt::ReasonCode reason) {
    Settle({type, id, reason, true});
    CloseIfEmpty();
  }

  // The acknowledgement has its place after those before it; `ready` if it waits for nothing else.
  Ticket Queue(mqtt::PacketType type, mqtt::PacketId id, mqtt::ReasonCode reason, bool ready) {
    Open& open = this->open();
    if (IsOfPublish(type)) ++open.publishes;
    open.acks.push_back({type, id, reason, ready});
    return open.begun + static_cast<Ticket>(open.acks.size() - 1);
  }
  // Whether a PUBLISH waits for its acknowledgement.
  bool publishes_wait() const { return open_ != nullptr && open_->publishes != 0; }

  // What the acknowledgement waited for is done. Calls `emit(Ack)` for all that may leave now;
  // `emit` must not call back. Once for each ticket. Cost: O(1) for each that leaves.
  template <typename Emit>
  void Complete(Ticket ticket, mqtt::ReasonCode reason, Emit&& emit) {
    Ack& ack = open_->acks[ticket - open_->begun];
    ack.reason = reason;
    ack.ready = true;
    while (open_->waiting() != 0 && open_->acks[open_->left].ready) {
      const Ack leaves = open_->acks[open_->left++];
      if (IsOfPublish(leaves.type)) --open_->publishes;
      Settle(leaves);
      emit(leaves);
    }
    open_->ForgetLeft();
    CloseIfEmpty();
  }

  // PUBREL came. False: nobody knows the identifier (PUBCOMP 0x92 in 5.0). It may be used again
  // when PUBCOMP leaves, with whatever Reason Code [MQTT5-4.3.3-11] [MQTT311-4.3.3-2].
  bool Knows(mqtt::PacketId id) const {
    return open_ != nullptr && open_->awaiting_pubrel.contains(id.value);
  }

  // QoS 2 identifiers whose exchange is not over.
  size_t awaiting_pubrel() const { return open_ == nullptr ? 0 : open_->awaiting_pubrel.size(); }
  template <typename Visit>
  void ForEachAwaitingPubRel(Visit&& visit) const {
    if (open_ == nullptr) return;
    for (const auto& [id, origin] : open_->awaiting_pubrel) visit(id);
  }

  // A resumed session's identifiers whose PUBREL is still to come.
  void Restore(uint16_t id) { open().awaiting_pubrel.emplace(id, Origin::kEarlierConnection); }

 private:
  enum class Origin : uint8_t { kThisConnection, kEarlierConnection };

  static constexpr size_t kOthersWaitingMax = 1024;

  static bool IsOfPublish(mqtt::PacketType type) {
    return type == mqtt::PacketType::kPubAck || type == mqtt::PacketType::kPubRec;
  }
  bool IsQueued(mqtt::PacketId id) const {
    return std::any_of(
        open_->acks.begin() + static_cast<ptrdiff_t>(open_->left), open_->acks.end(),
        [&](const Ack& ack) { return ack.id == id && ack.type == mqtt::PacketType::kPubRec; });
  }
  void Settle(const Ack& ack) {
    switch (ack.type) {
      case mqtt::PacketType::kPubAck:
        return GiveBack();
      case mqtt::PacketType::kPubRec:  // ≥ 0x80 ends the exchange [MQTT5-4.3.3-9].
        if (mqtt::IsError(ack.reason) && Forget(ack.id)) GiveBack();
        return;
      case mqtt::PacketType::kPubComp:  // An unknown one too: the client's quota grows by it.
        Forget(ack.id);
        return GiveBack();
      default:
        return;
    }
  }
  bool Forget(mqtt::PacketId id) {
    return open_ != nullptr && open_->awaiting_pubrel.erase(id.value) != 0;
  }
  void GiveBack() {
    if (quota_used_ > 0) --quota_used_;  // Never above the initial quota (§4.9).
  }

  // What is unfinished; most of the time, in most sessions, nothing is.
  struct Open {
    absl::flat_hash_map<uint16_t, Origin> awaiting_pubrel;  // From PUBLISH until PUBCOMP.
    // In the order of the requests; those before `left` are gone, and the one there is not ready.
    absl::InlinedVector<Ack, 4> acks;
    uint32_t left = 0;
    uint32_t publishes = 0;  // Of those that wait.
    Ticket begun = 0;        // Of acks[0].

    size_t waiting() const { return acks.size() - left; }
    // Not each time, or many of them would be moved again and again.
    void ForgetLeft() {
      if (left * size_t{2} < acks.size()) return;
      acks.erase(acks.begin(), acks.begin() + left);
      begun += left;
      left = 0;
    }
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
    if (in_order() && open_ != nullptr && open_->awaiting_pubrel.empty()) open_.reset();
  }

  std::unique_ptr<Open> open_;
  uint32_t quota_used_ = 0;
  uint16_t receive_maximum_;
};

// A budget: part of every session.
static_assert(sizeof(InboundFlow) <= 16);

}  // namespace broker
#endif  // BROKER_CORE_INBOUND_FLOW_H_
