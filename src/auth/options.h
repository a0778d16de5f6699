// What the configuration says about access.
#ifndef AUTH_OPTIONS_H_
#define AUTH_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "auth/core/login.h"

namespace auth {

// Which part of a client certificate becomes the user name.
enum class CertificateIdentity : uint8_t {
  kNone,  // none: certificates do not name users.
  kCn,    // cn: the first common name of the subject.
  kDn,    // dn: the whole subject, RFC 2253, e.g. "CN=sensor-7,O=Example".
  kSan,   // san: the first subject alternative name; DNS names first, then URIs, then e-mail.
};

// Configuration keys are these names; per listener or global.
struct AuthOptions {
  // allow_anonymous: clients without user name may connect. Without `password_file` also those with
  // a user name, which nobody can verify: they are anonymous too.
  bool allow_anonymous = false;

  // password_file: mosquitto's password file ($7$, $6$ and $argon2id$ hashes). Empty: none.
  std::string password_file{};

  // acl_file: mosquitto's access control file. Empty: everyone connected may do everything.
  std::string acl_file{};

  // use_identity_as_username: none, cn, dn or san. Other than none: the client's certificate gives
  // the user name, user name and password of CONNECT are not looked at, and a client without a
  // certificate (or without that field) is refused.
  CertificateIdentity use_identity_as_username = CertificateIdentity::kNone;

  // session_owner: others are refused, also with Clean Start.
  SessionOwner session_owner = SessionOwner::kUser;

  // use_username_as_clientid: the user name is the Client Identifier, whatever CONNECT says; who
  // has none is refused.
  bool use_username_as_clientid = false;

  // clientid_prefixes: separated by commas; the Client Identifier must begin with one of them, else
  // it is refused. %u stands for the user name. Empty: any.
  std::string clientid_prefixes{};
};

}  // namespace auth

#endif  // AUTH_OPTIONS_H_
