// SCRAM-SHA-256 (RFC 5802, RFC 7677) for extended authentication: the password never leaves the
// client, and the server proves that it knows it, too.
#ifndef CLIENT_SCRAM_H_
#define CLIENT_SCRAM_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/authenticator.h"

namespace mqttd::client {

inline constexpr std::string_view kScramSha256 = "SCRAM-SHA-256";

// What a server keeps of a password: enough to verify a client, not enough to be one. Each 32
// bytes.
struct ScramKeys {
  std::string salt;
  uint32_t iterations = 0;
  std::string stored_key;
  std::string server_key;
};

// Costs about a microsecond for each two iterations; RFC 7677 asks for 4096 at least.
ScramKeys DeriveScramKeys(std::string_view password, std::string_view salt,
                          uint32_t iterations = 4096);

// One exchange's proofs, for either side. `auth_message`: the three messages before the proof,
// joined by commas.
std::string ScramClientProof(std::string_view password, const ScramKeys& keys,
                             std::string_view auth_message);
bool ScramProofIsRight(const ScramKeys& keys, std::string_view auth_message,
                       std::string_view proof);
std::string ScramServerSignature(const ScramKeys& keys, std::string_view auth_message);

// A part of a SCRAM message, by its letter: of "r=abc,s=def", 's' has "def". Empty: there is none.
std::string_view ScramPart(std::string_view message, char letter);
std::string ScramNonce();

// The client's side, to be given as `Options::authenticator`. Names and passwords are taken as they
// are: SASLprep, which leaves ASCII alone, is the caller's business. A server that asks for fewer
// than 4096 iterations or more than `kIterationsMax` is not answered.
class ScramSha256 final : public Authenticator {
 public:
  static constexpr uint32_t kIterationsMax = 1'000'000;

  ScramSha256(std::string user_name, std::string password);

  std::string method() const override { return std::string(kScramSha256); }
  absl::StatusOr<std::string> Begin() override;
  absl::StatusOr<std::string> Continue(std::string_view server_data) override;
  absl::Status Finish(std::string_view server_data) override;

  // For tests: where nonces come from.
  std::function<std::string()> nonce = ScramNonce;

 private:
  const std::string user_name_;
  const std::string password_;
  std::string first_bare_;  // "n=user,r=nonce"
  std::string nonce_;
  std::string expected_signature_;  // The server's; empty until it has had its proof.
};

}  // namespace mqttd::client

#endif  // CLIENT_SCRAM_H_
