#include "check_files.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "admin/api/access.h"
#include "auth/authenticator.h"
#include "auth/file.h"
#include "base/clock.h"
#include "base/log_file.h"
#include "broker/transport/tls_context.h"

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
      } else if (const std::string words = broker::CertificateWarning(
                     (*tls)->expires_unix_s(), absl::ToUnixSeconds(base::RealClock::Get().Now()));
                 !words.empty()) {
        AddOnce(warnings, absl::StrCat(listener.listener.tls.cert_file, ": ", words));
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
  return errors;
}

}  // namespace mqttd
