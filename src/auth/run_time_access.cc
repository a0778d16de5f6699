#include "auth/run_time_access.h"

#include <iterator>
#include <memory>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"

namespace auth {

void RunTimeAccess::SetBan(Ban ban) {
  base::MutexLock lock(mutex_);
  BanTarget target = ban.target;
  bans_.insert_or_assign(std::move(target), std::move(ban));
}

bool RunTimeAccess::RemoveBan(const BanTarget& target) {
  base::MutexLock lock(mutex_);
  return bans_.erase(target) != 0;
}

void RunTimeAccess::PublishBans() {
  std::vector<Ban> bans;
  base::MutexLock lock(mutex_);
  for (const auto& [target, ban] : bans_) bans.push_back(ban);
  const bool any = !bans.empty();
  auto table = BanTable::Make(std::move(bans));
  CHECK(table.ok()) << table.status().message();
  ban_table_ = *std::move(table);
  any_ban_.store(any, std::memory_order_release);
}

void RunTimeAccess::ForgetEndedBans(int64_t now_unix_ms) {
  base::MutexLock lock(mutex_);
  std::erase_if(bans_, [&](const auto& each) { return !each.second.holds(now_unix_ms); });
}

bool RunTimeAccess::HasBan(const BanTarget& target) const {
  base::MutexLock lock(mutex_);
  return bans_.contains(target);
}

std::optional<Ban> RunTimeAccess::FindBan(const BanTarget& target) const {
  base::MutexLock lock(mutex_);
  const auto it = bans_.find(target);
  return it == bans_.end() ? std::nullopt : std::optional(it->second);
}

size_t RunTimeAccess::bans() const {
  base::MutexLock lock(mutex_);
  return bans_.size();
}

std::vector<Ban> RunTimeAccess::ListBans(const std::optional<BanTarget>& after,
                                         size_t count) const {
  std::vector<Ban> page;
  base::MutexLock lock(mutex_);
  auto it = after.has_value() ? bans_.upper_bound(*after) : bans_.begin();
  for (; it != bans_.end() && page.size() < count; ++it) page.push_back(it->second);
  return page;
}

std::shared_ptr<const BanTable> RunTimeAccess::ban_table() const {
  if (!any_ban_.load(std::memory_order_acquire)) return nullptr;
  base::MutexLock lock(mutex_);
  return ban_table_;
}

size_t RunTimeAccess::entries() const {
  base::MutexLock lock(mutex_);
  return bans_.size() + users_.size() + rules_.size();
}

absl::Status RunTimeAccess::SetUser(RunTimeUser user) {
  ASSIGN_OR_RETURN(PasswordHash hash, PasswordHash::Parse(user.password_hash));
  base::MutexLock lock(mutex_);
  if (!stand_ins_.has_value()) {
    ASSIGN_OR_RETURN(stand_ins_, StandIns::Make());
  }
  stand_ins_->Add(hash);
  std::string name = user.name;
  users_.insert_or_assign(std::move(name), KnownUser{std::move(user), std::move(hash)});
  any_user_.store(true, std::memory_order_release);
  Changed();
  return absl::OkStatus();
}

bool RunTimeAccess::RemoveUser(std::string_view name) {
  base::MutexLock lock(mutex_);
  const auto it = users_.find(name);
  if (it == users_.end()) return false;
  users_.erase(it);
  any_user_.store(!users_.empty(), std::memory_order_release);
  Changed();
  return true;
}

size_t RunTimeAccess::users() const {
  base::MutexLock lock(mutex_);
  return users_.size();
}

bool RunTimeAccess::HasUser(std::string_view name) const {
  if (!any_user()) return false;
  base::MutexLock lock(mutex_);
  return users_.contains(name);
}

std::optional<RunTimeUser> RunTimeAccess::UserNamed(std::string_view name) const {
  base::MutexLock lock(mutex_);
  const auto it = users_.find(name);
  return it == users_.end() ? std::nullopt : std::optional(it->second.user);
}

std::optional<PasswordHash> RunTimeAccess::FindUser(std::string_view name) const {
  if (!any_user()) return std::nullopt;
  base::MutexLock lock(mutex_);
  const auto it = users_.find(name);
  if (it == users_.end()) return std::nullopt;
  return it->second.hash;
}

PasswordHash RunTimeAccess::StandInFor(std::string_view unknown_user) const {
  base::MutexLock lock(mutex_);
  CHECK(stand_ins_.has_value()) << "only where users are known";
  return stand_ins_->For(unknown_user);
}

std::vector<RunTimeUser> RunTimeAccess::ListUsers(std::string_view after, size_t count) const {
  std::vector<RunTimeUser> page;
  base::MutexLock lock(mutex_);
  for (auto it = users_.upper_bound(after); it != users_.end() && page.size() < count; ++it)
    page.push_back(it->second.user);
  return page;
}

bool RunTimeAccess::AddRule(RunTimeRule rule) {
  base::MutexLock lock(mutex_);
  KnownRule known{std::move(rule.by), rule.set_at_unix_ms};
  if (!rules_.insert_or_assign(rule.key(), std::move(known)).second) return false;
  trees_.erase({rule.who, rule.user_name});
  any_rule_.store(true, std::memory_order_release);
  Changed();
  return true;
}

bool RunTimeAccess::RemoveRule(const RunTimeRule::Key& key) {
  base::MutexLock lock(mutex_);
  if (rules_.erase(key) == 0) return false;
  trees_.erase({std::get<0>(key), std::get<1>(key)});
  any_rule_.store(!rules_.empty(), std::memory_order_release);
  Changed();
  return true;
}

std::optional<RunTimeRule> RunTimeAccess::FindRule(const RunTimeRule::Key& key) const {
  base::MutexLock lock(mutex_);
  const auto it = rules_.find(key);
  if (it == rules_.end()) return std::nullopt;
  const auto& [who, user_name, filter, bits] = key;
  return RunTimeRule{who, user_name, filter, bits, it->second.by, it->second.set_at_unix_ms};
}

bool RunTimeAccess::HasRule(const RunTimeRule::Key& key) const {
  base::MutexLock lock(mutex_);
  return rules_.contains(key);
}

size_t RunTimeAccess::rules() const {
  base::MutexLock lock(mutex_);
  return rules_.size();
}

size_t RunTimeAccess::RulesOfOwner(RuleFor who, const std::string& user_name) const {
  base::MutexLock lock(mutex_);
  size_t count = 0;
  for (auto it = rules_.lower_bound({who, user_name, {}, 0}); it != rules_.end(); ++it, ++count) {
    if (std::get<0>(it->first) != who || std::get<1>(it->first) != user_name) break;
  }
  return count;
}

std::vector<RunTimeRule> RunTimeAccess::ListRules(const std::optional<RunTimeRule::Key>& after,
                                                  size_t count) const {
  std::vector<RunTimeRule> page;
  base::MutexLock lock(mutex_);
  auto it = after.has_value() ? rules_.upper_bound(*after) : rules_.begin();
  for (; it != rules_.end() && page.size() < count; ++it) {
    const auto& [who, user_name, filter, bits] = it->first;
    page.push_back({who, user_name, filter, bits, it->second.by, it->second.set_at_unix_ms});
  }
  return page;
}

void RunTimeAccess::DenyByDefault(bool deny) {
  denies_by_default_.store(deny, std::memory_order_release);
  Changed();
}

MoreRules RunTimeAccess::RulesOf(const Identity& identity) const {
  if (!any_rule_.load(std::memory_order_acquire)) return {};
  const Owner owner = identity.anonymous ? Owner{RuleFor::kAnonymous, {}}
                                         : Owner{RuleFor::kUser, identity.user_name};
  base::MutexLock lock(mutex_);
  return {.own = TreeOf(owner), .patterns = TreeOf({RuleFor::kEveryone, {}})};
}

std::shared_ptr<const RuleTree> RunTimeAccess::TreeOf(const Owner& owner) const {
  if (const auto known = trees_.find(owner); known != trees_.end()) return known->second;
  std::vector<Rule> rules;
  for (auto it = rules_.lower_bound({owner.first, owner.second, {}, 0}); it != rules_.end(); ++it) {
    const auto& [who, user_name, filter, bits] = it->first;
    if (who != owner.first || user_name != owner.second) break;
    rules.push_back({filter, bits});
  }
  if (rules.empty()) return nullptr;
  const auto kind =
      owner.first == RuleFor::kEveryone ? RuleTree::Kind::kPatterns : RuleTree::Kind::kTopics;
  return trees_[owner] = std::make_shared<const RuleTree>(kind, std::move(rules));
}

}  // namespace auth
