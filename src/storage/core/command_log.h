// Where commands become durable: what a node's partitions say to the log, and hear from it.
#ifndef STORAGE_CORE_COMMAND_LOG_H_
#define STORAGE_CORE_COMMAND_LOG_H_

#include <cstdint>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "storage/core/log_entry.h"
#include "storage/core/partition_api.h"

namespace storage {

// An entry that a partition's leader wants in the log. `number` is its own, ascending, never 0: by
// it the leader hears what has become of the entry.
struct ProposedEntry {
  PartitionId partition = 0;
  uint64_t number = 0;
  std::string entry;  // Not empty. Comes back in Committed.
  // As the RoleChange said by which it leads. In a later term it is not taken: the leader may not
  // have heard yet that others led in between, and knows nothing of what they did.
  uint64_t term = 0;
};

// At most one entry for each partition. A crash of this node leaves all of them or none.
struct Submission {
  std::vector<ProposedEntry> proposals;
  bool sync = false;  // Somebody is answered only once they are on the disk.
};

// The partition's next entry: it will be there for ever, and is to be applied. Places of one
// partition are consecutive.
struct Committed {
  PartitionId partition = 0;
  uint64_t index = 0;
  uint64_t term = 0;
  uint64_t proposal = 0;  // 0: not proposed here, or by a leader that leads no more.
  std::string entry;      // Empty: nothing to apply, but an index that is used up.
};

// This node led no more before it was known what becomes of the entry: it may still come, as
// nobody's. The RoleChange that says so follows.
struct NotCommitted {
  PartitionId partition = 0;
  uint64_t proposal = 0;
};

// Comes behind all that the former role was the cause of. A node proposes for the partitions that
// it leads, and for no others.
struct RoleChange {
  PartitionId partition = 0;
  bool leads = false;
  uint64_t term = 0;
  // Of a leader: what others may have proposed ends here, so it acts once this is applied.
  uint64_t acts_behind = 0;
};

// The log cannot be written, or, with OK, can again. Nothing is refused by that: what was taken is
// written when it can be.
struct LogHealth {
  absl::Status status;
};

// What had been committed of the partition, anywhere, when the ticket's ReadBarrier was asked for,
// ends here.
struct Readable {
  PartitionId partition = 0;
  uint64_t ticket = 0;
  uint64_t index = 0;
};
// That cannot be known now: to be asked again.
struct NotReadable {
  PartitionId partition = 0;
  uint64_t ticket = 0;
};

using LogEvent =
    std::variant<Committed, NotCommitted, RoleChange, LogHealth, Readable, NotReadable>;

// Where a partition's state is at the start: what the log has behind it is still to come.
struct LogStart {
  PartitionId partition = 0;
  uint64_t index = 0;
  uint64_t term = 0;
};

// Used by the host's thread. A log that cannot be written repairs itself, and writes what it has
// taken again, as it is, for as long as it takes: of a write that failed the disk may have all the
// same, and after a crash it would come back.
class CommandLog {
 public:
  // Gets what one turn of the log has brought about; on some thread, in order.
  using Post = std::function<void(std::vector<LogEvent>)>;
  using Visit = std::function<absl::Status(const LogEntry&)>;

  virtual ~CommandLog() = default;  // Stops.

  // Before Start: entries above `after` that are committed, in order. After it: those above
  // `after`, also such as are not committed yet. Stops at the first error of `visit`. kDataLoss:
  // one is missing between, or was cut although the state does not have it. May wait for a write
  // that is under way, not for a log that fails.
  virtual absl::Status ReadAfter(PartitionId partition, uint64_t after, const Visit& visit) = 0;

  // For all partitions, when all that ReadAfter has is read. The first RoleChange of each comes
  // without being asked for. kDataLoss: the end of the log is missing.
  virtual absl::Status Start(absl::Span<const LogStart> partitions, Post post) = 0;

  // The next one when all of this one have a fate. Does not block, but where nobody waits for the
  // disk it may be written here and now: then what has become of it is returned, and else posted.
  virtual std::vector<LogEvent> Submit(Submission submission) = 0;

  // The state up to `index` survives: the log may be cut there.
  virtual void Flushed(PartitionId partition, uint64_t index) = 0;

  // Somebody waits until the other nodes have what is committed of a partition that is led here:
  // they are to hear of it now, and not with the next entry.
  virtual void TellCommitted(PartitionId partition) = 0;

  // Not fit: if this node leads the partition it cannot serve it, for it cannot write its state or
  // its log, or does not know all that a leader has to. Then another member is to lead it, if one
  // can, as long as that is so. Any thread.
  virtual void SetFit(PartitionId partition, bool fit) = 0;

  // How far is the partition committed by now, whoever leads it? Readable or NotReadable follows;
  // it takes most nodes, and as long as there are fewer nothing comes.
  virtual void ReadBarrier(PartitionId partition, uint64_t ticket) = 0;

  // The files of all that is committed, in a directory that does not exist: see CheckpointOf.
  // Blocks, and nothing waits for it but a repair; any thread, between Start and Stop.
  virtual absl::Status Checkpoint(const std::string& directory) = 0;

  // Since when a write has been under way, monotonic; infinitely late: none is. Any thread.
  virtual absl::Duration writes_since() const { return absl::InfiniteDuration(); }

  // Writes what was taken, syncs and closes the log. Returns what could not be written.
  virtual absl::Status Stop() = 0;
};

}  // namespace storage

#endif  // STORAGE_CORE_COMMAND_LOG_H_
