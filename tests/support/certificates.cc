#include "tests/support/certificates.h"

#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <fstream>
#include <functional>
#include <utility>

namespace support {
namespace {

std::string ToPem(const std::function<int(BIO*)>& write) {
  BIO* const out = BIO_new(BIO_s_mem());
  EXPECT_EQ(write(out), 1);
  char* text = nullptr;
  const long length = BIO_get_mem_data(out, &text);
  std::string pem(text, static_cast<size_t>(length));
  BIO_free(out);
  return pem;
}

void AddExtension(X509* certificate, int nid, const std::string& value) {
  X509_EXTENSION* const extension = X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str());
  ASSERT_NE(extension, nullptr) << value;
  X509_add_ext(certificate, extension, -1);
  X509_EXTENSION_free(extension);
}

}  // namespace

std::string PemDirectory::Write(const std::string& name, const std::string& content) const {
  std::ofstream(File(name), std::ios::binary) << content;
  return File(name);
}

Identity::Identity(const Options& options, const Identity* issuer)
    : key_(EVP_EC_gen("P-256"), EVP_PKEY_free), certificate_(X509_new(), X509_free) {
  X509* const certificate = certificate_.get();
  X509_set_version(certificate, X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(certificate), options.serial);
  X509_gmtime_adj(X509_getm_notBefore(certificate), -48L * 3600);
  X509_gmtime_adj(X509_getm_notAfter(certificate), (options.expired ? -24L : 24L) * 3600);
  X509_set_pubkey(certificate, key_.get());
  X509_NAME* const name = X509_get_subject_name(certificate);
  X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>("Example"), -1, -1, 0);
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                             reinterpret_cast<const unsigned char*>(options.common_name.c_str()),
                             -1, -1, 0);
  X509_set_issuer_name(certificate,
                       issuer != nullptr ? X509_get_subject_name(issuer->certificate()) : name);
  AddExtension(certificate, NID_basic_constraints,
               options.authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
  if (options.authority) AddExtension(certificate, NID_key_usage, "keyCertSign,cRLSign");
  if (!options.alternative_names.empty()) {
    AddExtension(certificate, NID_subject_alt_name, options.alternative_names);
  }
  X509_sign(certificate, issuer != nullptr ? issuer->key() : key_.get(), EVP_sha256());
}

std::string Identity::CertificatePem() const {
  return ToPem([&](BIO* out) { return PEM_write_bio_X509(out, certificate()); });
}

std::string Identity::KeyPem(const std::string& passphrase) const {
  return ToPem([&](BIO* out) {
    return PEM_write_bio_PKCS8PrivateKey(
        out, key(), passphrase.empty() ? nullptr : EVP_aes_128_cbc(), passphrase.data(),
        static_cast<int>(passphrase.size()), nullptr, nullptr);
  });
}

std::string Identity::RevocationListPem(const std::vector<long>& serials) const {
  X509_CRL* const list = X509_CRL_new();
  X509_CRL_set_version(list, X509_CRL_VERSION_2);
  X509_CRL_set_issuer_name(list, X509_get_subject_name(certificate()));
  ASN1_TIME* const time = ASN1_TIME_new();
  X509_CRL_set1_lastUpdate(list, X509_gmtime_adj(time, -3600));
  X509_CRL_set1_nextUpdate(list, X509_gmtime_adj(time, 24L * 3600));
  X509_gmtime_adj(time, -3600);
  for (const long serial : serials) {
    X509_REVOKED* const revoked = X509_REVOKED_new();
    ASN1_INTEGER* const number = ASN1_INTEGER_new();
    ASN1_INTEGER_set(number, serial);
    X509_REVOKED_set_serialNumber(revoked, number);
    X509_REVOKED_set_revocationDate(revoked, time);
    X509_CRL_add0_revoked(list, revoked);
    ASN1_INTEGER_free(number);
  }
  ASN1_TIME_free(time);
  X509_CRL_sign(list, key(), EVP_sha256());
  std::string pem = ToPem([&](BIO* out) { return PEM_write_bio_X509_CRL(out, list); });
  X509_CRL_free(list);
  return pem;
}

}  // namespace support
