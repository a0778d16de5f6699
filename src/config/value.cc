#include "config/value.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/string_view.h"
#include "mqtt/utf8.h"

namespace config {
namespace {

struct Suffix {
  absl::string_view name;
  int64_t factor;
};

// Largest first, as `FormatNumber` takes the first that divides.
constexpr std::array<Suffix, 4> kBinarySizes = {{{"TiB", int64_t{1} << 40},
                                                 {"GiB", int64_t{1} << 30},
                                                 {"MiB", int64_t{1} << 20},
                                                 {"KiB", int64_t{1} << 10}}};
constexpr std::array<Suffix, 5> kDecimalSizes = {
    {{"TB", 1'000'000'000'000}, {"GB", 1'000'000'000}, {"MB", 1'000'000}, {"KB", 1000}, {"B", 1}}};
constexpr std::array<Suffix, 4> kSeconds = {{{"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}}};
constexpr std::array<Suffix, 5> kMillis = {
    {{"ms", 1}, {"d", 86'400'000}, {"h", 3'600'000}, {"m", 60'000}, {"s", 1000}}};

// A value of the wrong kind is shown to the user as it came, whatever bytes it holds.
std::string Shown(absl::string_view text) {
  constexpr size_t kShownMax = 60;
  const bool cut = text.size() > kShownMax;
  return absl::StrCat("\"", absl::Utf8SafeCEscape(text.substr(0, kShownMax)), cut ? "…" : "", "\"");
}

absl::Status Expects(absl::string_view what, absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat("expects ", what, ", not ", Shown(text)));
}

absl::string_view Expectation(Type type) {
  switch (type) {
    case Type::kBool:
      return "true or false";
    case Type::kInteger:
      return "a whole number";
    case Type::kBytes:
      return "a size such as 4096, 64KiB or 1MiB";
    case Type::kSeconds:
      return "a duration such as 30s, 5m or 1h";
    case Type::kMillis:
      return "a duration such as 50ms or 2s";
    case Type::kMode:
      return "octal permissions such as 0660";
    case Type::kText:
    case Type::kPath:
    case Type::kChoice:
      break;
  }
  return "text";
}

// Digits, with `_` between them for the reader; no sign. Stops at the first other character.
std::optional<int64_t> TakeDigits(absl::string_view& text) {
  int64_t value = 0;
  size_t used = 0;
  bool digits = false;
  for (; used < text.size(); ++used) {
    const char c = text[used];
    if (c == '_' && digits) continue;
    if (!absl::ascii_isdigit(static_cast<unsigned char>(c))) break;
    digits = true;
    if (__builtin_mul_overflow(value, int64_t{10}, &value) ||
        __builtin_add_overflow(value, int64_t{c - '0'}, &value)) {
      return std::nullopt;
    }
  }
  if (!digits || text[used - 1] == '_') return std::nullopt;
  text.remove_prefix(used);
  return value;
}

template <size_t kSize>
std::optional<int64_t> TakeSuffix(absl::string_view& text, const std::array<Suffix, kSize>& table) {
  for (const Suffix& suffix : table) {
    if (absl::StartsWithIgnoreCase(text, suffix.name)) {
      text.remove_prefix(suffix.name.size());
      return suffix.factor;
    }
  }
  return std::nullopt;
}

std::optional<int64_t> ParseBytes(absl::string_view text) {
  std::optional<int64_t> number = TakeDigits(text);
  if (!number.has_value()) return std::nullopt;
  if (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  if (text.empty()) return number;
  std::optional<int64_t> factor = TakeSuffix(text, kBinarySizes);
  if (!factor.has_value()) factor = TakeSuffix(text, kDecimalSizes);
  int64_t product = 0;
  if (!factor.has_value() || !text.empty() || __builtin_mul_overflow(*number, *factor, &product)) {
    return std::nullopt;
  }
  return product;
}

// "90", "90s", "1h30m": a number alone counts in the table's own unit.
template <size_t kSize>
std::optional<int64_t> ParseDuration(absl::string_view text,
                                     const std::array<Suffix, kSize>& table) {
  int64_t sum = 0;
  bool first = true;
  while (first || !text.empty()) {
    const std::optional<int64_t> number = TakeDigits(text);
    if (!number.has_value()) return std::nullopt;
    if (first && text.empty()) return number;
    const std::optional<int64_t> factor = TakeSuffix(text, table);
    int64_t product = 0;
    if (!factor.has_value() || __builtin_mul_overflow(*number, *factor, &product) ||
        __builtin_add_overflow(sum, product, &sum)) {
      return std::nullopt;
    }
    first = false;
  }
  return sum;
}

std::optional<int64_t> ParseMode(absl::string_view text) {
  if (text.empty() || text.size() > 5) return std::nullopt;
  int64_t mode = 0;
  for (const char c : text) {
    if (c < '0' || c > '7') return std::nullopt;
    mode = mode * 8 + (c - '0');
  }
  return mode;
}

std::optional<int64_t> ParseNumber(Type type, absl::string_view text) {
  switch (type) {
    case Type::kBytes:
      return ParseBytes(text);
    case Type::kSeconds:
      return ParseDuration(text, kSeconds);
    case Type::kMillis:
      return ParseDuration(text, kMillis);
    case Type::kMode:
      return ParseMode(text);
    default: {
      const std::optional<int64_t> number = TakeDigits(text);
      return text.empty() ? number : std::nullopt;
    }
  }
}

absl::StatusOr<Value> ParseBool(absl::string_view text) {
  const std::string word = absl::AsciiStrToLower(text);
  if (word == "true" || word == "yes" || word == "on" || word == "1") return Value(true);
  if (word == "false" || word == "no" || word == "off" || word == "0") return Value(false);
  return Expects(Expectation(Type::kBool), text);
}

absl::StatusOr<Value> ParseChoice(const Domain& domain, absl::string_view text) {
  std::vector<absl::string_view> names;
  for (const std::string& choice : domain.choices) {
    if (choice == text) return Value(choice);
    names.push_back(choice);
  }
  const absl::string_view nearest = Nearest(text, names);
  return absl::InvalidArgumentError(
      absl::StrCat("must be one of ", absl::StrJoin(domain.choices, ", "), ", not ", Shown(text),
                   nearest.empty() ? "" : absl::StrCat("; did you mean ", nearest, "?")));
}

std::string FormatNumber(Type type, int64_t number) {
  const auto divided = [number](const auto& table) {
    for (const Suffix& suffix : table) {
      if (suffix.factor <= number && number % suffix.factor == 0) {
        return absl::StrCat(number / suffix.factor, suffix.name);
      }
    }
    return absl::StrCat(number);
  };
  switch (type) {
    case Type::kBytes:
      return divided(kBinarySizes);
    case Type::kSeconds:
      return number == 0 ? "0s" : divided(kSeconds);
    case Type::kMillis:
      return number % 1000 == 0 && number != 0 ? absl::StrCat(number / 1000, "s")
                                               : absl::StrCat(number, "ms");
    case Type::kMode:
      return absl::StrFormat("%04o", number);
    default:
      return absl::StrCat(number);
  }
}

// Optimal string alignment: insertions, deletions, substitutions, swaps of neighbours.
size_t EditDistance(absl::string_view a, absl::string_view b) {
  std::vector<size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t replaced = above[j - 1] + (a[i - 1] == b[j - 1] ? 0u : 1u);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, replaced});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return above[b.size()];
}

}  // namespace

absl::StatusOr<Value> ParseValue(const Domain& domain, absl::string_view text) {
  switch (domain.type) {
    case Type::kBool:
      return ParseBool(text);
    case Type::kChoice:
      return ParseChoice(domain, text);
    case Type::kText:
    case Type::kPath:
      if (!mqtt::IsValidUtf8({text.data(), text.size()})) {
        return Expects("UTF-8 text without NUL", text);
      }
      if (domain.check != nullptr) {
        if (absl::Status status = domain.check(text); !status.ok()) return status;
      }
      return Value(std::string(text));
    default:
      break;
  }
  if (!domain.special_name.empty() && text == domain.special_name) return Value(domain.special);
  const std::optional<int64_t> number = ParseNumber(domain.type, text);
  if (!number.has_value()) {
    std::string expectation(Expectation(domain.type));
    if (!domain.special_name.empty()) {
      absl::StrAppend(&expectation, " (or ", domain.special_name, ")");
    }
    return Expects(expectation, text);
  }
  if (*number < domain.min || *number > domain.max) {
    return absl::InvalidArgumentError(absl::StrCat(
        "must be from ", FormatValue(domain, Value(domain.min)), " to ",
        FormatValue(domain, Value(domain.max)), ", not ", FormatNumber(domain.type, *number)));
  }
  return Value(*number);
}

std::string FormatValue(const Domain& domain, const Value& value) {
  if (const bool* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const std::string* text = std::get_if<std::string>(&value)) return *text;
  const int64_t number = std::get<int64_t>(value);
  if (!domain.special_name.empty() && number == domain.special) return domain.special_name;
  return FormatNumber(domain.type, number);
}

std::string DescribeDomain(const Domain& domain) {
  const auto bounded = [&domain](absl::string_view what) {
    std::string text = absl::StrCat(what, ", ", FormatNumber(domain.type, domain.min));
    const bool open = domain.max == std::numeric_limits<int64_t>::max() ||
                      (!domain.special_name.empty() && domain.max == domain.special);
    if (open) {
      absl::StrAppend(&text, " or more");
    } else {
      absl::StrAppend(&text, " to ", FormatNumber(domain.type, domain.max));
    }
    if (!domain.special_name.empty()) absl::StrAppend(&text, ", or ", domain.special_name);
    return text;
  };
  switch (domain.type) {
    case Type::kBool:
      return "true or false";
    case Type::kInteger:
      return bounded("number");
    case Type::kBytes:
      return bounded("size");
    case Type::kSeconds:
    case Type::kMillis:
      return bounded("duration");
    case Type::kText:
      return "text";
    case Type::kPath:
      return "path";
    case Type::kMode:
      return "octal permissions";
    case Type::kChoice:
      break;
  }
  return absl::StrJoin(domain.choices, ", ");
}

absl::string_view Nearest(absl::string_view text,
                          const std::vector<absl::string_view>& candidates) {
  constexpr size_t kLengthMax = 64;  // Longer than any key: no need to compare.
  if (text.size() > kLengthMax) return {};
  absl::string_view nearest;
  size_t least = (text.size() + 2) / 3 + 1;  // One mistake in three letters.
  for (const absl::string_view candidate : candidates) {
    const size_t distance = EditDistance(text, candidate);
    if (distance >= least) continue;
    least = distance;
    nearest = candidate;
  }
  return nearest;
}

}  // namespace config
