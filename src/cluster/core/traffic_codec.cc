#include "cluster/core/traffic_codec.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "cluster/core/traffic_fields.h"
#include "storage/core/message_codec.h"
#include "storage/core/wire.h"

namespace cluster {
namespace {

namespace wire = storage::wire;

// ---- What a field may be ------------------------------------------------------------------------

template <typename Value>
concept Number = std::unsigned_integral<Value>;

template <typename Value>
concept Identifier = requires(Value value) {
  { value.value() } -> std::unsigned_integral;
  typename Value::rep;
};

template <typename Value>
concept Enumeration = std::is_enum_v<Value>;

// The greatest value that an enumeration has.
template <Enumeration Value>
constexpr Value Greatest() {
  if constexpr (std::is_same_v<Value, mqtt::Version>) {
    return mqtt::Version::k5;
  } else if constexpr (std::is_same_v<Value, mqtt::QoS>) {
    return mqtt::QoS::kExactlyOnce;
  } else if constexpr (std::is_same_v<Value, storage::CloseCause>) {
    return storage::CloseCause::kServerShutdown;
  } else if constexpr (std::is_same_v<Value, storage::OutboxDone::Fate>) {
    return storage::OutboxDone::Fate::kBehind;
  } else if constexpr (std::is_same_v<Value, storage::AckKind>) {
    return storage::AckKind::kPubComp;
  } else if constexpr (std::is_same_v<Value, storage::OpenRefusal>) {
    return storage::OpenRefusal::kIdentifierFight;
  } else {
    static_assert(std::is_same_v<Value, storage::ShareMemberChange::State>);
    return storage::ShareMemberChange::State::kGone;
  }
}

// What is written as one number.
template <typename Value>
inline constexpr bool kIsNumber = Number<Value> || Identifier<Value> || Enumeration<Value> ||
                                  std::is_same_v<Value, mqtt::SubscriptionOptions>;

template <typename Value>
uint64_t AsNumber(const Value& value) {
  if constexpr (Identifier<Value>) {
    return value.value();
  } else if constexpr (std::is_same_v<Value, mqtt::SubscriptionOptions>) {
    return value.ToByte();
  } else {
    return static_cast<uint64_t>(value);
  }
}

// False: the value cannot have it.
template <typename Value>
bool FromNumber(uint64_t number, Value& value) {
  if constexpr (std::is_same_v<Value, bool>) {
    value = number != 0;
    return number <= 1;
  } else if constexpr (Identifier<Value>) {
    value = Value(static_cast<typename Value::rep>(number));
    return number <= std::numeric_limits<typename Value::rep>::max();
  } else if constexpr (std::is_same_v<Value, mqtt::SubscriptionOptions>) {
    if (number > 0x3F || (number & 3) == 3 || number >> 4 == 3) return false;
    value = mqtt::SubscriptionOptions::FromByte(static_cast<uint8_t>(number));
    return true;
  } else if constexpr (Enumeration<Value>) {
    if (number > static_cast<uint64_t>(Greatest<Value>())) return false;
    value = static_cast<Value>(number);
    return true;
  } else {
    value = static_cast<Value>(number);
    return number <= std::numeric_limits<Value>::max();
  }
}

template <typename Value>
concept List = requires {
  typename Value::value_type;
}
&&!std::is_same_v<Value, std::string>;

using FiltersPtr = std::shared_ptr<const std::vector<std::string>>;

// ---- Measuring and writing ----------------------------------------------------------------------

template <typename Value>
size_t SizeOf(const Value& value);
template <typename Value>
void Write(const Value& value, wire::Writer& out);

struct StatusFields {
  uint32_t code = 0;
  std::string_view message;
};

// Bytes of what stands for itself in a field: a message, a text. Not for numbers.
size_t BytesOf(const std::string& text) { return text.size(); }
size_t BytesOf(const mqtt::MessagePtr& message) {
  return !message ? 0 : storage::StoredMessageSize(message->parts());
}
size_t BytesOf(const absl::Status& status) {
  if (status.ok()) return 0;
  return wire::NumberSize(static_cast<uint64_t>(status.code())) +
         wire::BytesSize({status.message().data(), status.message().size()});
}
template <typename Value>
size_t BytesOf(const Value& value) {
  return SizeOf(value);
}

void WriteBytes(const std::string& text, wire::Writer& out) { out.Raw(text); }
void WriteBytes(const mqtt::MessagePtr& message, wire::Writer& out) {
  if (message) storage::WriteStoredMessage(message->parts(), out);
}
void WriteBytes(const absl::Status& status, wire::Writer& out) {
  if (status.ok()) return;
  out.Number(1, static_cast<uint64_t>(status.code()));
  out.Bytes(2, {status.message().data(), status.message().size()});
}
template <typename Value>
void WriteBytes(const Value& value, wire::Writer& out) {
  Write(value, out);
}

class Measuring {
 public:
  template <typename Value>
  void operator()(uint32_t number, const Value& value) {
    if constexpr (std::is_same_v<Value, FiltersPtr>) {
      if (value != nullptr) (*this)(number, *value);
    } else if constexpr (kIsNumber<Value>) {
      size +=
          number < 16 ? wire::NumberSize(AsNumber(value)) : wire::HighNumberSize(AsNumber(value));
    } else if constexpr (requires { value.has_value(); }) {
      if (!value.has_value()) return;
      if constexpr (kIsNumber<typename Value::value_type>) {
        size += 1 + wire::VarintSize(AsNumber(*value));
      } else {
        size += wire::ElementSize(BytesOf(*value));
      }
    } else if constexpr (List<Value>) {
      if constexpr (kIsNumber<typename Value::value_type>) {
        size += wire::PackedSize(value);
      } else {
        for (const auto& element : value) size += wire::ElementSize(BytesOf(element));
      }
    } else {
      const size_t bytes = BytesOf(value);
      if (bytes != 0) size += wire::ElementSize(bytes);
    }
  }

