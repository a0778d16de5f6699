#include "config/resolve.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "broker/transport/listener_url.h"
#include "config/schema.h"

namespace config {
namespace {

using broker::ListenerSettings;

constexpr absl::string_view kDefaultUrl = "mqtt://127.0.0.1:1883";
constexpr size_t kListenersMax = 256;

// "listeners.3.cert_file" in parts.
struct ListenerPath {
  size_t index = 0;
  absl::string_view key;  // Empty: the entry as a whole.
};

bool SplitListenerPath(absl::string_view path, ListenerPath& parts) {
  constexpr absl::string_view kPrefix = "listeners.";
  if (!absl::StartsWith(path, kPrefix)) return false;
  path.remove_prefix(kPrefix.size());
  const size_t dot = path.find('.');
  uint32_t index = 0;
  if (!absl::SimpleAtoi(path.substr(0, dot), &index)) return false;
  parts.index = index;
  parts.key = dot == absl::string_view::npos ? absl::string_view() : path.substr(dot + 1);
  return true;
}

class Resolver {
 public:
  Resolver(const std::vector<Assignment>& assignments, Errors& errors,
           std::vector<std::string>& warnings)
      : assignments_(assignments), errors_(errors), warnings_(warnings) {}

  Config Run() {
    for (const Assignment& assignment : assignments_) {
      if (assignment.path != "listeners" && !absl::StartsWith(assignment.path, "listeners.")) {
        Set(config_, ConfigKeys(), assignment, assignment.path);
      }
    }
    ListListeners();
    for (size_t i = 0; i < config_.broker.listeners.size(); ++i) Inherit(i);
    for (const Assignment& assignment : assignments_) SetInListener(assignment);
    for (size_t i = 0; i < config_.broker.listeners.size(); ++i) Complete(i);
    for (const auto& [path, where] : zeros_) {
      warnings_.push_back(absl::StrCat(
          where, ": ", path, ": 0 is no bound at all; if that is meant, write ", kUnlimited));
    }
    return std::move(config_);
  }

 private:
  template <typename Root>
  void Set(Root& root, const Keys<Root>& keys, const Assignment& assignment,
           absl::string_view path) {
    const Key<Root>* const key = FindKey(keys, path);
    if (key == nullptr) {
      Fail(assignment, IsSection(keys, path) ? std::string("is a section of keys, not a value")
                                             : Unknown(assignment.path));
      return;
    }
    const absl::StatusOr<Value> value = ParseValue(key->domain, assignment.text);
    if (!value.ok()) {
      Fail(assignment, value.status().message());
      return;
    }
    key->set(root, *value);
    config_.origins[assignment.path] = assignment.origin;
    if (MeansNoBound(key->domain, *value, assignment.text)) {
      zeros_[assignment.path] = assignment.origin.where;
    } else {
      zeros_.erase(assignment.path);
    }
  }

  // A 0 may have been meant to forbid something.
  static bool MeansNoBound(const Domain& domain, const Value& value, absl::string_view text) {
    return domain.special_name == kUnlimited && value == Value(domain.special) &&
           text != kUnlimited;
  }

  void Fail(const Assignment& assignment, absl::string_view what) {
    // A flag that is the key itself need not be followed by the key's path.
    const bool flag = assignment.origin.source == Source::kFlag ||
                      assignment.origin.source == Source::kEnvironment;
    errors_.Add(assignment.origin.where,
                flag ? std::string(what) : absl::StrCat(assignment.path, ": ", what));
  }

  // The source with the highest precedence that lists listeners lists all of them.
  void ListListeners() {
    source_ = Source::kDefault;
    for (const Assignment& assignment : assignments_) {
      ListenerPath parts;
      const bool lists =
          assignment.path == "listeners" ||
          (assignment.origin.source == Source::kFile && SplitListenerPath(assignment.path, parts));
      if (lists) source_ = std::max(source_, assignment.origin.source);
    }
    for (const Assignment& assignment : assignments_) {
      ListenerPath parts;
      if (assignment.origin.source != source_) continue;
      if (assignment.path == "listeners") {
        AddUrls(assignment);
      } else if (source_ == Source::kFile && SplitListenerPath(assignment.path, parts)) {
        if (parts.index >= kListenersMax) {
          Fail(assignment, absl::StrCat("more than ", kListenersMax, " listeners"));
          break;
        }
        if (parts.index >= config_.broker.listeners.size()) {
          config_.broker.listeners.resize(parts.index + 1);
          places_.resize(parts.index + 1);
          places_[parts.index] = assignment.origin.where;
        }
      }
    }
    if (source_ == Source::kDefault) {
      AddUrls({"listeners", std::string(kDefaultUrl), {Source::kDefault, ""}});
    }
  }

