#include "admin/api/access_store.h"

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status_macros.h"
#include "google/protobuf/util/json_util.h"

namespace admin {
namespace {

using Kept = mqttd::access::v1::Change;

constexpr char kFile[] = "access";
// Lines that say nothing any more, in a file that is left alone.
constexpr uint64_t kSpareLines = 1000;
constexpr size_t kAtOnce = 1000;

constexpr std::pair<mqttd::access::v1::Rule::Access, uint8_t> kAccesses[] = {
    {mqttd::access::v1::Rule::ACCESS_READ, auth::kRuleRead},
    {mqttd::access::v1::Rule::ACCESS_WRITE, auth::kRuleWrite},
    {mqttd::access::v1::Rule::ACCESS_READWRITE, auth::kRuleRead | auth::kRuleWrite},
    {mqttd::access::v1::Rule::ACCESS_DENY, auth::kRuleDeny}};

auth::BanTarget FromKept(const mqttd::access::v1::BanTarget& kept) {
  using Who = mqttd::access::v1::BanTarget;
  switch (kept.who_case()) {
    case Who::kClientId:
      return {auth::BanKind::kClient, kept.client_id()};
    case Who::kUserName:
      return {auth::BanKind::kUser, kept.user_name()};
    case Who::kAddress:
      return {auth::BanKind::kAddress, kept.address()};
    case Who::WHO_NOT_SET:
      break;
  }
  return {};
}

absl::Status ApplySetBan(const Kept& change, auth::RunTimeAccess& access) {
  auth::Ban ban;
  ban.target = FromKept(change.set_ban().target());
  if (ban.target.value.empty()) return absl::InvalidArgumentError("a ban of nobody");
  if (ban.target.kind == auth::BanKind::kAddress)
    RETURN_IF_ERROR(auth::AddressRange::Parse(ban.target.value).status());
  ban.ends_at_unix_ms = change.set_ban().ends_at_unix_ms();
  ban.reason = change.set_ban().reason();
  ban.by = change.by();
  ban.set_at_unix_ms = change.at_unix_ms();
  access.SetBan(std::move(ban));
  return absl::OkStatus();
}

absl::Status ApplySetUser(const Kept& change, auth::RunTimeAccess& access) {
  const mqttd::access::v1::User& user = change.set_user();
  if (user.name().empty()) return absl::InvalidArgumentError("a user without a name");
  return access.SetUser({user.name(), user.password_hash(), change.by(), change.at_unix_ms()});
}

absl::StatusOr<auth::RunTimeRule> FromKept(const mqttd::access::v1::Rule& kept) {
  using Who = mqttd::access::v1::Rule;
  auth::RunTimeRule rule;
  rule.filter = kept.filter();
  switch (kept.who_case()) {
    case Who::kUserName:
      rule.user_name = kept.user_name();
      break;
    case Who::kAnonymous:
      rule.who = auth::RuleFor::kAnonymous;
      break;
    case Who::kEveryone:
      rule.who = auth::RuleFor::kEveryone;
      break;
    case Who::WHO_NOT_SET:
      return absl::InvalidArgumentError("a rule for nobody");
  }
  RETURN_IF_ERROR(auth::CheckRuleFilter(rule.filter, rule.who == auth::RuleFor::kEveryone
                                                         ? auth::RuleTree::Kind::kPatterns
                                                         : auth::RuleTree::Kind::kTopics));
  for (const auto& [access, bits] : kAccesses) {
    if (access == kept.access()) rule.bits = bits;
  }
  if (rule.bits == 0) return absl::InvalidArgumentError("a rule without an access");
  return rule;
}

absl::Status ApplyRule(const Kept& change, auth::RunTimeAccess& access) {
  ASSIGN_OR_RETURN(auth::RunTimeRule rule,
                   FromKept(change.has_add_rule() ? change.add_rule() : change.remove_rule()));
  if (change.has_remove_rule()) {
    access.RemoveRule(rule.key());
    return absl::OkStatus();
  }
  rule.by = change.by();
  rule.set_at_unix_ms = change.at_unix_ms();
  access.AddRule(std::move(rule));
  return absl::OkStatus();
}

absl::Status Apply(const Kept& change, auth::RunTimeAccess& access) {
  switch (change.what_case()) {
    case Kept::kSetBan:
      return ApplySetBan(change, access);
    case Kept::kRemoveBan:
      access.RemoveBan(FromKept(change.remove_ban()));
      return absl::OkStatus();
    case Kept::kSetUser:
      return ApplySetUser(change, access);
    case Kept::kRemoveUser:
      access.RemoveUser(change.remove_user());
      return absl::OkStatus();
    case Kept::kAddRule:
    case Kept::kRemoveRule:
      return ApplyRule(change, access);
    case Kept::kDenyByDefault:
      access.DenyByDefault(change.deny_by_default());
      return absl::OkStatus();
    case Kept::WHAT_NOT_SET:  // Only a number. What a later release adds is not read at all.
      return absl::OkStatus();
  }
  return absl::InvalidArgumentError("no such change");
}

void Publish(const Kept& change, auth::RunTimeAccess& access) {
  if (change.has_set_ban() || change.has_remove_ban()) access.PublishBans();
}

std::string ToLine(const Kept& change) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string line;
  // It cannot fail: names are UTF-8, or they would not have come in.
  static_cast<void>(google::protobuf::util::MessageToJsonString(change, &line, options));
  line += '\n';
  return line;
}

Kept Begin(const std::string& by, int64_t at_unix_ms) {
  Kept change;
  change.set_by(by);
  change.set_at_unix_ms(at_unix_ms);
  return change;
}

Kept AsChange(const auth::Ban& ban) {
  Kept change = Begin(ban.by, ban.set_at_unix_ms);
  ToKept(ban.target, *change.mutable_set_ban()->mutable_target());
  change.mutable_set_ban()->set_ends_at_unix_ms(ban.ends_at_unix_ms);
  change.mutable_set_ban()->set_reason(ban.reason);
  return change;
}

Kept AsChange(const auth::RunTimeUser& user) {
  Kept change = Begin(user.by, user.set_at_unix_ms);
  change.mutable_set_user()->set_name(user.name);
  change.mutable_set_user()->set_password_hash(user.password_hash);
  return change;
}

Kept AsChange(const auth::RunTimeRule& rule) {
  Kept change = Begin(rule.by, rule.set_at_unix_ms);
  ToKept(rule.key(), *change.mutable_add_rule());
  return change;
}

// What is in force, as changes that would make it.
void ForEachKept(const auth::RunTimeAccess& access, const std::function<void(const Kept&)>& each) {
  std::optional<auth::BanTarget> after_ban;
  for (auto bans = access.ListBans(after_ban, kAtOnce); !bans.empty();
       bans = access.ListBans(after_ban, kAtOnce)) {
    for (const auth::Ban& ban : bans) each(AsChange(ban));
    after_ban = bans.back().target;
  }
  std::string after_user;
  for (auto users = access.ListUsers(after_user, kAtOnce); !users.empty();
       users = access.ListUsers(after_user, kAtOnce)) {
    for (const auth::RunTimeUser& user : users) each(AsChange(user));
    after_user = users.back().name;
  }
  std::optional<auth::RunTimeRule::Key> after_rule;
  for (auto rules = access.ListRules(after_rule, kAtOnce); !rules.empty();
       rules = access.ListRules(after_rule, kAtOnce)) {
    for (const auth::RunTimeRule& rule : rules) each(AsChange(rule));
    after_rule = rules.back().key();
  }
  if (access.denies_by_default()) {
    Kept change;
    change.set_deny_by_default(true);
    each(change);
  }
}

}  // namespace

