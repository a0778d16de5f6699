#include "admin/api/fleet.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mqttd/admin/v1/retained.pb.h"
#include "mqttd/admin/v1/sessions.pb.h"
#include "tests/support/fake_clock.h"

namespace admin {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kDelete[] = "/mqttd.admin.v1.Retained/Delete";
constexpr char kGet[] = "/mqttd.admin.v1.Sessions/Get";

const Caller kOperator{.name = "deploy", .role = pb::ROLE_ADMIN};

base::NodeReply NotLed() { return {.status = NotLedHere(), .not_led = true}; }

// Node 1 of three, each of which has a replica of both partitions. What the others say is set.
class FleetTest : public testing::Test {
 protected:
  FleetTest() {
    view_.node = 1;
    for (uint32_t node = 1; node <= 3; ++node) {
      base::ClusterView::Member& member = view_.members.emplace_back();
      member.node = node;
      member.uuid = "uuid-" + std::to_string(node);
    }
    view_.partitions.resize(2, {.replicas = {1, 2, 3}, .preferred = 2, .leader = 2});
    here_.Add<pb::GetSessionRequest, pb::GetSessionResponse>(
        "mqttd.admin.v1.Sessions", "Get",
        [this](const Caller&, const pb::GetSessionRequest&, const auto& reply) {
          ++asked_[1];
          reply(NotLedHere());
        });
    here_.Add<pb::DeleteRetainedRequest, pb::DeleteRetainedResponse>(
        "mqttd.admin.v1.Retained", "Delete",
        [this](const Caller&, const pb::DeleteRetainedRequest&, const auto& reply) {
          ++asked_[1];
          reply(Deleted(deleted_here_));
        });
  }

  BrokerAccess::Sources Sources() {
    BrokerAccess::Sources sources;
    sources.clock = &clock_;
    sources.readiness = &readiness_;
    sources.cluster = [this] { return view_; };
    sources.partitions_led = [this] { return led_here_; };
    sources.call_node = [this](uint32_t node, const base::NodeCall& call, absl::Duration within,
                               const base::NodeAnswer& done) {
      ++asked_[node];
      within_ = within;
      EXPECT_EQ(call.names_led, call.method == kDelete);
      done(says_[node]);
    };
    return sources;
  }

  static pb::DeleteRetainedResponse Deleted(uint64_t count) {
    pb::DeleteRetainedResponse response;
    response.set_deleted(count);
    return response;
  }
  static base::NodeReply Said(uint64_t count, std::optional<uint64_t> led) {
    base::NodeReply reply;
    reply.response = Deleted(count).SerializeAsString();
    reply.led = led;
    return reply;
  }

  // Who leads partition 0 is asked; what comes is in `got_`.
  void AskLeader() {
    fleet_.AskLeader<pb::GetSessionResponse>(
        0, {.caller = kOperator, .method = kGet}, pb::GetSessionRequest(),
        [this](absl::StatusOr<Fleet::Said<pb::GetSessionResponse>> said) {
          EXPECT_FALSE(got_.has_value());
          got_ = std::move(said);
        });
  }
  void Gather(Fleet::Stored stored) {
    fleet_.Gather<pb::DeleteRetainedResponse>(
        {.caller = kOperator, .method = kDelete, .within = asks_within_, .stored = stored},
        pb::DeleteRetainedRequest(),
        [this](absl::StatusOr<Fleet::Gathered<pb::DeleteRetainedResponse>> gathered) {
          ASSERT_TRUE(gathered.ok()) << gathered.status();
          EXPECT_FALSE(sum_.has_value());
          sum_ = gathered->here.deleted();
          for (const auto& other : gathered->others) *sum_ += other.deleted();
          gathered->AddMissingTo(missing_);
          unled_ = gathered->unled.size();
        });
  }