  void AddUrls(const Assignment& assignment) {
    const Key<ListenerSettings>& url_key = ListenerKeys().front();
    bool any = false;
    for (const absl::string_view url :
         absl::StrSplit(assignment.text, absl::ByAnyChar(", \t\n"), absl::SkipEmpty())) {
      any = true;
      const absl::StatusOr<Value> value = ParseValue(url_key.domain, url);
      if (!value.ok()) {
        Fail(assignment, value.status().message());
        continue;
      }
      const size_t index = config_.broker.listeners.size();
      if (index >= kListenersMax) {
        Fail(assignment, absl::StrCat("more than ", kListenersMax, " listeners"));
        return;
      }
      url_key.set(config_.broker.listeners.emplace_back(), *value);
      places_.push_back(assignment.origin.where);
      if (assignment.origin.source != Source::kDefault) {
        config_.origins[absl::StrCat("listeners.", index, ".url")] = assignment.origin;
      }
    }
    if (!any) Fail(assignment, "names no listener");
  }

  void Inherit(size_t index) {
    ListenerSettings& listener = config_.broker.listeners[index];
    listener.limits = config_.mqtt;
    listener.auth = config_.auth;
    listener.listener.tls = config_.tls;
    for (const Key<ListenerSettings>& key : ListenerKeys()) {
      const std::string from = InheritedFrom(key.path);
      const auto found = config_.origins.find(from);
      if (from.empty() || found == config_.origins.end()) continue;
      config_.origins[absl::StrCat("listeners.", index, ".", key.path)] = {Source::kInherited,
                                                                           from};
    }
  }

  void SetInListener(const Assignment& assignment) {
    if (!absl::StartsWith(assignment.path, "listeners.")) return;
    ListenerPath parts;
    if (!SplitListenerPath(assignment.path, parts)) {
      Fail(assignment, "a listener is named by its place, counted from 0: listeners.0.url");
      return;
    }
    if (assignment.origin.source == Source::kFile && source_ != Source::kFile) return;
    if (parts.key.empty()) {
      if (assignment.origin.source != Source::kFile) Fail(assignment, "is a section, not a value");
      return;
    }
    std::vector<ListenerSettings>& listeners = config_.broker.listeners;
    if (parts.index >= listeners.size()) {
      Fail(assignment, absl::StrCat("there is no such listener; there are ", listeners.size(),
                                    ", counted from 0"));
      return;
    }
    Set(listeners[parts.index], ListenerKeys(), assignment, parts.key);
  }

  void Complete(size_t index) {
    ListenerSettings& listener = config_.broker.listeners[index];
    const std::string path = absl::StrCat("listeners.", index);
    const std::string url_path = path + ".url";
    const bool has_url =
        source_ != Source::kFile ||
        std::any_of(assignments_.begin(), assignments_.end(),
                    [&url_path](const Assignment& given) { return given.path == url_path; });
    if (!has_url) {
      errors_.Add(places_[index], absl::StrCat(path, ": url is missing"));
    }
    if (listener.name.empty()) listener.name = listener.listener.url.ToString();
    if (NameTaken(index)) {
      // Twice port 0 is no mistake; twice a given name is.
      if (config_.origins.count(path + ".name") > 0) {
        errors_.Add(config_.origins[path + ".name"].where,
                    absl::StrCat(path, ".name: another listener has it already"));
      }
      absl::StrAppend(&listener.name, "#", index);
    }
  }

  bool NameTaken(size_t index) const {
    const std::vector<ListenerSettings>& listeners = config_.broker.listeners;
    for (size_t i = 0; i < index; ++i) {
      if (listeners[i].name == listeners[index].name) return true;
    }
    return false;
  }

  const std::vector<Assignment>& assignments_;
  Errors& errors_;
  std::vector<std::string>& warnings_;
  Config config_;
  Source source_ = Source::kDefault;  // That lists the listeners.
  std::vector<std::string> places_;   // Of the listeners, for errors.
  // Values in force that are unlimited and were written as 0, by path: where.
  std::map<std::string, std::string> zeros_;
};

}  // namespace

Config Resolve(const std::vector<Assignment>& assignments, Errors& errors,
               std::vector<std::string>& warnings) {
  Config config = Resolver(assignments, errors, warnings).Run();
  if (errors.empty()) CheckWhole(config, errors, warnings);
  return config;
}

Origin OriginOf(const Config& config, absl::string_view path) {
  const auto found = config.origins.find(std::string(path));
  return found == config.origins.end() ? Origin() : found->second;
}

}  // namespace config
