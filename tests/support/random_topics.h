// Topic Names and Topic Filters from a small alphabet, so that they overlap in every way.
#ifndef TESTS_SUPPORT_RANDOM_TOPICS_H_
#define TESTS_SUPPORT_RANDOM_TOPICS_H_

#include <cstddef>
#include <string>

#include "base/rng.h"

namespace support {

// Levels "", "a", "b", "ab", "$s"; mostly one to four, now and then more than a trie keeps on its
// stack. A name may be "" by chance: then it is "a".
inline std::string RandomTopic(base::Rng& rng) {
  static constexpr const char* kLevels[] = {"a", "b", "ab", "", "$s"};
  size_t levels = 1 + rng.Below(4);
  if (rng.Chance(0.03)) levels = 30 + rng.Below(20);
  // Deep topics repeat one level, or two of them would hardly ever meet.
  const bool deep = levels > 4;
  std::string topic;
  for (size_t i = 0; i < levels; ++i) {
    if (i > 0) topic += '/';
    topic += deep && i + 1 < levels && !rng.Chance(0.01) ? "a" : kLevels[rng.Below(5)];
  }
  return topic.empty() ? "a" : topic;
}

inline std::string RandomFilter(base::Rng& rng) {
  const std::string topic = RandomTopic(rng);
  if (rng.Chance(0.3)) return topic;
  const double plus = topic.size() > 20 ? 0.03 : 0.35;
  std::string filter;
  for (size_t begin = 0;;) {
    const size_t end = topic.find('/', begin);
    if (rng.Chance(0.1 * plus)) return filter + '#';
    if (rng.Chance(plus)) {
      filter += '+';
    } else {
      filter += topic.substr(begin, end == std::string::npos ? end : end - begin);
    }
    if (end == std::string::npos) break;
    filter += '/';
    begin = end + 1;
  }
  if (rng.Chance(0.3)) filter += "/#";
  return filter.empty() ? "#" : filter;
}

}  // namespace support
#endif  // TESTS_SUPPORT_RANDOM_TOPICS_H_
