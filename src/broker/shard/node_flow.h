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
  // `self`, `life`: known when the shard starts.
  NodeFlow(ShardContext& context, PublishFlow& publishing, const storage::NodeId& self,
           const storage::Incarnation& life);

  void OnRoutes(const NodeRoutes& routes);
  void OnPublish(NodePublish publish);
  void OnCaughtUp(uint32_t node);
  void OnHas(uint32_t node, uint64_t receipt);

  // Answers of partitions have come: what waited for retained messages may be confirmed.
  void ConfirmRoutes();
  // At the end of a round: nodes may send more, unless a shard here is behind with what they sent.
  void TellSenders();
  // At the end of a round. Without most nodes nobody can say of one that it is gone: publishers do
  // not wait for it to have their messages if there is no link to it.
  void LetGoOfCutOff();

 private:
  // Another node, and how far its members of `$share` groups are known.
  struct Known {
    storage::NodeId id;
    storage::Incarnation life;
    uint32_t telling = 0;  // It has begun to tell of all of them so often.
    bool is_whole = true;  // Else it is still telling: those from before stay for as long.
  };
  void TakeMembers(const NodeRoutes& routes);
  PublishFlow::Where WhereIs(const storage::ConnectionRef& connection) const;

  ShardContext& context_;
  PublishFlow& publishing_;
  const storage::NodeId& self_;
  const storage::Incarnation& life_;
  std::array<Known, kNodesMax> known_{};
  NodeMask nodes_ = 0;  // That there are.
  RetainedGate gate_;
  std::array<ForwardCredit::Amount, kNodesMax> taken_{};  // Not told yet.
  NodeMask taken_from_ = 0;                               // Who has any.
  // Connections that stand still until that node has caught up.
  std::array<std::vector<uint64_t>, kNodesMax> paused_;
};

}  // namespace broker
#endif  // BROKER_SHARD_NODE_FLOW_H_
