#include "admin/api/own_certificates.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <pthread.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "base/log.h"
#include "base/mutex.h"
#include "base/thread_priority.h"
#include "broker/transport/tls_context.h"

namespace admin {
namespace {

constexpr absl::Duration kLookEvery = absl::Minutes(1);
constexpr absl::Duration kWarnEvery = absl::Hours(24);
constexpr absl::Duration kStopPatience = absl::Seconds(1);

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

struct OwnCertificates::State {
  State(const config::AdminOptions& its_admin, const config::ClusterOptions& its_cluster)
      : admin(its_admin), cluster(its_cluster) {}

  const config::AdminOptions admin;
  const config::ClusterOptions cluster;
  base::Mutex mutex;
  base::CondVar has_looked;
  bool stopped ABSL_GUARDED_BY(mutex) = false;
  bool looking ABSL_GUARDED_BY(mutex) = false;
  std::optional<absl::Duration> due ABSL_GUARDED_BY(mutex);
  std::vector<OwnCertificate> all ABSL_GUARDED_BY(mutex);
  std::map<std::string, absl::Time> warned ABSL_GUARDED_BY(mutex);  // By file.
};

OwnCertificates::OwnCertificates(const config::AdminOptions& admin,
                                 const config::ClusterOptions& cluster, absl::Time now)
    : state_(std::make_shared<State>(admin, cluster)) {
  Look(*state_, now);
}

void OwnCertificates::Look(State& state, absl::Time now) {
  std::vector<OwnCertificate> all = ReadOwnCertificates(state.admin, state.cluster);
  base::MutexLock lock(state.mutex);
  state.looking = false;
  state.has_looked.SignalAll();
  if (state.stopped) return;
  for (const OwnCertificate& each : all) {
    const std::string words =
        each.expires_unix_s == 0
            ? "the file cannot be read"
            : broker::CertificateWarning(each.expires_unix_s, absl::ToUnixSeconds(now));
    if (words.empty()) {
      state.warned.erase(each.file);
      continue;
    }
    const auto before = state.warned.find(each.file);
    if (before != state.warned.end() && now < before->second + kWarnEvery) continue;
    state.warned[each.file] = now;
    base::Log(base::LogLevel::kWarning, "certificate",
              {{"used_by", each.used_by}, {"file", each.file}, {"warning", words}});
  }
  state.all = std::move(all);
}

void OwnCertificates::Tick(absl::Duration monotonic, absl::Time now) {
  {
    base::MutexLock lock(state_->mutex);
    if (state_->stopped) return;
    if (!state_->due.has_value()) state_->due = monotonic + kLookEvery;
    if (monotonic < *state_->due) return;
    state_->due = monotonic + kLookEvery;
    if (state_->looking) {
      base::LogLimited(base::LogLevel::kWarning, "certificates cannot be looked at", "certificates",
                       {{"error", "the disk does not answer"}});
      return;
    }
    state_->looking = true;
  }
  std::thread([state = state_, now] {
    pthread_setname_np(pthread_self(), "certificates");
    base::SetThreadPriority(base::ThreadPriority::kSpare);
    Look(*state, now);
  }).detach();
}

void OwnCertificates::Stop() {
  base::MutexLock lock(state_->mutex);
  state_->stopped = true;
  while (state_->looking) {
    if (!state_->has_looked.WaitFor(state_->mutex, kStopPatience)) return;
  }
}

std::vector<OwnCertificate> OwnCertificates::all() const {
  base::MutexLock lock(state_->mutex);
  return state_->all;
}

}  // namespace admin
