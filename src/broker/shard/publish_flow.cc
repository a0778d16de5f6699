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
  BeginMessage();
  Route(connection, packet, topic, right);
  PauseIfBehind(connection);
}

void PublishFlow::RouteDecided(Connection& connection, const mqtt::Publish& packet,
                               mqtt::MessagePtr message, PublishRight right) {
  Outgoing outgoing(std::move(message));
  BeginMessage();
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
  const bool queues =
      packet.qos == QoS::kExactlyOnce && in_order_.contains(connection.ref.connection);
  const bool durable = packet.qos != QoS::kAtMostOnce && match.partitions != 0;
  if (durable || queues || packet.retain || !match.groups.empty()) {
    return RouteDurable(connection, packet, outgoing, match);
  }
  RouteTransient(outgoing, match);
  AcknowledgeRouted(session, packet, unmatched);
}

void PublishFlow::AcknowledgeRouted(Session& session, const mqtt::Publish& packet, bool unmatched) {
  if (packet.qos == QoS::kAtMostOnce) return;
  if (owed_.any()) {
    Waiting waiting;
    waiting.connection = session.connection.ref.connection;
    waiting.qos = packet.qos;
    waiting.ticket = acknowledger_.Expect(session, AckOf(packet.qos), packet.packet_id);
    Await(context_.NextToken(), std::move(waiting));
    return PauseIfCommitsPileUp(session.connection);
  }
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
  waiting.commits = true;
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
    Waiting* const until = exactly_once ? &waiting : nullptr;
    if (!AssignTo(ChooseMember(*group, outgoing), *group, outgoing, publish, until))
      CountWithoutMember(1);
  }
  if (!exactly_once) RouteTransient(outgoing, match);
  const bool commits =
      publish.partitions != 0 || publish.set_retained || !publish.shared_targets.empty();
  // Without anything to store the host is asked all the same if that is to be waited for.
  if (!commits && (!exactly_once || !in_order_.contains(connection.ref.connection))) {
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
void PublishFlow::RouteTransient(Outgoing& outgoing, const Match& match,
                                 const storage::OutboxRef& record) {
  const QoS qos = outgoing.parts().qos;
  if (!record || !forward || outbox_.HandOut(record)) {
    deliverer_.ToTargets(outgoing, match);
    if (const ShardMask shards = match.ShardsFor(qos); shards != 0)
      ForwardToShards(outgoing, shards);
  }
  if (match.NodesFor(qos) != 0) ForwardToNodes(outgoing, match, record);
}

void PublishFlow::ForwardToShards(Outgoing& outgoing, ShardMask shards) {
  for (; shards != 0; shards &= shards - 1) {
    const auto shard = static_cast<storage::ShardId>(std::countr_zero(shards));
    NoteForwarded(shard, *outgoing.Keep());
    context_.Send(shard, ForwardedPublish{outgoing.Keep(), context_.id});
  }
}

// One to which there is no link may want more than is known, and is sent it. For that it is not
// waited: it has acknowledged no subscription of which this node has not heard, unless that was
// before this node's life. And without most
// nodes it is not waited for at all, but by a record, which can stay where it is: nobody could say
// that it is gone.
void PublishFlow::ForwardToNodes(Outgoing& outgoing, const Match& match,
                                 const storage::OutboxRef& record) {
  const QoS qos = outgoing.parts().qos;
  Forwarding how{.outbox = record};
  if (qos != QoS::kAtMostOnce) {
    const NodeMask linked = ~context_.forwarder->CutOff();
    NodeMask awaited = (match.nodes | match.nodes_stale) & linked;
    if (record || context_.fenced == Fenced::kNobody)
      awaited |= match.nodes | (match.nodes_stale & unheard_nodes);
    how.receipt = owed_.Owe(awaited);
  }
  nodes_behind_ |= forward(match.NodesFor(qos), outgoing.parts(), how);
}

void PublishFlow::Submit(storage::Publish publish, Waiting waiting) {
  publish.token = context_.NextToken();
  if (publish.set_retained && context_.retained_gate != nullptr)
    context_.retained_gate->Sent(publish.token);
  waiting.bytes = publish.message->bytes() + TargetBytes(publish.shared_targets);
  for (const SharedAssignment& assignment : waiting.assigned_after) {
    waiting.bytes += sizeof(assignment) + assignment.member.filter.size();
  }
  waiting.commits = true;
  Waiting& asked = Await(publish.token, std::move(waiting));
  storage::CutIntoParts(std::move(publish), context_.partitions, [&](storage::Publish part) {
    asked.awaited |= storage::BitOf(part.partition);
    if (part.outbox) {
      const auto order = storage::OutboxLedger::OrderOf(*part.message);
      part.outbox_after = outbox_.AskOf(part.partition, part.outbox, order);
    }
    context_.Ask(std::move(part));
  });
}

PublishFlow::Waiting& PublishFlow::Await(storage::Token token, Waiting waiting) {
  waiting.since_ns = context_.now_ns;
  waiting_bytes_ += waiting.bytes;
  if (owed_.any()) waiting.owed = owed_.Expect(receipts, token, /*patient=*/bool(waiting.outbox));
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
  FinishIfAnswered(place);
}

void PublishFlow::OnNodesHave(const std::vector<storage::Token>& tokens) {
  for (const storage::Token token : tokens) {
    const auto place = waiting_.find(token);
    if (place == waiting_.end()) continue;
    --place->second->owed;
    FinishIfAnswered(place);
  }
}

void PublishFlow::FinishIfAnswered(WaitingByToken::iterator place) {
  Waiting& waiting = *place->second;
  if (waiting.awaited != 0 || waiting.owed != 0) return;
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
  if (const auto* const done = std::get_if<storage::OutboxDone>(&asked)) token = done->token;
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
  if (waiting.commits)
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
    BeginMessage();
    RouteCommitted(waiting);
    if (Connection* const publisher = context_.Find(waiting.connection)) PauseIfBehind(*publisher);
    if (owed_.any()) {
      Waiting rest;
      rest.connection = waiting.connection;
      rest.qos = waiting.qos;
      rest.ticket = waiting.ticket;
      Await(context_.NextToken(), std::move(rest));
      return ResumeIfCommitsCaughtUp();
    }
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

void PublishFlow::RouteHere(mqtt::MessagePtr message) {
  Outgoing outgoing(std::move(message));
  deliverer_.ToTargets(outgoing, context_.router.Find(outgoing.parts().topic));
}

void PublishFlow::RouteOnThisNode(mqtt::MessagePtr message, const storage::OutboxRef& record) {
  if (record && !outbox_.HandOut(record)) return;
  Outgoing outgoing(std::move(message));
  const Match& match = context_.router.Find(outgoing.parts().topic);
  deliverer_.ToTargets(outgoing, match);
  ForwardToShards(outgoing, match.ShardsFor(outgoing.parts().qos));
}

}  // namespace broker
