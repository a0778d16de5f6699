// --print-config: the configuration in force, as a file.
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "config/config.h"
#include "config/resolve.h"
#include "config/schema.h"

namespace config {
namespace {

using broker::ListenerSettings;

// May stand in YAML as it is, and is no number, date or null that a reader would wonder about.
bool Plain(absl::string_view text) {
  if (text.empty() || text == "null" || text == "Null" || text == "NULL") return false;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (!absl::ascii_isalnum(byte) && !absl::StrContains("_./-:", c)) return false;
  }
  return text.front() != '-' && text.front() != ':' && text.back() != ':';
}

// A YAML double-quoted scalar. `text` is UTF-8 (ParseValue sees to that).
std::string Quoted(absl::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (byte < 0x20 || byte == 0x7f) {
      absl::StrAppendFormat(&quoted, "\\x%02x", byte);
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string Scalar(const Domain& domain, const Value& value) {
  std::string text = FormatValue(domain, value);
  const bool free_text = domain.type == Type::kText || domain.type == Type::kPath;
  return free_text && !Plain(text) ? Quoted(text) : text;
}

std::string Provenance(const Config& config, absl::string_view path) {
  const Origin origin = OriginOf(config, path);
  switch (origin.source) {
    case Source::kDefault:
      return "default";
    case Source::kInherited:
      return absl::StrCat("as ", origin.where);
    case Source::kFile:
    case Source::kEnvironment:
    case Source::kSet:
    case Source::kFlag:
    case Source::kRunTime:
      break;
  }
  return absl::StrCat("from ", origin.where);
}

// A comment, broken into lines of at most 100 columns.
void Comment(std::string& out, absl::string_view indent, absl::string_view text) {
  constexpr size_t kColumns = 100;
  const size_t room = kColumns - indent.size() - 2;
  while (!text.empty()) {
    size_t end = text.size();
    if (end > room) {
      end = text.rfind(' ', room);
      if (end == absl::string_view::npos) end = text.size();
    }
    absl::StrAppend(&out, indent, "# ", text.substr(0, end), "\n");
    text.remove_prefix(end == text.size() ? end : end + 1);
  }
}

template <typename Root>
void Line(std::string& out, const Config& config, const Key<Root>& key, const Root& root,
          absl::string_view indent, absl::string_view name, absl::string_view path) {
  absl::StrAppend(&out, indent, name, ": ", Scalar(key.domain, key.get(root)), "  # ",
                  Provenance(config, path), "\n");
}

void Listener(std::string& out, const Config& config, size_t index) {
  const ListenerSettings& listener = config.broker.listeners[index];
  bool in_limits = false;
  bool first = true;
  for (const Key<ListenerSettings>& key : ListenerKeys()) {
    const std::string path = absl::StrCat("listeners.", index, ".", key.path);
    if (!absl::StartsWith(key.path, "mqtt.")) {
      Line(out, config, key, listener, first ? "  - " : "    ", key.path, path);
      first = false;
      continue;
    }
    // Of some thirty limits only those that differ from the ones under `mqtt`.
    if (OriginOf(config, path).source <= Source::kInherited) continue;
    if (!in_limits) absl::StrAppend(&out, "    mqtt:\n");
    in_limits = true;
    Line(out, config, key, listener, "      ", key.path.substr(5), path);
  }
}

void ListenerSection(std::string& out, const Config& config) {
  out += "\n";
  Comment(out, "", "Where clients connect. Each entry may have:");
  for (const Key<ListenerSettings>& key : ListenerKeys()) {
    if (!InheritedFrom(key.path).empty()) continue;
    Comment(out, "", absl::StrCat("  ", key.path, ": ", key.doc));
  }
  Comment(out, "",
          "and own values of the keys under tls, allow_anonymous, password_file, acl_file and "
          "use_identity_as_username of auth, and, under mqtt, of its limits.");
  out += "listeners:\n";
  for (size_t i = 0; i < config.broker.listeners.size(); ++i) Listener(out, config, i);
}

}  // namespace

std::string Print(const Config& config) {
  static const Config kDefaults;
  std::string out;
  Comment(out, "",
          absl::StrCat("The configuration in force",
                       config.file.empty() ? "" : absl::StrCat(", read from ", config.file),
                       ". Behind each value stands where it comes from."));
  for (const Section& section : Sections()) {
    const std::string prefix = section.path.empty() ? "" : section.path + ".";
    out += "\n";
    Comment(out, "", section.doc);
    if (!prefix.empty()) absl::StrAppend(&out, section.path, ":\n");
    const absl::string_view indent = prefix.empty() ? "" : "  ";
    for (const Key<Config>& key : ConfigKeys()) {
      const bool mine =
          prefix.empty() ? !absl::StrContains(key.path, '.') : absl::StartsWith(key.path, prefix);
      if (!mine) continue;
      Comment(out, indent, key.doc);
      const std::string standard = FormatValue(key.domain, key.get(kDefaults));
      Comment(out, indent,
              absl::StrCat(DescribeDomain(key.domain), "; default ",
                           standard.empty() ? std::string("\"\"") : standard));
      Line(out, config, key, config, indent, absl::string_view(key.path).substr(prefix.size()),
           key.path);
    }
    if (prefix.empty()) ListenerSection(out, config);
  }
  return out;
}

}  // namespace config
