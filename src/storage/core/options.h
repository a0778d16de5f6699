// What an operator may choose about the store. The config layer fills it in.
#ifndef STORAGE_CORE_OPTIONS_H_
#define STORAGE_CORE_OPTIONS_H_

#include <cstdint>
#include <limits>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "storage/core/apply_rules.h"

namespace storage {

// When an acknowledgement may leave.
enum class Durability : uint8_t {
  kSync,      // After the message is on the disk (one fsync for all that came meanwhile).
  kInterval,  // At once; the log is synced every `durability_interval`. A power cut loses at most
              // that much; a death of the process alone loses nothing.
  kNone,      // At once; the operating system writes when it likes.
};

// What happens to a message that a session's full queue cannot take.
enum class QueueFull : uint8_t {
  kDropNewest,  // The new message is dropped, as most brokers do.
  kDropOldest,  // The oldest message not yet given to the client is dropped.
  kRefuse,      // The publisher is told (0x97), and nobody gets the message.
  kDisconnect,  // The new message is dropped, and the client, if it is connected, disconnected.
};

// What happens when as many sessions are stored as may be and another one comes. One that holds
// nothing (no subscription, message or will) and whose client is away gives way in any case.
enum class SessionsFull : uint8_t {
  kRefuse,     // The new client is refused.
  kEndOldest,  // The session whose client is away longest ends.
};

// How to treat a log that does not read back to its end.
enum class LogRecovery : uint8_t {
  // A record that was being written when the machine died is dropped (nobody was told it was
  // stored). Any other damage: refuse to start.
  kStrict,
  // Everything before the damage is kept and what follows it is lost. For an operator who has
  // nothing better; never a default.
  kSalvage,
};

struct StorageOptions {
  // Holds everything: node (identity), lock, log/, state/. Created if missing; one process at a
  // time.
  std::string data_dir;

  // Fixed when the store is created, a power of two, at most kPartitionsMax. Another value for an
  // existing store is an error.
  uint32_t partitions = 16;

  Durability durability = Durability::kSync;
  absl::Duration durability_interval = absl::Milliseconds(100);  // Of kInterval.

  // Bounds of one session's queue, messages in flight included. 0: no bound.
  uint64_t queue_messages_max = 100'000;
  uint64_t queue_bytes_max = 256ull << 20;
  QueueFull queue_full = QueueFull::kDropNewest;

  // Sessions that outlive their connection, and those with a will. 0: no bound.
  uint64_t sessions_max = 1'000'000;
  SessionsFull sessions_full = SessionsFull::kRefuse;

  // Bounds of all retained messages together. 0: no bound. A message above them is answered
  // kResourceExhausted; one that replaces or removes another is always taken.
  uint64_t retained_messages_max = 1'000'000;
  uint64_t retained_bytes_max = 1ull << 30;

  // With less than this free on the disk nothing more is stored; acknowledgements still are.
  // 0: write until the disk is full (and then wait for room).
  uint64_t min_free_disk_bytes = 256ull << 20;

  // What the logs keep for nodes that are away and lack it, all partitions together; who lacks more
  // cannot catch up any more. 0: a quarter of the disk.
  uint64_t log_kept_bytes = 0;

  // Clients that take one Client Identifier from each other again and again wait longer and longer
  // for it, up to this. Zero: they do not.
  absl::Duration takeover_pause_max = absl::Seconds(1);

  // Queued messages that the log has and the state has not, all sessions together: those that are
  // acknowledged soon are never written to it, the others in larger pieces.
  uint64_t state_pending_bytes = 16ull << 20;
  // Of the state's memory before it is written out.
  uint64_t state_memtable_bytes = 32ull << 20;
  // Of the log's, and how much of it a start after a crash replays at most, about. Entries cut
  // before it is full never become files, so keep it above the state's.
  uint64_t log_memtable_bytes = 64ull << 20;
  // Of one group commit: who comes when a group has so many commands, or so many bytes,
  // goes with the next. A sync costs about the same for few and for many, so it is not for a slow
  // disk to make groups smaller; but who came first must not wait for all of a burst's bytes.
  size_t group_commands_max = 16 << 10;
  size_t group_bytes_max = 4 << 20;
  // Of one entry: in a cluster, what goes to another node in one piece. What would make it larger
  // is refused.
  size_t entry_bytes_max = std::numeric_limits<size_t>::max();
  // Shared by both, for reads of queues that wait on disk.
  uint64_t block_cache_bytes = 64ull << 20;

  LogRecovery log_recovery = LogRecovery::kStrict;

  // Not an operator's: the apply levels that this release knows. Tests give those of another.
  absl::Span<const ApplyRules> apply_rules = kApplyRules;
};

// What is wrong with the options, by name, without looking at the disk.
absl::Status Validate(const StorageOptions& options);

}  // namespace storage

#endif  // STORAGE_CORE_OPTIONS_H_
