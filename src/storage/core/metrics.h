// What the partition host and the log count.
#ifndef STORAGE_CORE_METRICS_H_
#define STORAGE_CORE_METRICS_H_

#include "base/memory_account.h"
#include "base/metric.h"

namespace storage {

// Two threads write, each its own part; any thread reads. Kept until the process ends.
struct HostMetrics {
  // ---- Written by the partition host's thread.
  base::Counter requests;  // From shards.
  base::Counter events;    // To shards.
  base::Counter mailbox_batches;
  base::Counter entries_applied;
  base::Counter duplicates;          // Requests recognised as repeats and not stored again.
  base::Counter messages_queued;     // Queue entries written, one per session.
  base::Counter messages_delivered;  // Queue entries acknowledged.
  base::Counter dropped_queue_full;
  base::Counter refused_queue_full;   // Messages, to their publishers.
  base::Counter refused_outbox_full;  // QoS 2 messages, to their publishers.
  base::Gauge queues_crowded;         // Durable sessions whose queue is above four fifths.
  base::Counter dropped_expired;
  base::Counter dropped_outbox;  // For a `$share` group, when too many waited to be passed on.
  base::Counter dropped_retained_full;  // QoS 2 messages and wills that were not retained.
  base::Counter dropped_no_member;      // For a `$share` group that has no member any more.
  base::Counter wills_published;
  base::Counter wills_not_authorized;  // Deleted: its client may no longer publish there.
  base::Counter takeovers_held;  // Connections that had to wait: clients fight for an identifier.
  base::Counter sessions_expired;
  base::Counter sessions_gave_way;  // Ended for a new one: sessions_max, or memory is short.
  base::Gauge sessions;             // Durable, connected or not.
  base::Gauge sessions_connected;   // Durable, with a connection.
  base::Gauge subscriptions;        // Of durable sessions, shared ones included.
  base::Gauge subscriptions_shared;
  base::Gauge queued_messages;  // In queues of durable sessions, in flight included.
  base::Gauge queued_bytes;
  base::Gauge retained_messages;
  base::Gauge retained_bytes;   // Topics and payloads.
  base::Gauge outbox_messages;  // In outboxes: QoS 2 messages, wills, what was left to groups.
  base::Gauge outbox_bytes;
  // The same of the partitions that this node leads: summed over nodes, what their cluster has.
  base::Gauge sessions_led;
  base::Gauge subscriptions_led;
  base::Gauge queued_messages_led;
  base::Gauge retained_messages_led;
  base::Gauge wills;             // Stored: of connected sessions, or waiting for their delay.
  base::Gauge requests_pending;  // Answers that wait for a commit, and what the host asked itself.
  base::Gauge state_pending_bytes;  // Queued messages in memory that the state has not yet.
  base::Counter state_errors;       // Writes of the state, or of its files, that failed.
  base::Counter damage;             // Reads that found data not as it was written.
  base::Gauge damaged;              // 1: there were some, and LogRecovery is strict.
  base::Gauge partitions_stopped;   // In front of an entry of the log that cannot be read.
  base::Gauge partitions_behind;    // While it starts: not all that is stored of them is here.
  base::Gauge log_entries_lost;     // Missing at the end of the log when it was opened.
  base::Gauge state_healthy;        // 1: it can be written. 0: disk full, read-only or failing.
  base::Counter state_flushes;      // Of the state instance, after which the log is cut.
  base::LatencyHistogram apply_latency;  // One round that applied something.
  base::MemoryAccount memory;            // The host's part of the account of memory.
  base::Gauge disk_low;  // 1: less than min_free_disk_bytes is free, nothing more is stored.

  // ---- Written by the log's thread, or the host's in its place.
  base::Counter log_batches;  // Group commits.
  base::Counter log_entries;
  base::Counter log_bytes;  // Appended, keys and values.
  base::Counter log_fsyncs;
  base::Counter log_errors;                 // Writes or syncs that failed.
  base::Counter log_outrun;                 // Members that lack what the log no longer has.
  base::Gauge log_healthy;                  // 1: writing works. 0: disk full, read-only or failing.
  base::LatencyHistogram log_sync_latency;  // One group commit, write and fsync.
};

}  // namespace storage

#endif  // STORAGE_CORE_METRICS_H_
