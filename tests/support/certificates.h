// Certificates made on the spot.
#ifndef TESTS_SUPPORT_CERTIFICATES_H_
#define TESTS_SUPPORT_CERTIFICATES_H_

#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/support/temp_dir.h"

namespace support {

// A directory of PEM files that is gone with the object.
class PemDirectory {
 public:
  std::string File(const std::string& name) const { return directory_.path() + "/" + name; }
  std::string Write(const std::string& name, const std::string& content) const;

 private:
  const TempDir directory_;
};

// A P-256 key with its certificate.
class Identity {
 public:
  struct Options {
    std::string common_name;
    std::string alternative_names;  // OpenSSL's notation: "DNS:a,IP:127.0.0.1". May be empty.
    bool authority = false;
    bool expired = false;
    long serial = 1;
  };
  // Signed by `issuer`, or by itself.
  explicit Identity(const Options& options, const Identity* issuer = nullptr);

  X509* certificate() const { return certificate_.get(); }
  EVP_PKEY* key() const { return key_.get(); }
  std::string CertificatePem() const;
  std::string KeyPem(const std::string& passphrase = "") const;
  // A revocation list of this authority with those serial numbers.
  std::string RevocationListPem(const std::vector<long>& serials) const;

 private:
  std::shared_ptr<EVP_PKEY> key_;
  std::shared_ptr<X509> certificate_;
};

}  // namespace support

#endif  // TESTS_SUPPORT_CERTIFICATES_H_
