#include "cluster/traffic/reception.h"

#include <cstddef>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/log.h"
#include "cluster/core/traffic_codec.h"
#include "cluster/traffic/tasks.h"

namespace cluster {
namespace {

// An item in parts: the largest packet of MQTT, and what surrounds it.
constexpr size_t kItemBytesMax = size_t{272} << 20;

}  // namespace

struct Reception::Arrived {
  Arrived(TrafficLocal& local, storage::ShardId shards) : tasks(local, shards) {}

  Tasks tasks;
  std::map<storage::ShardId, std::vector<storage::Addressed>> requests;  // By who asks.
};

void Reception::Take(Peer& peer, const ReceivedFrame& frame) {
  Arrived arrived(local_, shards_);
  for (size_t i = 0; i < frame.size(); ++i) TakeItem(peer, frame[i], arrived);
  for (auto& [shard, requests] : arrived.requests)
    local_.Submit({peer.node, shard, *peer.life}, std::move(requests));
}

void Reception::TakeItem(Peer& peer, std::string_view item, Arrived& arrived) {
  switch (KindOfItem(item)) {
    case ItemKind::kRequest:
      return TakeRequest(peer, item, arrived);
    case ItemKind::kEvent:
      return TakeEvent(peer, item, arrived);
    case ItemKind::kNode:
      return TakeNodeItem(peer, item, arrived);
    case ItemKind::kForwards:
      return forwards_.TakeBlock(peer, item, arrived.tasks);
    case ItemKind::kPart:
      return TakePart(peer, item, arrived);
    case ItemKind::kUnknown:
      break;
  }
  CannotRead(peer, absl::InvalidArgumentError("a later release wrote it, or none did"));
}

void Reception::TakeRequest(Peer& peer, std::string_view item, Arrived& arrived) {
  absl::StatusOr<RemoteRequest> request = ParseRequest(item);
  if (!request.ok()) return CannotRead(peer, request.status());
  request->asked.place = ++peer.last_place;
  arrived.requests[request->from].push_back(std::move(request->asked));
}

void Reception::TakeEvent(Peer& peer, std::string_view item, Arrived& arrived) {
  absl::StatusOr<RemoteEvent> event = ParseEvent(item);
  if (!event.ok()) return CannotRead(peer, event.status());
  if (event->to >= shards_)
    return CannotRead(peer, absl::InvalidArgumentError("it is for a shard that is not here"));
  arrived.tasks.For(event->to).emplace_back(
      broker::NodeEvent{peer.node, std::make_unique<storage::Event>(std::move(event->event))});
}

void Reception::TakeNodeItem(Peer& peer, std::string_view item, Arrived& arrived) {
  absl::StatusOr<NodeItem> read = ParseNodeItem(item);
  if (!read.ok()) return CannotRead(peer, read.status());
  std::visit(
      [&]<typename T>(T& one) {
        if constexpr (kIsHostMessage<T>) {
          local_.OnHostMessage({peer.node, *peer.life}, std::move(one));
        } else if constexpr (std::is_same_v<T, RoutesTold>) {
          node_routes_.OnTold(peer, one, arrived.tasks);
        } else {
          base::MutexLock lock(peer.mutex);
          if constexpr (std::is_same_v<T, ForwardsTaken>) {
            forwards_.OnTaken(peer, one, arrived.tasks);
          } else if constexpr (std::is_same_v<T, RoutesWanted>) {
            node_routes_.OnWanted(peer, one);
          } else {
            node_routes_.OnTaken(peer, one);
          }
        }
      },
      *read);
}

void Reception::TakePart(Peer& peer, std::string_view item, Arrived& arrived) {
  const absl::StatusOr<ItemPart> part = ParsePart(item);
  if (!part.ok()) return CannotRead(peer, part.status());
  if (peer.in_parts.size() + part->bytes.size() > kItemBytesMax) {
    peer.in_parts = {};
    return CannotRead(peer, absl::InvalidArgumentError("it is larger than any packet"));
  }
  peer.in_parts.append(part->bytes);
  if (!part->last) return;
  const std::string whole = std::exchange(peer.in_parts, {});
  if (KindOfItem(whole) == ItemKind::kPart)
    return CannotRead(peer, absl::InvalidArgumentError("a part has parts"));
  TakeItem(peer, whole, arrived);
}

void Reception::CannotRead(const Peer& peer, const absl::Status& why) {
  metrics_.unreadable.Add();
  base::LogLimited(base::LogLevel::kError, "item of a node dropped", "unreadable",
                   {{"node", peer.node.value()}, {"why", why}});
}

}  // namespace cluster
