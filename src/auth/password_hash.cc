#include "auth/password_hash.h"

#include <argon2.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace auth {
namespace {

constexpr uint32_t kPbkdf2IterationsMax = 10'000'000;
constexpr uint32_t kArgon2MemoryKibMax = 1'048'576;
constexpr uint32_t kArgon2PassesMax = 1000;
constexpr uint32_t kArgon2LanesMax = 64;
constexpr size_t kSha512Bytes = 64;
constexpr size_t kArgon2HashBytesMin = 16;  // Shorter ones could be found by trying.
constexpr size_t kArgon2HashBytesMax = 512;
constexpr size_t kSaltBytesMax = 256;
constexpr size_t kNewSaltBytes = 16;
constexpr size_t kNewArgon2HashBytes = 32;

absl::Status Malformed(std::string what) { return absl::InvalidArgumentError(std::move(what)); }

// Fields are short; `absl::StrSplit` wants absl's own string_view.
std::vector<std::string> SplitFields(std::string_view text, char separator) {
  return absl::StrSplit(std::string(text), separator);
}

std::optional<std::string> Decode(const std::string& base64) {
  std::string bytes;
  if (!absl::Base64Unescape(base64, &bytes)) return std::nullopt;
  return bytes;
}

std::optional<uint32_t> Number(const std::string& digits, uint32_t max) {
  uint32_t value = 0;
  if (digits.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  if (!absl::SimpleAtoi(digits, &value) || value == 0 || value > max) return std::nullopt;
  return value;
}

unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }
const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

struct Argon2Cost {
  uint32_t version;
  uint32_t passes;
  uint32_t memory_kib;
  uint32_t lanes;
};

// Computes into `hash`, whose size is the length wanted. All lanes run on this thread: the number
// of threads is the pool's business.
bool Argon2id(std::string_view password, std::string_view salt, const Argon2Cost& cost,
              std::string& hash) {
  argon2_context context{};
  context.out = Bytes(hash);
  context.outlen = static_cast<uint32_t>(hash.size());
  // Without ARGON2_FLAG_CLEAR_PASSWORD the library only reads these.
  context.pwd = const_cast<uint8_t*>(Bytes(password));
  context.pwdlen = static_cast<uint32_t>(password.size());
  context.salt = const_cast<uint8_t*>(Bytes(salt));
  context.saltlen = static_cast<uint32_t>(salt.size());
  context.t_cost = cost.passes;
  context.m_cost = cost.memory_kib;
  context.lanes = cost.lanes;
  context.threads = 1;
  context.version = cost.version;
  context.flags = ARGON2_DEFAULT_FLAGS;
  return argon2id_ctx(&context) == ARGON2_OK;
}

bool Pbkdf2(std::string_view password, std::string_view salt, uint32_t iterations,
            std::string& hash) {
  return PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), Bytes(salt),
                           static_cast<int>(salt.size()), static_cast<int>(iterations),
                           EVP_sha512(), static_cast<int>(hash.size()), Bytes(hash)) == 1;
}

bool Sha512(std::string_view password, std::string_view salt, std::string& hash) {
  std::string input;
  input.reserve(password.size() + salt.size());
  input.append(password).append(salt);
  const bool ok = hash.size() == kSha512Bytes && EVP_Digest(input.data(), input.size(), Bytes(hash),
                                                            nullptr, EVP_sha512(), nullptr) == 1;
  OPENSSL_cleanse(input.data(), input.size());
  return ok;
}

std::string Encode(std::string_view bytes) { return absl::Base64Escape(std::string(bytes)); }

std::string EncodeWithoutPadding(std::string_view bytes) {
  std::string text = Encode(bytes);
  while (!text.empty() && text.back() == '=') text.pop_back();
  return text;
}

}  // namespace

absl::StatusOr<PasswordHash> PasswordHash::Parse(std::string_view encoded) {
  if (encoded.substr(0, 3) == "$6$") return ParseSha512(encoded.substr(3));
  if (encoded.substr(0, 3) == "$7$") return ParsePbkdf2(encoded.substr(3));
  if (encoded.substr(0, 10) == "$argon2id$") return ParseArgon2id(encoded.substr(10));
  if (encoded.substr(0, 1) == "$") {
    return Malformed("unknown kind of password hash; use $7$, $6$ or $argon2id$");
  }
  return Malformed("the password is not hashed; run: mosquitto_passwd -U FILE");
}

absl::StatusOr<PasswordHash> PasswordHash::ParseSha512(std::string_view fields) {
  const std::vector<std::string> parts = SplitFields(fields, '$');
  if (parts.size() != 2) return Malformed("a $6$ hash is $6$SALT$HASH; set the password again");
  const auto salt = Decode(parts[0]);
  const auto hash = Decode(parts[1]);
  if (!salt || salt->empty() || salt->size() > kSaltBytesMax || !hash ||
      hash->size() != kSha512Bytes) {
    return Malformed("salt or hash of the $6$ hash is damaged; set the password again");
  }
  PasswordHash result;
  result.algorithm_ = HashAlgorithm::kSha512;
  result.salt_ = *salt;
  result.hash_ = *hash;
  return result;
}

