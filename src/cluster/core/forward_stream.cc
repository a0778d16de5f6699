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
  const ForwardHead head{block.from, added_.through + 1, block.messages};
  added_.through += block.messages;
  added_.messages += block.messages;
  added_.bytes += BodyBytes(block.bytes.size());
  kept_bytes_ += block.bytes.size();
  const size_t item = WriteForwardHead(head, block.bytes);
  kept_.push_back({added_.through, item, std::move(block.bytes)});
}

std::optional<std::string_view> ForwardSender::Next() const {
  if (on_link_ == kept_.size()) return std::nullopt;
  const Kept& next = kept_[on_link_];
  return std::string_view(next.bytes).substr(next.item);
}

bool ForwardSender::OnTaken(const ForwardsTaken& taken) {
  if (taken.through > added_.through || taken.messages > added_.messages ||
      taken.bytes > added_.bytes) {
    return false;
  }
  taken_.through = std::max(taken_.through, taken.through);
  taken_.messages = std::max(taken_.messages, taken.messages);
  taken_.bytes = std::max(taken_.bytes, taken.bytes);
  while (!kept_.empty() && kept_.front().last <= taken_.through) {
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
                                               uint32_t readable, storage::ShardId to) {
  const uint64_t last = head.first + head.messages - 1;
  if (last <= taken_.through) return Fate::kRepeat;
  const bool follows = head.first == taken_.through + 1;
  taken_.through = last;
  on_shards_[to].push_back({life_, head.messages, readable, bytes});
  if (readable == 0) Took(to, 0);
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
