// A PUBLISH that is to be stored: checked, proposed wherever it goes, answered; and the end of its
// identifier, if it has QoS 2.
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/keys.h"
#include "storage/core/message_codec.h"
#include "storage/core/retained.h"
#include "storage/core/session.h"
#include "storage/leader/host_core.h"

namespace storage {

// ---- Publishing ---------------------------------------------------------------------------------

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
void HostCore::AnswerRefused(Step step) {
  if (healthy()) return After(std::move(step));
  std::visit([this](auto& now) { Finish(now); }, step);
}

bool HostCore::IsRepeat(const Qos2Origin& origin) const {
  if (inbound_pending_.contains({origin.client_id, origin.packet_id})) return true;
  const Session* const session = partitions_[PartitionOf(origin.client_id)]->Find(origin.client_id);
  return session != nullptr && session->queue.HasInbound(origin.packet_id);
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

// ---- Room for retained messages -----------------------------------------------------------------

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

// ---- PUBREL -------------------------------------------------------------------------------------

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

}  // namespace storage
