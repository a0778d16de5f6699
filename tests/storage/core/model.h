// A partition as plainly as it can be said: maps and vectors, no store, no chunks, no index. What
// the random test compares the real one with.
#ifndef TESTS_STORAGE_CORE_MODEL_H_
#define TESTS_STORAGE_CORE_MODEL_H_

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "mqtt/topic.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/effects.h"
#include "storage/core/partition.h"

namespace storage {

struct ModelEntry {
  uint64_t sequence = 0;
  std::string payload;
  mqtt::QoS qos = mqtt::QoS::kAtMostOnce;
  bool retain = false;
  std::vector<uint32_t> ids;
  std::string share;
  int64_t expires = 0;
  uint64_t size = 0;
  bool released = false;
};

struct ModelSubscription {
  mqtt::SubscriptionOptions options;
  uint32_t id = 0;
};

struct ModelSession {
  uint64_t epoch = 0;
  uint32_t expiry_s = 0;
  uint32_t window = 1;
  bool connected = false;
  uint32_t node = 0;  // Of the connection.
  uint32_t incarnation = 0;
  int64_t ends_at = 0;
  std::optional<std::string> will;  // Payload.
  int64_t will_expires = 0;
  uint32_t will_delay_s = 0;
  int64_t will_due = 0;
  std::map<std::string, ModelSubscription> subscriptions;
  std::map<uint64_t, std::pair<std::string, uint64_t>> replays;  // Number → filter, since.
  uint64_t last_replay = 0;
  std::vector<ModelEntry> queue;  // What is open.
  uint64_t tail = 0;
  uint64_t sent_through = 0;
  std::set<uint16_t> inbound;

  uint64_t bytes() const {
    uint64_t sum = 0;
    for (const ModelEntry& entry : queue) sum += entry.size;
    return sum;
  }
  uint64_t MaybeSentThrough() const {
    if (!connected) return sent_through;
    const size_t run = std::min<size_t>(queue.size(), kRunAhead * window);
    if (run == 0) return std::max(sent_through, tail);
    const uint64_t last = run < kRunAhead * window ? tail : queue[run - 1].sequence;
    return std::max(sent_through, last);
  }
};

// Of the outbox.
struct ModelRecord {
  std::string filter;
  std::string payload;
  int64_t expires = 0;
  std::map<std::string, std::string> targets;  // Group → client.
};

class Model {
 public:
  OutcomeCode Apply(const pb::Command& command) {
    now_ = command.time_unix_ms();
    order_ = command.order();
    switch (command.kind_case()) {
      case pb::Command::kSetLimits:
        limits = command.set_limits().limits();
        return OutcomeCode::kOk;
      case pb::Command::kOpenSession:
        return Open(command.open_session());
      case pb::Command::kCloseSession:
        return CloseOne(command.close_session());
      case pb::Command::kCloseNode:
        for (const std::string& client : Clients()) {
          const ModelSession& session = sessions.at(client);
          const pb::CloseNode& gone = command.close_node();
          if (session.connected && session.node == gone.node() &&
              (gone.incarnation() == 0 || session.incarnation <= gone.incarnation())) {
            Close(client, true, std::nullopt, std::nullopt);
          }
        }
        return OutcomeCode::kOk;
      case pb::Command::kExpireSession:
        return Expire(command.expire_session());
      case pb::Command::kFireWill:
        return FireWill(command.fire_will());
      case pb::Command::kSubscribe:
        return Subscribe(command.subscribe());
      case pb::Command::kUnsubscribe:
        return Unsubscribe(command.unsubscribe());
      case pb::Command::kEnqueue:
        return Enqueue(command.enqueue());
      case pb::Command::kAcknowledge:
        return Acknowledge(command.acknowledge());
      case pb::Command::kOutboxDone:
        return OutboxDone(command.outbox_done());
      case pb::Command::kOutboxAssign:
        return OutboxAssign(command.outbox_assign());
      case pb::Command::kRaiseLevel:
        return level_ >= command.raise_level().level()
                   ? OutcomeCode::kNothing
                   : (level_ = command.raise_level().level(), OutcomeCode::kOk);
      case pb::Command::kRememberInbound:
        return Remember(command.remember_inbound());
      case pb::Command::kReleaseInbound:
        return Release(command.release_inbound());
      case pb::Command::kSetRetained:
        return SetRetained(command.set_retained());
      case pb::Command::kEnqueueRetainedPage:
        return RetainedPage(command.enqueue_retained_page());
      default:
        ADD_FAILURE() << "a command that the model does not know";
        return OutcomeCode::kNothing;
    }
  }

