// The access control list: rules in the syntax of mosquitto's acl_file, and who they apply to.
#ifndef AUTH_CORE_ACL_H_
#define AUTH_CORE_ACL_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "auth/core/identity.h"
#include "auth/core/permissions.h"
#include "auth/core/rule_tree.h"
#include "auth/core/string_map.h"

namespace auth {

enum class Access : uint8_t { kRead, kWrite, kSubscribe, kUnsubscribe };
enum class Decision : uint8_t { kAllow, kDeny };

// Rules of one identity, beside those of a file. Null: none.
struct MoreRules {
  std::shared_ptr<const RuleTree> own;       // `topic`
  std::shared_ptr<const RuleTree> patterns;  // `pattern`
};

// Whether names with wildcards in them keep `identity` from patterns.
bool MayUsePatterns(const Identity& identity);

// Whether a rule can have this filter. Errors: kInvalidArgument, in words.
absl::Status CheckRuleFilter(std::string_view filter, RuleTree::Kind kind);

// Immutable after `Parse`, shared by any number of threads; a reload makes a new one.
//
// The file has one rule or heading a line; blank lines and lines that begin with `#` are comments:
//
//     topic [read|write|readwrite|deny] FILTER     for whom the section is (default readwrite)
//     user NAME                                    begins the section of NAME
//     pattern [read|write|readwrite|deny] FILTER   for everyone, wherever it stands
//
// - `topic` rules before the first `user` line are for anonymous clients only, not for all.
// - In FILTER a level may be + or, at the end, #; as in subscriptions a leading wildcard does not
//   cover topics that begin with $. In a pattern the whole level %c stands for the Client
//   Identifier and %u for the user name; a pattern with %u applies to nobody anonymous.
// - A FILTER with spaces needs the access word.
// - For one client: its `deny` topics, then its other topics, then `deny` patterns, then the other
//   patterns; the first that matches decides. What no rule matches is denied. Order in the file
//   does not matter, and several sections of one user add up.
// - The names of a client never widen a pattern. One with + or # gets nothing from patterns (as in
//   mosquitto). Beyond mosquitto, a name with / is never taken for several levels by a rule that
//   grants, nor one that begins with $ for the first level (pattern `%c/#`, client `$SYS`).
class Acl {
 public:
  // Errors (kInvalidArgument): "FILE:LINE: what is wrong; what to do". `file_name` is only quoted.
  static absl::StatusOr<std::shared_ptr<const Acl>> Parse(std::string_view text,
                                                          std::string_view file_name);

  // The rules as `identity` sees them, with those that it has from elsewhere. Cheap: nothing is
  // compiled.
  std::shared_ptr<const Permissions> PermissionsFor(const Identity& identity,
                                                    const MoreRules& more = {}) const;

  // One question without keeping a `Permissions`. `topic` is a Topic Filter for kSubscribe;
  // kUnsubscribe is always allowed.
  Decision Check(const Identity& identity, Access access, std::string_view topic) const;

  // What looks like a mistake but is not an error, each as "FILE:LINE: text".
  const std::vector<std::string>& warnings() const { return warnings_; }

  // True when the file has a `user` section or a %u pattern: such rules need verified user names.
  bool NeedsUserNames() const { return needs_user_names_; }

 private:
  class Parser;
  Acl() = default;

  std::shared_ptr<const RuleTree> anonymous_;  // Null when there is no rule of the kind.
  std::shared_ptr<const RuleTree> patterns_;
  StringMap<std::shared_ptr<const RuleTree>> users_;
  std::vector<std::string> warnings_;
  bool needs_user_names_ = false;
};

}  // namespace auth

#endif  // AUTH_CORE_ACL_H_
