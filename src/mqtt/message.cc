#include "mqtt/message.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <limits>
#include <new>

#include "base/check.h"
#include "base/metric.h"
#include "mqtt/message_memory.h"

namespace mqtt {
namespace {

constexpr int64_t kMsPerSecond = 1000;

int64_t ExpiresAt(std::optional<uint32_t> interval_seconds, int64_t now_unix_ms) {
  if (!interval_seconds.has_value()) return 0;
  return std::max<int64_t>(1, now_unix_ms + int64_t{*interval_seconds} * kMsPerSecond);
}

char* Put(char* to, std::string_view text) {
  if (!text.empty()) std::memcpy(to, text.data(), text.size());
  return to + text.size();
}

// A thread's own count of the bytes it made less those it freed: on the fast path an addition,
// where one count for all threads would be a cache line that all of them write.
class MessageMemory {
 public:
  static void Add(int64_t bytes) {
    thread_local uint32_t own = kUnknown;
    if (own == kUnknown) own = std::min(next_.fetch_add(1, std::memory_order_relaxed), kShared);
    if (own < kShared) return counts_[own].bytes.Add(bytes);
    shared_.fetch_add(bytes, std::memory_order_relaxed);
  }
  static int64_t Sum() {
    int64_t sum = shared_.load(std::memory_order_relaxed);
    for (const Count& count : counts_) sum += count.bytes.value();
    return sum;
  }

 private:
  static constexpr uint32_t kShared = 128;  // From this thread on, all share one.
  static constexpr uint32_t kUnknown = UINT32_MAX;
  struct alignas(64) Count {
    base::Gauge bytes;
  };
  static inline std::array<Count, kShared> counts_;
  static inline std::atomic<int64_t> shared_{0};
  static inline std::atomic<uint32_t> next_{0};
};

}  // namespace

int64_t MessageMemoryBytes() { return MessageMemory::Sum(); }

Message::Message(const MessageParts& parts)
    : payload_size_(static_cast<uint32_t>(parts.payload.size())),
      properties_size_(static_cast<uint32_t>(parts.properties.size())),
      topic_size_(static_cast<uint16_t>(parts.topic.size())),
      publisher_size_(static_cast<uint16_t>(parts.publisher.size())),
      created_at_unix_ms_(parts.created_at_unix_ms),
      expires_at_unix_ms_(parts.expires_at_unix_ms),
      qos_(parts.qos),
      retain_(parts.retain) {
  char* to = reinterpret_cast<char*>(this + 1);
  to = Put(to, parts.topic);
  to = Put(to, parts.properties);
  to = Put(to, parts.publisher);
  Put(to, parts.payload);
}

MessagePtr Message::Create(const MessageParts& parts) {
  CHECK(parts.topic.size() <= UINT16_MAX && parts.publisher.size() <= UINT16_MAX)
      << "topic of " << parts.topic.size() << " bytes, publisher of " << parts.publisher.size();
  CHECK(parts.payload.size() <= UINT32_MAX && parts.properties.size() <= UINT32_MAX)
      << "a message larger than any packet";
  const size_t size = sizeof(Message) + parts.topic.size() + parts.properties.size() +
                      parts.publisher.size() + parts.payload.size();
  MessageMemory::Add(static_cast<int64_t>(size));
  return MessagePtr(new (::operator new(size)) Message(parts));
}

void Message::Free(const Message* message) {
  MessageMemory::Add(-static_cast<int64_t>(message->bytes()));
  message->~Message();
  ::operator delete(const_cast<Message*>(message));
}

std::optional<uint32_t> RemainingExpiry(int64_t created_at_unix_ms, int64_t expires_at_unix_ms,
                                        int64_t now_unix_ms) {
  if (expires_at_unix_ms == 0) return std::nullopt;
  const int64_t left_ms = expires_at_unix_ms - std::max(created_at_unix_ms, now_unix_ms);
  if (left_ms <= 0) return 0;
  const int64_t left_s = (left_ms - 1) / kMsPerSecond + 1;
  return static_cast<uint32_t>(std::min<int64_t>(left_s, std::numeric_limits<uint32_t>::max()));
}

MessageParts Message::parts() const {
  return {.topic = topic(),
          .payload = payload(),
          .properties = properties(),
          .qos = qos_,
          .retain = retain_,
          .created_at_unix_ms = created_at_unix_ms_,
          .expires_at_unix_ms = expires_at_unix_ms_,
          .publisher = publisher()};
}

MessagePtr MakeMessage(const Publish& publish, std::string_view topic, std::string_view publisher,
                       int64_t now_unix_ms, std::string& scratch) {
  return Message::Create(
      {.topic = topic,
       .payload = publish.payload,
       .properties = ForwardProperties(publish, scratch),
       .qos = publish.qos,
       .retain = publish.retain,
       .created_at_unix_ms = now_unix_ms,
       .expires_at_unix_ms = ExpiresAt(publish.message_expiry_interval, now_unix_ms),
       .publisher = publisher});
}

MessagePtr MakeMessage(const Will& will, std::string_view publisher, int64_t now_unix_ms,
                       std::string& scratch) {
  return Message::Create(
      {.topic = will.topic,
       .payload = will.payload,
       .properties = ForwardProperties(will, scratch),
       .qos = will.qos,
       .retain = will.retain,
       .created_at_unix_ms = now_unix_ms,
       .expires_at_unix_ms = ExpiresAt(will.message_expiry_interval, now_unix_ms),
       .publisher = publisher});
}

MessagePtr Restamp(const Message& message, int64_t now_unix_ms) {
  MessageParts parts = message.parts();
  if (parts.expires_at_unix_ms != 0) {
    parts.expires_at_unix_ms += now_unix_ms - parts.created_at_unix_ms;
  }
  parts.created_at_unix_ms = now_unix_ms;
  return Message::Create(parts);
}

}  // namespace mqtt
