// What goes between nodes over the stream Traffic, as bytes.
//
// An item is a head (its kind, and whom it is for) and a body, one of the messages of
// proto/mqttd/cluster/v1/traffic.proto. Requests and events are those of
// storage/core/partition_api.h.
#ifndef CLUSTER_CORE_TRAFFIC_CODEC_H_
#define CLUSTER_CORE_TRAFFIC_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "cluster/core/node_item.h"
#include "mqtt/message.h"
#include "storage/core/chosen_member.h"
#include "storage/core/partition_api.h"

namespace cluster {

// A request of a shard of the node that the item comes from.
struct RemoteRequest {
  storage::ShardId from = 0;
  storage::Addressed asked;
};

// For a shard of the node that the item goes to.
struct RemoteEvent {
  storage::ShardId to = 0;
  storage::Event event;
};

enum class ItemKind : uint8_t {
  kRequest,
  kEvent,
  kNode,      // A NodeItem.
  kForwards,  // A block of forwarded messages.
  kPart,      // Of an item that is too large for one frame.
  kUnknown,   // Of a later release.
};
ItemKind KindOfItem(std::string_view item);

// Add one item to `out`. `asked.place` stays here: it is the sender's own.
void AppendRequest(storage::ShardId from, const storage::Addressed& asked, std::string& out);
void AppendEvent(storage::ShardId to, const storage::Event& event, std::string& out);
void AppendNodeItem(const NodeItem& value, std::string& out);

// Of one whole item. Fields that are not known are skipped: a later release wrote them. Error:
// kInvalidArgument, an item that no release writes, or of a kind that a later one has.
absl::StatusOr<RemoteRequest> ParseRequest(std::string_view item);
absl::StatusOr<RemoteEvent> ParseEvent(std::string_view item);
absl::StatusOr<NodeItem> ParseNodeItem(std::string_view item);

// ---- Forwarded messages -------------------------------------------------------------------------

// Messages that one shard forwards go together. A block is begun as so much room for its head, then
// messages are added, and the head is written when it is known.
struct ForwardHead {
  storage::ShardId from = 0;  // Of the sender.
  // The life of the receiver to whose stream it belongs. What was sent to a former one may reach
  // the next, which is known to nobody when it begins to listen.
  storage::Incarnation to;
  uint64_t first = 0;  // Number of the first of them; the others follow.
  uint32_t messages = 0;
};
inline constexpr size_t kForwardHeadRoom = 1 + 3 + 5 + 10 + 5;

void AppendForwarded(const mqtt::MessageParts& message, std::string& block);
// For this member of a `$share` group, and nobody else.
void AppendForwarded(const mqtt::MessageParts& message, const storage::ChosenMember& member,
                     std::string& block);
// A record of an outbox, for all who subscribe.
void AppendForwarded(const mqtt::MessageParts& message, const storage::OutboxRef& outbox,
                     std::string& block);
// Where in the block the item begins; it goes to the end.
size_t WriteForwardHead(const ForwardHead& head, std::string& block);

// `body` is a view of the item.
absl::StatusOr<ForwardHead> ParseForwardHead(std::string_view item, std::string_view& body);
// Error: kInvalidArgument. Then `messages` has those in front of the one that cannot be read.
struct Forwarded {
  mqtt::MessagePtr message;
  std::unique_ptr<storage::ChosenMember> member;  // Null: it is for all who subscribe.
  storage::OutboxRef outbox;                      // What it is a record of, if it is.
};
absl::Status ParseForwarded(std::string_view body, std::vector<Forwarded>& messages);

// ---- Items in parts -----------------------------------------------------------------------------

struct ItemPart {
  bool last = false;
  std::string_view bytes;
};
void AppendPart(const ItemPart& part, std::string& out);
absl::StatusOr<ItemPart> ParsePart(std::string_view item);

}  // namespace cluster

#endif  // CLUSTER_CORE_TRAFFIC_CODEC_H_
