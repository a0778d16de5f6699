// Keys of the state store.
//
//   partition (2 bytes, big-endian) | kind (1 byte) | rest by kind
//     'M'  nothing                                      Meta
//     'S'  session key                                  Session
//     'C'  session key                                  Cursor
//     'U'  session key | filter                         Subscription
//     'P'  session key | number (8, big-endian)         Replay
//     'Q'  session key | last sequence (8, big-endian)  QueueChunk
//     'R'  topic, each '/' as 0x00                      RetainedRecord
//     'E'  when it expires (8, big-endian) | topic      RetainedExpiry, of a message that does
//     'O'  number (8, big-endian)                       OutboxRecord
//     'B'  number (8, big-endian)                       StoredMessage that several queues share
//     'N'  number (8, big-endian)                       BodyCount
//   session key: hash of the Client Identifier (8, big-endian) | its length (2) | the identifier.
//
// A chunk is keyed by its last sequence, so that Seek(queue | n) finds the chunk that holds n. The
// whole hash stands in the key: when the number
// of partitions doubles, half of a partition's sessions move, and they are found by their hash.
// A topic has no U+0000 [MQTT-4.7.3-2], so its level separator can be the lowest byte: all topics
// below "a" then follow "a" at once, before "a-b", and one seek skips them.
#ifndef STORAGE_CORE_KEYS_H_
#define STORAGE_CORE_KEYS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "storage/core/partition_api.h"

namespace storage {

// 2: the Cursor says where a queue ends (before, its last chunk did), and large messages are
// shared.
inline constexpr uint32_t kStateFormat = 2;

enum class KeyKind : char {
  kMeta = 'M',
  kSession = 'S',
  kCursor = 'C',
  kSubscription = 'U',
  kReplay = 'P',
  kQueue = 'Q',
  kRetained = 'R',
  kRetainedExpiry = 'E',
  kOutbox = 'O',
  kBody = 'B',
  kBodyCount = 'N',
};

// Stable for ever: it is in keys, and it says where a session lives.
uint64_t StableHash(std::string_view text);

// `partitions` is a power of two.
PartitionId PartitionOfClient(std::string_view client_id, uint32_t partitions);
PartitionId PartitionOfTopic(std::string_view topic, uint32_t partitions);

// Everything of a partition, or of one kind, lies within [begin, end).
struct KeyRange {
  std::string begin;
  std::string end;
};
KeyRange RangeOf(PartitionId partition);
KeyRange RangeOf(PartitionId partition, KeyKind kind);
KeyRange QueueRange(PartitionId partition, std::string_view client_id);

std::string MetaKey(PartitionId partition);
std::string SessionKey(PartitionId partition, std::string_view client_id);
std::string CursorKey(PartitionId partition, std::string_view client_id);
std::string SubscriptionKey(PartitionId partition, std::string_view client_id,
                            std::string_view filter);
std::string ReplayKey(PartitionId partition, std::string_view client_id, uint64_t number);
std::string QueueKey(PartitionId partition, std::string_view client_id, uint64_t last_sequence);
std::string RetainedKey(PartitionId partition, std::string_view topic);
std::string RetainedExpiryKey(PartitionId partition, int64_t expires_at_unix_ms,
                              std::string_view topic);
std::string OutboxKey(PartitionId partition, uint64_t number);
std::string BodyKey(PartitionId partition, uint64_t number);
std::string BodyCountKey(PartitionId partition, uint64_t number);

// A queue or outbox key of another sequence, without building it again.
void ReplaceSequence(std::string& key, uint64_t sequence);

// What stands at the end of a queue, outbox or body key. None if the key is too short.
std::optional<uint64_t> SequenceOf(std::string_view key);
// The Client Identifier in a key that has a session key. None if the key is not one.
std::optional<std::string_view> ClientIdOf(std::string_view key);
// What follows the session key: the filter of a subscription key.
std::optional<std::string_view> FilterOf(std::string_view key);
// The topic of a retained key, separators put back.
std::string TopicOf(std::string_view key);
// What a key of the expiry index says. None if the key is not one.
struct RetainedExpiryKeyView {
  int64_t expires_at_unix_ms = 0;
  std::string_view topic;
};
std::optional<RetainedExpiryKeyView> ParseRetainedExpiryKey(std::string_view key);

}  // namespace storage

#endif  // STORAGE_CORE_KEYS_H_