  size_t size = 0;
};

class Writing {
 public:
  explicit Writing(wire::Writer& out) : out_(out) {}

  template <typename Value>
  void operator()(uint32_t number, const Value& value) {
    if constexpr (std::is_same_v<Value, FiltersPtr>) {
      if (value != nullptr) (*this)(number, *value);
    } else if constexpr (kIsNumber<Value>) {
      number < 16 ? out_.Number(number, AsNumber(value)) : out_.HighNumber(number, AsNumber(value));
    } else if constexpr (requires { value.has_value(); }) {
      if (!value.has_value()) return;
      if constexpr (kIsNumber<typename Value::value_type>) {
        out_.PresentNumber(number, AsNumber(*value));
      } else {
        Element(number, *value);
      }
    } else if constexpr (List<Value>) {
      if constexpr (kIsNumber<typename Value::value_type>) {
        out_.Packed(number, value);
      } else {
        for (const auto& element : value) Element(number, element);
      }
    } else {
      if (BytesOf(value) != 0) Element(number, value);
    }
  }

 private:
  template <typename Value>
  void Element(uint32_t number, const Value& value) {
    out_.Header(number, BytesOf(value));
    WriteBytes(value, out_);
  }

  wire::Writer& out_;
};

template <typename Value>
size_t SizeOf(const Value& value) {
  Measuring measuring;
  traffic::Fields(measuring, value);
  return measuring.size;
}

template <typename Value>
void Write(const Value& value, wire::Writer& out) {
  Writing writing(out);
  traffic::Fields(writing, value);
}

// ---- Reading ------------------------------------------------------------------------------------

template <typename Value>
bool Read(std::string_view bytes, Value& value);

bool ReadBytes(std::string_view bytes, std::string& text) {
  text = bytes;
  return true;
}
bool ReadBytes(std::string_view bytes, mqtt::MessagePtr& message) {
  message = storage::DecodeStoredMessage(bytes);
  return static_cast<bool>(message);
}
bool ReadBytes(std::string_view bytes, absl::Status& status) {
  StatusFields fields;
  wire::Reader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == 1 && !FromNumber(reader.number(), fields.code)) return false;
    if (reader.field() == 2) fields.message = reader.bytes();
  }
  // A code of a later release is not well either.
  const bool known = fields.code <= static_cast<uint32_t>(absl::StatusCode::kUnauthenticated);
  status = {known ? static_cast<absl::StatusCode>(fields.code) : absl::StatusCode::kUnknown,
            {fields.message.data(), fields.message.size()}};
  return reader.ok();
}
template <typename Value>
bool ReadBytes(std::string_view bytes, Value& value) {
  return Read(bytes, value);
}

// A number that is not written is 0, whatever a value of C++ begins with.
struct Zeroing {
  template <typename Value>
  void operator()(uint32_t /*number*/, Value& value) {
    if constexpr (kIsNumber<Value>) FromNumber(0, value);
  }
};

