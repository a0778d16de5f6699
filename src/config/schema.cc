#include "config/schema.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"

namespace config {

std::string InheritedFrom(absl::string_view listener_path) {
  for (const absl::string_view prefix : {"", "tls.", "auth."}) {
    const std::string path = absl::StrCat(prefix, listener_path);
    if (FindKey(ConfigKeys(), path) != nullptr) return path;
  }
  return {};
}

std::string FlagName(absl::string_view path) {
  return absl::StrCat("--", absl::StrReplaceAll(path, {{".", "-"}, {"_", "-"}}));
}

std::string VariableName(absl::string_view path) {
  return absl::StrCat("MQTTD_", absl::AsciiStrToUpper(absl::StrReplaceAll(path, {{".", "_"}})));
}

std::string ShortVariableName(absl::string_view flag) {
  if (!absl::ConsumePrefix(&flag, "--")) return {};
  return VariableName(absl::StrReplaceAll(flag, {{"-", "_"}}));
}

std::string CanonicalName(absl::string_view name) {
  std::string canonical;
  for (size_t i = 0; i < name.size(); ++i) {
    const auto c = static_cast<unsigned char>(name[i]);
    if (absl::ascii_isupper(c)) {
      if (i > 0 && absl::ascii_islower(static_cast<unsigned char>(name[i - 1]))) canonical += '_';
      canonical += static_cast<char>(absl::ascii_tolower(c));
    } else {
      canonical += static_cast<char>(c);
    }
  }
  return canonical;
}

std::string SuggestPath(const std::vector<std::string>& known, absl::string_view path) {
  // The right name in the wrong place: "receive_maximum", "broker.receive_maximum".
  const absl::string_view last = path.substr(path.rfind('.') + 1);
  for (const std::string& candidate : known) {
    if (candidate == last || absl::EndsWith(candidate, absl::StrCat(".", last))) return candidate;
  }
  // A misspelling in the right place, else one anywhere.
  const absl::string_view parent = path.substr(0, path.size() - last.size());
  std::vector<absl::string_view> siblings;
  for (const std::string& candidate : known) {
    const absl::string_view view = candidate;
    if (absl::StartsWith(view, parent) && !absl::StrContains(view.substr(parent.size()), '.')) {
      siblings.push_back(view.substr(parent.size()));
    }
  }
  const absl::string_view nearest = Nearest(last, siblings);
  if (!nearest.empty()) return absl::StrCat(parent, nearest);
  std::vector<absl::string_view> all;
  for (const std::string& candidate : known) {
    if (!absl::StartsWith(path, candidate + ".")) all.push_back(candidate);
  }
  return std::string(Nearest(path, all));
}

}  // namespace config
