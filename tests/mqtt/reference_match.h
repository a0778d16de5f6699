// §4.7 as a definition, written for shortness: what mqtt::Matches must agree with.
#ifndef TESTS_MQTT_REFERENCE_MATCH_H_
#define TESTS_MQTT_REFERENCE_MATCH_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"

namespace mqtt {

inline bool ReferenceMatch(const std::vector<std::string>& filter,
                           const std::vector<std::string>& name, size_t level) {
  if (level == filter.size()) return level == name.size();
  if (filter[level] == "#") return true;
  if (level >= name.size()) return false;
  return (filter[level] == "+" || filter[level] == name[level]) &&
         ReferenceMatch(filter, name, level + 1);
}

// Both valid and so not empty.
inline bool ReferenceMatch(const std::string& filter, const std::string& name) {
  const bool wild = filter[0] == '+' || filter[0] == '#';
  if (wild && name[0] == '$') return false;
  return ReferenceMatch(absl::StrSplit(filter, '/'), absl::StrSplit(name, '/'), 0);
}

}  // namespace mqtt

#endif  // TESTS_MQTT_REFERENCE_MATCH_H_
