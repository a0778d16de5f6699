#include "storage/leader/gauges.h"

#include <utility>

#include "storage/core/session.h"
#include "storage/leader/leader.h"

namespace storage {
namespace {

// All sessions are counted once in so long while there is anything new, a partition at a time.
constexpr absl::Duration kCountSessions = absl::Seconds(2);

}  // namespace

void Gauges::Count() {
  int64_t sessions = 0;
  int64_t retained = 0;
  int64_t retained_bytes = 0;
  int64_t outbox_messages = 0;
  int64_t outbox_bytes = 0;
  int64_t subscriptions_bytes = 0;
  int64_t crowded = 0;
  int64_t sessions_led = 0;
  int64_t retained_led = 0;
  for (const auto& leader : node_.leaders) {
    const Partition& partition = leader->partition();
    sessions += static_cast<int64_t>(partition.session_count());
    const Expiry::RetainedRoom now = leader->expiry().RetainedNow();
    retained += static_cast<int64_t>(now.messages);
    retained_bytes += static_cast<int64_t>(now.bytes);
    outbox_messages += static_cast<int64_t>(partition.outbox().messages());
    outbox_bytes += static_cast<int64_t>(partition.outbox().bytes());
    subscriptions_bytes += static_cast<int64_t>(partition.subscriptions_bytes());
    crowded += static_cast<int64_t>(partition.crowded());
    if (!leader->serving()) continue;
    sessions_led += static_cast<int64_t>(partition.session_count());
    retained_led += static_cast<int64_t>(now.messages);
  }
  HostMetrics& metrics = node_.metrics;
  metrics.sessions.Set(sessions);
  metrics.sessions_led.Set(sessions_led);
  metrics.retained_messages.Set(retained);
  metrics.retained_messages_led.Set(retained_led);
  metrics.retained_bytes.Set(retained_bytes);
  metrics.outbox_messages.Set(outbox_messages);
  metrics.outbox_bytes.Set(outbox_bytes);
  metrics.memory.Set(base::MemoryUse::kSubscriptions, subscriptions_bytes);
  metrics.queues_crowded.Set(crowded);
  metrics.subscriptions_shared.Set(static_cast<int64_t>(node_.share_members.subscriptions()));
  due_ = counts_.size();
}

void Gauges::Run() {
  PartitionMask led = 0;
  for (const auto& leader : node_.leaders) {
    if (leader->serving()) led |= BitOf(leader->id());
  }
  if (std::exchange(counted_, led) != led) {
    Count();
    SumUp();
  }
  node_.led.store(led);
  if (due_ > 0 && node_.now.monotonic >= at_) CountSessions();
}

std::optional<absl::Duration> Gauges::Next() const {
  if (due_ == 0) return std::nullopt;
  return at_;
}

// Sums over the sessions of one partition, and over what was found in the others.
void Gauges::CountSessions() {
  --due_;
  at_ = node_.now.monotonic + kCountSessions / static_cast<int64_t>(counts_.size());
  next_ = (next_ + 1) % counts_.size();
  Counts& counted = counts_[next_] = {};
  node_.leaders[next_]->partition().ForEachSession([&](const Session& session) {
    counted.messages += static_cast<int64_t>(session.queue.messages());
    counted.bytes += static_cast<int64_t>(session.queue.bytes());
    counted.subscriptions += static_cast<int64_t>(session.subscriptions.size());
    counted.wills += session.will.message ? 1 : 0;
  });
  SumUp();
}

void Gauges::SumUp() {
  Counts sum;
  Counts led;
  for (size_t id = 0; id < counts_.size(); ++id) {
    const Counts& counts = counts_[id];
    if (node_.leaders[id]->serving()) {
      led.messages += counts.messages;
      led.subscriptions += counts.subscriptions;
    }
    sum.messages += counts.messages;
    sum.bytes += counts.bytes;
    sum.subscriptions += counts.subscriptions;
    sum.wills += counts.wills;
  }
  HostMetrics& metrics = node_.metrics;
  metrics.queued_messages.Set(sum.messages);
  metrics.queued_bytes.Set(sum.bytes);
  metrics.subscriptions.Set(sum.subscriptions);
  metrics.queued_messages_led.Set(led.messages);
  metrics.subscriptions_led.Set(led.subscriptions);
  metrics.wills.Set(sum.wills);
}

}  // namespace storage
