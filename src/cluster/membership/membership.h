// A running node as a member of its cluster.
#ifndef CLUSTER_MEMBERSHIP_MEMBERSHIP_H_
#define CLUSTER_MEMBERSHIP_MEMBERSHIP_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/clock.h"
#include "base/timeline.h"
#include "cluster/core/bootstrap.h"
#include "cluster/core/leases.h"
#include "cluster/core/members.h"
#include "cluster/link/links.h"
#include "storage/command_log_place.h"

namespace cluster {

struct MembershipOptions {
  std::string directory;  // The data directory: who the node is, is kept there.
  LinkOptions links;
  // Where other nodes reach this one: HOST:PORT. Empty: where it listens.
  std::string advertise;
  std::string dns;  // As Resolver::Resolve has it. Empty: none.
  // `uuid`, `start` and `address` are filled in.
  BootstrapOptions bootstrap;
  std::vector<std::string> client_addresses;
  LeaseOptions leases;
};

// Told on threads of the membership and of the links, which must not be kept waiting. Never at the
// same time, but for OnFrame, OnUp, OnDown and OnRoom.
class MembershipHandler {
 public:
  virtual ~MembershipHandler() = default;

  // This node lives in the cluster, as that life; and what others were known to live just then.
  // Comes first, once.
  virtual void OnAdmitted(NodeLife self, const Members& members) = 0;
  // That life has ended, for it could not be reached: nothing is owned any more, and nothing may be
  // said in its name. Another one needs another Membership, and nothing that knows this life.
  virtual void OnLifeOver() = 0;
  // Who lives has changed. After OnAdmitted.
  virtual void OnMembers(const Members& members) = 0;
  // It holds a lease, or does not: then durable sessions are not served. After OnAdmitted.
  virtual void OnLease(bool holds) = 0;
  // That lease lasts until then, by the time since the machine was started: for who has to find out
  // by himself, since he may have stood still. At each renewal, the first time before OnAdmitted,
  // on a thread of its own. The least there is: it has none.
  virtual void OnLeaseUntil(absl::Duration since_boot) = 0;
  // It can take no further part.
  virtual void OnStopped(const absl::Status& why) = 0;

  // Of LinkClass::kTraffic. See LinkHandler.
  virtual void OnFrame(ReceivedFrame frame) = 0;
  virtual void OnUp(NodeLife peer) = 0;
  virtual void OnDown(NodeId peer) = 0;
  virtual void OnRoom(NodeId peer) = 0;
  // See LinkHandler. Until it is served the caller hears that nobody answers.
  virtual void OnAdmin(const ::mqttd::cluster::v1::AdminRequest& /*request*/,
                       std::function<void(const ::mqttd::cluster::v1::AdminResponse&)> /*answer*/) {
  }
};

// The links, the log with the Raft groups of the partitions and of the meta group, the search for
// the cluster, and the lease: who finds whom, who is admitted, which replicas run here. A node that
// has joined a cluster that was there has none: it hears who belongs to it from nodes that have.
//
//   Create         listens for other nodes
//   log_opener     opens the partitions' log, for storage::PartitionHost::Open
//   Start          looks for the cluster, or goes on in it
class Membership {
 public:
  // `handler` and `clock` outlive it. Errors: those of Links::Start; kFailedPrecondition and
  // kDataLoss: what the directory says.
  static absl::StatusOr<std::unique_ptr<Membership>> Create(MembershipOptions options,
                                                            MembershipHandler& handler,
                                                            const base::Clock& clock);
  virtual ~Membership() = default;  // Stops.

  virtual storage::CommandLogOpener log_opener() = 0;
  // `uuid`: of the data directory; `shards`: how many threads serve clients here; `timeline`: the
  // host's, which is put to the cluster's time before OnAdmitted, and outlives it. Errors:
  // kFailedPrecondition, a node that was alone has used the directory; those of files.
  virtual absl::Status Start(const std::string& uuid, uint32_t shards,
                             base::Timeline& timeline) = 0;

  virtual Links& links() = 0;
  // Any thread. In words: what it waits for. Empty: nothing.
  virtual std::string why() const = 0;
  virtual Members members() const = 0;
  virtual NodeLife self() const = 0;  // 0 until it is admitted.
  virtual bool holds_lease() const = 0;
  // How often another node's time was more than a minute from this one's, and was not followed.
  virtual uint64_t times_apart() const = 0;
  // By partition: who leads it, as far as a replica here knows; 0: it is not known. Empty: there is
  // no cluster yet.
  virtual std::vector<NodeId> leaders() const = 0;

  // This node is to join the cluster at these addresses. `done` is called once, on a thread of the
  // cluster, when it has written that down, with an error in words: see Bootstrap::LookAt. That it
  // has joined, OnAdmitted says; why not yet, `why`. Any thread.
  virtual void LookAt(std::vector<std::string> addresses,
                      std::function<void(absl::Status)> done) = 0;
  // That node is to be a member no more: it died, or was taken away, and never comes back. Asks
  // whoever decides; `done` is called once, on a thread of the cluster, with an error in words:
  // kNotFound, there is no such node; kFailedPrecondition, it lives, or has replicas; kUnavailable,
  // nobody decides just now; kCancelled, this node stops. Any thread.
  virtual void Forget(NodeId node, std::function<void(absl::Status)> done) = 0;

  // Before Stop, when no client is served any more: what is led here is handed over, and the others
  // hear that this life is over, so that nobody waits until they find out. Takes up to `within`;
  // without most nodes nothing of it can be done. On some thread, once.
  virtual void Leave(absl::Duration within) = 0;
  // Nothing is told any more when it returns. Before the partition host stops, and with it the log:
  // the other nodes take over at once what was led here.
  virtual void Stop() = 0;
};

// For a node that is to be alone. kFailedPrecondition: the directory belongs to a member.
absl::Status MayBeAlone(const std::string& directory);

}  // namespace cluster

#endif  // CLUSTER_MEMBERSHIP_MEMBERSHIP_H_
