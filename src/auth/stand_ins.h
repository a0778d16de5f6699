// What a login of somebody who is not known costs.
#ifndef AUTH_STAND_INS_H_
#define AUTH_STAND_INS_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "auth/password_hash.h"

namespace auth {

// One hash of each cost that occurs among some users: an unknown name is verified against one of
// them, the same one each time, so that timing does not tell which names exist.
class StandIns {
 public:
  // Errors: there are no random bytes.
  static absl::StatusOr<StandIns> Make();

  void Add(const PasswordHash& hash);
  const PasswordHash& For(std::string_view unknown_user) const;

 private:
  StandIns(PasswordHash of_nobody, uint64_t key) : of_nobody_(std::move(of_nobody)), key_(key) {}

  PasswordHash of_nobody_;  // As long as there are none.
  uint64_t key_;            // Secret, new at each load.
  std::vector<PasswordHash> hashes_;
};

}  // namespace auth

#endif  // AUTH_STAND_INS_H_
