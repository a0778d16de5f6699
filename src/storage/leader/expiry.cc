#include "storage/leader/expiry.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/log.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/keys.h"
#include "storage/core/retained.h"
#include "storage/core/session.h"
#include "storage/leader/leader.h"

namespace storage {
namespace {

constexpr size_t kRetainedPageMax = 256;
// Queues are read for what has expired behind the head, so: each not more often than this, and all
// of them together for no more than about a tenth of the time, at a microsecond for a message.
constexpr int64_t kQueueSweepMs = 1'000;
constexpr size_t kQueuePageMax = 1024;
constexpr absl::Duration kSweepRest = absl::Microseconds(10);

}  // namespace

void Expiry::Start() {
  partition().ForEachSession([&](const Session& session) {
    if (session.queue.messages() == 0) return;
    ArmQueue(session.client_id, session.queue.next_expiry_ms());
  });
}

void Expiry::Run() {
  if (node_.shutting_down || node_.now.monotonic < read_again_at_) return;
  while (retained_sweep_.next_unix_ms <= Now() && node_.work_left > 0 &&
         node_.RoomForBackground()) {
    if (!SweepRetained()) break;
  }
  SweepQueues();
}

std::optional<absl::Duration> Expiry::Next() const {
  std::optional<absl::Duration> wake;
  if (const int64_t next = retained_sweep_.next_unix_ms; next != kNeverExpires) {
    wake = node_.now.monotonic + absl::Milliseconds(next - Now());
  }
  const auto due = queue_deadlines_.next();
  if (!due.has_value() && queue_sweep_.client_id.empty()) return wake;
  absl::Duration sweep_at = node_.sweep_queues_at;
  if (queue_sweep_.client_id.empty()) {
    sweep_at = std::max(sweep_at, node_.now.monotonic + absl::Milliseconds(*due - Now()));
  }
  return wake.has_value() ? std::min(*wake, sweep_at) : sweep_at;
}

// ---- Retained messages --------------------------------------------------------------------------

bool Expiry::SweepRetained() {
  RetainedSweep& sweep = retained_sweep_;
  if (sweep.next_unix_ms > Now()) return false;
  const auto page = FindExpiredRetained(node_.reader, id_, sweep.through, Now(), kRetainedPageMax);
  if (!page.ok()) {
    base::Log(base::LogLevel::kError, "cannot read which retained messages have expired",
              {{"error", page.status()}});
    read_again_at_ = node_.now.monotonic + absl::Seconds(1);
    return false;
  }
  node_.work_left -= std::min(node_.work_left, page->messages.size() + 1);
  sweep.next_unix_ms = page->next_unix_ms == 0 ? kNeverExpires : page->next_unix_ms;
  if (page->messages.empty()) return false;
  FinishRetainedSweep step;
  pb::DropRetained& drop = *Propose().mutable_drop_retained();
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
  Then(step);
  return true;
}

void Expiry::Finish(FinishRetainedSweep& step) {
  RetainedSweep& sweep = retained_sweep_;
  sweep.messages -= step.messages;
  sweep.bytes -= step.bytes;
  if (--sweep.pages != 0) return;
  // What came into the index before `through` meanwhile, or was not dropped, is found now.
  sweep.through.clear();
  sweep.next_unix_ms = 0;
}

void Expiry::SetRetained(RetainedSet set) {
  retained_pending_.Add(set);
  proposals_.Retains(std::move(set));
}

void Expiry::OnRefused(const RetainedSet& set) { retained_pending_.Remove(set); }

void Expiry::OnRetained(const RetainedSet& set) {
  retained_pending_.Remove(set);
  const int64_t expires = set.message->expires_at_unix_ms();
  if (expires == 0 || set.removes()) return;
  retained_sweep_.next_unix_ms = std::min(retained_sweep_.next_unix_ms, expires);
}

Expiry::RetainedRoom Expiry::RetainedNow() const {
  const RetainedSweep& sweep = retained_sweep_;
  const uint64_t messages = partition().retained_messages();
  const uint64_t bytes = partition().retained_bytes();
  return {messages - std::min(messages, sweep.messages), bytes - std::min(bytes, sweep.bytes)};
}

// ---- Queued messages ----------------------------------------------------------------------------

void Expiry::On(QueueExpires& effect) { ArmQueue(effect.client_id, effect.at_unix_ms); }

// The queue is looked at then, unless it is to be looked at before.
void Expiry::ArmQueue(const std::string& client_id, int64_t at_unix_ms) {
  if (at_unix_ms == kNeverExpires) return;
  const auto [armed, fresh] = queue_armed_.try_emplace(client_id, at_unix_ms);
  if (!fresh && armed->second <= at_unix_ms) return;
  armed->second = at_unix_ms;
  queue_deadlines_.Add(client_id, /*epoch=*/0, at_unix_ms);
  if (!queue_deadlines_.WantsPrune()) return;
  queue_deadlines_.Prune([this](const Deadline& deadline) { return IsArmed(deadline); });
}

// Its deadline is not armed any more, and goes with the next Prune.
void Expiry::Forget(const std::string& client_id) {
  queue_armed_.erase(client_id);
  if (queue_sweep_.client_id == client_id) queue_sweep_ = {};
}

bool Expiry::IsArmed(const Deadline& deadline) const {
  const auto armed = queue_armed_.find(deadline.client_id);
  return armed != queue_armed_.end() && armed->second == deadline.at_unix_ms;
}

void Expiry::SweepQueues() {
  if (node_.now.monotonic < node_.sweep_queues_at) return;
  size_t read = 0;
  while (read < kQueuePageMax && node_.work_left > 0 && node_.RoomForBackground()) {
    if (queue_sweep_.client_id.empty()) {
      const auto due = queue_deadlines_.Take(Now());
      if (!due.has_value()) break;
      if (!IsArmed(*due)) continue;
      queue_armed_.erase(due->client_id);
      queue_sweep_ = {.client_id = due->client_id};
    }
    const size_t cost = SweepQueue() + 1;
    node_.work_left -= std::min(node_.work_left, cost);
    read += cost;
  }
  node_.sweep_queues_at = node_.now.monotonic + kSweepRest * static_cast<int64_t>(read);
}

// Reads on in the queue of `queue_sweep_`. How many messages.
size_t Expiry::SweepQueue() {
  const std::string client_id = queue_sweep_.client_id;
  const Session* const session = partition().Find(client_id);
  if (session == nullptr) {
    queue_sweep_ = {};
    return 0;
  }
  Claim* const claim = leader_.sessions().FindClaim(client_id);
  // While it comes or goes it is not known what was sent.
  const bool settled =
      claim == nullptr ? !session->connected : claim->state == Claim::State::kOpen && claim->stored;
  uint64_t from = std::max(queue_sweep_.from, session->queue.head());
  if (settled && claim != nullptr) from = std::max(from, claim->feed->window.next());
  const auto page = settled ? replica_.partition().FindExpired(node_.reader, session->slot, from,
                                                               kQueuePageMax, Now())
                            : absl::StatusOr<ExpiredPage>(ExpiredPage{});
  if (!page.ok()) {
    base::Log(base::LogLevel::kError, "cannot read a session's queue",
              {{"client_id", client_id}, {"error", page.status()}});
  }
  if (!settled || !page.ok()) {
    queue_sweep_ = {};
    ArmQueue(client_id, Now() + kQueueSweepMs);
    return 0;
  }
  if (!page->sequences.empty()) DropFromQueue(*session, claim, page->sequences);
  queue_sweep_.from = page->next;
  queue_sweep_.next_unix_ms = std::min(queue_sweep_.next_unix_ms, page->next_unix_ms);
  if (!page->end) return page->read;
  const int64_t next = queue_sweep_.next_unix_ms;
  queue_sweep_ = {};
  replica_.partition().SetNextExpiry(session->slot, next);
  if (next != kNeverExpires) ArmQueue(client_id, std::max(next, Now() + kQueueSweepMs));
  return page->read;
}

void Expiry::DropFromQueue(const Session& session, Claim* claim,
                           const std::vector<uint64_t>& sequences) {
  FinishQueueSweep step;
  step.client_id = session.client_id;
  pb::DropQueued& drop = *Propose(&step.command).mutable_drop_queued();
  drop.set_client_id(session.client_id);
  drop.set_epoch(session.epoch);
  for (const uint64_t sequence : sequences) drop.add_sequences(sequence);
  if (claim != nullptr) claim->feed->window.Dropped(sequences.size());
  Then(std::move(step));
}

void Expiry::Finish(FinishQueueSweep& step) {
  if (OutcomeAt(step.command).code != OutcomeCode::kStaleEpoch) return;
  // The client came back meanwhile: once more.
  const Session* const session = partition().Find(step.client_id);
  if (session == nullptr) return;
  replica_.partition().SetNextExpiry(session->slot, 0);
  ArmQueue(step.client_id, Now() + kQueueSweepMs);
}

}  // namespace storage
