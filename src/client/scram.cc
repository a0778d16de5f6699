#include "client/scram.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include <array>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/by_name.h"
#include "base/check.h"

namespace mqttd::client {
namespace {

constexpr size_t kHashBytes = 32;
constexpr uint32_t kIterationsMin = 4096;  // RFC 7677, §4.

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}

std::string Hmac(std::string_view key, std::string_view text) {
  std::array<unsigned char, kHashBytes> out{};
  unsigned size = 0;
  CHECK(HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), Bytes(text), text.size(),
             out.data(), &size) != nullptr)
      << "OpenSSL has HMAC-SHA-256";
  return {reinterpret_cast<const char*>(out.data()), size};
}

std::string Hash(std::string_view text) {
  std::array<unsigned char, kHashBytes> out{};
  unsigned size = 0;
  CHECK(EVP_Digest(text.data(), text.size(), out.data(), &size, EVP_sha256(), nullptr) == 1)
      << "OpenSSL has SHA-256";
  return {reinterpret_cast<const char*>(out.data()), size};
}

std::string Xor(std::string a, std::string_view b) {
  for (size_t i = 0; i < a.size(); ++i) a[i] = static_cast<char>(a[i] ^ b[i]);
  return a;
}

std::string SaltedPassword(std::string_view password, std::string_view salt, uint32_t iterations) {
  std::array<unsigned char, kHashBytes> out{};
  CHECK(PKCS5_PBKDF2_HMAC(password.data(), static_cast<int>(password.size()), Bytes(salt),
                          static_cast<int>(salt.size()), static_cast<int>(iterations), EVP_sha256(),
                          kHashBytes, out.data()) == 1)
      << "OpenSSL has PBKDF2";
  return {reinterpret_cast<const char*>(out.data()), out.size()};
}

std::string Base64(std::string_view bytes) { return absl::Base64Escape(base::AbslView(bytes)); }

bool Equal(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

absl::Status Strange(std::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("the server's SCRAM message ", base::AbslView(what)));
}

}  // namespace

ScramKeys DeriveScramKeys(std::string_view password, std::string_view salt, uint32_t iterations) {
  const std::string salted = SaltedPassword(password, salt, iterations);
  return {.salt = std::string(salt),
          .iterations = iterations,
          .stored_key = Hash(Hmac(salted, "Client Key")),
          .server_key = Hmac(salted, "Server Key")};
}

std::string ScramClientProof(std::string_view password, const ScramKeys& keys,
                             std::string_view auth_message) {
  const std::string salted = SaltedPassword(password, keys.salt, keys.iterations);
  return Xor(Hmac(salted, "Client Key"), Hmac(keys.stored_key, auth_message));
}

bool ScramProofIsRight(const ScramKeys& keys, std::string_view auth_message,
                       std::string_view proof) {
  if (proof.size() != kHashBytes) return false;
  const std::string client_key = Xor(std::string(proof), Hmac(keys.stored_key, auth_message));
  return Equal(Hash(client_key), keys.stored_key);
}

std::string ScramServerSignature(const ScramKeys& keys, std::string_view auth_message) {
  return Hmac(keys.server_key, auth_message);
}

std::string_view ScramPart(std::string_view message, char letter) {
  while (!message.empty()) {
    const std::string_view part = message.substr(0, message.find(','));
    if (part.size() >= 2 && part[0] == letter && part[1] == '=') return part.substr(2);
    message.remove_prefix(std::min(part.size() + 1, message.size()));
  }
  return {};
}

std::string ScramNonce() {
  std::array<unsigned char, 18> bytes{};
  CHECK(RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) == 1) << "OpenSSL has entropy";
  return Base64({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}

ScramSha256::ScramSha256(std::string user_name, std::string password)
    : user_name_(std::move(user_name)), password_(std::move(password)) {}

absl::StatusOr<std::string> ScramSha256::Begin() {
  nonce_ = nonce();
  expected_signature_.clear();
  const std::string name = absl::StrReplaceAll(user_name_, {{"=", "=3D"}, {",", "=2C"}});
  first_bare_ = absl::StrCat("n=", name, ",r=", nonce_);
  return absl::StrCat("n,,", first_bare_);
}

absl::StatusOr<std::string> ScramSha256::Continue(std::string_view server_data) {
  if (!expected_signature_.empty()) return Strange("comes when all is said");
  const std::string_view both = ScramPart(server_data, 'r');
  if (both.size() <= nonce_.size() || !both.starts_with(nonce_)) {
    return Strange("does not begin with the client's nonce");
  }
  std::string salt;
  if (!absl::Base64Unescape(base::AbslView(ScramPart(server_data, 's')), &salt) || salt.empty()) {
    return Strange("has no salt");
  }
  uint32_t iterations = 0;
  if (!absl::SimpleAtoi(base::AbslView(ScramPart(server_data, 'i')), &iterations) ||
      iterations < kIterationsMin || iterations > kIterationsMax) {
    return Strange("asks for too few iterations, or too many");
  }
  const ScramKeys keys = DeriveScramKeys(password_, salt, iterations);
  const std::string last = absl::StrCat("c=biws,r=", base::AbslView(both));  // "n,," in Base64.
  const std::string all = absl::StrCat(first_bare_, ",", base::AbslView(server_data), ",", last);
  expected_signature_ = Base64(ScramServerSignature(keys, all));
  return absl::StrCat(last, ",p=", Base64(ScramClientProof(password_, keys, all)));
}

absl::Status ScramSha256::Finish(std::string_view server_data) {
  if (!expected_signature_.empty() && Equal(ScramPart(server_data, 'v'), expected_signature_)) {
    return absl::OkStatus();
  }
  return absl::PermissionDeniedError("the server does not prove that it knows the password");
}

}  // namespace mqttd::client
