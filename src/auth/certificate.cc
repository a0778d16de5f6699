#include "auth/certificate.h"

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <array>
#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/strings/escaping.h"
#include "mqtt/utf8.h"

namespace auth {
namespace {

// A name fit to be a user name: an MQTT string, without control characters, not empty.
bool IsUsable(std::string_view name) {
  for (const char c : name) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) return false;
  }
  return !name.empty() && mqtt::IsValidUtf8(name);
}

std::string CommonName(const X509_NAME* subject) {
  const int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (index < 0) return {};
  const ASN1_STRING* value = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index));
  unsigned char* utf8 = nullptr;
  const int bytes = ASN1_STRING_to_UTF8(&utf8, value);
  if (bytes < 0) return {};
  std::string name(reinterpret_cast<const char*>(utf8), static_cast<size_t>(bytes));
  OPENSSL_free(utf8);
  return IsUsable(name) ? name : std::string();
}

std::string DistinguishedName(const X509_NAME* subject) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> out(BIO_new(BIO_s_mem()), &BIO_free);
  if (out == nullptr || X509_NAME_print_ex(out.get(), subject, 0, XN_FLAG_RFC2253) < 0) return {};
  char* text = nullptr;
  const long bytes = BIO_get_mem_data(out.get(), &text);
  if (bytes <= 0) return {};
  std::string name(text, static_cast<size_t>(bytes));
  return IsUsable(name) ? name : std::string();
}

std::string Fingerprint(const X509* certificate) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int bytes = 0;
  if (X509_digest(certificate, EVP_sha256(), digest.data(), &bytes) != 1) return {};
  return absl::BytesToHexString(std::string(reinterpret_cast<const char*>(digest.data()), bytes));
}

void AppendUsable(const ASN1_IA5STRING* value, std::vector<std::string>& names) {
  std::string name(reinterpret_cast<const char*>(ASN1_STRING_get0_data(value)),
                   static_cast<size_t>(ASN1_STRING_length(value)));
  if (IsUsable(name)) names.push_back(std::move(name));
}

void ReadAlternativeNames(const X509* certificate, CertificateFields& fields) {
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(
          X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      &GENERAL_NAMES_free);
  if (names == nullptr) return;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) AppendUsable(name->d.dNSName, fields.dns_names);
    if (name->type == GEN_URI) AppendUsable(name->d.uniformResourceIdentifier, fields.uris);
    if (name->type == GEN_EMAIL) AppendUsable(name->d.rfc822Name, fields.email_addresses);
  }
}

}  // namespace

CertificateFields ReadCertificate(const X509* certificate) {
  CertificateFields fields;
  const X509_NAME* subject = X509_get_subject_name(certificate);
  fields.common_name = CommonName(subject);
  fields.subject_dn = DistinguishedName(subject);
  fields.sha256_fingerprint = Fingerprint(certificate);
  ReadAlternativeNames(certificate, fields);
  return fields;
}

std::optional<std::string> UserNameFrom(const CertificateFields& fields,
                                        CertificateIdentity which) {
  // Wherever the fields come from: a handshake here, or a proxy that had it.
  const auto if_usable = [](const std::string& name) {
    return IsUsable(name) ? std::optional<std::string>(name) : std::nullopt;
  };
  switch (which) {
    case CertificateIdentity::kNone:
      return std::nullopt;
    case CertificateIdentity::kCn:
      return if_usable(fields.common_name);
    case CertificateIdentity::kDn:
      return if_usable(fields.subject_dn);
    case CertificateIdentity::kSan:
      for (const auto* names : {&fields.dns_names, &fields.uris, &fields.email_addresses}) {
        if (!names->empty()) return if_usable(names->front());
      }
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace auth
