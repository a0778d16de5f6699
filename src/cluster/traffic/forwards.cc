#include "cluster/traffic/forwards.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "base/log.h"
#include "cluster/core/traffic_codec.h"

namespace cluster {
namespace {

using broker::NodeMask;

constexpr NodeMask BitOf(uint32_t place) { return NodeMask{1} << place; }

// A buffer that is larger is let go.
constexpr size_t kBufferKept = 4 * Forwards::kBlockBytes;

}  // namespace

Forwards::Forwards(ForwardLimits limits, const storage::LiveNode& self, TrafficLocal& local,
                   Peers& peers, Sending& sending, TrafficMetrics& metrics)
    : limits_(limits),
      shard_count_(self.shards),
      self_(self.incarnation),
      local_(local),
      peers_(peers),
      sending_(sending),
      metrics_(metrics) {
  for (storage::ShardId shard = 0; shard < shard_count_; ++shard)
    shards_.push_back(std::make_unique<OfShard>());
}

// ---- From here ----------------------------------------------------------------------------------

NodeMask Forwards::Forward(storage::ShardId shard, NodeMask nodes,
                           const mqtt::MessageParts& message, const broker::Forwarding& how) {
  nodes = WithoutLost(nodes, message.qos);
  if (nodes == 0) return 0;
  OfShard& mine = *shards_[shard];
  mine.growing |= nodes;
  const auto first = static_cast<uint32_t>(std::countr_zero(nodes));
  Growing& block = BlockTo(mine, first);
  const size_t at = block.bytes.size();
  if (how.outbox) {
    AppendForwarded(message, how.outbox, block.bytes);
  } else {
    AppendForwarded(message, block.bytes);
  }
  block.Added(how.receipt);
  const std::string_view encoded = std::string_view(block.bytes).substr(at);
  for (NodeMask rest = nodes & (nodes - 1); rest != 0; rest &= rest - 1) {
    Growing& other = BlockTo(mine, static_cast<uint32_t>(std::countr_zero(rest)));
    other.bytes.append(encoded);
    other.Added(how.receipt);
  }
  for (NodeMask rest = nodes; rest != 0; rest &= rest - 1)
    FlushIfFull(shard, mine, static_cast<uint32_t>(std::countr_zero(rest)));
  return nodes & behind_.load(std::memory_order_relaxed);
}

NodeMask Forwards::ForwardToMember(storage::ShardId shard, uint32_t place,
                                   const mqtt::MessageParts& message,
                                   const storage::ChosenMember& member,
                                   const broker::Forwarding& how) {
  const NodeMask node = WithoutLost(BitOf(place), message.qos);
  if (node == 0) return 0;
  OfShard& mine = *shards_[shard];
  mine.growing |= node;
  Growing& block = BlockTo(mine, place);
  AppendForwarded(message, member, block.bytes);
  block.Added(how.receipt);
  FlushIfFull(shard, mine, place);
  return node & behind_.load(std::memory_order_relaxed);
}

NodeMask Forwards::WithoutLost(NodeMask nodes, mqtt::QoS qos) {
  if (qos != mqtt::QoS::kAtMostOnce) return nodes;
  const NodeMask lost = nodes & lost_.load(std::memory_order_relaxed);
  if (lost == 0) return nodes;
  metrics_.messages_dropped.Add(static_cast<uint64_t>(std::popcount(lost)));
  return nodes & ~lost;
}

Forwards::Growing& Forwards::BlockTo(OfShard& mine, uint32_t place) {
  Growing& block = mine.blocks[place];
  if (block.bytes.empty()) block.bytes.resize(kForwardHeadRoom);
  return block;
}

void Forwards::FlushIfFull(storage::ShardId shard, OfShard& mine, uint32_t place) {
  const Growing& block = mine.blocks[place];
  if (block.bytes.size() >= kBlockBytes || block.messages >= kBlockMessages)
    FlushTo(shard, mine, place);
}

void Forwards::Flush(storage::ShardId shard) {
  OfShard& mine = *shards_[shard];
  while (mine.growing != 0)
    FlushTo(shard, mine, static_cast<uint32_t>(std::countr_zero(mine.growing)));
}

void Forwards::FlushTo(storage::ShardId shard, OfShard& mine, uint32_t place) {
  mine.growing &= ~BitOf(place);
  Growing& growing = mine.blocks[place];
  ForwardBlock block{.from = shard,
                     .messages = growing.messages,
                     .receipt = growing.receipt,
                     .bytes = growing.bytes};
  growing.messages = 0;
  growing.receipt = 0;
  growing.bytes.clear();
  if (growing.bytes.capacity() > kBufferKept) growing.bytes = {};
  Peer* const peer = peers_.At(place);
  if (peer == nullptr) return;
  base::MutexLock lock(peer->mutex);
  if (peer->place != place) {  // It is gone, and nobody there wants anything.
    Tasks tasks(local_, shard_count_);
    const ForwardHead head{.from = shard, .first = 1, .messages = block.messages};
    const size_t item = WriteForwardHead(head, block.bytes);
    return HandBack(std::string_view(block.bytes).substr(item), /*sent=*/false, tasks);
  }
  metrics_.messages_forwarded.Add(block.messages);
  peer->forwards_out.Add(std::move(block));
  sending_.Pump(*peer);
  Judge(*peer);
}

// Whether publishers have to wait for the node, or need not any more.
void Forwards::Judge(Peer& peer) {
  const NodeMask bit = BitOf(peer.place);
  const bool was_behind = (behind_.load(std::memory_order_relaxed) & bit) != 0;
  bool behind = was_behind;
  if (peer.forwards_out.IsFull()) behind = true;
  if (peer.forwards_out.HasRoom()) behind = false;
  const bool cut_off = !peer.outlet.open();
  cut_off ? cut_off_.fetch_or(bit) : cut_off_.fetch_and(~bit);
  behind&& cut_off ? lost_.fetch_or(bit) : lost_.fetch_and(~bit);
  if (behind == was_behind) return;
  if (behind) {
    metrics_.times_behind.Add();
    behind_.fetch_or(bit);
    return;
  }
  // Who has found it behind waits by the time that this comes to his mailbox.
  behind_.fetch_and(~bit);
  Tasks tasks(local_, shard_count_);
  tasks.ForAll(broker::NodeCaughtUp{peer.place});
}

void Forwards::OnTaken(Peer& peer, const ForwardsTaken& taken, Tasks& tasks) {
  const auto tell = [&](storage::ShardId from, uint64_t receipt) {
    tasks.For(from).emplace_back(broker::NodeHas{peer.place, receipt});
  };
  if (!peer.forwards_out.OnTaken(taken, tell)) {
    metrics_.unreadable.Add();
    base::LogLimited(base::LogLevel::kError, "a node has taken messages that it was not sent",
                     "taken", {{"node", peer.node.value()}});
    return;
  }
  Judge(peer);
}

void Forwards::OnLink(Peer& peer) {
  peer.outlet.open() ? peer.forwards_out.Resend() : peer.forwards_out.Interrupted();
  if (peer.place != broker::kNodesMax) Judge(peer);
}

void Forwards::OnLife(Peer& peer) {
  peer.forwards_out = ForwardSender(limits_, *peer.life);
  peer.forwards_in.Begin();
  Judge(peer);
}

void Forwards::HandBack(std::string_view item, bool sent, Tasks& tasks) {
  std::string_view body;
  const absl::StatusOr<ForwardHead> head = ParseForwardHead(item, body);
  std::vector<Forwarded> messages;
  if (!head.ok() || !ParseForwarded(body, messages).ok()) return;
  for (Forwarded& one : messages) {
    const mqtt::QoS qos = one.message->qos();
    if (one.member == nullptr || qos == mqtt::QoS::kAtMostOnce) continue;
    if (sent && mqtt::Min(qos, one.member->options.qos) == mqtt::QoS::kExactlyOnce) continue;
    tasks.For(head->from)
        .emplace_back(broker::HandedBack{std::move(one.message), std::move(one.member)});
  }
}

void Forwards::OnGone(Peer& peer, Tasks& tasks) {
  peer.forwards_out.ForEachKept(
      [&](std::string_view item, bool sent) { HandBack(item, sent, tasks); });
  peer.forwards_out = ForwardSender(limits_);
  Judge(peer);
}

// ---- To here ------------------------------------------------------------------------------------

void Forwards::TakeBlock(Peer& peer, std::string_view item, Tasks& tasks) {
  std::string_view body;
  const absl::StatusOr<ForwardHead> head = ParseForwardHead(item, body);
  if (head.ok() && head->to != self_) return;  // Its clients have gone with it.
  std::vector<Forwarded> messages;
  absl::Status read = head.status();
  if (read.ok()) {
    messages.reserve(head->messages < kBlockMessages ? head->messages : kBlockMessages);
    read = ParseForwarded(body, messages);
  }
  if (!read.ok()) {
    metrics_.unreadable.Add();
    base::LogLimited(base::LogLevel::kError, "messages of a node dropped", "unreadable",
                     {{"node", peer.node.value()}, {"why", read}});
  }
  if (!head.ok()) return;
  const auto shard_of = [&](const Forwarded& one) {
    return static_cast<storage::ShardId>((one.outbox ? one.outbox.partition : head->from) %
                                         shard_count_);
  };
  std::vector<ForwardReceiver::ForShard> to = {
      {static_cast<storage::ShardId>(head->from % shard_count_), 0}};
  bool is_awaited = false;
  for (const Forwarded& one : messages) {
    is_awaited = is_awaited || one.message->qos() != mqtt::QoS::kAtMostOnce;
    const auto shard = std::find_if(
        to.begin(), to.end(), [&](const auto& other) { return other.shard == shard_of(one); });
    shard == to.end() ? to.push_back({shard_of(one), 1}) : void(++shard->readable);
  }
  ForwardReceiver::Fate fate = ForwardReceiver::Fate::kNew;
  {
    base::MutexLock lock(peer.mutex);
    fate = peer.forwards_in.OnBlock(*head, body.size(), to);
    // Who has published it waits to hear that it is here. It goes with the answer to the frame.
    if (is_awaited) peer.tell_forwards_taken = true;
  }
  if (fate == ForwardReceiver::Fate::kRepeat) return metrics_.messages_repeated.Add(head->messages);
  if (fate == ForwardReceiver::Fate::kGap) {
    metrics_.gaps.Add();
    base::LogLimited(base::LogLevel::kError, "forwarded messages of a node are missing", "gap",
                     {{"node", peer.node.value()}});
  }
  metrics_.messages_received.Add(messages.size());
  for (Forwarded& one : messages) {
    std::vector<broker::ShardTask>& mine = tasks.For(shard_of(one));
    mine.emplace_back(
        broker::NodePublish{peer.place, std::move(one.message), std::move(one.member), one.outbox});
  }
}

void Forwards::Taken(storage::ShardId shard, uint32_t place, uint64_t messages) {
  Peer* const peer = peers_.At(place);
  if (peer == nullptr) return;
  base::MutexLock lock(peer->mutex);
  peer->forwards_in.Took(shard, messages);
  if (!peer->forwards_in.HasNews()) return;
  peer->tell_forwards_taken = true;
  sending_.Pump(*peer);
}

}  // namespace cluster
