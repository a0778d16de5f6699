// The steps of groups that could not be written: answers with the error, and what is tried again.
#include <utility>

#include "base/check.h"
#include "storage/core/session.h"
#include "storage/host_core.h"

namespace storage {

void HostCore::Fail(AnswerPublish& step, const absl::Status& status) {
  bool duplicate = step.duplicate;
  if (duplicate) {
    // A repeat of what is stored is a repeat. What failed with it just now is not stored.
    const Session* const session =
        partitions_[PartitionOf(step.origin->client_id)]->Find(step.origin->client_id);
    duplicate = session != nullptr && session->queue.HasInbound(step.origin->packet_id);
  } else if (step.origin.has_value()) {
    inbound_pending_.erase({step.origin->client_id, step.origin->packet_id});
  }
  if (step.orphan) ReturnOrphan(step.orphan);
  // One that was decided already keeps its answer.
  const bool decided = duplicate || !step.status.ok();
  if (step.token == 0) return;
  Send(step.shard, Published{step.token, decided ? step.status : status, duplicate});
}

void HostCore::Fail(FinishOpen& step, const absl::Status& status) {
  Claim* const claim = FindClaim(step.client_id);
  CHECK(claim != nullptr) << "a claim stays until its open is committed";
  const Claim::Opening& opening = *claim->opening;
  if (!opening.abandoned && !opening.closed_early.has_value()) {
    SessionOpened refused;
    refused.token = opening.token;
    refused.status = status;
    Send(claim->connection.shard, std::move(refused));
  }
  // A deadline of the stored session may have passed while the claim stood.
  const Session* const session = partitions_[claim->partition]->Find(step.client_id);
  if (session != nullptr && !session->connected) ArmDeadlines(*session);
  Forget(step.client_id);
}

// The command grows again, and so does what follows it.
void HostCore::Fail(FinishClose& step, const absl::Status& /*status*/) {
  growing_->Follow(std::move(step));
}

void HostCore::Fail(FinishTimer& step, const absl::Status& /*status*/) { Finish(step); }

void HostCore::Fail(AnnounceWill& /*step*/, const absl::Status& /*status*/) {
  // FinishTimer, or the next OpenSession, proposes it again.
}

void HostCore::Fail(AnswerSubscribe& step, const absl::Status& status) {
  Send(step.shard, SubscribeDone{step.token, step.status.ok() ? status : step.status});
}

void HostCore::Fail(AnswerUnsubscribe& step, const absl::Status& status) {
  Send(step.shard, UnsubscribeDone{step.token, step.status.ok() ? status : step.status, {}});
}

void HostCore::Fail(AnswerRelease& step, const absl::Status& status) {
  Send(step.shard, InboundReleased{step.token, step.status.ok() ? status : step.status});
}

void HostCore::Fail(FinishReplay& step, const absl::Status& /*status*/) { Finish(step); }

void HostCore::Fail(FinishWill& step, const absl::Status& /*status*/) {
  postponed_wills_.push_back(std::move(step.message));
}

void HostCore::Fail(FinishStart& step, const absl::Status& /*status*/) {
  growing_->Follow(step);  // Its commands are facts and grow again.
}

void HostCore::Fail(StartReplays& step, const absl::Status& /*status*/) { Finish(step); }

// Reading may work although writing does not.
void HostCore::Fail(RunScan& step, const absl::Status& /*status*/) { Finish(step); }

void HostCore::RetryPostponed() {
  for (mqtt::MessagePtr& message : std::exchange(postponed_wills_, {})) {
    EnqueueWill(message);
    growing_->Then(FinishWill{std::move(message)});
  }
}

}  // namespace storage
