#include "cluster/core/route_stream.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/check.h"
#include "storage/core/keys.h"
#include "storage/core/wire.h"

namespace cluster {
namespace {

namespace wire = storage::wire;

size_t BytesOf(const std::string& key) { return key.size() + 16; }

void AppendNumber(uint64_t number, std::string& key) {
  char bytes[wire::kVarintMax];
  key.append(bytes, wire::WriteVarint(bytes, number));
}

std::optional<MemberOfKey> ParseMember(std::string_view rest) {
  const char* at = rest.data();
  const char* const end = at + rest.size();
  MemberOfKey member;
  uint64_t shard = 0;
  uint64_t filter_bytes = 0;
  if (!wire::TakeVarint(at, end, shard) || !wire::TakeVarint(at, end, member.connection) ||
      !wire::TakeVarint(at, end, filter_bytes) ||
      shard > std::numeric_limits<storage::ShardId>::max() ||
      filter_bytes > static_cast<uint64_t>(end - at)) {
    return std::nullopt;
  }
  member.shard = static_cast<storage::ShardId>(shard);
  member.filter = {at, static_cast<size_t>(filter_bytes)};
  at += filter_bytes;
  uint64_t options = 0;
  uint64_t subscription_id = 0;
  uint64_t packet_size_max = 0;
  if (!wire::TakeVarint(at, end, options) || !wire::TakeVarint(at, end, subscription_id) ||
      !wire::TakeVarint(at, end, packet_size_max) || options > 0x3F || (options & 3) == 3 ||
      options >> 4 == 3 || subscription_id > std::numeric_limits<uint32_t>::max() ||
      packet_size_max > std::numeric_limits<uint32_t>::max()) {
    return std::nullopt;
  }
  member.options = mqtt::SubscriptionOptions::FromByte(static_cast<uint8_t>(options));
  member.subscription_id = static_cast<uint32_t>(subscription_id);
  member.packet_size_max = static_cast<uint32_t>(packet_size_max);
  member.client_id = {at, static_cast<size_t>(end - at)};
  return member;
}

}  // namespace

std::string RouteKeyOf(std::string_view filter, RouteLevel level) {
  if (filter.find_first_of("+#") != std::string_view::npos) {
    std::string key = level == RouteLevel::kAll ? "t" : "T";
    key.append(filter);
    return key;
  }
  const uint64_t hash = storage::StableHash(filter);
  std::string key = level == RouteLevel::kAll ? "h" : "H";
  for (int shift = 56; shift >= 0; shift -= 8) key.push_back(static_cast<char>(hash >> shift));
  return key;
}

std::string MemberKeyPrefix(storage::ShardId shard, uint64_t connection, std::string_view filter) {
  std::string key = "s";
  AppendNumber(shard, key);
  AppendNumber(connection, key);
  AppendNumber(filter.size(), key);
  key.append(filter);
  return key;
}

std::string MemberKeyOf(const MemberOfKey& member) {
  std::string key = MemberKeyPrefix(member.shard, member.connection, member.filter);
  AppendNumber(member.options.ToByte(), key);
  AppendNumber(member.subscription_id, key);
  AppendNumber(member.packet_size_max, key);
  key.append(member.client_id);
  return key;
}

std::optional<RouteOfKey> ParseRouteKey(std::string_view key) {
  if (key.size() < 2) return std::nullopt;
  RouteOfKey route;
  const std::string_view rest = key.substr(1);
  switch (key[0]) {
    case 'T':
    case 'H':
      route.level = RouteLevel::kQos0;
      break;
    case 't':
    case 'h':
      break;
    case 's':
      route.member = ParseMember(rest);
      if (!route.member.has_value()) return std::nullopt;
      return route;
    default:
      return std::nullopt;
  }
  if (key[0] == 't' || key[0] == 'T') {
    route.wildcard = rest;
    return route;
  }
  if (rest.size() != sizeof(uint64_t)) return std::nullopt;
  for (const char byte : rest) route.hash = route.hash << 8 | static_cast<uint8_t>(byte);
  return route;
}

bool RouteSource::Add(std::string_view filter, uint64_t number, RouteLevel level) {
  CHECK(number >= number_) << "routes are told in order";
  number_ = number;
  std::string key = RouteKeyOf(filter, level);
  if (++counts_[key] > 1) return false;
  Keep(std::move(key), true);
  return true;
}

bool RouteSource::Remove(std::string_view filter, uint64_t number, RouteLevel level) {
  CHECK(number >= number_) << "routes are told in order";
  number_ = number;
  std::string key = RouteKeyOf(filter, level);
  const auto it = counts_.find(key);
  CHECK(it != counts_.end()) << "a filter goes that never came";
  if (--it->second > 0) return false;
  counts_.erase(it);
  Keep(std::move(key), false);
  return true;
}

void RouteSource::Replace(std::string_view prefix, std::string key, uint64_t number) {
  CHECK(number >= number_) << "routes are told in order";
  number_ = number;
  const auto it = counts_.lower_bound(std::string(prefix));
  if (it != counts_.end() && it->first.starts_with(prefix)) {
    if (it->first == key) return;
    Keep(it->first, false);
    counts_.erase(it);
  }
  if (key.empty()) return;
  counts_.emplace(key, 1);
  Keep(std::move(key), true);
}

void RouteSource::Keep(std::string key, bool add) {
  kept_bytes_ += BytesOf(key);
  kept_.push_back({number_, {std::move(key), add}});
  while (kept_.size() > options_.kept_changes_max || kept_bytes_ > options_.kept_bytes_max) {
    // Changes of one number stay or go together.
    const uint64_t number = kept_.front().number;
    while (!kept_.empty() && kept_.front().number == number) {
      kept_bytes_ -= BytesOf(kept_.front().change.key);
      kept_.pop_front();
    }
    kept_after_ = number;
  }
}

RouteSource::Reader RouteSource::ReaderAt(uint64_t life, uint64_t number) const {
  Reader reader;
  if (life != life_) return reader;
  reader.life = life;
  reader.number = number;
  reader.resumed = true;
  return reader;
}

bool RouteSource::CanGoOn(const Reader& reader) const {
  return reader.life == life_ && reader.number >= kept_after_;
}

void RouteSource::BeginSnapshot(Reader& reader, RouteFrame& frame) const {
  reader = {.life = life_, .number = number_, .in_snapshot = true, .at_start = true, .cursor = {}};
  frame.begin = true;
}

std::optional<RouteFrame> RouteSource::Next(Reader& reader, size_t bytes_max) const {
  RouteFrame frame;
  frame.life = life_;
  if (!CanGoOn(reader)) BeginSnapshot(reader, frame);
  // One that is ahead follows a replica that has applied more than this one. Whoever goes on where
  // it was is told that it has everything, or it would be stale until the next change.
  const bool resumed = std::exchange(reader.resumed, false);
  if (!reader.in_snapshot && reader.number >= number_) {
    if (reader.number > number_) reader.resumed = resumed;
    if (!resumed || reader.number > number_) return std::nullopt;
    frame.after = frame.through = reader.number;
    frame.whole = true;
    return frame;
  }
  frame.after = reader.number;
  size_t bytes = 0;
  // Changes first, so that a page is read when everything before it is told. Those of keys that are
  // still to come in the snapshot are left out: the page will have what they made.
  auto it =
      std::upper_bound(kept_.begin(), kept_.end(), reader.number,
                       [](uint64_t number, const Kept& kept) { return number < kept.number; });
  uint64_t told = reader.number;
  while (it != kept_.end() && (bytes < bytes_max || it->number == told)) {
    told = it->number;
    if (!reader.in_snapshot || (!reader.at_start && it->change.key <= reader.cursor)) {
      bytes += BytesOf(it->change.key);
      frame.changes.push_back(it->change);
    }
    ++it;
  }
  if (it == kept_.end()) told = number_;
  reader.number = told;
  if (reader.in_snapshot && it == kept_.end()) {
    auto key = reader.at_start ? counts_.begin() : counts_.upper_bound(reader.cursor);
    // At least one, or it would never come to an end.
    for (bool first = true; key != counts_.end() && (first || bytes < bytes_max); ++key) {
      first = false;
      bytes += BytesOf(key->first);
      frame.changes.push_back({key->first, true});
      reader.cursor = key->first;
      reader.at_start = false;
    }
    reader.in_snapshot = key != counts_.end();
  }
  frame.through = reader.number;
  frame.whole = !reader.in_snapshot && reader.number == number_;
  return frame;
}

RouteView::Result RouteView::OnFrame(const RouteFrame& frame) {
  if (frame.begin) {
    in_snapshot_ = true;
    stale_ = true;
    life_ = frame.life;
    number_ = frame.after;
  }
  if (frame.life != life_ || frame.after != number_) {
    OnLost();
    return Result::kGap;
  }
  number_ = frame.through;
  if (frame.whole) {
    in_snapshot_ = false;
    stale_ = false;
  }
  return Result::kOk;
}

void RouteView::OnLost() {
  stale_ = true;
  // Half a snapshot is nothing to go on from.
  if (in_snapshot_) OnGone();
}

void RouteView::OnGone() {
  stale_ = true;
  in_snapshot_ = false;
  life_ = 0;
  number_ = 0;
}

void RouteConfirmations::Confirm(uint16_t node, uint64_t number) {
  const auto it = confirmed_.find(node);
  if (it != confirmed_.end()) it->second = std::max(it->second, number);
}

uint64_t RouteConfirmations::ByAllOf(absl::FunctionRef<bool(uint16_t node)> counts) const {
  uint64_t least = std::numeric_limits<uint64_t>::max();
  for (const auto& [node, number] : confirmed_) {
    if (counts(node)) least = std::min(least, number);
  }
  return least;
}

std::vector<uint16_t> RouteConfirmations::Behind(uint64_t number) const {
  std::vector<uint16_t> behind;
  for (const auto& [node, confirmed] : confirmed_) {
    if (confirmed < number) behind.push_back(node);
  }
  return behind;
}

}  // namespace cluster
