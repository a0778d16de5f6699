#include "broker/shard/subscribe_flow.h"

#include <algorithm>
#include <utility>

#include "broker/shard/packet_output.h"
#include "broker/shard/refusals.h"
#include "mqtt/decode.h"
#include "mqtt/encode.h"
#include "mqtt/topic.h"

namespace broker {
namespace {

using mqtt::ReasonCode;

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

std::optional<SubscriptionTerms> TermsOf(const Subscriber& subscriber) {
  if (subscriber.session == nullptr) return std::nullopt;
  const mqtt::SubscriptionOptions options{
      .qos = subscriber.options.qos,
      .no_local = subscriber.options.no_local,
      .retain_as_published = subscriber.options.retain_as_published};
  return SubscriptionTerms{options, subscriber.subscription_id};
}

std::optional<SubscriptionTerms> TermsOf(const ShareGroup* group, const Session& session) {
  const ShareMember* const member = group == nullptr ? nullptr : group->Find(session.client_id);
  if (member == nullptr) return std::nullopt;
  return SubscriptionTerms{member->options, member->subscription_id};
}

}  // namespace

void SubscribeFlow::OnSubscribe(Connection& connection, uint8_t flags, mqtt::Bytes body) {
  Session& session = *connection.session;
  mqtt::Subscribe packet;
  auto violation = mqtt::DecodeSubscribe(flags, body, session.version, packet);
  if (!violation.has_value()) violation = CheckAvailable(session, packet);
  if (violation.has_value()) return context_.Violated(connection, *violation);
  if (ask_subscribe_hook) return ask_subscribe_hook(connection, flags, body, packet);
  Subscribe(connection, packet, {});
}

void SubscribeFlow::Subscribe(Connection& connection, const mqtt::Subscribe& packet,
                              absl::Span<const ReasonCode> decided) {
  Session& session = *connection.session;
  auto request = std::make_shared<Request>();
  request->connection = connection.ref.connection;
  request->id = packet.packet_id;
  storage::Subscribe commit;
  std::vector<std::string> routes;
  room_ = context_.RoomForSubscriptions();
  if (session.durable) request->changes.reserve(packet.subscriptions.size());  // They stay put.
  for (size_t i = 0; i < packet.subscriptions.size(); ++i) {
    const mqtt::Subscription& subscription = packet.subscriptions[i];
    const ReasonCode reason =
        Judge(session, subscription, i < decided.size() ? decided[i] : ReasonCode::kGrantedQos2);
    request->reasons.push_back(reason);
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
    if (session.durable) {
      commit.subscriptions.push_back(record);
      request->commit_bytes += storage::SubscriptionBytes(record.filter);
      if (NeedsRoute(session, record.filter)) routes.push_back(record.filter);
    }
    Subscribe(session, std::move(record), *request);
  }
  if (commit.subscriptions.empty()) return Await(connection, std::move(request));
  commit.token = context_.NextToken();
  commit.client_id = session.client_id.view();
  commit.epoch = session.epoch;
  Commit(connection, std::move(request), commit.token, std::move(commit), std::move(routes));
}

// Whether the partition may not have told everybody yet that the filter is for it.
bool SubscribeFlow::NeedsRoute(const Session& session, std::string_view filter) const {
  if (mqtt::IsShared(filter)) return false;
  return !session.subscriptions.Contains(filter) || IsBeingChanged(session, filter);
}

bool SubscribeFlow::IsBeingChanged(const Session& session, std::string_view filter) const {
  const auto unanswered = unanswered_.find(session.connection.ref.connection);
  return unanswered != unanswered_.end() && unanswered->second.changes.Concern(filter);
}

// Into the index, and what is to follow SUBACK.
void SubscribeFlow::Subscribe(Session& session, storage::SubscriptionRecord record,
                              Request& request) {
  const bool existed = session.subscriptions.Contains(record.filter);
  std::optional<SubscriptionTerms> before = Add(session, record);
  if (session.durable) {
    request.changes.push_back({record.filter, before});
    unanswered_[request.connection].changes.Add(request.changes.back());
  }
  if (!WantsRetained(record, existed)) return;
  if (record.filter[0] == '$') request.sys.push_back(record);
  if (session.replays == nullptr)
    session.replays = std::make_unique<Session::Replays>(context_.memory(), context_.rng());
  if (!std::exchange(request.replays, true)) ++session.replays->subacks;
  if (session.durable) return session.replays->live_topics.Clear();  // Its own may come again.
  request.replay.push_back({std::move(record), session.replays->now});
}

// The host hears of it before anything that is published from now on: this shard's requests go to
// it in order, and the other shards are told behind them.
void SubscribeFlow::Commit(Connection& connection, RequestPtr request, storage::Token token,
                           storage::Request commit, std::vector<std::string> routes) {
  Session& session = *connection.session;
  request->client_id = session.client_id.view();
  request->partition = session.partition;
  if (!routes.empty()) {
    request->held_routes = std::make_shared<const std::vector<std::string>>(std::move(routes));
    HoldRoutes(*request, true);
  }
  context_.routes_changed = true;
  ++request->waits;
  committing_.emplace(token, request);
  context_.AskAcknowledged(session);
  context_.Ask(std::move(commit));
  committing_bytes_ += request->commit_bytes;
  // Until one of the client's requests is answered.
  if (committing_bytes_ >= context_.options.commits_pending_bytes_max)
    context_.Pause(connection, kPauseRequests);
  Await(connection, std::move(request));
}

void SubscribeFlow::HoldRoutes(const Request& request, bool hold) {
  OnPartitionRoutes({hold, request.partition, request.held_routes});
  announcer_.ForOthers([&](storage::ShardId shard) {
    context_.Send(shard, PartitionRoutesHeld{hold, request.partition, request.held_routes});
  });
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

ReasonCode SubscribeFlow::Judge(const Session& session, const mqtt::Subscription& subscription,
                                ReasonCode decided) {
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
  if (mqtt::IsError(decided)) {
    return mqtt::IsAllowed(decided, mqtt::PacketType::kSubAck) ? decided
                                                               : ReasonCode::kNotAuthorized;
  }
  if (const auto bound = BoundReached(session, filter)) {
    context_.metrics.subscriptions_refused[*bound].Add();
    bound_ = *bound;
    return ReasonCode::kQuotaExceeded;
  }
  // The granted QoS may be lower than asked [MQTT5-3.9.3-1 and §3.8.4] [MQTT311-3.8.4-6].
  return static_cast<ReasonCode>(mqtt::Min(
      subscription.options.qos,
      mqtt::Min(static_cast<mqtt::QoS>(decided), static_cast<mqtt::QoS>(limits.maximum_qos))));
}

std::optional<SubscribeRefusal> SubscribeFlow::BoundReached(const Session& session,
                                                            std::string_view filter) {
  if (session.subscriptions.Contains(filter)) return std::nullopt;
  const Limits& limits = session.limits;
  const SubscriptionSet& held = session.subscriptions;
  const uint64_t bytes = storage::SubscriptionBytes(filter);
  if (held.size() >= limits.subscriptions_max) return SubscribeRefusal::kSubscriptionsMax;
  if (held.bytes() + bytes > limits.subscriptions_bytes_max) {
    return SubscribeRefusal::kSubscriptionsBytesMax;
  }
  if (const auto shared = mqtt::ParseShared(filter); shared.has_value()) {
    if (held.shared_size() >= limits.shared_subscriptions_max) {
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
  if (!mqtt::IsShared(record.filter)) {
    Add(session, record);
    return;
  }
  session.subscriptions.InsertShared(record.filter);
  Attach(session, record.filter);  // The host has told every shard.
}

void SubscribeFlow::Attach(Session& session, std::string_view filter) {
  if (ShareGroup* const group = context_.router.FindGroup(filter))
    group->Attach(session.client_id, session.connection.ref, &session);
}

std::optional<SubscriptionTerms> SubscribeFlow::Add(Session& session,
                                                    const storage::SubscriptionRecord& record) {
  if (mqtt::IsShared(record.filter)) return AddShared(session, record);
  const DeliveryOptions options = {.qos = record.options.qos,
                                   .no_local = record.options.no_local,
                                   .retain_as_published = record.options.retain_as_published,
                                   .durable = session.durable};
  const Router::Change change =
      context_.router.Add(record.filter, {&session, record.subscription_id, options});
  if (session.subscriptions.Insert(change.filter) && !session.durable) {
    context_.metrics.memory.Add(base::MemoryUse::kSubscriptions, BytesOf(record.filter));
    context_.metrics.subscriptions.Add();
  }
  announcer_.Route(record.filter, change);
  return TermsOf(change.former);
}

std::optional<SubscriptionTerms> SubscribeFlow::AddShared(
    Session& session, const storage::SubscriptionRecord& record) {
  std::optional<SubscriptionTerms> before;
  ShareMember member;
  member.client_id = session.client_id.view();
  member.connection = session.connection.ref;
  member.local = &session;
  member.packet_size_max = session.packet_size_max;
  member.options = record.options;
  member.subscription_id = record.subscription_id;
  if (!session.subscriptions.InsertShared(record.filter)) {
    before = TermsOf(context_.router.FindGroup(record.filter), session);
  } else if (!session.durable) {
    context_.metrics.memory.Add(base::MemoryUse::kSubscriptions, BytesOf(record.filter));
    context_.metrics.subscriptions.Add();
    context_.metrics.subscriptions_shared.Add();
  }
  if (session.durable) {
    member.durable = true;
    member.partition = session.partition;
    member.reader = std::make_shared<const ShareReader>(
        ShareReader{{.client_id = std::string(session.client_id),
                     .user_name = std::string(session.user_name()),
                     .listener = session.connection.listener.name},
                    session.permissions});
    HoldMember(record.filter, session.client_id, std::move(member));
    return before;
  }
  announcer_.Member(true, record.filter, member);
  context_.router.SetMember(record.filter, std::move(member));
  return before;
}

std::optional<SubscriptionTerms> SubscribeFlow::Remove(Session& session, std::string_view filter) {
  if (mqtt::IsShared(filter)) return RemoveShared(session, filter);
  if (!session.subscriptions.Erase(filter)) return std::nullopt;
  if (!session.durable) {
    context_.metrics.memory.Add(base::MemoryUse::kSubscriptions, -BytesOf(filter));
    context_.metrics.subscriptions.Add(-1);
  }
  const Router::Change change = context_.router.Remove(filter, &session);
  announcer_.Route(filter, change);
  return TermsOf(change.former);
}

std::optional<SubscriptionTerms> SubscribeFlow::RemoveShared(Session& session,
                                                             std::string_view filter) {
  if (!session.subscriptions.Erase(filter)) return std::nullopt;
  const auto before = TermsOf(context_.router.FindGroup(filter), session);
  if (session.durable) {
    HoldMember(filter, session.client_id, std::nullopt);
    return before;
  }
  context_.metrics.memory.Add(base::MemoryUse::kSubscriptions, -BytesOf(filter));
  context_.metrics.subscriptions.Add(-1);
  context_.metrics.subscriptions_shared.Add(-1);
  ShareMember member;
  member.client_id = session.client_id.view();
  member.connection = session.connection.ref;
  context_.router.RemoveMember(filter, session.client_id, member.connection);
  announcer_.Member(false, filter, member);
  return before;
}

// Its place in the group, until the partition has answered. The others hear of it behind the
// request, see Commit.
void SubscribeFlow::HoldMember(std::string_view filter, std::string_view client_id,
                               std::optional<ShareMember> member) {
  announcer_.ForOthers([&](storage::ShardId shard) {
    ShareMemberHeld held{true, std::string(filter), std::string(client_id), nullptr};
    if (member.has_value()) {
      held.member = std::make_unique<ShareMember>(*member);
      held.member->local = nullptr;
    }
    context_.Send(shard, std::move(held));
  });
  context_.router.HoldMember(filter, client_id, std::move(member));
}

void SubscribeFlow::LetGoOfMember(Session* session, std::string_view filter,
                                  std::string_view client_id) {
  announcer_.ForOthers([&](storage::ShardId shard) {
    context_.Send(shard,
                  ShareMemberHeld{false, std::string(filter), std::string(client_id), nullptr});
  });
  context_.router.LetGoOfMember(filter, client_id);
  if (session != nullptr && session->subscriptions.Contains(filter)) Attach(*session, filter);
}

void SubscribeFlow::End(Session& session) {
  std::vector<std::string> filters;
  filters.reserve(session.subscriptions.size());
  session.subscriptions.ForEach([&](std::string_view filter) { filters.emplace_back(filter); });
  for (const std::string& filter : filters) {
    if (!session.durable || !mqtt::IsShared(filter)) {
      Remove(session, filter);
      continue;
    }
    // The host says when the member is gone, and the session may live on elsewhere before: from
    // here on this shard must not reach for it.
    session.subscriptions.Erase(filter);
    if (ShareGroup* const group = context_.router.FindGroup(filter))
      group->Detach(session.client_id, &session);
  }
  unanswered_.erase(session.connection.ref.connection);
}

// ---- From the request to its answer

void SubscribeFlow::Await(Connection& connection, RequestPtr request) {
  request->route = announcer_.number();
  if (request->route > announcer_.confirmed()) {
    ++request->waits;
    announcing_.push_back(request);
  }
  Session& session = *connection.session;
  if (request->waits == 0 && session.inbound.in_order()) return Answer(connection, *request);
  context_.RequestCame(connection);
  unanswered_[request->connection].requests.push_back(request);
  if (request->waits == 0) {
    return acknowledger_.Acknowledge(session, request->answer, request->id);
  }
  request->ticket = acknowledger_.Expect(session, request->answer, request->id);
}

// One of the things that it waits for is there.
void SubscribeFlow::WaitedFor(Request& request) {
  if (--request.waits != 0) return;
  Connection* const connection = context_.Find(request.connection);
  if (connection != nullptr && connection->session != nullptr)
    acknowledger_.Complete(*connection->session, request.ticket);
}

void SubscribeFlow::WriteAnswer(Connection& connection) {
  Unanswered& unanswered = unanswered_[connection.ref.connection];
  const RequestPtr request = std::move(unanswered.requests.front());
  unanswered.requests.pop_front();
  if (request->committed) --unanswered.committed;
  std::vector<storage::Delivery> entries;
  if (unanswered.committed == 0) entries.swap(unanswered.entries);
  if (unanswered.requests.empty()) unanswered_.erase(connection.ref.connection);
  context_.RequestAnswered(connection);
  Answer(connection, *request);
  if (entries.empty()) return;
  deliverer_.Durable(*connection.session, std::move(entries));
  ContinueReplays(*connection.session);
}

void SubscribeFlow::Answer(Connection& connection, Request& request) {
  if (request.answer == mqtt::PacketType::kSubAck) return WriteSubAck(connection, request);
  WriteUnsubAck(connection, request);
}

SubscribeFlow::RequestPtr SubscribeFlow::Settle(storage::Token token, const absl::Status& status) {
  const auto found = committing_.find(token);
  if (found == committing_.end()) return nullptr;
  RequestPtr request = std::move(found->second);
  committing_.erase(found);
  committing_bytes_ -= request->commit_bytes;
  Connection* const connection = context_.Find(request->connection);
  Session* const session = connection == nullptr ? nullptr : connection->session.get();
  SubscriptionChanges* const changes =
      session == nullptr ? nullptr : &unanswered_.at(request->connection).changes;
  // From the last to the first: one filter may be there twice.
  for (auto change = request->changes.rbegin(); change != request->changes.rend(); ++change) {
    if (changes != nullptr) {
      if (status.ok()) {
        changes->Commit(*change);
      } else if (changes->Refuse(*change)) {
        Restore(*session, *change);
      }
    }
    if (mqtt::IsShared(change->filter)) LetGoOfMember(session, change->filter, request->client_id);
  }
  if (request->held_routes != nullptr) HoldRoutes(*request, false);
  if (!status.ok() || session == nullptr) return request;
  request->committed = true;
  ++unanswered_.at(request->connection).committed;
  return request;
}

// The partition has refused what the client asked for.
void SubscribeFlow::Restore(Session& session, const SubscriptionChange& change) {
  if (change.before.has_value()) {
    Add(session, {change.filter, change.before->options, change.before->subscription_id});
  } else if (session.subscriptions.Contains(change.filter)) {
    Remove(session, change.filter);
  } else {
    return;
  }
  // That held the place once more.
  if (mqtt::IsShared(change.filter)) LetGoOfMember(&session, change.filter, session.client_id);
}

void SubscribeFlow::OnSubscribeDone(const storage::SubscribeDone& event) {
  const RequestPtr request = Settle(event.token, event.status);
  if (request == nullptr) return;
  if (!event.status.ok()) {
    for (ReasonCode& reason : request->reasons) {
      if (!mqtt::IsError(reason)) reason = ToReason(event.status);
    }
    request->sys.clear();
  }
  WaitedFor(*request);
}

void SubscribeFlow::HoldBack(const Connection& connection,
                             std::vector<storage::Delivery>& entries) {
  const auto unanswered = unanswered_.find(connection.ref.connection);
  if (unanswered == unanswered_.end() || unanswered->second.committed == 0) return;
  const auto waits = std::stable_partition(
      entries.begin(), entries.end(),
      [](const storage::Delivery& entry) { return entry.sequence == 0 && !entry.replay; });
  std::vector<storage::Delivery>& held = unanswered->second.entries;
  held.insert(held.end(), std::make_move_iterator(waits), std::make_move_iterator(entries.end()));
  entries.erase(waits, entries.end());
}

void SubscribeFlow::ForgetHeldBack(const Connection& connection) {
  const auto unanswered = unanswered_.find(connection.ref.connection);
  if (unanswered != unanswered_.end()) unanswered->second.entries.clear();
}

void SubscribeFlow::WriteSubAck(Connection& connection, Request& request) {
  Session& session = *connection.session;
  mqtt::SubAck ack;
  ack.packet_id = request.id;
  ack.reasons.assign(request.reasons.begin(), request.reasons.end());
  std::string bytes;
  if (!mqtt::Encode(ack, session.version, bytes, session.packet_size_max))
    return CloseTooLarge(context_, connection);
  SendPacket(context_, connection, mqtt::PacketType::kSubAck, bytes);
  for (const auto& record : request.sys) SendSysTopics(session, record);
  if (!request.replays) return;
  --session.replays->subacks;
  if (session.durable) {
    session.replays->forget_at_tick = context_.now_tick + kLiveTopicsKeptTicks;
    if (session.replays->subacks == 0 && session.replays->live_topics.empty())
      session.replays.reset();
    return;
  }
  for (Session::Replays::Waiting& replay : request.replay) {
    if (!session.subscriptions.Contains(replay.subscription.filter))
      continue;  // Unsubscribed meanwhile.
    session.replays->waiting.push_back(std::move(replay));
  }
  ContinueReplays(session);
}

void SubscribeFlow::OnUnsubscribe(Connection& connection, uint8_t flags, mqtt::Bytes body) {
  Session& session = *connection.session;
  mqtt::Unsubscribe packet;
  if (const auto violation = mqtt::DecodeUnsubscribe(flags, body, session.version, packet)) {
    return context_.Violated(connection, *violation);
  }
  if (ask_unsubscribe_hook) return ask_unsubscribe_hook(connection, flags, body, packet);
  Unsubscribe(connection, packet);
}

void SubscribeFlow::Unsubscribe(Connection& connection, const mqtt::Unsubscribe& packet) {
  Session& session = *connection.session;
  auto request = std::make_shared<Request>();
  request->connection = connection.ref.connection;
  request->id = packet.packet_id;
  request->answer = mqtt::PacketType::kUnsubAck;
  if (session.durable) request->changes.reserve(packet.filters.size());  // They stay put.
  for (const std::string_view filter : packet.filters) Unsubscribe(session, filter, *request);
  if (!session.durable) {
    ContinueReplays(session);
    return Await(connection, std::move(request));
  }
  storage::Unsubscribe commit;
  commit.token = context_.NextToken();
  commit.client_id = session.client_id.view();
  commit.epoch = session.epoch;
  commit.filters.assign(packet.filters.begin(), packet.filters.end());
  Commit(connection, std::move(request), commit.token, std::move(commit), {});
}

// From here on nothing new is added [MQTT5-3.10.4-2] [MQTT311-3.10.4-2].
void SubscribeFlow::Unsubscribe(Session& session, std::string_view filter, Request& request) {
  const bool existed = session.subscriptions.Contains(filter);
  request.reasons.push_back(existed ? ReasonCode::kSuccess : ReasonCode::kNoSubscriptionExisted);
  const std::optional<SubscriptionTerms> before = Remove(session, filter);
  // Also if it is unsubscribed already and that may be refused: then this one is what counts.
  if (session.durable && (existed || IsBeingChanged(session, filter))) {
    if (!existed && mqtt::IsShared(filter)) HoldMember(filter, session.client_id, std::nullopt);
    request.changes.push_back({std::string(filter), before});
    unanswered_[request.connection].changes.Add(request.changes.back());
  }
  if (session.replays != nullptr) ForgetReplays(*session.replays, filter);
}

void SubscribeFlow::OnUnsubscribeDone(storage::UnsubscribeDone event) {
  const RequestPtr request = Settle(event.token, event.status);
  if (request == nullptr) return;
  Connection* const connection = context_.Find(request->connection);
  if (connection == nullptr || connection->session == nullptr) return WaitedFor(*request);
  if (!event.status.ok() && connection->version != mqtt::Version::k5) {
    return context_.CloseLater(*connection,
                               {.cause = CloseCause::kStorageFailed});  // UNSUBACK cannot say no.
  }
  if (event.status.ok() && event.existed.size() != request->reasons.size()) {
    return WaitedFor(*request);  // What was there is as this shard has seen it.
  }
  event.existed.resize(request->reasons.size());
  for (size_t i = 0; i < request->reasons.size(); ++i) {
    // [MQTT5-3.11.3-2]: there is no "quota exceeded", whatever the disk says.
    request->reasons[i] = !event.status.ok() ? ReasonCode::kUnspecifiedError
                          : event.existed[i] ? ReasonCode::kSuccess
                                             : ReasonCode::kNoSubscriptionExisted;
  }
  WaitedFor(*request);
}

void SubscribeFlow::WriteUnsubAck(Connection& connection, const Request& request) {
  mqtt::UnsubAck ack;
  ack.packet_id = request.id;
  ack.reasons.assign(request.reasons.begin(), request.reasons.end());
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
    member.reader = context_.ReaderOf({event.client_id, event.user_name, event.listener});
    member.client_id = std::move(event.client_id);
    member.durable = true;
    member.connected = event.state == storage::ShareMemberChange::State::kConnected;
    member.partition = event.partition;
    member.connection = event.connection;
    if (event.packet_size_max != 0) member.packet_size_max = event.packet_size_max;
    member.options = event.subscription.options;
    member.subscription_id = event.subscription.subscription_id;
    if (member.connected) {
      // Of others that are connected here the answer to their client's request is still to come.
      const Connection* const connection = context_.Find(event.connection.connection);
      const bool here = connection != nullptr && connection->ref == event.connection;
      Session* const session = here ? connection->session.get() : nullptr;
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
    context_.router.RemoveMember(change.filter, change.member.client_id, change.member.connection);
  }
  context_.Send(change.from, RoutesConfirmed{context_.id, change.number});
}

void SubscribeFlow::OnPartitionRoutes(const PartitionRoutesHeld& routes) {
  for (const std::string& filter : *routes.filters)
    context_.router.SetPartition(filter, routes.partition, routes.hold);
}

void SubscribeFlow::OnShareMemberHeld(ShareMemberHeld held) {
  if (!held.hold) return context_.router.LetGoOfMember(held.filter, held.client_id);
  std::optional<ShareMember> member;
  if (held.member != nullptr) member = std::move(*held.member);
  context_.router.HoldMember(held.filter, held.client_id, std::move(member));
}

void SubscribeFlow::OnConfirmed(const RoutesConfirmed& confirmed) {
  announcer_.OnConfirmed(confirmed.from, confirmed.number);
  GoOnWithAnnounced();
}

void SubscribeFlow::OnNodesConfirmed(const NodesConfirmed& confirmed) {
  announcer_.OnNodesConfirmed(confirmed);
  GoOnWithAnnounced();
}

void SubscribeFlow::GoOnWithAnnounced() {
  while (!announcing_.empty() && announcing_.front()->route <= announcer_.confirmed()) {
    const RequestPtr request = std::move(announcing_.front());
    announcing_.pop_front();
    WaitedFor(*request);
  }
}

}  // namespace broker
