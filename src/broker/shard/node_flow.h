// What a shard has to do with the other nodes of its cluster: their routes, their messages, and who
// waits for them.
#ifndef BROKER_SHARD_NODE_FLOW_H_
#define BROKER_SHARD_NODE_FLOW_H_

#include <array>
#include <cstdint>
#include <vector>

#include "broker/core/forward_credit.h"
#include "broker/core/retained_gate.h"
#include "broker/shard/publish_flow.h"
#include "broker/shard/shard_context.h"

namespace broker {

// A message reaches another node once, however many sessions there want it. What that node wants is
// in the router; it is told by NodeRoutes, and confirmed, so that a SUBACK there says that no
// message is missed from then on. Part of one shard of a node in a cluster, used on its thread.
class NodeFlow {
 public:
  NodeFlow(ShardContext& context, PublishFlow& publishing);

  void OnRoutes(const NodeRoutes& routes);
  void OnPublish(NodePublish publish);
  void OnCaughtUp(uint32_t node);

  // Answers of partitions have come: what waited for retained messages may be confirmed.
  void ConfirmRoutes();
  // At the end of a round: nodes may send more, unless a shard here is behind with what they sent.
  void TellSenders();

 private:
  ShardContext& context_;
  PublishFlow& publishing_;
  RetainedGate gate_;
  std::array<ForwardCredit::Amount, kNodesMax> taken_{};  // Not told yet.
  NodeMask taken_from_ = 0;                               // Who has any.
  // Connections that stand still until that node has caught up.
  std::array<std::vector<uint64_t>, kNodesMax> paused_;
};

}  // namespace broker
#endif  // BROKER_SHARD_NODE_FLOW_H_
