// The certificates of the admin API and of the links between nodes: when they run out.
#ifndef ADMIN_API_OWN_CERTIFICATES_H_
#define ADMIN_API_OWN_CERTIFICATES_H_

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "admin/own_certificate.h"
#include "base/mutex.h"
#include "config/config.h"

namespace admin {

// Reads the files that are named, an authority's too: when it has run out, nothing is left that it
// has signed. Of a file with several the first counts, of authorities the one that lasts longest.
std::vector<OwnCertificate> ReadOwnCertificates(const config::AdminOptions& admin,
                                                const config::ClusterOptions& cluster);

// What they were when they were last looked at. Any thread.
class OwnCertificates {
 public:
  OwnCertificates(config::AdminOptions admin, config::ClusterOptions cluster)
      : admin_(std::move(admin)), cluster_(std::move(cluster)) {}

  // Whether to look again: once a minute.
  bool IsDue(absl::Duration now) ABSL_LOCKS_EXCLUDED(mutex_);
  // Waits for the disk. One that runs out soon is a warning in the log, once a day.
  void Look(absl::Time now) ABSL_LOCKS_EXCLUDED(mutex_);
  std::vector<OwnCertificate> all() const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  const config::AdminOptions admin_;
  const config::ClusterOptions cluster_;
  mutable base::Mutex mutex_;
  std::optional<absl::Duration> looked_ ABSL_GUARDED_BY(mutex_);
  std::vector<OwnCertificate> all_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, absl::Time> warned_ ABSL_GUARDED_BY(mutex_);  // By file.
};

}  // namespace admin

#endif  // ADMIN_API_OWN_CERTIFICATES_H_
