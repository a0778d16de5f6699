// Relations between Topic Filters as sets of Topic Names.
#ifndef AUTH_CORE_FILTER_ALGEBRA_H_
#define AUTH_CORE_FILTER_ALGEBRA_H_

#include <string_view>

#include "absl/container/inlined_vector.h"

namespace auth {

// The levels of a valid filter, views into it.
using FilterLevels = absl::InlinedVector<std::string_view, 12>;

// Appends the levels of `text` (at least one) to `levels`.
void SplitLevels(std::string_view text, FilterLevels& levels);

// Whether some Topic Name matches both. Leading wildcards do not match names that begin with $
// [MQTT-4.7.2-1]. Cost: O(the shorter).
bool Overlap(const FilterLevels& a, const FilterLevels& b);

// Whether `wide` matches every Topic Name that matches both `a` and `b`, which must overlap. The
// names common to two filters are always those of a single filter, which is never built: so the
// cost is O(levels of `wide`), however long a client made its filter.
bool CoversCommon(const FilterLevels& wide, const FilterLevels& a, const FilterLevels& b);

}  // namespace auth

#endif  // AUTH_CORE_FILTER_ALGEBRA_H_
