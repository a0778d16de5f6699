#include "admin/api/access_changes.h"

#include <cstdint>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "google/protobuf/util/json_util.h"
#include "storage/core/keys.h"

namespace admin {
namespace {

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

Kept Begin(const std::string& by, int64_t at_unix_ms) {
  Kept change;
  change.set_by(by);
  change.set_at_unix_ms(at_unix_ms);
  return change;
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

absl::Status ApplyChange(const Kept& change, auth::RunTimeAccess& access) {
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

std::string ToLine(const Kept& change) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  std::string line;
  // If it fails, for a name that is not UTF-8, the line is empty: FromLine takes none.
  static_cast<void>(google::protobuf::util::MessageToJsonString(change, &line, options));
  line += '\n';
  return line;
}

absl::StatusOr<Kept> FromLine(absl::string_view line) {
  Kept change;
  const auto parsed = google::protobuf::util::JsonStringToMessage(std::string(line), &change);
  if (parsed.ok()) return change;
  return absl::InvalidArgumentError(absl::StrCat("not a change: ", std::string(parsed.message())));
}

absl::StatusOr<ChangeKey> KeyOf(const Kept& change) {
  ChangeKey key;
  switch (change.what_case()) {
    case Kept::kSetBan:
    case Kept::kRemoveBan:
      key.kind = ChangeKind::kBans;
      key.ban = FromKept(change.has_set_ban() ? change.set_ban().target() : change.remove_ban());
      if (key.ban.value.empty()) return absl::InvalidArgumentError("a ban of nobody");
      return key;
    case Kept::kSetUser:
    case Kept::kRemoveUser:
      key.kind = ChangeKind::kUsers;
      key.user = change.has_set_user() ? change.set_user().name() : change.remove_user();
      if (key.user.empty()) return absl::InvalidArgumentError("a user without a name");
      return key;
    case Kept::kAddRule:
    case Kept::kRemoveRule: {
      key.kind = ChangeKind::kRules;
      ASSIGN_OR_RETURN(const auth::RunTimeRule rule,
                       FromKept(change.has_add_rule() ? change.add_rule() : change.remove_rule()));
      key.rule = rule.key();
      return key;
    }
    case Kept::kDenyByDefault:
      return key;
    case Kept::WHAT_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("no such change");
}

bool Removes(const Kept& change) {
  return change.has_remove_ban() || change.has_remove_user() || change.has_remove_rule();
}

ChangeKind ListedAs(const Kept& change) {
  if (Removes(change) || change.what_case() == Kept::kDenyByDefault) return ChangeKind::kRest;
  if (change.has_set_ban()) return ChangeKind::kBans;
  return change.has_set_user() ? ChangeKind::kUsers : ChangeKind::kRules;
}

Kept WithoutRevision(Kept change) {
  change.clear_revision();
  return change;
}

uint64_t DigestOf(const Kept& change) {
  return storage::StableHash(WithoutRevision(change).SerializeAsString());
}

bool IsLater(const Kept& a, const Kept& b) {
  if (a.at_unix_ms() != b.at_unix_ms()) return a.at_unix_ms() > b.at_unix_ms();
  return WithoutRevision(a).SerializeAsString() > WithoutRevision(b).SerializeAsString();
}

}  // namespace admin
