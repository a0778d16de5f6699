// Who may speak to this node: decided by what a caller says of itself first.
#ifndef CLUSTER_LINK_DOOR_H_
#define CLUSTER_LINK_DOOR_H_

#include <cstdint>
#include <map>
#include <string>

#include "cluster/core/members.h"
#include "cluster/core/node_life.h"

namespace mqttd::cluster::v1 {
class Hello;
}  // namespace mqttd::cluster::v1

namespace cluster {

// Versions of the protocol of link.proto that this release speaks.
inline constexpr uint32_t kLinkVersionMin = 1;
inline constexpr uint32_t kLinkVersionMax = 1;

// Whom this node knows, and who it is. A value: replaced as a whole when members change.
struct Door {
  struct Known {
    std::string uuid;
    Incarnation incarnation;
    Incarnation gone_through;
  };
  std::string cluster_id;  // Empty: this node belongs to none yet, and lets nobody in.
  NodeLife self;
  std::string uuid;
  std::string release;
  std::map<NodeId, Known> nodes;
  NodeId last_node;  // Whose number is not greater, and who is not among `nodes`, was forgotten.

  bool Forgot(NodeId node) const {
    return node != NodeId() && node <= last_node && !nodes.contains(node);
  }
  void Know(const Members& members);
};

// In words for an operator, who reads them in the log of the caller; empty: it is welcome. A caller
// whose incarnation is not known here yet is: this node may be late to hear of it.
std::string WhyNotWelcome(const ::mqttd::cluster::v1::Hello& hello, const Door& door);

// Of a caller that WhyNotWelcome refuses for it: through which its lives have ended, by what this
// node knows, which is never taken back. Else 0.
Incarnation EndedThrough(const ::mqttd::cluster::v1::Hello& hello, const Door& door);

// Where a node listens that called from `caller` (as gRPC says it) and that says it is reached at
// `address`, HOST:PORT: if HOST is a name, the caller's address and that port. Else empty.
std::string AddressOfCaller(const std::string& caller, const std::string& address);

// What both speak.
uint32_t LinkVersionWith(const ::mqttd::cluster::v1::Hello& hello);

}  // namespace cluster

#endif  // CLUSTER_LINK_DOOR_H_
