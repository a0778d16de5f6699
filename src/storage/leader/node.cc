#include "storage/leader/node.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "storage/core/after_damage.h"
#include "storage/core/keys.h"
#include "storage/core/session.h"
#include "storage/leader/fed_routes.h"
#include "storage/leader/leader.h"
#include "storage/leader/log_ledger.h"

namespace storage {
namespace {

constexpr size_t kBackgroundCommandsMax = 1024;
constexpr size_t kOutboxToldMax = 1024;
constexpr uint64_t kOutboxToldBytesMax = 4 << 20;
constexpr uint64_t kWillBytesMax = 4 << 20;

}  // namespace

Node::Node(const StorageOptions& the_options, ShardId the_shards, const StateReader& the_reader,
           HostMetrics& the_metrics, base::Rng& rng)
    : options(the_options),
      shards(the_shards),
      reader(the_reader),
      metrics(the_metrics),
      owner_key(rng()),
      outbox(the_shards),
      sweep_queues_at(-absl::InfiniteDuration()),
      fights(the_options.takeover_pause_max) {}

PartitionId Node::PartitionOf(std::string_view client_id) const {
  return PartitionOfClient(client_id, options.partitions);
}

uint64_t Node::RoutesToldThrough(PartitionId id) const {
  if (!Holds(id)) return fed->through(id);
  // Of one that stopped at the start the log was read further.
  return std::min(log->done(id), leaders[id]->partition().applied_index());
}

absl::Status Node::Standing() const {
  if (!log_status.ok()) return log_status;
  if (!state_status.ok()) return state_status;
  if (stalled) return absl::UnavailableError("the state takes nothing more");
  for (const auto& leader : leaders) {
    if (!leader->replica().status().ok()) return leader->replica().status();
  }
  return absl::OkStatus();
}

Leader& Node::HomeOf(std::string_view topic) const {
  return *leaders[PartitionOfTopic(topic, options.partitions)];
}

void Node::Release(const HeldRooms& rooms) const {
  for (const HeldRoom& room : rooms) {
    Leader& leader = *leaders[room.partition];
    if (leader.life() == room.life) leader.room().TakeBack(room.reservation);
  }
}

void Node::After(PartitionMask which, std::function<void()> then) {
  auto barrier = std::make_shared<Barrier>();
  for (const auto& leader : leaders) {
    if ((which >> leader->id() & 1) == 0 || leader->proposals().idle()) continue;
    ++barrier->left;
    leader->After(PassBarrier{barrier});
  }
  if (barrier->left == 0) return then();
  barrier->then = std::move(then);
}

void Node::ForgetGrowing(PartitionId id) {
  if (std::erase(growing.used, id) == 0) return;
  growing.commands = growing.bytes = 0;
  for (const PartitionId other : growing.used) {
    growing.commands += leaders[other]->proposals().growing_commands();
    growing.bytes += leaders[other]->proposals().growing_bytes();
  }
  if (!growing.used.empty()) return;
  will_bytes -= growing.will_bytes;
  growing = {.used = std::move(growing.used)};
}

bool Node::RoomForBackground() const { return growing.commands < kBackgroundCommandsMax; }

bool Node::RoomForWills() const { return will_bytes < kWillBytesMax; }

void Node::ProposedWill(const mqtt::Message& message) {
  growing.will_bytes += message.bytes();
  will_bytes += message.bytes();
}

bool Node::Told::HasRoom() const {
  return messages < kOutboxToldMax && bytes < kOutboxToldBytesMax;
}

std::vector<Event>& Node::EventsFor(const ShardAddress& shard) {
  const ShardSlot slot = shards.SlotOf(shard);
  return slot == kNoShardSlot ? lost_ : outbox[slot];
}

std::vector<Event> Node::TakeEvents(ShardSlot slot) {
  ++outbox_round;
  lost_.clear();
  metrics.events.Add(outbox[slot].size());
  return std::exchange(outbox[slot], {});
}

void Node::SendToAll(const Event& event) {
  for (ShardSlot slot = 0; slot < shards.slots(); ++slot) {
    if (!shards.IsFree(slot)) SendTo(slot, event);
  }
}

void Node::SendToOwn(const Event& event) {
  for (ShardSlot slot = 0; slot < shards.own(); ++slot) SendTo(slot, event);
}

// ---- Storage that fails -------------------------------------------------------------------------

absl::Status Node::Refusal(bool stores) const {
  // A disk that is full has a code of its own; the rest is one to the client.
  for (const absl::Status* const status : {&log_status, &state_status}) {
    if (status->ok()) continue;
    if (absl::IsResourceExhausted(*status)) return *status;
    return absl::UnavailableError(status->message());
  }
  if (stores && disk_low) {
    return absl::ResourceExhaustedError("less than min_free_disk_bytes is free on the disk");
  }
  return absl::OkStatus();
}

void Node::NoteDamage(const absl::Status& status) {
  if (!absl::IsDataLoss(status)) return;
  metrics.damage.Add();
  metrics.damaged.Set(options.log_recovery == LogRecovery::kStrict ? 1 : 0);
  if (std::exchange(damage_told_, true)) return;
  base::Log(base::LogLevel::kError, "stored data is damaged: some of it cannot be read",
            {{"error", status}, {"next", kRestoreDataDir}});
}

// ---- Room for sessions --------------------------------------------------------------------------

uint64_t Node::StoredSessions() const {
  uint64_t sessions = 0;
  for (const auto& leader : leaders) sessions += leader->partition().session_count();
  return sessions;
}

bool Node::EndOldestAway(SessionCensus::Holds holds) {
  const auto oldest =
      census.TakeOldest(holds, [this](const SessionCensus::Away& away) { return StillAway(away); });
  if (!oldest.has_value()) return false;
  leaders[oldest->partition]->sessions().EndAway(oldest->slot, Sessions::Why::kGivesWay);
  return true;
}

bool Node::StillAway(const SessionCensus::Away& away) const {
  return leaders[away.partition]->sessions().IsAway(away.slot, away.epoch);
}

void Node::RecountSessions() {
  census = {};
  std::vector<std::pair<Leader*, const Session*>> away;
  for (const auto& leader : leaders) {
    leader->partition().ForEachSession([&](const Session& session) {
      census.Came(session.user_name);
      if (!session.connected) away.emplace_back(leader.get(), &session);
    });
    leader->sessions().CountOpening();
  }
  std::sort(away.begin(), away.end(), [](const auto& a, const auto& b) {
    return a.second->disconnected_at_unix_ms < b.second->disconnected_at_unix_ms;
  });
  for (const auto& [leader, session] : away) leader->sessions().NoteAway(*session);
}

}  // namespace storage
