// Reads who a client certificate belongs to.
#ifndef AUTH_CERTIFICATE_H_
#define AUTH_CERTIFICATE_H_

#include <optional>
#include <string>

#include "auth/core/identity.h"
#include "auth/options.h"

typedef struct x509_st X509;

namespace auth {

// The fields of a certificate whose chain TLS has verified. A name with a NUL byte, or that is not
// UTF-8, is left out: "admin\0.example.org" must not become "admin".
CertificateFields ReadCertificate(const X509* certificate);

// The user name that `which` selects; nullopt if the certificate has none, or for kNone.
std::optional<std::string> UserNameFrom(const CertificateFields& fields, CertificateIdentity which);

}  // namespace auth

#endif  // AUTH_CERTIFICATE_H_
