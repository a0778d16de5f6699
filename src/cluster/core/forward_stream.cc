#include "cluster/core/forward_stream.h"

#include <algorithm>
#include <utility>

namespace cluster {
namespace {

// What is taken is told in so many parts of the limit: seldom, and never too late, for a sender
// that has reached the limit is owed more.
constexpr uint64_t kTellParts = 16;

uint64_t BodyBytes(size_t block) { return block - kForwardHeadRoom; }

}  // namespace

void ForwardSender::Add(ForwardBlock block) {
  const ForwardHead head{block.from, to_, added_.through + 1, block.messages};
  added_.through += block.messages;
  added_.messages += block.messages;
  added_.bytes += BodyBytes(block.bytes.size());
  kept_bytes_ += block.bytes.size();
  const size_t item = WriteForwardHead(head, block.bytes);
  kept_.push_back({.last = added_.through,
                   .from = block.from,
                   .receipt = block.receipt,
                   .item = item,
                   .bytes = std::move(block.bytes)});
}

std::optional<std::string_view> ForwardSender::Next() const {
  if (on_link_ == kept_.size()) return std::nullopt;
  const Kept& next = kept_[on_link_];
  return std::string_view(next.bytes).substr(next.item);
}

bool ForwardSender::OnTaken(const ForwardsTaken& taken, Receipt receipt) {
  if (taken.through > added_.through || taken.messages > added_.messages ||
      taken.bytes > added_.bytes) {
    return false;
  }
  taken_.through = std::max(taken_.through, taken.through);
  taken_.messages = std::max(taken_.messages, taken.messages);
  taken_.bytes = std::max(taken_.bytes, taken.bytes);
  while (!kept_.empty() && kept_.front().last <= taken_.through && (on_link_ > 0 || !begun_)) {
    if (kept_.front().receipt != 0) receipt(kept_.front().from, kept_.front().receipt);
    kept_bytes_ -= kept_.front().bytes.size();
    kept_.pop_front();
    if (on_link_ > 0) --on_link_;
  }
  return true;
}

void ForwardReceiver::Begin() {
  ++life_;
  taken_ = {};
  told_ = {};
}

ForwardReceiver::Fate ForwardReceiver::OnBlock(const ForwardHead& head, uint64_t bytes,
                                               absl::Span<const ForShard> to) {
  const uint64_t last = head.first + head.messages - 1;
  if (last <= taken_.through) return Fate::kRepeat;
  const bool follows = head.first == taken_.through + 1;
  taken_.through = last;
  uint32_t rest = head.messages;  // With the first goes what cannot be read, and the bytes.
  for (const ForShard& other : to.subspan(1)) {
    on_shards_[other.shard].push_back({life_, other.readable, other.readable, 0});
    rest -= std::min(rest, other.readable);
  }
  on_shards_[to[0].shard].push_back({life_, rest, to[0].readable, bytes});
  if (to[0].readable == 0) Took(to[0].shard, 0);
  return follows ? Fate::kNew : Fate::kGap;
}

void ForwardReceiver::Took(storage::ShardId shard, uint64_t messages) {
  std::deque<OnShard>& blocks = on_shards_[shard];
  uint64_t& taken = part_taken_[shard];
  taken += messages;
  while (!blocks.empty() && taken >= blocks.front().readable) {
    const OnShard& block = blocks.front();
    taken -= block.readable;
    if (block.life == life_) {
      taken_.messages += block.messages;
      taken_.bytes += block.bytes;
    }
    blocks.pop_front();
  }
  if (blocks.empty()) taken = 0;
}

bool ForwardReceiver::HasNews() const {
  return taken_.messages - told_.messages >= std::max<uint64_t>(limits_.messages / kTellParts, 1) ||
         taken_.bytes - told_.bytes >= std::max<uint64_t>(limits_.bytes / kTellParts, 1);
}

}  // namespace cluster
