// What can be wrong with a simulated cluster, so that the checks have something to find.
#ifndef TESTS_CLUSTER_SIM_SABOTEUR_H_
#define TESTS_CLUSTER_SIM_SABOTEUR_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "broker/shard/shard_task.h"
#include "storage/core/command_log.h"
#include "storage/core/partition_api.h"

namespace simulator {

enum class Mutant {
  kNone,
  kDropRouteDelta,           // A change of routes that another node tells of is not heard.
  kAcknowledgeBeforeCommit,  // The log says that it is on the disk when it is being written.
  kSkipSequence,             // What is asked again counts as new.
  kRefuseAfterProposing,     // Who leads no more refuses what it has proposed.
  kResendFromHead,           // A new leader hears nothing of what was sent already.
  kDropOutboxEarly,          // What is to be passed on is done when it was begun.
  kShareTwice,               // What is chosen for a group's member is stored twice for it.
  kForgetLeft,               // What a group's member leaves nobody else gets.
};

// Beside one node: meddles with what it is asked, says and hears.
class Saboteur {
 public:
  // Of all nodes: how far each shard of each life has asked each partition.
  using Asked =
      std::map<std::tuple<uint16_t, uint32_t, storage::ShardId, storage::PartitionId>, uint64_t>;

  Saboteur(Mutant mutant, std::shared_ptr<Asked> asked)
      : mutant_(mutant), asked_(std::move(asked)) {}

  bool acknowledges_early() const { return mutant_ == Mutant::kAcknowledgeBeforeCommit; }

  void OnRoutes(broker::ShardTask& task) {
    auto* const routes = std::get_if<broker::NodeRoutes>(&task);
    if (mutant_ != Mutant::kDropRouteDelta || routes == nullptr || routes->changes == nullptr)
      return;
    if (++deltas_heard_ % 5 == 0) routes->changes = nullptr;
  }

  void OnRequest(const storage::ShardAddress& from, storage::Addressed& request) {
    if (mutant_ == Mutant::kResendFromHead) {
      if (auto* const claims = std::get_if<storage::Claims>(&request.request)) {
        for (storage::Claims::Held& held : claims->held) {
          held.sent_through = 0;
          held.in_flight.clear();
        }
      }
    }
    auto* const publish = std::get_if<storage::Publish>(&request.request);
    if (mutant_ == Mutant::kShareTwice && publish != nullptr && !publish->shared_targets.empty())
      publish->shared_targets.push_back(storage::SharedTarget(publish->shared_targets.front()));
    if (mutant_ == Mutant::kRefuseAfterProposing)
      std::visit([&](auto& one) { Remember(from, request.partition, one); }, request.request);
    if (mutant_ == Mutant::kSkipSequence && request.sequence != 0) {
      uint64_t& last =
          (*asked_)[{from.node.value(), from.incarnation.value(), from.shard, request.partition}];
      if (request.sequence <= last) {
        request.sequence |= uint64_t{1} << 40;
      } else {
        last = request.sequence;
      }
    }
  }

  void OnAnswer(const storage::Event& event) {
    if (mutant_ != Mutant::kRefuseAfterProposing) return;
    if (const auto* const published = std::get_if<storage::Published>(&event))
      unanswered_[published->partition].erase(published->token);
  }
  // `tell`: to a shard, in this node's name.
  void OnLog(const storage::LogEvent& event,
             const std::function<void(const storage::ShardAddress&, storage::Event)>& tell) {
    const auto* const role = std::get_if<storage::RoleChange>(&event);
    if (mutant_ != Mutant::kRefuseAfterProposing || role == nullptr || role->leads) return;
    for (const auto& [token, from] : std::exchange(unanswered_[role->partition], {})) {
      tell(from, storage::Published{.token = token,
                                    .status = absl::UnavailableError("it leads no more"),
                                    .duplicate = false,
                                    .partition = role->partition});
    }
  }
  // A shard of this node does not hear of it.
  bool IsUnheard(const storage::Event& event) const {
    const auto* const route = std::get_if<storage::RouteMessage>(&event);
    return mutant_ == Mutant::kForgetLeft && route != nullptr && route->groups_only;
  }
  // What a shard of this node is made to say behind the event.
  std::optional<storage::OutboxDone> SaidEarly(const storage::Event& event) const {
    const auto* const route = std::get_if<storage::RouteMessage>(&event);
    if (route == nullptr || (mutant_ != Mutant::kDropOutboxEarly && !IsUnheard(event)))
      return std::nullopt;
    return storage::OutboxDone{.partition = route->outbox.partition,
                               .number = route->outbox.number};
  }

 private:
  template <typename Request>
  void Remember(const storage::ShardAddress& from, storage::PartitionId partition,
                const Request& request) {
    if constexpr (std::is_same_v<Request, storage::Publish> ||
                  std::is_same_v<Request, storage::AcceptInbound>) {
      if (request.token != 0) unanswered_[partition].insert_or_assign(request.token, from);
    }
  }

  const Mutant mutant_;
  const std::shared_ptr<Asked> asked_;
  uint64_t deltas_heard_ = 0;
  std::map<storage::PartitionId, std::map<storage::Token, storage::ShardAddress>> unanswered_;
};

}  // namespace simulator

#endif  // TESTS_CLUSTER_SIM_SABOTEUR_H_
