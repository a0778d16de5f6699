// What publishers and sessions ask for.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "mqtt/topic.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/keys.h"
#include "storage/core/message_codec.h"
#include "storage/core/session.h"
#include "storage/leader/host_core.h"

namespace storage {
namespace {

constexpr size_t kScanPageMax = 256;
constexpr size_t kScanSeeksMax = 2048;  // A few milliseconds.

pb::Subscription ToRecord(const SubscriptionRecord& subscription) {
  pb::Subscription record;
  record.set_filter(subscription.filter);
  record.set_options(subscription.options.ToByte());
  record.set_subscription_id(subscription.subscription_id);
  return record;
}

absl::Status NotOwner() {
  return absl::FailedPreconditionError("the session is not this connection's any more");
}

}  // namespace

// ---- Publishing --------------------------------------------------------------------------------

void HostCore::Handle(ShardId from, Publish& request) {
  AnswerPublish answer;
  answer.shard = from;
  answer.token = request.token;
  answer.status = Check(request, answer);
  if (!answer.status.ok()) return AnswerRefused(std::move(answer));
  if (answer.duplicate) {
    metrics_.duplicates.Add();
    return After(std::move(answer));
  }
  switch (SettleTargets(from, request)) {
    case Settled::kGoesOn:
      break;
    case Settled::kStays:
      KeepOrphan(request.orphan);
      answer.status = absl::ResourceExhaustedError("no member has room");
      return After(std::move(answer));
    case Settled::kRefused:
      answer.status = absl::ResourceExhaustedError("no member has room");
      answer.origin.reset();
      return After(std::move(answer));
  }
  answer.retained = ProposeEnqueues(request);
  if (request.orphan) {
    ForgetOrphan(request.orphan);
    answer.orphan = request.orphan;
  }
  if (request.origin.has_value()) {
    const Qos2Origin& origin = *request.origin;
    pb::RememberInbound& remember =
        *Propose(PartitionOf(origin.client_id)).mutable_remember_inbound();
    remember.set_client_id(origin.client_id);
    remember.set_epoch(origin.epoch);
    remember.set_packet_id(origin.packet_id);
    inbound_pending_.insert({origin.client_id, origin.packet_id});
  }
  // A retained message of QoS 0 was promised to nobody: it is on the disk with whatever is synced
  // next. Its answer only tells the shard that it is not on its way any more.
  const bool promised = request.message->qos() != mqtt::QoS::kAtMostOnce || request.orphan;
  if (promised) growing_->NeedSync();
  if (promised || request.token != 0) growing_->Then(std::move(answer));
}

absl::Status HostCore::Check(const Publish& request, AnswerPublish& answer) {
  if (request.orphan && !TakeOffered(request.orphan)) {
    return absl::FailedPreconditionError("somebody has taken it already");
  }
  if (request.origin.has_value()) {
    if (OwnerOf(request.origin->client_id, request.origin->epoch) == nullptr) return NotOwner();
    // Also while storage fails: what is in doubt is not refused under the same identifier.
    answer.duplicate = IsRepeat(*request.origin);
    if (answer.duplicate) return absl::OkStatus();
  }
  // An orphan takes no more room where it goes.
  const absl::Status refusal = Refusal(/*stores=*/!request.orphan);
  if (!refusal.ok()) {
    if (request.orphan) ReturnOrphan(request.orphan);
    return refusal;
  }
  if (request.set_retained) RETURN_IF_ERROR(CheckRetainedRoom(*request.message));
  RETURN_IF_ERROR(ReserveQueueRoom(request));
  answer.origin = request.origin;
  return absl::OkStatus();
}

// A refusal because storage fails does not wait for what is in doubt. Any other one comes in its
// turn.
template <typename Step>
void HostCore::AnswerRefused(Step step) {
  if (healthy()) return After(std::move(step));
  Finish(step);
}

// Returns where the retained message is set, if it is.
std::optional<CommandPlace> HostCore::ProposeEnqueues(const Publish& request) {
  PartitionMask targets = 0;
  for (const SharedTarget& target : request.shared_targets) {
    targets |= PartitionMask{1} << PartitionOf(target.client_id);
  }
  for (uint32_t id = 0; id < options_.partitions; ++id) {
    const bool match = (request.partitions >> id & 1) != 0;
    if (match || (targets >> id & 1) != 0) {
      ProposeEnqueue(request, static_cast<PartitionId>(id), match);
    }
  }
  if (!request.set_retained) return std::nullopt;
  CommandPlace place;
  const PartitionId home = PartitionOfTopic(request.message->topic(), options_.partitions);
  pb::SetRetained& set = *Propose(home, request.message, &place).mutable_set_retained();
  set.set_message(EncodeStoredMessage(*request.message));
  set.set_partitions(request.partitions);
  RetainedSet pending{set.message().size(), request.partitions, request.message};
  retained_pending_.Add(pending);
  growing_->Retains(std::move(pending));
  return place;
}

void HostCore::ProposeEnqueue(const Publish& request, PartitionId partition, bool match) {
  absl::InlinedVector<EnqueueTarget, 1> targets;
  for (const SharedTarget& target : request.shared_targets) {
    if (PartitionOf(target.client_id) != partition) continue;
    targets.push_back({.client_id = target.client_id,
                       .filter = target.filter,
                       .options = target.options,
                       .subscription_id = target.subscription_id,
                       .last_choice = target.last_choice});
  }
  CommandStamp stamp;
  std::string& entry = ProposeTo(partition, request.message, stamp);
  AppendEnqueue(stamp, request.message->parts(), match, targets, entry);
}

// The bounds are the node's, and one message is in one partition: a share of the bound for each
// would refuse what fits. A message over the limit is refused as a whole: with what is on its way
// counted, the partition, which checks its own, has room for all that passes here.
absl::Status HostCore::CheckRetainedRoom(const mqtt::Message& message) {
  if (message.payload().empty()) return absl::OkStatus();
  const uint64_t stored_bytes = StoredMessageSize(message.parts());
  const PartitionId home = PartitionOfTopic(message.topic(), options_.partitions);
  bool count_is_full = false;
  bool bytes_are_full = false;
  do {  // What has expired is dropped before this one is set.
    RetainedPending::Room taken = retained_pending_.taken();
    for (const auto& partition : partitions_) {
      const RetainedRoom now = RetainedNow(partition->id());
      taken.messages += now.messages;
      taken.bytes += now.bytes;
    }
    count_is_full =
        options_.retained_messages_max != 0 && taken.messages >= options_.retained_messages_max;
    bytes_are_full = options_.retained_bytes_max != 0 &&
                     taken.bytes + stored_bytes > options_.retained_bytes_max;
    if (!count_is_full && !bytes_are_full) return absl::OkStatus();
  } while (SweepAnyRetained());
  uint64_t replaced_bytes = 0;
  if (const RetainedSet* const pending = retained_pending_.Find(message.topic())) {
    replaced_bytes = pending->removes() ? 0 : pending->bytes;
  } else {
    ASSIGN_OR_RETURN(const mqtt::MessagePtr existing,
                     ReadRetained(store_.reader(), home, message.topic()));
    if (existing) replaced_bytes = StoredMessageSize(existing->parts());
  }
  const bool fits = !bytes_are_full || replaced_bytes >= stored_bytes;
  if (replaced_bytes != 0 && fits) return absl::OkStatus();
  return absl::ResourceExhaustedError("retained_messages_max or retained_bytes_max is reached");
}

bool HostCore::IsRepeat(const Qos2Origin& origin) const {
  if (inbound_pending_.contains({origin.client_id, origin.packet_id})) return true;
  const Session* const session = partitions_[PartitionOf(origin.client_id)]->Find(origin.client_id);
  return session != nullptr && session->queue.HasInbound(origin.packet_id);
}

void HostCore::Finish(AnswerPublish& step) {
  Published published;
  published.token = step.token;
  published.status = std::move(step.status);
  published.duplicate = step.duplicate;
  if (step.origin.has_value()) {
    inbound_pending_.erase({step.origin->client_id, step.origin->packet_id});
  }
  if (step.orphan) orphans_moving_.erase(step.orphan);
  if (step.retained.has_value() && OutcomeAt(*step.retained).code == OutcomeCode::kLimit) {
    published.status =
        absl::ResourceExhaustedError("retained_messages_max or retained_bytes_max is reached");
  }
  if (step.token != 0) Send(step.shard, std::move(published));
}

// ---- Subscriptions -----------------------------------------------------------------------------

void HostCore::Handle(ShardId from, Subscribe& request) {
  absl::Status status = Refusal(/*stores=*/true);
  if (status.ok() && OwnerOf(request.client_id, request.epoch) == nullptr) status = NotOwner();
  AnswerSubscribe answer;
  answer.shard = from;
  answer.token = request.token;
  answer.client_id = request.client_id;
  answer.status = std::move(status);
  if (!answer.status.ok()) return AnswerRefused(std::move(answer));
  const PartitionId partition = PartitionOf(request.client_id);
  subscribed_ |= PartitionMask{1} << partition;
  pb::Subscribe& subscribe = *Propose(partition, {}, &answer.subscribe).mutable_subscribe();
  subscribe.set_client_id(request.client_id);
  subscribe.set_epoch(request.epoch);
  for (const SubscriptionRecord& subscription : request.subscriptions) {
    *subscribe.add_subscriptions() = ToRecord(subscription);
  }
  growing_->NeedSync();
  growing_->Then(std::move(answer));
}

void HostCore::Finish(AnswerSubscribe& step) {
  SubscribeDone done{step.token, std::move(step.status)};
  if (done.status.ok() && OutcomeAt(step.subscribe).code != OutcomeCode::kOk) {
    done.status = NotOwner();
  }
  if (!done.status.ok()) return Send(step.shard, std::move(done));
  ConfirmedAnswer answer{
      .shard = step.shard, .event = std::move(done), .replays = {}, .call = nullptr};
  if (Claim* const claim = FindClaim(step.client_id); claim != nullptr && claim->feed != nullptr) {
    ++claim->feed->replays_held;
    answer.replays = {step.client_id, claim->epoch};
  }
  routes_.Wait(std::move(answer));
}

void HostCore::Handle(ShardId from, Unsubscribe& request) {
  absl::Status status = Refusal(/*stores=*/false);
  if (status.ok() && OwnerOf(request.client_id, request.epoch) == nullptr) status = NotOwner();
  AnswerUnsubscribe answer;
  answer.shard = from;
  answer.token = request.token;
  answer.status = std::move(status);
  if (!answer.status.ok()) return AnswerRefused(std::move(answer));
  pb::Unsubscribe& unsubscribe =
      *Propose(PartitionOf(request.client_id), {}, &answer.unsubscribe).mutable_unsubscribe();
  unsubscribe.set_client_id(request.client_id);
  unsubscribe.set_epoch(request.epoch);
  for (const std::string& filter : request.filters) unsubscribe.add_filters(filter);
  growing_->NeedSync();
  growing_->Then(std::move(answer));
}

void HostCore::Finish(AnswerUnsubscribe& step) {
  UnsubscribeDone done{step.token, std::move(step.status), {}};
  if (!done.status.ok()) return Send(step.shard, std::move(done));
  const Outcome& outcome = OutcomeAt(step.unsubscribe);
  if (outcome.code == OutcomeCode::kOk) {
    done.existed.assign(outcome.existed.begin(), outcome.existed.end());
  } else {
    done.status = NotOwner();
  }
  // After the answers to a SUBSCRIBE before it: the shard does what it hears.
  routes_.Wait({.shard = step.shard, .event = std::move(done), .replays = {}, .call = nullptr});
}

// ---- Acknowledgements --------------------------------------------------------------------------

void HostCore::Handle(ShardId /*from*/, Acknowledge& request) {
  Claim* const claim = OwnerOf(request.client_id, request.epoch);
  if (claim == nullptr) return;  // It comes from a connection that is gone: sent again later.
  AcknowledgeView acknowledge{.client_id = request.client_id, .epoch = request.epoch};
  for (const Acknowledge::Entry& entry : request.entries) {
    if (!claim->feed->window.Acknowledge(entry.sequence, entry.kind)) continue;
    switch (entry.kind) {
      case AckKind::kPubAck:
        acknowledge.puback.push_back(entry.sequence);
        break;
      case AckKind::kPubRec:
        acknowledge.pubrec.push_back(entry.sequence);
        break;
      case AckKind::kPubComp:
        acknowledge.pubcomp.push_back(entry.sequence);
        break;
    }
  }
  const bool none =
      acknowledge.puback.empty() && acknowledge.pubrec.empty() && acknowledge.pubcomp.empty();
  if (none) return;
  CommandStamp stamp;
  std::string& entry = ProposeTo(claim->partition, {}, stamp);
  AppendAcknowledge(stamp, acknowledge, entry);
  if (!acknowledge.pubrec.empty()) growing_->NeedSync();  // PUBREL waits for it.
  if (claim->feed->behind && claim->feed->window.WaitsForCommit()) growing_->Hurry();
  ListForPump(*claim);
}

void HostCore::Handle(ShardId from, ReleaseInbound& request) {
  absl::Status status = Refusal(/*stores=*/false);
  if (status.ok() && OwnerOf(request.client_id, request.epoch) == nullptr) status = NotOwner();
  AnswerRelease answer;
  answer.shard = from;
  answer.token = request.token;
  answer.status = status;
  if (!status.ok()) return AnswerRefused(std::move(answer));
  CommandPlace place;
  pb::ReleaseInbound& release =
      *Propose(PartitionOf(request.client_id), {}, &place).mutable_release_inbound();
  answer.release = place;
  release.set_client_id(request.client_id);
  release.set_epoch(request.epoch);
  for (const uint16_t id : request.packet_ids) release.add_packet_ids(id);
  growing_->NeedSync();
  growing_->Then(std::move(answer));
}

void HostCore::Finish(AnswerRelease& step) {
  // Identifiers that were not known are released all the same: PUBCOMP is due (§4.3.3).
  Send(step.shard, InboundReleased{step.token, std::move(step.status)});
}

// ---- Retained messages -------------------------------------------------------------------------

void HostCore::Handle(ShardId from, ScanRetained& request) {
  RunScan scan{from, std::move(request)};
  // Reading may work although writing does not; then it waits only for what it must see.
  if (!healthy() && retained_pending_.empty()) return Finish(scan);
  After(std::move(scan));
}

void HostCore::Finish(RunScan& step) { scans_.push_back(std::move(step)); }

// As many as the round has time for, and half of it at most: queues wait for the other half.
void HostCore::RunScans() {
  const size_t stop_at = work_left_ / 2;
  while (!scans_.empty() && state_status_.ok() && work_left_ > stop_at) {
    --work_left_;  // Of a filter for which there is nothing, too.
    RunScan& scan = scans_.front();
    ScanRetained& request = scan.request;
    RetainedScanOptions options;
    options.messages_max = std::clamp<size_t>(request.messages_max, 1, kScanPageMax);
    absl::StatusOr<ScanPage> scanned =
        Scan(scan.passed == 0 ? request.filter : request.others[scan.passed - 1], request.cursor,
             options);
    if (scanned.ok() && scanned->messages.empty() && scanned->cursor.empty() &&
        scan.passed < request.others.size()) {
      ++scan.passed;
      request.cursor.clear();
      continue;
    }
    RetainedPage page;
    page.token = request.token;
    page.passed = scan.passed;
    if (scanned.ok()) {
      page.messages = std::move(scanned->messages);
      page.cursor = std::move(scanned->cursor);
    } else {
      NoteDamage(scanned.status());
      page.status = std::move(scanned).status();
    }
    Send(scan.shard, std::move(page));
    scans_.pop_front();
  }
}

// Over all partitions, from first to last, until the page is full or the work it may cost is done:
// it may be empty and not the last. The cursor is the partition and that one's cursor.
absl::StatusOr<HostCore::ScanPage> HostCore::Scan(std::string_view filter, std::string_view cursor,
                                                  const RetainedScanOptions& options) {
  ScanPage page;
  uint32_t id = 0;
  uint32_t end = options_.partitions;
  if (!mqtt::HasWildcard(filter)) {  // One topic: it can be in one place only.
    id = PartitionOfTopic(filter, options_.partitions);
    end = id + 1;
  }
  std::string inner;
  if (!cursor.empty()) {
    id = static_cast<uint8_t>(cursor[0]);
    inner = cursor.substr(1);
    if (id >= end) return absl::InvalidArgumentError("a cursor of another filter");
  }
  RetainedScanOptions rest = options;
  rest.seeks_max = kScanSeeksMax;
  for (; id < end; ++id, inner.clear()) {
    if (partitions_[id]->retained_messages() == 0) continue;  // Most brokers have few or none.
    ASSIGN_OR_RETURN(RetainedScanPage part,
                     ScanRetainedMessages(store_.reader(), static_cast<PartitionId>(id), filter,
                                          inner, now_.unix_ms, rest));
    for (mqtt::MessagePtr& message : part.messages) page.messages.push_back(std::move(message));
    const size_t seeks = part.seeks + 1;  // An empty partition costs its iterator.
    work_left_ -= std::min(work_left_, seeks);
    rest.seeks_max -= std::min(rest.seeks_max, seeks);
    rest.bytes_max -= std::min(rest.bytes_max, part.bytes);
    const bool full =
        page.messages.size() >= options.messages_max || rest.seeks_max == 0 || rest.bytes_max == 0;
    const bool more = !part.cursor.empty();
    if (more || (full && id + 1 < end)) {
      page.cursor.push_back(static_cast<char>(more ? id : id + 1));
      if (more) page.cursor += part.cursor;
      return page;
    }
    rest.messages_max = options.messages_max - std::min(options.messages_max, page.messages.size());
  }
  return page;
}

// ---- Routes ------------------------------------------------------------------------------------

void HostCore::Handle(ShardId from, ConfirmRoutes& request) {
  routes_.Confirm(from, request.number);
}

}  // namespace storage