void ToKept(const auth::BanTarget& target, mqttd::access::v1::BanTarget& kept) {
  switch (target.kind) {
    case auth::BanKind::kClient:
      return kept.set_client_id(target.value);
    case auth::BanKind::kUser:
      return kept.set_user_name(target.value);
    case auth::BanKind::kAddress:
      return kept.set_address(target.value);
  }
}

void ToKept(const auth::RunTimeRule::Key& key, mqttd::access::v1::Rule& kept) {
  const auto& [who, user_name, filter, bits] = key;
  switch (who) {
    case auth::RuleFor::kUser:
      kept.set_user_name(user_name);
      break;
    case auth::RuleFor::kAnonymous:
      kept.set_anonymous(true);
      break;
    case auth::RuleFor::kEveryone:
      kept.set_everyone(true);
      break;
  }
  kept.set_filter(filter);
  for (const auto& [access, its_bits] : kAccesses) {
    if (its_bits == bits) kept.set_access(access);
  }
}

absl::Status AccessStore::Load() {
  base::MutexLock lock(mutex_);
  ASSIGN_OR_RETURN(std::string text, files_.Read(kFile));
  const size_t whole = text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1;
  if (whole != text.size()) {
    base::Log(base::LogLevel::kWarning, "the last change of access was not written whole",
              {{"file", files_.PathOf(kFile)}, {"bytes", text.size() - whole}});
    text.resize(whole);
    RETURN_IF_ERROR(files_.Write(kFile, text));
  }
  RETURN_IF_ERROR(Replay(text));
  access_.ForgetEndedBans(absl::ToUnixMillis(clock_.Now()));
  access_.PublishBans();
  return absl::OkStatus();
}

