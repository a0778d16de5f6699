#include "cluster/raft/hand_over.h"

#include <algorithm>
#include <map>
#include <vector>

#include "gtest/gtest.h"
#include "tests/cluster/loop_rig.h"

namespace cluster {
namespace {

// Each node looks once a second.
class HandOverTest : public testing::Test {
 protected:
  HandOverTest() { rig_.Elect(1); }

  void Seconds(int seconds) {
    for (int i = 0; i < seconds; ++i) {
      now_ += absl::Seconds(1);
      for (const ReplicaId id : {1, 2, 3})
        if (id != kWanted)
          hands_[id].Run(rig_.loop(id), {{.group = 0, .leader = kWanted, .life = life_}}, now_);
      rig_.Exchange();
      rig_.TickAll(20);
    }
  }
  // How often it has led since it was asked last.
  size_t TimesLed() {
    const std::vector<RoleChange> changes = rig_.TakeEvents<RoleChange>(kWanted);
    return static_cast<size_t>(
        std::count_if(changes.begin(), changes.end(),
                      [](const RoleChange& change) { return change.role == Role::kLeader; }));
  }

  static constexpr ReplicaId kWanted = 2;
  LoopRig rig_{3};
  std::map<ReplicaId, HandOver> hands_;
  uint64_t life_ = 1;
  absl::Duration now_ = absl::Hours(1);
};

TEST_F(HandOverTest, AGroupGoesToTheMemberThatIsToLeadItWhenThatHasAllOfIt) {
  rig_.loses = [](const LoopRig::Node&, const RaftLoop::Message& message) {
    return message.to == kWanted && message.kind == RaftGroup::kAppend;
  };
  rig_.Propose(1, "a");
  rig_.Exchange();
  Seconds(5);
  EXPECT_TRUE(rig_.Leads(1));
  rig_.loses = nullptr;
  Seconds(3);
  EXPECT_TRUE(rig_.Leads(kWanted));
  EXPECT_EQ(TimesLed(), 1u);
}

// Its state cannot be written, and its log can: it has all, and serves nobody.
TEST_F(HandOverTest, WhoDoesNotKeepItIsGivenItEverLater) {
  rig_.loop(kWanted).SetFit(0, false);
  Seconds(120);
  EXPECT_GT(TimesLed(), 2u);
  Seconds(1200);
  EXPECT_LT(TimesLed(), 1200 / 20u);
  rig_.loop(kWanted).SetFit(0, true);
  Seconds(65);
  EXPECT_TRUE(rig_.Leads(kWanted));
}

// Rolling restarts are no reason to wait.
TEST_F(HandOverTest, WhoBeginsAnotherLifeIsGivenItAtOnce) {
  for (; life_ < 10; ++life_) {
    Seconds(3);
    EXPECT_TRUE(rig_.Leads(kWanted)) << life_;
    ASSERT_TRUE(rig_.loop(kWanted).TransferLeadership(0, 3).ok());
    rig_.Exchange();
    EXPECT_TRUE(rig_.Leads(3));
  }
}

// It yields what it leads, and its life ends a moment later: until then it counts as alive.
TEST_F(HandOverTest, WhoYieldsItIsNotGivenItBackWhileItStops) {
  Seconds(200);
  ASSERT_TRUE(rig_.Leads(kWanted));
  ASSERT_TRUE(rig_.loop(kWanted).TransferLeadership(0, 3).ok());
  rig_.Exchange();
  Seconds(1);
  EXPECT_TRUE(rig_.Leads(3));
  Seconds(1);
  EXPECT_TRUE(rig_.Leads(kWanted));
}

TEST_F(HandOverTest, WhoHasKeptItForLongIsGivenItAtOnce) {
  for (int i = 0; i < 5; ++i) {
    Seconds(200);
    EXPECT_TRUE(rig_.Leads(kWanted)) << i;
    ASSERT_TRUE(rig_.loop(kWanted).TransferLeadership(0, 3).ok());
    rig_.Exchange();
    EXPECT_TRUE(rig_.Leads(3));
    Seconds(2);
    EXPECT_TRUE(rig_.Leads(kWanted)) << i;
  }
}

}  // namespace
}  // namespace cluster
