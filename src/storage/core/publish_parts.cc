#include "storage/core/publish_parts.h"

#include <bit>
#include <optional>
#include <utility>

#include "storage/core/keys.h"

namespace storage {
namespace {

// Where what has one place only is to go.
struct Places {
  std::optional<PartitionId> retained;
  absl::InlinedVector<PartitionId, 1> targets;
  PartitionMask all = 0;
};

Places PlacesOf(const Publish& whole, uint32_t partitions) {
  Places places;
  places.all = whole.partitions;
  if (whole.set_retained) {
    places.retained = PartitionOfTopic(whole.message->topic(), partitions);
    places.all |= BitOf(*places.retained);
  }
  for (const SharedTarget& target : whole.shared_targets) {
    places.targets.push_back(PartitionOfClient(target.client_id, partitions));
    places.all |= BitOf(places.targets.back());
  }
  return places;
}

Publish PartOf(Publish& whole, const Places& places, PartitionId id) {
  Publish part;
  part.token = whole.token;
  part.message = whole.message;
  part.partition = id;
  part.partitions = whole.partitions;
  part.set_retained = places.retained == id;
  part.outbox = whole.outbox;
  part.outbox_after = whole.outbox_after;
  for (size_t i = 0; i < places.targets.size(); ++i) {
    if (places.targets[i] == id) part.shared_targets.push_back(std::move(whole.shared_targets[i]));
  }
  return part;
}

}  // namespace

uint32_t CutIntoParts(Publish whole, uint32_t partitions,
                      absl::FunctionRef<void(Publish part)> take) {
  if (partitions < kPartitionsMax) whole.partitions &= (PartitionMask{1} << partitions) - 1;
  const Places places = PlacesOf(whole, partitions);
  const auto parts = static_cast<uint32_t>(std::popcount(places.all));
  if (parts <= 1) {
    whole.partition =
        parts == 0 ? PartitionId{0} : static_cast<PartitionId>(std::countr_zero(places.all));
    take(std::move(whole));
    return 1;
  }
  for (PartitionMask rest = places.all; rest != 0; rest &= rest - 1) {
    take(PartOf(whole, places, static_cast<PartitionId>(std::countr_zero(rest))));
  }
  return parts;
}

}  // namespace storage
