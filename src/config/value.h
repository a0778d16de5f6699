// The values that a configuration key may have, and how they are written.
#ifndef CONFIG_VALUE_H_
#define CONFIG_VALUE_H_

#include <cstdint>
#include <limits>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace config {

enum class Type : uint8_t {
  kBool,     // true, false; yes, no, on, off.
  kInteger,  // 1000, also 100_000.
  kBytes,    // 65536, 64KiB, 1MiB, 2GiB; KB, MB, GB are powers of 1000.
  kSeconds,  // 30, 30s, 5m, 12h, 7d; parts may follow each other: 1h30m.
  kMillis,   // 10ms, 1s; a number alone is milliseconds.
  kText,     // Any text.
  kPath,     // A file or directory; relative ones are seen from the working directory.
  kChoice,   // One of some words.
  kMode,     // Permissions of a file, octal: 0660.
};

// Numbers of every kind are int64_t in the unit of their Type; text, paths and choices are strings.
using Value = std::variant<bool, int64_t, std::string>;

// What the key's value may be, beyond its type.
struct Domain {
  Type type = Type::kText;
  int64_t min = 0;  // Numbers.
  int64_t max = std::numeric_limits<int64_t>::max();
  // Numbers: a value with a name of its own, e.g. "never" for the highest expiry. Written so, read
  // as either.
  std::string special_name = {};
  int64_t special = 0;
  std::vector<std::string> choices = {};  // kChoice.
  // kText: what the text must be; null: anything. Its words follow the key's name.
  absl::Status (*check)(absl::string_view text) = nullptr;
};

// Errors: kInvalidArgument, in words that follow the key's name, such as
//   "expects a duration such as 30s or 5m, not \"soon\""
//   "must be from 1 to 65535, not 0"
//   "must be one of sync, interval, none, not \"asnyc\"; did you mean sync?"
absl::StatusOr<Value> ParseValue(const Domain& domain, absl::string_view text);

// The shortest form that ParseValue reads back to the same value: "1MiB", "90s", "off".
std::string FormatValue(const Domain& domain, const Value& value);

// For the documentation: "integer, 1 to 65535", "duration, 1s to 1h".
std::string DescribeDomain(const Domain& domain);

// The candidate that `text` is probably a misspelling of; empty if none is near.
absl::string_view Nearest(absl::string_view text, const std::vector<absl::string_view>& candidates);

}  // namespace config

#endif  // CONFIG_VALUE_H_
