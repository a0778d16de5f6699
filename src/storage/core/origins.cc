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

void Origins::ForgetNode(NodeId node) {
  const auto is_of = [node](const Origin& origin) {
    return (origin.number - 1) >> 16 == node.value();
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
