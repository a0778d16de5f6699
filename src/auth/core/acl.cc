#include "auth/core/acl.h"

#include <cstddef>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "auth/core/rule_tree.h"
#include "auth/core/text.h"
#include "base/status_macros.h"
#include "mqtt/topic.h"
#include "mqtt/utf8.h"

namespace auth {
namespace {

uint8_t BitsOfWord(std::string_view word) {
  if (word == "read") return kRuleRead;
  if (word == "write") return kRuleWrite;
  if (word == "readwrite") return kRuleRead | kRuleWrite;
  if (word == "deny") return kRuleDeny;
  return 0;
}

bool MentionsName(std::string_view level) {
  return level.find("%c") != std::string_view::npos || level.find("%u") != std::string_view::npos;
}

std::shared_ptr<const RuleTree> MakeTree(RuleTree::Kind kind, std::vector<Rule> rules) {
  if (rules.empty()) return nullptr;
  return std::make_shared<const RuleTree>(kind, std::move(rules));
}

}  // namespace

absl::Status CheckRuleFilter(std::string_view filter, RuleTree::Kind kind) {
  if (!mqtt::IsValidTopicFilter(filter) || !mqtt::IsValidUtf8(filter)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", std::string(filter),
        "' is not a topic filter; + must be a whole level, and # the whole last level"));
  }
  FilterLevels levels;
  SplitLevels(filter, levels);
  if (levels.size() > RuleTree::kLevelsMax) {
    return absl::InvalidArgumentError(absl::StrCat("the filter has ", levels.size(),
                                                   " levels; at most ", RuleTree::kLevelsMax,
                                                   " are possible, shorten it with #"));
  }
  for (const std::string_view level : levels) {
    if (kind == RuleTree::Kind::kPatterns && level.size() != 2 && MentionsName(level)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'", std::string(level), "': %c and %u must be a whole level; put a / before and after"));
    }
  }
  return absl::OkStatus();
}

class Acl::Parser {
 public:
  explicit Parser(std::string_view file_name) : file_name_(file_name) {}

  absl::StatusOr<std::shared_ptr<const Acl>> Parse(std::string_view text) {
    LineReader lines(text);
    FileErrors errors;
    while (lines.Next()) {
      line_ = lines.number();
      if (const absl::Status status = ParseLine(lines.line()); !status.ok()) errors.Add(status);
    }
    RETURN_IF_ERROR(errors.ToStatus());
    auto acl = std::shared_ptr<Acl>(new Acl);
    acl->anonymous_ = MakeTree(RuleTree::Kind::kTopics, std::move(anonymous_));
    acl->patterns_ = MakeTree(RuleTree::Kind::kPatterns, std::move(patterns_));
    for (auto& [name, rules] : users_) {
      acl->users_[name] = MakeTree(RuleTree::Kind::kTopics, std::move(rules));
    }
    acl->warnings_ = std::move(warnings_);
    acl->needs_user_names_ = needs_user_names_;
    return std::shared_ptr<const Acl>(std::move(acl));
  }

 private:
  absl::Status ParseLine(std::string_view line) {
    std::string_view rest = line;
    const std::string_view keyword = TakeWord(rest);
    if (keyword == "user") return ParseUser(rest);
    if (keyword == "topic") return ParseRule(rest, RuleTree::Kind::kTopics);
    if (keyword == "pattern") return ParseRule(rest, RuleTree::Kind::kPatterns);
    return Error(absl::StrCat("unknown keyword '", std::string(keyword),
                              "'; a line begins with user, topic, pattern or #"));
  }

  absl::Status ParseUser(std::string_view name) {
    if (name.empty()) return Error("user without a name; write: user NAME");
    if (!mqtt::IsValidUtf8(name)) return Error("the user name is not UTF-8; no client can have it");
    rules_ = &users_[std::string(name)];
    needs_user_names_ = true;
    return absl::OkStatus();
  }

