// The ends of sessions' queues that are not in the store: they become chunks with the next flush,
// as far as they are not done by then. So a message that is acknowledged before is never written.
#ifndef STORAGE_CORE_QUEUE_TAILS_H_
#define STORAGE_CORE_QUEUE_TAILS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/core/chunk.h"
#include "storage/core/kv.h"
#include "storage/core/partition_api.h"
#include "storage/core/session.h"

namespace storage {

// The end of one queue.
struct QueueTail {
  struct Item {
    size_t start = 0;  // In `entries`.
    uint32_t length = 0;
    uint32_t size = 0;  // What it counts for.
    uint64_t body = 0;
  };
  uint64_t first = 0;
  uint32_t open = 0;  // Of the items, how many are not done. None: it is not needed any more.
  std::vector<Item> items;
  std::string entries;

  bool Holds(uint64_t sequence) const { return sequence - first < items.size(); }
  // If it holds it.
  const Item& At(uint64_t sequence) const { return items[sequence - first]; }
  std::string_view Entry(uint64_t sequence) const {  // For ParseChunkEntry.
    const Item& item = At(sequence);
    return std::string_view(entries).substr(item.start, item.length);
  }
  size_t bytes() const { return entries.size() + items.size() * sizeof(Item); }
};

// Those of one partition. Session::Changes::append says which is whose.
class QueueTails {
 public:
  // Null: all of the queue is in the store.
  const QueueTail* Find(const Session& session) const;
  // The entry gets the sequence that follows the queue's tail; it counts for `size`.
  void Append(Session& session, const ChunkEntry& entry, uint32_t size);
  // The message is done, as the queue knows already. It may be one of the store.
  void Done(Session& session, uint64_t sequence);
  // Cuts what is not done into chunks; then there is none any more.
  void Write(PartitionId partition, Session& session, StateBatch& batch);
  // Nobody needs it. There may be none.
  void Forget(Session& session);

  size_t unflushed_bytes() const { return unflushed_bytes_; }

 private:
  QueueTail& Of(Session& session);
  void Trim(const Session& session, QueueTail& tail);

  std::vector<QueueTail> tails_;
  std::vector<uint32_t> free_;  // They keep some of their room.
  size_t unflushed_bytes_ = 0;
};

}  // namespace storage

#endif  // STORAGE_CORE_QUEUE_TAILS_H_
