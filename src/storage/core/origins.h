// How far the requests of each of a partition's askers are applied.
#ifndef STORAGE_CORE_ORIGINS_H_
#define STORAGE_CORE_ORIGINS_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "storage/core/addresses.h"
#include "storage/core/range_set.h"

namespace mqttd::storage::v1 {
class Meta;
}  // namespace mqttd::storage::v1

namespace storage {

// A shard as an asker. Of a node alone whichever of its lives it is: CloseNode stands between two.
// In a cluster a request of one life may come behind the first of the next.
constexpr uint64_t OriginOf(const ShardAddress& shard) {
  if (shard.node.value() == 0) return uint64_t{shard.shard} + 1;
  return uint64_t{shard.node.value()} << 48 | uint64_t{shard.incarnation.value()} << 16 |
         shard.shard;
}

// Part of a partition's state: a request that is asked for again, because its asker does not know
// what became of it, is applied once. Requests that were passed over (refused, or nothing of them
// had to be stored) are remembered as holes, as long as they may be asked for again: such a one is
// no repeat. Few origins; bounded by what each of them keeps (RequestStreams).
class Origins {
 public:
  // The number of an origin that is a partition's outbox. Those of shards of a node alone are less,
  // those of the nodes of a cluster greater.
  static constexpr uint64_t OfOutbox(PartitionId partition) { return kOutboxes | partition; }
  static constexpr bool IsOutbox(uint64_t origin) {
    return origin >= kOutboxes && origin < kOutboxes + kPartitionsMax;
  }

  // Request `sequence` of `origin` is being applied. False: it is applied already.
  bool Take(uint64_t origin, uint64_t sequence);
  bool IsApplied(uint64_t origin, uint64_t sequence) const;
  // Nothing below is asked for again.
  void ForgetBelow(uint64_t origin, uint64_t sequence);
  // The first hole; 0: there is none.
  uint64_t FirstHole(uint64_t origin) const {
    const Origin* const from = Find(origin);
    return from == nullptr || from->holes.empty() ? 0 : from->holes.runs().front().first;
  }

  // Those that are shards.
  std::vector<ShardAddress> Shards() const;
  // These lives are over: this one and each before it, all with 0. Of a node alone it is all in any
  // case. What outboxes have passed on stays known.
  void ForgetNode(NodeId node, Incarnation incarnation);

  void WriteTo(::mqttd::storage::v1::Meta& meta) const;
  absl::Status ReadFrom(const ::mqttd::storage::v1::Meta& meta);
  std::string Dump() const;

 private:
  static constexpr uint64_t kOutboxes = uint64_t{1} << 33;
  struct Origin {
    uint64_t number = 0;
    uint64_t last = 0;
    RangeSet holes;
  };
  // The one that was asked about last is asked about again, mostly.
  const Origin* Find(uint64_t number) const {
    if (last_found_ < origins_.size() && origins_[last_found_].number == number) {
      return &origins_[last_found_];
    }
    return Search(number);
  }
  const Origin* Search(uint64_t number) const;
  Origin& At(uint64_t number);

  std::vector<Origin> origins_;    // By number.
  mutable size_t last_found_ = 0;  // Nothing depends on it.
};

}  // namespace storage

#endif  // STORAGE_CORE_ORIGINS_H_
