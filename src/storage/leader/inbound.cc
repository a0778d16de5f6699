// A publisher's Packet Identifiers: remembered with a QoS 2 message, until PUBREL; and the answer
// to one partition's part of a PUBLISH, whatever its QoS.
#include <utility>

#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/session.h"
#include "storage/leader/leader.h"

namespace storage {

// ---- PUBLISH ------------------------------------------------------------------------------------

bool Leader::AnswerRepeat(ShardId from, Token token, const Qos2Origin& origin) {
  AnswerPublish answer;
  answer.shard = from;
  answer.token = token;
  answer.duplicate = true;
  if (const auto it = inbound_pending_.find({origin.client_id, origin.packet_id});
      it != inbound_pending_.end()) {
    node_.metrics.duplicates.Add();
    it->second->Then(std::move(answer));
    return true;
  }
  const Session* const session = partition().Find(origin.client_id);
  if (session == nullptr || !session->queue.HasInbound(origin.packet_id)) return false;
  node_.metrics.duplicates.Add();
  Finish(answer);
  return true;
}

void Leader::Remember(const Qos2Origin& origin) {
  pb::RememberInbound& remember = *Propose().mutable_remember_inbound();
  remember.set_client_id(origin.client_id);
  remember.set_epoch(origin.epoch);
  remember.set_packet_id(origin.packet_id);
  inbound_pending_[{origin.client_id, origin.packet_id}] = growing_;
}

void Leader::Finish(AnswerPublish& step) {
  if (step.origin.has_value()) {
    inbound_pending_.erase({step.origin->client_id, step.origin->packet_id});
  }
  if (step.orphan) orphans_moving_.erase(step.orphan.number);
  if (step.token == 0) return;
  Published published;
  published.token = step.token;
  published.duplicate = step.duplicate;
  if (step.retained.has_value() && OutcomeAt(*step.retained).code == OutcomeCode::kLimit) {
    published.status =
        absl::ResourceExhaustedError("retained_messages_max or retained_bytes_max is reached");
  }
  node_.Send(step.shard, std::move(published));
}

void Leader::Refuse(AnswerPublish& step, const absl::Status& why) {
  if (step.origin.has_value()) {
    inbound_pending_.erase({step.origin->client_id, step.origin->packet_id});
  }
  if (step.orphan) ReturnOrphan(step.orphan.number);
  if (step.token == 0) return;
  Published refused;
  refused.token = step.token;
  refused.status = why;
  node_.Send(step.shard, std::move(refused));
}

// ---- PUBREL -------------------------------------------------------------------------------------

void Leader::Handle(ShardId from, ReleaseInbound& request) {
  AnswerRelease answer;
  answer.shard = from;
  answer.token = request.token;
  absl::Status status = Refusal(/*stores=*/false);
  if (status.ok() && OwnerOf(request.client_id, request.epoch) == nullptr) status = NotOwner();
  if (!status.ok()) return Refuse(answer, status);
  pb::ReleaseInbound& release = *Propose({}, &answer.command).mutable_release_inbound();
  release.set_client_id(request.client_id);
  release.set_epoch(request.epoch);
  for (const uint16_t id : request.packet_ids) release.add_packet_ids(id);
  NeedSync();
  Then(std::move(answer));
}

void Leader::Finish(AnswerRelease& step) {
  // Identifiers that were not known are released all the same: PUBCOMP is due (§4.3.3).
  node_.Send(step.shard, InboundReleased{step.token, absl::OkStatus()});
}

void Leader::Refuse(AnswerRelease& step, const absl::Status& why) {
  node_.Send(step.shard, InboundReleased{step.token, why});
}

// ---- Room in queues -----------------------------------------------------------------------------

bool Leader::HasRoom(const Session& session, uint64_t size) const {
  const QueueRoom::Taken taken = queue_room_.Of(session.slot);
  return partition().HasRoom(session, taken.messages, taken.bytes, size);
}

bool Leader::IsCalm(uint64_t size) const {
  if (partition().crowded() != 0) return false;  // All are below four fifths.
  const pb::Limits& limits = partition().limits();
  const QueueRoom::Taken& taken = queue_room_.OfAll();
  const bool few =
      limits.queue_messages_max() == 0 || taken.messages + 1 <= limits.queue_messages_max() / 5;
  const bool small =
      limits.queue_bytes_max() == 0 || taken.bytes + size <= limits.queue_bytes_max() / 5;
  return few && small;
}

void Leader::TellWithoutRoom(ShardId shard, const Session& session) {
  without_room_.insert(session.client_id);
  node_.Send(shard, ShareMemberRoom{.client_id = session.client_id, .has_room = false});
}

}  // namespace storage