// Takes the field at which the reader stands.
class Reading {
 public:
  explicit Reading(const wire::Reader& reader) : reader_(reader) {}

  template <typename Value>
  void operator()(uint32_t number, Value& value) {
    if (number == reader_.field()) ok_ = Take(value) && ok_;
  }

  bool ok() const { return ok_; }

 private:
  template <typename Value>
  bool Take(Value& value) {
    if constexpr (std::is_same_v<Value, FiltersPtr>) {
      auto filters = value == nullptr ? std::make_shared<std::vector<std::string>>()
                                      : std::const_pointer_cast<std::vector<std::string>>(value);
      filters->emplace_back(reader_.bytes());
      value = std::move(filters);
      return true;
    } else if constexpr (kIsNumber<Value>) {
      return FromNumber(reader_.number(), value);
    } else if constexpr (requires { value.has_value(); }) {
      return Take(value.emplace());
    } else if constexpr (List<Value>) {
      using Element = typename Value::value_type;
      if constexpr (kIsNumber<Element>) {
        return wire::ParsePacked(reader_.bytes(), value);
      } else {
        return ReadBytes(reader_.bytes(), value.emplace_back());
      }
    } else {
      return ReadBytes(reader_.bytes(), value);
    }
  }

  const wire::Reader& reader_;
  bool ok_ = true;
};

template <typename Value>
bool Read(std::string_view bytes, Value& value) {
  Zeroing zeroing;
  traffic::Fields(zeroing, value);
  wire::Reader reader(bytes);
  while (reader.Next()) {
    Reading reading(reader);
    traffic::Fields(reading, value);
    if (!reading.ok()) return false;
  }
  return reader.ok();
}

// ---- Kinds --------------------------------------------------------------------------------------

// The first byte of an item. Numbers are never used again.
enum class Kind : uint8_t {
  kOpenSession = 1,
  kCloseSession = 2,
  kSubscribe = 3,
  kUnsubscribe = 4,
  kPublish = 5,
  kAcknowledge = 7,
  kReleaseInbound = 8,
  kScanRetained = 9,
  kConfirmRoutes = 10,
  kReplayTaken = 11,
  kClaims = 12,
  kOutboxDone = 13,
  kOutboxAssign = 14,
  kAcceptInbound = 15,

  kSessionOpened = 33,
  kTakenOver = 34,
  kSubscribeDone = 35,
  kUnsubscribeDone = 36,
  kPublished = 37,
  kDeliver = 38,
  kReleaseDue = 39,
  kInboundReleased = 40,
  kRetainedPage = 41,
  kRouteChange = 42,
  kRouteBlock = 43,
  kShareMemberChange = 44,
  kShareMemberRoom = 45,
  kSessionTooSlow = 46,
  kRouteMessage = 47,
  kStreamAck = 48,
  kClaimsWanted = 49,
  kStorageState = 50,

  kForwardsTaken = 65,
  kRoutesWanted = 66,
  kRoutesTold = 67,
  kRoutesTaken = 68,
  kKnowRoutes = 69,
  kRoutesKnown = 70,
  kFeedRoutes = 71,
  kFeedTaken = 72,
  kScanWanted = 73,
  kScanDone = 74,

  kForwards = 97,
  kPart = 98,
};

template <typename Value>
struct Tag {};

