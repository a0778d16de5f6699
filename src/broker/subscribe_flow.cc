#include "broker/subscribe_flow.h"

#include <algorithm>
#include <utility>

#include "base/by_name.h"
#include "base/log.h"
#include "broker/packet_output.h"
#include "broker/refusals.h"
#include "mqtt/decode.h"
#include "mqtt/encode.h"
#include "mqtt/topic.h"

namespace broker {
namespace {

using mqtt::ReasonCode;

// Retained messages are asked for in pages of this many, and the next page only when the last one
// is on its way out.
constexpr uint32_t kPageMessages = 64;
// Of as many filters at once, as long as there is nothing retained for them: a client with many
// thousands is done soon, and what they wait with does not pile up.
constexpr size_t kFiltersAskedMax = 64;

ReasonCode ToReason(const absl::Status& status) {
  return absl::IsResourceExhausted(status) ? ReasonCode::kQuotaExceeded
                                           : ReasonCode::kUnspecifiedError;
}

std::string_view WordsFor(SubscribeRefusal bound) {
  switch (bound) {
    case SubscribeRefusal::kSubscriptionsMax:
      return "its session has subscriptions_max subscriptions";
    case SubscribeRefusal::kSubscriptionsBytesMax:
      return "the subscriptions of its session take mqtt.subscriptions_bytes_max";
    case SubscribeRefusal::kSharedSubscriptionsMax:
      return "its session has shared_subscriptions_max $share subscriptions";
    case SubscribeRefusal::kShareGroupsMax:
      return "the filter has share_groups_max $share groups";
    case SubscribeRefusal::kAllSubscriptionsBytes:
      return "the subscriptions of all sessions take broker.subscriptions_bytes_max";
    case SubscribeRefusal::kMemory:
      return "memory is short (memory_high_bytes)";
    case SubscribeRefusal::kCount_:
      break;
  }
  return "";
}

std::string_view WordsFor(ReasonCode reason, SubscribeRefusal bound) {
  switch (reason) {
    case ReasonCode::kNotAuthorized:
      return "the access rules do not allow it";
    case ReasonCode::kQuotaExceeded:
      return WordsFor(bound);
    case ReasonCode::kTopicFilterInvalid:
      return "the filter is not valid, or above topic_bytes_max or topic_levels_max";
    default:
      return mqtt::ReasonCodeName(reason);
  }
}

int64_t BytesOf(std::string_view filter) {
  return static_cast<int64_t>(storage::SubscriptionBytes(filter));
}

bool WantsRetained(const storage::SubscriptionRecord& record, bool existed) {
  if (mqtt::IsShared(record.filter)) return false;  // §4.8.2: a Shared Subscription gets none.
  switch (record.options.retain_handling) {
    case mqtt::RetainHandling::kSend:
      return true;  // [MQTT5-3.3.1-9] [MQTT311-3.8.4-3]
    case mqtt::RetainHandling::kSendIfNew:
      return !existed;  // [MQTT5-3.3.1-10]
    case mqtt::RetainHandling::kDoNotSend:
      return false;  // [MQTT5-3.3.1-11]
  }
  return false;
}

}  // namespace

void SubscribeFlow::OnSubscribe(Connection& connection, uint8_t flags, mqtt::Bytes body) {
  Session& session = *connection.session;
  mqtt::Subscribe packet;
  auto violation = mqtt::DecodeSubscribe(flags, body, session.version, packet);
  if (!violation.has_value()) violation = CheckAvailable(session, packet);
  if (violation.has_value()) return context_.Violated(connection, *violation);

  Pending pending;
  pending.connection = connection.ref.connection;
  pending.id = packet.packet_id;
  room_ = context_.RoomForSubscriptions();
  for (const mqtt::Subscription& subscription : packet.subscriptions) {
    const ReasonCode reason = Judge(session, subscription);
    pending.reasons.push_back(reason);
    if (mqtt::IsError(reason)) {
      LogRefused(connection, "subscription refused", WordsFor(reason, bound_), "filter",
                 subscription.filter);
      continue;
    }
    storage::SubscriptionRecord record{std::string(subscription.filter), subscription.options,
                                       packet.subscription_id};
    record.options.qos = static_cast<mqtt::QoS>(reason);
    if (session.bridge) {
      record.options.no_local = !mqtt::IsShared(subscription.filter);
      record.options.retain_as_published = true;
    }
    if (!session.durable) {
      Take(session, std::move(record), pending);
      continue;
    }
    const uint64_t bytes = storage::SubscriptionBytes(record.filter);
    pending.commit_bytes += bytes;
    if (!session.subscriptions.Contains(record.filter)) {
      const size_t shared = mqtt::IsShared(record.filter) ? 1 : 0;
      for (Committing* const all : {&pending.commit_new, &committing_new_[pending.connection]}) {
        ++all->count;
        all->shared += shared;
        all->bytes += bytes;
      }
    }
    pending.commit.push_back(std::move(record));
  }
  context_.RequestCame(connection);
  if (pending.commit.empty()) return AwaitRoutes(std::move(pending));
  storage::Subscribe commit;
  commit.token = context_.NextToken();
  commit.client_id = session.client_id.view();
  commit.epoch = session.epoch;
  commit.subscriptions = pending.commit;
  committing_bytes_ += pending.commit_bytes;
  committing_.emplace(commit.token, std::move(pending));
  context_.Ask(std::move(commit));
  // Until one of the client's requests is answered.
  if (committing_bytes_ >= context_.options.commits_pending_bytes_max) {
    context_.Pause(connection, kPauseRequests);
  }
}

// Into the index, and what is to follow SUBACK.
void SubscribeFlow::Take(Session& session, storage::SubscriptionRecord record, Pending& pending) {
  const bool existed = session.subscriptions.Contains(record.filter);
  Add(session, record);
  if (!WantsRetained(record, existed)) return;
  if (record.filter[0] == '$') pending.sys.push_back(record);
  if (session.durable) return;
  if (session.replays == nullptr) session.replays = std::make_unique<Session::Replays>();
  if (pending.replay.empty()) ++session.replays->subacks;
  pending.replay.push_back({std::move(record), session.replays->now});
}

std::optional<mqtt::Violation> SubscribeFlow::CheckAvailable(const Session& session,
                                                             const mqtt::Subscribe& packet) const {
  const Limits& limits = session.limits;
  if (session.version != mqtt::Version::k5) return std::nullopt;  // Told one by one in SUBACK.
  if (packet.subscription_id != 0 && !limits.subscription_identifier_available) {
    return mqtt::Violation{ReasonCode::kSubscriptionIdentifiersNotSupported, "MQTT5-3.2.2.3.12"};
  }
  for (const mqtt::Subscription& subscription : packet.subscriptions) {
    if (!limits.wildcard_subscription_available && mqtt::HasWildcard(subscription.filter)) {
      return mqtt::Violation{ReasonCode::kWildcardSubscriptionsNotSupported, "MQTT5-3.2.2.3.11"};
    }
    if (!limits.shared_subscription_available && mqtt::IsShared(subscription.filter)) {
      return mqtt::Violation{ReasonCode::kSharedSubscriptionsNotSupported, "MQTT5-3.2.2.3.13"};
    }
  }
  return std::nullopt;
}

ReasonCode SubscribeFlow::Judge(const Session& session, const mqtt::Subscription& subscription) {
  const Limits& limits = session.limits;
  const std::string_view filter = subscription.filter;
  if (!mqtt::IsWithin({limits.topic_bytes_max, limits.topic_levels_max}, filter))
    return ReasonCode::kTopicFilterInvalid;
  if (!limits.wildcard_subscription_available && mqtt::HasWildcard(filter)) {
    return ReasonCode::kWildcardSubscriptionsNotSupported;
  }
  if (mqtt::IsShared(filter)) {
    if (!limits.shared_subscription_available) return ReasonCode::kSharedSubscriptionsNotSupported;
    // 3.1.1 clients may share too; there the decoder has not looked at the parts.
    const auto shared = mqtt::ParseShared(filter);
    if (!shared.has_value() || !mqtt::IsValidTopicFilter(shared->filter))
      return ReasonCode::kTopicFilterInvalid;
  }
  if (!session.permissions->MaySubscribe(filter)) return ReasonCode::kNotAuthorized;
  if (const auto bound = BoundReached(session, filter)) {
    context_.metrics.subscriptions_refused[*bound].Add();
    bound_ = *bound;
    return ReasonCode::kQuotaExceeded;
  }
  // The granted QoS may be lower than asked [MQTT5-3.9.3-1 and §3.8.4] [MQTT311-3.8.4-6].
  return static_cast<ReasonCode>(
      mqtt::Min(subscription.options.qos, static_cast<mqtt::QoS>(limits.maximum_qos)));
}

std::optional<SubscribeRefusal> SubscribeFlow::BoundReached(const Session& session,
                                                            std::string_view filter) {
  if (session.subscriptions.Contains(filter)) return std::nullopt;
  const Limits& limits = session.limits;
  Committing held{session.subscriptions.size(), session.subscriptions.shared_size(),
                  session.subscriptions.bytes()};
  if (const auto committing = committing_new_.find(session.connection.ref.connection);
      committing != committing_new_.end()) {
    held.count += committing->second.count;
    held.shared += committing->second.shared;
    held.bytes += committing->second.bytes;
  }
  const uint64_t bytes = storage::SubscriptionBytes(filter);
  if (held.count >= limits.subscriptions_max) return SubscribeRefusal::kSubscriptionsMax;
  if (held.bytes + bytes > limits.subscriptions_bytes_max) {
    return SubscribeRefusal::kSubscriptionsBytesMax;
  }
  if (const auto shared = mqtt::ParseShared(filter); shared.has_value()) {
    if (held.shared >= limits.shared_subscriptions_max) {
      return SubscribeRefusal::kSharedSubscriptionsMax;
    }
    const bool is_new = context_.router.FindGroup(filter) == nullptr;
    if (is_new && context_.router.GroupsOf(shared->filter) >= context_.options.share_groups_max) {
      return SubscribeRefusal::kShareGroupsMax;
    }
  }
  if (context_.memory_high) return SubscribeRefusal::kMemory;
  if (bytes > room_) return SubscribeRefusal::kAllSubscriptionsBytes;
  room_ -= bytes;
  return std::nullopt;
}

void SubscribeFlow::AddStored(Session& session, const storage::SubscriptionRecord& record) {
  Add(session, record);
}

void SubscribeFlow::Add(Session& session, const storage::SubscriptionRecord& record) {
  const bool shared = mqtt::IsShared(record.filter);
  bool is_new = false;
  if (shared) {
    is_new = session.subscriptions.InsertShared(record.filter);
  } else {
    const DeliveryOptions options = {.qos = record.options.qos,
                                     .no_local = record.options.no_local,
                                     .retain_as_published = record.options.retain_as_published,
                                     .durable = session.durable};
    const Router::Change change =
        context_.router.Add(record.filter, {&session, record.subscription_id, options});
    is_new = session.subscriptions.Insert(change.filter);
    announcer_.Route(record.filter, change);
  }
  if (is_new && !session.durable) {
    context_.metrics.memory.Add(base::MemoryUse::kSubscriptions, BytesOf(record.filter));
    context_.metrics.subscriptions.Add();
    if (shared) context_.metrics.subscriptions_shared.Add();
  }
  if (!shared) return;
  if (session.durable) {  // The host has told every shard.
    if (ShareGroup* const group = context_.router.FindGroup(record.filter))
      group->Attach(session.client_id, session.connection.ref, &session);
    return;
  }
  ShareMember member;
  member.client_id = session.client_id.view();
  member.connection = session.connection.ref;
  member.local = &session;
  member.packet_size_max = session.packet_size_max;
  member.options = record.options;
  member.subscription_id = record.subscription_id;
  announcer_.Member(true, record.filter, member);
  context_.router.SetMember(record.filter, std::move(member));
}

void SubscribeFlow::Remove(Session& session, const std::string& filter) {
  if (!session.subscriptions.Erase(filter)) return;
  const bool shared = mqtt::IsShared(filter);
  if (!session.durable) {
    context_.metrics.memory.Add(base::MemoryUse::kSubscriptions, -BytesOf(filter));
    context_.metrics.subscriptions.Add(-1);
    if (shared) context_.metrics.subscriptions_shared.Add(-1);
  }
  if (!shared) return announcer_.Route(filter, context_.router.Remove(filter, &session));
  if (session.durable) {
    // The host says when the member is gone, and the session may end, or live on elsewhere, before:
    // from here on this shard must not reach for it.
    if (ShareGroup* const group = context_.router.FindGroup(filter))
      group->Detach(session.client_id, &session);
    return;
  }
  ShareMember member;
  member.client_id = session.client_id.view();
  context_.router.RemoveMember(filter, session.client_id);
  announcer_.Member(false, filter, member);
}

void SubscribeFlow::RemoveAll(Session& session) {
  std::vector<std::string> filters;
  filters.reserve(session.subscriptions.size());
  session.subscriptions.ForEach([&](std::string_view filter) { filters.emplace_back(filter); });
  for (const std::string& filter : filters) Remove(session, filter);
}

void SubscribeFlow::OnSubscribeDone(const storage::SubscribeDone& event) {
  const auto commit = committing_.find(event.token);
  if (commit == committing_.end()) return;
  Pending pending = std::move(commit->second);
  committing_.erase(commit);
  committing_bytes_ -= pending.commit_bytes;
  if (pending.commit_new.count != 0) {
    const auto all = committing_new_.find(pending.connection);
    all->second.count -= pending.commit_new.count;
    all->second.shared -= pending.commit_new.shared;
    all->second.bytes -= pending.commit_new.bytes;
    if (all->second.count == 0) committing_new_.erase(all);
  }
  if (!event.status.ok()) {
    for (ReasonCode& reason : pending.reasons) {
      if (!mqtt::IsError(reason)) reason = ToReason(event.status);
    }
    return AwaitRoutes(std::move(pending));
  }
  Connection* const connection = context_.Find(pending.connection);
  if (connection != nullptr && connection->session != nullptr) {
    for (storage::SubscriptionRecord& record : std::exchange(pending.commit, {}))
      Take(*connection->session, std::move(record), pending);
  }
  AwaitRoutes(std::move(pending));
}

// SUBACK leaves when every shard has heard what was announced so far.
void SubscribeFlow::AwaitRoutes(Pending pending) {
  pending.route = announcer_.number();
  if (pending.route <= announcer_.confirmed()) return Finish(pending);
  ++held_[pending.connection].subacks;
  announcing_.push_back(std::move(pending));
}

void SubscribeFlow::Finish(Pending& pending) {
  Connection* const connection = context_.Find(pending.connection);
  if (connection != nullptr) context_.RequestAnswered(*connection);
  if (connection != nullptr && connection->session != nullptr) Acknowledge(*connection, pending);
}

void SubscribeFlow::HoldBack(const Connection& connection,
                             std::vector<storage::Delivery>& entries) {
  const auto held = held_.find(connection.ref.connection);
  if (held == held_.end()) return;
  const auto waits = std::stable_partition(
      entries.begin(), entries.end(),
      [](const storage::Delivery& entry) { return entry.sequence == 0 && !entry.replay; });
  held->second.entries.insert(held->second.entries.end(), std::make_move_iterator(waits),
                              std::make_move_iterator(entries.end()));
  entries.erase(waits, entries.end());
}

void SubscribeFlow::Acknowledge(Connection& connection, Pending& pending) {
  Session& session = *connection.session;
  mqtt::SubAck ack;
  ack.packet_id = pending.id;
  ack.reasons.assign(pending.reasons.begin(), pending.reasons.end());
  std::string bytes;
  if (!mqtt::Encode(ack, session.version, bytes, session.packet_size_max))
    return CloseTooLarge(context_, connection);
  SendPacket(context_, connection, mqtt::PacketType::kSubAck, bytes);
  for (const auto& record : pending.sys) SendSysTopics(session, record);
  if (pending.replay.empty()) return;
  --session.replays->subacks;
  for (Session::Replays::Waiting& replay : pending.replay) {
    if (!session.subscriptions.Contains(replay.subscription.filter))
      continue;  // Unsubscribed meanwhile.
    session.replays->waiting.push_back(std::move(replay));
  }
  ContinueReplays(session);
}

void SubscribeFlow::ContinueReplays(Session& session) {
  if (session.replay_came && HasRoomForRetained(session)) {
    session.replay_came = false;
    context_.Ask(storage::ReplayTaken{std::string(session.client_id.view()), session.epoch});
  }
  if (session.replays == nullptr) return;
  while (!session.replays->waiting.empty()) {
    if (session.replays->waiting.front().subscription.filter.empty()) {  // Unsubscribed meanwhile.
      FinishReplay(*session.replays);
      continue;
    }
    RetainedReplay& replay = session.replays->first;
    if (replay.asked) return;
    SendPage(session);
    // The rest, and then the next page, when there is room in the window and on the wire.
    if (!replay.page.empty() || !HasRoomForRetained(session)) return;
    if (!replay.last) {
      AskForPage(session);
      return;
    }
    FinishReplay(*session.replays);
  }
  if (session.replays->subacks == 0) session.replays.reset();
}

void SubscribeFlow::AskForPage(const Session& session) {
  Session::Replays& replays = *session.replays;
  storage::ScanRetained scan;
  scan.token = context_.NextToken();
  scan.filter = replays.waiting.front().subscription.filter;
  scan.cursor = replays.first.cursor;
  scan.messages_max = kPageMessages;
  const size_t filters = std::min(replays.filters_asked, replays.waiting.size());
  for (size_t i = 1; i < filters; ++i) {
    const std::string& filter = replays.waiting[i].subscription.filter;
    if (filter.empty()) break;
    scan.others.push_back(filter);
  }
  replays.first.asked = true;
  replays.first.token = scan.token;
  pages_[scan.token] = session.connection.ref.connection;
  context_.Ask(std::move(scan));
}

void SubscribeFlow::FinishReplay(Session::Replays& replays) {
  replays.first = {};
  replays.waiting.pop_front();
}

bool SubscribeFlow::HasRoomForRetained(const Session& session) const {
  return session.outbound.queue_empty() &&
         session.connection.output.bytes() < context_.InMemory(session.limits.output_bytes_max);
}

// As much of the first replay's page as there is room for: QoS 0 would be dropped beyond.
void SubscribeFlow::SendPage(Session& session) {
  // ToSession remembers topics as live: not those of the replay itself.
  std::unique_ptr<Session::Replays> replays = std::move(session.replays);
  RetainedReplay& replay = replays->first;
  const storage::SubscriptionRecord& record = replays->waiting.front().subscription;
  const uint32_t ids[] = {record.subscription_id};
  while (!replay.page.empty() && HasRoomForRetained(session)) {
    const mqtt::MessagePtr message = std::move(replay.page.front());
    replay.page.pop_front();
    const auto live = replays->live_topics.find(base::AbslView(message->topic()));
    if (live != replays->live_topics.end() && live->second > replays->waiting.front().made_at)
      continue;
    Outgoing outgoing(message);
    if (record.options.no_local && outgoing.IsFrom(session)) continue;
    deliverer_.NextMessage();
    deliverer_.ToSession(
        session, outgoing,
        {.qos = mqtt::Min(outgoing.parts().qos, record.options.qos),
         .retain = true,
         .subscription_ids = absl::MakeConstSpan(ids, record.subscription_id == 0 ? 0 : 1)});
  }
  session.replays = std::move(replays);
}

void SubscribeFlow::OnRetainedPage(storage::RetainedPage event) {
  const auto page = pages_.find(event.token);
  if (page == pages_.end()) return;
  Connection* const connection = context_.Find(page->second);
  pages_.erase(page);
  if (connection == nullptr || connection->session == nullptr) return;
  Session& session = *connection->session;
  if (session.replays == nullptr || session.replays->waiting.empty() ||
      session.replays->first.token != event.token) {
    return;  // Unsubscribed meanwhile.
  }
  Session::Replays& replays = *session.replays;
  replays.filters_asked =
      event.messages.empty() ? std::min(replays.filters_asked * 2, kFiltersAskedMax) : 1;
  for (uint32_t i = 0; i < event.passed; ++i) FinishReplay(replays);
  RetainedReplay& replay = replays.first;
  replay.asked = false;
  replay.cursor = std::move(event.cursor);
  replay.last = replay.cursor.empty() || !event.status.ok();
  replay.page.assign(event.messages.begin(), event.messages.end());
  if (!event.status.ok()) {
    base::Log(base::LogLevel::kError, "retained messages cannot be read",
              {{"client", base::Shortened(base::AbslView(session.client_id.view()))},
               {"filter", base::Shortened(replays.waiting.front().subscription.filter)},
               {"error", event.status}});
  }
  ContinueReplays(session);
}

void SubscribeFlow::ForgetReplays(Session::Replays& replays, const std::string& filter) {
  if (replays.waiting.empty()) return;
  if (replays.waiting.front().subscription.filter == filter)
    replays.first = {};  // Its page finds nobody.
  // The others keep their places: the page that is on its way counts them.
  for (Session::Replays::Waiting& waiting : replays.waiting) {
    if (waiting.subscription.filter == filter) waiting.subscription.filter.clear();
  }
}

void SubscribeFlow::OnUnsubscribe(Connection& connection, uint8_t flags, mqtt::Bytes body) {
  Session& session = *connection.session;
  mqtt::Unsubscribe packet;
  if (const auto violation = mqtt::DecodeUnsubscribe(flags, body, session.version, packet)) {
    return context_.Violated(connection, *violation);
  }
  if (session.durable) return CommitUnsubscribe(connection, packet);
  absl::InlinedVector<ReasonCode, 8> reasons;
  for (const std::string_view view : packet.filters) {
    const std::string filter(view);
    const bool existed = session.subscriptions.Contains(filter);
    reasons.push_back(existed ? ReasonCode::kSuccess : ReasonCode::kNoSubscriptionExisted);
    Remove(session,
           filter);  // From here on nothing new is added [MQTT5-3.10.4-2] [MQTT311-3.10.4-2].
    if (session.replays != nullptr) ForgetReplays(*session.replays, filter);
  }
  ContinueReplays(session);
  WriteUnsubAck(connection, packet.packet_id, reasons);
}

void SubscribeFlow::CommitUnsubscribe(Connection& connection, const mqtt::Unsubscribe& packet) {
  const Session& session = *connection.session;
  storage::Unsubscribe commit;
  commit.token = context_.NextToken();
  commit.client_id = session.client_id.view();
  commit.epoch = session.epoch;
  commit.filters.assign(packet.filters.begin(), packet.filters.end());
  unsubscribing_[commit.token] = {connection.ref.connection, packet.packet_id, commit.filters};
  context_.RequestCame(connection);
  context_.Ask(std::move(commit));
}

void SubscribeFlow::OnUnsubscribeDone(storage::UnsubscribeDone event) {
  const auto it = unsubscribing_.find(event.token);
  if (it == unsubscribing_.end()) return;
  const PendingUnsubscribe pending = std::move(it->second);
  unsubscribing_.erase(it);
  Connection* const connection = context_.Find(pending.connection);
  if (connection == nullptr) return;
  context_.RequestAnswered(*connection);
  if (connection->session == nullptr) return;
  if (event.status.ok()) {
    for (const std::string& filter : pending.filters) Remove(*connection->session, filter);
  }
  event.existed.resize(pending.filters.size());
  absl::InlinedVector<ReasonCode, 8> reasons;
  for (const bool existed : event.existed) {
    reasons.push_back(!event.status.ok() ? ToReason(event.status)
                      : existed          ? ReasonCode::kSuccess
                                         : ReasonCode::kNoSubscriptionExisted);
  }
  if (!event.status.ok() && connection->version != mqtt::Version::k5) {
    return context_.CloseLater(*connection,
                               {.cause = CloseCause::kStorageFailed});  // UNSUBACK cannot say no.
  }
  WriteUnsubAck(*connection, pending.id, reasons);
}

void SubscribeFlow::WriteUnsubAck(Connection& connection, mqtt::PacketId id,
                                  absl::Span<const ReasonCode> reasons) {
  mqtt::UnsubAck ack;
  ack.packet_id = id;
  ack.reasons.assign(reasons.begin(), reasons.end());
  std::string bytes;
  if (!mqtt::Encode(ack, connection.version, bytes, connection.session->packet_size_max))
    return CloseTooLarge(context_, connection);
  SendPacket(context_, connection, mqtt::PacketType::kUnsubAck, bytes);
}

void SubscribeFlow::OnRouteChange(const storage::RouteChange& event) {
  context_.router.SetPartition(event.filter, event.partition, event.add);
  context_.Ask(storage::ConfirmRoutes{event.number});
}

void SubscribeFlow::OnRouteBlock(const storage::RouteBlock& event) {
  for (const std::string& filter : *event.filters) {
    context_.router.SetPartition(filter, event.partition, true);
  }
  context_.Ask(storage::ConfirmRoutes{event.number});
}

void SubscribeFlow::OnShareMemberChange(storage::ShareMemberChange event) {
  const std::string filter = event.subscription.filter;
  if (event.state == storage::ShareMemberChange::State::kGone) {
    context_.router.RemoveMember(filter, event.client_id);
  } else {
    ShareMember member;
    member.client_id = std::move(event.client_id);
    member.durable = true;
    member.connected = event.state == storage::ShareMemberChange::State::kConnected;
    member.partition = event.partition;
    member.connection = event.connection;
    if (event.packet_size_max != 0) member.packet_size_max = event.packet_size_max;
    member.options = event.subscription.options;
    member.subscription_id = event.subscription.subscription_id;
    if (member.connected && event.connection.shard == context_.id) {
      // Of others that are connected here the answer to their client's request is still to come.
      const Connection* const connection = context_.Find(event.connection.connection);
      Session* const session = connection == nullptr ? nullptr : connection->session.get();
      if (session != nullptr && session->subscriptions.Contains(filter)) member.local = session;
    }
    context_.router.SetMember(filter, std::move(member));
  }
  context_.Ask(storage::ConfirmRoutes{event.number});
}

void SubscribeFlow::OnShardRoute(const ShardRouteChange& change) {
  context_.router.ChangeShard(change.filter, change.from, change.before, change.after);
  context_.Send(change.from, RoutesConfirmed{context_.id, change.number});
}

void SubscribeFlow::OnShardMember(ShardMemberChange change) {
  if (change.add) {
    context_.router.SetMember(change.filter, std::move(change.member));
  } else {
    context_.router.RemoveMember(change.filter, change.member.client_id);
  }
  context_.Send(change.from, RoutesConfirmed{context_.id, change.number});
}

void SubscribeFlow::OnConfirmed(const RoutesConfirmed& confirmed) {
  announcer_.OnConfirmed(confirmed.from, confirmed.number);
  while (!announcing_.empty() && announcing_.front().route <= announcer_.confirmed()) {
    Pending pending = std::move(announcing_.front());
    announcing_.pop_front();
    Finish(pending);
    ReleaseHeld(pending.connection);
  }
}

// One more SUBACK of the connection is out.
void SubscribeFlow::ReleaseHeld(uint64_t number) {
  const auto held = held_.find(number);
  if (--held->second.subacks != 0) return;
  std::vector<storage::Delivery> entries = std::move(held->second.entries);
  held_.erase(held);
  Connection* const connection = context_.Find(number);
  if (connection == nullptr || connection->session == nullptr || entries.empty()) return;
  deliverer_.Durable(*connection->session, std::move(entries));
  ContinueReplays(*connection->session);
}

void SubscribeFlow::OnSysTopics(const SysTopics& topics) {
  for (const auto& [topic, value] : *topics.values) {
    mqtt::MessageParts parts;
    parts.topic = topic;
    parts.payload = value;
    parts.retain = true;
    parts.created_at_unix_ms = context_.now_unix_ms;
    sys_topics_[topic] = mqtt::Message::Create(parts);
  }
}

void SubscribeFlow::SendSysTopics(Session& session, const storage::SubscriptionRecord& record) {
  for (const auto& [topic, message] : sys_topics_) {
    if (!mqtt::Matches(record.filter, topic)) continue;
    Outgoing outgoing(message);
    const uint32_t ids[] = {record.subscription_id};
    deliverer_.NextMessage();
    deliverer_.ToSession(
        session, outgoing,
        {.qos = mqtt::QoS::kAtMostOnce,
         .retain = true,
         .subscription_ids = absl::MakeConstSpan(ids, record.subscription_id == 0 ? 0 : 1)});
  }
}

}  // namespace broker