absl::StatusOr<PasswordHash> PasswordHash::ParsePbkdf2(std::string_view fields) {
  const std::vector<std::string> parts = SplitFields(fields, '$');
  if (parts.size() != 3) {
    return Malformed("a $7$ hash is $7$ITERATIONS$SALT$HASH; set the password again");
  }
  const auto iterations = Number(parts[0], kPbkdf2IterationsMax);
  if (!iterations) {
    return Malformed(absl::StrCat("the iterations of a $7$ hash are 1 to ", kPbkdf2IterationsMax,
                                  "; set the password again"));
  }
  const auto salt = Decode(parts[1]);
  const auto hash = Decode(parts[2]);
  if (!salt || salt->empty() || salt->size() > kSaltBytesMax || !hash ||
      hash->size() != kSha512Bytes) {
    return Malformed("salt or hash of the $7$ hash is damaged; set the password again");
  }
  PasswordHash result;
  result.algorithm_ = HashAlgorithm::kPbkdf2HmacSha512;
  result.rounds_ = *iterations;
  result.salt_ = *salt;
  result.hash_ = *hash;
  return result;
}

absl::StatusOr<PasswordHash> PasswordHash::ParseArgon2id(std::string_view fields) {
  const std::vector<std::string> parts = SplitFields(fields, '$');
  const std::vector<std::string> cost =
      parts.size() == 4 ? SplitFields(parts[1], ',') : std::vector<std::string>();
  const bool has_version = parts.size() == 4 && (parts[0] == "v=19" || parts[0] == "v=16");
  if (!has_version || cost.size() != 3 || cost[0].substr(0, 2) != "m=" ||
      cost[1].substr(0, 2) != "t=" || cost[2].substr(0, 2) != "p=") {
    return Malformed(
        "an argon2id hash is $argon2id$v=19$m=KIB,t=PASSES,p=LANES$SALT$HASH; set the password "
        "again");
  }
  const auto memory_kib = Number(cost[0].substr(2), kArgon2MemoryKibMax);
  const auto passes = Number(cost[1].substr(2), kArgon2PassesMax);
  const auto lanes = Number(cost[2].substr(2), kArgon2LanesMax);
  if (!memory_kib || !passes || !lanes || *memory_kib < 8 * *lanes) {
    return Malformed(absl::StrCat("argon2id may take m=", 8, " for each lane to ",
                                  kArgon2MemoryKibMax, ", t to ", kArgon2PassesMax, ", p to ",
                                  kArgon2LanesMax, "; set the password again with such costs"));
  }
  const auto salt = Decode(parts[2]);
  const auto hash = Decode(parts[3]);
  if (!salt || salt->size() < ARGON2_MIN_SALT_LENGTH || salt->size() > kSaltBytesMax || !hash ||
      hash->size() < kArgon2HashBytesMin || hash->size() > kArgon2HashBytesMax) {
    return Malformed("salt or hash of the argon2id hash is damaged; set the password again");
  }
  PasswordHash result;
  result.algorithm_ = HashAlgorithm::kArgon2id;
  result.version_ = parts[0] == "v=19" ? ARGON2_VERSION_13 : ARGON2_VERSION_10;
  result.rounds_ = *passes;
  result.memory_kib_ = *memory_kib;
  result.lanes_ = *lanes;
  result.salt_ = *salt;
  result.hash_ = *hash;
  return result;
}

bool PasswordHash::Verify(std::string_view password) const {
  if (password.data() == nullptr) password = "";  // OpenSSL takes null for "no password given".
  std::string computed(hash_.size(), '\0');
  bool ok = false;
  switch (algorithm_) {
    case HashAlgorithm::kSha512:
      ok = Sha512(password, salt_, computed);
      break;
    case HashAlgorithm::kPbkdf2HmacSha512:
      ok = Pbkdf2(password, salt_, rounds_, computed);
      break;
    case HashAlgorithm::kArgon2id:
      ok = Argon2id(password, salt_, {version_, rounds_, memory_kib_, lanes_}, computed);
      break;
  }
  return CRYPTO_memcmp(computed.data(), hash_.data(), hash_.size()) == 0 && ok;
}

bool PasswordHash::CostsLike(const PasswordHash& other) const {
  return algorithm_ == other.algorithm_ && rounds_ == other.rounds_ &&
         memory_kib_ == other.memory_kib_ && lanes_ == other.lanes_;
}

absl::StatusOr<std::string> HashPassword(HashAlgorithm algorithm, std::string_view password,
                                         const HashCost& cost) {
  if (password.data() == nullptr) password = "";
  std::string salt(kNewSaltBytes, '\0');
  if (RAND_bytes(Bytes(salt), static_cast<int>(salt.size())) != 1) {
    return absl::InternalError("no random bytes for the salt of a password");
  }
  std::string hash(algorithm == HashAlgorithm::kArgon2id ? kNewArgon2HashBytes : kSha512Bytes,
                   '\0');
  bool ok = false;
  std::string encoded;
  switch (algorithm) {
    case HashAlgorithm::kSha512:
      ok = Sha512(password, salt, hash);
      encoded = absl::StrCat("$6$", Encode(salt), "$", Encode(hash));
      break;
    case HashAlgorithm::kPbkdf2HmacSha512:
      ok = Pbkdf2(password, salt, cost.pbkdf2_iterations, hash);
      encoded = absl::StrCat("$7$", cost.pbkdf2_iterations, "$", Encode(salt), "$", Encode(hash));
      break;
    case HashAlgorithm::kArgon2id:
      ok = Argon2id(
          password, salt,
          {ARGON2_VERSION_13, cost.argon2_passes, cost.argon2_memory_kib, cost.argon2_lanes}, hash);
      encoded = absl::StrFormat("$argon2id$v=19$m=%u,t=%u,p=%u$%s$%s", cost.argon2_memory_kib,
                                cost.argon2_passes, cost.argon2_lanes, EncodeWithoutPadding(salt),
                                EncodeWithoutPadding(hash));
      break;
  }
  if (!ok) return absl::InternalError("hashing a password failed; are its costs too high?");
  return encoded;
}

}  // namespace auth
