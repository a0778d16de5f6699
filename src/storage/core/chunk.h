// QueueChunk of proto/mqttd/storage/v1/records.proto, written and read by hand: a message goes from
// the command into the chunk as bytes, and out of it into a Message.
#ifndef STORAGE_CORE_CHUNK_H_
#define STORAGE_CORE_CHUNK_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"
#include "mqtt/types.h"

namespace storage {

struct ChunkEntry {
  std::string_view message;  // A StoredMessage. Empty: it is the body of the number.
  uint64_t body = 0;
  uint32_t size = 0;  // With a body: EntrySize as if the message stood here.
  mqtt::QoS qos = mqtt::QoS::kAtMostOnce;
  bool retain = false;
  absl::InlinedVector<uint32_t, 1> subscription_ids;
  std::string_view share_filter;
};

// The size of the bytes. With the message in it, this is what it counts for in the bounds of a
// queue, and as `sizes` in memory, whether the message is shared or not.
uint32_t ChunkEntrySize(const ChunkEntry& entry);
// Appends a QueueEntry.
void AppendChunkEntry(const ChunkEntry& entry, std::string& out);
// Begins a chunk in `out`, which is empty; then come its entries.
void BeginChunk(uint64_t first, std::string& out);
void AddToChunk(std::string_view entry, std::string& out);

struct ChunkView {
  uint64_t first = 0;
  absl::InlinedVector<std::string_view, 16> entries;  // Each for ParseChunkEntry; its size counts.
  uint64_t last() const { return first + entries.size() - 1; }
};

// None if the bytes are not a chunk, or one without entries.
std::optional<ChunkView> ParseChunk(std::string_view bytes);
std::optional<ChunkEntry> ParseChunkEntry(std::string_view bytes);

// What one costs to know, and of which body it is (0: of its own).
struct EntryFacts {
  uint32_t size = 0;
  uint64_t body = 0;
};
EntryFacts FactsOfEntry(std::string_view bytes);

}  // namespace storage

#endif  // STORAGE_CORE_CHUNK_H_
