// Sets of things that are searched by the name that each has inside.
#ifndef BASE_BY_NAME_H_
#define BASE_BY_NAME_H_

#include <cstddef>
#include <string_view>

#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"

namespace base {

// absl::string_view is a type of its own where abseil was built for C++14, as distributions do, and
// its containers look up by no other.
inline absl::string_view AbslView(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view StdView(absl::string_view text) { return {text.data(), text.size()}; }

// What HashByName makes of a name: to be reckoned once and passed on.
inline size_t HashOfName(std::string_view name) {
  return absl::Hash<absl::string_view>()(AbslView(name));
}

// For absl's hash sets: `NameOf()(thing)` is the std::string_view of its name. It must not change
// while the thing is in the set.
template <typename NameOf>
struct HashByName {
  using is_transparent = void;
  size_t operator()(std::string_view name) const { return HashOfName(name); }
  template <typename Thing>
  size_t operator()(const Thing& thing) const {
    return HashOfName(NameOf()(thing));
  }
};

template <typename NameOf>
struct EqualByName {
  using is_transparent = void;
  static std::string_view Name(std::string_view name) { return name; }
  template <typename Thing>
  static std::string_view Name(const Thing& thing) {
    return NameOf()(thing);
  }
  template <typename A, typename B>
  bool operator()(const A& a, const B& b) const {
    return Name(a) == Name(b);
  }
};

}  // namespace base

#endif  // BASE_BY_NAME_H_
