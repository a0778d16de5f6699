#include "cluster/core/meta_node.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cluster {
namespace {

namespace pb = ::mqttd::cluster::v1;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

absl::Duration At(double seconds) { return absl::Seconds(1000) + absl::Seconds(seconds); }

constexpr TimeSaid kAgreed{.unix_ms = 1000, .agreed = true};

NodeLife Life(uint16_t node, uint32_t incarnation) {
  return {NodeId(node), Incarnation(incarnation)};
}

Members TwoNodes() {
  pb::Formation formation;
  formation.set_cluster_id("C");
  formation.set_partitions(1);
  formation.set_replicas(2);
  formation.add_founders()->set_uuid("a");
  formation.add_founders()->set_uuid("b");
  return Members::Founded(formation);
}

pb::AdmitNode Self(const std::string& uuid, uint32_t incarnation) {
  pb::AdmitNode self;
  self.set_uuid(uuid);
  self.set_start(100);
  self.set_incarnation(incarnation);
  return self;
}

// Node 1, whose log is this test.
class MetaNodeTest : public testing::Test {
 protected:
  // All that it has proposed is committed.
  void CommitAll(absl::Duration now) {
    for (const MetaOutputs::Proposal& proposal : Act().proposals)
      ASSERT_TRUE(node_.OnCommitted(++index_, proposal.entry, proposal.number, now).ok());
  }
  MetaOutputs Act() { return node_.Take(); }
  void Lead(absl::Duration now) { node_.OnRole(true, index_, now); }

