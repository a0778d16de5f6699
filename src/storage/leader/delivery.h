// Queues to connections: what fits the window leaves at once, the rest is read when there is room,
// and what the client acknowledges is forgotten.
#ifndef STORAGE_LEADER_DELIVERY_H_
#define STORAGE_LEADER_DELIVERY_H_

#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "mqtt/message.h"
#include "storage/core/effects.h"
#include "storage/core/partition.h"
#include "storage/core/partition_api.h"
#include "storage/leader/claim.h"
#include "storage/leader/part.h"
#include "storage/leader/queue_room.h"
#include "storage/leader/retained_scans.h"

namespace storage {

// delivery.cc: queued messages. replays.cc: retained ones, for a new subscription.
class Deliveries : public LeaderPart {
 public:
  explicit Deliveries(Leader& leader) : LeaderPart(leader) {}

  void Handle(const Asker& from, Acknowledge& request);
  void Repeat(const Asker& from, Acknowledge& request);
  void Handle(const Asker& from, ReplayTaken& request);
  void On(Enqueued& effect);
  void On(Acknowledged& effect);
  void On(Released& effect);
  void On(QueueCrowded& effect);
  void On(QueueOverflowed& effect);
  void On(ReplayPending& effect);
  void Finish(FinishReplay& step);

  // There may be something to send.
  void ListForPump(Claim& claim);
  void Pump();
  bool wants_pump() const { return !pump_list_.empty(); }
  // Every shard had the routes of a subscription, and what is retained and did not come live is
  // applied.
  void StartReplays(const std::string& client_id, uint64_t epoch);
  // What another node was asked for.
  void TakePage(const std::string& client_id, uint64_t epoch, uint64_t replay,
                absl::StatusOr<RetainedScans::Page> page);

 private:
  Deliver& DeliverFor(Claim& claim);
  void Push(Claim& claim, Delivery delivery);
  bool PumpOne(Claim& claim);
  bool PumpPage(Claim& claim);
  bool SendPage(Claim& claim, QueuePage& page, uint64_t head);
  void NoteLive(Claim& claim, const Delivery& delivery);
  void ReplayPage(Claim& claim);
  void CannotRead(Claim& claim, const absl::Status& why);
  absl::StatusOr<RetainedScans::Page> ReadPage(Claim& claim, const RetainedReplay& replay,
                                               const RetainedScanOptions& options);
  void DropWhatCameLive(const Claim& claim, std::vector<mqtt::MessagePtr>& messages) const;
  bool FitPage(Claim& claim, RetainedScanOptions& options);
  std::vector<QueueReservation> RoomsOfPage(const Session& session,
                                            const SubscriptionRecord& subscription,
                                            const std::vector<mqtt::MessagePtr>& messages) const;
  bool WaitForRoom(Claim& claim);
  mqtt::MessagePtr ToReplay(const mqtt::MessagePtr& message) const;
  void SendReplayed(Claim& claim, const SubscriptionRecord& subscription, mqtt::MessagePtr message);

  std::deque<std::string> pump_list_;  // Client Identifiers.
};

}  // namespace storage

#endif  // STORAGE_LEADER_DELIVERY_H_
