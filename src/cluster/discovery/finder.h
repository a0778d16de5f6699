// Finds the cluster of this node: asks seeds, resolves names, founds or joins, and keeps on the
// disk what came of it.
#ifndef CLUSTER_DISCOVERY_FINDER_H_
#define CLUSTER_DISCOVERY_FINDER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "cluster/core/bootstrap.h"
#include "cluster/discovery/resolver.h"
#include "cluster/link/links.h"

namespace cluster {

struct FinderOptions {
  std::string directory;       // Where DIR/cluster is.
  BootstrapOptions bootstrap;  // `seeds` are the configured ones. `start` 0: one is chosen.
  std::string dns;             // As Resolver::Resolve has it. Empty: none.
  std::vector<std::string> client_addresses;
  uint32_t shards = 0;
  absl::Duration resolved_every = absl::Seconds(10);
  absl::Duration answered_within = absl::Seconds(2);
};

// Runs Bootstrap on a thread of its own, over Links. `found` is called there once: when the node
// belongs to a cluster, and with the incarnation of this life. Then it goes on answering others,
// for as long as it is there.
class Finder {
 public:
  using Found = std::function<void(const ::mqttd::cluster::v1::NodeIdentity&)>;

  // `links` and `clock` outlive it. Errors: what DIR/cluster is read with.
  static absl::StatusOr<std::unique_ptr<Finder>> Start(FinderOptions options, Links& links,
                                                       std::shared_ptr<Resolver> resolver,
                                                       const base::Clock& clock, Found found);
  virtual ~Finder() = default;  // Stops.

  // What LinkHandler was told. Any thread.
  virtual void OnMeet(const ::mqttd::cluster::v1::BootstrapView& view,
                      std::function<void(const ::mqttd::cluster::v1::BootstrapView&)> answer) = 0;

  // See Bootstrap::LookAt; `done` is called once, on the finder's thread, when it is on the disk.
  // Never, if it stops before. Any thread.
  virtual void LookAt(std::vector<std::string> addresses,
                      std::function<void(absl::Status)> done) = 0;
  // In words: what it waits for, or what is wrong. Empty: all is well. Any thread.
  virtual std::string why() const = 0;
  // Nothing is told any more when it returns. A name that is being resolved is not waited for.
  virtual void Stop() = 0;
};

}  // namespace cluster

#endif  // CLUSTER_DISCOVERY_FINDER_H_
