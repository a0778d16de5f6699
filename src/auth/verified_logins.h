// Logins that were verified a while ago: who comes back with the same password is let in without
// hashing it again.
#ifndef AUTH_VERIFIED_LOGINS_H_
#define AUTH_VERIFIED_LOGINS_H_

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "auth/password_hash.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace auth {

// A password hash is slow on purpose, and a fleet that comes back after an outage would wait for
// its own hashes. What is kept of a login is a keyed hash (HMAC-SHA-256 under a random key of this
// process) of user name, password and the stored hash that it was verified against: nothing that
// could be read off a disk, and nothing that still matches once the stored hash has changed.
//
// Thread-safe; a look-up costs about a microsecond. Nothing survives a restart.
class VerifiedLogins {
 public:
  struct Limits {
    size_t logins_max = 100'000;  // Above: the one verified longest ago is forgotten. 0: none.
    uint32_t kept_s = 3600;       // Since it was verified.
  };

  VerifiedLogins(Limits limits, const base::Clock& clock);
  VerifiedLogins(const VerifiedLogins&) = delete;
  VerifiedLogins& operator=(const VerifiedLogins&) = delete;

  bool Knows(std::string_view user_name, std::string_view password, const PasswordHash& stored);
  void Add(std::string_view user_name, std::string_view password, const PasswordHash& stored);

  size_t size() const ABSL_LOCKS_EXCLUDED(mutex_);
  uint64_t hits() const { return hits_.load(std::memory_order_relaxed); }

 private:
  using Digest = std::array<uint64_t, 4>;

  // False: it cannot be made; then nothing is remembered.
  bool MakeDigest(std::string_view user_name, std::string_view password, const PasswordHash& stored,
                  Digest& digest) const;
  void ForgetExpired(int64_t now_ns) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const Limits limits_;
  const base::Clock& clock_;
  std::array<uint8_t, 32> key_{};  // Random.
  bool usable_ = false;
  std::atomic<uint64_t> hits_{0};
  mutable base::Mutex mutex_;
  absl::flat_hash_map<Digest, int64_t> expires_at_ns_ ABSL_GUARDED_BY(mutex_);
  std::deque<Digest> oldest_first_ ABSL_GUARDED_BY(mutex_);  // Those in the map, each once.
};

}  // namespace auth

#endif  // AUTH_VERIFIED_LOGINS_H_
