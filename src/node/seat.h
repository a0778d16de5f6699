// A node's place in a cluster, as the node sees it.
#ifndef NODE_SEAT_H_
#define NODE_SEAT_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/cluster_view.h"
#include "base/node_call.h"
#include "broker/core/lease_end.h"
#include "broker/core/ports.h"
#include "broker/server.h"
#include "storage/command_log_place.h"
#include "storage/core/partition_api.h"
#include "storage/partition_host.h"

namespace node {

// A node alone has none. Used by the node's controlling thread, but what says otherwise.
class Seat {
 public:
  virtual ~Seat() = default;

  // For the server's shards, before they are made.
  virtual broker::Forwarder& forwarder() = 0;
  virtual const broker::LeaseEnd& lease() const = 0;
  // What other nodes take of a log in one piece.
  virtual size_t entry_bytes_max() const = 0;
  // What the partition host is opened with, in place of what a node alone has. The server outlives
  // it.
  virtual storage::CommandLogOpener log_opener() = 0;
  virtual storage::EventSink& sink(broker::Server& server) = 0;

  struct Use {
    broker::Server* server = nullptr;
    storage::PartitionHost* host = nullptr;
    std::function<void()> on_ready;  // Clients are let in. Once, on some thread.
    // The cluster has given this node up, and it can only go on in another life: everything is to
    // be stopped and started anew. Once, on some thread.
    std::function<void()> on_given_up;
    // It can take no further part. Once, on some thread.
    std::function<void(const absl::Status&)> on_stopped;
  };
  // When both are open. Starts them when the cluster has admitted this node. Errors: those of
  // cluster::Membership::Start.
  virtual absl::Status Start(Use use) = 0;
  // Nothing is started any more when it returns. True: the server and the host were.
  virtual bool StopStarting() = 0;
  // When the server has ended, and before the host does: what is led here is handed over.
  virtual void Leave() = 0;
  // Behind the server and the host: what they do at the end may need the other nodes.
  virtual void Stop() = 0;

  // See cluster::Membership. Any thread, while the seat is.
  virtual void LookAt(std::vector<std::string> addresses,
                      std::function<void(absl::Status)> done) = 0;
  virtual void Forget(uint32_t node, std::function<void(absl::Status)> done) = 0;
  // Any thread. In an operator's words, what is wrong with the cluster. Empty: nothing.
  virtual std::string why() const = 0;
  // The same of what it is and need not be, without anything being wrong.
  virtual std::string note() const = 0;
  // Because of what is wrong nobody is served.
  virtual bool refuses_all() const = 0;
  // Any thread, while the seat is.
  virtual base::ClusterView view() const = 0;

  // Calls of the admin API between nodes. Any thread, while the seat is.
  virtual void Call(uint32_t node, base::NodeCall call, absl::Duration within,
                    base::NodeAnswer done) = 0;
  // Who serves those that come, from here on; once.
  virtual void ServeCalls(base::ServeNode serve) = 0;
};

}  // namespace node

#endif  // NODE_SEAT_H_
