// Sessions of nodes that are gone.
#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "mqttd/storage/v1/command.pb.h"
#include "storage/leader/leader.h"
#include "storage/leader/sessions.h"

namespace storage {

using Fate = ShardTable::Fate;

bool Sessions::IsStranger(const ConnectionRef& connection) const {
  return node_.shards.in_cluster() &&
         node_.shards.FateOf(connection.node, connection.incarnation) == Fate::kUnknown;
}

// One command for each node, however many of its sessions there are. Whoever follows gets the
// identifier when that is applied.
void Sessions::CloseGone(bool unknown, absl::Span<const LiveNode> left) {
  if (!node_.shards.in_cluster()) return;
  std::map<NodeId, Incarnation> gone;
  const auto is_gone = [&](NodeId node, Incarnation incarnation) {
    const Fate fate = node_.shards.FateOf(node, incarnation);
    if (fate == Fate::kLives || (fate == Fate::kUnknown && !unknown)) return false;
    Incarnation& last = gone[node];
    last = std::max(last, incarnation);
    return true;
  };
  std::vector<std::string> stored;
  std::vector<std::string> transient;
  for (const auto& claim : claims_) {
    if (claim->opening != nullptr) {
      std::erase_if(claim->opening->waiting, [&](const OpenSession& request) {
        return is_gone(request.connection.node, request.connection.incarnation);
      });
    }
    if (claim->state == Claim::State::kBusy) continue;
    if (!is_gone(claim->connection.node, claim->connection.incarnation)) continue;
    if (claim->state == Claim::State::kOpening) {
      Claim::Opening& opening = *claim->opening;
      if (!opening.closed_early.has_value()) opening.closed_early.emplace();
      opening.closed_early->client_id = claim->client_id.view();
    } else {
      (claim->stored ? stored : transient).emplace_back(claim->client_id.view());
    }
  }
  for (const LiveNode& life : left) is_gone(life.node, life.incarnation);
  for (const ShardAddress& asker : partition().origins().Shards()) {
    is_gone(asker.node, asker.incarnation);
  }
  for (const auto& [node, incarnation] : gone) {
    pb::CloseNode& close = *Propose().mutable_close_node();
    close.set_node(node.value());
    close.set_incarnation(incarnation.value());
    NeedSync();
  }
  // What is proposed does not depend on memory.
  std::sort(stored.begin(), stored.end());
  std::sort(transient.begin(), transient.end());
  for (std::string& client_id : stored) {
    Claim& claim = *FindClaim(client_id);
    Detach(claim);
    claim.state = Claim::State::kBusy;
    claim.connection = {};
    Then(FinishClose{.client_id = std::move(client_id)});
  }
  for (const std::string& client_id : transient) Forget(client_id);
}

void Sessions::CloseStrangers() {
  if (!strangers_until_.has_value() || node_.now.monotonic < *strangers_until_) return;
  strangers_until_.reset();
  CloseGone(/*unknown=*/true);
}

}  // namespace storage
