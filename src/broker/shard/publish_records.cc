// Records of outboxes on their way: to partitions, then to transient sessions.
#include <algorithm>
#include <string>
#include <utility>

#include "absl/types/span.h"
#include "broker/shard/publish_flow.h"
#include "storage/core/keys.h"

namespace broker {
namespace {

using mqtt::QoS;

}  // namespace

void PublishFlow::OnRouteMessage(storage::RouteMessage event) {
  BeginMessage();
  const uint64_t in_order = event.in_order ? storage::OutboxLedger::OrderOf(*event.message) : 0;
  // A new leader does not know that it is under way.
  if (!outbox_.Begin(event.outbox, in_order)) return;
  Outgoing outgoing(event.message);
  const bool for_all = event.only_filter.empty() && !event.groups_only;
  const Match& match = event.clears_only ? Nobody() : context_.router.Find(outgoing.parts().topic);
  storage::Publish publish;
  publish.outbox = event.outbox;
  publish.message = event.message;
  Waiting waiting;
  waiting.outbox = event.outbox;
  waiting.groups_only = !for_all || event.clears_only;
  waiting.route_after = event.message;
  waiting.in_order = in_order;
  waiting.members_told = storage::MembersTold(event.targets);
  if (outbox_.MustWait(event.outbox, in_order)) {
    return EndRecord(waiting, storage::OutboxDone::Fate::kBehind);
  }
  if (!event.only_filter.empty()) {
    ShareGroup* const group = context_.router.FindGroup(event.only_filter);
    const auto groups = absl::MakeConstSpan(&group, group == nullptr ? 0 : 1);
    if (!AssignGroups(event, groups, outgoing, publish, waiting)) return;
  } else if (!AssignGroups(event, match.groups, outgoing, publish, waiting)) {
    return;
  }
  if (for_all && event.message->qos() != QoS::kAtMostOnce) {
    publish.partitions = match.partitions & ~event.without;
  }
  if (for_all && event.message->retain()) {
    const auto home = storage::PartitionOfTopic(event.message->topic(), context_.partitions);
    publish.set_retained = (event.without & storage::BitOf(home)) == 0;
  }
  if (publish.partitions != 0 || publish.set_retained || !publish.shared_targets.empty()) {
    return Submit(std::move(publish), std::move(waiting));
  }
  if (in_order_.contains(waiting.in_order)) {  // Others of its publisher go first.
    waiting.answered = true;
    Await(context_.NextToken(), std::move(waiting));
    return;
  }
  FinishRecord(std::move(waiting));
}

// All partitions have it, or one cannot take it now. A member of a group gets it when it is out of
// the outbox: after a crash before that it would be another one's, too.
void PublishFlow::FinishRecord(Waiting waiting) {
  using Fate = storage::OutboxDone::Fate;
  BeginMessage();
  if (waiting.ending) {
    if (waiting.status.ok()) return RouteAssigned(waiting);
    outbox_.GiveBack(waiting.outbox, waiting.in_order);  // If it is still there.
    return;
  }
  if (!waiting.handed_out) {
    if (!waiting.status.ok()) return EndRecord(waiting, Fate::kRefused);
    if (outbox_.IsOvertaking(waiting.outbox, waiting.in_order)) {
      return EndRecord(waiting, Fate::kBehind);
    }
    if (!waiting.groups_only) {
      Outgoing outgoing(waiting.route_after);
      RouteTransient(outgoing, context_.router.Find(outgoing.parts().topic), waiting.outbox);
    }
    outbox_.PassedOn(waiting.outbox, waiting.in_order);
    waiting.handed_out = true;
    waiting.commits = false;
    waiting.bytes = 0;
    waiting.in_order = 0;
    waiting.next = 0;
    if (owed_.any()) {  // Until then it stays in the outbox: this node may die.
      Await(context_.NextToken(), std::move(waiting));
      return;
    }
  }
  if (waiting.assigned_after.empty()) return EndRecord(waiting, Fate::kPassedOn);
  const storage::Token token = context_.NextToken();
  EndRecord(waiting, Fate::kPassedOn, token);
  waiting.ending = true;
  waiting.awaited = storage::BitOf(waiting.outbox.partition);
  Await(token, std::move(waiting));
}

bool PublishFlow::AssignGroups(const storage::RouteMessage& event,
                               absl::Span<ShareGroup* const> groups, Outgoing& outgoing,
                               storage::Publish& publish, Waiting& waiting) {
  using Fate = storage::OutboxDone::Fate;
  const bool left = !event.only_filter.empty();
  for (const storage::SharedTarget& target : event.targets) {
    if (!target.transient) publish.shared_targets.push_back(target);
  }
  const size_t chosen_before = publish.shared_targets.size();
  size_t without = 0;
  for (ShareGroup* const group : groups) {
    const auto chosen = std::find_if(
        event.targets.begin(), event.targets.end(),
        [&](const storage::SharedTarget& target) { return target.filter == group->filter(); });
    ShareGroup::Choice choice;
    if (chosen != event.targets.end()) {
      if (!chosen->transient) continue;
      choice = {group->Find(chosen->client_id), chosen->last_choice, false};
    }
    if (choice.member == nullptr || !choice.member->connected ||
        !CanReach(*choice.member, ShareGroup::Asked::kForRoom, 0)) {
      choice = ChooseMember(*group, outgoing);
    }
    if (left && choice.regardless && choice.full) {
      EndRecord(waiting, Fate::kMembersFull);
      return false;
    }
    if (!AssignTo(choice, *group, outgoing, publish, &waiting)) ++without;
  }
  const bool nobody = publish.shared_targets.empty() && waiting.assigned_after.empty();
  if (left && nobody) {
    EndRecord(waiting, Fate::kNoMember);
    return false;
  }
  if (publish.shared_targets.size() > chosen_before) {  // It is told of again when that is known.
    outbox_.GiveBack(event.outbox, waiting.in_order);
    context_.Ask(storage::OutboxAssign{.partition = event.outbox.partition,
                                       .number = event.outbox.number,
                                       .targets = std::move(publish.shared_targets)});
    return false;
  }
  CountWithoutMember(without);
  return true;
}

void PublishFlow::EndRecord(const Waiting& waiting, storage::OutboxDone::Fate fate,
                            storage::Token token) {
  const storage::OutboxRef& record = waiting.outbox;
  if (fate != storage::OutboxDone::Fate::kPassedOn) outbox_.GiveBack(record, waiting.in_order);
  context_.Ask(storage::OutboxDone{.token = token,
                                   .partition = record.partition,
                                   .number = record.number,
                                   .fate = fate,
                                   .members_told = waiting.members_told});
}

}  // namespace broker
