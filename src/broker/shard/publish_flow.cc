#include "broker/shard/publish_flow.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/base/attributes.h"
#include "base/by_name.h"
#include "base/check.h"
#include "broker/core/publish_right.h"
#include "broker/shard/packet_output.h"
#include "mqtt/decode.h"
#include "mqtt/encode.h"
#include "mqtt/encode_publish.h"
#include "mqtt/topic.h"
#include "storage/core/keys.h"
#include "storage/core/publish_parts.h"

namespace broker {
namespace {

using mqtt::QoS;
using mqtt::ReasonCode;

ReasonCode ToReason(const absl::Status& status) {
  if (status.ok()) return ReasonCode::kSuccess;
  if (absl::IsResourceExhausted(status)) return ReasonCode::kQuotaExceeded;
  return ReasonCode::kUnspecifiedError;
}

// What is held in memory until the commit is answered: the message, and each target twice, in the
// request and in what the log is to be told.
uint64_t TargetBytes(const std::vector<storage::SharedTarget>& targets) {
  uint64_t bytes = 0;
  for (const storage::SharedTarget& target : targets) {
    bytes += sizeof(target) + 2 * (target.client_id.size() + target.filter.size());
  }
  return bytes;
}

// The rules may have changed since it subscribed. Of a transient member elsewhere its shard knows,
// and hands the message on.
bool MayRead(const ShareMember& member, std::string_view topic) {
  if (member.local != nullptr) return member.local->permissions->MayRead(topic);
  if (member.reader == nullptr) return true;
  return member.reader->permissions != nullptr && member.reader->permissions->MayRead(topic);
}

// Whether the message, as a PUBLISH with this subscription's properties, is not larger than what
// the client takes [MQTT5-3.1.2-24]. Only 5.0 clients have such a maximum.
bool FitsClient(const ShareMember& member, const mqtt::MessageParts& parts) {
  if (member.packet_size_max >= mqtt::kPacketSizeMax) return true;
  mqtt::PublishHead head;
  head.version = mqtt::Version::k5;
  head.qos = mqtt::Min(parts.qos, member.options.qos);
  head.topic = parts.topic;
  head.payload = parts.payload;
  head.forward_properties = parts.properties;
  if (parts.expires_at_unix_ms != 0) head.message_expiry_interval = 0;
  const uint32_t ids[] = {member.subscription_id};
  head.subscription_ids = absl::MakeConstSpan(ids, member.subscription_id == 0 ? 0 : 1);
  return mqtt::MeasurePublish(head).total <= member.packet_size_max;
}

// A message goes so often from node to node for one group. After that it is for a member here, or
// for one that a partition delivers to: what each node knows of the others' members is a moment
// old.
constexpr uint32_t kHopsMax = 3;

// Of those that waited, kept for the next: as many as wait in a busy moment.
constexpr size_t kSpareMax = 1024;

mqtt::PacketType AckOf(QoS qos) {
  return qos == QoS::kExactlyOnce ? mqtt::PacketType::kPubRec : mqtt::PacketType::kPubAck;
}

}  // namespace

const Match& PublishFlow::Nobody() {
  static const Match* const nobody = new Match();
  return *nobody;
}

void PublishFlow::OnPublish(Connection& connection, uint8_t flags, mqtt::Bytes body) {
  Session& session = *connection.session;
  mqtt::Publish& packet = packet_;
  if (const auto violation =
          mqtt::DecodePublish(flags, body, session.version, mqtt::Sender::kClient, packet)) {
    return context_.Violated(connection, *violation);
  }
  context_.metrics.publish_received[static_cast<size_t>(packet.qos)].Add();
  context_.metrics.publish_bytes_received.Add(packet.payload.size());
  if (Throttle::Concerns(session.limits, context_.memory_high) &&
      !KeepsToRate(connection, body.size()))
    return;
  std::string_view topic = packet.topic;
  if (packet.topic_alias != 0) {
    if (session.aliases_in == nullptr) {
      session.aliases_in = std::make_unique<InboundTopicAliases>(session.limits.topic_alias_maximum,
                                                                 context_.memory());
    }
    if (const auto violation = session.aliases_in->Resolve(
            packet, context_.InMemory(session.limits.topic_alias_bytes_max), topic))
      return context_.Violated(connection, *violation);
  }
  if (const auto violation = CheckLimits(session, packet, topic))
    return context_.Violated(connection, *violation);
  if (packet.qos != QoS::kAtMostOnce) {
    Admission admission = Admission::kRoute;
    if (const auto violation =
            session.inbound.Admit(session.version, packet.qos, packet.packet_id, admission)) {
      return context_.Violated(connection, *violation);
    }
    if (admission != Admission::kRoute) {
      context_.metrics.publish_duplicates.Add();
      if (admission == Admission::kRepeat) Acknowledge(session, packet, ReasonCode::kSuccess);
      return;
    }
  }
  const PublishRight right = RightToPublish(*session.permissions, session.client_id.view(), topic);
  if (!IsEnough(right, packet.retain, packet.payload)) {
    context_.metrics.dropped[DropCause::kNotAuthorized].Add();
    LogRefused(
        connection, "publish refused",
        IsServersOwn(topic) ? "$SYS is the server's own" : "the access rules do not allow it",
        "topic", topic);
    if (context_.observer != nullptr)
      context_.observer->OnPublishRefused(connection, topic, ReasonCode::kNotAuthorized);
    return Refuse(session, packet, ReasonCode::kNotAuthorized);
  }
  if (ask_hook) return ask_hook(connection, packet, topic, right);
  NobodyIsBehind();
  Route(connection, packet, topic, right);
  PauseIfBehind(connection);
}

void PublishFlow::RouteDecided(Connection& connection, const mqtt::Publish& packet,
                               mqtt::MessagePtr message, PublishRight right) {
  Outgoing outgoing(std::move(message));
  NobodyIsBehind();
  RouteOut(connection, packet, outgoing, right);
  PauseIfBehind(connection);
}

void PublishFlow::Refuse(Session& session, const mqtt::Publish& packet, ReasonCode reason) {
  if (packet.qos == QoS::kAtMostOnce) return;
  const bool told = session.version == mqtt::Version::k5;
  Acknowledge(session, packet, told ? reason : ReasonCode::kSuccess);
}

bool PublishFlow::KeepsToRate(Connection& connection, uint64_t bytes) {
  const Throttle::Verdict verdict =
      throttle_.OnPublish(connection.ref.connection, connection.session->limits,
                          context_.memory_high, bytes, context_.now_ns);
  switch (verdict.kind) {
    case Throttle::Verdict::Kind::kGoOn:
      return true;
    case Throttle::Verdict::Kind::kPause:  // After this one.
      context_.metrics.throttled[verdict.cause].Add();
      context_.PauseUntil(connection, verdict.until_ns);
      return true;
    case Throttle::Verdict::Kind::kDisconnect:
      context_.metrics.throttled[verdict.cause].Add();
      context_.Close(connection,
                     {.cause = CloseCause::kOverloaded, .say = ReasonCode::kMessageRateTooHigh});
      return false;
  }
  return true;
}

std::optional<mqtt::Violation> PublishFlow::CheckLimits(const Session& session,
                                                        const mqtt::Publish& packet,
                                                        std::string_view topic) {
  const Limits& limits = session.limits;
  if (static_cast<uint8_t>(packet.qos) > limits.maximum_qos) {
    return mqtt::Violation{ReasonCode::kQosNotSupported, "MQTT5-3.2.2-11"};
  }
  if (packet.retain && !limits.retain_available) {
    return mqtt::Violation{ReasonCode::kRetainNotSupported, "MQTT5-3.2.2-14"};
  }
  if (!mqtt::IsWithin({limits.topic_bytes_max, limits.topic_levels_max}, topic)) {
    return mqtt::Violation{ReasonCode::kTopicNameInvalid, "MQTT5-3.3.2.1"};
  }
  return std::nullopt;
}

void PublishFlow::Route(Connection& connection, const mqtt::Publish& packet, std::string_view topic,
                        PublishRight right) {
  Session& session = *connection.session;
  mqtt::MessageParts parts;
  parts.topic = topic;
  parts.payload = packet.payload;
  parts.properties = mqtt::ForwardProperties(packet, scratch_);
  parts.qos = packet.qos;
  parts.retain = packet.retain;
  parts.created_at_unix_ms = context_.now_unix_ms;
  if (packet.message_expiry_interval.has_value()) {
    parts.expires_at_unix_ms =
        context_.now_unix_ms + int64_t{*packet.message_expiry_interval} * 1000;
  }
  parts.publisher = session.client_id;
  Outgoing outgoing(parts, &session);
  RouteOut(connection, packet, outgoing, right);
}

// Part of both that call it: on the way of each message a call costs a twentieth of all there is.
ABSL_ATTRIBUTE_ALWAYS_INLINE inline void PublishFlow::RouteOut(Connection& connection,
                                                               const mqtt::Publish& packet,
                                                               Outgoing& outgoing,
                                                               PublishRight right) {
  Session& session = *connection.session;
  const Match& match =
      right == PublishRight::kPublish ? context_.router.Find(outgoing.parts().topic) : Nobody();
  const bool unmatched = match.empty();
  if (unmatched) context_.metrics.publish_unmatched.Add();
  if (context_.observer != nullptr)
    context_.observer->OnRouted(connection, outgoing.parts(), match);

  // Even if the message is for nobody: its identifier is committed.
  if (packet.qos == QoS::kExactlyOnce && session.durable) {
    return Accept(connection, packet, outgoing, match);
  }
  // None overtakes one before it that waits for its commit [MQTT5-4.6.0-6].
  const bool queues = packet.qos == QoS::kExactlyOnce && session.inbound.publishes_wait();
  const bool durable = packet.qos != QoS::kAtMostOnce && match.partitions != 0;
  if (durable || queues || packet.retain || !match.groups.empty()) {
    return RouteDurable(connection, packet, outgoing, match);
  }
  RouteTransient(outgoing, match);
  AcknowledgeRouted(session, packet, unmatched);
}

void PublishFlow::AcknowledgeRouted(Session& session, const mqtt::Publish& packet, bool unmatched) {
  if (packet.qos == QoS::kAtMostOnce) return;
  const bool told = unmatched && session.version == mqtt::Version::k5;
  Acknowledge(session, packet, told ? ReasonCode::kNoMatchingSubscribers : ReasonCode::kSuccess);
}

// Of each group that it is for somebody is chosen now, so that the choice is committed with it.
void PublishFlow::Accept(Connection& connection, const mqtt::Publish& packet, Outgoing& outgoing,
                         const Match& match) {
  Session& session = *connection.session;
  storage::AcceptInbound accept;
  accept.token = context_.NextToken();
  accept.client_id = std::string(session.client_id);
  accept.epoch = session.epoch;
  accept.packet_id = packet.packet_id.value;
  accept.partitions = match.partitions;
  accept.clears_only = &match == &Nobody();
  for (ShareGroup* const group : match.groups) {
    const ShareGroup::Choice choice = ChooseMember(*group, outgoing);
    if (choice.member == nullptr) {
      CountWithoutMember(1);
      continue;
    }
    const ShareMember& member = *choice.member;
    const bool queued =
        member.durable && mqtt::Min(packet.qos, member.options.qos) != QoS::kAtMostOnce;
    accept.targets.push_back({.client_id = member.client_id,
                              .filter = std::string(group->filter()),
                              .options = member.options,
                              .subscription_id = member.subscription_id,
                              .last_choice = choice.regardless,
                              .transient = !queued});
  }
  accept.message = outgoing.Keep();
  Waiting waiting;
  waiting.connection = connection.ref.connection;
  waiting.qos = packet.qos;
  waiting.ticket = acknowledger_.Expect(session, AckOf(packet.qos), packet.packet_id);
  waiting.awaited =
      storage::BitOf(storage::PartitionOfClient(accept.client_id, context_.partitions));
  waiting.bytes = accept.message->bytes() + TargetBytes(accept.targets);
  Await(accept.token, std::move(waiting));
  context_.Ask(std::move(accept));
  PauseIfCommitsPileUp(connection);
}

void PublishFlow::RouteDurable(Connection& connection, const mqtt::Publish& packet,
                               Outgoing& outgoing, const Match& match) {
  Session& session = *connection.session;
  const bool unmatched = match.empty();
  const bool exactly_once = packet.qos == QoS::kExactlyOnce;
  storage::Publish publish;
  if (packet.qos != QoS::kAtMostOnce) publish.partitions = match.partitions;
  publish.set_retained = packet.retain;  // [MQTT-3.3.1-5]
  Waiting waiting;
  if (exactly_once && &match != &Nobody()) waiting.route_after = outgoing.Keep();
  for (ShareGroup* const group : match.groups) {
    if (!AssignShared(*group, outgoing, publish, exactly_once ? &waiting : nullptr))
      CountWithoutMember(1);
  }
  if (!exactly_once) RouteTransient(outgoing, match);
  const bool commits =
      publish.partitions != 0 || publish.set_retained || !publish.shared_targets.empty();
  // Without anything to store the host is asked all the same if that is to be waited for.
  if (!commits && (!exactly_once || !session.inbound.publishes_wait())) {
    if (exactly_once) RouteCommitted(waiting);
    return AcknowledgeRouted(session, packet, unmatched);
  }
  publish.message = outgoing.Keep();
  waiting.connection = connection.ref.connection;
  waiting.qos = packet.qos;
  if (exactly_once) waiting.in_order = waiting.connection;
  if (packet.qos != QoS::kAtMostOnce)
    waiting.ticket = acknowledger_.Expect(session, AckOf(packet.qos), packet.packet_id);
  Submit(std::move(publish), std::move(waiting));
  PauseIfCommitsPileUp(connection);
}

// Most messages go to nobody but the sessions here.
void PublishFlow::RouteTransient(Outgoing& outgoing, const Match& match) {
  const QoS qos = outgoing.parts().qos;
  deliverer_.ToTargets(outgoing, match);
  if (const ShardMask shards = match.ShardsFor(qos); shards != 0) ForwardToShards(outgoing, shards);
  if (const NodeMask nodes = match.NodesFor(qos); nodes != 0) ForwardToNodes(outgoing, nodes);
}

void PublishFlow::ForwardToShards(Outgoing& outgoing, ShardMask shards) {
  for (; shards != 0; shards &= shards - 1) {
    const auto shard = static_cast<storage::ShardId>(std::countr_zero(shards));
    NoteForwarded(shard, *outgoing.Keep());
    context_.Send(shard, ForwardedPublish{outgoing.Keep(), context_.id});
  }
}

void PublishFlow::ForwardToNodes(Outgoing& outgoing, NodeMask nodes) {
  nodes_behind_ |= forward(nodes, outgoing.parts());
}

void PublishFlow::CountWithoutMember(uint64_t groups) {
  context_.metrics.dropped[DropCause::kNoShareMember].Add(groups);
}

// Whether a message comes to it that no partition delivers.
bool PublishFlow::CanReach(const ShareMember& member, ShareGroup::Asked asked,
                           uint32_t hops) const {
  if (member.local != nullptr || !where_is) return true;
  const Where where = where_is(member.connection);
  if (where.kind != Where::Kind::kAtNode) return where.kind == Where::Kind::kHere;
  return hops < kHopsMax && (!where.cut_off || asked == ShareGroup::Asked::kRegardless);
}

ShareGroup::Choice PublishFlow::ChooseMember(ShareGroup& group, const Outgoing& outgoing,
                                             const Tried& tried) {
  using Verdict = ShareGroup::Verdict;
  const mqtt::MessageParts& parts = outgoing.parts();
  const ShareGroup::Question question = {.strategy = context_.options.share_strategy,
                                         .topic = parts.topic,
                                         .publisher = parts.publisher,
                                         .qos = parts.qos};
  const auto accept = [&](const ShareMember& candidate, ShareGroup::Asked asked) {
    const Session* const session = candidate.local;
    if (!MayRead(candidate, parts.topic)) return Verdict::kPasses;
    if (!tried.without_right.empty() && candidate.connected &&
        std::find(tried.without_right.begin(), tried.without_right.end(), candidate.connection) !=
            tried.without_right.end()) {
      return Verdict::kPasses;
    }
    const QoS granted = mqtt::Min(parts.qos, candidate.options.qos);
    const bool queued = candidate.durable && granted != QoS::kAtMostOnce;
    if (!queued && !CanReach(candidate, asked, tried.hops)) return Verdict::kPasses;
    if (asked == ShareGroup::Asked::kRegardless) return Verdict::kTakes;
    if (!FitsClient(candidate, parts)) return Verdict::kPasses;
    // Of others here the partition host knows, or the shard of their connection.
    if (session == nullptr || session->durable) return Verdict::kTakes;
    if (deliverer_.HasRoom(*session, granted)) return Verdict::kTakes;
    return granted == QoS::kAtMostOnce ? Verdict::kPasses : Verdict::kWithoutRoom;
  };
  return group.Choose(question, context_.rng, accept);
}

bool PublishFlow::AssignShared(ShareGroup& group, Outgoing& outgoing, storage::Publish& publish,
                               Waiting* waiting) {
  return AssignTo(ChooseMember(group, outgoing), group, outgoing, publish, waiting);
}

bool PublishFlow::AssignTo(const ShareGroup::Choice& choice, const ShareGroup& group,
                           Outgoing& outgoing, storage::Publish& publish, Waiting* waiting,
                           Tried tried) {
  const ShareMember* const member = choice.member;
  if (member == nullptr) return false;
  const QoS granted = mqtt::Min(outgoing.parts().qos, member->options.qos);
  if (member->durable && granted != QoS::kAtMostOnce) {
    publish.shared_targets.push_back({.client_id = member->client_id,
                                      .filter = std::string(group.filter()),
                                      .options = member->options,
                                      .subscription_id = member->subscription_id,
                                      .last_choice = choice.regardless});
    return true;
  }
  const auto chosen = [&] {  // Once.
    return storage::ChosenMember{.filter = std::string(group.filter()),
                                 .connection = member->connection,
                                 .options = member->options,
                                 .subscription_id = member->subscription_id,
                                 .last_choice = choice.regardless,
                                 .hops = tried.hops,
                                 .without_right = std::move(tried.without_right)};
  };
  if (waiting != nullptr) {
    waiting->assigned_after.push_back({{}, chosen(), context_.id});
    return true;
  }
  if (member->local != nullptr) {
    const bool retain = member->options.retain_as_published && outgoing.parts().retain;
    const uint32_t ids[] = {member->subscription_id};
    deliverer_.NextMessage();
    deliverer_.ToSession(
        *member->local, outgoing,
        {.qos = granted,
         .retain = retain,
         .subscription_ids = absl::MakeConstSpan(ids, member->subscription_id == 0 ? 0 : 1),
         .shared_filter = group.filter()});
    return true;
  }
  if (where_is && where_is(member->connection).kind != Where::Kind::kHere) {
    storage::ChosenMember elsewhere = chosen();
    return ForwardToMember(outgoing.parts(), elsewhere);
  }
  SendAssignment(member->connection.shard, {outgoing.Keep(), chosen(), context_.id});
  return true;
}

bool PublishFlow::ForwardToMember(const mqtt::MessageParts& message,
                                  storage::ChosenMember& member) {
  const Where where = where_is(member.connection);
  if (where.kind != Where::Kind::kAtNode) return false;
  ++member.hops;
  nodes_behind_ |= forward_to_member(where.node, message, member);
  return true;
}

void PublishFlow::Submit(storage::Publish publish, Waiting waiting) {
  publish.token = context_.NextToken();
  if (publish.set_retained && context_.retained_gate != nullptr)
    context_.retained_gate->Sent(publish.token);
  waiting.bytes = publish.message->bytes() + TargetBytes(publish.shared_targets);
  for (const SharedAssignment& assignment : waiting.assigned_after) {
    waiting.bytes += sizeof(assignment) + assignment.member.filter.size();
  }
  Waiting& asked = Await(publish.token, std::move(waiting));
  storage::CutIntoParts(std::move(publish), context_.partitions, [&](storage::Publish part) {
    asked.awaited |= storage::BitOf(part.partition);
    if (part.outbox) part.outbox_after = outbox_.AskOf(part.partition, part.outbox);
    context_.Ask(std::move(part));
  });
}

PublishFlow::Waiting& PublishFlow::Await(storage::Token token, Waiting waiting) {
  waiting.since_ns = context_.now_ns;
  waiting_bytes_ += waiting.bytes;
  if (waiting.in_order != 0) {
    const auto [order, first] = in_order_.try_emplace(waiting.in_order, InOrder{token, token});
    if (!first) {
      waiting_.find(order->second.last)->second->next = token;
      order->second.last = token;
    }
  }
  std::unique_ptr<Waiting> kept;
  if (spare_.empty()) {
    kept = std::make_unique<Waiting>(std::move(waiting));
  } else {
    kept = std::move(spare_.back());
    spare_.pop_back();
    *kept = std::move(waiting);
  }
  return *waiting_.emplace(token, std::move(kept)).first->second;
}

void PublishFlow::PauseIfCommitsPileUp(Connection& connection) {
  const ShardOptions& options = context_.options;
  if (waiting_.size() < options.commits_pending_max &&
      waiting_bytes_ < options.commits_pending_bytes_max &&
      context_.streams.kept() < storage::RequestStreams::kKeptMax)
    return;
  if ((connection.pauses & kPauseCommits) != 0) return;
  context_.Pause(connection, kPauseCommits);
  paused_.push_back(connection.ref.connection);
}

void PublishFlow::OnPublished(storage::Published event) {
  const auto place = waiting_.find(event.token);
  if (place == waiting_.end()) return;  // A partition has answered twice: it was asked twice.
  Waiting& waiting = *place->second;
  const storage::PartitionMask bit = storage::BitOf(event.partition);
  if ((waiting.awaited & bit) == 0) return;
  waiting.awaited &= ~bit;
  if (waiting.outbox && event.status.ok()) outbox_.Has(event.partition, waiting.outbox);
  if (waiting.status.ok()) waiting.status = std::move(event.status);
  waiting.duplicate = waiting.duplicate || event.duplicate;
  if (waiting.awaited != 0) return;
  if (context_.retained_gate != nullptr) context_.retained_gate->Answered(event.token);
  if (waiting.in_order == 0) {
    std::unique_ptr<Waiting> answered = std::move(place->second);
    waiting_.erase(place);
    return Finish(std::move(answered));
  }
  const uint64_t in_order = waiting.in_order;
  waiting.answered = true;
  if (!waiting.status.ok()) {  // Its publisher need not wait to hear so: nobody gets it.
    auto rest = std::make_unique<Waiting>();
    rest->answered = true;
    rest->done = true;
    rest->next = waiting.next;
    Finish(std::exchange(place->second, std::move(rest)));
  }
  FinishInOrder(in_order);
}

bool PublishFlow::IsAnswered(const storage::Request& asked, storage::PartitionId partition) const {
  if (const auto* const release = std::get_if<storage::ReleaseInbound>(&asked))
    return !releasing_.contains(release->token);
  storage::Token token = 0;
  if (const auto* const publish = std::get_if<storage::Publish>(&asked)) token = publish->token;
  if (const auto* const accept = std::get_if<storage::AcceptInbound>(&asked)) token = accept->token;
  if (token == 0) return false;
  const auto place = waiting_.find(token);
  return place == waiting_.end() || (place->second->awaited & storage::BitOf(partition)) == 0;
}

// Those QoS 2 messages that need not wait for an earlier one any more.
void PublishFlow::FinishInOrder(uint64_t in_order) {
  while (true) {
    const auto order = in_order_.find(in_order);
    if (order == in_order_.end()) return;
    const auto first = waiting_.find(order->second.first);
    if (!first->second->answered) return;
    std::unique_ptr<Waiting> waiting = std::move(first->second);
    waiting_.erase(first);
    if (waiting->next == 0) {
      in_order_.erase(order);
    } else {
      order->second.first = waiting->next;
    }
    if (!waiting->done) Finish(std::move(waiting));
  }
}

void PublishFlow::Finish(std::unique_ptr<Waiting> finished) {
  Waiting waiting = std::move(*finished);
  *finished = {};
  if (spare_.size() < kSpareMax) spare_.push_back(std::move(finished));
  waiting_bytes_ -= waiting.bytes;
  context_.metrics.commit_latency.Record(absl::Nanoseconds(context_.now_ns - waiting.since_ns));
  if (waiting.outbox) {
    FinishRecord(std::move(waiting));
    return ResumeIfCommitsCaughtUp();
  }
  if (!waiting.status.ok()) {
    context_.metrics.dropped[DropCause::kStorageFailed].Add();
    if (const Connection* const publisher = context_.Find(waiting.connection))
      LogRefused(*publisher, "publish refused", "it cannot be stored", "error",
                 base::StdView(waiting.status.message()));
  } else if (waiting.duplicate) {
    context_.metrics.publish_duplicates.Add();
  } else if (waiting.route_after) {
    NobodyIsBehind();
    RouteCommitted(waiting);
    if (Connection* const publisher = context_.Find(waiting.connection)) PauseIfBehind(*publisher);
  }
  ResumeIfCommitsCaughtUp();
  Connection* const connection = context_.Find(waiting.connection);
  if (connection == nullptr || connection->session == nullptr || waiting.qos == QoS::kAtMostOnce)
    return;
  Session& session = *connection->session;
  if (!waiting.status.ok() && session.version != mqtt::Version::k5) {
    // There is no word for it: without an acknowledgement the client sends the message again.
    return context_.CloseLater(*connection, {.cause = absl::IsResourceExhausted(waiting.status)
                                                          ? CloseCause::kOverloaded
                                                          : CloseCause::kStorageFailed});
  }
  acknowledger_.Complete(session, waiting.ticket, ToReason(waiting.status));
}

void PublishFlow::OnCommitted() { ResumeIfCommitsCaughtUp(); }

void PublishFlow::ResumeIfCommitsCaughtUp() {
  if (paused_.empty()) return;
  if (waiting_.size() * 2 > context_.options.commits_pending_max ||
      waiting_bytes_ * 2 > context_.options.commits_pending_bytes_max ||
      context_.streams.kept() * 2 > storage::RequestStreams::kKeptMax) {
    return;
  }
  for (const uint64_t id : std::exchange(paused_, {})) {
    if (Connection* const paused = context_.Find(id)) context_.Resume(*paused, kPauseCommits);
  }
}

void PublishFlow::RouteCommitted(Waiting& waiting) {
  Outgoing outgoing(waiting.route_after);
  RouteTransient(outgoing, context_.router.Find(outgoing.parts().topic));
  RouteAssigned(waiting);
}

void PublishFlow::RouteAssigned(Waiting& waiting) {
  for (SharedAssignment& assignment : waiting.assigned_after) {
    assignment.message = waiting.route_after;
    if (where_is && where_is(assignment.member.connection).kind == Where::Kind::kAtNode) {
      ForwardToMember(assignment.message->parts(), assignment.member);
    } else {
      AssignHere(std::move(assignment));
    }
  }
}

void PublishFlow::AssignHere(SharedAssignment assignment) {
  const storage::ConnectionRef connection = assignment.member.connection;
  const bool gone = where_is && where_is(connection).kind != Where::Kind::kHere;
  if (gone || connection.shard >= context_.shards) return HandOn(std::move(assignment));
  if (connection.shard == context_.id) return OnSharedAssignment(std::move(assignment));
  SendAssignment(connection.shard, std::move(assignment));
}

void PublishFlow::Acknowledge(Session& session, const mqtt::Publish& packet, ReasonCode reason) {
  acknowledger_.Acknowledge(session, AckOf(packet.qos), packet.packet_id, reason);
}

void PublishFlow::OnPubRel(Connection& connection, const mqtt::Ack& packet) {
  Session& session = *connection.session;
  // 3.1.1 has no other answer to an unknown one, and the client must be able to go on.
  const bool known = session.inbound.Knows(packet.packet_id);
  if (!known || !session.durable) {
    return acknowledger_.Acknowledge(
        session, mqtt::PacketType::kPubComp, packet.packet_id,
        known ? ReasonCode::kSuccess : ReasonCode::kPacketIdentifierNotFound);
  }
  storage::ReleaseInbound release{context_.NextToken(),
                                  std::string(session.client_id),
                                  session.epoch,
                                  {packet.packet_id.value}};
  releasing_[release.token] = {
      connection.ref.connection,
      acknowledger_.Expect(session, mqtt::PacketType::kPubComp, packet.packet_id)};
  context_.RequestCame(connection);
  context_.Ask(std::move(release));
}

void PublishFlow::OnInboundReleased(const storage::InboundReleased& event) {
  const auto it = releasing_.find(event.token);
  if (it == releasing_.end()) return;
  const WaitingRelease waiting = it->second;
  releasing_.erase(it);
  Connection* const connection = context_.Find(waiting.connection);
  if (connection == nullptr) return;
  context_.RequestAnswered(*connection);
  if (connection->session == nullptr) return;
  if (!event.status.ok()) {
    // Without PUBCOMP the client asks again on its next connection.
    return context_.CloseLater(
        *connection, {.cause = CloseCause::kStorageFailed, .say = ToReason(event.status)});
  }
  acknowledger_.Complete(*connection->session, waiting.ticket);
}

// ---- Between shards

void PublishFlow::SendAssignment(storage::ShardId shard, SharedAssignment assignment) {
  NoteForwarded(shard, *assignment.message);
  context_.Send(shard, std::move(assignment));
}

void PublishFlow::NoteForwarded(storage::ShardId shard, const mqtt::Message& message) {
  credit_.Sent(shard, message.bytes());
  if (credit_.IsBehind(shard)) behind_ = shard;
}

void PublishFlow::PauseForThoseBehind(Connection& connection) {
  if ((connection.pauses & kPauseForwards) != 0) return;
  if (nodes_behind_ != 0) return pause_for_nodes(connection, nodes_behind_);
  if (!behind_.has_value()) return;
  context_.Pause(connection, kPauseForwards);
  paused_for_shard_[*behind_].push_back(connection.ref.connection);
}

void PublishFlow::OnForwardsTaken(const ForwardsTaken& taken) {
  credit_.Taken(taken.by, taken.amount);
  if (!credit_.HasCaughtUp(taken.by)) return;
  for (const uint64_t id : std::exchange(paused_for_shard_[taken.by], {})) {
    if (Connection* const paused = context_.Find(id)) context_.Resume(*paused, kPauseForwards);
  }
}

void PublishFlow::TellSenders() {
  credit_.TellSenders([this](storage::ShardId to, ForwardCredit::Amount amount) {
    context_.Send(to, ForwardsTaken{context_.id, amount});
  });
}

void PublishFlow::OnForwarded(ForwardedPublish forwarded) {
  credit_.Received(forwarded.from, forwarded.message->bytes());
  RouteHere(std::move(forwarded.message));
}

void PublishFlow::OnForwardedAssignment(SharedAssignment assignment) {
  credit_.Received(assignment.from, assignment.message->bytes());
  OnSharedAssignment(std::move(assignment));
}

void PublishFlow::RouteHere(mqtt::MessagePtr message) {
  Outgoing outgoing(std::move(message));
  deliverer_.ToTargets(outgoing, context_.router.Find(outgoing.parts().topic));
}

void PublishFlow::RouteOnThisNode(mqtt::MessagePtr message) {
  Outgoing outgoing(std::move(message));
  const Match& match = context_.router.Find(outgoing.parts().topic);
  deliverer_.ToTargets(outgoing, match);
  ForwardToShards(outgoing, match.ShardsFor(outgoing.parts().qos));
}

void PublishFlow::RouteToMember(mqtt::MessagePtr message, storage::ChosenMember member) {
  AssignHere({std::move(message), std::move(member), context_.id});
}

void PublishFlow::OnHandedBack(mqtt::MessagePtr message, storage::ChosenMember member) {
  member.without_right.push_back(member.connection);
  HandOn({std::move(message), std::move(member), context_.id});
}

void PublishFlow::OnSharedAssignment(SharedAssignment assignment) {
  storage::ChosenMember& member = assignment.member;
  Connection* const connection = context_.Find(member.connection.connection);
  if (connection == nullptr || connection->session == nullptr ||
      !connection->session->subscriptions.Contains(member.filter)) {
    return HandOn(std::move(assignment));  // It went meanwhile.
  }
  const Session& session = *connection->session;
  if (!session.permissions->MayRead(assignment.message->topic())) {
    member.without_right.push_back(connection->ref);
    return HandOn(std::move(assignment));
  }
  const QoS granted = mqtt::Min(assignment.message->qos(), member.options.qos);
  if (!member.last_choice && !session.durable && granted != QoS::kAtMostOnce &&
      !deliverer_.HasRoom(session, granted)) {
    context_.router.full_clients().Add(session.client_id);
    if (assignment.from != context_.id) {
      context_.Send(assignment.from, MemberRoomChange{std::string(session.client_id), false});
    }
    return HandOn(std::move(assignment));
  }
  Outgoing outgoing(std::move(assignment.message));
  const uint32_t ids[] = {member.subscription_id};
  deliverer_.NextMessage();
  deliverer_.ToSession(
      *connection->session, outgoing,
      {.qos = granted,
       .retain = member.options.retain_as_published && outgoing.parts().retain,
       .subscription_ids = absl::MakeConstSpan(ids, member.subscription_id == 0 ? 0 : 1),
       .shared_filter = member.filter});
}

void PublishFlow::HandOn(SharedAssignment assignment) {
  storage::ChosenMember& member = assignment.member;
  HandOn(std::move(assignment.message), member.filter,
         {.hops = member.hops, .without_right = std::move(member.without_right)});
}

void PublishFlow::HandOn(mqtt::MessagePtr message, std::string_view shared_filter, Tried tried) {
  Outgoing outgoing(std::move(message));
  ShareGroup* const group = context_.router.FindGroup(shared_filter);
  if (group == nullptr) return CountWithoutMember(1);
  const ShareGroup::Choice choice = ChooseMember(*group, outgoing, tried);
  storage::Publish publish;
  if (!AssignTo(choice, *group, outgoing, publish, nullptr, std::move(tried)))
    return CountWithoutMember(1);
  if (publish.shared_targets.empty()) return;
  publish.message = outgoing.Keep();
  Submit(std::move(publish), Waiting{});
}

void PublishFlow::OnMemberRoom(const std::string& client_id, bool has_room) {
  if (has_room) {
    context_.router.full_clients().Remove(client_id);
  } else {
    context_.router.full_clients().Add(client_id);
  }
}

}  // namespace broker
