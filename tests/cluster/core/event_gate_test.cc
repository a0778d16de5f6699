// Neither half a stream of events nor half a stream of requests leaves.
#include "cluster/core/event_gate.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "cluster/core/request_routes.h"

namespace cluster {
namespace {

using storage::ClaimsWanted;
using storage::Event;
using storage::StreamAck;

size_t Passed(EventGate& gate, storage::ShardId to, std::vector<Event> events) {
  gate.Filter(to, events);
  return events.size();
}

TEST(EventGate, LetsOutNothingBeforeTheHostBeginsAnew) {
  EventGate gate;
  EXPECT_EQ(Passed(gate, 0, {ClaimsWanted{}, StreamAck{}}), 0u);
  gate.Open();
  EXPECT_EQ(Passed(gate, 0, {StreamAck{}}), 0u) << "from before";
  EXPECT_EQ(Passed(gate, 0, {ClaimsWanted{}, StreamAck{}, ClaimsWanted{}}), 2u)
      << "an earlier question, and what came before this one";
  EXPECT_EQ(Passed(gate, 0, {StreamAck{}}), 1u);
  EXPECT_EQ(Passed(gate, 3, {StreamAck{}}), 0u) << "each shard by itself";
  gate.Close();
  EXPECT_EQ(Passed(gate, 0, {StreamAck{}}), 0u);
}

TEST(RequestRoutes, GoWhereClaimsWentLast) {
  RequestRoutes<int> routes;
  using Kind = RequestRoutes<int>::Kind;
  const auto of_claims = [](storage::NodeId by) -> RequestRoutes<int>::Way {
    return {.kind = Kind::kNode, .node = by.value(), .epoch = 7};
  };
  storage::Addressed close(storage::CloseSession{.client_id = "c"});
  close.partition = 3;
  close.sequence = 1;
  EXPECT_EQ(routes.Of(close, of_claims).kind, Kind::kNowhere);
  const storage::Addressed claims(storage::Claims{.partition = 3, .by = storage::NodeId(5)});
  EXPECT_EQ(routes.Of(claims, of_claims).node, 5);
  EXPECT_EQ(routes.Of(close, of_claims).node, 5);
  EXPECT_EQ(routes.Of(close, of_claims).epoch, 7u);
  close.partition = 2;
  EXPECT_EQ(routes.Of(close, of_claims).kind, Kind::kNowhere);
  close.partition = 3;
  const storage::Addressed former(
      storage::Claims{.partition = 3, .life = 9, .repeats = 1, .by = storage::NodeId(6)});
  const storage::Addressed next(
      storage::Claims{.partition = 3, .life = 10, .by = storage::NodeId(7)});
  EXPECT_EQ(routes.Of(next, of_claims).node, 7);
  EXPECT_EQ(routes.Of(former, of_claims).kind, Kind::kNowhere) << "its question came late";
  EXPECT_EQ(routes.Of(close, of_claims).kind, Kind::kNowhere) << "and so does its repeat";
  EXPECT_EQ(routes.Of(close, of_claims).node, 7);
  const storage::Addressed scan(storage::ScanRetained{.filter = "#"});
  EXPECT_EQ(routes.Of(scan, of_claims).kind, Kind::kHere);
}

}  // namespace
}  // namespace cluster
