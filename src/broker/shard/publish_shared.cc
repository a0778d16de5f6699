// One member of each `$share` group gets a message: who, and how it comes there.
#include <algorithm>
#include <string>
#include <utility>

#include "absl/types/span.h"
#include "broker/shard/packet_output.h"
#include "broker/shard/publish_flow.h"
#include "mqtt/encode.h"
#include "mqtt/encode_publish.h"

namespace broker {
namespace {

using mqtt::QoS;

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

}  // namespace

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
  Forwarding how;
  if (message.qos != QoS::kAtMostOnce) {
    const bool awaited = !where.cut_off || context_.fenced == Fenced::kNobody;
    how.receipt = owed_.Owe(awaited ? NodeMask{1} << where.node : NodeMask{0});
  }
  nodes_behind_ |= forward_to_member(where.node, message, member, how);
  return true;
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

void PublishFlow::SendAssignment(storage::ShardId shard, SharedAssignment assignment) {
  NoteForwarded(shard, *assignment.message);
  context_.Send(shard, std::move(assignment));
}

void PublishFlow::OnForwardedAssignment(SharedAssignment assignment) {
  credit_.Received(assignment.from, assignment.message->bytes());
  OnSharedAssignment(std::move(assignment));
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

void PublishFlow::RouteToMember(mqtt::MessagePtr message, storage::ChosenMember member) {
  AssignHere({std::move(message), std::move(member), context_.id});
}

void PublishFlow::OnHandedBack(mqtt::MessagePtr message, storage::ChosenMember member) {
  member.without_right.push_back(member.connection);
  HandOn({std::move(message), std::move(member), context_.id});
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
  // Of the message that is being routed, if there is one.
  std::vector<OwedReceipts::Owed> paused = owed_.Pause();
  const bool is_for_one = AssignTo(choice, *group, outgoing, publish, nullptr, std::move(tried));
  owed_.Begin();  // For the one that is handed on nobody waits.
  if (!publish.shared_targets.empty()) {
    publish.message = outgoing.Keep();
    Submit(std::move(publish), Waiting{});
  }
  owed_.Resume(std::move(paused));
  if (!is_for_one) CountWithoutMember(1);
}

void PublishFlow::OnMemberRoom(const std::string& client_id, bool has_room) {
  if (has_room) {
    context_.router.full_clients().Remove(client_id);
  } else {
    context_.router.full_clients().Add(client_id);
  }
}

}  // namespace broker
