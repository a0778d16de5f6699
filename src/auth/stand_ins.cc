#include "auth/stand_ins.h"

#include <openssl/rand.h>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

#include "absl/hash/hash.h"
#include "absl/status/status.h"
#include "base/status_macros.h"

namespace auth {
namespace {

// What unknown users cost when there is no user at all: the default of mosquitto_passwd. It is the
// hash of nothing; its result is not looked at.
constexpr std::string_view kDefaultStandIn =
    "$7$101$AAAAAAAAAAAAAAAAAAAAAA==$"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";

}  // namespace

absl::StatusOr<StandIns> StandIns::Make() {
  ASSIGN_OR_RETURN(PasswordHash of_nobody, PasswordHash::Parse(kDefaultStandIn));
  uint64_t key = 0;
  if (RAND_bytes(reinterpret_cast<unsigned char*>(&key), sizeof(key)) != 1)
    return absl::InternalError("no random bytes");
  return StandIns(std::move(of_nobody), key);
}

void StandIns::Add(const PasswordHash& hash) {
  const auto costs_like = [&](const PasswordHash& other) { return other.CostsLike(hash); };
  if (std::none_of(hashes_.begin(), hashes_.end(), costs_like)) hashes_.push_back(hash);
}

const PasswordHash& StandIns::For(std::string_view unknown_user) const {
  if (hashes_.empty()) return of_nobody_;
  const size_t hash = absl::HashOf(key_, std::string(unknown_user));
  return hashes_[hash % hashes_.size()];
}

}  // namespace auth
