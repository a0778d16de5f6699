#include "storage/core/command_codec.h"

#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/message_codec.h"
#include "storage/core/wire.h"

namespace storage {
namespace {

// Field numbers.
constexpr uint32_t kCommands = 1;                                            // Entry
constexpr uint32_t kTime = 1, kOrder = 2;                                    // Command
constexpr uint32_t kEnqueue = 11, kAcknowledge = 12, kLevel = 23;            // Command
constexpr uint32_t kOrigin = 20, kSequence = 21, kKeptFrom = 24;             // Command
constexpr uint32_t kMessage = 1, kMatch = 2, kTargets = 3;                   // Enqueue
constexpr uint32_t kTargetClientId = 1, kSubscription = 2, kLastChoice = 3;  // Enqueue.Target
constexpr uint32_t kFilter = 1, kOptions = 2, kId = 3;                       // Subscription
constexpr uint32_t kClientId = 1, kEpoch = 2;                                // Acknowledge
constexpr uint32_t kPubAck = 3, kPubRec = 4, kPubComp = 5;                   // Acknowledge

// Appends a command to an entry. `write` fills in its body, of so many bytes.
template <typename Write>
void AppendStamped(const CommandStamp& stamp, uint32_t kind, size_t body, std::string& entry,
                   Write write) {
  const auto time = static_cast<uint64_t>(stamp.time_unix_ms);
  const size_t size = wire::NumberSize(time) + wire::NumberSize(stamp.order) +
                      wire::HighNumberSize(stamp.origin) + wire::HighNumberSize(stamp.sequence) +
                      wire::HighNumberSize(stamp.kept_from) + wire::ElementSize(body);
  wire::Append(entry, wire::ElementSize(size), [&](wire::Writer& out) {
    out.Header(kCommands, size);
    out.Number(kTime, time);
    out.Number(kOrder, stamp.order);
    out.HighNumber(kOrigin, stamp.origin);
    out.HighNumber(kSequence, stamp.sequence);
    out.HighNumber(kKeptFrom, stamp.kept_from);
    out.Header(kind, body);
    write(out);
  });
}

size_t SubscriptionSize(const EnqueueTarget& target) {
  return wire::BytesSize(target.filter) + wire::NumberSize(target.options.ToByte()) +
         wire::NumberSize(target.subscription_id);
}

size_t TargetSize(const EnqueueTarget& target) {
  return wire::BytesSize(target.client_id) + wire::ElementSize(SubscriptionSize(target)) +
         wire::NumberSize(target.last_choice ? 1 : 0);
}

void WriteTarget(const EnqueueTarget& target, wire::Writer& out) {
  out.Header(kTargets, TargetSize(target));
  out.Bytes(kTargetClientId, target.client_id);
  out.Header(kSubscription, SubscriptionSize(target));
  out.Bytes(kFilter, target.filter);
  out.Number(kOptions, target.options.ToByte());
  out.Number(kId, target.subscription_id);
  out.Number(kLastChoice, target.last_choice ? 1 : 0);
}

bool ParseSubscription(std::string_view bytes, EnqueueTarget& target) {
  wire::Reader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case kFilter:
        target.filter = reader.bytes();
        break;
      case kOptions:
        target.options = mqtt::SubscriptionOptions::FromByte(static_cast<uint8_t>(reader.number()));
        break;
      case kId:
        target.subscription_id = static_cast<uint32_t>(reader.number());
        break;
      default:
        break;
    }
  }
  return reader.ok();
}

bool ParseTarget(std::string_view bytes, EnqueueTarget& target) {
  wire::Reader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case kTargetClientId:
        target.client_id = reader.bytes();
        break;
      case kSubscription:
        if (!ParseSubscription(reader.bytes(), target)) return false;
        break;
      case kLastChoice:
        target.last_choice = reader.number() != 0;
        break;
      default:
        break;
    }
  }
  return reader.ok();
}

}  // namespace

void AppendEnqueue(const CommandStamp& stamp, const mqtt::MessageParts& message, bool match,
                   absl::Span<const EnqueueTarget> targets, std::string& entry) {
  const size_t stored = StoredMessageSize(message);
  size_t body = wire::ElementSize(stored) + (match ? 2 : 0);
  for (const EnqueueTarget& target : targets) body += wire::ElementSize(TargetSize(target));
  AppendStamped(stamp, kEnqueue, body, entry, [&](wire::Writer& out) {
    out.Header(kMessage, stored);
    WriteStoredMessage(message, out);
    out.Number(kMatch, match ? 1 : 0);
    for (const EnqueueTarget& target : targets) WriteTarget(target, out);
  });
}

