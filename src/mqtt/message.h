// The Application Message inside the broker: immutable, shared between threads, one heap block.
#ifndef MQTT_MESSAGE_H_
#define MQTT_MESSAGE_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <iosfwd>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "mqtt/packets.h"
#include "mqtt/types.h"

namespace mqtt {

class MessagePtr;

// What an Application Message is made from. Views; `Message::Create` copies them.
struct MessageParts {
  std::string_view topic;
  std::string_view payload;
  // 5.0 properties that go on unaltered, as raw bytes (`ForwardProperties`); empty from 3.1.1.
  std::string_view properties;
  QoS qos = QoS::kAtMostOnce;
  bool retain = false;
  // When the message was received and when its Message Expiry Interval ends, milliseconds since the
  // Unix epoch; expiry 0 is never. What remains is a subtraction when it is sent [MQTT5-3.3.2-6].
  int64_t created_at_unix_ms = 0;
  int64_t expires_at_unix_ms = 0;
  // Client Identifier of who published it, for No Local [MQTT5-3.8.3-3]. Empty: the Server itself.
  std::string_view publisher;
};

// The Message Expiry Interval to send: what was received less what the message has waited
// [MQTT5-3.3.2-6]. In seconds, rounded up so that a living message never says 0, and never more
// than came in, whatever `now` is: it may be of a turn that began before the message came. None if
// the message never expires.
std::optional<uint32_t> RemainingExpiry(int64_t created_at_unix_ms, int64_t expires_at_unix_ms,
                                        int64_t now_unix_ms);

// Never changed after Create, so any thread may read it. Lives as long as some MessagePtr does.
class Message {
 public:
  // Cost: one allocation of `sizeof(Message)` and all the parts' bytes.
  static MessagePtr Create(const MessageParts& parts);

  std::string_view topic() const { return {text(), topic_size_}; }
  std::string_view properties() const { return {text() + topic_size_, properties_size_}; }
  std::string_view publisher() const {
    return {text() + topic_size_ + properties_size_, publisher_size_};
  }
  std::string_view payload() const {
    return {text() + topic_size_ + properties_size_ + publisher_size_, payload_size_};
  }
  QoS qos() const { return qos_; }
  bool retain() const { return retain_; }
  int64_t created_at_unix_ms() const { return created_at_unix_ms_; }
  int64_t expires_at_unix_ms() const { return expires_at_unix_ms_; }

  bool has_expired(int64_t now_unix_ms) const {
    return expires_at_unix_ms_ != 0 && expires_at_unix_ms_ <= now_unix_ms;
  }
  // See RemainingExpiry.
  std::optional<uint32_t> remaining_expiry(int64_t now_unix_ms) const {
    return RemainingExpiry(created_at_unix_ms_, expires_at_unix_ms_, now_unix_ms);
  }

  MessageParts parts() const;

  // Of the whole block: what a bound on memory counts.
  size_t bytes() const {
    return sizeof(Message) + topic_size_ + properties_size_ + publisher_size_ + payload_size_;
  }

  Message(const Message&) = delete;
  Message& operator=(const Message&) = delete;

 private:
  friend class MessagePtr;
  explicit Message(const MessageParts& parts);
  ~Message() = default;
  const char* text() const { return reinterpret_cast<const char*>(this + 1); }
  static void Free(const Message* message);

  mutable std::atomic<uint32_t> references_{1};
  uint32_t payload_size_;
  uint32_t properties_size_;
  uint16_t topic_size_;
  uint16_t publisher_size_;
  int64_t created_at_unix_ms_;
  int64_t expires_at_unix_ms_;
  QoS qos_;
  bool retain_;
};

// A counted reference: eight bytes, null by default. The count is atomic, the pointer is not: one
// MessagePtr belongs to one thread, and moves to another with what holds it.
class MessagePtr {
 public:
  MessagePtr() = default;
  MessagePtr(const MessagePtr& other) : message_(other.message_) { Ref(); }
  MessagePtr(MessagePtr&& other) noexcept : message_(std::exchange(other.message_, nullptr)) {}
  MessagePtr& operator=(const MessagePtr& other) {
    MessagePtr(other).swap(*this);
    return *this;
  }
  MessagePtr& operator=(MessagePtr&& other) noexcept {
    MessagePtr(std::move(other)).swap(*this);
    return *this;
  }
  ~MessagePtr() { Unref(); }

  void swap(MessagePtr& other) noexcept { std::swap(message_, other.message_); }
  void reset() { MessagePtr().swap(*this); }
  const Message* get() const { return message_; }
  const Message& operator*() const { return *message_; }
  const Message* operator->() const { return message_; }
  explicit operator bool() const { return message_ != nullptr; }
  friend bool operator==(const MessagePtr& a, const MessagePtr& b) = default;

 private:
  friend class Message;
  explicit MessagePtr(const Message* message) : message_(message) {}
  void Ref() const {
    if (message_ != nullptr) message_->references_.fetch_add(1, std::memory_order_relaxed);
  }
  void Unref() const {
    if (message_ != nullptr && message_->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      Message::Free(message_);
    }
  }

  const Message* message_ = nullptr;
};

// The message of a PUBLISH. `topic` is the resolved one (Topic Alias), `now_unix_ms` its arrival.
// `scratch` is room for filtered properties and may be reused.
MessagePtr MakeMessage(const Publish& publish, std::string_view topic, std::string_view publisher,
                       int64_t now_unix_ms, std::string& scratch);

// A Will Message as of CONNECT. Its Message Expiry Interval begins only when it is published
// (§3.1.3.2.4): see Restamp.
MessagePtr MakeMessage(const Will& will, std::string_view publisher, int64_t now_unix_ms,
                       std::string& scratch);

// A copy that was received at `now_unix_ms` and lives as long from then on as the original did from
// its own: a Will Message at the moment it is published.
MessagePtr Restamp(const Message& message, int64_t now_unix_ms);

std::ostream& operator<<(std::ostream& out, const Message& message);

}  // namespace mqtt

#endif  // MQTT_MESSAGE_H_
