#include "cluster/traffic/traffic.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "base/log.h"

namespace cluster {

Traffic::Traffic(TrafficOptions options, const storage::LiveNode& self, Links& links,
                 TrafficLocal& local)
    : self_(self),
      local_(local),
      peers_([options, shards = self.shards, &links](NodeId node) {
        return std::make_unique<Peer>(node, links, options.forwards, shards);
      }),
      own_routes_(OwnRoutes(options.routes, self.incarnation.value(), self.shards)),
      sending_(own_routes_, *this),
      requests_(self, local, peers_, sending_, metrics_),
      events_(peers_, sending_, metrics_),
      forwards_(options.forwards, self, local, peers_, sending_, metrics_),
      node_routes_(self.shards, own_routes_, local, peers_, sending_),
      reception_(self.shards, local, forwards_, node_routes_, metrics_) {}

void Traffic::Taken(storage::ShardId shard, uint32_t node, uint64_t messages, uint64_t /*bytes*/) {
  forwards_.Taken(shard, node, messages);
}

std::optional<uint32_t> Traffic::PlaceOf(NodeId node) const {
  Peer* const peer = peers_.Find(node);
  if (peer == nullptr) return std::nullopt;
  base::MutexLock lock(peer->mutex);
  if (!peer->life.has_value()) return std::nullopt;
  return peer->place;
}

// ---- Who lives ----------------------------------------------------------------------------------

void Traffic::SetNodes(const std::vector<storage::LiveNode>& others) {
  base::MutexLock lock(nodes_mutex_);
  const auto life_of = [&](NodeId node) -> const storage::LiveNode* {
    const auto it = std::find_if(others.begin(), others.end(),
                                 [&](const auto& other) { return other.node == node; });
    return it == others.end() ? nullptr : &*it;
  };
  for (Peer* const peer : peers_.All()) SetNode(*peer, life_of(peer->node));
  for (const storage::LiveNode& other : others) {
    if (other.node == self_.node) continue;
    Peer& peer = peers_.FindOrMake(other.node);
    if (!nodes_were_set_) {
      base::MutexLock in_lock(peer.in);
      peer.unheard = true;
    }
    SetNode(peer, &other);
  }
  nodes_were_set_ = true;
}

// Null: it does not live.
void Traffic::SetNode(Peer& peer, const storage::LiveNode* node) {
  std::function<void()> begins;
  base::MutexLock in_lock(peer.in);
  {
    Tasks tasks(local_, self_.shards);
    base::MutexLock lock(peer.mutex);
    if (peer.life.has_value() && (node == nullptr || node->incarnation != *peer.life)) {
      End(peer, tasks);
    }
    if (node != nullptr && !peer.life.has_value() && node->incarnation > peer.gone_through) {
      Begin(peer, *node, tasks);
      if (HasLink(peer)) begins = BeginLink(peer, tasks);
    }
  }
  if (begins) Resync(peer, std::move(begins));
  TakeEarly(peer);
}

void Traffic::Begin(Peer& peer, const storage::LiveNode& node, Tasks& tasks) {
  if (!peers_.TakePlace(peer)) {
    base::Log(base::LogLevel::kError, "too many nodes: nothing is forwarded to this one",
              {{"node", peer.node.value()}});
    return;
  }
  peer.life = node.incarnation;
  peer.in_link.reset();
  peer.in_parts.clear();
  forwards_.OnLife(peer);
  node_routes_.OnLife(peer, tasks);
}

void Traffic::End(Peer& peer, Tasks& tasks) {
  OnLinkLost(peer);
  node_routes_.OnGone(peer, tasks);
  forwards_.OnGone(peer, tasks);
  peer.gone_through = *peer.life;
  peer.unheard = false;
  peer.life.reset();
  peers_.LeavePlace(peer);
}

// ---- Links --------------------------------------------------------------------------------------

void Traffic::OnUp(NodeLife life) {
  Peer& peer = peers_.FindOrMake(life.node);
  std::function<void()> begins;
  base::MutexLock in_lock(peer.in);
  {
    Tasks tasks(local_, self_.shards);
    base::MutexLock lock(peer.mutex);
    peer.linked = life.incarnation;
    if (HasLink(peer)) begins = BeginLink(peer, tasks);
  }
  if (begins) Resync(peer, std::move(begins));
}

// What it is told at once lets it notice that a link has begun, whatever comes later.
std::function<void()> Traffic::BeginLink(Peer& peer, Tasks& tasks) {
  peer.outlet.Open();
  peer.events.Close();
  peer.turn = 0;
  peer.tell_forwards_taken = true;
  peer.tell_routes_taken = true;
  node_routes_.OnLinkLost(peer);
  node_routes_.AskAnew(peer, tasks);
  forwards_.OnLink(peer);
  std::function<void()> begins = events_.Begins(peer);
  sending_.Pump(peer);
  return begins;
}

void Traffic::OnDown(NodeId node) {
  Peer& peer = peers_.FindOrMake(node);
  base::MutexLock lock(peer.mutex);
  peer.linked.reset();
  OnLinkLost(peer);
}

// Also before OnDown says it: until OnUp nothing more is sent.
void Traffic::OnLinkLost(Peer& peer) {
  peer.outlet.Close();
  peer.events.Close();
  node_routes_.OnLinkLost(peer);
  forwards_.OnLink(peer);
}

void Traffic::OnRoom(NodeId node) {
  Peer& peer = peers_.FindOrMake(node);
  base::MutexLock lock(peer.mutex);
  sending_.Pump(peer);
}

void Traffic::Resync(Peer& peer, std::function<void()> begins) {
  metrics_.resyncs.Add();
  local_.Resync(peer.node, std::move(begins));
}

// ---- What comes ---------------------------------------------------------------------------------

void Traffic::OnFrame(ReceivedFrame frame) {
  Peer& peer = peers_.FindOrMake(frame.from().node);
  base::MutexLock lock(peer.in);
  const Incarnation life = frame.from().incarnation;
  if (life <= peer.gone_through || (peer.life.has_value() && life < *peer.life))
    return frame.Took();
  // It is told of a moment later. What comes meanwhile counts against what may be on its way.
  peer.early.Add(std::move(frame));
  TakeEarly(peer);
}

void Traffic::TakeEarly(Peer& peer) {
  std::deque<ReceivedFrame> frames = peer.early.Take();
  for (ReceivedFrame& frame : frames) {
    const Incarnation life = frame.from().incarnation;
    if (peer.life == life) {
      TakeFrame(peer, std::move(frame));
    } else if (life > peer.gone_through && !(peer.life.has_value() && life < *peer.life)) {
      peer.early.Add(std::move(frame));
    } else {
      frame.Took();
    }
  }
}

void Traffic::TakeFrame(Peer& peer, ReceivedFrame frame) {
  if (peer.in_link.has_value() && frame.link() < *peer.in_link) return frame.Took();
  if (peer.in_link != frame.link()) {
    // What was sent by the link before and has not come never comes.
    peer.in_link = frame.link();
    peer.in_parts.clear();
    std::function<void()> begins;
    {
      Tasks tasks(local_, self_.shards);
      base::MutexLock lock(peer.mutex);
      node_routes_.AskAnew(peer, tasks);
      begins = events_.Begins(peer);
    }
    Resync(peer, std::move(begins));
  }
  reception_.Take(peer, frame);
  frame.Took();
  base::MutexLock lock(peer.mutex);
  sending_.Pump(peer);
}

}  // namespace cluster
