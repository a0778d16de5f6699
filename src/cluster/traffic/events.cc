#include "cluster/traffic/events.h"

#include <utility>
#include <variant>

#include "cluster/core/traffic_codec.h"

namespace cluster {

void Events::Send(const storage::ShardAddress& to, std::vector<storage::Event> events) {
  const size_t given = events.size();
  size_t sent = 0;
  if (Peer* const peer = peers_.Find(to.node)) {
    uint64_t epoch = 0;
    {
      base::MutexLock lock(peer->mutex);
      if (peer->life != to.incarnation) events.clear();
      epoch = peer->outlet.epoch();
      peer->events.Filter(to.shard, events);
    }
    ItemBatch items;
    for (const storage::Event& event : events) {
      AppendEvent(to.shard, event, items.bytes());
      items.Added();
    }
    if (!items.empty() && sending_.Send(*peer, epoch, std::move(items))) sent = events.size();
  }
  metrics_.events_sent.Add(sent);
  metrics_.events_dropped.Add(given - sent);
}

void Events::SendHostMessage(NodeId to, const storage::HostMessage& message) {
  Peer* const peer = peers_.Find(to);
  if (peer == nullptr) return;
  ItemBatch items;
  std::visit([&](const auto& it) { AppendNodeItem(it, items.bytes()); }, message);
  items.Added();
  sending_.Send(*peer, peer->outlet.epoch(), std::move(items));
}

std::function<void()> Events::Begins(Peer& peer) const {
  return [&peer, epoch = peer.outlet.epoch()] {
    base::MutexLock lock(peer.mutex);
    if (peer.outlet.open() && peer.outlet.epoch() == epoch) peer.events.Open();
  };
}

}  // namespace cluster