constexpr Kind KindOf(Tag<storage::OpenSession>) { return Kind::kOpenSession; }
constexpr Kind KindOf(Tag<storage::CloseSession>) { return Kind::kCloseSession; }
constexpr Kind KindOf(Tag<storage::Subscribe>) { return Kind::kSubscribe; }
constexpr Kind KindOf(Tag<storage::Unsubscribe>) { return Kind::kUnsubscribe; }
constexpr Kind KindOf(Tag<storage::Publish>) { return Kind::kPublish; }
constexpr Kind KindOf(Tag<storage::AcceptInbound>) { return Kind::kAcceptInbound; }
constexpr Kind KindOf(Tag<storage::OutboxDone>) { return Kind::kOutboxDone; }
constexpr Kind KindOf(Tag<storage::OutboxAssign>) { return Kind::kOutboxAssign; }
constexpr Kind KindOf(Tag<storage::Acknowledge>) { return Kind::kAcknowledge; }
constexpr Kind KindOf(Tag<storage::ReleaseInbound>) { return Kind::kReleaseInbound; }
constexpr Kind KindOf(Tag<storage::ScanRetained>) { return Kind::kScanRetained; }
constexpr Kind KindOf(Tag<storage::ConfirmRoutes>) { return Kind::kConfirmRoutes; }
constexpr Kind KindOf(Tag<storage::ReplayTaken>) { return Kind::kReplayTaken; }
constexpr Kind KindOf(Tag<storage::Claims>) { return Kind::kClaims; }
constexpr Kind KindOf(Tag<storage::SessionOpened>) { return Kind::kSessionOpened; }
constexpr Kind KindOf(Tag<storage::TakenOver>) { return Kind::kTakenOver; }
constexpr Kind KindOf(Tag<storage::SubscribeDone>) { return Kind::kSubscribeDone; }
constexpr Kind KindOf(Tag<storage::UnsubscribeDone>) { return Kind::kUnsubscribeDone; }
constexpr Kind KindOf(Tag<storage::Published>) { return Kind::kPublished; }
constexpr Kind KindOf(Tag<storage::Deliver>) { return Kind::kDeliver; }
constexpr Kind KindOf(Tag<storage::ReleaseDue>) { return Kind::kReleaseDue; }
constexpr Kind KindOf(Tag<storage::InboundReleased>) { return Kind::kInboundReleased; }
constexpr Kind KindOf(Tag<storage::RetainedPage>) { return Kind::kRetainedPage; }
constexpr Kind KindOf(Tag<storage::RouteChange>) { return Kind::kRouteChange; }
constexpr Kind KindOf(Tag<storage::RouteBlock>) { return Kind::kRouteBlock; }
constexpr Kind KindOf(Tag<storage::ShareMemberChange>) { return Kind::kShareMemberChange; }
constexpr Kind KindOf(Tag<storage::ShareMemberRoom>) { return Kind::kShareMemberRoom; }
constexpr Kind KindOf(Tag<storage::SessionTooSlow>) { return Kind::kSessionTooSlow; }
constexpr Kind KindOf(Tag<storage::RouteMessage>) { return Kind::kRouteMessage; }
constexpr Kind KindOf(Tag<storage::StreamAck>) { return Kind::kStreamAck; }
constexpr Kind KindOf(Tag<storage::ClaimsWanted>) { return Kind::kClaimsWanted; }
constexpr Kind KindOf(Tag<storage::StorageState>) { return Kind::kStorageState; }
constexpr Kind KindOf(Tag<ForwardsTaken>) { return Kind::kForwardsTaken; }
constexpr Kind KindOf(Tag<RoutesWanted>) { return Kind::kRoutesWanted; }
constexpr Kind KindOf(Tag<RoutesTold>) { return Kind::kRoutesTold; }
constexpr Kind KindOf(Tag<RoutesTaken>) { return Kind::kRoutesTaken; }
constexpr Kind KindOf(Tag<storage::KnowRoutes>) { return Kind::kKnowRoutes; }
constexpr Kind KindOf(Tag<storage::RoutesKnown>) { return Kind::kRoutesKnown; }
constexpr Kind KindOf(Tag<storage::FeedRoutes>) { return Kind::kFeedRoutes; }
constexpr Kind KindOf(Tag<storage::FeedTaken>) { return Kind::kFeedTaken; }
constexpr Kind KindOf(Tag<storage::ScanWanted>) { return Kind::kScanWanted; }
constexpr Kind KindOf(Tag<storage::ScanDone>) { return Kind::kScanDone; }

// Adds what stands in front, and the body.
template <typename Value, typename... Numbers>
void AppendItem(const Value& value, std::string& out, Numbers... head) {
  const size_t body = SizeOf(value);
  const size_t before = out.size();
  out.resize(before + 1 + (wire::VarintSize(head) + ... + size_t{0}) + body);
  char* at = out.data() + before;
  *at++ = static_cast<char>(KindOf(Tag<Value>{}));
  ((at = wire::WriteVarint(at, head)), ...);
  wire::Writer writer(at);
  Write(value, writer);
  CHECK(writer.at() == out.data() + out.size()) << "an item has another size than was said";
}

absl::Status Unreadable(std::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(
      "a node sent ", std::string(what),
      " that cannot be read: it runs a release that this one does not know, or is no mqttd"));
}

// The kind whose number it is, with its body. None: there is none among `Values`.
template <typename... Values>
std::optional<std::variant<Values...>> ReadKind(uint8_t kind, std::string_view body,
                                                std::variant<Values...>*) {
  std::optional<std::variant<Values...>> found;
  const auto attempt = [&]<typename Value>(Tag<Value> tag) {
    if (static_cast<uint8_t>(KindOf(tag)) != kind) return false;
    Value value;
    if (Read(body, value)) found = std::move(value);
    return true;
  };
  (attempt(Tag<Values>{}) || ...);
  return found;
}

}  // namespace

