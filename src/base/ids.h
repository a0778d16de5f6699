// Identifiers as types: a ShardId is no PartitionId and no integer.
#ifndef BASE_IDS_H_
#define BASE_IDS_H_

#include <compare>
#include <ostream>
#include <utility>

namespace base {

// An integer with a meaning. Tag is any type, usually declared in place:
//   using ShardId = base::StrongId<struct ShardIdTag, uint16_t>;
// Hashable by absl containers, ordered, printable. Arithmetic goes through value().
template <typename Tag, typename Rep>
class StrongId {
 public:
  using rep = Rep;

  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep value) : value_(value) {}

  constexpr Rep value() const { return value_; }

  friend constexpr auto operator<=>(StrongId, StrongId) = default;

  template <typename H>
  friend H AbslHashValue(H state, StrongId id) {
    return H::combine(std::move(state), id.value_);
  }

  friend std::ostream& operator<<(std::ostream& out, StrongId id) {
    return out << +id.value_;  // + prints small integers as numbers.
  }

 private:
  Rep value_ = 0;
};

}  // namespace base

#endif  // BASE_IDS_H_