  std::map<std::string, ModelSession> sessions;
  std::map<std::string, std::pair<std::string, uint64_t>> retained;  // Topic → payload, size.
  std::map<uint64_t, ModelRecord> outbox;                            // By number.
  uint64_t dropped = 0;                                              // Since the caller cleared it.
  pb::Limits limits;

 private:
  static pb::StoredMessage Parse(const std::string& bytes) {
    pb::StoredMessage message;
    message.ParseFromString(bytes);
    return message;
  }
  static mqtt::QoS LesserQos(const pb::StoredMessage& m, mqtt::SubscriptionOptions options) {
    return mqtt::Min(static_cast<mqtt::QoS>(m.qos()), options.qos);
  }
  static mqtt::SubscriptionOptions Options(const pb::Subscription& s) {
    return mqtt::SubscriptionOptions::FromByte(static_cast<uint8_t>(s.options()));
  }
  std::vector<std::string> Clients() const {
    std::vector<std::string> clients;
    for (const auto& [client, session] : sessions) clients.push_back(client);
    return clients;
  }
  template <typename Command>
  std::optional<OutcomeCode> Refuse(const Command& command) const {
    const auto found = sessions.find(command.client_id());
    if (found == sessions.end()) return OutcomeCode::kNoSession;
    if (found->second.epoch != command.epoch()) return OutcomeCode::kStaleEpoch;
    return std::nullopt;
  }
  bool Ended(const ModelSession& s) const {
    return !s.connected && s.ends_at != 0 && s.ends_at <= now_;
  }

  OutcomeCode Open(const pb::OpenSession& open) {
    const std::string& client = open.client_id();
    const uint64_t epoch = ++last_epoch_;
    if (sessions.contains(client) && sessions.at(client).connected) {
      Close(client, true, std::nullopt, std::nullopt);
    }
    if (sessions.contains(client)) {
      ModelSession& old = sessions.at(client);
      const bool ends = open.clean_start() || Ended(old);
      if (old.will.has_value() && (ends || old.will_due <= now_) && level_ >= 1) Fire(old, now_);
      old.will.reset();
      if (ends) End(client);
    }
    const bool keep = sessions.contains(client) || open.expiry_s() > 0 || !open.will().empty();
    if (!keep) return OutcomeCode::kOk;
    ModelSession& session = sessions[client];
    session.epoch = epoch;
    session.expiry_s = open.expiry_s();
    session.window = open.window_messages();
    session.connected = true;
    session.node = open.owner().node();
    session.incarnation = open.owner().incarnation();
    session.ends_at = 0;
    if (!open.will().empty()) {
      session.will = Parse(open.will()).payload();
      session.will_expires = Parse(open.will()).expires_at_unix_ms();
    }
    session.will_delay_s = open.will_delay_s();
    return OutcomeCode::kOk;
  }

  OutcomeCode CloseOne(const pb::CloseSession& close) {
    if (const auto refused = Refuse(close)) return *refused;
    if (!sessions.at(close.client_id()).connected) return OutcomeCode::kNothing;
    Close(close.client_id(), close.cause() == pb::CloseSession::WITH_WILL,
          close.has_sent_through() ? std::optional(close.sent_through()) : std::nullopt,
          close.has_expiry_s() ? std::optional(close.expiry_s()) : std::nullopt);
    return OutcomeCode::kOk;
  }

  void Close(const std::string& client, bool will_stands, std::optional<uint64_t> sent,
             std::optional<uint32_t> expiry_s) {
    ModelSession& session = sessions.at(client);
    session.sent_through = std::max(
        session.sent_through, std::min(session.tail, sent.value_or(session.MaybeSentThrough())));
    session.connected = false;
    if (expiry_s.has_value()) session.expiry_s = *expiry_s;
    const bool never = session.expiry_s == 0xFFFFFFFF;
    session.ends_at = never ? 0 : now_ + int64_t{session.expiry_s} * 1000;
    if (!will_stands) session.will.reset();
    if (session.will.has_value()) {
      session.will_due = now_ + int64_t{session.will_delay_s} * 1000;
      if (!never) session.will_due = std::min(session.will_due, session.ends_at);
    } else if (session.expiry_s == 0) {
      End(client);
    }
  }