ItemKind KindOfItem(std::string_view item) {
  if (item.empty()) return ItemKind::kUnknown;
  const auto kind = static_cast<uint8_t>(item[0]);
  if (kind < 33) return ItemKind::kRequest;
  if (kind < 65) return ItemKind::kEvent;
  if (kind < 97) return ItemKind::kNode;
  if (kind == static_cast<uint8_t>(Kind::kForwards)) return ItemKind::kForwards;
  return kind == static_cast<uint8_t>(Kind::kPart) ? ItemKind::kPart : ItemKind::kUnknown;
}

void AppendRequest(storage::ShardId from, const storage::Addressed& asked, std::string& out) {
  std::visit(
      [&](const auto& request) {
        AppendItem(request, out, uint64_t{from}, uint64_t{asked.partition}, asked.sequence,
                   asked.kept_from);
      },
      asked.request);
}

void AppendEvent(storage::ShardId to, const storage::Event& event, std::string& out) {
  std::visit([&](const auto& value) { AppendItem(value, out, uint64_t{to}); }, event);
}

void AppendNodeItem(const NodeItem& value, std::string& out) {
  std::visit([&](const auto& it) { AppendItem(it, out); }, value);
}

absl::StatusOr<RemoteRequest> ParseRequest(std::string_view item) {
  if (item.empty()) return Unreadable("a request");
  const char* at = item.data() + 1;
  const char* const end = item.data() + item.size();
  uint64_t from = 0;
  uint64_t partition = 0;
  uint64_t sequence = 0;
  uint64_t kept_from = 0;
  if (!wire::TakeVarint(at, end, from) || !wire::TakeVarint(at, end, partition) ||
      !wire::TakeVarint(at, end, sequence) || !wire::TakeVarint(at, end, kept_from) ||
      from > std::numeric_limits<storage::ShardId>::max() || partition >= storage::kPartitionsMax) {
    return Unreadable("a request");
  }
  std::optional<storage::Request> request =
      ReadKind(static_cast<uint8_t>(item[0]), {at, static_cast<size_t>(end - at)},
               static_cast<storage::Request*>(nullptr));
  if (!request.has_value()) return Unreadable("a request");
  RemoteRequest remote{
      static_cast<storage::ShardId>(from),
      std::visit([](auto&& it) { return storage::Addressed(std::move(it)); }, *std::move(request))};
  remote.asked.partition = static_cast<storage::PartitionId>(partition);
  remote.asked.sequence = sequence;
  remote.asked.kept_from = kept_from;
  return remote;
}

absl::StatusOr<RemoteEvent> ParseEvent(std::string_view item) {
  if (item.empty()) return Unreadable("an event");
  const char* at = item.data() + 1;
  const char* const end = item.data() + item.size();
  uint64_t to = 0;
  if (!wire::TakeVarint(at, end, to) || to > std::numeric_limits<storage::ShardId>::max())
    return Unreadable("an event");
  std::optional<storage::Event> event =
      ReadKind(static_cast<uint8_t>(item[0]), {at, static_cast<size_t>(end - at)},
               static_cast<storage::Event*>(nullptr));
  if (!event.has_value()) return Unreadable("an event");
  return RemoteEvent{static_cast<storage::ShardId>(to), *std::move(event)};
}

absl::StatusOr<NodeItem> ParseNodeItem(std::string_view item) {
  if (item.empty()) return Unreadable("an item");
  std::optional<NodeItem> value =
      ReadKind(static_cast<uint8_t>(item[0]), item.substr(1), static_cast<NodeItem*>(nullptr));
  if (!value.has_value()) return Unreadable("an item");
  return *std::move(value);
}

// ---- Forwarded messages -------------------------------------------------------------------------

void AppendForwarded(const mqtt::MessageParts& message, std::string& block) {
  const size_t size = storage::StoredMessageSize(message);
  wire::Append(block, wire::ElementSize(size), [&](wire::Writer& out) {
    out.Header(1, size);
    storage::WriteStoredMessage(message, out);
  });
}

