// "1 day", "2 days": a number of things in words for people.
#ifndef BASE_COUNTED_H_
#define BASE_COUNTED_H_

#include <concepts>
#include <string>
#include <string_view>

namespace base {

// `thing`: one of them; several are it with an s.
template <std::integral Number>
std::string Counted(Number count, std::string_view thing) {
  std::string words = std::to_string(count);
  words.append(" ").append(thing);
  if (count != 1) words += 's';
  return words;
}

}  // namespace base

#endif  // BASE_COUNTED_H_
