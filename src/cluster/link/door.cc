#include "cluster/link/door.h"

#include <arpa/inet.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "mqttd/cluster/v1/link.pb.h"

namespace cluster {

void Door::Know(const Members& members) {
  cluster_id = members.cluster_id();
  nodes.clear();
  last_node = members.last_node();
  for (const auto& [id, node] : members.nodes())
    nodes[id] = {node.uuid, node.incarnation, node.gone_through};
}

std::string WhyNotWelcome(const ::mqttd::cluster::v1::Hello& hello, const Door& door) {
  if (door.cluster_id.empty()) return "this node does not belong to a cluster yet";
  if (hello.cluster_id() != door.cluster_id) {
    return absl::StrCat("this node belongs to cluster ", door.cluster_id, ", and the caller to ",
                        hello.cluster_id().empty() ? "none" : hello.cluster_id());
  }
  if (hello.version_max() < kLinkVersionMin || hello.version_min() > kLinkVersionMax) {
    return absl::StrCat("release ", hello.release(), " speaks versions ", hello.version_min(),
                        " to ", hello.version_max(), " of the links' protocol, and release ",
                        door.release, " ", kLinkVersionMin, " to ", kLinkVersionMax,
                        ": upgrade from one release to the next");
  }
  if (hello.to_node() != door.self.node.value()) {
    return absl::StrCat("this is node ", door.self.node.value(), ", and node ", hello.to_node(),
                        " is meant to be at this address");
  }
  if (hello.node() == door.self.node.value())
    return absl::StrCat("this is node ", hello.node(), " itself, or two nodes have its directory");
  const NodeId caller(static_cast<uint16_t>(hello.node()));
  if (hello.node() <= 0xFFFF && door.Forgot(caller))
    return absl::StrCat("node ", hello.node(), " was forgotten, and is no member any more");
  const auto it = door.nodes.find(caller);
  if (it == door.nodes.end() || hello.node() > 0xFFFF)
    return absl::StrCat("node ", hello.node(), " is not known here as a member of the cluster");
  const Door::Known& known = it->second;
  if (hello.uuid() != known.uuid) {
    return absl::StrCat("node ", hello.node(), " is known here with the data directory ",
                        known.uuid, ", and the caller has ", hello.uuid());
  }
  if (hello.incarnation() <= known.gone_through.value()) {
    return absl::StrCat("incarnation ", hello.incarnation(), " of node ", hello.node(),
                        " has ended: the node has to be admitted anew");
  }
  if (hello.incarnation() < known.incarnation.value()) {
    return absl::StrCat("node ", hello.node(), " has been started again since, as incarnation ",
                        known.incarnation.value());
  }
  return "";
}

Incarnation EndedThrough(const ::mqttd::cluster::v1::Hello& hello, const Door& door) {
  if (hello.cluster_id() != door.cluster_id || hello.node() > 0xFFFF) return Incarnation();
  const NodeId caller(static_cast<uint16_t>(hello.node()));
  // Then it asks to be admitted, and is told why it is not.
  if (door.Forgot(caller)) return Incarnation(hello.incarnation());
  const auto it = door.nodes.find(caller);
  if (it == door.nodes.end() || it->second.uuid != hello.uuid()) return Incarnation();
  const Incarnation through = it->second.gone_through;
  return hello.incarnation() <= through.value() ? through : Incarnation();
}

std::string AddressOfCaller(const std::string& caller, const std::string& address) {
  const size_t port = address.rfind(':');
  const size_t caller_port = caller.rfind(':');
  if (port == std::string::npos || caller_port == std::string::npos) return "";
  const std::string host = address.substr(0, port);
  in_addr four;
  if (absl::StrContains(host, ':') || inet_pton(AF_INET, host.c_str(), &four) == 1) return "";
  const std::string behind = caller.substr(0, caller_port);
  if (absl::StartsWith(behind, "ipv4:"))
    return absl::StrCat(behind.substr(5), address.substr(port));
  if (!absl::StartsWith(behind, "ipv6:")) return "";
  // The brackets are escaped, as in a URL.
  const std::string six = absl::StrReplaceAll(behind.substr(5), {{"%5B", "["}, {"%5D", "]"}});
  constexpr absl::string_view kFourInSix = "[::ffff:";
  if (!absl::StartsWith(six, kFourInSix)) return absl::StrCat(six, address.substr(port));
  return absl::StrCat(six.substr(kFourInSix.size(), six.size() - kFourInSix.size() - 1),
                      address.substr(port));
}

uint32_t LinkVersionWith(const ::mqttd::cluster::v1::Hello& hello) {
  return std::min(hello.version_max(), kLinkVersionMax);
}

}  // namespace cluster
