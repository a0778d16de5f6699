// A login: what a client brings along, and what is decided about it.
#ifndef AUTH_CORE_LOGIN_H_
#define AUTH_CORE_LOGIN_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "auth/core/auth_code.h"
#include "auth/core/identity.h"
#include "auth/core/permissions.h"

namespace auth {

// Who may have the session of a Client Identifier, while it is connected and afterwards.
enum class SessionOwner : uint8_t {
  kUser,  // user: only the user who opened it. One that an anonymous client opened is nobody's, and
          // becomes that of the next user who connects with the identifier.
  kAny,   // any: whoever connects with the identifier; it is theirs from then on.
};

// What a CONNECT and its transport brought along.
struct Credentials {
  std::string client_id;            // Assign one first if the client sent none.
  bool client_id_assigned = false;  // It sent none.
  std::string listener;
  std::optional<std::string> user_name;
  std::optional<std::string> password;           // Bytes.
  std::optional<CertificateFields> certificate;  // Of a TLS peer whose chain was verified.
  uint64_t source = 0;  // Where it comes from (an address or its network): shares the hash pool.
};

struct Outcome {
  AuthCode code = AuthCode::kNotAuthorized;
  std::string why;    // Of a refusal by an authentication back end: told to the client, and logged.
  Identity identity;  // Meaningful if kOk. Its client_id is the one in force.
  std::shared_ptr<const Permissions> permissions;  // Not null if kOk.
  SessionOwner session_owner = SessionOwner::kUser;
  uint64_t generation = 0;  // Of the tables that decided; see `Authenticator::generation`.
};

}  // namespace auth

#endif  // AUTH_CORE_LOGIN_H_