absl::Status AccessStore::Replay(absl::string_view text) {
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    ++lines_;
    Kept change;
    absl::Status status;
    const auto parsed = google::protobuf::util::JsonStringToMessage(std::string(line), &change);
    if (!parsed.ok()) {
      status =
          absl::InvalidArgumentError(absl::StrCat("not a change: ", std::string(parsed.message())));
    } else {
      status = Apply(change, access_);
    }
    if (!status.ok()) {
      return absl::FailedPreconditionError(absl::StrCat(
          files_.PathOf(kFile), ":", lines_, ": ", status.message(),
          "; restore the file from a backup, or remove it and set users, rules and bans anew"));
    }
    revision_ = std::max(revision_, change.revision());
  }
  return absl::OkStatus();
}

absl::Status AccessStore::Change(const Caller& caller,
                                 const std::function<absl::Status(Kept&)>& make) {
  base::MutexLock lock(mutex_);
  Kept change;
  RETURN_IF_ERROR(make(change));
  change.set_revision(revision_ + 1);
  change.set_by(caller.name);
  change.set_at_unix_ms(absl::ToUnixMillis(clock_.Now()));
  RETURN_IF_ERROR(files_.Append(kFile, ToLine(change)));
  ++revision_;
  ++lines_;
  const absl::Status applied = Apply(change, access_);
  CHECK(applied.ok()) << applied.message();
  Publish(change, access_);
  Compact();
  return absl::OkStatus();
}

// A failure is no failure of the change: the old file is as good.
void AccessStore::Compact() {
  if (lines_ < 2 * access_.entries() + kSpareLines) return;
  access_.ForgetEndedBans(absl::ToUnixMillis(clock_.Now()));
  Kept number;
  number.set_revision(revision_);
  std::string text = ToLine(number);
  uint64_t lines = 1;
  ForEachKept(access_, [&](const Kept& change) {
    ++lines;
    text += ToLine(change);
  });
  if (const absl::Status status = files_.Write(kFile, text); !status.ok()) {
    base::Log(base::LogLevel::kWarning, "the file of access changes grows",
              {{"file", files_.PathOf(kFile)}, {"error", status}});
    return;
  }
  lines_ = lines;
}

}  // namespace admin
