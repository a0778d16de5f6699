// Entries of the log, and the two commands that come with every message, written and read by hand:
// Entry, Command, Enqueue and Acknowledge of proto/mqttd/storage/v1/command.proto. A message is
// written once, where it goes to the log, and read there as it is applied.
#ifndef STORAGE_CORE_COMMAND_CODEC_H_
#define STORAGE_CORE_COMMAND_CODEC_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/container/inlined_vector.h"
#include "absl/types/span.h"
#include "mqtt/message.h"
#include "mqtt/types.h"

namespace mqttd::storage::v1 {
class Command;
}  // namespace mqttd::storage::v1

namespace storage {

// When a command was proposed, its place among all of a host's, and whose request it is a part of.
struct CommandStamp {
  int64_t time_unix_ms = 0;
  uint64_t order = 0;
  uint64_t origin = 0;  // 0: nobody's.
  uint64_t sequence = 0;
  uint64_t kept_from = 0;  // 0: nothing is said of it.
};

// One member of a `$share` group.
struct EnqueueTarget {
  std::string_view client_id;
  std::string_view filter;
  mqtt::SubscriptionOptions options;
  uint32_t subscription_id = 0;
  bool last_choice = false;  // Nobody else has room either.
};

struct EnqueueView {
  std::string_view message;  // A StoredMessage.
  bool match = false;
  absl::InlinedVector<EnqueueTarget, 1> targets;
};

struct AcknowledgeView {
  std::string_view client_id;
  uint64_t epoch = 0;
  absl::InlinedVector<uint64_t, 16> puback;
  absl::InlinedVector<uint64_t, 4> pubrec;
  absl::InlinedVector<uint64_t, 4> pubcomp;
};

// ---- Each appends a command to an Entry.
void AppendEnqueue(const CommandStamp& stamp, const mqtt::MessageParts& message, bool match,
                   absl::Span<const EnqueueTarget> targets, std::string& entry);
void AppendAcknowledge(const CommandStamp& stamp, const AcknowledgeView& acknowledge,
                       std::string& entry);
void AppendCommand(const ::mqttd::storage::v1::Command& command, std::string& entry);
void AppendCommandBytes(std::string_view command, std::string& entry);

// ---- Reading. Views are into the entry.

// Takes the next command off the front of an Entry. False at its end, or if it is none: then `ok`.
bool NextCommand(std::string_view& entry, std::string_view& command, bool& ok);

enum class CommandKind : uint8_t { kEnqueue, kAcknowledge, kOther };

struct CommandView {
  CommandStamp stamp;
  uint32_t level = 0;  // Who knows fewer must not apply it.
  CommandKind kind = CommandKind::kOther;
  std::string_view body;   // Of an Enqueue or an Acknowledge.
  std::string_view bytes;  // The whole Command, for the generated class.
};
std::optional<CommandView> ParseCommand(std::string_view bytes);
std::optional<EnqueueView> ParseEnqueue(std::string_view body);
std::optional<AcknowledgeView> ParseAcknowledge(std::string_view body);

}  // namespace storage

#endif  // STORAGE_CORE_COMMAND_CODEC_H_