void AppendAcknowledge(const CommandStamp& stamp, const AcknowledgeView& acknowledge,
                       std::string& entry) {
  const size_t body = wire::BytesSize(acknowledge.client_id) + wire::NumberSize(acknowledge.epoch) +
                      wire::PackedSize(acknowledge.puback) + wire::PackedSize(acknowledge.pubrec) +
                      wire::PackedSize(acknowledge.pubcomp);
  AppendStamped(stamp, kAcknowledge, body, entry, [&](wire::Writer& out) {
    out.Bytes(kClientId, acknowledge.client_id);
    out.Number(kEpoch, acknowledge.epoch);
    out.Packed(kPubAck, acknowledge.puback);
    out.Packed(kPubRec, acknowledge.pubrec);
    out.Packed(kPubComp, acknowledge.pubcomp);
  });
}

void AppendCommand(const ::mqttd::storage::v1::Command& command, std::string& entry) {
  const size_t size = command.ByteSizeLong();
  wire::Append(entry, wire::ElementSize(size) - size,
               [&](wire::Writer& out) { out.Header(kCommands, size); });
  command.AppendToString(&entry);
}

void AppendCommandBytes(std::string_view command, std::string& entry) {
  wire::Append(entry, wire::ElementSize(command.size()),
               [&](wire::Writer& out) { out.Element(kCommands, command); });
}

bool NextCommand(std::string_view& entry, std::string_view& command, bool& ok) {
  wire::Reader reader(entry);
  while (reader.Next()) {
    if (reader.field() != kCommands) continue;
    command = reader.bytes();
    entry = reader.rest();
    return true;
  }
  ok = reader.ok();
  return false;
}

std::optional<CommandView> ParseCommand(std::string_view bytes) {
  CommandView command;
  command.bytes = bytes;
  wire::Reader reader(bytes);
  while (reader.Next()) {
    switch (reader.field()) {
      case kTime:
        command.stamp.time_unix_ms = static_cast<int64_t>(reader.number());
        break;
      case kOrder:
        command.stamp.order = reader.number();
        break;
      case kLevel:
        command.level = static_cast<uint32_t>(reader.number());
        break;
      case kOrigin:
        command.stamp.origin = reader.number();
        break;
      case kSequence:
        command.stamp.sequence = reader.number();
        break;
      case kKeptFrom:
        command.stamp.kept_from = reader.number();
        break;
      case kEnqueue:
        command.kind = CommandKind::kEnqueue;
        command.body = reader.bytes();
        break;
      case kAcknowledge:
        command.kind = CommandKind::kAcknowledge;
        command.body = reader.bytes();
        break;
      default:
        break;
    }
  }
  if (!reader.ok()) return std::nullopt;
  return command;
}

std::optional<EnqueueView> ParseEnqueue(std::string_view body) {
  EnqueueView enqueue;
  wire::Reader reader(body);
  while (reader.Next()) {
    switch (reader.field()) {
      case kMessage:
        enqueue.message = reader.bytes();
        break;
      case kMatch:
        enqueue.match = reader.number() != 0;
        break;
      case kTargets:
        if (!ParseTarget(reader.bytes(), enqueue.targets.emplace_back())) return std::nullopt;
        break;
      default:
        break;
    }
  }
  if (!reader.ok()) return std::nullopt;
  return enqueue;
}

std::optional<AcknowledgeView> ParseAcknowledge(std::string_view body) {
  AcknowledgeView acknowledge;
  bool packed = true;
  wire::Reader reader(body);
  while (reader.Next()) {
    switch (reader.field()) {
      case kClientId:
        acknowledge.client_id = reader.bytes();
        break;
      case kEpoch:
        acknowledge.epoch = reader.number();
        break;
      case kPubAck:
        packed = packed && wire::ParsePacked(reader.bytes(), acknowledge.puback);
        break;
      case kPubRec:
        packed = packed && wire::ParsePacked(reader.bytes(), acknowledge.pubrec);
        break;
      case kPubComp:
        packed = packed && wire::ParsePacked(reader.bytes(), acknowledge.pubcomp);
        break;
      default:
        break;
    }
  }
  if (!reader.ok() || !packed) return std::nullopt;
  return acknowledge;
}

}  // namespace storage
