#include "admin/api/own_certificates.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <ctime>

#include "base/log.h"
#include "broker/transport/tls_context.h"

namespace admin {
namespace {

constexpr absl::Duration kLookEvery = absl::Minutes(1);
constexpr absl::Duration kWarnEvery = absl::Hours(24);

enum class Which { kFirst, kLasting };

// 0: it cannot be read.
int64_t ExpiryOfFile(const std::string& path, Which which) {
  std::FILE* const file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return 0;
  int64_t expires = 0;
  while (X509* const certificate = PEM_read_X509(file, nullptr, nullptr, nullptr)) {
    std::tm end = {};
    if (ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1)
      expires = std::max(expires, static_cast<int64_t>(timegm(&end)));
    X509_free(certificate);
    if (which == Which::kFirst) break;
  }
  ERR_clear_error();  // That there is no other.
  std::fclose(file);
  return expires;
}

}  // namespace

std::vector<OwnCertificate> ReadOwnCertificates(const config::AdminOptions& admin,
                                                const config::ClusterOptions& cluster) {
  std::vector<OwnCertificate> all;
  const auto add = [&all](const char* used_by, const std::string& file, Which which) {
    if (!file.empty()) all.push_back({used_by, file, ExpiryOfFile(file, which)});
  };
  add("admin", admin.cert_file, Which::kFirst);
  if (cluster.on()) {
    add("cluster", cluster.cert_file, Which::kFirst);
    add("cluster", cluster.ca_file, Which::kLasting);
  }
  return all;
}

bool OwnCertificates::IsDue(absl::Duration now) {
  base::MutexLock lock(mutex_);
  if (looked_.has_value() && now < *looked_ + kLookEvery) return false;
  looked_ = now;
  return true;
}

void OwnCertificates::Look(absl::Time now) {
  std::vector<OwnCertificate> all = ReadOwnCertificates(admin_, cluster_);
  base::MutexLock lock(mutex_);
  for (const OwnCertificate& each : all) {
    const std::string words =
        each.expires_unix_s == 0
            ? "the file cannot be read"
            : broker::CertificateWarning(each.expires_unix_s, absl::ToUnixSeconds(now));
    if (words.empty()) {
      warned_.erase(each.file);
      continue;
    }
    const auto before = warned_.find(each.file);
    if (before != warned_.end() && now < before->second + kWarnEvery) continue;
    warned_[each.file] = now;
    base::Log(base::LogLevel::kWarning, "certificate",
              {{"used_by", each.used_by}, {"file", each.file}, {"warning", words}});
  }
  all_ = std::move(all);
}

std::vector<OwnCertificate> OwnCertificates::all() const {
  base::MutexLock lock(mutex_);
  return all_;
}

}  // namespace admin
