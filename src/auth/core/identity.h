// Who a connection turned out to be: the input of every permission decision.
#ifndef AUTH_CORE_IDENTITY_H_
#define AUTH_CORE_IDENTITY_H_

#include <memory>
#include <string>
#include <vector>

namespace auth {

// What a verified client certificate says about its holder. Filled by `ReadCertificate`.
struct CertificateFields {
  std::string common_name;             // The first CN of the subject; empty if there is none.
  std::vector<std::string> dns_names;  // Subject alternative names, in the certificate's order.
  std::vector<std::string> uris;       // Likewise.
  std::vector<std::string> email_addresses;  // Likewise.
  std::string subject_dn;                    // RFC 2253, e.g. "CN=sensor-7,O=Example".
  std::string sha256_fingerprint;            // Of the DER form, 64 lower-case hexadecimal digits.
};

// A plain value. `user_name` holds only a name that something vouched for (the password file, a
// certificate, an authentication method): a name that was merely claimed leaves the identity
// anonymous.
struct Identity {
  std::string user_name;  // Empty exactly when `anonymous`.
  std::string client_id;  // The Client Identifier in force, also when the server assigned it.
  std::string listener;   // The listener's name in the configuration.
  bool anonymous = true;
  // Of the TLS peer, whether or not it gave the name. Null: there is none, as with most clients.
  std::shared_ptr<const CertificateFields> certificate;
};

}  // namespace auth

#endif  // AUTH_CORE_IDENTITY_H_
