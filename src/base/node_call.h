// A call of the admin API that one node passes on to another: what the two ends of the cluster's
// links carry without knowing what it means.
#ifndef BASE_NODE_CALL_H_
#define BASE_NODE_CALL_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace base {

// A client's connection, by the numbers that its node gave it. See storage::ConnectionRef.
struct NodeConnection {
  uint32_t node = 0;
  uint32_t incarnation = 0;
  uint32_t shard = 0;
  uint64_t connection = 0;
};

struct NodeCall {
  std::string method;   // "/mqttd.admin.v1.Clients/Kick".
  std::string request;  // Serialized.
  // Who calls, as the node that was asked has established it.
  std::string caller;
  std::string address;
  uint32_t role = 0;
  // The connection that is meant, if the caller knows it: the node called need not look for it.
  std::optional<NodeConnection> connection;
  // The node called is to say for which partitions its answer stands.
  bool names_led = false;
};

// What the node called says.
struct NodeReply {
  absl::Status status;
  std::string response;  // Serialized. Empty unless `status` is ok.
  // It cannot say, but this connection's node can.
  std::optional<NodeConnection> elsewhere;
  // Likewise, but whichever node leads the partition can.
  bool not_led = false;
  // A bit for each partition that it led all the while, if it was asked for them.
  std::optional<uint64_t> led;
};

// Called once, on some thread. An error: the node did not answer, in words.
using NodeAnswer = std::function<void(absl::StatusOr<NodeReply>)>;
// `node`: its number. Any thread.
using CallNode =
    std::function<void(uint32_t node, NodeCall call, absl::Duration within, NodeAnswer done)>;
// Serves a call that came from `node`.
using ServeNode =
    std::function<void(uint32_t node, NodeCall call, std::function<void(NodeReply)> reply)>;

}  // namespace base

#endif  // BASE_NODE_CALL_H_
