// Which nodes have the replicas of which groups, and who should lead them.
#ifndef CLUSTER_CORE_PLACEMENT_H_
#define CLUSTER_CORE_PLACEMENT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "storage/core/addresses.h"

namespace cluster {

// A node that may have replicas.
struct PlacementNode {
  storage::NodeId node;
  std::string zone;  // Nodes of one zone fail together. Empty: a zone of its own.
};

// Of one group.
struct GroupNodes {
  std::vector<storage::NodeId> replicas;  // Ascending.
  storage::NodeId leader;                 // 0: nobody in particular.
  friend bool operator==(const GroupNodes&, const GroupNodes&) = default;
};

struct PlacementMove {
  size_t group = 0;
  storage::NodeId from;  // 0: the group has fewer replicas than it is to have.
  storage::NodeId to;    // 0: it has more.
  friend bool operator==(const PlacementMove&, const PlacementMove&) = default;
};

// What `current` should become on these nodes: `replicas` for each group, or as many as there are
// nodes, each on another node and, as far as there are zones, in another zone. No node has more
// than one replica more than another (unless zones are of different sizes), none leads more than
// one group more than another. What is not in the way of that stays where it is. Replicas on nodes
// that are not among `nodes` leave them. The same arguments give the same result, whatever the
// order of `nodes`.
//
// Cost: groups² × nodes² at worst, for which both are small: 64 of each take milliseconds.
std::vector<GroupNodes> PlaceGroups(std::vector<PlacementNode> nodes, uint32_t replicas,
                                    absl::Span<const GroupNodes> current);

// One replica each; those of one group follow each other.
std::vector<PlacementMove> MovesBetween(absl::Span<const GroupNodes> from,
                                        absl::Span<const GroupNodes> to);

}  // namespace cluster

#endif  // CLUSTER_CORE_PLACEMENT_H_
