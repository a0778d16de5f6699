// Patterns of a few names, for people: `*` is any text, `?` one byte.
#ifndef BASE_GLOB_H_
#define BASE_GLOB_H_

#include <cstddef>
#include <string_view>

namespace base {

// Whether all of the text matches. Cost: pattern times text at worst; no recursion.
inline bool GlobMatches(std::string_view pattern, std::string_view text) {
  size_t p = 0;
  size_t t = 0;
  size_t star = std::string_view::npos;  // The last one passed, and where the text went on then.
  size_t resume = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = t;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

}  // namespace base

#endif  // BASE_GLOB_H_
