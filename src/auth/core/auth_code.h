// The answers that authentication can give.
#ifndef AUTH_CORE_AUTH_CODE_H_
#define AUTH_CORE_AUTH_CODE_H_

#include <cstdint>

namespace auth {

// The values are those of the CONNACK Reason Codes of MQTT 5.0 (§3.2.2.2); the broker translates
// them for 3.1.1 (0x85 → 2, 0x86 → 4, 0x87 and 0x8A → 5, 0x89 → 3).
enum class AuthCode : uint8_t {
  kOk = 0x00,
  kClientIdentifierNotValid = 0x85,  // The user may not have this one: clientid_prefixes.
  kBadUserNameOrPassword = 0x86,
  kNotAuthorized = 0x87,            // No credentials given, and anonymous clients are not allowed.
  kServerBusy = 0x89,               // The hash pool's queue is full; nothing was checked.
  kBanned = 0x8A,                   // Only from an authentication method.
  kBadAuthenticationMethod = 0x8C,  // No such method; or it may not be used here.
};

}  // namespace auth

#endif  // AUTH_CORE_AUTH_CODE_H_