  void End(const std::string& client) {
    const ModelSession session = sessions.at(client);
    sessions.erase(client);
    for (const ModelEntry& entry : session.queue) {
      if (entry.share.empty() || entry.released) continue;
      if (entry.qos == mqtt::QoS::kExactlyOnce && entry.sequence <= session.sent_through) continue;
      if (entry.expires != 0 && entry.expires <= now_) {
        ++dropped;
        continue;
      }
      if (AddLeft(entry.share, entry.payload, entry.expires) == 0) ++dropped;
    }
  }

  uint64_t AddLeft(const std::string& filter, const std::string& payload, int64_t expires) {
    dropped += std::erase_if(outbox, [&](const auto& record) {
      return record.second.expires != 0 && record.second.expires <= now_;
    });
    const uint64_t max = limits.outbox_messages_max();
    if (max != 0 && outbox.size() >= max) return 0;
    outbox[++last_outbox_] = {filter, payload, expires, {}};
    return last_outbox_;
  }
  void Fire(const ModelSession& session, int64_t at) {  // Created at 0, as all here.
    const int64_t expires = session.will_expires == 0 ? 0 : at + session.will_expires;
    outbox[++last_outbox_] = {"", *session.will, expires, {}};
  }

  OutcomeCode OutboxDone(const pb::OutboxDone& command) {
    size_t done = 0;
    for (const uint64_t number : command.numbers()) done += outbox.erase(number);
    return done != 0 ? OutcomeCode::kOk : OutcomeCode::kNothing;
  }
  OutcomeCode OutboxAssign(const pb::OutboxAssign& command) {
    const auto found = outbox.find(command.number());
    if (found == outbox.end()) return OutcomeCode::kNothing;
    for (const pb::SharedTarget& target : command.targets()) {
      found->second.targets.emplace(target.subscription().filter(), target.client_id());
    }
    return OutcomeCode::kOk;
  }

  OutcomeCode Expire(const pb::ExpireSession& expire) {
    if (const auto refused = Refuse(expire)) return *refused;
    const ModelSession& session = sessions.at(expire.client_id());
    if (!Ended(session) || session.will.has_value()) return OutcomeCode::kNotDue;
    End(expire.client_id());
    return OutcomeCode::kOk;
  }

  OutcomeCode FireWill(const pb::FireWill& fire) {
    if (const auto refused = Refuse(fire)) return *refused;
    ModelSession& session = sessions.at(fire.client_id());
    if (session.connected || !session.will.has_value()) return OutcomeCode::kNothing;
    if (fire.outbox_at_unix_ms() != 0) {
      Fire(session, fire.outbox_at_unix_ms());
    } else if (fire.orphan_at_unix_ms() != 0) {
      const int64_t expires = session.will_expires;  // Created at 0, as all here.
      AddLeft("", *session.will, expires == 0 ? 0 : fire.orphan_at_unix_ms() + expires);
    }
    session.will.reset();
    if (Ended(session)) End(fire.client_id());
    return OutcomeCode::kOk;
  }

  OutcomeCode Subscribe(const pb::Subscribe& subscribe) {
    if (const auto refused = Refuse(subscribe)) return *refused;
    ModelSession& session = sessions.at(subscribe.client_id());
    for (const pb::Subscription& wanted : subscribe.subscriptions()) {
      const bool is_new = !session.subscriptions.contains(wanted.filter());
      session.subscriptions[wanted.filter()] = {Options(wanted), wanted.subscription_id()};
      if (mqtt::IsShared(wanted.filter())) continue;
      const auto handling = Options(wanted).retain_handling;
      if (handling == mqtt::RetainHandling::kSend ||
          (handling == mqtt::RetainHandling::kSendIfNew && is_new)) {
        EraseReplays(session, wanted.filter());
        session.replays[++session.last_replay] = {wanted.filter(), order_};
      }
    }
    return OutcomeCode::kOk;
  }

  static void EraseReplays(ModelSession& session, const std::string& filter) {
    std::erase_if(session.replays,
                  [&](const auto& replay) { return replay.second.first == filter; });
  }

