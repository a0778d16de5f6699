// One stored password: parse, verify, make.
#ifndef AUTH_PASSWORD_HASH_H_
#define AUTH_PASSWORD_HASH_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace auth {

enum class HashAlgorithm : uint8_t {
  kSha512,  // $6$SALT$HASH: SHA-512 over password and salt, once. Weak; to read old files.
  kPbkdf2HmacSha512,  // $7$ITERATIONS$SALT$HASH: what mosquitto 2.0 writes.
  kArgon2id,          // $argon2id$v=19$m=…,t=…,p=…$SALT$HASH: the strongest.
};

// The cost of making a hash; what does not concern the algorithm is ignored.
struct HashCost {
  uint32_t pbkdf2_iterations = 210'000;
  uint32_t argon2_memory_kib = 19'456;
  uint32_t argon2_passes = 2;
  uint32_t argon2_lanes = 1;
};

// Immutable value, a few hundred bytes at most.
class PasswordHash {
 public:
  // Errors (kInvalidArgument): not one of the formats, or parameters that no login should cost:
  // above 10,000,000 iterations, 1 GiB, 1000 passes or 64 lanes. The message says what to do and
  // does not quote the hash.
  static absl::StatusOr<PasswordHash> Parse(std::string_view encoded);

  // Takes as long as the algorithm asks for (never call on a shard), independent of where the
  // password is wrong. A failure of the library, such as no memory for argon2, counts as wrong.
  bool Verify(std::string_view password) const;

  // Whether verifying takes as long as with `other`.
  bool CostsLike(const PasswordHash& other) const;

  // Bytes; they tell it from every other stored password.
  const std::string& salt() const { return salt_; }
  const std::string& hash() const { return hash_; }

  HashAlgorithm algorithm() const { return algorithm_; }

 private:
  PasswordHash() = default;
  static absl::StatusOr<PasswordHash> ParseSha512(std::string_view fields);
  static absl::StatusOr<PasswordHash> ParsePbkdf2(std::string_view fields);
  static absl::StatusOr<PasswordHash> ParseArgon2id(std::string_view fields);

  HashAlgorithm algorithm_ = HashAlgorithm::kPbkdf2HmacSha512;
  uint32_t version_ = 0;  // Argon2 only.
  uint32_t rounds_ = 1;   // Iterations of PBKDF2, passes of argon2.
  uint32_t memory_kib_ = 0;
  uint32_t lanes_ = 0;
  std::string salt_;  // Bytes.
  std::string hash_;  // Bytes.
};

// A new salted hash of `password` in the form that a password file holds, without the user name.
// Errors: kInternal when the random source or the library fails.
absl::StatusOr<std::string> HashPassword(HashAlgorithm algorithm, std::string_view password,
                                         const HashCost& cost = {});

}  // namespace auth

#endif  // AUTH_PASSWORD_HASH_H_