  absl::Status ParseRule(std::string_view rest, RuleTree::Kind kind) {
    const std::string keyword = kind == RuleTree::Kind::kTopics ? "topic" : "pattern";
    if (rest.empty()) {
      return Error(absl::StrCat(keyword, " without a topic filter; write: ", keyword,
                                " [read|write|readwrite|deny] FILTER"));
    }
    std::string_view filter = rest;
    const std::string_view word = TakeWord(filter);
    uint8_t bits = BitsOfWord(word);
    if (filter.empty()) {  // One word is the filter, even if it reads like an access.
      if (bits != 0) {
        Warn(absl::StrCat("'", std::string(word),
                          "' is taken as the topic filter, not as the access"));
      }
      filter = word;
      bits = kRuleRead | kRuleWrite;
    } else if (bits == 0) {
      return Error(absl::StrCat("unknown access '", std::string(word),
                                "'; use read, write, readwrite or deny (a filter with spaces needs "
                                "one of them in front)"));
    }
    RETURN_IF_ERROR(CheckFilter(filter, kind));
    (kind == RuleTree::Kind::kPatterns ? patterns_ : *rules_)
        .push_back({std::string(filter), bits});
    return absl::OkStatus();
  }

  absl::Status CheckFilter(std::string_view filter, RuleTree::Kind kind) {
    if (const absl::Status status = CheckRuleFilter(filter, kind); !status.ok())
      return Error(std::string(status.message()));
    FilterLevels levels;
    SplitLevels(filter, levels);
    bool has_name = false;
    for (const std::string_view level : levels) {
      if (!MentionsName(level)) continue;
      has_name = true;
      needs_user_names_ = needs_user_names_ || (kind == RuleTree::Kind::kPatterns && level == "%u");
    }
    if (has_name && kind == RuleTree::Kind::kTopics) {
      Warn("%c and %u mean nothing special in a topic rule; use pattern");
    } else if (!has_name && kind == RuleTree::Kind::kPatterns) {
      Warn("the pattern has neither %c nor %u: it applies to every client");
    }
    return absl::OkStatus();
  }

  std::string Where() const { return absl::StrCat(file_name_, ":", line_, ": "); }
  absl::Status Error(std::string what) const {
    return absl::InvalidArgumentError(absl::StrCat(Where(), what));
  }
  void Warn(std::string what) { warnings_.push_back(absl::StrCat(Where(), what)); }

  const std::string file_name_;
  size_t line_ = 0;
  std::vector<Rule> anonymous_;
  std::vector<Rule> patterns_;
  // Node-based: `rules_` points to the section that `topic` lines belong to.
  std::map<std::string, std::vector<Rule>> users_;
  std::vector<Rule>* rules_ = &anonymous_;
  std::vector<std::string> warnings_;
  bool needs_user_names_ = false;
};

absl::StatusOr<std::shared_ptr<const Acl>> Acl::Parse(std::string_view text,
                                                      std::string_view file_name) {
  return Parser(file_name).Parse(text);
}

bool MayUsePatterns(const Identity& identity) {
  return !mqtt::HasWildcard(identity.client_id) &&
         (identity.anonymous || !mqtt::HasWildcard(identity.user_name));
}

std::shared_ptr<const Permissions> Acl::PermissionsFor(const Identity& identity,
                                                       const MoreRules& more) const {
  const std::string user_name = identity.anonymous ? std::string() : identity.user_name;
  std::shared_ptr<const RuleTree> own_rules;
  if (identity.anonymous) {
    own_rules = anonymous_;
  } else if (const auto it = users_.find(user_name); it != users_.end()) {
    own_rules = it->second;
  }
  return std::make_shared<const Permissions>(
      RuleTree::Both(std::move(own_rules), more.own),
      MayUsePatterns(identity) ? RuleTree::Both(patterns_, more.patterns) : nullptr,
      identity.client_id, user_name);
}

Decision Acl::Check(const Identity& identity, Access access, std::string_view topic) const {
  if (access == Access::kUnsubscribe) return Decision::kAllow;
  const auto permissions = PermissionsFor(identity);
  const bool allowed = access == Access::kRead    ? permissions->MayRead(topic)
                       : access == Access::kWrite ? permissions->MayWrite(topic)
                                                  : permissions->MaySubscribe(topic);
  return allowed ? Decision::kAllow : Decision::kDeny;
}

}  // namespace auth
