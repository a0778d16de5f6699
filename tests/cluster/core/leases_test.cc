#include "cluster/core/leases.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cluster {
namespace {

using Kind = LeaseAnswer::Kind;
using State = NodeLease::State;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr NodeLife kLife{NodeId(1), Incarnation(1)};
constexpr NodeLife kOther{NodeId(2), Incarnation(5)};
const LeaseOptions kOptions{.length = absl::Seconds(3),
                            .renewed_every = absl::Seconds(1),
                            .drift = 0.1,
                            .fencing = absl::Milliseconds(500)};

absl::Duration At(double seconds) { return absl::Seconds(1000) + absl::Seconds(seconds); }

// Asked at one moment, granted at another.
void Renew(NodeLease& lease, absl::Duration asked, Kind kind = Kind::kGranted) {
  const auto request = lease.Ask(asked);
  ASSERT_TRUE(request.has_value());
  EXPECT_TRUE(lease.OnAnswer({request->life, request->number, kind}));
}

TEST(NodeLease, CountsFromWhenItWasAskedForAndEndsBeforeTheLeaderThinks) {
  NodeLease lease(kOptions);
  lease.Begin(kLife);
  EXPECT_EQ(lease.StateAt(At(0)), State::kNone);
  Renew(lease, At(0));
  EXPECT_EQ(lease.StateAt(At(0)), State::kHeld);
  EXPECT_EQ(lease.ChangesAt(At(0)), At(2.2));
  EXPECT_EQ(lease.StateAt(At(2.19)), State::kHeld);
  EXPECT_EQ(lease.StateAt(At(2.2)), State::kFencing);
  EXPECT_EQ(lease.ChangesAt(At(2.2)), At(2.7));
  EXPECT_TRUE(lease.HoldsAt(At(2.69)));
  EXPECT_EQ(lease.StateAt(At(2.7)), State::kNone);
}

TEST(NodeLease, IsAskedForEverySecondOrAtOnceWhenThereIsANewLeader) {
  NodeLease lease(kOptions);
  EXPECT_FALSE(lease.Ask(At(0)).has_value());  // Of nobody.
  lease.Begin(kLife);
  EXPECT_TRUE(lease.Ask(At(0)).has_value());
  EXPECT_FALSE(lease.Ask(At(0.99)).has_value());
  EXPECT_TRUE(lease.Ask(At(1)).has_value());
  lease.AskAtOnce();
  EXPECT_TRUE(lease.Ask(At(1.1)).has_value());
}

TEST(NodeLease, AnAnswerThatComesLateGrantsWhatIsLeftOfIt) {
  NodeLease lease(kOptions);
  lease.Begin(kLife);
  const auto first = lease.Ask(At(0));
  const auto second = lease.Ask(At(1));
  // The second overtook the first, which then says nothing new.
  EXPECT_TRUE(lease.OnAnswer({kLife, second->number, Kind::kGranted}));
  EXPECT_FALSE(lease.OnAnswer({kLife, first->number, Kind::kGranted}));
  EXPECT_EQ(lease.until(), At(3.7));
  EXPECT_FALSE(lease.OnAnswer({kLife, second->number, Kind::kGranted}));
  EXPECT_FALSE(lease.OnAnswer({kLife, 99, Kind::kGranted}));
}

// A former leader that has not heard of the new one answers first.
TEST(NodeLease, IsGrantedByTheLeaderThoughAnotherSaysThatItIsNone) {
  NodeLease lease(kOptions);
  lease.Begin(kLife);
  const auto request = lease.Ask(At(0));
  EXPECT_TRUE(lease.OnAnswer({kLife, request->number, Kind::kNotLeader}));
  EXPECT_EQ(lease.StateAt(At(0)), State::kNone);
  EXPECT_TRUE(lease.OnAnswer({kLife, request->number, Kind::kGranted}));
  EXPECT_EQ(lease.StateAt(At(0)), State::kHeld);
}

TEST(NodeLease, AnAnswerToAnotherLifeIsNotItsOwn) {
  NodeLease lease(kOptions);
  lease.Begin(kLife);
  const auto request = lease.Ask(At(0));
  lease.Begin({NodeId(1), Incarnation(2)});
  EXPECT_FALSE(lease.OnAnswer({kLife, request->number, Kind::kGranted}));
  EXPECT_EQ(lease.StateAt(At(0)), State::kNone);
}

TEST(NodeLease, WhoseLifeIsGoneHoldsNothingFromThenOn) {
  NodeLease lease(kOptions);
  lease.Begin(kLife);
  Renew(lease, At(0));
  Renew(lease, At(1), Kind::kGone);
  EXPECT_TRUE(lease.is_gone());
  EXPECT_EQ(lease.StateAt(At(1)), State::kNone);
  EXPECT_FALSE(lease.Ask(At(5)).has_value());
}

TEST(NodeLease, WhoStopsHoldsNothingAndSaysSoUntilItIsGone) {
  NodeLease lease(kOptions);
  lease.Begin(kLife);
  const LeaseRequest asked = *lease.Ask(At(0));
  EXPECT_FALSE(asked.ends);
  ASSERT_TRUE(lease.OnAnswer({kLife, asked.number, Kind::kGranted}));
  lease.End();
  EXPECT_FALSE(lease.HoldsAt(At(0.1)));
  const LeaseRequest first = *lease.Ask(At(0.1));
  EXPECT_TRUE(first.ends);
  EXPECT_FALSE(lease.Ask(At(0.15)).has_value());
  const LeaseRequest second = *lease.Ask(At(0.3));
  ASSERT_TRUE(lease.OnAnswer({kLife, first.number, Kind::kGranted}));  // By a former release.
  EXPECT_FALSE(lease.HoldsAt(At(0.3)));
  ASSERT_TRUE(lease.OnAnswer({kLife, second.number, Kind::kGone}));
  EXPECT_TRUE(lease.is_gone());
  EXPECT_FALSE(lease.Ask(At(5)).has_value());
}

std::vector<LeaseAnswer> Grant(LeaseGranter& granter, const LeaseRequest& request,
                               absl::Duration now, bool readable = true) {
  granter.OnRequest(request, now);
  const auto ticket = granter.WantsBarrier();
  if (!ticket.has_value()) return granter.TakeAnswers();
  return granter.OnBarrier(*ticket, readable);
}

// As a leader that lives does.
std::vector<NodeLife> LookUntil(LeaseGranter& granter, absl::Duration from, absl::Duration to) {
  std::vector<NodeLife> expired;
  for (absl::Duration now = from; now <= to; now += absl::Milliseconds(100)) {
    for (const NodeLife& life : granter.TakeExpired(now)) expired.push_back(life);
  }
  return expired;
}

TEST(LeaseGranter, GrantsOnlyBehindABarrierThatWasBegunWhenItHadBeenAsked) {
  LeaseGranter granter(kOptions, At(0), {kLife, kOther});
  granter.OnRequest({kLife, 1}, At(0));
  const auto ticket = granter.WantsBarrier();
  ASSERT_TRUE(ticket.has_value());
  granter.OnRequest({kOther, 1}, At(0.1));
  EXPECT_FALSE(granter.WantsBarrier().has_value());  // One at a time.
  const auto answers = granter.OnBarrier(*ticket, true);
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_EQ(answers[0].life, kLife);
  EXPECT_EQ(answers[0].kind, Kind::kGranted);
  EXPECT_TRUE(granter.WantsBarrier().has_value());  // The other's.
}

TEST(LeaseGranter, WhoSaysThatItEndsIsGoneAtOnce) {
  LeaseGranter granter(kOptions, At(0), {kLife, kOther});
  (void)Grant(granter, {kLife, 1}, At(0));
  granter.OnRequest({kLife, 2, /*ends=*/true}, At(0.5));
  EXPECT_THAT(granter.TakeExpired(At(0.5)), ElementsAre(kLife));
  granter.OnNotCommitted(kLife);
  EXPECT_THAT(granter.TakeExpired(At(9)), ElementsAre(kLife)) << "after a pause of its own, too";
  granter.OnGone(kLife);
  const auto answers = Grant(granter, {kLife, 3, /*ends=*/true}, At(9));
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_EQ(answers[0].kind, Kind::kGone);
}

TEST(LeaseGranter, WhoLeadsNoMoreGrantsNothing) {
  LeaseGranter granter(kOptions, At(0), {kLife});
  const auto answers = Grant(granter, {kLife, 1}, At(1), false);
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_EQ(answers[0].kind, Kind::kNotLeader);
  EXPECT_THAT(LookUntil(granter, At(1), At(3.3)), ElementsAre(kLife));  // As if it had not asked.
}

TEST(LeaseGranter, ALifeThatTheStateDoesNotHaveIsGone) {
  LeaseGranter granter(kOptions, At(0), {kLife});
  const auto answers = Grant(granter, {kOther, 1}, At(0));
  ASSERT_THAT(answers, SizeIs(1));
  EXPECT_EQ(answers[0].kind, Kind::kGone);
  granter.OnAdmitted(kOther, At(0));
  EXPECT_EQ(Grant(granter, {kOther, 2}, At(0))[0].kind, Kind::kGranted);
  granter.OnAdmitted({kOther.node, Incarnation(6)}, At(1));
  EXPECT_EQ(Grant(granter, {kOther, 3}, At(1))[0].kind, Kind::kGone);
}

// A later leader may have admitted it.
TEST(LeaseGranter, WhoLeadsNoMoreTellsNobodyThatHeIsGone) {
  LeaseGranter granter(kOptions, At(0), {kLife});
  const NodeLife later{kLife.node, Incarnation(2)};
  for (const NodeLife& life : {kOther, later}) {
    granter.OnRequest({life, 1}, At(1));
    EXPECT_THAT(granter.TakeAnswers(), IsEmpty());
    const auto ticket = granter.WantsBarrier();
    ASSERT_TRUE(ticket.has_value());
    EXPECT_EQ(granter.OnBarrier(*ticket, false).at(0).kind, Kind::kNotLeader);
  }
}

TEST(LeaseGranter, ANewLeaderWaitsForAsLongAsALeaseOfTheFormerCouldLast) {
  LeaseGranter granter(kOptions, At(0), {kLife});
  EXPECT_THAT(LookUntil(granter, At(0), At(3.2)), IsEmpty());
  EXPECT_THAT(granter.TakeExpired(At(3.3)), ElementsAre(kLife));
  EXPECT_THAT(granter.TakeExpired(At(3.4)), IsEmpty());  // Once.
}

TEST(LeaseGranter, WhoIsDeclaredGoneGetsNothingMoreUnlessItIsSurelyNotInTheLog) {
  LeaseGranter granter(kOptions, At(0), {kLife});
  EXPECT_THAT(LookUntil(granter, At(0), At(3.3)), ElementsAre(kLife));
  EXPECT_THAT(Grant(granter, {kLife, 2}, At(3.3)), IsEmpty());
  granter.OnNotCommitted(kLife);
  EXPECT_THAT(granter.TakeExpired(At(3.4)), ElementsAre(kLife));
  granter.OnGone(kLife);
  EXPECT_EQ(Grant(granter, {kLife, 3}, At(3.5))[0].kind, Kind::kGone);
}

// The leader stood still for less than it notices: the request of a node that lives waits here.
TEST(LeaseGranter, WhoseRequestWaitsForABarrierIsNotGone) {
  LeaseGranter granter(kOptions, At(0), {kLife});
  EXPECT_THAT(LookUntil(granter, At(0), At(1.5)), IsEmpty());
  granter.OnRequest({kLife, 1}, At(1.5));
  const auto ticket = granter.WantsBarrier();
  ASSERT_TRUE(ticket.has_value());
  EXPECT_THAT(granter.TakeExpired(At(3.4)), IsEmpty());
  EXPECT_EQ(granter.OnBarrier(*ticket, true).at(0).kind, Kind::kGranted);
  EXPECT_THAT(LookUntil(granter, At(3.4), At(4.7)), IsEmpty());
  EXPECT_THAT(granter.TakeExpired(At(4.8)), ElementsAre(kLife));
}

TEST(LeaseGranter, WhoWasPausedItselfWaitsAnew) {
  LeaseGranter granter(kOptions, At(0), {kLife});
  EXPECT_THAT(granter.TakeExpired(At(1)), IsEmpty());
  EXPECT_THAT(granter.TakeExpired(At(60)), IsEmpty());
  EXPECT_THAT(LookUntil(granter, At(60), At(63.2)), IsEmpty());
  EXPECT_THAT(granter.TakeExpired(At(63.3)), ElementsAre(kLife));
}

TEST(LeaseGranter, WhatAnOperatorDeclaresGoneGoesWhenItsLeaseHasEnded) {
  LeaseGranter granter(kOptions, At(0), {kLife});
  EXPECT_EQ(Grant(granter, {kLife, 1}, At(1))[0].kind, Kind::kGranted);
  EXPECT_TRUE(granter.Declare(kLife));
  EXPECT_FALSE(granter.Declare(kLife));
  EXPECT_FALSE(granter.Declare(kOther));
  EXPECT_THAT(Grant(granter, {kLife, 2}, At(2)), IsEmpty());
  EXPECT_THAT(LookUntil(granter, At(1), At(4.2)), IsEmpty());
  EXPECT_EQ(granter.NextExpiry(), At(4.3));
  EXPECT_THAT(granter.TakeExpired(At(4.3)), ElementsAre(kLife));
}

}  // namespace
}  // namespace cluster
