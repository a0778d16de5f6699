#include "auth/certificate.h"

#include <openssl/asn1.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <string_view>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace auth {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::MatchesRegex;

// Signed by itself: who signed it is the business of TLS.
class Certificate {
 public:
  Certificate() : x509_(X509_new(), &X509_free) {}

  Certificate& Subject(const char* field, std::string_view value, int type = MBSTRING_UTF8) {
    EXPECT_EQ(X509_NAME_add_entry_by_txt(X509_get_subject_name(x509_.get()), field, type,
                                         reinterpret_cast<const unsigned char*>(value.data()),
                                         static_cast<int>(value.size()), -1, 0),
              1);
    return *this;
  }

  Certificate& AlternativeNames(const char* list) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, list);
    EXPECT_NE(extension, nullptr) << list;
    EXPECT_EQ(X509_add_ext(x509_.get(), extension, -1), 1);
    X509_EXTENSION_free(extension);
    return *this;
  }

  CertificateFields Read() {
    const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(
        EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"), &EVP_PKEY_free);
    EXPECT_EQ(X509_set_pubkey(x509_.get(), key.get()), 1);
    EXPECT_GT(X509_sign(x509_.get(), key.get(), nullptr), 0);
    return ReadCertificate(x509_.get());
  }
  X509* get() { return x509_.get(); }

 private:
  std::unique_ptr<X509, decltype(&X509_free)> x509_;
};

TEST(Certificate, GivesSubjectAndAlternativeNames) {
  const CertificateFields fields =
      Certificate()
          .Subject("O", "Example")
          .Subject("CN", "sensor-7")
          .AlternativeNames("email:a@example.org,URI:urn:dev:7,DNS:seven.example.org,DNS:7.local")
          .Read();
  EXPECT_EQ(fields.common_name, "sensor-7");
  EXPECT_EQ(fields.subject_dn, "CN=sensor-7,O=Example");
  EXPECT_THAT(fields.dns_names, ElementsAre("seven.example.org", "7.local"));
  EXPECT_THAT(fields.uris, ElementsAre("urn:dev:7"));
  EXPECT_THAT(fields.email_addresses, ElementsAre("a@example.org"));
  EXPECT_THAT(fields.sha256_fingerprint, MatchesRegex("[0-9a-f]+"));
  EXPECT_EQ(fields.sha256_fingerprint.size(), 64u);
}

TEST(Certificate, ReadsNamesInOtherEncodingsAsUtf8) {
  EXPECT_EQ(Certificate().Subject("CN", "caf\xe9", V_ASN1_T61STRING).Read().common_name, "café");
  EXPECT_EQ(Certificate().Subject("CN", "Zoë").Read().common_name, "Zoë");
}

TEST(Certificate, ANameWithNulOrControlCharactersIsNoName) {
  using namespace std::string_view_literals;
  EXPECT_EQ(
      Certificate().Subject("CN", "admin\0.example.org"sv, V_ASN1_UTF8STRING).Read().common_name,
      "");
  EXPECT_EQ(Certificate().Subject("CN", "a\nb", V_ASN1_UTF8STRING).Read().common_name, "");
  Certificate certificate;
  GENERAL_NAMES* names = GENERAL_NAMES_new();
  GENERAL_NAME* name = GENERAL_NAME_new();
  ASN1_IA5STRING* value = ASN1_IA5STRING_new();
  ASN1_STRING_set(value, "admin\0.example.org", 18);
  GENERAL_NAME_set0_value(name, GEN_DNS, value);
  sk_GENERAL_NAME_push(names, name);
  EXPECT_EQ(X509_add1_ext_i2d(certificate.get(), NID_subject_alt_name, names, 0, 0), 1);
  GENERAL_NAMES_free(names);
  EXPECT_THAT(certificate.Read().dns_names, IsEmpty());
}

TEST(Certificate, WithoutNamesGivesNoUserName) {
  const CertificateFields fields = Certificate().Read();
  for (const auto which : {CertificateIdentity::kNone, CertificateIdentity::kCn,
                           CertificateIdentity::kDn, CertificateIdentity::kSan}) {
    EXPECT_EQ(UserNameFrom(fields, which), std::nullopt);
  }
}

TEST(Certificate, UserNameIsTheSelectedField) {
  CertificateFields fields;
  fields.common_name = "cn";
  fields.subject_dn = "CN=cn";
  fields.email_addresses = {"mail"};
  EXPECT_EQ(UserNameFrom(fields, CertificateIdentity::kNone), std::nullopt);
  EXPECT_EQ(UserNameFrom(fields, CertificateIdentity::kCn), "cn");
  EXPECT_EQ(UserNameFrom(fields, CertificateIdentity::kDn), "CN=cn");
  EXPECT_EQ(UserNameFrom(fields, CertificateIdentity::kSan), "mail");
  fields.uris = {"uri"};
  EXPECT_EQ(UserNameFrom(fields, CertificateIdentity::kSan), "uri");
  fields.dns_names = {"dns", "second"};
  EXPECT_EQ(UserNameFrom(fields, CertificateIdentity::kSan), "dns");
}

// Also of fields that no certificate was read for here: a proxy's, or those of a handshake.
TEST(UserName, OneWithControlCharactersIsNone) {
  for (const std::string& name : {std::string("a\nb"), std::string("a\0b", 3), std::string("\x7f"),
                                  std::string("\xff"), std::string("\x1b[31mroot")}) {
    CertificateFields fields;
    fields.common_name = name;
    fields.subject_dn = name;
    fields.dns_names = {name, "usable"};
    for (const auto which :
         {CertificateIdentity::kCn, CertificateIdentity::kDn, CertificateIdentity::kSan}) {
      EXPECT_EQ(UserNameFrom(fields, which), std::nullopt);
    }
  }
}

}  // namespace
}  // namespace auth
