// The entries of all queues of one partition, wherever they stand: the older in chunks in the
// store, the newest in memory (QueueTails), and large messages that several queues have once for
// all (MessageBodies).
#ifndef STORAGE_CORE_QUEUE_ENTRIES_H_
#define STORAGE_CORE_QUEUE_ENTRIES_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mqtt/message.h"
#include "storage/core/chunk.h"
#include "storage/core/kv.h"
#include "storage/core/message_bodies.h"
#include "storage/core/partition_api.h"
#include "storage/core/queue_tails.h"
#include "storage/core/session.h"

namespace storage {

// What reading brings: partition.h.
struct QueueReadLimits;
struct QueuePage;
struct ExpiredPage;

// A part of the partition's state machine, and on its thread. It decides nothing: what is appended
// and what is done, it is told. Errors are the store's, or kDataLoss.
class QueueEntries {
 public:
  QueueEntries(PartitionId partition, ::mqttd::storage::v1::Meta& meta)
      : partition_(partition), bodies_(partition, meta) {}

  // Once, before anything else.
  absl::Status Load(const StateReader& reader) { return bodies_.Load(reader); }
  // An entry begins to be applied: nothing that was read before is to be used.
  void BeginEntry() { bodies_.ForgetLastRead(); }

  // Puts the entry, which counts for `size`, at the end of the session's queue. Its sequence.
  uint64_t Append(Session& session, const ChunkEntry& entry, uint32_t size);
  // The entry, which would count for `size` with the message in it, gets a body in its place: that
  // of the number, which is 0 for the first of several queues, and is set.
  void ShareBody(ChunkEntry& entry, uint32_t size, uint64_t& number);
  // A message of the queue that is open is done.
  absl::Status Finish(Session& session, uint64_t sequence, const StateReader& reader);

  // See Partition::ReadQueue and Partition::FindExpired.
  absl::StatusOr<QueuePage> Read(const StateReader& reader, Session& session, uint64_t from,
                                 const QueueReadLimits& limits, int64_t now_unix_ms);
  absl::StatusOr<ExpiredPage> FindExpired(const StateReader& reader, Session& session,
                                          uint64_t from, size_t messages_max, int64_t now_unix_ms);

  // The session ends: shows each message that is open, and lets go of its body. A block that is
  // damaged keeps nobody from ending the session: `damage` says so, and the rest is shown.
  absl::Status Leave(const StateReader& reader, const Session& session, absl::Status& damage,
                     absl::FunctionRef<void(uint64_t sequence, const ChunkEntry&)> visit);
  // All of its queue goes, whatever is in it.
  void Delete(Session& session, StateBatch& batch);

  // What of the queue the store has not, and has and should not have any more.
  void Flush(Session& session, StateBatch& batch);
  void FlushBodies(StateBatch& batch) { bodies_.Flush(batch); }
  size_t unflushed_bytes() const { return tails_.unflushed_bytes() + bodies_.unflushed_bytes(); }
  void DumpBodiesTo(std::string& out) const { bodies_.DumpTo(out); }

 private:
  // Takes one entry, and says whether it wants more.
  using AddEntry = absl::FunctionRef<absl::StatusOr<bool>(std::string_view)>;
  absl::StatusOr<bool> ReadEntries(const StateReader& reader, Session& session,
                                   const uint64_t& next, AddEntry add);
  absl::StatusOr<bool> ReadStored(const StateReader& reader, Session& session, uint64_t through,
                                  const uint64_t& next, AddEntry add);
  absl::StatusOr<std::optional<mqtt::MessageParts>> PartsOf(const ChunkEntry& entry,
                                                            const StateReader& reader,
                                                            mqtt::MessagePtr& shared);
  absl::StatusOr<uint32_t> SizeOf(Session& session, uint64_t sequence, const StateReader& reader);
  uint64_t BodyOf(const Session& session, uint64_t sequence) const;
  absl::Status LearnChunks(Session& session, uint64_t through, const StateReader& reader);
  void Trim(Session& session, StateBatch& batch);

  const PartitionId partition_;
  QueueTails tails_;
  MessageBodies bodies_;
};

}  // namespace storage

#endif  // STORAGE_CORE_QUEUE_ENTRIES_H_
