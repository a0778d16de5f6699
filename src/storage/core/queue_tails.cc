#include "storage/core/queue_tails.h"

#include <utility>

#include "storage/core/keys.h"

namespace storage {
namespace {

// A chunk that is so large already takes no further message: who reads one reads the chunk.
constexpr size_t kChunkBytesMax = 64 << 10;
// So many tails that are not needed any more keep so much room at most.
constexpr size_t kTailsKept = 256;
constexpr size_t kTailBytesKept = 16 << 10;
// One with fewer messages is not shortened.
constexpr size_t kTrimMin = 32;

}  // namespace

const QueueTail* QueueTails::Find(const Session& session) const {
  return session.changes.append == Session::kNone ? nullptr : &tails_[session.changes.append];
}

QueueTail& QueueTails::Of(Session& session) {
  if (session.changes.append != Session::kNone) return tails_[session.changes.append];
  if (free_.empty()) {
    free_.push_back(static_cast<uint32_t>(tails_.size()));
    tails_.emplace_back();
  }
  session.changes.append = free_.back();
  free_.pop_back();
  QueueTail& tail = tails_[session.changes.append];
  tail.first = session.queue.tail() + 1;
  return tail;
}

void QueueTails::Append(Session& session, const ChunkEntry& entry, uint32_t size) {
  QueueTail& tail = Of(session);
  const size_t start = tail.entries.size();
  AppendChunkEntry(entry, tail.entries);
  const size_t length = tail.entries.size() - start;
  tail.items.push_back({start, static_cast<uint32_t>(length), size, entry.body});
  ++tail.open;
  unflushed_bytes_ += length + sizeof(QueueTail::Item);
}

void QueueTails::Done(Session& session, uint64_t sequence) {
  if (session.changes.append == Session::kNone) return;
  QueueTail& tail = tails_[session.changes.append];
  if (!tail.Holds(sequence)) return;
  if (--tail.open == 0) return Forget(session);
  const size_t items = tail.items.size();
  if (items >= kTrimMin && tail.open < items / 2) Trim(session, tail);
}

// Lets go of what is done at the front. What it costs is paid for by as many that were done.
void QueueTails::Trim(const Session& session, QueueTail& tail) {
  const uint64_t first = session.queue.NextOpen(tail.first);
  const size_t gone = first - tail.first;
  if (gone < tail.items.size() / 4) return;
  unflushed_bytes_ -= tail.bytes();
  const size_t start = tail.items[gone].start;
  tail.entries.erase(0, start);
  tail.items.erase(tail.items.begin(), tail.items.begin() + static_cast<ptrdiff_t>(gone));
  for (QueueTail::Item& item : tail.items) item.start -= start;
  tail.first = first;
  unflushed_bytes_ += tail.bytes();
}

void QueueTails::Forget(Session& session) {
  if (session.changes.append == Session::kNone) return;
  QueueTail& tail = tails_[session.changes.append];
  unflushed_bytes_ -= tail.bytes();
  tail.open = 0;
  tail.items.clear();
  tail.entries.clear();
  const bool keeps_room = tail.entries.capacity() <= kTailBytesKept && free_.size() < kTailsKept;
  if (!keeps_room) tail = QueueTail();
  free_.push_back(std::exchange(session.changes.append, Session::kNone));
}

void QueueTails::Write(PartitionId partition, Session& session, StateBatch& batch) {
  const QueueTail* const tail = Find(session);
  if (tail == nullptr) return;
  std::string key = QueueKey(partition, session.client_id, 0);
  std::string bytes;
  const uint64_t end = tail->first + tail->items.size();
  for (uint64_t sequence = session.queue.NextOpen(tail->first); sequence < end;) {
    KnownChunk chunk;
    chunk.first = sequence;
    bytes.clear();
    BeginChunk(sequence, bytes);
    while (sequence < end && chunk.sizes.size() < kChunkEntriesMax &&
           bytes.size() < kChunkBytesMax) {
      const QueueTail::Item& item = tail->At(sequence);
      AddToChunk(tail->Entry(sequence), bytes);
      chunk.Add(item.size, item.body);
      ++sequence;
    }
    ReplaceSequence(key, chunk.last());
    batch.Put(key, bytes);
    SessionQueue& queue = session.queue;
    const uint64_t last = chunk.last();
    const bool is_next = queue.Follows(chunk) || queue.known_through() >= queue.stored_through();
    if (queue.known().size() < kKnownChunksMax && is_next) queue.AddKnown(std::move(chunk));
    queue.SetStoredThrough(last);
    sequence = queue.NextOpen(sequence);
  }
  Forget(session);
}

}  // namespace storage
