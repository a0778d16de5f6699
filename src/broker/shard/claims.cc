#include "broker/shard/claims.h"

#include <algorithm>
#include <map>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "broker/shard/connection.h"
#include "storage/core/keys.h"

namespace broker {
namespace {

storage::Claims::Held HeldBy(const Connection& connection) {
  const Session& session = *connection.session;
  storage::Claims::Held held;
  held.client_id = session.client_id.view();
  held.user_name = session.user_name();
  held.connection = connection.ref;
  held.epoch = session.epoch;
  held.window_messages = session.outbound.window();
  held.window_bytes = connection.listener.limits.inflight_bytes_max_durable;
  held.packet_size_max = session.packet_size_max;
  if (!session.durable) return held;
  held.sent_through = session.outbound.last_sequence();
  session.outbound.ForEachInFlight([&](uint16_t id, OutboundFlow::State) {
    held.in_flight.push_back(session.outbound.SequenceOf(mqtt::PacketId{id}));
  });
  return held;
}

std::optional<storage::PartitionId> PartitionOf(const ShardContext& context, uint64_t connection) {
  const Connection* const found = context.Find(connection);
  if (found == nullptr || found->session == nullptr) return std::nullopt;
  return storage::PartitionOfClient(found->session->client_id, context.partitions);
}

// None: about no single one, or about a connection that is gone.
std::optional<storage::PartitionId> PartitionOf(const ShardContext& context,
                                                const PublishFlow& publishing,
                                                const storage::Event& event) {
  return std::visit(
      [&](const auto& one) -> std::optional<storage::PartitionId> {
        using T = std::decay_t<decltype(one)>;
        if constexpr (std::is_same_v<T, storage::Published> ||
                      std::is_same_v<T, storage::StreamAck>) {
          return one.partition;
        } else if constexpr (std::is_same_v<T, storage::RouteMessage>) {
          return one.outbox.partition;
        } else if constexpr (std::is_same_v<T, storage::SessionOpened> ||
                             std::is_same_v<T, storage::SubscribeDone> ||
                             std::is_same_v<T, storage::UnsubscribeDone>) {
          return context.streams.AskedOf(one.token);
        } else if constexpr (std::is_same_v<T, storage::InboundReleased>) {
          return PartitionOf(context, publishing.ReleasedBy(one.token));
        } else if constexpr (requires {
                               one.connection.connection;
                               one.epoch;
                             } ||
                             std::is_same_v<T, storage::TakenOver>) {
          return PartitionOf(context, one.connection.connection);
        } else {
          return std::nullopt;
        }
      },
      event);
}

// In an order that is the same in each run.
void SortByNumber(std::vector<Connection*>& connections) {
  std::sort(connections.begin(), connections.end(), [](const Connection* a, const Connection* b) {
    return a->ref.connection < b->ref.connection;
  });
}

}  // namespace

bool IsOfLeader(const ShardContext& context, const PublishFlow& publishing, storage::NodeId self,
                storage::NodeId from, const storage::Event& event) {
  const std::optional<storage::PartitionId> partition = PartitionOf(context, publishing, event);
  if (!partition.has_value()) return true;
  return context.streams.LeaderOf(*partition).value_or(self) == from;
}

void TellClaims(ShardContext& context, SubscribeFlow& subscribing, const PublishFlow& publishing,
                const storage::ClaimsWanted& wanted) {
  if (!context.streams.Heeds(wanted)) return;
  storage::Claims claims;
  claims.partition = wanted.partition;
  claims.life = wanted.life;
  claims.by = wanted.by;
  std::vector<Connection*> concerned;
  for (const auto& [number, connection] : context.connections) {
    if (connection->session == nullptr) continue;
    const storage::PartitionId partition =
        storage::PartitionOfClient(connection->session->client_id, context.partitions);
    if (partition == wanted.partition) concerned.push_back(connection.get());
  }
  SortByNumber(concerned);
  for (Connection* const connection : concerned) {
    // What is not in flight is then known to be acknowledged.
    context.AskAcknowledged(*connection->session);
    subscribing.ForgetHeldBack(*connection);
    claims.held.push_back(HeldBy(*connection));
  }
  std::vector<storage::Addressed> repeats =
      context.streams.Repeat(claims, [&](const storage::Request& asked) {
        return publishing.IsAnswered(asked, claims.partition);
      });
  context.Ask(std::move(claims));
  for (storage::Addressed& repeat : repeats) context.requests.push_back(std::move(repeat));
}

void TellLetIn(ShardContext& context) {
  std::map<storage::PartitionId, std::vector<Connection*>> let_in;
  for (const auto& [number, connection] : context.connections) {
    if (connection->session == nullptr || connection->session->epoch < kLetInEpochs) continue;
    let_in[storage::PartitionOfClient(connection->session->client_id, context.partitions)]
        .push_back(connection.get());
  }
  for (auto& [partition, connections] : let_in) {
    const std::optional<storage::NodeId> leader = context.streams.LeaderOf(partition);
    if (!leader.has_value()) continue;
    SortByNumber(connections);
    storage::Claims claims;
    claims.partition = partition;
    claims.life = context.streams.LifeOf(partition);
    claims.by = *leader;
    claims.further = true;
    // Of two clients with one identifier the later one keeps it.
    for (auto it = connections.rbegin(); it != connections.rend(); ++it)
      claims.held.push_back(HeldBy(**it));
    context.Ask(std::move(claims));
  }
}

}  // namespace broker