  OutcomeCode Unsubscribe(const pb::Unsubscribe& unsubscribe) {
    if (const auto refused = Refuse(unsubscribe)) return *refused;
    ModelSession& session = sessions.at(unsubscribe.client_id());
    for (const std::string& filter : unsubscribe.filters()) {
      session.subscriptions.erase(filter);
      EraseReplays(session, filter);
    }
    return OutcomeCode::kOk;
  }

  OutcomeCode Enqueue(const pb::Enqueue& enqueue) {
    const pb::StoredMessage message = Parse(enqueue.message());
    for (auto& [client, session] : sessions) {
      if (!enqueue.match()) break;
      ModelEntry entry;
      bool any = false;
      for (const auto& [filter, subscription] : session.subscriptions) {
        if (mqtt::IsShared(filter) || !mqtt::Matches(filter, message.topic())) continue;
        if (subscription.options.no_local && message.publisher() == client) continue;
        any = true;
        entry.qos = std::max(entry.qos, LesserQos(message, subscription.options));
        entry.retain |= message.retain() && subscription.options.retain_as_published;
        if (subscription.id != 0) entry.ids.push_back(subscription.id);
      }
      std::sort(entry.ids.begin(), entry.ids.end());
      if (entry.qos != mqtt::QoS::kAtMostOnce) {
        Append(session, entry, message, enqueue.message());
      } else if (any && message.qos() != 0 && (Expired(message) || !session.connected)) {
        ++dropped;
      }
    }
    for (const pb::Enqueue::Target& target : enqueue.targets()) EnqueueTarget(target, enqueue);
    return OutcomeCode::kOk;
  }

  void EnqueueTarget(const pb::Enqueue::Target& target, const pb::Enqueue& enqueue) {
    const pb::StoredMessage message = Parse(enqueue.message());
    const std::string& filter = target.subscription().filter();
    ModelEntry entry;
    entry.qos = LesserQos(message, Options(target.subscription()));
    entry.share = filter;
    if (const uint32_t id = target.subscription().subscription_id(); id != 0) {
      entry.ids.push_back(id);
    }
    const auto found = sessions.find(target.client_id());
    const bool member = found != sessions.end() && found->second.subscriptions.contains(filter);
    if (entry.qos == mqtt::QoS::kAtMostOnce) {
      if (member && (Expired(message) || !found->second.connected)) ++dropped;
      return;
    }
    const bool has_room =
        member && (target.last_choice() ||
                   !IsFull(found->second, RecordOf(entry, enqueue.message()).ByteSizeLong()));
    if (has_room) {
      Append(found->second, entry, message, enqueue.message());
    } else {
      if (AddLeft(filter, message.payload(), message.expires_at_unix_ms()) == 0) ++dropped;
    }
  }

  bool Expired(const pb::StoredMessage& message) const {
    return message.expires_at_unix_ms() != 0 && message.expires_at_unix_ms() <= now_;
  }

  static pb::QueueEntry RecordOf(const ModelEntry& entry, const std::string& bytes) {
    pb::QueueEntry record;
    record.set_message(bytes);
    record.set_qos(static_cast<uint32_t>(entry.qos));
    record.set_retain(entry.retain);
    record.set_share_filter(entry.share);
    for (const uint32_t id : entry.ids) record.add_subscription_ids(id);
    return record;
  }

  void Append(ModelSession& session, ModelEntry entry, const pb::StoredMessage& message,
              const std::string& bytes) {
    if (Expired(message)) {
      ++dropped;
      return;
    }
    entry.size = RecordOf(entry, bytes).ByteSizeLong();
    while (IsFull(session, entry.size)) {
      if (DropExpired(session)) continue;
      ++dropped;
      const bool fits = limits.queue_bytes_max() == 0 || entry.size <= limits.queue_bytes_max();
      if (limits.queue_policy() != pb::Limits::DROP_OLDEST || !fits) return;
      const uint64_t in_flight = session.MaybeSentThrough();
      const auto victim = std::find_if(session.queue.begin(), session.queue.end(),
                                       [&](const ModelEntry& e) { return e.sequence > in_flight; });
      if (victim == session.queue.end()) return;
      session.queue.erase(victim);
    }
    entry.sequence = ++session.tail;
    entry.payload = message.payload();
    entry.expires = message.expires_at_unix_ms();
    session.queue.push_back(std::move(entry));
  }

