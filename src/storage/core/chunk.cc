#include "storage/core/chunk.h"

#include "storage/core/wire.h"

namespace storage {
namespace {

// Field numbers of QueueChunk and QueueEntry.
constexpr uint32_t kFirst = 1, kEntries = 3;
constexpr uint32_t kMessage = 1, kQos = 2, kRetain = 3, kSubscriptionIds = 4, kShareFilter = 5,
                   kBody = 6, kSize = 7;

size_t PackedSize(absl::Span<const uint32_t> numbers) {
  size_t size = 0;
  for (const uint32_t number : numbers) size += wire::VarintSize(number);
  return size;
}

bool ParsePacked(std::string_view packed, absl::InlinedVector<uint32_t, 1>& numbers) {
  uint64_t value = 0;
  unsigned shift = 0;
  for (const char c : packed) {
    const auto byte = static_cast<uint8_t>(c);
    if (shift > 28) return false;
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    shift += 7;
    if (byte >= 0x80) continue;
    numbers.push_back(static_cast<uint32_t>(value));
    value = 0;
    shift = 0;
  }
  return shift == 0;
}

}  // namespace

uint32_t ChunkEntrySize(const ChunkEntry& entry) {
  size_t size = wire::BytesSize(entry.message) +
                wire::NumberSize(static_cast<uint64_t>(entry.qos)) + (entry.retain ? 2 : 0) +
                wire::BytesSize(entry.share_filter) + wire::NumberSize(entry.body) +
                wire::NumberSize(entry.size);
  if (!entry.subscription_ids.empty()) {
    const size_t packed = PackedSize(entry.subscription_ids);
    size += 1 + wire::VarintSize(packed) + packed;
  }
  return static_cast<uint32_t>(size);
}

void AppendChunkEntry(const ChunkEntry& entry, std::string& out) {
  wire::AppendBytes(out, kMessage, entry.message);
  wire::AppendNumber(out, kQos, static_cast<uint64_t>(entry.qos));
  wire::AppendNumber(out, kRetain, entry.retain ? 1 : 0);
  if (!entry.subscription_ids.empty()) {
    out.push_back(static_cast<char>(kSubscriptionIds << 3 | 2));
    wire::AppendVarint(out, PackedSize(entry.subscription_ids));
    for (const uint32_t id : entry.subscription_ids) wire::AppendVarint(out, id);
  }
  wire::AppendBytes(out, kShareFilter, entry.share_filter);
  wire::AppendNumber(out, kBody, entry.body);
  wire::AppendNumber(out, kSize, entry.size);
}

void BeginChunk(uint64_t first, std::string& out) { wire::AppendNumber(out, kFirst, first); }

void AddToChunk(std::string_view entry, std::string& out) {
  wire::AppendElement(out, kEntries, entry);
}

std::optional<ChunkView> ParseChunk(std::string_view bytes) {
  ChunkView chunk;
  wire::Reader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case kFirst:
        chunk.first = reader.number();
        break;
      case kEntries:
        chunk.entries.push_back(reader.bytes());
        break;
      default:
        break;
    }
  }
  if (!reader.ok() || chunk.first == 0 || chunk.entries.empty()) return std::nullopt;
  return chunk;
}

std::optional<ChunkEntry> ParseChunkEntry(std::string_view bytes) {
  ChunkEntry entry;
  wire::Reader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case kMessage:
        entry.message = reader.bytes();
        break;
      case kQos:
        if (reader.number() > 2) return std::nullopt;
        entry.qos = static_cast<mqtt::QoS>(reader.number());
        break;
      case kRetain:
        entry.retain = reader.number() != 0;
        break;
      case kSubscriptionIds:
        if (!ParsePacked(reader.bytes(), entry.subscription_ids)) return std::nullopt;
        break;
      case kShareFilter:
        entry.share_filter = reader.bytes();
        break;
      case kBody:
        entry.body = reader.number();
        break;
      case kSize:
        entry.size = static_cast<uint32_t>(reader.number());
        break;
      default:
        break;
    }
  }
  if (!reader.ok()) return std::nullopt;
  return entry;
}

EntryFacts FactsOfEntry(std::string_view bytes) {
  // The message comes first, where there is one.
  if (!bytes.empty() && bytes.front() == static_cast<char>(kMessage << 3 | 2)) {
    return {static_cast<uint32_t>(bytes.size()), 0};
  }
  const std::optional<ChunkEntry> entry = ParseChunkEntry(bytes);
  if (!entry.has_value() || entry->body == 0) return {static_cast<uint32_t>(bytes.size()), 0};
  return {entry->size, entry->body};
}

}  // namespace storage
