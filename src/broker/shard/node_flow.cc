#include "broker/shard/node_flow.h"

#include <bit>
#include <optional>
#include <utility>

namespace broker {

NodeFlow::NodeFlow(ShardContext& context, PublishFlow& publishing, const storage::NodeId& self,
                   const storage::Incarnation& life)
    : context_(context), publishing_(publishing), self_(self), life_(life) {
  context_.retained_gate = &gate_;
  publishing_.forward = [this](NodeMask nodes, const mqtt::MessageParts& message,
                               const Forwarding& how) {
    return context_.forwarder->Forward(context_.id, nodes, message, how);
  };
  publishing_.where_is = [this](const storage::ConnectionRef& connection) {
    return WhereIs(connection);
  };
  publishing_.forward_to_member = [this](uint32_t node, const mqtt::MessageParts& message,
                                         const storage::ChosenMember& member,
                                         const Forwarding& how) {
    return context_.forwarder->ForwardToMember(context_.id, node, message, member, how);
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
  const NodeMask bit = NodeMask{1} << routes.node;
  routes.unheard ? publishing_.unheard_nodes |= bit : publishing_.unheard_nodes &= ~bit;
  TakeMembers(routes);
  gate_.Came(routes.node, routes.number);
  ConfirmRoutes();
}

// Unlike what it subscribes to, members that are not known cannot be served by sending more: so
// those from before stay until all are known anew.
void NodeFlow::TakeMembers(const NodeRoutes& routes) {
  Known& known = known_[routes.node];
  const NodeMask bit = NodeMask{1} << routes.node;
  if (routes.gone) {
    if ((nodes_ & bit) != 0) context_.router.ForgetMembersOf(known.id, std::nullopt);
    nodes_ &= ~bit;
    known = {};
    std::vector<storage::Token> tokens;
    publishing_.receipts.Gone(routes.node, tokens);
    return publishing_.OnNodesHave(tokens);
  }
  if (routes.id == storage::NodeId()) return;
  nodes_ |= bit;
  known.id = routes.id;
  known.life = routes.life;
  if (routes.forget) {
    ++known.telling;
    known.is_whole = false;
  }
  if (routes.members != nullptr) {
    for (const NodeMember& change : *routes.members) {
      if (change.add) {
        ShareMember member = change.member;
        member.telling = known.telling;
        context_.router.SetMember(change.filter, std::move(member));
      } else {
        context_.router.RemoveMember(change.filter, change.member.client_id,
                                     change.member.connection, change.member.connection.node);
      }
    }
  }
  if (known.is_whole || routes.stale) return;
  known.is_whole = true;
  context_.router.ForgetMembersOf(known.id, known.telling);
}

PublishFlow::Where NodeFlow::WhereIs(const storage::ConnectionRef& connection) const {
  using Kind = PublishFlow::Where::Kind;
  if (connection.node == self_)
    return {.kind = connection.incarnation == life_ ? Kind::kHere : Kind::kGone};
  for (NodeMask rest = nodes_; rest != 0; rest &= rest - 1) {
    const auto node = static_cast<uint32_t>(std::countr_zero(rest));
    const Known& known = known_[node];
    if (known.id != connection.node) continue;
    if (known.life != connection.incarnation) break;
    const NodeMask cut_off = context_.forwarder->CutOff();
    return {.kind = Kind::kAtNode, .node = node, .cut_off = (cut_off >> node & 1) != 0};
  }
  return {.kind = Kind::kGone};
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
  if (publish.member != nullptr)
    return publishing_.RouteToMember(std::move(publish.message), std::move(*publish.member));
  publishing_.RouteOnThisNode(std::move(publish.message), publish.outbox);
}

void NodeFlow::TellSenders() {
  if (taken_from_ == 0 || publishing_.AnyShardIsBehind()) return;
  for (NodeMask rest = std::exchange(taken_from_, 0); rest != 0; rest &= rest - 1) {
    const auto node = static_cast<uint32_t>(std::countr_zero(rest));
    const ForwardCredit::Amount amount = std::exchange(taken_[node], {});
    context_.forwarder->Taken(context_.id, node, amount.messages, amount.bytes);
  }
}

void NodeFlow::OnHas(uint32_t node, uint64_t receipt) {
  std::vector<storage::Token> tokens;
  publishing_.receipts.Has(node, receipt, tokens);
  publishing_.OnNodesHave(tokens);
}

void NodeFlow::LetGoOfCutOff() {
  if (context_.fenced == Fenced::kNobody) return;
  std::vector<storage::Token> tokens;
  for (NodeMask rest = context_.forwarder->CutOff(); rest != 0; rest &= rest - 1)
    publishing_.receipts.LetGoOf(static_cast<uint32_t>(std::countr_zero(rest)), tokens);
  publishing_.OnNodesHave(tokens);
}

void NodeFlow::OnCaughtUp(uint32_t node) {
  for (const uint64_t id : std::exchange(paused_[node], {})) {
    if (Connection* const paused = context_.Find(id)) context_.Resume(*paused, kPauseForwards);
  }
}

}  // namespace broker
