// The certificates of the admin API and of the links between nodes: when they run out.
#ifndef ADMIN_API_OWN_CERTIFICATES_H_
#define ADMIN_API_OWN_CERTIFICATES_H_

#include <memory>
#include <vector>

#include "absl/time/time.h"
#include "admin/own_certificate.h"
#include "config/config.h"

namespace admin {

// Reads the files that are named, an authority's too: when it has run out, nothing is left that it
// has signed. Of a file with several the first counts, of authorities the one that lasts longest.
std::vector<OwnCertificate> ReadOwnCertificates(const config::AdminOptions& admin,
                                                const config::ClusterOptions& cluster);

// What they were when they were last looked at. Any thread. A file may be on a mount that hangs:
// after the first time they are looked at on a thread that nobody waits for.
class OwnCertificates {
 public:
  // Looks at them, which waits for the disk, as a start does that reads them for TLS.
  OwnCertificates(const config::AdminOptions& admin, const config::ClusterOptions& cluster,
                  absl::Time now);
  ~OwnCertificates() { Stop(); }
  OwnCertificates(const OwnCertificates&) = delete;
  OwnCertificates& operator=(const OwnCertificates&) = delete;

  // Looks again if a minute is over. One that runs out soon is a warning in the log, once a day.
  void Tick(absl::Duration monotonic, absl::Time now);
  // Nothing is said any more. A look that is under way gets a moment to end.
  void Stop();
  std::vector<OwnCertificate> all() const;

 private:
  struct State;
  static void Look(State& state, absl::Time now);
  const std::shared_ptr<State> state_;  // The thread's too.
};

}  // namespace admin

#endif  // ADMIN_API_OWN_CERTIFICATES_H_
