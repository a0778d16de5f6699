#include "storage/leader/inbound.h"

#include <utility>

#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/session.h"
#include "storage/leader/leader.h"

namespace storage {

// ---- PUBLISH ------------------------------------------------------------------------------------

bool Inbound::AnswerRepeat(const Asker& from, Token token, const Qos2Origin& origin) {
  AnswerPublish answer;
  answer.shard = from.shard;
  answer.token = token;
  answer.duplicate = true;
  if (const auto it = pending_.find({origin.client_id, origin.packet_id}); it != pending_.end()) {
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

void Inbound::Remember(const Asker& from, const Qos2Origin& origin) {
  pb::RememberInbound& remember = *ProposeFor(from).mutable_remember_inbound();
  remember.set_client_id(origin.client_id);
  remember.set_epoch(origin.epoch);
  remember.set_packet_id(origin.packet_id);
  pending_[{origin.client_id, origin.packet_id}] = proposals_.growing();
}

bool Inbound::IsArriving(const Asker& from, Token token) {
  if (!arriving_.contains({from.outbox.partition, from.outbox.number})) return false;
  AnswerPublish answer;
  answer.shard = from.shard;
  answer.token = token;
  leader_.After(std::move(answer));
  return true;
}

void Inbound::Finish(AnswerPublish& step) {
  if (step.outbox) Arrived(step.outbox);
  if (step.origin.has_value()) {
    pending_.erase({step.origin->client_id, step.origin->packet_id});
  }
  if (step.token == 0) return;
  Published published;
  published.token = step.token;
  published.partition = id_;
  published.duplicate = step.duplicate;
  if (step.retained.has_value() && OutcomeAt(*step.retained).code == OutcomeCode::kLimit) {
    published.status =
        absl::ResourceExhaustedError("retained_messages_max or retained_bytes_max is reached");
  }
  node_.Send(step.shard, std::move(published));
}

void Inbound::Refuse(AnswerPublish& step, const absl::Status& why) {
  if (step.outbox) Arrived(step.outbox);
  if (step.origin.has_value()) {
    pending_.erase({step.origin->client_id, step.origin->packet_id});
  }
  if (step.token == 0) return;
  Published refused;
  refused.token = step.token;
  refused.partition = id_;
  refused.status = why;
  node_.Send(step.shard, std::move(refused));
}

// ---- PUBREL -------------------------------------------------------------------------------------

void Inbound::Handle(const Asker& from, ReleaseInbound& request) {
  AnswerRelease answer;
  answer.shard = from.shard;
  answer.token = request.token;
  absl::Status status = Refusal(/*stores=*/false);
  if (status.ok() && leader_.sessions().OwnerOf(request.client_id, request.epoch) == nullptr)
    status = NotOwner();
  if (!status.ok()) return Refuse(answer, status);
  pb::ReleaseInbound& release = *ProposeFor(from, &answer.command).mutable_release_inbound();
  release.set_client_id(request.client_id);
  release.set_epoch(request.epoch);
  for (const uint16_t id : request.packet_ids) release.add_packet_ids(id);
  NeedSync();
  Then(std::move(answer));
}

void Inbound::Repeat(const Asker& from, ReleaseInbound& request) {
  node_.Send(from.shard, InboundReleased{request.token, absl::OkStatus()});
}

void Inbound::Finish(AnswerRelease& step) {
  // Identifiers that were not known are released all the same: PUBCOMP is due (§4.3.3).
  node_.Send(step.shard, InboundReleased{step.token, absl::OkStatus()});
}

void Inbound::Refuse(AnswerRelease& step, const absl::Status& why) {
  node_.Send(step.shard, InboundReleased{step.token, why});
}

}  // namespace storage
