// What was set about access, as changes: what AccessStore keeps, and nodes tell each other.
#ifndef ADMIN_API_ACCESS_CHANGES_H_
#define ADMIN_API_ACCESS_CHANGES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <tuple>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "auth/run_time_access.h"
#include "mqttd/access/v1/access.pb.h"

namespace admin {

using Kept = mqttd::access::v1::Change;

// As it is kept, for those who make a change.
void ToKept(const auth::BanTarget& target, mqttd::access::v1::BanTarget& kept);
void ToKept(const auth::RunTimeRule::Key& key, mqttd::access::v1::Rule& kept);

// It holds, but for bans: those do when they are published. Errors: it is not valid.
absl::Status ApplyChange(const Kept& change, auth::RunTimeAccess& access);

// What is in force, as the change that would make it.
Kept AsChange(const auth::Ban& ban);
Kept AsChange(const auth::RunTimeUser& user);
Kept AsChange(const auth::RunTimeRule& rule);

// A line of the file, and what a start reads of it. Errors: it is none.
std::string ToLine(const Kept& change);
absl::StatusOr<Kept> FromLine(absl::string_view line);

// By which changes are listed.
enum class ChangeKind : uint8_t { kBans, kUsers, kRules, kRest };
inline constexpr size_t kChangeKinds = 4;
ChangeKind ListedAs(const Kept& change);
bool Removes(const Kept& change);

// What a change is about; of one key the latest change holds.
struct ChangeKey {
  ChangeKind kind = ChangeKind::kRest;  // kRest: the default.
  auth::BanTarget ban;
  std::string user;
  auth::RunTimeRule::Key rule;

  friend bool operator<(const ChangeKey& a, const ChangeKey& b) {
    return std::tie(a.kind, a.ban, a.user, a.rule) < std::tie(b.kind, b.ban, b.user, b.rule);
  }
};
// Errors: it is not valid.
absl::StatusOr<ChangeKey> KeyOf(const Kept& change);

// Of two of one key: a total order, the same on every node.
bool IsLater(const Kept& a, const Kept& b);
// Equal changes have equal digests, whatever their revision.
uint64_t DigestOf(const Kept& change);
Kept WithoutRevision(Kept change);

}  // namespace admin

#endif  // ADMIN_API_ACCESS_CHANGES_H_
