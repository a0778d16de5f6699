// The receiver's end of the request streams to one partition.
#ifndef STORAGE_LEADER_STREAMS_H_
#define STORAGE_LEADER_STREAMS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "storage/leader/asker.h"
#include "storage/leader/node.h"

namespace storage {

// Part of a partition's leader. Requests of one shard come in the order of their numbers; when all
// up to a number are applied or refused, the shard hears so and forgets its copies.
class Streams {
 public:
  Streams(PartitionId id, Node& node) : id_(id), node_(node), streams_(node.shards.slots()) {}

  // What it asks for is proposed, answered, or waits here for something that is not in the log.
  void Took(const Asker& asker) {
    if (asker.sequence == 0) return;
    Stream& stream = streams_[asker.slot];
    if (stream.repeats != 0) --stream.repeats;
    stream.taken = std::max(stream.taken, asker.sequence);
    stream.kept_from = asker.kept_from;
  }
  // Whether it is the one that is to come, and none between was lost. Once for each request.
  bool ComesNext(ShardSlot shard, uint64_t sequence) {
    Stream& stream = streams_[shard];
    if (sequence <= stream.heard || (stream.in_row && sequence != stream.heard + 1)) return false;
    stream.heard = sequence;
    // Of those that were asked before some need not come again.
    if (stream.to_repeat != 0) {
      --stream.to_repeat;
    } else {
      stream.in_row = true;
    }
    return true;
  }
  // Under a new leader: the shard's next requests are `repeats` that may have been asked before.
  void Resume(ShardSlot shard, uint64_t kept_from, uint64_t repeats) {
    streams_[shard] = {.taken = kept_from - 1,
                       .settled = kept_from - 1,
                       .told = kept_from - 1,
                       .kept_from = kept_from,
                       .repeats = repeats,
                       .heard = 0,
                       .to_repeat = repeats,
                       .in_row = false};
  }
  // Another shard has its slot, or nobody; there may be more slots than before.
  void Forget(ShardSlot shard) {
    streams_.resize(node_.shards.slots());
    streams_[shard] = {};
  }
  bool Repeats(ShardSlot shard) const { return streams_[shard].repeats != 0; }
  bool AnyRepeats() const;
  // What has been taken by now, by slot: to be settled when all that is proposed is applied.
  void NoteTaken(std::vector<uint64_t>& taken) const {
    taken.clear();
    for (const Stream& stream : streams_) taken.push_back(stream.taken);
  }
  void Settle(const std::vector<uint64_t>& taken) {
    for (size_t shard = 0; shard < taken.size(); ++shard) {
      streams_[shard].settled = std::max(streams_[shard].settled, taken[shard]);
    }
  }
  // Tells the shards. `idle`: everything that is proposed is applied.
  void Acknowledge(bool idle);

 private:
  struct Stream {
    uint64_t taken = 0;
    uint64_t settled = 0;
    uint64_t told = 0;
    uint64_t kept_from = 1;
    uint64_t repeats = 0;  // That are still to be taken.
    uint64_t heard = 0;
    uint64_t to_repeat = 0;  // That are still to be heard.
    bool in_row = false;     // From here on there are no holes.
  };
  const PartitionId id_;
  Node& node_;
  std::vector<Stream> streams_;  // By slot.
};

}  // namespace storage

#endif  // STORAGE_LEADER_STREAMS_H_
