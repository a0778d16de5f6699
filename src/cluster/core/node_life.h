// One life of a node: which node, and which of its starts.
#ifndef CLUSTER_CORE_NODE_LIFE_H_
#define CLUSTER_CORE_NODE_LIFE_H_

#include <compare>
#include <ostream>
#include <utility>

#include "storage/core/addresses.h"

namespace cluster {

using storage::Incarnation;
using storage::NodeId;

struct NodeLife {
  NodeId node;
  Incarnation incarnation;

  friend auto operator<=>(const NodeLife&, const NodeLife&) = default;
  template <typename H>
  friend H AbslHashValue(H state, const NodeLife& life) {
    return H::combine(std::move(state), life.node, life.incarnation);
  }
  friend std::ostream& operator<<(std::ostream& out, const NodeLife& life) {
    return out << "node " << life.node << ", incarnation " << life.incarnation;
  }
};

}  // namespace cluster

#endif  // CLUSTER_CORE_NODE_LIFE_H_
