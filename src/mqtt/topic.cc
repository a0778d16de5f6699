#include "mqtt/topic.h"

#include "mqtt/reader.h"

namespace mqtt {
namespace {

constexpr RuleNames kNameHasWildcard = {"MQTT5-4.7.0-1", "MQTT311-4.7.1-1"};
constexpr RuleNames kMultiLevelMisplaced = {"MQTT5-4.7.1-1", "MQTT311-4.7.1-2"};
constexpr RuleNames kSingleLevelMisplaced = {"MQTT5-4.7.1-2", "MQTT311-4.7.1-3"};

std::optional<Violation> Malformed(std::string_view rule) {
  return Violation{ReasonCode::kMalformedPacket, rule};
}

// What names and filters have in common.
std::optional<Violation> CheckAnyTopic(std::string_view topic) {
  if (topic.empty()) return Malformed("MQTT-4.7.3-1");
  if (topic.size() > kTopicBytesMax) return Malformed("MQTT-4.7.3-3");
  if (topic.find('\0') != std::string_view::npos) return Malformed("MQTT-4.7.3-2");
  return std::nullopt;
}

// Wildcards fill a level, and '#' only the last one.
std::optional<Violation> CheckWildcards(std::string_view filter, Version version) {
  for (size_t at = filter.find_first_of("+#"); at != std::string_view::npos;
       at = filter.find_first_of("+#", at + 1)) {
    const bool begins_level = at == 0 || filter[at - 1] == '/';
    const bool is_last_byte = at + 1 == filter.size();
    if (filter[at] == '#') {
      if (!begins_level || !is_last_byte) return Malformed(kMultiLevelMisplaced.For(version));
    } else if (!begins_level || !(is_last_byte || filter[at + 1] == '/')) {
      return Malformed(kSingleLevelMisplaced.For(version));
    }
  }
  return std::nullopt;
}

// Of a filter that begins with "$share/", the ShareName and the rest; both may be anything.
SharedFilter SplitShared(std::string_view filter) {
  const std::string_view rest = filter.substr(sizeof("$share/") - 1);
  const size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return {rest, {}};
  return {rest.substr(0, slash), rest.substr(slash + 1)};
}

}  // namespace

bool IsValidTopicName(std::string_view name) {
  return !CheckTopicName(name, Version::k5).has_value();
}

bool IsValidTopicFilter(std::string_view filter) {
  return !CheckAnyTopic(filter).has_value() && !CheckWildcards(filter, Version::k5).has_value();
}

std::optional<Violation> CheckTopicName(std::string_view name, Version version) {
  if (auto violation = CheckAnyTopic(name)) return violation;
  if (HasWildcard(name)) return Malformed(kNameHasWildcard.For(version));
  return std::nullopt;
}

std::optional<Violation> CheckTopicFilter(std::string_view filter, Version version) {
  if (auto violation = CheckAnyTopic(filter)) return violation;
  if (version == Version::k5 && IsShared(filter)) {
    const SharedFilter shared = SplitShared(filter);
    if (shared.share_name.empty()) return Malformed("MQTT5-4.8.2-1");
    if (HasWildcard(shared.share_name) || shared.filter.empty()) return Malformed("MQTT5-4.8.2-2");
  }
  return CheckWildcards(filter, version);
}

bool Matches(std::string_view filter, std::string_view name) {
  if (filter.empty() || name.empty()) return false;
  const bool begins_with_wildcard = filter[0] == '#' || filter[0] == '+';
  if (begins_with_wildcard && name[0] == '$') return false;  // [MQTT-4.7.2-1]
  const Levels filter_levels(filter);
  const Levels name_levels(name);
  auto name_level = name_levels.begin();
  for (auto level = filter_levels.begin(); level != filter_levels.end(); ++level) {
    if (*level == "#") return true;  // The parent level too: it has been matched before.
    if (name_level == name_levels.end()) return false;
    if (*level != "+" && *level != *name_level) return false;
    ++name_level;
  }
  return name_level == name_levels.end();
}

size_t LevelCount(std::string_view topic) {
  size_t count = 1;
  for (const char c : topic) count += c == '/' ? 1 : 0;
  return count;
}

bool IsWithin(const TopicLimits& limits, std::string_view topic) {
  if (topic.size() > limits.bytes_max) return false;
  // n bytes make at most n + 1 levels: most topics need not be counted.
  return topic.size() < limits.levels_max || LevelCount(topic) <= limits.levels_max;
}

std::optional<SharedFilter> ParseShared(std::string_view filter) {
  if (!IsShared(filter)) return std::nullopt;
  const SharedFilter shared = SplitShared(filter);
  if (shared.share_name.empty() || HasWildcard(shared.share_name) || shared.filter.empty()) {
    return std::nullopt;
  }
  return shared;
}

}  // namespace mqtt
