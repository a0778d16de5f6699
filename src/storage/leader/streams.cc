#include "storage/leader/streams.h"

namespace storage {
namespace {

// With what else there is to be told; for its own sake only when so many may be forgotten. A shard
// that sleeps is not woken for less.
constexpr uint64_t kToldAtOnce = 64;

}  // namespace

bool Streams::AnyRepeats() const {
  return std::any_of(streams_.begin(), streams_.end(),
                     [](const Stream& stream) { return stream.repeats != 0; });
}

void Streams::Acknowledge(bool idle) {
  for (size_t shard = 0; shard < streams_.size(); ++shard) {
    Stream& stream = streams_[shard];
    if (idle) stream.settled = stream.taken;
    const uint64_t news = stream.settled - stream.told;
    if (news == 0 || (news < kToldAtOnce && node_.outbox[shard].empty())) continue;
    stream.told = stream.settled;
    node_.Send(static_cast<ShardId>(shard), StreamAck{.partition = id_, .through = stream.settled});
  }
}

}  // namespace storage
