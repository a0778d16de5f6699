#include "broker/shard/node_flow.h"

#include <bit>
#include <utility>

namespace broker {

NodeFlow::NodeFlow(ShardContext& context, PublishFlow& publishing)
    : context_(context), publishing_(publishing) {
  context_.retained_gate = &gate_;
  publishing_.forward = [this](NodeMask nodes, const mqtt::MessageParts& message) {
    return context_.forwarder->Forward(context_.id, nodes, message);
  };
  // For one of them: when that has caught up, the next PUBLISH finds the others.
  publishing_.pause_for_nodes = [this](Connection& connection, NodeMask behind) {
    context_.Pause(connection, kPauseForwards);
    paused_[static_cast<size_t>(std::countr_zero(behind))].push_back(connection.ref.connection);
  };
}

void NodeFlow::OnRoutes(const NodeRoutes& routes) {
  if (routes.forget) context_.router.ForgetNode(routes.node);
  if (routes.changes != nullptr) {
    for (const NodeRoute& route : *routes.changes)
      context_.router.ChangeNode(route.filter, routes.node, route.wanted, route.add);
  }
  context_.router.SetNodeStale(routes.node, routes.stale);
  gate_.Came(routes.node, routes.number);
  ConfirmRoutes();
}

void NodeFlow::ConfirmRoutes() {
  gate_.Release([this](uint32_t node, uint64_t number) {
    context_.forwarder->RoutesTaken(context_.id, node, number);
  });
}

void NodeFlow::OnPublish(NodePublish publish) {
  ForwardCredit::Amount& taken = taken_[publish.node];
  ++taken.messages;
  taken.bytes += publish.message->bytes();
  taken_from_ |= NodeMask{1} << publish.node;
  publishing_.RouteOnThisNode(std::move(publish.message));
}

void NodeFlow::TellSenders() {
  if (taken_from_ == 0 || publishing_.AnyShardIsBehind()) return;
  for (NodeMask rest = std::exchange(taken_from_, 0); rest != 0; rest &= rest - 1) {
    const auto node = static_cast<uint32_t>(std::countr_zero(rest));
    const ForwardCredit::Amount amount = std::exchange(taken_[node], {});
    context_.forwarder->Taken(context_.id, node, amount.messages, amount.bytes);
  }
}

void NodeFlow::OnCaughtUp(uint32_t node) {
  for (const uint64_t id : std::exchange(paused_[node], {})) {
    if (Connection* const paused = context_.Find(id)) context_.Resume(*paused, kPauseForwards);
  }
}

}  // namespace broker
