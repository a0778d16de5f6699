#include "auth/core/permissions.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "auth/core/filter_algebra.h"
#include "auth/core/rule_tree.h"
#include "mqtt/topic.h"

namespace auth {

static_assert(kRuleRead == 1 && kRuleWrite == 2);  // Permissions::kReadBit, kWriteBit.

std::shared_ptr<const Permissions> Permissions::Everything() {
  static const auto* const everything =
      new std::shared_ptr<const Permissions>(new Permissions(AllowAll{}));
  return *everything;
}

Permissions::Permissions(AllowAll) : reads_everything_(true), writes_everything_(true) {}

Permissions::Permissions(std::shared_ptr<const RuleTree> own_rules,
                         std::shared_ptr<const RuleTree> patterns, std::string client_id,
                         std::string user_name, Unmatched unmatched, Patterns what_counts)
    : own_rules_(std::move(own_rules)),
      patterns_(std::move(patterns)),
      client_id_(std::move(client_id)),
      user_name_(std::move(user_name)),
      allows_unmatched_(unmatched == Unmatched::kAllowed),
      patterns_only_deny_(what_counts == Patterns::kOnlyDeny) {
  if (own_rules_ != nullptr) ordinary_bits_ = own_rules_->BitsOfOrdinaryTopics();
}

Permissions::~Permissions() = default;

bool Permissions::Lookup(std::string_view topic, uint8_t access) const {
  if ((ordinary_bits_ & access) != 0 && !topic.empty() && topic.front() != '$') return true;
  const ClientNames names = {client_id_, user_name_};
  for (const RuleTree* rules : {own_rules_.get(), patterns_.get()}) {
    if (rules == nullptr) continue;
    const uint8_t bits = rules->Match(topic, names);
    if ((bits & kRuleDeny) != 0) return false;
    if ((bits & access) != 0 && !OnlyDenies(rules)) return true;
  }
  return allows_unmatched_;
}

bool Permissions::Denies(std::string_view topic) const {
  const ClientNames names = {client_id_, user_name_};
  for (const RuleTree* rules : {own_rules_.get(), patterns_.get()}) {
    if (rules != nullptr && (rules->Match(topic, names) & kRuleDeny) != 0) return true;
  }
  return false;
}

bool Permissions::MaySubscribe(std::string_view filter) const {
  if (reads_everything_) return true;
  if (const auto shared = mqtt::ParseShared(filter)) filter = shared->filter;
  FilterLevels levels;
  SplitLevels(filter, levels);
  const ClientNames names = {client_id_, user_name_};
  std::vector<FilterLevels> denied;
  for (const RuleTree* rules : {own_rules_.get(), patterns_.get()}) {
    if (rules == nullptr) continue;
    rules->AppendDenied(names, denied);  // The denials of the client's own rules bind patterns too.
    if (!OnlyDenies(rules) && rules->GrantsSomeRead(levels, names, denied)) return true;
  }
  return allows_unmatched_ && std::none_of(denied.begin(), denied.end(), [&](const auto& wide) {
           return CoversCommon(wide, levels, levels);
         });
}

}  // namespace auth
