#include "storage/leader/inbound.h"

#include <utility>

#include "mqttd/storage/v1/command.pb.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/message_codec.h"
#include "storage/core/outbox.h"
#include "storage/core/session.h"
#include "storage/leader/leader.h"
#include "storage/leader/publishing.h"

namespace storage {

// ---- QoS 2 messages -----------------------------------------------------------------------------

// Also while storage fails: what is in doubt is not refused under the same identifier.
void Inbound::Handle(const Asker& from, AcceptInbound& request) {
  AnswerAccept answer;
  answer.shard = from.shard;
  answer.token = request.token;
  answer.client_id = request.client_id;
  answer.packet_id = request.packet_id;
  if (leader_.sessions().OwnerOf(request.client_id, request.epoch) == nullptr) {
    return Refuse(answer, NotOwner());
  }
  if (AnswerRepeat(answer)) return;
  absl::Status status = Refusal(/*stores=*/true);
  answer.bytes = StoredMessageSize(request.message->parts());
  if (status.ok() && !leader_.outbox().HasRoomFor(answer.bytes)) {
    node_.metrics.refused_outbox_full.Add();
    status = absl::ResourceExhaustedError("too much waits to be passed on");
  }
  if (status.ok()) {
    status = node_.publishing->CheckAccepted(from.shard, request, answer.held);
  }
  if (!status.ok()) return Refuse(answer, status);
  Propose(from, request, std::move(answer));
}

bool Inbound::AnswerRepeat(AnswerAccept& answer) {
  const auto it = pending_.find({answer.client_id, answer.packet_id});
  const Session* const session = partition().Find(answer.client_id);
  const bool known = session != nullptr && session->queue.HasInbound(answer.packet_id);
  if (it == pending_.end() && !known) return false;
  node_.metrics.duplicates.Add();
  answer.duplicate = true;
  if (it != pending_.end()) {
    it->second->Then(std::move(answer));
  } else {
    Finish(answer);
  }
  return true;
}

void Inbound::Propose(const Asker& from, const AcceptInbound& request, AnswerAccept answer) {
  pb::OutboxRecord record;
  record.set_kind(pb::OutboxRecord::INBOUND);
  record.set_message(EncodeStoredMessage(*request.message));
  for (const SharedTarget& target : request.targets) StoreTarget(target, *record.add_targets());
  record.set_clears_only(request.clears_only);
  pb::Command& command = proposals_.Propose(request.message, &answer.command, &from);
  command.set_level(kLevelOfOutbox);
  pb::AcceptInbound& accept = *command.mutable_accept_inbound();
  accept.set_client_id(request.client_id);
  accept.set_epoch(request.epoch);
  accept.set_packet_id(request.packet_id);
  accept.set_record(record.SerializeAsString());
  pending_[{answer.client_id, answer.packet_id}] = proposals_.growing();
  leader_.outbox().Expect(answer.bytes);
  answer.proposed = true;
  NeedSync();
  Then(std::move(answer));
}

void Inbound::Repeat(const Asker& from, AcceptInbound& request) {
  node_.Send(from.shard, Published{.token = request.token, .status = {}, .partition = id_});
}

void Inbound::Settled(const AnswerAccept& step) {
  if (!step.proposed) return;
  pending_.erase({step.client_id, step.packet_id});
  leader_.outbox().Expected(step.bytes);
}

void Inbound::Finish(AnswerAccept& step) {
  Settled(step);
  Published published{.token = step.token, .status = {}, .partition = id_};
  published.duplicate = step.duplicate;
  if (!step.duplicate) {
    const Outcome& outcome = OutcomeAt(step.command);
    published.duplicate = outcome.duplicate;
    leader_.outbox().Hold(outcome.outbox, std::move(step.held));
  }
  node_.Send(step.shard, std::move(published));
}

void Inbound::Refuse(AnswerAccept& step, const absl::Status& why) {
  Settled(step);
  node_.Release(step.held);
  node_.Send(step.shard, Published{.token = step.token, .status = why, .partition = id_});
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