namespace {

// A message, and what is to be known beside it.
template <typename Beside>
void AppendWith(uint32_t field, const mqtt::MessageParts& message, const Beside& beside,
                std::string& block) {
  const size_t message_size = storage::StoredMessageSize(message);
  const size_t beside_size = SizeOf(beside);
  const size_t size = wire::ElementSize(message_size) + wire::ElementSize(beside_size);
  wire::Append(block, wire::ElementSize(size), [&](wire::Writer& out) {
    out.Header(field, size);
    out.Header(1, message_size);
    storage::WriteStoredMessage(message, out);
    out.Header(2, beside_size);
    Write(beside, out);
  });
}

}  // namespace

void AppendForwarded(const mqtt::MessageParts& message, const storage::ChosenMember& member,
                     std::string& block) {
  AppendWith(2, message, member, block);
}

void AppendForwarded(const mqtt::MessageParts& message, const storage::OutboxRef& outbox,
                     std::string& block) {
  AppendWith(3, message, outbox, block);
}

size_t WriteForwardHead(const ForwardHead& head, std::string& block) {
  const size_t size = 1 + wire::VarintSize(head.from) + wire::VarintSize(head.to.value()) +
                      wire::VarintSize(head.first) + wire::VarintSize(head.messages);
  const size_t begin = kForwardHeadRoom - size;
  char* at = block.data() + begin;
  *at++ = static_cast<char>(Kind::kForwards);
  at = wire::WriteVarint(at, head.from);
  at = wire::WriteVarint(at, head.to.value());
  at = wire::WriteVarint(at, head.first);
  wire::WriteVarint(at, head.messages);
  return begin;
}

absl::StatusOr<ForwardHead> ParseForwardHead(std::string_view item, std::string_view& body) {
  uint64_t from = 0;
  uint64_t to = 0;
  uint64_t first = 0;
  uint64_t messages = 0;
  const char* at = item.data() + 1;
  const char* const end = item.data() + item.size();
  if (KindOfItem(item) != ItemKind::kForwards || !wire::TakeVarint(at, end, from) ||
      !wire::TakeVarint(at, end, to) || !wire::TakeVarint(at, end, first) ||
      !wire::TakeVarint(at, end, messages) || from > std::numeric_limits<storage::ShardId>::max() ||
      to > std::numeric_limits<uint32_t>::max() || first == 0 || messages == 0 ||
      messages > std::numeric_limits<uint32_t>::max()) {
    return Unreadable("messages");
  }
  body = {at, static_cast<size_t>(end - at)};
  return ForwardHead{static_cast<storage::ShardId>(from),
                     storage::Incarnation(static_cast<uint32_t>(to)), first,
                     static_cast<uint32_t>(messages)};
}

namespace {

template <typename Beside>
bool ReadWith(std::string_view bytes, mqtt::MessagePtr& message, Beside& beside) {
  wire::Reader reader(bytes);
  while (reader.Next()) {
    if (reader.field() == 1) message = storage::DecodeStoredMessage(reader.bytes());
    if (reader.field() == 2 && !Read(reader.bytes(), beside)) return false;
  }
  return reader.ok() && message;
}

}  // namespace

absl::Status ParseForwarded(std::string_view body, std::vector<Forwarded>& messages) {
  wire::Reader reader(body);
  while (reader.Next()) {
    Forwarded forwarded;
    if (reader.field() == 1) {
      forwarded.message = storage::DecodeStoredMessage(reader.bytes());
      if (!forwarded.message) return Unreadable("a message");
    } else if (reader.field() == 2) {
      forwarded.member = std::make_unique<storage::ChosenMember>();
      if (!ReadWith(reader.bytes(), forwarded.message, *forwarded.member))
        return Unreadable("a message");
    } else if (reader.field() == 3) {
      if (!ReadWith(reader.bytes(), forwarded.message, forwarded.outbox))
        return Unreadable("a message");
    } else {
      continue;
    }
    messages.push_back(std::move(forwarded));
  }
  return reader.ok() ? absl::OkStatus() : Unreadable("messages");
}

// ---- Items in parts -----------------------------------------------------------------------------

void AppendPart(const ItemPart& part, std::string& out) {
  out.push_back(static_cast<char>(Kind::kPart));
  out.push_back(part.last ? '\x01' : '\x00');
  out.append(part.bytes);
}

absl::StatusOr<ItemPart> ParsePart(std::string_view item) {
  if (KindOfItem(item) != ItemKind::kPart || item.size() < 2 || static_cast<uint8_t>(item[1]) > 1)
    return Unreadable("a part");
  return ItemPart{item[1] != 0, item.substr(2)};
}

}  // namespace cluster
