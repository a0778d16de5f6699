#include "broker/shard/deliverer.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "base/by_name.h"
#include "base/log.h"
#include "broker/shard/packet_output.h"
#include "mqtt/types.h"

namespace broker {
namespace {

// Above this a payload that goes to several is referred to instead of copied: measured, copying is
// cheaper below.
constexpr size_t kCopyBytesMax = 1024;

constexpr size_t kNoVariant = SIZE_MAX;

size_t VariantIndex(mqtt::Version version, mqtt::QoS qos, bool retain) {
  return (version == mqtt::Version::k5 ? 6u : 0u) + static_cast<size_t>(qos) * 2 + (retain ? 1 : 0);
}

bool OutputFull(const ShardContext& context, const Session& session) {
  return session.connection.output.bytes() >= context.InMemory(session.limits.output_bytes_max);
}

bool QueueFull(const ShardContext& context, const Session& session) {
  const Limits& limits = session.limits;
  return session.outbound.queued_messages() >= context.InMemory(limits.queue_messages_max) ||
         session.outbound.queued_bytes() >= context.InMemory(limits.queue_bytes_max);
}

using SubscriptionIds = absl::InlinedVector<uint32_t, 2>;

// What one session's matching subscriptions make of a message: its QoS and RETAIN in `envelope`,
// and `ids`. False: it gets none.
bool Combine(absl::Span<const Subscriber> subscriptions, const Outgoing& outgoing,
             Deliverer::Envelope& envelope, SubscriptionIds& ids) {
  bool any = false;
  mqtt::QoS qos = mqtt::QoS::kAtMostOnce;
  bool retain = false;
  for (const Subscriber& subscriber : subscriptions) {
    if (subscriber.options.no_local && outgoing.IsFrom(*subscriber.session))
      continue;  // [MQTT5-3.8.3-3]
    any = true;
    qos =
        std::max(qos, mqtt::Min(outgoing.parts().qos, subscriber.options.qos));  // [MQTT5-3.3.4-2]
    // RETAIN stays 1 only for who asked for it [MQTT5-3.3.1-12] [MQTT5-3.3.1-13]; never in 3.1.1
    // [MQTT311-3.3.1-9].
    retain = retain || (subscriber.options.retain_as_published && outgoing.parts().retain);
    if (subscriber.subscription_id != 0)
      ids.push_back(subscriber.subscription_id);  // [MQTT5-3.3.4-4]
  }
  envelope.qos = qos;
  envelope.retain = retain;
  return any;
}

}  // namespace

void Deliverer::ToTargets(Outgoing& outgoing, const Match& match) {
  NextMessage();
  const bool fan_out = match.subscribers.size() > 1;
  if (fan_out && outgoing.parts().payload.size() > kCopyBytesMax) outgoing.Keep();
  const bool partitions_deliver = outgoing.parts().qos != mqtt::QoS::kAtMostOnce;
  const absl::Span<const Subscriber> all = match.subscribers;
  size_t end = 0;
  for (size_t begin = 0; begin < all.size(); begin = end) {
    Session& session = *all[begin].session;
    end = begin + 1;
    while (end < all.size() && all[end].session == &session) ++end;
    if (session.durable && partitions_deliver) continue;
    Envelope envelope;
    SubscriptionIds ids;
    if (!Combine(all.subspan(begin, end - begin), outgoing, envelope, ids)) continue;
    envelope.subscription_ids = ids;
    ToSession(session, outgoing, envelope);
  }
}

bool Deliverer::ToSession(Session& session, Outgoing& outgoing, const Envelope& envelope) {
  const mqtt::MessageParts& parts = outgoing.parts();
  if (!Allows(session, parts)) return false;
  const bool output_full = OutputFull(context_, session);
  if (envelope.qos == mqtt::QoS::kAtMostOnce) {
    if (output_full) return Drop(session, parts.topic, DropCause::kOutputFull);
    return Note(session, parts, Write(session, outgoing, envelope));
  }
  if (!output_full && session.outbound.queue_empty() && session.outbound.has_room()) {
    return Note(session, parts, Write(session, outgoing, envelope));
  }
  return Note(session, parts, Enqueue(session, outgoing, envelope));
}

bool HasRoom(const ShardContext& context, const Session& session, mqtt::QoS qos) {
  const bool output_full = OutputFull(context, session);
  if (qos == mqtt::QoS::kAtMostOnce) return !output_full;
  if (!output_full && session.outbound.queue_empty() && session.outbound.has_room()) return true;
  return !QueueFull(context, session);
}

OutboundMessage Deliverer::PopQueued(Session& session) {
  const bool was_crowded = session.outbound.queue_crowded();
  OutboundMessage entry = session.outbound.Pop();
  context_.metrics.queued_messages.Add(-1);
  context_.metrics.queued_bytes.Add(-static_cast<int64_t>(entry.message->bytes()));
  if (was_crowded) WatchQueue(session);
  // It was given up with its last message.
  if (was_crowded && session.outbound.queue_empty()) context_.metrics.queues_crowded.Add(-1);
  return entry;
}

// Whether the queue is crowded: from above four fifths of a bound on, until it is below three.
void Deliverer::WatchQueue(Session& session) {
  if (session.outbound.queue_empty()) return;
  const bool was_crowded = session.outbound.queue_crowded();
  const uint64_t fifths = was_crowded ? 3 : 4;
  const auto above = [&](uint64_t fill, uint64_t max) { return fill * 5 > max * fifths; };
  const bool crowded =
      above(session.outbound.queued_messages(), session.limits.queue_messages_max) ||
      above(session.outbound.queued_bytes(), session.limits.queue_bytes_max);
  if (crowded == was_crowded) return;
  session.outbound.SetQueueCrowded(crowded);
  context_.metrics.queues_crowded.Add(crowded ? 1 : -1);
  if (!crowded) return;
  base::LogLimited(base::LogLevel::kWarning, "queue nearly full", "above 80 % of its bound",
                   {{"client", base::Shortened(base::AbslView(session.client_id))},
                    {"queued_messages", session.outbound.queued_messages()},
                    {"queue_messages_max", session.limits.queue_messages_max},
                    {"queued_bytes", session.outbound.queued_bytes()},
                    {"queue_bytes_max", session.limits.queue_bytes_max},
                    {"connected", true}});
}

void Deliverer::DropFromFullQueue(Session& session, std::string_view topic) {
  Drop(session, topic, DropCause::kQueueFull);
  const uint64_t dropped = session.outbound.CountDropped();
  base::LogLimited(base::LogLevel::kWarning, "message dropped", "the queue is full",
                   {{"client", base::Shortened(base::AbslView(session.client_id))},
                    {"dropped_of_this_client", dropped},
                    {"queued_messages", session.outbound.queued_messages()},
                    {"queued_bytes", session.outbound.queued_bytes()},
                    {"connected", true}});
}

// Who passes it over in `$share` groups goes on when there is some distance from the bound.
void Deliverer::NoteRoom(const Session& session) {
  const auto below = [](uint64_t fill, uint64_t max) { return fill <= max - (max + 7) / 8; };
  if (below(session.outbound.queued_messages(),
            context_.InMemory(session.limits.queue_messages_max)) &&
      below(session.outbound.queued_bytes(), context_.InMemory(session.limits.queue_bytes_max))) {
    TellRoom(session);
  }
}

void Deliverer::TellRoom(const Session& session) {
  if (session.durable || !context_.router.full_clients().Contains(session.client_id)) return;
  context_.router.full_clients().Remove(session.client_id);
  for (uint32_t shard = 0; shard < context_.shards; ++shard) {
    if (shard == context_.id) continue;
    context_.Send(static_cast<storage::ShardId>(shard),
                  MemberRoomChange{std::string(session.client_id), true});
  }
}

void Deliverer::OnSessionEnded(const Session& session) {
  if (session.outbound.queue_crowded()) context_.metrics.queues_crowded.Add(-1);
  TellRoom(session);
}

// What has expired makes room.
void Deliverer::DropExpired(Session& session) {
  const bool was_crowded = session.outbound.queue_crowded();
  session.outbound.DropExpired(context_.now_unix_ms, [&](const OutboundMessage& expired) {
    context_.metrics.queued_messages.Add(-1);
    context_.metrics.queued_bytes.Add(-static_cast<int64_t>(expired.message->bytes()));
    Drop(session, expired.message->topic(), DropCause::kExpired);
  });
  if (was_crowded) WatchQueue(session);
  if (was_crowded && session.outbound.queue_empty()) context_.metrics.queues_crowded.Add(-1);
}

bool Deliverer::Enqueue(Session& session, Outgoing& outgoing, const Envelope& envelope) {
  if (QueueFull(context_, session)) DropExpired(session);
  if (QueueFull(context_, session)) {
    switch (session.limits.queue_full) {
      case QueueFullPolicy::kDropNewest:
        DropFromFullQueue(session, outgoing.parts().topic);
        return false;
      case QueueFullPolicy::kDropOldest:
        // Several, where this one is larger than they are.
        while (QueueFull(context_, session) && !session.outbound.queue_empty()) {
          DropFromFullQueue(session, session.outbound.Front().message->topic());
          PopQueued(session);
        }
        break;
      case QueueFullPolicy::kDisconnect:
        context_.CloseLater(session.connection, {.cause = CloseCause::kOutputFull,
                                                 .say = mqtt::ReasonCode::kQuotaExceeded});
        DropFromFullQueue(session, outgoing.parts().topic);
        return false;
    }
  }
  OutboundMessage entry;
  entry.message = outgoing.Keep();
  entry.qos = envelope.qos;
  entry.retain = envelope.retain;
  entry.subscription_ids.assign(envelope.subscription_ids.begin(), envelope.subscription_ids.end());
  entry.shared_filter.assign(envelope.shared_filter);
  context_.metrics.queued_messages.Add();
  context_.metrics.queued_bytes.Add(static_cast<int64_t>(entry.message->bytes()));
  session.outbound.Push(std::move(entry));
  WatchQueue(session);
  return true;
}

void Deliverer::DrainQueue(Session& session) {
  while (!session.outbound.queue_empty() && session.outbound.has_room() &&
         !OutputFull(context_, session)) {
    const OutboundMessage entry = PopQueued(session);
    Outgoing outgoing(entry.message);
    NextMessage();
    if (!session.permissions->MayRead(outgoing.parts().topic)) {  // The rules have changed.
      if (!entry.shared_filter.empty()) {
        hand_on(entry.message, entry.shared_filter);
        continue;
      }
      Drop(session, outgoing.parts().topic, DropCause::kNotAuthorized);
      continue;
    }
    Write(session, outgoing,
          {.qos = entry.qos,
           .retain = entry.retain,
           .subscription_ids = entry.subscription_ids,
           .shared_filter = entry.shared_filter});
  }
}

void Deliverer::Durable(Session& session, std::vector<storage::Delivery> entries) {
  Connection& connection = session.connection;
  for (storage::Delivery& entry : entries) {
    if (entry.release) {
      session.outbound.StartDurable(entry.sequence, entry.qos, true);
      context_.metrics.inflight_messages.Add();
      SendAck(context_, session, mqtt::PacketType::kPubRel, OutboundFlow::IdOf(entry.sequence));
      continue;
    }
    if (entry.replay) {
      session.replay_came = true;
      if (session.replays != nullptr) {
        session.replays->forget_at_tick = context_.now_tick + kLiveTopicsKeptTicks;
        if (session.replays->live_topics.Find(entry.message->topic()) != 0)
          continue;  // It came live.
      }
    }
    Outgoing outgoing(std::move(entry.message));
    NextMessage();
    const Envelope envelope = {.qos = entry.qos,
                               .retain = entry.retain,
                               .subscription_ids = entry.subscription_ids,
                               .dup = entry.dup,
                               .sequence = entry.sequence};
    const bool readable = Allows(session, outgoing.parts());
    // The window bounds QoS 1 and 2, and a replay's next page comes when this one is taken.
    if (entry.sequence == 0 && !entry.replay && OutputFull(context_, session)) {
      Drop(session, outgoing.parts().topic, DropCause::kOutputFull);
      continue;
    }
    if (readable && Write(session, outgoing, envelope)) continue;
    // It can never be sent to this client: let the partition forget it, or the window would stay
    // full.
    if (entry.sequence == 0) continue;
    if (session.acknowledgements == nullptr)
      session.acknowledgements = std::make_unique<storage::Acknowledge>();
    session.acknowledgements->entries.push_back({entry.sequence, storage::AckKind::kPubAck});
    context_.MarkDirty(connection);
  }
}

bool Deliverer::Write(Session& session, Outgoing& outgoing, const Envelope& envelope) {
  const mqtt::MessageParts& parts = outgoing.parts();
  // [MQTT5-3.3.2-5]; what was sent before goes on to its end [MQTT5-4.3.3-7].
  if (parts.expires_at_unix_ms != 0 && parts.expires_at_unix_ms <= context_.now_unix_ms &&
      !envelope.dup) {
    return Drop(session, parts.topic, DropCause::kExpired);
  }
  const bool v5 = session.version == mqtt::Version::k5;
  // Sessions of one kind get the same bytes but for the Packet Identifier.
  const bool common =
      envelope.sequence == 0 && !envelope.dup &&
      (!v5 || (envelope.subscription_ids.empty() && session.aliases_out == nullptr));
  if (!common) return WriteFresh(session, outgoing, envelope, kNoVariant);
  const size_t index = VariantIndex(session.version, envelope.qos, envelope.retain);
  if ((variants_known_ >> index & 1) == 0) return WriteFresh(session, outgoing, envelope, index);

  const Variant* const variant = &variants_[index];
  const size_t total = variant->copied + (variant->by_reference ? parts.payload.size() : 0);
  if (total > session.packet_size_max)
    return Drop(session, parts.topic, DropCause::kPacketTooLarge);  // [MQTT5-3.1.2-24]
  OutputQueue& output = session.connection.output;
  uint8_t* const p = output.Reserve(context_.buffers, variant->copied);
  std::memcpy(p, variant->frame, variant->copied);
  if (envelope.qos != mqtt::QoS::kAtMostOnce) {
    mqtt::PatchPacketId(p + variant->packet_id, StartExchange(session, outgoing, envelope));
  }
  output.Commit(variant->copied);
  if (variant->by_reference)
    output.AppendReference(context_.buffers, outgoing.Keep(), outgoing.Keep()->payload());
  Count(session, outgoing, envelope.qos, total);
  return true;
}

bool Deliverer::WriteFresh(Session& session, Outgoing& outgoing, const Envelope& envelope,
                           size_t variant) {
  const mqtt::MessageParts& parts = outgoing.parts();
  mqtt::PublishHead head;
  head.version = session.version;
  head.dup = envelope.dup;
  head.qos = envelope.qos;
  head.retain = envelope.retain;
  head.topic = parts.topic;
  head.payload = parts.payload;
  bool new_alias = false;
  if (session.version == mqtt::Version::k5) {
    head.subscription_ids = envelope.subscription_ids;
    head.forward_properties = parts.properties;
    head.message_expiry_interval = mqtt::RemainingExpiry(
        parts.created_at_unix_ms, parts.expires_at_unix_ms, context_.now_unix_ms);
    if (session.aliases_out != nullptr) {
      const OutboundTopicAliases::Use use = session.aliases_out->For(parts.topic);
      head.topic_alias = use.alias;
      new_alias = use.alias != 0 && use.send_name;
      if (!use.send_name) head.topic = {};
    }
  }
  mqtt::PublishSize size = mqtt::MeasurePublish(head);
  if (new_alias && size.total > session.packet_size_max) {  // Without an alias it may fit.
    session.aliases_out->Forget(parts.topic);
    head.topic_alias = 0;
    size = mqtt::MeasurePublish(head);
  }
  if (size.total > session.packet_size_max)  // [MQTT5-3.1.2-24] [MQTT5-3.1.2-25]
    return Drop(session, parts.topic, DropCause::kPacketTooLarge);
  if (envelope.qos != mqtt::QoS::kAtMostOnce)
    head.packet_id = StartExchange(session, outgoing, envelope);

  OutputQueue& output = session.connection.output;
  const bool by_reference = outgoing.kept() && parts.payload.size() > kCopyBytesMax;
  const size_t copied = by_reference ? size.total - parts.payload.size() : size.total;
  uint8_t* const p = output.Reserve(context_.buffers, copied);
  const mqtt::WrittenPublish written = mqtt::WritePublishHeader(p, head, size);
  if (!by_reference && !head.payload.empty())
    std::memcpy(written.end, head.payload.data(), head.payload.size());
  output.Commit(copied);
  if (by_reference)
    output.AppendReference(context_.buffers, outgoing.Keep(), outgoing.Keep()->payload());
  if (variant != kNoVariant) {
    variants_[variant] = {
        p, static_cast<uint32_t>(copied),
        written.packet_id == nullptr ? 0 : static_cast<uint32_t>(written.packet_id - p),
        by_reference};
    variants_known_ |= 1u << variant;
  }
  Count(session, outgoing, envelope.qos, size.total);
  return true;
}

mqtt::PacketId Deliverer::StartExchange(Session& session, Outgoing& outgoing,
                                        const Envelope& envelope) {
  context_.metrics.inflight_messages.Add();
  if (envelope.sequence != 0) {
    session.outbound.StartDurable(envelope.sequence, envelope.qos, false);
    return OutboundFlow::IdOf(envelope.sequence);
  }
  const mqtt::PacketId id = session.outbound.Start(envelope.qos);
  if (!envelope.shared_filter.empty()) {
    session.outbound.RememberShared(id, outgoing.Keep(), std::string(envelope.shared_filter));
  }
  return id;
}

void Deliverer::Count(Session& session, const Outgoing& outgoing, mqtt::QoS qos, size_t bytes) {
  CountSent(context_, session.connection, mqtt::PacketType::kPublish, bytes);
  context_.metrics.publish_sent[static_cast<size_t>(qos)].Add();
  context_.metrics.publish_bytes_sent.Add(outgoing.parts().payload.size());
  ++delivered_;
  if (context_.observer != nullptr)
    context_.observer->OnDelivered(session, outgoing.parts(), qos, bytes);
}

}  // namespace broker