  support::FakeClock clock_;
  Readiness readiness_;
  base::ClusterView view_;
  std::map<uint32_t, absl::StatusOr<base::NodeReply>> says_{
      {2, absl::UnavailableError("the link is down")}, {3, NotLed()}};
  std::map<uint32_t, int> asked_;
  absl::Duration within_;  // Of the last call.
  absl::Duration asks_within_ = kNodePatience;
  uint64_t led_here_ = 0;
  uint64_t deleted_here_ = 0;
  Methods here_;
  BrokerAccess broker_{Sources()};
  Fleet fleet_{broker_, here_};
  std::optional<absl::StatusOr<Fleet::Said<pb::GetSessionResponse>>> got_;
  std::optional<uint64_t> sum_;
  google::protobuf::RepeatedPtrField<pb::MissingNode> missing_;
  size_t unled_ = 0;
};

TEST_F(FleetTest, APartitionThatGetsAnotherLeaderIsWaitedFor) {
  AskLeader();
  EXPECT_FALSE(got_.has_value()) << "two of three say that they do not lead";
  clock_.Advance(absl::Seconds(1));
  fleet_.Tick();
  EXPECT_FALSE(got_.has_value());
  EXPECT_EQ(asked_[3], 2);
  says_[3] = base::NodeReply();
  view_.partitions[0].leader = 3;
  fleet_.Tick();
  ASSERT_TRUE(got_.has_value());
  EXPECT_TRUE(got_->ok() && (*got_)->status.ok());
  EXPECT_EQ(asked_[2], 2) << "whom this node believes to lead is asked first";
}

TEST_F(FleetTest, WithoutAMajorityThereWillBeNoLeader) {
  says_[3] = absl::UnavailableError("the link is down");
  AskLeader();
  ASSERT_TRUE(got_.has_value());
  EXPECT_EQ(got_->status().message(), "node 2: the link is down");
}

TEST_F(FleetTest, ALeaderIsWaitedForSoLongAndNoLonger) {
  AskLeader();
  clock_.Advance(kLeaderPatience);
  fleet_.Tick();
  ASSERT_TRUE(got_.has_value());
  EXPECT_EQ(got_->status().message(), "node 2: the link is down");
}

TEST_F(FleetTest, WhatIsSaidByOneThatLeadsIsTheAnswerWhateverItIs) {
  says_[2] = base::NodeReply{.status = absl::NotFoundError("there is no session")};
  AskLeader();
  ASSERT_TRUE(got_.has_value() && got_->ok());
  EXPECT_TRUE(absl::IsNotFound((*got_)->status));
}

TEST_F(FleetTest, WhoWaitsHearsWhenTheProcessStops) {
  AskLeader();
  fleet_.Stop();
  EXPECT_TRUE(got_.has_value());
  got_.reset();
  AskLeader();
  EXPECT_TRUE(got_.has_value());
}

TEST_F(FleetTest, ASumIsWholeWhenEachPartitionWasAnsweredForOnce) {
  led_here_ = 1;
  deleted_here_ = 5;
  says_[2] = Said(0, 0);
  says_[3] = Said(7, 2);
  Gather(Fleet::Stored::kMore);
  EXPECT_EQ(sum_, 12);
  EXPECT_THAT(missing_, IsEmpty());
}

TEST_F(FleetTest, ASumThatLacksAPartitionIsMadeAnew) {
  for (const bool twice : {false, true}) {
    for (const Fleet::Stored stored : {Fleet::Stored::kAgain, Fleet::Stored::kMore}) {
      sum_.reset();
      led_here_ = 1;
      deleted_here_ = 5;
      says_[2] = Said(1, 0);
      says_[3] = Said(7, twice ? 3 : 0);
      Gather(stored);
      EXPECT_FALSE(sum_.has_value());
      deleted_here_ = 0;
      says_[2] = absl::UnavailableError("the link is down");
      says_[3] = Said(20, 2);
      fleet_.Tick();
      EXPECT_EQ(sum_, stored == Fleet::Stored::kAgain ? 20 : 5 + 1 + 7 + 20);
      ASSERT_EQ(missing_.size(), 1) << "of the last round";
      EXPECT_EQ(missing_[0].node(), "uuid-2");
      missing_.Clear();
    }
  }
}

TEST_F(FleetTest, WhatNobodyAnsweredForInTimeIsNamed) {
  led_here_ = 1;
  says_[2] = Said(0, 0);
  says_[3] = Said(0, 0);
  Gather(Fleet::Stored::kAgain);
  clock_.Advance(kLeaderPatience);
  fleet_.Tick();
  ASSERT_EQ(sum_, 0);
  ASSERT_EQ(missing_.size(), 1);
  EXPECT_EQ(unled_, 1);
  EXPECT_EQ(missing_[0].node(), "uuid-2");
  EXPECT_THAT(missing_[0].reason(), HasSubstr("nobody leads partition 1 just now"));
}

TEST_F(FleetTest, WhatTwoAnsweredForInTheEndIsNamed) {
  led_here_ = 1;
  says_[2] = Said(0, 2);
  says_[3] = Said(0, 2);
  Gather(Fleet::Stored::kAgain);
  clock_.Advance(kLeaderPatience);
  fleet_.Tick();
  ASSERT_EQ(missing_.size(), 1);
  EXPECT_THAT(missing_[0].reason(), HasSubstr("partition 1 has got another leader just now"));
}

TEST_F(FleetTest, WhatWasWaitedForALeaderIsMissingWhenItIsAskedAgain) {
  asks_within_ = kNodeLongPatience;
  says_[2] = Said(0, 0);
  says_[3] = Said(0, 0);
  Gather(Fleet::Stored::kAgain);
  EXPECT_EQ(within_, kNodeLongPatience);
  clock_.Advance(kLeaderPatience - absl::Seconds(1));
  fleet_.Tick();
  EXPECT_EQ(within_, kNodeLongPatience - kLeaderPatience + absl::Seconds(1));
}

TEST_F(FleetTest, NobodyWaitsForAMajorityThatDoesNotAnswer) {
  led_here_ = 0;
  says_[3] = absl::UnavailableError("the link is down");
  Gather(Fleet::Stored::kAgain);
  EXPECT_TRUE(sum_.has_value());
  EXPECT_EQ(missing_.size(), 3) << "two nodes, and what nobody leads";
}

TEST_F(FleetTest, OfAReleaseThatDoesNotSayWhatItLedTheAnswerIsTaken) {
  says_[2] = Said(1, std::nullopt);
  says_[3] = Said(2, std::nullopt);
  Gather(Fleet::Stored::kAgain);
  EXPECT_EQ(sum_, 3);
  EXPECT_THAT(missing_, IsEmpty());
}

}  // namespace
}  // namespace admin
