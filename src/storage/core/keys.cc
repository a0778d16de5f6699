#include "storage/core/keys.h"

#include <algorithm>

#include "base/check.h"

namespace storage {
namespace {

constexpr size_t kPrefixBytes = 3;  // Partition and kind.
constexpr size_t kSequenceBytes = 8;

template <typename Int>
void AppendBigEndian(std::string& out, Int value) {
  for (int shift = static_cast<int>(sizeof(Int)) * 8 - 8; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift & 0xFF));
  }
}

uint64_t ReadBigEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<uint8_t>(byte);
  return value;
}

std::string Prefix(PartitionId partition, KeyKind kind, size_t more_bytes = 0) {
  std::string key;
  key.reserve(kPrefixBytes + more_bytes);
  AppendBigEndian(key, partition);
  key.push_back(static_cast<char>(kind));
  return key;
}

std::string WithSession(PartitionId partition, KeyKind kind, std::string_view client_id,
                        size_t more_bytes = 0) {
  std::string key = Prefix(partition, kind, 10 + client_id.size() + more_bytes);
  AppendBigEndian(key, StableHash(client_id));
  AppendBigEndian(key, static_cast<uint16_t>(client_id.size()));
  key.append(client_id);
  return key;
}

// The least key that is greater than every key with this prefix.
std::string After(std::string prefix) {
  while (!prefix.empty() && static_cast<uint8_t>(prefix.back()) == 0xFF) prefix.pop_back();
  CHECK(!prefix.empty()) << "a prefix of 0xFF bytes only";
  prefix.back() = static_cast<char>(static_cast<uint8_t>(prefix.back()) + 1);
  return prefix;
}

std::string WithNumber(PartitionId partition, KeyKind kind, uint64_t number) {
  std::string key = Prefix(partition, kind, kSequenceBytes);
  AppendBigEndian(key, number);
  return key;
}

}  // namespace

uint64_t StableHash(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325;  // FNV-1a …
  for (const char c : text) {
    hash ^= static_cast<uint8_t>(c);
    hash *= 0x100000001B3;
  }
  hash ^= hash >> 33;  // … and a finisher, so that the low bits depend on all of it.
  hash *= 0xFF51AFD7ED558CCD;
  hash ^= hash >> 33;
  hash *= 0xC4CEB9FE1A85EC53;
  hash ^= hash >> 33;
  return hash;
}

PartitionId PartitionOfClient(std::string_view client_id, uint32_t partitions) {
  DCHECK(partitions != 0 && (partitions & (partitions - 1)) == 0) << "not a power of two";
  return static_cast<PartitionId>(StableHash(client_id) & (partitions - 1));
}

PartitionId PartitionOfTopic(std::string_view topic, uint32_t partitions) {
  return PartitionOfClient(topic, partitions);
}

KeyRange RangeOf(PartitionId partition) {
  std::string begin;
  AppendBigEndian(begin, partition);
  return {begin, After(begin)};
}

KeyRange RangeOf(PartitionId partition, KeyKind kind) {
  std::string begin = Prefix(partition, kind);
  std::string end = After(begin);
  return {std::move(begin), std::move(end)};
}

KeyRange QueueRange(PartitionId partition, std::string_view client_id) {
  std::string begin = WithSession(partition, KeyKind::kQueue, client_id);
  std::string end = After(begin);
  return {std::move(begin), std::move(end)};
}

std::string MetaKey(PartitionId partition) { return Prefix(partition, KeyKind::kMeta); }

std::string SessionKey(PartitionId partition, std::string_view client_id) {
  return WithSession(partition, KeyKind::kSession, client_id);
}

std::string CursorKey(PartitionId partition, std::string_view client_id) {
  return WithSession(partition, KeyKind::kCursor, client_id);
}

std::string SubscriptionKey(PartitionId partition, std::string_view client_id,
                            std::string_view filter) {
  std::string key = WithSession(partition, KeyKind::kSubscription, client_id, filter.size());
  key.append(filter);
  return key;
}

std::string ReplayKey(PartitionId partition, std::string_view client_id, uint64_t number) {
  std::string key = WithSession(partition, KeyKind::kReplay, client_id, kSequenceBytes);
  AppendBigEndian(key, number);
  return key;
}

std::string QueueKey(PartitionId partition, std::string_view client_id, uint64_t last_sequence) {
  std::string key = WithSession(partition, KeyKind::kQueue, client_id, kSequenceBytes);
  AppendBigEndian(key, last_sequence);
  return key;
}

std::string RetainedKey(PartitionId partition, std::string_view topic) {
  std::string key = Prefix(partition, KeyKind::kRetained, topic.size());
  key.append(topic);
  std::replace(key.begin() + kPrefixBytes, key.end(), '/', '\0');
  return key;
}

std::string RetainedExpiryKey(PartitionId partition, int64_t expires_at_unix_ms,
                              std::string_view topic) {
  std::string key = Prefix(partition, KeyKind::kRetainedExpiry, kSequenceBytes + topic.size());
  AppendBigEndian(key, static_cast<uint64_t>(expires_at_unix_ms));
  key.append(topic);
  return key;
}

std::string OutboxKey(PartitionId partition, uint64_t number) {
  return WithNumber(partition, KeyKind::kOutbox, number);
}

std::string BodyKey(PartitionId partition, uint64_t number) {
  return WithNumber(partition, KeyKind::kBody, number);
}

std::string BodyCountKey(PartitionId partition, uint64_t number) {
  return WithNumber(partition, KeyKind::kBodyCount, number);
}

void ReplaceSequence(std::string& key, uint64_t sequence) {
  key.resize(key.size() - kSequenceBytes);
  AppendBigEndian(key, sequence);
}

std::optional<uint64_t> SequenceOf(std::string_view key) {
  if (key.size() < kPrefixBytes + kSequenceBytes) return std::nullopt;
  return ReadBigEndian(key.substr(key.size() - kSequenceBytes));
}

std::optional<std::string_view> ClientIdOf(std::string_view key) {
  if (key.size() < kPrefixBytes + 10) return std::nullopt;
  const size_t size = ReadBigEndian(key.substr(kPrefixBytes + 8, 2));
  key.remove_prefix(kPrefixBytes + 10);
  if (key.size() < size) return std::nullopt;
  return key.substr(0, size);
}

std::optional<std::string_view> FilterOf(std::string_view key) {
  const std::optional<std::string_view> client_id = ClientIdOf(key);
  if (!client_id.has_value()) return std::nullopt;
  return key.substr(kPrefixBytes + 10 + client_id->size());
}

std::string TopicOf(std::string_view key) {
  std::string topic(key.substr(std::min(key.size(), kPrefixBytes)));
  std::replace(topic.begin(), topic.end(), '\0', '/');
  return topic;
}

std::optional<RetainedExpiryKeyView> ParseRetainedExpiryKey(std::string_view key) {
  if (key.size() <= kPrefixBytes + kSequenceBytes) return std::nullopt;
  return RetainedExpiryKeyView{
      static_cast<int64_t>(ReadBigEndian(key.substr(kPrefixBytes, kSequenceBytes))),
      key.substr(kPrefixBytes + kSequenceBytes)};
}

}  // namespace storage
