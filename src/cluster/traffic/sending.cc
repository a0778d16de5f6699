#include "cluster/traffic/sending.h"

#include <optional>
#include <string>
#include <utility>

#include "cluster/core/traffic_codec.h"

namespace cluster {
namespace {

constexpr uint32_t kKinds = 4;

}  // namespace

void Sending::Pump(Peer& peer) {
  for (uint32_t empty = 0; empty < kKinds && peer.outlet.open();) {
    switch (SendNext(peer)) {
      case Sent::kFull:
        return;  // The same goes first when there is room.
      case Sent::kDown:
        return owner_.OnLinkLost(peer);
      case Sent::kItem:
        empty = 0;
        break;
      case Sent::kNothing:
        ++empty;
        break;
    }
    peer.turn = (peer.turn + 1) % kKinds;
  }
}

bool Sending::Send(Peer& peer, uint64_t epoch, ItemBatch batch) {
  base::MutexLock lock(peer.mutex);
  if (!peer.outlet.open() || peer.outlet.epoch() != epoch) return false;
  peer.outlet.Wait(std::move(batch));
  Pump(peer);
  return true;
}

namespace {

template <typename Sent, typename Result>
Sent As(Result result) {
  switch (result) {
    case Result::kSent:
      return Sent::kItem;
    case Result::kFull:
      return Sent::kFull;
    case Result::kDown:
      break;
  }
  return Sent::kDown;
}

}  // namespace

Sending::Sent Sending::SendNext(Peer& peer) {
  switch (peer.turn) {
    case 0:
      return SendWord(peer);
    case 1:
      return peer.outlet.waits() ? As<Sent>(peer.outlet.SendWaiting()) : Sent::kNothing;
    case 2:
      return SendForwards(peer);
    default:
      return SendRoutes(peer);
  }
}

// Of all of it only the newest counts, so it needs no queue.
Sending::Sent Sending::SendWord(Peer& peer) {
  std::string item;
  if (peer.routes_wanted.has_value()) {
    AppendNodeItem(*peer.routes_wanted, item);
    const Sent sent = As<Sent>(peer.outlet.Send(item));
    if (sent == Sent::kItem) peer.routes_wanted.reset();
    return sent;
  }
  if (peer.tell_routes_taken) {
    AppendNodeItem(peer.routes.taken(), item);
    const Sent sent = As<Sent>(peer.outlet.Send(item));
    if (sent == Sent::kItem) peer.tell_routes_taken = false;
    return sent;
  }
  if (peer.tell_forwards_taken) {
    AppendNodeItem(peer.forwards_in.taken(), item);
    const Sent sent = As<Sent>(peer.outlet.Send(item));
    if (sent != Sent::kItem) return sent;
    peer.forwards_in.Told();
    peer.tell_forwards_taken = false;
    return sent;
  }
  return Sent::kNothing;
}

Sending::Sent Sending::SendForwards(Peer& peer) {
  const std::optional<std::string_view> item = peer.forwards_out.Next();
  if (!item.has_value()) return Sent::kNothing;
  const Sent sent = As<Sent>(peer.outlet.Send(*item));
  if (sent == Sent::kItem) {
    peer.forwards_out.Sent();
  } else if (peer.outlet.is_within_item()) {
    peer.forwards_out.Begun();
  }
  return sent;
}

Sending::Sent Sending::SendRoutes(Peer& peer) {
  if (peer.route_frame.empty()) {
    base::MutexLock lock(own_.mutex);
    const std::optional<RoutesTold> told = own_.routes.Next(peer.node);
    if (!told.has_value()) return Sent::kNothing;
    AppendNodeItem(*told, peer.route_frame);
  }
  const Sent sent = As<Sent>(peer.outlet.Send(peer.route_frame));
  if (sent == Sent::kItem) peer.route_frame.clear();
  return sent;
}

}  // namespace cluster
