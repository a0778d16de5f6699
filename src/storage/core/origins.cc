#include "storage/core/origins.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "mqttd/storage/v1/records.pb.h"

namespace storage {

const Origins::Origin* Origins::Search(uint64_t number) const {
  const auto found = std::find_if(origins_.begin(), origins_.end(), [number](const Origin& origin) {
    return origin.number == number;
  });
  if (found == origins_.end()) return nullptr;
  last_found_ = static_cast<size_t>(found - origins_.begin());
  return &*found;
}

Origins::Origin& Origins::At(uint64_t number) {
  if (last_found_ < origins_.size() && origins_[last_found_].number == number) {
    return origins_[last_found_];
  }
  const auto place = std::find_if(origins_.begin(), origins_.end(), [number](const Origin& origin) {
    return origin.number >= number;
  });
  if (place != origins_.end() && place->number == number) return *place;
  return *origins_.insert(place, Origin{.number = number, .last = 0, .holes = {}});
}

bool Origins::Take(uint64_t origin, uint64_t sequence) {
  Origin& from = At(origin);
  if (sequence <= from.last) return from.holes.erase(sequence);
  if (sequence > from.last + 1) from.holes.Append({from.last + 1, sequence - 1});
  from.last = sequence;
  return true;
}

bool Origins::IsApplied(uint64_t origin, uint64_t sequence) const {
  const Origin* const from = Find(origin);
  return from != nullptr && sequence <= from->last && !from->holes.contains(sequence);
}

void Origins::ForgetBelow(uint64_t origin, uint64_t sequence) {
  At(origin).holes.EraseBelow(sequence);
}

namespace {

// The other way round. The life of a node alone is not among what an origin's number says.
ShardAddress ShardOf(uint64_t origin) {
  if (origin >> 48 == 0) return {.shard = static_cast<ShardId>(origin - 1)};
  return {.node = NodeId(static_cast<uint16_t>(origin >> 48)),
          .shard = static_cast<ShardId>(origin),
          .incarnation = Incarnation(static_cast<uint32_t>(origin >> 16))};
}

}  // namespace

std::vector<ShardAddress> Origins::Shards() const {
  std::vector<ShardAddress> shards;
  for (const Origin& origin : origins_) {
    if (!IsOutbox(origin.number)) shards.push_back(ShardOf(origin.number));
  }
  return shards;
}

void Origins::ForgetNode(NodeId node, Incarnation incarnation) {
  const auto is_of = [&](const Origin& origin) {
    if (IsOutbox(origin.number)) return false;
    const ShardAddress shard = ShardOf(origin.number);
    return shard.node == node && (incarnation.value() == 0 || shard.incarnation <= incarnation);
  };
  origins_.erase(std::remove_if(origins_.begin(), origins_.end(), is_of), origins_.end());
}

void Origins::WriteTo(::mqttd::storage::v1::Meta& meta) const {
  meta.clear_origins();
  for (const Origin& origin : origins_) {
    auto& record = *meta.add_origins();
    record.set_number(origin.number);
    record.set_last(origin.last);
    uint64_t end = 0;
    for (const RangeSet::Run& run : origin.holes.runs()) {
      record.add_holes(run.first - end);
      record.add_holes(run.last - run.first + 1);
      end = run.last + 1;
    }
  }
}

absl::Status Origins::ReadFrom(const ::mqttd::storage::v1::Meta& meta) {
  origins_.clear();
  for (const auto& record : meta.origins()) {
    Origin& origin = At(record.number());
    origin.last = record.last();
    uint64_t end = 0;
    for (int i = 0; i + 1 < record.holes_size(); i += 2) {
      const uint64_t first = end + record.holes(i);
      end = first + record.holes(i + 1);
      if (end > origin.last + 1 || !origin.holes.Append({first, end - 1})) {
        return absl::DataLossError("unreadable origins in the meta record");
      }
    }
  }
  return absl::OkStatus();
}

std::string Origins::Dump() const {
  std::string out;
  for (const Origin& origin : origins_) {
    absl::StrAppend(&out, "origin ", origin.number, " last ", origin.last, " holes");
    for (const RangeSet::Run& run : origin.holes.runs()) {
      absl::StrAppend(&out, " ", run.first, "-", run.last);
    }
    absl::StrAppend(&out, "\n");
  }
  return out;
}

}  // namespace storage