  // Of the first messages that are surely not sent.
  bool DropExpired(ModelSession& session) {
    const uint64_t in_flight = session.MaybeSentThrough();
    size_t looked_at = 0;
    const size_t gone = std::erase_if(session.queue, [&](const ModelEntry& entry) {
      if (entry.sequence <= in_flight || ++looked_at > 64) return false;
      return entry.expires != 0 && entry.expires <= now_ && !entry.released;
    });
    dropped += gone;
    return gone != 0;
  }

  bool IsFull(const ModelSession& session, uint64_t size) const {
    return (limits.queue_messages_max() != 0 &&
            session.queue.size() + 1 > limits.queue_messages_max()) ||
           (limits.queue_bytes_max() != 0 && session.bytes() + size > limits.queue_bytes_max());
  }

  OutcomeCode Acknowledge(const pb::Acknowledge& acknowledge) {
    if (const auto refused = Refuse(acknowledge)) return *refused;
    ModelSession& session = sessions.at(acknowledge.client_id());
    bool changed = false;
    for (const uint64_t sequence : acknowledge.puback()) {
      changed |= std::erase_if(session.queue,
                               [&](const ModelEntry& e) { return e.sequence == sequence; }) != 0;
    }
    for (const uint64_t sequence : acknowledge.pubrec()) {
      for (ModelEntry& entry : session.queue) {
        if (entry.sequence == sequence) changed = entry.released = true;
      }
    }
    for (const uint64_t sequence : acknowledge.pubcomp()) {
      changed |= std::erase_if(session.queue, [&](const ModelEntry& e) {
                   return e.sequence == sequence && e.released;
                 }) != 0;
    }
    return changed ? OutcomeCode::kOk : OutcomeCode::kNothing;
  }

  OutcomeCode Remember(const pb::RememberInbound& remember) {
    if (const auto refused = Refuse(remember)) return *refused;
    sessions.at(remember.client_id()).inbound.insert(static_cast<uint16_t>(remember.packet_id()));
    return OutcomeCode::kOk;
  }

  OutcomeCode Release(const pb::ReleaseInbound& release) {
    if (const auto refused = Refuse(release)) return *refused;
    for (const uint32_t id : release.packet_ids()) {
      sessions.at(release.client_id()).inbound.erase(static_cast<uint16_t>(id));
    }
    return OutcomeCode::kOk;
  }

  OutcomeCode SetRetained(const pb::SetRetained& set) {
    const pb::StoredMessage message = Parse(set.message());
    if (message.payload().empty()) {
      retained.erase(message.topic());
      return OutcomeCode::kOk;
    }
    const uint64_t most = limits.retained_messages_max();
    if (most != 0 && !retained.contains(message.topic()) && retained.size() >= most) {
      return OutcomeCode::kLimit;
    }
    retained[message.topic()] = {message.payload(), set.message().size()};
    return OutcomeCode::kOk;
  }

  OutcomeCode RetainedPage(const pb::EnqueueRetainedPage& page) {
    if (const auto refused = Refuse(page)) return *refused;
    ModelSession& session = sessions.at(page.client_id());
    for (const uint64_t number : page.over()) session.replays.erase(number);
    const auto replay = session.replays.find(page.replay());
    if (replay == session.replays.end()) return OutcomeCode::kNothing;
    const ModelSubscription& subscription = session.subscriptions.at(replay->second.first);
    for (const std::string& bytes : page.messages()) {
      const pb::StoredMessage message = Parse(bytes);
      if (subscription.options.no_local && message.publisher() == page.client_id()) continue;
      ModelEntry entry;
      entry.qos = LesserQos(message, subscription.options);
      entry.retain = true;
      if (subscription.id != 0) entry.ids.push_back(subscription.id);
      if (entry.qos != mqtt::QoS::kAtMostOnce) {
        Append(session, entry, message, bytes);
      } else if (Expired(message) || !session.connected) {
        ++dropped;
      }
    }
    if (page.last()) session.replays.erase(replay);
    return OutcomeCode::kOk;
  }

  int64_t now_ = 0;
  uint64_t order_ = 0;
  uint64_t last_epoch_ = 0;
  uint64_t last_outbox_ = 0;
  uint32_t level_ = 0;
};

}  // namespace storage

#endif  // TESTS_STORAGE_CORE_MODEL_H_
