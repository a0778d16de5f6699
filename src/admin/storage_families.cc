// State, of which durable sessions have their part in the store, and the store itself.
#include "admin/families.h"
#include "storage/core/metrics.h"

namespace admin {
namespace {

using broker::MetricsSnapshot;
using broker::ShardMetrics;
using storage::HostMetrics;

// A gauge of transient sessions (by the shards) and of durable ones (by the partition host).
void ByKind(const MetricsSnapshot& snapshot, base::Gauge ShardMetrics::*transient,
            base::Gauge HostMetrics::*durable, FamilyBuilder& out) {
  int64_t sum = 0;
  for (const ShardMetrics* shard : snapshot.shards) sum += (shard->*transient).value();
  out.Sample(sum, {"transient"});
  if (snapshot.storage != nullptr) out.Sample((snapshot.storage->*durable).value(), {"durable"});
}

// A family of the partition host alone; no sample while there is none.
template <typename Metric>
void OfHost(const MetricsSnapshot& snapshot, Metric HostMetrics::*metric, FamilyBuilder& out) {
  if (snapshot.storage != nullptr) out.Sample((snapshot.storage->*metric).value());
}

std::vector<const base::LatencyHistogram*> Histograms(const MetricsSnapshot& snapshot,
                                                      base::LatencyHistogram HostMetrics::*metric) {
  if (snapshot.storage == nullptr) return {};
  return {&(snapshot.storage->*metric)};
}

void AddLog(const MetricsSnapshot& snapshot, FamilyBuilder& out) {
  out.Histogram("apply_latency_seconds", "Applying one committed batch.",
                Histograms(snapshot, &HostMetrics::apply_latency));
  out.Counter("log_batches_total", "Group commits.");
  OfHost(snapshot, &HostMetrics::log_batches, out);
  out.Counter("log_entries_total", "Entries in them.");
  OfHost(snapshot, &HostMetrics::log_entries, out);
  out.Counter("log_bytes_total", "Bytes in them.");
  OfHost(snapshot, &HostMetrics::log_bytes, out);
  out.Counter("log_fsyncs_total", "Times that the log was synced to the disk.");
  OfHost(snapshot, &HostMetrics::log_fsyncs, out);
  out.Counter("log_errors_total", "Writes or syncs of the log that failed.");
  OfHost(snapshot, &HostMetrics::log_errors, out);
  out.Counter("log_outrun_total",
              "Times that a node that was away lacked what a partition's log no longer has: it "
              "cannot catch up. storage.log_kept_bytes.");
  OfHost(snapshot, &HostMetrics::log_outrun, out);
  out.Gauge("disk_low",
            "1: less than storage.min_free_disk_bytes is free, nothing more is stored.");
  OfHost(snapshot, &HostMetrics::disk_low, out);
  out.Gauge("log_healthy", "1: writing works. 0: the disk is full, read-only or failing.");
  OfHost(snapshot, &HostMetrics::log_healthy, out);
  out.Histogram("log_sync_latency_seconds", "One group commit, write and sync.",
                Histograms(snapshot, &HostMetrics::log_sync_latency));
}

}  // namespace

void AddState(const MetricsSnapshot& snapshot, FamilyBuilder& out) {
  out.BeginChapter("Sessions and what they hold");
  out.Gauge("sessions", "Sessions: transient ones end with their connection, durable ones stay.",
            {"kind"});
  ByKind(snapshot, &ShardMetrics::sessions_transient, &HostMetrics::sessions, out);
  out.Gauge("sessions_durable_connected", "Durable sessions whose client is connected.");
  OfHost(snapshot, &HostMetrics::sessions_connected, out);
  out.Counter("sessions_expired_total", "Durable sessions that ended by their expiry interval.");
  OfHost(snapshot, &HostMetrics::sessions_expired, out);
  out.Counter("sessions_gave_way_total",
              "Durable sessions that were ended to make room: storage.sessions_max is reached, or "
              "memory is short and they held nothing.");
  OfHost(snapshot, &HostMetrics::sessions_gave_way, out);
  out.Gauge("subscriptions", "Subscriptions, shared ones included.", {"kind"});
  ByKind(snapshot, &ShardMetrics::subscriptions, &HostMetrics::subscriptions, out);
  out.Gauge("subscriptions_shared", "Shared subscriptions.", {"kind"});
  ByKind(snapshot, &ShardMetrics::subscriptions_shared, &HostMetrics::subscriptions_shared, out);
  out.Gauge("queued_messages",
            "Messages that wait; of durable sessions those in flight are included.", {"kind"});
  ByKind(snapshot, &ShardMetrics::queued_messages, &HostMetrics::queued_messages, out);
  out.Gauge("queued_bytes", "Their bytes.", {"kind"});
  ByKind(snapshot, &ShardMetrics::queued_bytes, &HostMetrics::queued_bytes, out);
  out.Gauge("queues_nearly_full",
            "Sessions whose queue is above 80 % of its bound, and has not been below 60 % since.",
            {"kind"});
  ByKind(snapshot, &ShardMetrics::queues_crowded, &HostMetrics::queues_crowded, out);
  out.Gauge(
      "outbox_messages",
      "Stored messages that are being passed on: QoS 2 messages of durable sessions, wills, and "
      "what members of $share groups left when they ended.");
  OfHost(snapshot, &HostMetrics::outbox_messages, out);
  out.Gauge("outbox_bytes", "Their bytes.");
  OfHost(snapshot, &HostMetrics::outbox_bytes, out);
  out.Gauge("retained_messages", "Retained messages.");
  OfHost(snapshot, &HostMetrics::retained_messages, out);
  out.Gauge("retained_bytes", "Their topics and payloads.");
  OfHost(snapshot, &HostMetrics::retained_bytes, out);
  out.Gauge("wills", "Wills: of connected clients, or waiting for their delay.");
  OfHost(snapshot, &HostMetrics::wills, out);
  out.Counter("takeovers_held_total",
              "Times that a client had to wait for its CONNACK because several fight for its "
              "identifier.");
  OfHost(snapshot, &HostMetrics::takeovers_held, out);
  out.Counter("wills_published_total", "Wills that were published.");
  OfHost(snapshot, &HostMetrics::wills_published, out);
  out.Counter("wills_not_authorized_total",
              "Wills that were due and not published: their clients may no longer publish there.");
  OfHost(snapshot, &HostMetrics::wills_not_authorized, out);
}

void AddStorage(const MetricsSnapshot& snapshot, FamilyBuilder& out) {
  out.BeginChapter("Storage");
  out.Counter("storage_requests_total", "What shards asked of the partition host.");
  OfHost(snapshot, &HostMetrics::requests, out);
  out.Gauge("storage_requests_pending", "Those of them that are not answered yet.");
  OfHost(snapshot, &HostMetrics::requests_pending, out);
  out.Counter("storage_events_total", "What the partition host sent to shards.");
  OfHost(snapshot, &HostMetrics::events, out);
  out.Counter("storage_mailbox_batches_total", "Batches in which the requests came.");
  OfHost(snapshot, &HostMetrics::mailbox_batches, out);
  out.Counter("storage_entries_applied_total", "Log entries applied to the state.");
  OfHost(snapshot, &HostMetrics::entries_applied, out);
  out.Counter("storage_duplicates_total", "Repeated requests that were not stored again.");
  OfHost(snapshot, &HostMetrics::duplicates, out);
  out.Counter("storage_messages_queued_total", "Messages put in queues, once for each session.");
  OfHost(snapshot, &HostMetrics::messages_queued, out);
  out.Counter("storage_messages_delivered_total", "Messages that left queues acknowledged.");
  OfHost(snapshot, &HostMetrics::messages_delivered, out);
  out.Counter("storage_messages_dropped_total", "Messages that left queues otherwise, by cause.",
              {"cause"});
  if (snapshot.storage != nullptr) {
    out.Sample(snapshot.storage->dropped_queue_full.value(), {"queue_full"});
    out.Sample(snapshot.storage->dropped_expired.value(), {"expired"});
    out.Sample(snapshot.storage->dropped_no_member.value(), {"no_share_member"});
    out.Sample(snapshot.storage->dropped_outbox.value(), {"shared_full"});
    out.Sample(snapshot.storage->dropped_retained_full.value(), {"retained_full"});
  }
  out.Counter("storage_messages_refused_total",
              "Messages that were refused to their publishers (0x97), by cause.", {"cause"});
  if (snapshot.storage != nullptr) {
    out.Sample(snapshot.storage->refused_queue_full.value(), {"queue_full"});
    out.Sample(snapshot.storage->refused_outbox_full.value(), {"outbox_full"});
  }
  out.Gauge("storage_state_pending_bytes",
            "Queued messages in the log and in memory that the state has not yet.");
  OfHost(snapshot, &HostMetrics::state_pending_bytes, out);
  out.Counter("storage_state_flushes_total", "Times that the state was written out.");
  OfHost(snapshot, &HostMetrics::state_flushes, out);
  out.Counter("storage_state_errors_total", "Times that the state could not be written or read.");
  OfHost(snapshot, &HostMetrics::state_errors, out);
  out.Counter("storage_damage_total",
              "Reads that found stored data not as it was written; the log has what to do.");
  OfHost(snapshot, &HostMetrics::damage, out);
  out.Gauge("storage_damaged", "1: there were some, and storage.log_recovery is strict.");
  OfHost(snapshot, &HostMetrics::damaged, out);
  out.Gauge("storage_partitions_stopped",
            "Partitions that stand in front of a log entry of a newer release, or a damaged one.");
  OfHost(snapshot, &HostMetrics::partitions_stopped, out);
  out.Gauge(
      "storage_partitions_behind",
      "Partitions that a node of a cluster which starts has yet to catch up with: it lacks what "
      "others stored meanwhile, or nobody leads them. Until it is 0 /readyz is 503.");
  OfHost(snapshot, &HostMetrics::partitions_behind, out);
  out.Gauge("storage_log_entries_lost",
            "Entries that were missing at the end of the log when it was opened (salvage).");
  OfHost(snapshot, &HostMetrics::log_entries_lost, out);
  out.Gauge("storage_state_healthy",
            "1: the state can be written and read. 0: the disk is full, read-only or failing.");
  OfHost(snapshot, &HostMetrics::state_healthy, out);
  AddLog(snapshot, out);
}

}  // namespace admin
