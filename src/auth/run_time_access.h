// What was set about access while the broker runs, beside the files: users, rules, and who is kept
// away.
#ifndef AUTH_RUN_TIME_ACCESS_H_
#define AUTH_RUN_TIME_ACCESS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "auth/core/acl.h"
#include "auth/core/bans.h"
#include "auth/core/identity.h"
#include "auth/password_hash.h"
#include "auth/stand_ins.h"
#include "base/mutex.h"

namespace auth {

struct RunTimeUser {
  std::string name;
  std::string password_hash;  // As a password file has it.
  std::string by;             // Who set it.
  int64_t set_at_unix_ms = 0;
};

// Whom a rule is for.
enum class RuleFor : uint8_t { kUser, kAnonymous, kEveryone };

struct RunTimeRule {
  RuleFor who = RuleFor::kUser;
  std::string user_name;  // Of kUser.
  std::string filter;
  uint8_t bits = 0;  // Of rule_tree.h.
  std::string by;
  int64_t set_at_unix_ms = 0;

  // There is one of each.
  using Key = std::tuple<RuleFor, std::string, std::string, uint8_t>;
  Key key() const { return {who, user_name, filter, bits}; }
};

// In memory; who keeps it on the disk changes it (admin::AccessStore). Any thread. As long as
// nothing was set it costs a login one look at a flag.
class RunTimeAccess {
 public:
  // ---- Bans. What is not valid in one is a programming error.
  void SetBan(Ban ban) ABSL_LOCKS_EXCLUDED(mutex_);
  // False: there was none.
  bool RemoveBan(const BanTarget& target) ABSL_LOCKS_EXCLUDED(mutex_);
  // Those set and removed since hold from here on. Cost: a step for each ban.
  void PublishBans() ABSL_LOCKS_EXCLUDED(mutex_);
  // Forgets those that have ended.
  void ForgetEndedBans(int64_t now_unix_ms) ABSL_LOCKS_EXCLUDED(mutex_);
  bool HasBan(const BanTarget& target) const ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<Ban> FindBan(const BanTarget& target) const ABSL_LOCKS_EXCLUDED(mutex_);
  size_t bans() const ABSL_LOCKS_EXCLUDED(mutex_);
  // All that there is, whatever its kind.
  size_t entries() const ABSL_LOCKS_EXCLUDED(mutex_);
  // In the order of their targets, from the one after `after` on.
  std::vector<Ban> ListBans(const std::optional<BanTarget>& after, size_t count) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  // In force. Null: there is none.
  std::shared_ptr<const BanTable> ban_table() const ABSL_LOCKS_EXCLUDED(mutex_);

  // ---- Users. Errors: the hash is none.
  absl::Status SetUser(RunTimeUser user) ABSL_LOCKS_EXCLUDED(mutex_);
  // False: there was none.
  bool RemoveUser(std::string_view name) ABSL_LOCKS_EXCLUDED(mutex_);
  bool any_user() const { return any_user_.load(std::memory_order_acquire); }
  size_t users() const ABSL_LOCKS_EXCLUDED(mutex_);
  bool HasUser(std::string_view name) const ABSL_LOCKS_EXCLUDED(mutex_);
  // As it was set.
  std::optional<RunTimeUser> UserNamed(std::string_view name) const ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<PasswordHash> FindUser(std::string_view name) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Whatever it is verified against, the answer is no.
  PasswordHash StandInFor(std::string_view unknown_user) const ABSL_LOCKS_EXCLUDED(mutex_);
  // In the order of their names, from the one after `after` on.
  std::vector<RunTimeUser> ListUsers(std::string_view after, size_t count) const
      ABSL_LOCKS_EXCLUDED(mutex_);

  // ---- Rules.
  // False: it is there already; then it is known who has set it last, and when.
  bool AddRule(RunTimeRule rule) ABSL_LOCKS_EXCLUDED(mutex_);
  bool RemoveRule(const RunTimeRule::Key& key) ABSL_LOCKS_EXCLUDED(mutex_);
  bool HasRule(const RunTimeRule::Key& key) const ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<RunTimeRule> FindRule(const RunTimeRule::Key& key) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  size_t rules() const ABSL_LOCKS_EXCLUDED(mutex_);
  size_t RulesOfOwner(RuleFor who, const std::string& user_name) const ABSL_LOCKS_EXCLUDED(mutex_);
  // In the order of their keys, from the one after `after` on.
  std::vector<RunTimeRule> ListRules(const std::optional<RunTimeRule::Key>& after,
                                     size_t count) const ABSL_LOCKS_EXCLUDED(mutex_);
  // Of listeners without a file of rules: whether what no rule speaks of is denied.
  void DenyByDefault(bool deny);
  bool denies_by_default() const { return denies_by_default_.load(std::memory_order_acquire); }
  // Those of the identity. Cost: a look at a flag while there is none; else two look-ups, and the
  // first time after a change of its rules a step for each of them.
  MoreRules RulesOf(const Identity& identity) const ABSL_LOCKS_EXCLUDED(mutex_);

  // Grows with each change of users or rules.
  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }

 private:
  struct KnownUser {
    RunTimeUser user;
    PasswordHash hash;
  };
  struct KnownRule {
    std::string by;
    int64_t set_at_unix_ms = 0;
  };
  using Owner = std::pair<RuleFor, std::string>;

  std::shared_ptr<const RuleTree> TreeOf(const Owner& owner) const
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Changed() { generation_.fetch_add(1, std::memory_order_acq_rel); }

  std::atomic<bool> any_ban_{false};
  std::atomic<bool> any_user_{false};
  std::atomic<bool> any_rule_{false};
  std::atomic<bool> denies_by_default_{false};
  std::atomic<uint64_t> generation_{0};
  mutable base::Mutex mutex_;
  std::map<std::string, KnownUser, std::less<>> users_ ABSL_GUARDED_BY(mutex_);
  std::optional<StandIns> stand_ins_ ABSL_GUARDED_BY(mutex_);  // Made with the first user.
  std::map<RunTimeRule::Key, KnownRule> rules_ ABSL_GUARDED_BY(mutex_);
  // Of those that were asked for since their rules changed.
  mutable std::map<Owner, std::shared_ptr<const RuleTree>> trees_ ABSL_GUARDED_BY(mutex_);
  std::map<BanTarget, Ban> bans_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const BanTable> ban_table_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace auth

#endif  // AUTH_RUN_TIME_ACCESS_H_
