// The meta group of a running node: MetaNode with a thread, a log, and links to the others.
#ifndef CLUSTER_TRANSPORT_META_GROUP_H_
#define CLUSTER_TRANSPORT_META_GROUP_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/timeline.h"
#include "cluster/core/meta_node.h"
#include "cluster/link/links.h"
#include "cluster/raft/command_log.h"
#include "cluster/transport/control_codec.h"

namespace cluster {

struct MetaGroupOptions {
  GroupId group = 0;  // Its number in the log.
  LeaseOptions leases;
  NodeId node;
  ::mqttd::cluster::v1::AdmitNode self;  // As MetaNode has it.
  Members members;                       // As of `applied`. Of no cluster: they are not known yet.
  uint64_t applied = 0;
  std::string cluster_id;
  // Without a replica of the group here: who else is asked to admit this node, for the members may
  // be elsewhere by now, or not be known.
  std::vector<std::string> ask_at;
};

// Decides who may speak to this node and to whom it connects (Links::SetDoor, SetPeers), is
// admitted, keeps the lease, and admits and grants where it leads. Without a replica of the group
// it hears the state from those that have one: with its admission, whenever it changes, and twice a
// second if it has missed something.
class MetaGroup {
 public:
  // All are called on its thread. Functions of the log do not block.
  struct Parts {
    Links* links = nullptr;  // Outlives it.
    const base::Clock* clock = nullptr;
    // Of messages and sessions here; outlives it. Put to the cluster's before there is a lease.
    base::Timeline* timeline = nullptr;
    // Counts how often another node's time was too far from it to be followed. May be null;
    // outlives it.
    std::atomic<uint64_t>* times_apart = nullptr;
    // The log of the group. Empty, both: there is no replica of it here.
    std::function<void(Proposal)> submit;
    std::function<void(uint64_t ticket)> read_barrier;
    // On the disk, synced, when it returns OK; tried again until it does. kCancelled: it is begun
    // nowhere here, and nobody is told of it.
    std::function<absl::Status(Incarnation)> begin_life;
    // Until when there is a lease, whenever that changes; as Lease::until. May be null.
    std::function<void(absl::Duration until)> on_lease;
    // The state as of an entry, which is to be kept before the log is cut there.
    std::function<void(const Members&, uint64_t applied)> on_members;
    std::function<void(const std::vector<NodeLife>&)> on_gone;
    // The cluster does not admit this node, in words; it goes on asking. Empty: it has.
    std::function<void(const std::string&)> on_refused;
    // An entry that this release does not understand: the node can take no further part.
    std::function<void(const absl::Status&)> on_stopped;
  };

  static std::unique_ptr<MetaGroup> Start(MetaGroupOptions options, Parts parts);
  virtual ~MetaGroup() = default;  // Stops.

  // ---- Any thread.
  // Of this group.
  virtual void OnLogEvent(LogEvent event) = 0;
  virtual void OnControl(NodeLife from, const ControlItem& item) = 0;
  // As LinkHandler is told.
  virtual void OnLifeOver(Incarnation through) = 0;
  virtual void OnJoin(const ::mqttd::cluster::v1::JoinRequest& request,
                      std::function<void(const ::mqttd::cluster::v1::JoinResponse&)> answer) = 0;
  // See Membership::Forget.
  virtual void Forget(NodeId node, std::function<void(absl::Status)> done) = 0;
  // Until then this node owns what that life of it is said to own: by the time since the machine
  // was started, which goes on while that sleeps.
  struct Lease {
    NodeLife life;
    absl::Duration until;
  };
  virtual Lease lease() const = 0;
  // This node stops, and has closed all that it had. From here on it owns nothing.
  virtual void EndLife() = 0;
  // The cluster knows that.
  virtual bool has_ended() const = 0;
  virtual void Stop() = 0;
};

}  // namespace cluster

#endif  // CLUSTER_TRANSPORT_META_GROUP_H_
