#include "storage/core/queue_entries.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "storage/core/keys.h"
#include "storage/core/message_codec.h"
#include "storage/core/partition.h"

namespace storage {
namespace {

// How many expired messages one page reports at most.
constexpr size_t kExpiredMax = 1024;
// How many chunks beyond the head a reader's queue remembers at most.
constexpr size_t kKnownByReadingMax = 4 * kKnownChunksMax;
constexpr size_t kChunksDeletedByKeyMax = 64;

absl::Status BadChunk(std::string_view client_id) {
  return absl::DataLossError(
      absl::StrCat("unreadable queue of session '", base::AbslView(client_id), "'"));
}

KnownChunk SizesOf(const ChunkView& view) {
  KnownChunk known;
  known.first = view.first;
  for (const std::string_view entry : view.entries) {
    const EntryFacts facts = FactsOfEntry(entry);
    known.Add(facts.size, facts.body);
  }
  return known;
}

}  // namespace

// ---- Appended and done -------------------------------------------------------------------------

uint64_t QueueEntries::Append(Session& session, const ChunkEntry& entry, uint32_t size) {
  tails_.Append(session, entry, size);
  return session.queue.Append(size);
}

void QueueEntries::ShareBody(ChunkEntry& entry, uint32_t size, uint64_t& number) {
  number = bodies_.Share(number, entry.message);
  entry.message = {};
  entry.body = number;
  entry.size = size;
}

absl::Status QueueEntries::Finish(Session& session, uint64_t sequence, const StateReader& reader) {
  const absl::StatusOr<uint32_t> size = SizeOf(session, sequence, reader);
  if (!size.ok()) return size.status();
  SessionQueue& queue = session.queue;
  if (const uint64_t body = BodyOf(session, sequence); body != 0) bodies_.Release(body);
  queue.MarkDone(sequence, *size);
  tails_.Done(session, sequence);
  // The head may have jumped over messages that were done before the last load: their chunks must
  // be known to be deleted.
  const uint64_t below = std::min(queue.head() - 1, queue.stored_through());
  if (queue.known().empty() || queue.known().back().last() >= below) return absl::OkStatus();
  return LearnChunks(session, below, reader);
}

absl::StatusOr<uint32_t> QueueEntries::SizeOf(Session& session, uint64_t sequence,
                                              const StateReader& reader) {
  const QueueTail* const tail = tails_.Find(session);
  if (tail != nullptr && tail->Holds(sequence)) return tail->At(sequence).size;
  if (session.queue.known_through() < sequence) {
    absl::Status status = LearnChunks(session, sequence, reader);
    if (!status.ok()) return status;
  }
  const std::optional<uint32_t> size = session.queue.KnownSize(sequence);
  if (!size.has_value()) return BadChunk(session.client_id);
  return *size;
}

uint64_t QueueEntries::BodyOf(const Session& session, uint64_t sequence) const {
  if (!session.had_bodies) return 0;
  const QueueTail* const tail = tails_.Find(session);
  if (tail != nullptr && tail->Holds(sequence)) return tail->At(sequence).body;
  return session.queue.KnownBody(sequence);
}

// Reads on from the last known chunk until `through` is known.
absl::Status QueueEntries::LearnChunks(Session& session, uint64_t through,
                                       const StateReader& reader) {
  const KeyRange range = QueueRange(partition_, session.client_id);
  const std::unique_ptr<StateIterator> it = reader.NewIterator(range.begin, range.end);
  it->Seek(QueueKey(partition_, session.client_id, session.queue.known_through() + 1));
  for (; it->Valid() && session.queue.known_through() < through; it->Next()) {
    const std::optional<ChunkView> view = ParseChunk(it->value());
    if (!view.has_value()) return BadChunk(session.client_id);
    KnownChunk known = SizesOf(*view);
    if (!session.queue.MayFollow(known)) return BadChunk(session.client_id);
    session.queue.AddKnown(std::move(known));
  }
  return it->status();
}

// ---- Written and gone --------------------------------------------------------------------------

void QueueEntries::Flush(Session& session, StateBatch& batch) {
  Trim(session, batch);
  tails_.Write(partition_, session, batch);
  session.queue.SetStoredThrough(session.queue.tail());
}

// Deletes the chunks that lie below the head. All of them are known: what is done was known first.
void QueueEntries::Trim(Session& session, StateBatch& batch) {
  SessionQueue& queue = session.queue;
  if (queue.known().empty() || queue.known().front().last() >= queue.head()) return;
  std::string key = QueueKey(partition_, session.client_id, 0);
  while (!queue.known().empty() && queue.known().front().last() < queue.head()) {
    ReplaceSequence(key, queue.known().front().last());
    batch.Delete(key);
    queue.PopKnown();
  }
}

// By key where the chunks are known and few: a range that was deleted costs every read until it is
// compacted away, and sessions end by the thousand.
void QueueEntries::Delete(Session& session, StateBatch& batch) {
  tails_.Forget(session);
  const SessionQueue& queue = session.queue;
  if (queue.known_through() >= queue.stored_through() &&
      queue.known().size() <= kChunksDeletedByKeyMax) {
    std::string key = QueueKey(partition_, session.client_id, 0);
    for (const KnownChunk& chunk : queue.known()) {
      ReplaceSequence(key, chunk.last());
      batch.Delete(key);
    }
    return;
  }
  const KeyRange range = QueueRange(partition_, session.client_id);
  batch.DeleteRange(range.begin, range.end);
}

absl::Status QueueEntries::Leave(
    const StateReader& reader, const Session& session, absl::Status& damage,
    absl::FunctionRef<void(uint64_t sequence, const ChunkEntry&)> visit) {
  const auto leave = [&](uint64_t sequence, std::string_view bytes) {
    if (!session.queue.IsOpen(sequence)) return;
    const std::optional<ChunkEntry> entry = ParseChunkEntry(bytes);
    if (!entry.has_value()) return;
    if (entry->body != 0) bodies_.Release(entry->body);
    visit(sequence, *entry);
  };
  const KeyRange range = QueueRange(partition_, session.client_id);
  const std::unique_ptr<StateIterator> it = reader.NewIterator(range.begin, range.end);
  it->Seek(QueueKey(partition_, session.client_id, session.queue.head()));
  for (; it->Valid(); it->Next()) {
    const std::optional<ChunkView> chunk = ParseChunk(it->value());
    if (!chunk.has_value()) return BadChunk(session.client_id);
    for (size_t i = 0; i < chunk->entries.size(); ++i) leave(chunk->first + i, chunk->entries[i]);
  }
  absl::Status status = it->status();
  if (absl::IsDataLoss(status)) {
    damage.Update(status);
    status = absl::OkStatus();
  }
  const QueueTail* const tail = tails_.Find(session);
  for (size_t i = 0; tail != nullptr && i < tail->items.size(); ++i) {
    leave(tail->first + i, tail->Entry(tail->first + i));
  }
  return status;
}

// ---- Reading -----------------------------------------------------------------------------------

namespace {

// Puts one open entry on the page. False if the page is full: read it again the next time.
bool AddToPage(const SessionQueue& queue, uint64_t sequence, const ChunkEntry& entry,
               const mqtt::MessageParts& parts, const mqtt::MessagePtr& shared,
               const QueueReadLimits& limits, int64_t now_unix_ms, size_t& bytes, QueuePage& page) {
  if (page.entries.size() >= limits.messages_max || page.expired.size() >= kExpiredMax) {
    return false;
  }
  if (queue.IsReleased(sequence)) {
    Delivery& delivery = page.entries.emplace_back();
    delivery.sequence = sequence;
    delivery.qos = entry.qos;
    delivery.release = true;  // The message itself is the client's already.
    return true;
  }
  const bool sent_before = sequence <= queue.sent_through();
  const int64_t expires = parts.expires_at_unix_ms;
  if (!sent_before && expires != 0 && expires <= now_unix_ms) {  // [MQTT5-3.3.2-5]
    page.expired.push_back(sequence);
    return true;
  }
  const size_t size = parts.payload.size() + parts.topic.size();
  if (bytes + size > limits.bytes_max && !page.entries.empty()) return false;
  bytes += size;
  Delivery& delivery = page.entries.emplace_back();
  delivery.sequence = sequence;
  delivery.message = shared ? shared : mqtt::Message::Create(parts);
  delivery.qos = entry.qos;
  delivery.retain = entry.retain;
  delivery.dup = sent_before;
  delivery.subscription_ids = entry.subscription_ids;
  return true;
}

}  // namespace

absl::StatusOr<QueuePage> QueueEntries::Read(const StateReader& reader, Session& session,
                                             uint64_t from, const QueueReadLimits& limits,
                                             int64_t now_unix_ms) {
  const SessionQueue& queue = session.queue;
  QueuePage page;
  page.next = queue.NextOpen(from);
  size_t bytes = 0;
  // Whether there is room for the entry, and more.
  const auto add = [&](std::string_view raw) -> absl::StatusOr<bool> {
    const std::optional<ChunkEntry> entry = ParseChunkEntry(raw);
    if (!entry.has_value()) return BadChunk(session.client_id);
    mqtt::MessagePtr shared;
    const auto parts = PartsOf(*entry, reader, shared);
    if (!parts.ok()) return parts.status();
    if (!parts->has_value()) return BadChunk(session.client_id);
    if (!AddToPage(queue, page.next, *entry, **parts, shared, limits, now_unix_ms, bytes, page)) {
      return false;
    }
    page.next = queue.NextOpen(page.next + 1);
    return true;
  };
  const absl::StatusOr<bool> end = ReadEntries(reader, session, page.next, add);
  if (!end.ok()) {
    // What was read before a damaged place is handed over; the next page begins with the error.
    if (page.entries.empty() && page.expired.empty()) return end.status();
    return page;
  }
  page.end = *end;
  return page;
}

absl::StatusOr<ExpiredPage> QueueEntries::FindExpired(const StateReader& reader, Session& session,
                                                      uint64_t from, size_t messages_max,
                                                      int64_t now_unix_ms) {
  const SessionQueue& queue = session.queue;
  ExpiredPage page;
  page.next = queue.NextOpen(std::max(from, queue.sent_through() + 1));
  const auto add = [&](std::string_view raw) -> absl::StatusOr<bool> {
    if (page.read == messages_max) return false;
    const std::optional<ChunkEntry> entry = ParseChunkEntry(raw);
    if (!entry.has_value()) return absl::DataLossError("unreadable queue");
    mqtt::MessagePtr shared;
    const auto parts = PartsOf(*entry, reader, shared);
    if (!parts.ok()) return parts.status();
    const int64_t expires = parts->has_value() ? (*parts)->expires_at_unix_ms : 0;
    if (expires != 0 && expires <= now_unix_ms && !queue.IsReleased(page.next)) {
      page.sequences.push_back(page.next);
    } else if (expires != 0) {
      page.next_unix_ms = std::min(page.next_unix_ms, expires);
    }
    ++page.read;
    page.next = queue.NextOpen(page.next + 1);
    return true;
  };
  const absl::StatusOr<bool> end = ReadEntries(reader, session, page.next, add);
  if (!end.ok()) return end.status();
  page.end = *end;
  return page;
}

// The message, or its body, which `shared` then holds.
absl::StatusOr<std::optional<mqtt::MessageParts>> QueueEntries::PartsOf(const ChunkEntry& entry,
                                                                        const StateReader& reader,
                                                                        mqtt::MessagePtr& shared) {
  if (entry.body == 0) return ParseStoredMessage(entry.message);
  absl::StatusOr<mqtt::MessagePtr> read = bodies_.Read(entry.body, reader);
  if (!read.ok()) return read.status();
  shared = *std::move(read);
  return std::make_optional(shared->parts());
}

// Hands over the open entries from `next` on, stored or not. Whether that were all.
absl::StatusOr<bool> QueueEntries::ReadEntries(const StateReader& reader, Session& session,
                                               const uint64_t& next, AddEntry add) {
  const SessionQueue& queue = session.queue;
  const QueueTail* const tail = tails_.Find(session);
  const uint64_t stored_through =
      tail == nullptr ? queue.tail() : std::min(queue.stored_through(), tail->first - 1);
  if (next <= stored_through) {
    const auto read = ReadStored(reader, session, stored_through, next, add);
    if (!read.ok() || !*read) return read;
  }
  while (next <= queue.tail()) {
    if (tail == nullptr || !tail->Holds(next)) return BadChunk(session.client_id);
    const auto added = add(tail->Entry(next));
    if (!added.ok() || !*added) return added;
  }
  return true;
}

// Hands over the entries from `next` on, which `add` moves, until it is behind `through`. False if
// `add` wants no more.
absl::StatusOr<bool> QueueEntries::ReadStored(const StateReader& reader, Session& session,
                                              uint64_t through, const uint64_t& next,
                                              AddEntry add) {
  SessionQueue& queue = session.queue;
  const KeyRange range = QueueRange(partition_, session.client_id);
  const std::unique_ptr<StateIterator> it = reader.NewIterator(range.begin, range.end);
  for (it->Seek(QueueKey(partition_, session.client_id, next)); it->Valid() && next <= through;
       it->Next()) {
    const std::optional<ChunkView> chunk = ParseChunk(it->value());
    if (!chunk.has_value()) return BadChunk(session.client_id);
    KnownChunk known = SizesOf(*chunk);
    if (queue.known().size() < kKnownByReadingMax && queue.Follows(known)) {
      queue.AddKnown(std::move(known));
    }
    while (next <= chunk->last()) {
      if (next < chunk->first) return BadChunk(session.client_id);
      const auto added = add(chunk->entries[next - chunk->first]);
      if (!added.ok() || !*added) return added;
    }
  }
  if (!it->status().ok()) return it->status();
  if (next <= through) return BadChunk(session.client_id);
  return true;
}

}  // namespace storage
