// Messages on their way out: encoded once per variant, appended to each connection's output.
#ifndef BROKER_DELIVERER_H_
#define BROKER_DELIVERER_H_

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/types/span.h"
#include "broker/core/router.h"
#include "broker/core/session.h"
#include "broker/shard/refusals.h"
#include "broker/shard/shard_context.h"
#include "mqtt/encode.h"
#include "mqtt/message.h"

namespace broker {

// A message while one shard hands it out. Views: of the publisher's frame, or of a Message. Only
// where somebody must keep it (a queue, another thread) it becomes a Message, once.
class Outgoing {
 public:
  // From the frame of a PUBLISH. `parts` must stay valid.
  Outgoing(const mqtt::MessageParts& parts, const Session* publisher)
      : publisher_(publisher), parts_(&parts) {}
  explicit Outgoing(mqtt::MessagePtr message)
      : publisher_(nullptr),
        message_(std::move(message)),
        parts_(&parts_of_message_.emplace(message_->parts())) {}
  Outgoing(const Outgoing&) = delete;
  Outgoing& operator=(const Outgoing&) = delete;

  const mqtt::MessageParts& parts() const { return *parts_; }
  bool kept() const { return static_cast<bool>(message_); }
  const mqtt::MessagePtr& Keep() {
    if (!message_) message_ = mqtt::Message::Create(*parts_);
    return message_;
  }

  // Whether `session` published it itself, for No Local [MQTT5-3.8.3-3].
  bool IsFrom(const Session& session) const {
    return publisher_ != nullptr ? publisher_ == &session
                                 : parts_->publisher == session.client_id.view();
  }

 private:
  const Session* publisher_;
  mqtt::MessagePtr message_;
  std::optional<mqtt::MessageParts> parts_of_message_;
  const mqtt::MessageParts* parts_;
};

// Of a durable session nobody says when its partition has replayed the last retained message. For
// so long after each, and after more were asked for, it is remembered which came live.
inline constexpr uint32_t kLiveTopicsKeptTicks = 60 * ShardContext::kTicksPerSecond;

// Whether a message of this QoS for a transient session can be sent, or wait for its window.
bool HasRoom(const ShardContext& context, const Session& session, mqtt::QoS qos);

// Part of one shard, used on its thread. The path of a QoS 0 or 1 message to transient sessions
// allocates nothing.
class Deliverer {
 public:
  explicit Deliverer(ShardContext& context) : context_(context) {}

  // How one session gets a message.
  struct Envelope {
    mqtt::QoS qos = mqtt::QoS::kAtMostOnce;
    bool retain = false;
    absl::Span<const uint32_t> subscription_ids;
    std::string_view shared_filter;  // Not empty: for this member of a `$share` group.
    // What a partition says of a durable session's.
    bool dup = false;
    uint64_t sequence = 0;  // Not 0: it also gives the Packet Identifier.
  };

  // A shared message that waited for a member, who may not read it any more: to another one.
  std::function<void(mqtt::MessagePtr, std::string_view shared_filter)> hand_on;

  // To the sessions of a match. What a durable session is owed of a QoS 1 or 2 message comes from
  // its partition, also at QoS 0, and is skipped.
  void ToTargets(Outgoing& outgoing, const Match& match);

  // To a transient session, or at QoS 0. False: it was dropped (counted).
  bool ToSession(Session& session, Outgoing& outgoing, const Envelope& envelope);

  // What a partition pushed for a durable session.
  void Durable(Session& session, std::vector<storage::Delivery> entries);

  // There is room again in the window or in the output of a transient session: sends what waits.
  void Drain(Session& session) {
    if (!session.outbound.queue_empty()) DrainQueue(session);
    if (!context_.router.full_clients().empty()) NoteRoom(session);
  }

  bool HasRoom(const Session& session, mqtt::QoS qos) const {
    return broker::HasRoom(context_, session, qos);
  }
  // Before its queue is given up.
  void OnSessionEnded(const Session& session);

  // A new message is about to be handed out: forget how the last one was encoded.
  void NextMessage() { variants_known_ = 0; }

  // Messages handed out since the turn began.
  uint64_t TakeDelivered() { return std::exchange(delivered_, 0); }

 private:
  // How a message was encoded for an earlier session of the same kind: to be copied. Points into
  // that one's output.
  struct Variant {
    const uint8_t* frame;
    uint32_t copied;     // Bytes to copy; the payload is not among them if it goes by reference.
    uint32_t packet_id;  // Offset.
    bool by_reference;
  };

  // Whether the session may have the message now; if not, it is dropped, and counted.
  bool Allows(const Session& session, const mqtt::MessageParts& parts) {
    if (!session.permissions->MayRead(parts.topic))
      return Drop(session, parts.topic, DropCause::kNotAuthorized);
    if (context_.ask_deliver_hook && !context_.ask_deliver_hook(session, parts))
      return Drop(session, parts.topic, DropCause::kHook);
    return true;
  }
  bool Write(Session& session, Outgoing& outgoing, const Envelope& envelope);
  bool WriteFresh(Session& session, Outgoing& outgoing, const Envelope& envelope, size_t variant);
  mqtt::PacketId StartExchange(Session& session, Outgoing& outgoing, const Envelope& envelope);
  void Count(Session& session, const Outgoing& outgoing, mqtt::QoS qos, size_t bytes);
  bool Enqueue(Session& session, Outgoing& outgoing, const Envelope& envelope);
  void DrainQueue(Session& session);
  OutboundMessage PopQueued(Session& session);
  void DropExpired(Session& session);
  void DropFromFullQueue(Session& session, std::string_view topic);
  void WatchQueue(Session& session);
  void NoteRoom(const Session& session);
  void TellRoom(const Session& session);
  bool Drop(const Session& session, std::string_view topic, DropCause cause) {
    context_.metrics.dropped[cause].Add();
    if (context_.observer != nullptr) context_.observer->OnDropped(session, topic, cause);
    LogDropped(session, topic, cause);
    return false;
  }
  // A retained message was delivered live, or was not: `delivered`, passed on.
  static bool Note(Session& session, const mqtt::MessageParts& parts, bool delivered) {
    if (delivered && parts.retain && session.replays != nullptr && session.replays->collects())
      session.replays->live_topics.Note(parts.topic, ++session.replays->now);
    return delivered;
  }

  ShardContext& context_;
  // By version (5.0 or not), QoS, retain; one bit for each that is set.
  std::array<Variant, 12> variants_;
  uint32_t variants_known_ = 0;
  uint64_t delivered_ = 0;
};

}  // namespace broker
#endif  // BROKER_DELIVERER_H_
