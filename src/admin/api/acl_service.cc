#include "admin/api/acl_service.h"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "admin/api/client_pages.h"
#include "admin/api/convert.h"
#include "base/status_macros.h"
#include "broker/core/publish_right.h"
#include "mqtt/topic.h"
#include "mqttd/admin/v1/acl.pb.h"

namespace admin {
namespace {

constexpr char kService[] = "mqttd.admin.v1.Acl";
constexpr size_t kRulesMax = 1'000'000;
// Of one user, of anonymous clients, of everyone: what a change of one of them costs grows with it.
constexpr size_t kRulesOfOneMax = 10'000;

constexpr std::pair<pb::Access, uint8_t> kAccesses[] = {
    {pb::ACCESS_READ, auth::kRuleRead},
    {pb::ACCESS_WRITE, auth::kRuleWrite},
    {pb::ACCESS_READWRITE, auth::kRuleRead | auth::kRuleWrite},
    {pb::ACCESS_DENY, auth::kRuleDeny}};

pb::AclRule ToProto(const auth::RunTimeRule& rule) {
  pb::AclRule proto;
  switch (rule.who) {
    case auth::RuleFor::kUser:
      proto.set_user_name(rule.user_name);
      break;
    case auth::RuleFor::kAnonymous:
      proto.set_anonymous(true);
      break;
    case auth::RuleFor::kEveryone:
      proto.set_everyone(true);
      break;
  }
  for (const auto& [access, bits] : kAccesses) {
    if (bits == rule.bits) proto.set_access(access);
  }
  proto.set_filter(rule.filter);
  proto.set_by(rule.by);
  *proto.mutable_set() = ToTimestamp(absl::FromUnixMillis(rule.set_at_unix_ms));
  return proto;
}

absl::StatusOr<auth::RunTimeRule> FromProto(const pb::AclRule& proto) {
  auth::RunTimeRule rule;
  rule.filter = proto.filter();
  const bool anonymous = proto.who_case() == pb::AclRule::kAnonymous && proto.anonymous();
  const bool everyone = proto.who_case() == pb::AclRule::kEveryone && proto.everyone();
  if (anonymous) {
    rule.who = auth::RuleFor::kAnonymous;
  } else if (everyone) {
    rule.who = auth::RuleFor::kEveryone;
  } else if (proto.user_name().empty()) {
    return absl::InvalidArgumentError("for whom? user_name, anonymous or everyone");
  }
  rule.user_name = proto.user_name();
  for (const auto& [access, bits] : kAccesses) {
    if (access == proto.access()) rule.bits = bits;
  }
  if (rule.bits == 0) return absl::InvalidArgumentError("access: read, write, readwrite or deny");
  RETURN_IF_ERROR(auth::CheckRuleFilter(
      rule.filter, everyone ? auth::RuleTree::Kind::kPatterns : auth::RuleTree::Kind::kTopics));
  return rule;
}

// A key as a page's token: what has a fixed form first.
std::string ToToken(const auth::RunTimeRule::Key& key) {
  const auto& [who, user_name, filter, bits] = key;
  return absl::StrCat(static_cast<int>(who), ":", static_cast<int>(bits), ":", user_name.size(),
                      ":", user_name, filter);
}

absl::StatusOr<auth::RunTimeRule::Key> FromToken(const std::string& token) {
  const std::vector<std::string> parts = absl::StrSplit(token, absl::MaxSplits(':', 3));
  int who = 0;
  int bits = 0;
  size_t size = 0;
  if (parts.size() != 4 || !absl::SimpleAtoi(parts[0], &who) ||
      !absl::SimpleAtoi(parts[1], &bits) || !absl::SimpleAtoi(parts[2], &size) ||
      size > parts[3].size())
    return absl::InvalidArgumentError("page.token: not one that a page before gave");
  return auth::RunTimeRule::Key{static_cast<auth::RuleFor>(who), parts[3].substr(0, size),
                                parts[3].substr(size), static_cast<uint8_t>(bits)};
}

std::vector<broker::Server::AccessFiles> FilesOf(const BrokerAccess& broker) {
  std::vector<broker::Server::AccessFiles> files;
  (void)broker.WithServer([&](broker::Server& server) {
    files = server.access_files();
    return absl::OkStatus();
  });
  return files;
}

std::vector<std::string> ListenersWithoutFile(const BrokerAccess& broker) {
  std::vector<std::string> names;
  for (const auto& each : FilesOf(broker)) {
    if (each.acl_file.empty()) names.push_back(each.listener);
  }
  return names;
}

absl::StatusOr<pb::ListRulesResponse> List(const AccessParts& parts,
                                           const pb::ListRulesRequest& request) {
  RETURN_IF_ERROR(parts.broker.CheckOpen());
  const size_t size = PageSizeOf(request.page());
  std::optional<auth::RunTimeRule::Key> after;
  if (!request.page().token().empty()) {
    ASSIGN_OR_RETURN(after, FromToken(request.page().token()));
  } else if (!request.user_name().empty()) {
    after = auth::RunTimeRule::Key{auth::RuleFor::kUser, request.user_name(), {}, 0};
  }
  const auto rules = parts.access.ListRules(after, size);
  pb::ListRulesResponse response;
  const auto wanted = [&](const auth::RunTimeRule& rule) {
    return request.user_name().empty() ||
           (rule.who == auth::RuleFor::kUser && rule.user_name == request.user_name());
  };
  for (const auth::RunTimeRule& rule : rules) {
    if (wanted(rule)) *response.add_rules() = ToProto(rule);
  }
  if (rules.size() == size && wanted(rules.back()))
    response.mutable_page()->set_next(ToToken(rules.back().key()));
  if (!request.page().token().empty()) return response;
  response.set_deny_by_default(parts.access.denies_by_default());
  for (const auto& each : FilesOf(parts.broker)) {
    pb::AclFile& file = *response.add_files();
    file.set_listener(each.listener);
    file.set_acl_file(each.acl_file);
  }
  return response;
}

std::string WarningFor(const AccessParts& parts, const auth::RunTimeRule& rule) {
  if (rule.bits == auth::kRuleDeny || parts.access.denies_by_default()) return {};
  const std::vector<std::string> open = ListenersWithoutFile(parts.broker);
  if (open.empty()) return {};
  return absl::StrCat("listener ", absl::StrJoin(open, ", "),
                      " has no acl_file, so everything is allowed there that no rule denies: this "
                      "rule changes nothing until \"acl default deny\"");
}

void Add(const AccessParts& parts, const Caller& caller, const pb::AclRule& proto,
         const Reply<pb::AddRuleResponse>& reply) {
  const auto rule = FromProto(proto);
  if (!rule.ok()) return reply(rule.status());
  if (absl::Status status = parts.broker.CheckOpen(); !status.ok()) return reply(status);
  const auto made = parts.store.Change(caller, [&](Kept& change) -> absl::Status {
    if (parts.access.HasRule(rule->key()))
      return absl::AlreadyExistsError("there is such a rule already");
    if (parts.access.rules() >= kRulesMax ||
        parts.access.RulesOfOwner(rule->who, rule->user_name) >= kRulesOfOneMax)
      return absl::ResourceExhaustedError(absl::StrCat("there are ", kRulesOfOneMax,
                                                       " rules for one, or ", kRulesMax,
                                                       " rules in all, already"));
    ToKept(rule->key(), *change.mutable_add_rule());
    return absl::OkStatus();
  });
  if (!made.ok()) return reply(made.status());
  parts.spread.Everywhere(caller, *made, AccessSpread::Users::kStay,
                          [parts, rule = *rule, reply](const auto& done) {
                            if (!done.ok()) return reply(done.status());
                            pb::AddRuleResponse response;
                            response.set_warning(WarningFor(parts, rule));
                            AddMissing(*done, response);
                            reply(std::move(response));
                          });
}

void Remove(const AccessParts& parts, const Caller& caller, const pb::AclRule& proto,
            const Reply<pb::RemoveRuleResponse>& reply) {
  const auto rule = FromProto(proto);
  if (!rule.ok()) return reply(rule.status());
  if (absl::Status status = parts.broker.CheckOpen(); !status.ok()) return reply(status);
  const auto made = parts.store.Change(caller, [&](Kept& change) -> absl::Status {
    if (!parts.access.HasRule(rule->key()))
      return absl::NotFoundError("there is no such rule; those of an acl_file stay there");
    ToKept(rule->key(), *change.mutable_remove_rule());
    return absl::OkStatus();
  });
  if (!made.ok()) return reply(made.status());
  parts.spread.Everywhere(caller, *made, AccessSpread::Users::kStay, [reply](const auto& done) {
    if (!done.ok()) return reply(done.status());
    pb::RemoveRuleResponse response;
    AddMissing(*done, response);
    reply(std::move(response));
  });
}

void SetDefault(const AccessParts& parts, const Caller& caller, bool deny,
                const Reply<pb::SetAclDefaultResponse>& reply) {
  if (absl::Status status = parts.broker.CheckOpen(); !status.ok()) return reply(status);
  const auto made = parts.store.Change(caller, [&](Kept& change) -> absl::Status {
    change.set_deny_by_default(deny);
    return absl::OkStatus();
  });
  if (!made.ok()) return reply(made.status());
  parts.spread.Everywhere(
      caller, *made, AccessSpread::Users::kStay, [parts, reply](const auto& done) {
        if (!done.ok()) return reply(done.status());
        pb::SetAclDefaultResponse response;
        AddMissing(*done, response);
        if (ListenersWithoutFile(parts.broker).empty()) {
          response.set_warning(
              "every listener has an acl_file: there what no rule speaks of is denied in any case");
        }
        reply(std::move(response));
      });
}

absl::StatusOr<pb::CheckAccessResponse> Check(const AccessParts& parts,
                                              const pb::CheckAccessRequest& request) {
  if (request.topic().empty()) return absl::InvalidArgumentError("topic: which?");
  pb::CheckAccessResponse response;
  RETURN_IF_ERROR(parts.broker.WithServer([&](broker::Server& server) -> absl::Status {
    const auto files = server.access_files();
    response.set_listener(request.listener().empty() && !files.empty() ? files.front().listener
                                                                       : request.listener());
    const auto rights = server.RightsAt(
        response.listener(), {.client_id = request.client_id(), .user_name = request.user_name()});
    if (!rights.ok()) return rights.status();
    response.set_account(*rights != nullptr);
    if (*rights == nullptr) return absl::OkStatus();
    const auth::Permissions& permissions = **rights;
    response.set_subscribe(permissions.MaySubscribe(request.topic()));
    if (mqtt::HasWildcard(request.topic())) return absl::OkStatus();
    response.set_receive(permissions.MayRead(request.topic()));
    response.set_publish(broker::RightToPublish(permissions, request.client_id(),
                                                request.topic()) == broker::PublishRight::kPublish);
    return absl::OkStatus();
  }));
  return response;
}

}  // namespace

void AddAclService(const AccessParts& parts, Methods& methods) {
  methods.Add<pb::ListRulesRequest, pb::ListRulesResponse>(
      kService, "List", [parts](const Caller&, const pb::ListRulesRequest& request, auto reply) {
        reply(List(parts, request));
      });
  methods.Add<pb::AddRuleRequest, pb::AddRuleResponse>(
      kService, "Add",
      [parts](const Caller& caller, const pb::AddRuleRequest& request, auto reply) {
        Add(parts, caller, request.rule(), reply);
      });
  methods.Add<pb::RemoveRuleRequest, pb::RemoveRuleResponse>(
      kService, "Remove",
      [parts](const Caller& caller, const pb::RemoveRuleRequest& request, auto reply) {
        Remove(parts, caller, request.rule(), reply);
      });
  methods.Add<pb::SetAclDefaultRequest, pb::SetAclDefaultResponse>(
      kService, "SetDefault",
      [parts](const Caller& caller, const pb::SetAclDefaultRequest& request, auto reply) {
        SetDefault(parts, caller, request.deny(), reply);
      });
  methods.Add<pb::CheckAccessRequest, pb::CheckAccessResponse>(
      kService, "Check", [parts](const Caller&, const pb::CheckAccessRequest& request, auto reply) {
        reply(Check(parts, request));
      });
}

}  // namespace admin
