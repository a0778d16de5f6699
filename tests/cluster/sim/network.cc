#include "tests/cluster/sim/network.h"

#include <algorithm>

namespace simulator {
namespace {

// As in LinkOptions, with an end in sight for a simulation.
constexpr absl::Duration kSilenceLeast = absl::Milliseconds(1500);
constexpr absl::Duration kSilenceMost = absl::Milliseconds(3500);
constexpr size_t kItemsMax = 8192;
constexpr size_t kFrameItemsMax = 200;

constexpr LinkClass kClasses[] = {LinkClass::kControl, LinkClass::kLog, LinkClass::kTraffic,
                                  LinkClass::kBulk};

}  // namespace

// Sometimes so little fits into a link that who sends has to wait.
Network::Network(sim::Agenda& agenda, const Journal& journal, base::Rng rng)
    : agenda_(agenda),
      journal_(journal),
      rng_(std::move(rng)),
      traffic_items_max_(rng_.Chance(0.5) ? 20 + rng_.Below(100) : kItemsMax) {}

Station* Network::Find(NodeId node) const {
  const auto found = stations_.find(node);
  return found == stations_.end() ? nullptr : found->second;
}

absl::Duration Network::Latency() {
  return absl::Nanoseconds(rng_.Between(absl::ToInt64Nanoseconds(latency_least_),
                                        absl::ToInt64Nanoseconds(latency_most_)));
}

// ---- Who is there -------------------------------------------------------------------------------

void Network::SetStation(NodeId node, Station* station, bool silently) {
  stations_[node] = station;
  for (auto& [key, way] : ways_) {
    if (key.first != node && key.second != node) continue;
    if (station != nullptr) continue;
    if (key.first == node) {
      way.up = false;
      if (!silently && rng_.Chance(0.5)) continue;  // The system sends what it was given.
      for (Stream& stream : way.streams) stream.items.clear();
    } else if (!silently) {
      End(key, /*sender_hears=*/true);
    } else if (way.up) {
      way.blocked_since_ns = agenda_.now_ns();
      agenda_.After(absl::Milliseconds(rng_.Between(absl::ToInt64Milliseconds(kSilenceLeast),
                                                    absl::ToInt64Milliseconds(kSilenceMost))),
                    [this, key = key, number = way.number] {
                      if (ways_[key].number == number) End(key, /*sender_hears=*/true);
                    });
    }
  }
  if (station == nullptr) return;
  for (const auto& [other, its] : stations_) {
    if (other == node) continue;
    End({other, node}, true);  // To its former life.
    Try({node, other});
    Try({other, node});
  }
}

// Connects, again and again.
void Network::Try(Key key) {
  Way& way = ways_[key];
  if (std::exchange(way.trying, true)) return;
  agenda_.After(absl::Milliseconds(rng_.Between(1, 300)), [this, key] {
    ways_[key].trying = false;
    Connect(key);
  });
}

void Network::Connect(Key key) {
  Way& way = ways_[key];
  Station* const from = Find(key.first);
  if (from == nullptr || way.up) return;
  Station* const to = Find(key.second);
  if (to == nullptr || way.blocked || ways_[{key.second, key.first}].blocked) return Try(key);
  if (from->stands_still() || to->stands_still()) return Try(key);
  const NodeLife caller = from->life();
  const cluster::Node* const known = to->known().Find(key.first);
  if (known != nullptr && caller.incarnation <= known->gone_through) {
    journal_.Say("link ", key.first.value(), ">", key.second.value(), " refused: life ",
                 caller.incarnation.value(), " has ended");
    from->OnLifeOver(known->gone_through);
    return Try(key);
  }
  if (known == nullptr || caller.incarnation < known->incarnation) return Try(key);
  const cluster::Node* const callee = from->known().Find(key.second);
  if (callee == nullptr || to->life().incarnation <= callee->gone_through) return Try(key);
  way.up = true;
  way.told_up = false;
  way.number = ++last_number_;
  way.from = caller;
  way.to = to->life();
  for (Stream& stream : way.streams) stream = {};
  journal_.Say("link ", key.first.value(), ">", key.second.value(), " up");
  from->OnUp(way.to, way.number);
}

void Network::End(Key key, bool sender_hears) {
  Way& way = ways_[key];
  if (!std::exchange(way.up, false)) return;
  for (Stream& stream : way.streams) stream.items.clear();
  journal_.Say("link ", key.first.value(), ">", key.second.value(), " down");
  if (!sender_hears) return;
  if (Station* const from = Find(key.first)) from->OnDown(key.second);
  Try(key);
}

void Network::LookAtDoors(NodeId node) {
  Station* const station = Find(node);
  if (station == nullptr) return;
  for (auto& [key, way] : ways_) {
    if (!way.up) continue;
    const NodeId other = key.first == node ? key.second : key.first;
    if (key.first != node && key.second != node) continue;
    const NodeLife its = key.first == node ? way.to : way.from;
    const cluster::Node* const known = station->known().Find(other);
    if (known != nullptr && its.incarnation <= known->gone_through) End(key, true);
  }
}

void Network::RenewLinksOf(NodeId node) {
  for (auto& [key, way] : ways_) {
    if (key.first == node || key.second == node) End(key, true);
  }
}

// ---- What is sent -------------------------------------------------------------------------------

LinkSend Network::Send(NodeId from, NodeId to, LinkClass link_class, std::string_view item) {
  Way& way = WayOf(from, to);
  if (!way.up || !way.told_up) return LinkSend::kDown;
  const auto place = static_cast<size_t>(link_class);
  Stream& stream = way.streams[place];
  const size_t bound = link_class == LinkClass::kTraffic ? traffic_items_max_ : kItemsMax;
  if (stream.items.size() >= bound) {
    if (cluster::IsDroppedWhenFull(link_class)) return LinkSend::kDropped;
    stream.wants_room = true;
    return LinkSend::kFull;
  }
  stream.items.emplace_back(item);
  PlanDelivery({from, to}, place);
  return LinkSend::kQueued;
}

void Network::PlanDelivery(Key key, size_t link_class) {
  Way& way = ways_[key];
  Stream& stream = way.streams[link_class];
  if (way.blocked || stream.items.empty() || std::exchange(stream.planned, true)) return;
  stream.last_ns = std::max(stream.last_ns, agenda_.now_ns() + absl::ToInt64Nanoseconds(Latency()));
  agenda_.At(stream.last_ns,
             [this, key, link_class, number = way.number] { Deliver(key, link_class, number); });
}

void Network::Deliver(Key key, size_t link_class, uint64_t number) {
  Way& way = ways_[key];
  if (way.number != number) return;  // Of an earlier link.
  Stream& stream = way.streams[link_class];
  stream.planned = false;
  Station* const to = Find(key.second);
  if (way.blocked || to == nullptr || to->life() != way.to) return;
  std::string bytes;
  std::vector<cluster::ItemPlace> places;
  while (!stream.items.empty() && places.size() < kFrameItemsMax) {
    places.push_back({bytes.size(), stream.items.front().size()});
    bytes += stream.items.front();
    stream.items.pop_front();
  }
  if (places.empty()) return;
  const bool room = stream.wants_room && stream.items.size() <= traffic_items_max_ / 2;
  if (room) stream.wants_room = false;
  PlanDelivery(key, link_class);
  to->OnFrame({kClasses[link_class], way.from, number, std::move(bytes), std::move(places), {}});
  if (Station* const from = Find(key.first); room && from != nullptr && ways_[key].number == number)
    from->OnRoom(key.second);
}

void Network::Call(NodeId from, NodeId to, std::function<void(Station&)> serve) {
  if (from != to && WayOf(from, to).blocked) return;
  agenda_.After(Latency(), [this, from, to, serve = std::move(serve)] {
    Station* const station = Find(to);
    if (station != nullptr && (from == to || !WayOf(from, to).blocked)) serve(*station);
  });
}

// ---- Weather ------------------------------------------------------------------------------------

void Network::Block(NodeId from, NodeId to, bool blocked) {
  Way& way = WayOf(from, to);
  if (std::exchange(way.blocked, blocked) == blocked) return;
  if (!blocked) {  // What was not acknowledged is sent again.
    for (size_t i = 0; i < cluster::kLinkClasses; ++i) PlanDelivery({from, to}, i);
    return;
  }
  way.blocked_since_ns = agenda_.now_ns();
  // Without answers the link dies in either direction.
  for (const Key& key : {Key{from, to}, Key{to, from}}) {
    agenda_.After(absl::Milliseconds(rng_.Between(absl::ToInt64Milliseconds(kSilenceLeast),
                                                  absl::ToInt64Milliseconds(kSilenceMost))),
                  [this, from, to, key, since = way.blocked_since_ns, number = ways_[key].number] {
                    const Way& now = WayOf(from, to);
                    const bool still = now.blocked && now.blocked_since_ns == since;
                    if (still && ways_[key].number == number) End(key, true);
                  });
  }
}

void Network::Break(NodeId from, NodeId to) { End({from, to}, true); }

}  // namespace simulator
