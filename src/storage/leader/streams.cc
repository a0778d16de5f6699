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
  for (ShardSlot slot = 0; slot < streams_.size(); ++slot) {
    Stream& stream = streams_[slot];
    if (idle) stream.settled = stream.taken;
    const uint64_t news = stream.settled - stream.told;
    if (news == 0 || (news < kToldAtOnce && node_.outbox[slot].empty())) continue;
    stream.told = stream.settled;
    node_.SendTo(slot, StreamAck{.partition = id_, .through = stream.settled});
  }
}

}  // namespace storage
