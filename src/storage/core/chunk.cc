#include "storage/core/chunk.h"

#include "storage/core/wire.h"

namespace storage {
namespace {

// Field numbers of QueueChunk and QueueEntry.
constexpr uint32_t kFirst = 1, kEntries = 3;
constexpr uint32_t kMessage = 1, kQos = 2, kRetain = 3, kSubscriptionIds = 4, kShareFilter = 5,
                   kBody = 6, kSize = 7;

}  // namespace

uint32_t ChunkEntrySize(const ChunkEntry& entry) {
  const size_t size = wire::BytesSize(entry.message) +
                      wire::NumberSize(static_cast<uint64_t>(entry.qos)) + (entry.retain ? 2 : 0) +
                      wire::BytesSize(entry.share_filter) + wire::NumberSize(entry.body) +
                      wire::NumberSize(entry.size) + wire::PackedSize(entry.subscription_ids);
  return static_cast<uint32_t>(size);
}

void AppendChunkEntry(const ChunkEntry& entry, std::string& out) {
  wire::Append(out, ChunkEntrySize(entry), [&](wire::Writer& to) {
    to.Bytes(kMessage, entry.message);
    to.Number(kQos, static_cast<uint64_t>(entry.qos));
    to.Number(kRetain, entry.retain ? 1 : 0);
    to.Packed(kSubscriptionIds, entry.subscription_ids);
    to.Bytes(kShareFilter, entry.share_filter);
    to.Number(kBody, entry.body);
    to.Number(kSize, entry.size);
  });
}

void BeginChunk(uint64_t first, std::string& out) {
  wire::Append(out, wire::NumberSize(first), [&](wire::Writer& to) { to.Number(kFirst, first); });
}

void AddToChunk(std::string_view entry, std::string& out) {
  wire::Append(out, wire::ElementSize(entry.size()),
               [&](wire::Writer& to) { to.Element(kEntries, entry); });
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
        if (!wire::ParsePacked(reader.bytes(), entry.subscription_ids)) return std::nullopt;
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
