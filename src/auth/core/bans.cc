#include "auth/core/bans.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/by_name.h"
#include "base/status_macros.h"

namespace auth {
namespace {

std::optional<uint32_t> ParseV4(absl::string_view text) {
  const std::vector<absl::string_view> parts = absl::StrSplit(text, '.');
  if (parts.size() != 4) return std::nullopt;
  uint32_t value = 0;
  for (const absl::string_view part : parts) {
    uint32_t byte = 0;
    if (part.empty() || part.size() > 3 || !absl::SimpleAtoi(part, &byte) || byte > 255)
      return std::nullopt;
    value = value << 8 | byte;
  }
  return value;
}

// The groups on one side of "::".
bool ParseGroups(absl::string_view text, std::vector<uint32_t>& groups) {
  if (text.empty()) return true;
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  for (size_t i = 0; i < parts.size(); ++i) {
    uint32_t value = 0;
    if (const auto v4 = ParseV4(parts[i]); v4.has_value() && i + 1 == parts.size()) {
      groups.push_back(*v4 >> 16);
      groups.push_back(*v4 & 0xFFFF);
    } else if (parts[i].empty() || parts[i].size() > 4 || !absl::SimpleHexAtoi(parts[i], &value)) {
      return false;
    } else {
      groups.push_back(value);
    }
  }
  return groups.size() <= 8;
}

bool ParseV6(absl::string_view text, std::array<unsigned char, 16>& bytes) {
  const size_t gap = text.find("::");
  std::vector<uint32_t> head;
  std::vector<uint32_t> tail;
  const bool has_gap = gap != absl::string_view::npos;
  if (!ParseGroups(text.substr(0, gap), head)) return false;
  if (has_gap && !ParseGroups(text.substr(gap + 2), tail)) return false;
  if (has_gap ? head.size() + tail.size() > 7 : head.size() != 8) return false;
  head.resize(8 - tail.size());
  head.insert(head.end(), tail.begin(), tail.end());
  for (size_t i = 0; i < 8; ++i) {
    bytes[2 * i] = static_cast<unsigned char>(head[i] >> 8);
    bytes[2 * i + 1] = static_cast<unsigned char>(head[i]);
  }
  return true;
}

// The longest run of zero groups, of two at least: where "::" stands.
std::pair<size_t, size_t> LongestGap(const std::array<uint32_t, 8>& groups) {
  std::pair<size_t, size_t> longest = {8, 0};
  for (size_t begin = 0; begin < 8; ++begin) {
    size_t end = begin;
    while (end < 8 && groups[end] == 0) ++end;
    if (end - begin > std::max<size_t>(longest.second, 1)) longest = {begin, end - begin};
  }
  return longest;
}

std::string V6ToString(const std::array<unsigned char, 16>& bytes) {
  std::array<uint32_t, 8> groups{};
  for (size_t i = 0; i < 8; ++i) groups[i] = uint32_t{bytes[2 * i]} << 8 | bytes[2 * i + 1];
  const auto [gap, length] = LongestGap(groups);
  std::string text;
  for (size_t i = 0; i < 8; ++i) {
    if (i == gap) {
      text += "::";
      i += length - 1;
      continue;
    }
    absl::StrAppend(&text, text.empty() || text.back() == ':' ? "" : ":", absl::Hex(groups[i]));
  }
  return text;
}

constexpr std::array<unsigned char, 12> kV4Prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};

}  // namespace

absl::StatusOr<AddressRange> AddressRange::Parse(std::string_view text) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(base::AbslView(text), absl::MaxSplits('/', 1));
  AddressRange range;
  const auto v4 = ParseV4(parts.first);
  bool right = true;
  if (v4.has_value()) {
    std::copy(kV4Prefix.begin(), kV4Prefix.end(), range.bytes.begin());
    for (size_t i = 0; i < 4; ++i)
      range.bytes[12 + i] = static_cast<unsigned char>(*v4 >> (24 - 8 * i));
  } else {
    right = ParseV6(parts.first, range.bytes);
  }
  const uint32_t bits_max = v4.has_value() ? 32 : 128;
  uint32_t bits = bits_max;
  if (text.find('/') != std::string_view::npos)
    right = right && absl::SimpleAtoi(parts.second, &bits) && bits <= bits_max;
  if (!right) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", base::AbslView(text),
                     "\" is no address such as 192.0.2.7 and no network such as 192.0.2.0/24"));
  }
  return range.Within(bits + 128 - bits_max);
}

std::string AddressRange::ToString() const {
  const bool v4 = bits >= 96 && std::equal(kV4Prefix.begin(), kV4Prefix.end(), bytes.begin());
  std::string text = v4 ? absl::StrJoin(bytes.begin() + 12, bytes.end(), ".",
                                        [](std::string* out, unsigned char byte) {
                                          absl::StrAppend(out, static_cast<uint32_t>(byte));
                                        })
                        : V6ToString(bytes);
  if (bits != 128) absl::StrAppend(&text, "/", v4 ? bits - 96 : bits);
  return text;
}

AddressRange AddressRange::Within(uint32_t network_bits) const {
  AddressRange range = *this;
  range.bits = network_bits;
  for (uint32_t i = 0; i < 16; ++i) {
    const uint32_t kept = std::min<uint32_t>(network_bits > 8 * i ? network_bits - 8 * i : 0, 8);
    range.bytes[i] &= static_cast<unsigned char>(0xFF00 >> kept);
  }
  return range;
}

absl::StatusOr<std::shared_ptr<const BanTable>> BanTable::Make(std::vector<Ban> bans) {
  auto table = std::make_shared<BanTable>();
  table->bans_ = std::move(bans);
  for (size_t i = 0; i < table->bans_.size(); ++i) {
    const BanTarget& target = table->bans_[i].target;
    if (target.value.empty()) return absl::InvalidArgumentError("a ban names somebody");
    if (target.kind == BanKind::kAddress) {
      ASSIGN_OR_RETURN(const AddressRange range, AddressRange::Parse(target.value));
      table->addresses_[range] = i;
      if (std::find(table->prefixes_.begin(), table->prefixes_.end(), range.bits) ==
          table->prefixes_.end())
        table->prefixes_.push_back(range.bits);
    } else {
      (target.kind == BanKind::kClient ? table->clients_ : table->users_)[target.value] = i;
    }
  }
  return table;
}

const Ban* BanTable::Holding(size_t index, int64_t now_unix_ms) const {
  return bans_[index].holds(now_unix_ms) ? &bans_[index] : nullptr;
}

const Ban* BanTable::Find(std::string_view client_id, std::string_view user_name,
                          std::string_view address, int64_t now_unix_ms) const {
  if (const auto it = clients_.find(client_id); it != clients_.end()) {
    if (const Ban* const ban = Holding(it->second, now_unix_ms)) return ban;
  }
  if (const auto it = users_.find(user_name); !user_name.empty() && it != users_.end()) {
    if (const Ban* const ban = Holding(it->second, now_unix_ms)) return ban;
  }
  if (prefixes_.empty()) return nullptr;
  const auto from = AddressRange::Parse(address);
  if (!from.ok()) return nullptr;
  for (const uint32_t bits : prefixes_) {
    const auto it = addresses_.find(from->Within(bits));
    if (it == addresses_.end()) continue;
    if (const Ban* const ban = Holding(it->second, now_unix_ms)) return ban;
  }
  return nullptr;
}

}  // namespace auth
