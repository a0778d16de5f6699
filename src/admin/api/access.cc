#include "admin/api/access.h"

#include <openssl/bio.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <array>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "auth/file.h"
#include "base/by_name.h"
#include "base/status_macros.h"

namespace admin {
namespace {

constexpr size_t kTokenBytesMin = 16;
constexpr absl::string_view kHashPrefix = "sha256:";

std::string Sha256(absl::string_view text) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

pb::Role RoleOf(absl::string_view name) {
  for (const pb::Role role : {pb::ROLE_VIEWER, pb::ROLE_OPERATOR, pb::ROLE_ADMIN}) {
    if (base::AbslView(RoleName(role)) == name) return role;
  }
  return pb::ROLE_UNSPECIFIED;
}

struct Certificates {
  X509* leaf = nullptr;
  STACK_OF(X509) * others = sk_X509_new_null();
  ~Certificates() {
    X509_free(leaf);
    sk_X509_pop_free(others, X509_free);
  }
};

void ReadChain(const std::string& pem, Certificates& chain) {
  BIO* const bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  while (X509* const certificate = PEM_read_bio_X509(bio, nullptr, nullptr, nullptr)) {
    if (chain.leaf == nullptr) {
      chain.leaf = certificate;
    } else {
      sk_X509_push(chain.others, certificate);
    }
  }
  BIO_free(bio);
}

std::string CommonName(X509* certificate) {
  std::array<char, 256> text{};
  const int size = X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName,
                                             text.data(), static_cast<int>(text.size()));
  return size <= 0 ? std::string() : std::string(text.data(), static_cast<size_t>(size));
}

absl::StatusOr<std::shared_ptr<X509_STORE>> LoadCa(const std::string& file) {
  std::shared_ptr<X509_STORE> store(X509_STORE_new(), X509_STORE_free);
  if (X509_STORE_load_locations(store.get(), file.c_str(), nullptr) != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("admin.ca_file: cannot read certificates from ", file));
  }
  return store;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const AccessTable>> AccessTable::Load(
    const config::AdminOptions& options) {
  auto table = std::make_shared<AccessTable>();
  if (!options.access_file.empty()) {
    ASSIGN_OR_RETURN(const auth::FileContents file, auth::ReadFile(options.access_file));
    ASSIGN_OR_RETURN(const auto parsed, Parse(file.text, options.access_file));
    *table = *parsed;
  }
  if (!options.ca_file.empty()) {
    ASSIGN_OR_RETURN(table->ca_, LoadCa(options.ca_file));
  }
  return table;
}

absl::StatusOr<std::shared_ptr<const AccessTable>> AccessTable::Parse(std::string_view text,
                                                                      std::string_view file_name) {
  auto table = std::make_shared<AccessTable>();
  table->has_file_ = true;
  std::vector<std::string> mistakes;
  int number = 0;
  for (const absl::string_view line : absl::StrSplit(base::AbslView(text), '\n')) {
    ++number;
    const std::vector<absl::string_view> words =
        absl::StrSplit(line, absl::ByAnyChar(" \t\r"), absl::SkipEmpty());
    if (words.empty() || absl::StartsWith(words[0], "#")) continue;
    const auto mistake = [&](absl::string_view what) {
      mistakes.push_back(absl::StrCat(base::AbslView(file_name), ":", number, ": ", what));
    };
    const bool token = words[0] == "token";
    if ((!token && words[0] != "certificate") || words.size() != (token ? 4 : 3)) {
      mistake("expected \"token NAME ROLE TOKEN\" or \"certificate COMMON-NAME ROLE\"");
      continue;
    }
    const pb::Role role = RoleOf(words[2]);
    if (role == pb::ROLE_UNSPECIFIED) {
      mistake(absl::StrCat("a role is viewer, operator or admin, not \"", words[2], "\""));
    } else if (!token) {
      if (!table->certificates_.emplace(words[1], role).second) mistake("a common name twice");
    } else if (!absl::StartsWith(words[3], kHashPrefix) && words[3].size() < kTokenBytesMin) {
      mistake("a token has at least 16 characters: openssl rand -hex 32");
    } else {
      const absl::string_view secret = words[3];
      std::string hash = Sha256(secret);
      if (absl::StartsWith(secret, kHashPrefix)) {
        hash = absl::HexStringToBytes(secret.substr(kHashPrefix.size()));
        if (secret.size() != kHashPrefix.size() + 64 ||
            absl::BytesToHexString(hash) !=
                absl::AsciiStrToLower(secret.substr(kHashPrefix.size()))) {
          mistake("sha256: is followed by 64 hexadecimal digits");
          continue;
        }
      }
      if (!table->tokens_.emplace(std::move(hash), Known{std::string(words[1]), role}).second)
        mistake("a token twice");
    }
  }
  if (!mistakes.empty()) return absl::InvalidArgumentError(absl::StrJoin(mistakes, "\n"));
  return table;
}

absl::StatusOr<Caller> AccessTable::Identify(const Evidence& evidence, absl::Time now) const {
  if (evidence.token.has_value() && has_file_) return IdentifyToken(evidence);
  if (!evidence.certificate_chain_pem.empty() && ca_ != nullptr)
    return IdentifyCertificate(evidence, now);
  if (has_file_ || ca_ != nullptr) {
    return absl::UnauthenticatedError(ca_ == nullptr
                                          ? "a token is needed (authorization: Bearer TOKEN)"
                                          : "a token or a client certificate is needed");
  }
  if (!evidence.loopback) {
    return absl::UnauthenticatedError(
        "without admin.access_file or admin.ca_file only this machine's own processes may call");
  }
  return Caller{.name = "local", .address = evidence.address, .role = pb::ROLE_ADMIN};
}

absl::StatusOr<Caller> AccessTable::IdentifyToken(const Evidence& evidence) const {
  const auto found = tokens_.find(Sha256(*evidence.token));
  if (found == tokens_.end()) return absl::UnauthenticatedError("nobody knows this token");
  return Caller{
      .name = found->second.name, .address = evidence.address, .role = found->second.role};
}

absl::StatusOr<Caller> AccessTable::IdentifyCertificate(const Evidence& evidence,
                                                        absl::Time now) const {
  Certificates chain;
  ReadChain(evidence.certificate_chain_pem, chain);
  if (chain.leaf == nullptr) return absl::UnauthenticatedError("the certificate cannot be read");
  const std::string name = CommonName(chain.leaf);
  X509_STORE_CTX* const context = X509_STORE_CTX_new();
  X509_STORE_CTX_init(context, ca_.get(), chain.leaf, chain.others);
  X509_STORE_CTX_set_time(context, 0, absl::ToTimeT(now));
  X509_STORE_CTX_set_purpose(context, X509_PURPOSE_SSL_CLIENT);
  const bool valid = X509_verify_cert(context) == 1;
  const int error = X509_STORE_CTX_get_error(context);
  X509_STORE_CTX_free(context);
  if (!valid) {
    return absl::UnauthenticatedError(absl::StrCat(
        "the certificate of ", name, " is not valid: ", X509_verify_cert_error_string(error)));
  }
  if (!has_file_) {
    return Caller{.name = name, .address = evidence.address, .role = pb::ROLE_ADMIN};
  }
  const auto found = certificates_.find(name);
  if (found == certificates_.end()) {
    return absl::UnauthenticatedError(
        absl::StrCat("admin.access_file has no line \"certificate ", name, " ROLE\""));
  }
  return Caller{.name = name, .address = evidence.address, .role = found->second};
}

}  // namespace admin
