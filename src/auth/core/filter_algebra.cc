#include "auth/core/filter_algebra.h"

#include <cstddef>
#include <cstdint>

#include "mqtt/topic.h"

namespace auth {
namespace {

struct Level {
  enum class Kind : uint8_t { kName, kOne, kRest, kEnd };  // A name, +, #, or past the last.
  Kind kind = Kind::kEnd;
  std::string_view name;
};
using Kind = Level::Kind;

Level At(const FilterLevels& levels, size_t i) {
  // Once past a #, everything is still #: it stands for any number of levels.
  if (i >= levels.size()) return {levels.back() == "#" ? Kind::kRest : Kind::kEnd, {}};
  if (levels[i] == "#") return {Kind::kRest, {}};
  if (levels[i] == "+") return {Kind::kOne, {}};
  return {Kind::kName, levels[i]};
}

// The level of the filter that matches what both match, given that there is one.
Level CommonAt(const FilterLevels& a, const FilterLevels& b, size_t i) {
  const Level in_a = At(a, i);
  const Level in_b = At(b, i);
  if (in_a.kind == Kind::kRest) return in_b;
  if (in_b.kind == Kind::kRest) return in_a;
  return in_a.kind == Kind::kOne ? in_b : in_a;
}

bool IsWildcard(const Level& level) {
  return level.kind == Kind::kOne || level.kind == Kind::kRest;
}

bool IsDollar(const Level& level) {
  return level.kind == Kind::kName && !level.name.empty() && level.name.front() == '$';
}

bool DollarForbids(const Level& a, const Level& b) {
  return (IsDollar(a) && IsWildcard(b)) || (IsDollar(b) && IsWildcard(a));
}

}  // namespace

void SplitLevels(std::string_view text, FilterLevels& levels) {
  for (const std::string_view level : mqtt::Levels(text)) levels.push_back(level);
}

bool Overlap(const FilterLevels& a, const FilterLevels& b) {
  if (DollarForbids(At(a, 0), At(b, 0))) return false;
  for (size_t i = 0;; ++i) {
    const Level in_a = At(a, i);
    const Level in_b = At(b, i);
    if (in_a.kind == Kind::kRest || in_b.kind == Kind::kRest) return true;
    if (in_a.kind == Kind::kEnd || in_b.kind == Kind::kEnd) return in_a.kind == in_b.kind;
    if (in_a.kind == Kind::kName && in_b.kind == Kind::kName && in_a.name != in_b.name) {
      return false;
    }
  }
}

bool CoversCommon(const FilterLevels& wide, const FilterLevels& a, const FilterLevels& b) {
  const Level first = CommonAt(a, b, 0);
  if (IsDollar(first) && IsWildcard(At(wide, 0))) return false;
  for (size_t i = 0;; ++i) {
    const Level outer = At(wide, i);
    const Level inner = CommonAt(a, b, i);
    if (outer.kind == Kind::kRest) return true;
    if (inner.kind == Kind::kRest) return false;
    if (outer.kind == Kind::kEnd || inner.kind == Kind::kEnd) return outer.kind == inner.kind;
    if (outer.kind == Kind::kOne) continue;
    if (inner.kind == Kind::kOne || inner.name != outer.name) return false;
  }
}

}  // namespace auth
