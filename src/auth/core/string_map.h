// A hash map from strings that is searched with std::string_view.
#ifndef AUTH_CORE_STRING_MAP_H_
#define AUTH_CORE_STRING_MAP_H_

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_map.h"

namespace auth {

// absl's own hash takes absl::string_view, which in Debian's build is not std::string_view.
struct StringViewHash {
  using is_transparent = void;
  size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
};

template <typename Value>
using StringMap = absl::flat_hash_map<std::string, Value, StringViewHash, std::equal_to<>>;

}  // namespace auth

#endif  // AUTH_CORE_STRING_MAP_H_
