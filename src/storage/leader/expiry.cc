// Makes room of what has expired, when it is due and wherever it lies: retained messages by an
// index of their expiries, queued ones by the first of each queue. (Sessions and wills: timers.cc.)
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/keys.h"
#include "storage/core/retained.h"
#include "storage/core/session.h"
#include "storage/leader/host_core.h"

namespace storage {
namespace {

constexpr size_t kRetainedPageMax = 256;
// Queues are read for what has expired behind the head, so: each not more often than this, and all
// of them together for no more than about a tenth of the time, at a microsecond for a message.
constexpr int64_t kQueueSweepMs = 1'000;
constexpr size_t kQueuePageMax = 1024;
constexpr absl::Duration kSweepRest = absl::Microseconds(10);

}  // namespace

void HostCore::StartExpiry() {
  for (const auto& partition : partitions_) {
    partition->ForEachSession([&](const Session& session) {
      if (session.queue.messages() == 0) return;
      ArmQueue(session.client_id, session.queue.next_expiry_ms());
    });
  }
}

void HostCore::RunExpiry() {
  if (shutting_down_ || now_.monotonic < pump_again_at_) return;
  for (size_t id = 0; id < retained_sweeps_.size(); ++id) {
    while (retained_sweeps_[id].next_unix_ms <= now_.unix_ms && work_left_ > 0 &&
           RoomForBackground()) {
      if (!SweepRetained(static_cast<PartitionId>(id))) break;
    }
  }
  SweepQueues();
}

std::optional<absl::Duration> HostCore::NextExpiry() const {
  int64_t next = kNeverExpires;
  for (const RetainedSweep& sweep : retained_sweeps_) next = std::min(next, sweep.next_unix_ms);
  std::optional<absl::Duration> wake;
  if (next != kNeverExpires) wake = now_.monotonic + absl::Milliseconds(next - now_.unix_ms);
  const auto due = queue_deadlines_.next();
  if (!due.has_value() && queue_sweep_.client_id.empty()) return wake;
  absl::Duration sweep_at = queue_sweep_again_at_;
  if (queue_sweep_.client_id.empty()) {
    sweep_at = std::max(sweep_at, now_.monotonic + absl::Milliseconds(*due - now_.unix_ms));
  }
  return wake.has_value() ? std::min(*wake, sweep_at) : sweep_at;
}

// ---- Retained messages --------------------------------------------------------------------------

// Drops a page of those that have expired. Whether there were any.
bool HostCore::SweepRetained(PartitionId id) {
  RetainedSweep& sweep = retained_sweeps_[id];
  const auto page =
      FindExpiredRetained(store_.reader(), id, sweep.through, now_.unix_ms, kRetainedPageMax);
  if (!page.ok()) {
    base::Log(base::LogLevel::kError, "cannot read which retained messages have expired",
              {{"error", page.status()}});
    pump_again_at_ = now_.monotonic + absl::Seconds(1);
    return false;
  }
  work_left_ -= std::min(work_left_, page->messages.size() + 1);
  sweep.next_unix_ms = page->next_unix_ms == 0 ? kNeverExpires : page->next_unix_ms;
  if (page->messages.empty()) return false;
  FinishRetainedSweep step;
  step.partition = id;
  pb::DropRetained& drop = *Propose(id).mutable_drop_retained();
  for (const ExpiredRetainedPage::Message& message : page->messages) {
    pb::DropRetained::Item& item = *drop.add_items();
    item.set_topic(message.topic);
    item.set_order(message.order);
    item.set_expires_at_unix_ms(message.expires_at_unix_ms);
    ++step.messages;
    step.bytes += message.bytes;
  }
  sweep.through = page->through;
  ++sweep.pages;
  sweep.messages += step.messages;
  sweep.bytes += step.bytes;
  growing_->Then(step);
  return true;
}

// The same of whichever partition has some.
bool HostCore::SweepAnyRetained() {
  for (size_t id = 0; id < retained_sweeps_.size(); ++id) {
    if (retained_sweeps_[id].next_unix_ms > now_.unix_ms) continue;
    if (SweepRetained(static_cast<PartitionId>(id))) return true;
  }
  return false;
}

void HostCore::Finish(FinishRetainedSweep& step) {
  RetainedSweep& sweep = retained_sweeps_[step.partition];
  sweep.messages -= step.messages;
  sweep.bytes -= step.bytes;
  if (--sweep.pages != 0) return;
  // What came into the index before `through` meanwhile, or was not dropped, is found now.
  sweep.through.clear();
  sweep.next_unix_ms = 0;
}

// One that expires is in the store.
void HostCore::NoteRetained(const RetainedSet& set) {
  const int64_t expires = set.message->expires_at_unix_ms();
  if (expires == 0 || set.removes()) return;
  const PartitionId home = PartitionOfTopic(set.message->topic(), options_.partitions);
  int64_t& next = retained_sweeps_[home].next_unix_ms;
  next = std::min(next, expires);
}

// Of a partition, without what has expired and is on its way out.
HostCore::RetainedRoom HostCore::RetainedNow(PartitionId id) const {
  const RetainedSweep& sweep = retained_sweeps_[id];
  const uint64_t messages = partitions_[id]->retained_messages();
  const uint64_t bytes = partitions_[id]->retained_bytes();
  return {messages - std::min(messages, sweep.messages), bytes - std::min(bytes, sweep.bytes)};
}

// ---- Queued messages ----------------------------------------------------------------------------

void HostCore::On(PartitionId /*partition*/, QueueExpires& effect) {
  ArmQueue(effect.client_id, effect.at_unix_ms);
}

// The queue is looked at then, unless it is to be looked at before.
void HostCore::ArmQueue(const std::string& client_id, int64_t at_unix_ms) {
  if (at_unix_ms == kNeverExpires) return;
  const auto [armed, fresh] = queue_armed_.try_emplace(client_id, at_unix_ms);
  if (!fresh && armed->second <= at_unix_ms) return;
  armed->second = at_unix_ms;
  queue_deadlines_.Add(client_id, /*epoch=*/0, at_unix_ms);
  if (!queue_deadlines_.WantsPrune()) return;
  queue_deadlines_.Prune([this](const Deadline& deadline) { return IsArmed(deadline); });
}

bool HostCore::IsArmed(const Deadline& deadline) const {
  const auto armed = queue_armed_.find(deadline.client_id);
  return armed != queue_armed_.end() && armed->second == deadline.at_unix_ms;
}

void HostCore::SweepQueues() {
  if (now_.monotonic < queue_sweep_again_at_) return;
  size_t read = 0;
  while (read < kQueuePageMax && work_left_ > 0 && RoomForBackground()) {
    if (queue_sweep_.client_id.empty()) {
      const auto due = queue_deadlines_.Take(now_.unix_ms);
      if (!due.has_value()) break;
      if (!IsArmed(*due)) continue;
      queue_armed_.erase(due->client_id);
      queue_sweep_ = {.client_id = due->client_id};
    }
    const size_t cost = SweepQueue() + 1;
    work_left_ -= std::min(work_left_, cost);
    read += cost;
  }
  queue_sweep_again_at_ = now_.monotonic + kSweepRest * static_cast<int64_t>(read);
}

// Reads on in the queue of `queue_sweep_`. How many messages.
size_t HostCore::SweepQueue() {
  const std::string client_id = queue_sweep_.client_id;
  Partition& partition = *partitions_[PartitionOf(client_id)];
  const Session* const session = partition.Find(client_id);
  if (session == nullptr) {
    queue_sweep_ = {};
    return 0;
  }
  Claim* const claim = FindClaim(client_id);
  // While it comes or goes it is not known what was sent.
  const bool settled =
      claim == nullptr ? !session->connected : claim->state == Claim::State::kOpen && claim->stored;
  uint64_t from = std::max(queue_sweep_.from, session->queue.head());
  if (settled && claim != nullptr) from = std::max(from, claim->feed->window.next());
  const auto page = settled ? partition.FindExpired(store_.reader(), session->slot, from,
                                                    kQueuePageMax, now_.unix_ms)
                            : absl::StatusOr<ExpiredPage>(ExpiredPage{});
  if (!page.ok()) {
    base::Log(base::LogLevel::kError, "cannot read a session's queue",
              {{"client_id", client_id}, {"error", page.status()}});
  }
  if (!settled || !page.ok()) {
    queue_sweep_ = {};
    ArmQueue(client_id, now_.unix_ms + kQueueSweepMs);
    return 0;
  }
  if (!page->sequences.empty()) DropFromQueue(*session, claim, page->sequences);
  queue_sweep_.from = page->next;
  queue_sweep_.next_unix_ms = std::min(queue_sweep_.next_unix_ms, page->next_unix_ms);
  if (!page->end) return page->read;
  const int64_t next = queue_sweep_.next_unix_ms;
  queue_sweep_ = {};
  partition.SetNextExpiry(session->slot, next);
  if (next != kNeverExpires) ArmQueue(client_id, std::max(next, now_.unix_ms + kQueueSweepMs));
  return page->read;
}

void HostCore::DropFromQueue(const Session& session, Claim* claim,
                             const std::vector<uint64_t>& sequences) {
  FinishQueueSweep step;
  step.client_id = session.client_id;
  pb::DropQueued& drop =
      *Propose(PartitionOf(session.client_id), {}, &step.drop).mutable_drop_queued();
  drop.set_client_id(session.client_id);
  drop.set_epoch(session.epoch);
  for (const uint64_t sequence : sequences) drop.add_sequences(sequence);
  if (claim != nullptr) claim->feed->window.Dropped(sequences.size());
  growing_->Then(std::move(step));
}

void HostCore::Finish(FinishQueueSweep& step) {
  if (OutcomeAt(step.drop).code != OutcomeCode::kStaleEpoch) return;
  // The client came back meanwhile: once more.
  Partition& partition = *partitions_[PartitionOf(step.client_id)];
  const Session* const session = partition.Find(step.client_id);
  if (session == nullptr) return;
  partition.SetNextExpiry(session->slot, 0);
  ArmQueue(step.client_id, now_.unix_ms + kQueueSweepMs);
}

}  // namespace storage
