#include "check_files.h"

#include <algorithm>
#include <cstdint>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "admin/api/access.h"
#include "admin/api/own_certificates.h"
#include "auth/authenticator.h"
#include "auth/file.h"
#include "base/clock.h"
#include "base/log_file.h"
#include "broker/transport/tls_context.h"
#include "node/clustered/cluster_seat.h"

namespace mqttd {
namespace {

void AddOnce(std::vector<std::string>& lines, std::string line) {
  if (std::find(lines.begin(), lines.end(), line) == lines.end()) lines.push_back(std::move(line));
}

// Of the admin API.
void CheckAdmin(const config::AdminOptions& admin, std::vector<std::string>& errors) {
  if (const auto access = ::admin::AccessTable::Load(admin); !access.ok()) {
    for (const absl::string_view line : absl::StrSplit(access.status().message(), '\n'))
      errors.emplace_back(line);
  }
  for (const std::string& path : {admin.cert_file, admin.key_file}) {
    if (path.empty()) continue;
    if (const auto file = auth::ReadFile(path); !file.ok())
      errors.emplace_back(file.status().message());
  }
}

void WarnOfEnd(const std::string& cert_file, int64_t expires_unix_s,
               std::vector<std::string>& warnings) {
  const std::string words =
      broker::CertificateWarning(expires_unix_s, absl::ToUnixSeconds(base::RealClock::Get().Now()));
  if (!words.empty()) AddOnce(warnings, absl::StrCat(cert_file, ": ", words));
}

// Of links to other nodes.
void CheckCluster(const config::ClusterOptions& cluster, std::vector<std::string>& errors) {
  if (const absl::Status status = node::CheckSeat(cluster); !status.ok()) {
    AddOnce(errors, std::string(status.message()));
    return;
  }
  if (!cluster.on() || cluster.cert_file.empty()) return;
  const auto tls = broker::TlsContext::Create(
      {.cert_file = cluster.cert_file, .key_file = cluster.key_file, .ca_file = cluster.ca_file});
  if (!tls.ok()) AddOnce(errors, std::string(tls.status().message()));
}

// Beside those of listeners.
void CheckOwnCertificates(const config::Config& config, std::vector<std::string>& errors,
                          std::vector<std::string>& warnings) {
  for (const ::admin::OwnCertificate& own :
       ::admin::ReadOwnCertificates(config.admin, config.cluster)) {
    if (own.expires_unix_s == 0) {
      if (auth::ReadFile(own.file).ok())
        AddOnce(errors, absl::StrCat(own.used_by, ": no certificate in ", own.file));
    } else {
      WarnOfEnd(own.file, own.expires_unix_s, warnings);
    }
  }
}

}  // namespace

std::vector<std::string> CheckFiles(const config::Config& config,
                                    std::vector<std::string>& warnings) {
  std::vector<std::string> errors;  // Listeners often share a file: each is named once.
  if (!config.log.file.empty()) {
    if (const absl::Status status = base::CheckLogFile(config.log.file); !status.ok())
      errors.emplace_back(status.message());
  }
  const auto pool = std::make_shared<auth::HashPool>(auth::HashPool::Limits{});
  for (const broker::ListenerSettings& listener : config.broker.listeners) {
    if (listener.listener.url.tls()) {
      const auto tls = broker::TlsContext::Create(listener.listener.tls);
      if (!tls.ok()) {
        AddOnce(errors, std::string(tls.status().message()));
      } else {
        WarnOfEnd(listener.listener.tls.cert_file, (*tls)->expires_unix_s(), warnings);
      }
    }
    const auto authenticator = auth::Authenticator::Create(listener.auth, pool);
    if (!authenticator.ok()) {
      AddOnce(errors, std::string(authenticator.status().message()));
      continue;
    }
    for (std::string& warning : (*authenticator)->warnings()) AddOnce(warnings, std::move(warning));
  }
  CheckAdmin(config.admin, errors);
  CheckCluster(config.cluster, errors);
  CheckOwnCertificates(config, errors, warnings);
  return errors;
}

}  // namespace mqttd