  uint64_t index_ = 5;
  MetaNode node_{LeaseOptions{}, Self("a", 3), TwoNodes(), index_};
};

TEST_F(MetaNodeTest, AsksToBeAdmittedAndThenForItsLease) {
  node_.Tick(At(0));
  MetaOutputs out = Act();
  ASSERT_TRUE(out.ask_admission.has_value());
  EXPECT_EQ(out.ask_admission->incarnation(), 3u);
  EXPECT_THAT(out.leases_asked, IsEmpty());
  node_.Tick(At(0.1));
  EXPECT_FALSE(Act().ask_admission.has_value());
  node_.OnAdmitted(Life(1, 2));  // An earlier life.
  node_.OnAdmitted(Life(1, 3));
  node_.Tick(At(1));
  out = Act();
  EXPECT_FALSE(out.ask_admission.has_value());
  ASSERT_THAT(out.leases_asked, SizeIs(2));
  EXPECT_EQ(out.leases_asked[1].to, NodeId(2));
  node_.OnLeaseAnswer({Life(1, 3), out.leases_asked[0].request.number});
  EXPECT_TRUE(node_.lease().HoldsAt(At(2)));
}

TEST_F(MetaNodeTest, BeginsALaterLifeThanIsKnownAndThatIsForTheDiskFirst) {
  node_.OnNotAdmitted(Incarnation(7));
  MetaOutputs out = Act();
  EXPECT_EQ(out.begun, Incarnation(8));
  node_.OnNotAdmitted(Incarnation(7));  // Again: it has, already.
  EXPECT_FALSE(Act().begun.has_value());
  node_.Tick(At(0));
  out = Act();
  EXPECT_EQ(out.ask_admission->incarnation(), 8u);
  EXPECT_NE(out.ask_admission->start(), 100u);
  node_.OnAdmitted(Life(1, 8));
  node_.Tick(At(0));
  out = Act();
  node_.OnLeaseAnswer({Life(1, 8), out.leases_asked[0].request.number, LeaseAnswer::Kind::kGone});
  EXPECT_EQ(Act().begun, Incarnation(9));
}

// Who was cut off while its life was declared over cannot ask for a lease any more: no link of that
// life is welcome.
TEST_F(MetaNodeTest, BeginsALaterLifeWhenItIsRefusedForItsLifeIsOver) {
  node_.OnAdmitted(Life(1, 3));
  node_.Tick(At(0));
  MetaOutputs out = Act();
  node_.OnLeaseAnswer({Life(1, 3), out.leases_asked[0].request.number});
  node_.OnLifeOver(Incarnation(2));  // Of an earlier one.
  EXPECT_FALSE(Act().begun.has_value());
  EXPECT_TRUE(node_.lease().HoldsAt(At(1)));
  node_.OnLifeOver(Incarnation(3));
  EXPECT_FALSE(node_.lease().HoldsAt(At(1)));
  EXPECT_EQ(Act().begun, Incarnation(4));
  node_.OnLifeOver(Incarnation(3));  // By the other node.
  EXPECT_FALSE(Act().begun.has_value());
  node_.Tick(At(1));
  out = Act();
  ASSERT_TRUE(out.ask_admission.has_value());
  EXPECT_EQ(out.ask_admission->incarnation(), 4u);
}

TEST_F(MetaNodeTest, DecidesOnlyWhereItLeadsAndHasAppliedWhatOthersProposed) {
  node_.OnAdmissionAsked(1, Self("b", 1));
  MetaOutputs out = Act();
  ASSERT_THAT(out.admissions, SizeIs(1));
  EXPECT_TRUE(out.admissions[0].ask_again);
  node_.OnRole(true, index_ + 1, At(0));
  EXPECT_FALSE(node_.is_granting());
  ASSERT_TRUE(node_.OnCommitted(++index_, "", 0, At(0)).ok());
  EXPECT_TRUE(node_.is_granting());
  node_.OnAdmissionAsked(2, Self("b", 1));
  CommitAll(At(0));
  out = Act();
  ASSERT_THAT(out.admissions, SizeIs(1));
  EXPECT_EQ(out.admissions[0].token, 2u);
  EXPECT_EQ(out.admissions[0].life, Life(2, 1));
  EXPECT_TRUE(out.members_changed);
  node_.OnAdmissionAsked(3, Self("b", 1));
  node_.OnRole(false, 0, At(1));
  out = Act();
  ASSERT_THAT(out.admissions, SizeIs(1));
  EXPECT_TRUE(out.admissions[0].ask_again);
}

// It would be in the log, and end every node at each start.
TEST_F(MetaNodeTest, ANodeWithMoreShardsThanThereArePlacesIsNotAdmitted) {
  Lead(At(0));
  pb::AdmitNode node = Self("b", 1);
  node.set_shards(1001);
  node_.OnAdmissionAsked(1, node);
  MetaOutputs out = Act();
  EXPECT_THAT(out.proposals, IsEmpty());
  ASSERT_THAT(out.admissions, SizeIs(1));
  EXPECT_TRUE(out.admissions[0].refused);
  EXPECT_THAT(out.admissions[0].why, testing::HasSubstr("1001 shards"));
  node.set_shards(1000);
  node_.OnAdmissionAsked(2, node);
  CommitAll(At(0));
  EXPECT_EQ(Act().admissions.at(0).life, Life(2, 1));
}

TEST_F(MetaNodeTest, WhoDoesNotRenewIsGoneAndWhoDoesIsNot) {
  Lead(At(0));
  node_.OnAdmissionAsked(1, Self("a", 3));
  node_.OnAdmissionAsked(2, Self("b", 1));
  CommitAll(At(0));
  (void)Act();
  std::vector<NodeLife> gone;
  uint64_t number = 0;
  for (double t = 0; t < 8; t += 0.1) {
    if (++number % 10 == 0) {
      node_.OnLeaseRequest({Life(1, 3), number, false, kAgreed}, At(t));
      MetaOutputs out = Act();
      ASSERT_THAT(out.barriers, SizeIs(1));
      node_.OnBarrier(out.barriers[0], true);
      out = Act();
      ASSERT_THAT(out.leases_answered, SizeIs(1));
      EXPECT_EQ(out.leases_answered[0].first, NodeId(1));
    }
    node_.Tick(At(t));
    CommitAll(At(t));
    for (const NodeLife& life : Act().gone) gone.push_back(life);
  }
  EXPECT_THAT(gone, ElementsAre(Life(2, 1)));
  EXPECT_FALSE(node_.members().IsLive(Life(2, 1)));
}

TEST_F(MetaNodeTest, ForgetsWhoIsGoneAndHasNoReplicasAndSaysWhyItDoesNot) {
  const auto forget = [&](uint16_t node) {
    node_.OnForgetAsked(9, NodeId(node));
    MetaOutputs out = Act();
    for (const MetaOutputs::Proposal& proposal : out.proposals)
      EXPECT_TRUE(node_.OnCommitted(++index_, proposal.entry, proposal.number, At(1)).ok());
    for (auto& answer : Act().forgotten) out.forgotten.push_back(answer);
    EXPECT_THAT(out.forgotten, SizeIs(1));
    return out.forgotten.empty() ? absl::UnknownError("") : out.forgotten[0].status;
  };
  EXPECT_TRUE(absl::IsUnavailable(forget(3))) << "another one decides";
  Lead(At(0));
  pb::AdmitNode guest = Self("c", 1);
  node_.OnAdmissionAsked(1, guest);
  CommitAll(At(0));
  EXPECT_EQ(Act().admissions.at(0).life, Life(3, 1));
  EXPECT_TRUE(absl::IsFailedPrecondition(forget(3))) << "it lives";
  EXPECT_TRUE(absl::IsFailedPrecondition(forget(2))) << "it has replicas";
  EXPECT_TRUE(absl::IsNotFound(forget(7)));
  node_.OnLeaseRequest({Life(3, 1), 1, /*ends=*/true}, At(0));
  CommitAll(At(0));
  (void)Act();
  EXPECT_TRUE(forget(3).ok());
  EXPECT_EQ(node_.members().Find(NodeId(3)), nullptr);
  // It knocks, and is no new node for that.
  guest.set_node(3);
  guest.set_incarnation(2);
  node_.OnAdmissionAsked(2, guest);
  const MetaOutputs out = Act();
  EXPECT_THAT(out.proposals, IsEmpty());
  ASSERT_THAT(out.admissions, SizeIs(1));
  EXPECT_TRUE(out.admissions[0].refused);
  EXPECT_THAT(out.admissions[0].why, testing::HasSubstr("node 3 was forgotten"));
  // What was asked of a leader that leads no more is asked again elsewhere.
  node_.OnForgetAsked(10, NodeId(2));
  (void)Act();
  node_.OnRole(false, 0, At(2));
  EXPECT_TRUE(absl::IsUnavailable(Act().forgotten.at(0).status));
}

TEST_F(MetaNodeTest, WhoIsBeingForgottenIsNotAdmittedUnderAnotherNumber) {
  Lead(At(0));
  pb::AdmitNode guest = Self("c", 1);
  node_.OnAdmissionAsked(1, guest);
  CommitAll(At(0));
  node_.OnLeaseRequest({Life(3, 1), 1, /*ends=*/true}, At(0));
  CommitAll(At(0));
  (void)Act();
  node_.OnForgetAsked(9, NodeId(3));
  const MetaOutputs forgets = Act();
  ASSERT_THAT(forgets.proposals, SizeIs(1));
  guest.set_node(3);
  guest.set_incarnation(2);
  node_.OnAdmissionAsked(2, guest);
  MetaOutputs out = Act();
  EXPECT_THAT(out.proposals, IsEmpty());
  ASSERT_THAT(out.admissions, SizeIs(1));
  EXPECT_TRUE(out.admissions[0].ask_again);
  // Once that is decided it hears what has become of it.
  const MetaOutputs::Proposal& forget = forgets.proposals[0];
  ASSERT_TRUE(node_.OnCommitted(++index_, forget.entry, forget.number, At(1)).ok());
  node_.OnAdmissionAsked(3, guest);
  out = Act();
  EXPECT_THAT(out.proposals, IsEmpty());
  ASSERT_THAT(out.admissions, SizeIs(1));
  EXPECT_TRUE(out.admissions[0].refused);
}

TEST_F(MetaNodeTest, WhoEndsItsLifeBeginsNoOther) {
  Lead(At(0));
  node_.OnAdmissionAsked(1, Self("a", 3));
  CommitAll(At(0));
  node_.OnAdmitted(Life(1, 3));
  node_.EndLife();
  node_.Tick(At(1));
  MetaOutputs out = Act();
  ASSERT_THAT(out.leases_asked, SizeIs(2));
  node_.OnLeaseRequest(out.leases_asked[0].request, At(1));
  CommitAll(At(1));
  EXPECT_FALSE(node_.members().IsLive(Life(1, 3)));
  node_.Tick(At(1.2));
  out = Act();
  ASSERT_THAT(out.leases_asked, SizeIs(2));
  out.leases_asked[0].request.time = kAgreed;
  node_.OnLeaseRequest(out.leases_asked[0].request, At(1.2));
  out = Act();
  ASSERT_THAT(out.barriers, SizeIs(1));
  node_.OnBarrier(out.barriers[0], true);
  out = Act();
  ASSERT_THAT(out.leases_answered, SizeIs(1));
  node_.OnLeaseAnswer(out.leases_answered[0].second);
  EXPECT_TRUE(node_.has_ended());
  node_.Tick(At(9));
  out = Act();
  EXPECT_FALSE(out.begun.has_value());
  EXPECT_FALSE(out.ask_admission.has_value());
}

TEST_F(MetaNodeTest, WhatMayStillBeInTheLogIsNotProposedAgainByThatLeader) {
  Lead(At(0));
  node_.OnAdmissionAsked(1, Self("b", 1));
  CommitAll(At(0));
  for (double t = 0; t < 4; t += 0.1) node_.Tick(At(t));
  MetaOutputs out = Act();
  ASSERT_THAT(out.proposals, SizeIs(1));
  node_.OnNotCommitted(out.proposals[0].number, true);
  node_.Tick(At(4));
  out = Act();
  ASSERT_THAT(out.proposals, SizeIs(1));  // It was surely not.
  node_.OnNotCommitted(out.proposals[0].number, false);
  node_.Tick(At(4.1));
  EXPECT_THAT(Act().proposals, IsEmpty());
}

TEST_F(MetaNodeTest, AnOperatorHearsWhyANodeIsNotDeclaredGone) {
  EXPECT_THAT(node_.Declare(NodeId(9)), HasSubstr("there is no node 9"));
  EXPECT_THAT(node_.Declare(NodeId(2)), HasSubstr("gone already"));
  Lead(At(0));
  node_.OnAdmissionAsked(1, Self("b", 1));
  CommitAll(At(0));
  EXPECT_EQ(node_.Declare(NodeId(2)), "");
  EXPECT_THAT(node_.Declare(NodeId(2)), HasSubstr("is being declared"));
  node_.OnRole(false, 0, At(1));
  EXPECT_THAT(node_.Declare(NodeId(2)), HasSubstr("another node decides"));
}

TEST_F(MetaNodeTest, AnEntryThatIsNotUnderstoodIsNotApplied) {
  EXPECT_FALSE(node_.OnCommitted(6, std::string("\x7a\x00", 2), 0, At(0)).ok());
  EXPECT_EQ(node_.applied(), 5u);
}

}  // namespace
}  // namespace cluster
