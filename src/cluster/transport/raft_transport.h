// Messages of Raft groups over the links of a node.
#ifndef CLUSTER_TRANSPORT_RAFT_TRANSPORT_H_
#define CLUSTER_TRANSPORT_RAFT_TRANSPORT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "cluster/link/links.h"
#include "cluster/link/metrics.h"
#include "cluster/raft/raft_loop.h"
#include "cluster/transport/control_codec.h"

namespace cluster {

// Which stream a message goes by: votes and heartbeats never wait behind entries.
LinkClass ClassOfRaftMessage(uint8_t kind);

// Any thread may call it; the raft loop's thread and the links' do.
class RaftTransport {
 public:
  using Place = std::pair<GroupId, ReplicaId>;
  struct Parts {
    // To the loop, which says when it has stepped them: until then they count against what the
    // sender may send. Called, as the others, on threads of the links or in Send; it does not
    // block.
    std::function<void(std::vector<RaftLoop::Message>, std::function<void()> taken)> receive;
    std::function<void(Place)> unreachable;
    // What else came over Control, in its order.
    std::function<void(NodeLife from, const ControlItem& item)> other;
  };

  RaftTransport(Links& links, Parts parts) : links_(links), parts_(std::move(parts)) {}

  // On which node a replica is. Messages to others are lost.
  void SetReplicas(std::map<Place, NodeId> replicas);

  // What the loop has to send. What cannot be sent now is lost, and the loop hears that the replica
  // is not reachable: Raft sends again what matters.
  void Send(const std::vector<RaftLoop::Message>& messages);
  // What LinkHandler was told, of Control and Log.
  void OnFrame(ReceivedFrame frame);
  void OnDown(NodeId peer);

  struct Metrics {
    LinkCounter sent;
    LinkCounter lost;     // No link, or it was full.
    LinkCounter damaged;  // Items that could not be read.
  };
  const Metrics& metrics() const { return metrics_; }

 private:
  std::shared_ptr<const std::map<Place, NodeId>> replicas() const;

  Links& links_;
  const Parts parts_;
  Metrics metrics_;
  mutable base::Mutex mutex_;
  std::shared_ptr<const std::map<Place, NodeId>> replicas_ ABSL_GUARDED_BY(mutex_) =
      std::make_shared<const std::map<Place, NodeId>>();
};

}  // namespace cluster

#endif  // CLUSTER_TRANSPORT_RAFT_TRANSPORT_H_
