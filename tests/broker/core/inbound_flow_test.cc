// InboundFlow: its rules one by one, then against a client and a server as simple as can be.
#include "broker/core/inbound_flow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"

namespace broker {
namespace {

using mqtt::PacketId;
using mqtt::PacketType;
using mqtt::QoS;
using mqtt::ReasonCode;
using mqtt::Version;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr QoS kQos1 = QoS::kAtLeastOnce;
constexpr QoS kQos2 = QoS::kExactlyOnce;

PacketType AckOf(QoS qos) { return qos == kQos2 ? PacketType::kPubRec : PacketType::kPubAck; }

class InboundFlowTest : public ::testing::Test {
 protected:
  // "route", "repeat", "pending", or the rule that is broken.
  std::string Admit(QoS qos, uint16_t id, Version version = Version::k5) {
    Admission admission;
    const auto violation = flow_.Admit(version, qos, PacketId{id}, admission);
    if (violation.has_value()) {
      EXPECT_EQ(violation->reason, ReasonCode::kReceiveMaximumExceeded);
      return std::string(violation->rule);
    }
    switch (admission) {
      case Admission::kRoute:
        return "route";
      case Admission::kRepeat:
        return "repeat";
      case Admission::kRepeatPending:
        return "pending";
    }
    return "?";
  }
  void Acked(QoS qos, uint16_t id, ReasonCode reason = ReasonCode::kSuccess) {
    EXPECT_TRUE(flow_.in_order());
    flow_.AckedNow(AckOf(qos), PacketId{id}, reason);
  }
  void Queue(PacketType type, uint16_t id, bool ready = false) {
    const auto ticket = flow_.Queue(type, PacketId{id}, ReasonCode::kSuccess, ready);
    if (!ready) tickets_.push_back({type, id, ticket});
  }
  void Queue(QoS qos, uint16_t id, bool ready = false) { Queue(AckOf(qos), id, ready); }
  // The identifiers whose acknowledgements leave when the oldest one of that name may.
  std::vector<uint16_t> Complete(PacketType type, uint16_t id,
                                 ReasonCode reason = ReasonCode::kSuccess) {
    const auto waits = std::find_if(tickets_.begin(), tickets_.end(), [&](const Waits& each) {
      return each.type == type && each.id == id;
    });
    const InboundFlow::Ticket ticket = waits->ticket;
    tickets_.erase(waits);
    std::vector<uint16_t> left;
    flow_.Complete(ticket, reason, [&](const InboundFlow::Ack& ack) {
      EXPECT_TRUE(ack.ready);
      left.push_back(ack.id.value);
      reasons_.push_back(ack.reason);
    });
    return left;
  }
  std::vector<uint16_t> Complete(QoS qos, uint16_t id, ReasonCode reason = ReasonCode::kSuccess) {
    return Complete(AckOf(qos), id, reason);
  }
  void Release(uint16_t id) {
    flow_.AckedNow(PacketType::kPubComp, PacketId{id}, ReasonCode::kSuccess);
  }

  struct Waits {
    PacketType type;
    uint16_t id;
    InboundFlow::Ticket ticket;
  };
  InboundFlow flow_{2};
  std::vector<Waits> tickets_;
  std::vector<ReasonCode> reasons_;
};

// ---- Receive Maximum ----

TEST_F(InboundFlowTest, OneMoreThanReceiveMaximumIsAViolation) {
  EXPECT_EQ(Admit(kQos1, 1), "route");
  EXPECT_EQ(Admit(kQos2, 2), "route");
  EXPECT_EQ(Admit(kQos1, 3), "MQTT5-3.3.4-7");
  EXPECT_EQ(Admit(kQos2, 3), "MQTT5-3.3.4-7");
  EXPECT_EQ(Admit(kQos2, 2), "repeat") << "the same exchange";
}

TEST_F(InboundFlowTest, PubAckGivesQuotaBack) {
  for (uint16_t id = 1; id <= 10; ++id) {
    EXPECT_EQ(Admit(kQos1, id), "route");
    Acked(kQos1, id, id % 2 == 0 ? ReasonCode::kNotAuthorized : ReasonCode::kSuccess);
  }
  EXPECT_EQ(flow_.quota_used(), 0u);
}

TEST_F(InboundFlowTest, PubRecGivesNothingBackButPubCompDoes) {
  EXPECT_EQ(Admit(kQos2, 1), "route");
  EXPECT_EQ(Admit(kQos2, 2), "route");
  Acked(kQos2, 1);
  Acked(kQos2, 2);
  EXPECT_EQ(Admit(kQos1, 3), "MQTT5-3.3.4-7");
  Release(1);
  EXPECT_EQ(Admit(kQos1, 3), "route");
}

TEST_F(InboundFlowTest, ARefusingPubRecEndsTheExchange) {
  EXPECT_EQ(Admit(kQos2, 1), "route");
  Acked(kQos2, 1, ReasonCode::kQuotaExceeded);
  EXPECT_EQ(flow_.quota_used(), 0u);
  EXPECT_FALSE(flow_.Knows(PacketId{1}));
  EXPECT_EQ(Admit(kQos2, 1), "route") << "the identifier is free again";
}

TEST_F(InboundFlowTest, PubRecThatNobodyMatchesIsNoRefusal) {
  EXPECT_EQ(Admit(kQos2, 1), "route");
  Acked(kQos2, 1, ReasonCode::kNoMatchingSubscribers);
  EXPECT_EQ(flow_.quota_used(), 1u);
  EXPECT_EQ(Admit(kQos2, 1), "repeat");
}

TEST_F(InboundFlowTest, OlderClientsHaveNoMaximum) {
  for (uint16_t id = 1; id <= 100; ++id) {
    EXPECT_EQ(Admit(id % 2 == 0 ? kQos1 : kQos2, id, id % 3 == 0 ? Version::k31 : Version::k311),
              "route");
  }
}

TEST_F(InboundFlowTest, IsFullOnlyWithWhatWaitsForOurAcknowledgement) {
  for (uint16_t id = 1; id <= 10; ++id) {
    EXPECT_EQ(Admit(kQos2, id, Version::k311), "route");
    Acked(kQos2, id);
  }
  EXPECT_FALSE(flow_.full(Version::k311)) << "the client's PUBREL must still be read";
  for (uint16_t id = 11; id <= 12; ++id) {
    EXPECT_EQ(Admit(kQos2, id, Version::k311), "route");
    Queue(kQos2, id);
  }
  EXPECT_TRUE(flow_.full(Version::k311));
  EXPECT_FALSE(flow_.full(Version::k5)) << "its client keeps the maximum";
  EXPECT_THAT(Complete(kQos2, 11), ElementsAre(11));
  EXPECT_FALSE(flow_.full(Version::k311));
}

TEST_F(InboundFlowTest, SubacksThatWaitMakeItFullOnlyWhenTheyAreMany) {
  for (int i = 0; i < 1025; ++i) Queue(PacketType::kSubAck, 1);
  EXPECT_FALSE(flow_.full(Version::k311));
  EXPECT_FALSE(flow_.publishes_wait());
  Queue(PacketType::kPubComp, 2, true);
  EXPECT_TRUE(flow_.full(Version::k5));
}

// ---- A resumed session ----

TEST_F(InboundFlowTest, WhatAnEarlierConnectionLeftTakesNoQuota) {
  for (uint16_t id = 1; id <= 5; ++id) flow_.Restore(id);
  EXPECT_TRUE(flow_.Knows(PacketId{5}));
  EXPECT_EQ(Admit(kQos1, 10), "route");
  EXPECT_EQ(Admit(kQos2, 11), "route");
  EXPECT_EQ(Admit(kQos1, 12), "MQTT5-3.3.4-7");
}

TEST_F(InboundFlowTest, SentAgainOnThisConnectionItTakesQuotaOnce) {
  flow_.Restore(1);
  flow_.Restore(2);
  flow_.Restore(3);
  EXPECT_EQ(Admit(kQos2, 1), "repeat");
  EXPECT_EQ(Admit(kQos2, 1), "repeat");
  EXPECT_EQ(flow_.quota_used(), 1u);
  EXPECT_EQ(Admit(kQos2, 2), "repeat");
  EXPECT_EQ(Admit(kQos2, 3), "MQTT5-3.3.4-7");
  Release(1);
  Release(2);
  EXPECT_EQ(flow_.quota_used(), 0u);
  EXPECT_EQ(Admit(kQos2, 3, Version::k311), "repeat");
}

TEST_F(InboundFlowTest, EveryPubCompGivesQuotaBackAsTheClientReckons) {
  flow_.Restore(1);
  EXPECT_EQ(Admit(kQos1, 10), "route");
  EXPECT_EQ(Admit(kQos1, 11), "route");
  Release(1);  // PUBCOMP for the earlier connection's exchange.
  EXPECT_EQ(Admit(kQos1, 12), "route");
  EXPECT_EQ(Admit(kQos1, 13), "MQTT5-3.3.4-7");
  Release(999);  // PUBCOMP 0x92.
  EXPECT_EQ(Admit(kQos1, 13), "route");
}

TEST_F(InboundFlowTest, QuotaNeverGrowsAboveTheMaximum) {
  flow_.Restore(1);
  flow_.Restore(2);
  Release(1);
  Release(2);
  Release(3);
  EXPECT_EQ(Admit(kQos1, 10), "route");
  EXPECT_EQ(Admit(kQos1, 11), "route");
  EXPECT_EQ(Admit(kQos1, 12), "MQTT5-3.3.4-7");
}

// ---- Repeats ----

TEST_F(InboundFlowTest, ARepeatOfQos2IsNotRoutedUntilReleased) {
  EXPECT_EQ(Admit(kQos2, 7), "route");
  Queue(kQos2, 7);
  EXPECT_EQ(Admit(kQos2, 7), "pending") << "its PUBREC waits for the commit";
  EXPECT_THAT(Complete(kQos2, 7), ElementsAre(7));
  EXPECT_EQ(Admit(kQos2, 7), "repeat");
  EXPECT_TRUE(flow_.Knows(PacketId{7}));
  Release(7);
  EXPECT_FALSE(flow_.Knows(PacketId{7}));
  EXPECT_EQ(Admit(kQos2, 7), "route");
}

TEST_F(InboundFlowTest, ARepeatOfQos1IsANewMessage) {
  EXPECT_EQ(Admit(kQos1, 7, Version::k311), "route");
  EXPECT_EQ(Admit(kQos1, 7, Version::k311), "route");
  Queue(kQos1, 7);
  Queue(kQos1, 7);
  EXPECT_THAT(Complete(kQos1, 7), ElementsAre(7));
  EXPECT_THAT(Complete(kQos1, 7), ElementsAre(7));
  EXPECT_EQ(flow_.quota_used(), 0u);
}

TEST_F(InboundFlowTest, TheSameIdentifierAtQos1IsNoRepeatOfQos2) {
  EXPECT_EQ(Admit(kQos2, 7), "route");
  Queue(kQos2, 7);
  EXPECT_EQ(Admit(kQos1, 7), "route");
  Queue(kQos1, 7);
  EXPECT_THAT(Complete(kQos1, 7), IsEmpty());
  EXPECT_THAT(Complete(kQos2, 7), ElementsAre(7, 7));
  EXPECT_TRUE(flow_.Knows(PacketId{7}));
}

// ---- Order ----

TEST_F(InboundFlowTest, AcknowledgementsLeaveInTheOrderOfThePublishes) {
  for (uint16_t id = 1; id <= 5; ++id) Admit(kQos1, id, Version::k311);
  Queue(kQos1, 1);
  EXPECT_FALSE(flow_.in_order());
  Queue(kQos1, 2, true);  // For nobody: ready, but behind the first.
  Queue(kQos1, 3);
  Queue(kQos1, 4);
  Queue(kQos1, 5, true);
  EXPECT_THAT(Complete(kQos1, 3), IsEmpty());
  EXPECT_THAT(Complete(kQos1, 1), ElementsAre(1, 2, 3));
  EXPECT_FALSE(flow_.in_order());
  EXPECT_THAT(Complete(kQos1, 4), ElementsAre(4, 5));
  EXPECT_TRUE(flow_.in_order());
}

TEST_F(InboundFlowTest, ACommitThatFailsIsToldInItsPlace) {
  for (uint16_t id = 1; id <= 2; ++id) Admit(kQos2, id);
  Queue(kQos2, 1);
  Queue(kQos2, 2);
  EXPECT_THAT(Complete(kQos2, 2, ReasonCode::kQuotaExceeded), IsEmpty());
  EXPECT_EQ(flow_.quota_used(), 2u) << "the client does not know yet";
  EXPECT_THAT(Complete(kQos2, 1), ElementsAre(1, 2));
  EXPECT_THAT(reasons_, ElementsAre(ReasonCode::kSuccess, ReasonCode::kQuotaExceeded));
  EXPECT_TRUE(flow_.Knows(PacketId{1}));
  EXPECT_FALSE(flow_.Knows(PacketId{2}));
  EXPECT_EQ(flow_.quota_used(), 1u);
}

TEST_F(InboundFlowTest, AllKindsOfAcknowledgementsKeepOneOrder) {
  Admit(kQos2, 1);
  Acked(kQos2, 1);
  Queue(PacketType::kSubAck, 7);
  Admit(kQos1, 2);
  Queue(kQos1, 2, true);
  Queue(PacketType::kPubComp, 1);
  Queue(PacketType::kUnsubAck, 7);
  EXPECT_THAT(Complete(PacketType::kPubComp, 1), IsEmpty());
  EXPECT_TRUE(flow_.Knows(PacketId{1})) << "until its PUBCOMP leaves";
  EXPECT_EQ(flow_.quota_used(), 2u);
  EXPECT_THAT(Complete(PacketType::kSubAck, 7), ElementsAre(7, 2, 1));
  EXPECT_FALSE(flow_.Knows(PacketId{1}));
  EXPECT_EQ(flow_.quota_used(), 0u);
  EXPECT_THAT(Complete(PacketType::kUnsubAck, 7), ElementsAre(7));
  EXPECT_TRUE(flow_.in_order());
}

// ---- A client that keeps the rules, with a quota as §4.9 describes it ----

class InboundModel : public ::testing::TestWithParam<uint64_t> {
 protected:
  struct Sent {
    uint16_t id;
    QoS qos;
    bool committed;  // The server's part: false while the commit runs.
    ReasonCode reason;
    InboundFlow::Ticket ticket = 0;
  };

  uint16_t FreeId() {
    do {
      last_ = static_cast<uint16_t>(last_ % 500 + 1);
    } while (in_use_.contains(last_));
    in_use_.insert(last_);
    return last_;
  }
  void Give() { quota_ = std::min(quota_ + 1, kMaximum); }

  void ClientHears(const Sent& sent) {
    if (sent.qos == kQos1 || mqtt::IsError(sent.reason)) {
      in_use_.erase(sent.id);
      Give();
    } else {
      to_release_.push_back(sent.id);
    }
  }
  // All that may leave, in order; the model's order is that of the publishes.
  void Expect(const InboundFlow::Ack& ack) {
    ASSERT_FALSE(waiting_.empty());
    const Sent sent = waiting_.front();
    waiting_.pop_front();
    ASSERT_TRUE(sent.committed);
    ASSERT_EQ(ack.id, PacketId{sent.id});
    ASSERT_EQ(ack.type, AckOf(sent.qos));
    ASSERT_EQ(ack.reason, sent.reason);
    ClientHears(sent);
  }

  void Publish(base::Rng& rng) {
    Sent sent = {FreeId(), rng.Chance(0.5) ? kQos1 : kQos2, rng.Chance(0.5),
                 rng.Chance(0.1) ? ReasonCode::kNotAuthorized : ReasonCode::kSuccess};
    --quota_;
    Admission admission;
    ASSERT_FALSE(flow_.Admit(Version::k5, sent.qos, PacketId{sent.id}, admission).has_value());
    ASSERT_EQ(admission, Admission::kRoute);
    if (sent.committed && flow_.in_order()) {
      ASSERT_TRUE(waiting_.empty());
      flow_.AckedNow(AckOf(sent.qos), PacketId{sent.id}, sent.reason);
      return ClientHears(sent);
    }
    sent.ticket = flow_.Queue(AckOf(sent.qos), PacketId{sent.id}, sent.reason, sent.committed);
    waiting_.push_back(sent);
  }
  void Commit(base::Rng& rng) {
    std::vector<size_t> open;
    for (size_t i = 0; i < waiting_.size(); ++i) {
      if (!waiting_[i].committed) open.push_back(i);
    }
    if (open.empty()) return;
    Sent& sent = waiting_[open[rng.Chance(0.7) ? 0 : rng.Below(open.size())]];
    sent.committed = true;
    sent.reason = rng.Chance(0.1) ? ReasonCode::kQuotaExceeded : ReasonCode::kSuccess;
    flow_.Complete(sent.ticket, sent.reason, [&](const InboundFlow::Ack& ack) { Expect(ack); });
    ASSERT_TRUE(waiting_.empty() || !waiting_.front().committed) << "it may leave and must";
  }
  void ReleaseOne() {
    if (to_release_.empty()) return;
    const uint16_t id = to_release_.front();
    to_release_.pop_front();
    ASSERT_TRUE(flow_.Knows(PacketId{id}));
    // As at once although others wait: the model is about PUBLISH.
    flow_.AckedNow(PacketType::kPubComp, PacketId{id}, ReasonCode::kSuccess);
    in_use_.erase(id);
    Give();
  }

  static constexpr uint32_t kMaximum = 8;
  InboundFlow flow_{kMaximum};
  uint32_t quota_ = kMaximum;
  uint16_t last_ = 0;
  std::set<uint16_t> in_use_;
  std::deque<Sent> waiting_;
  std::deque<uint16_t> to_release_;
};

TEST_P(InboundModel, AClientThatKeepsTheRulesIsNeverRefused) {
  base::Rng rng(GetParam());
  // An earlier connection left some, whose PUBREL comes first.
  for (uint16_t id = 600; id < 606; ++id) {
    flow_.Restore(id);
    to_release_.push_back(id);
  }
  for (int step = 0; step < 20'000; ++step) {
    SCOPED_TRACE(step);
    const uint64_t action = rng.Below(3);
    if (action == 0 && quota_ > 0) Publish(rng);
    if (action == 1) Commit(rng);
    if (action == 2) ReleaseOne();
    ASSERT_FALSE(HasFatalFailure());
    ASSERT_EQ(flow_.quota_used(), kMaximum - quota_);
    ASSERT_EQ(flow_.in_order(), waiting_.empty());
    ASSERT_EQ(flow_.full(Version::k311), waiting_.size() >= kMaximum);
    if (quota_ == 0) {
      Admission admission;
      ASSERT_TRUE(flow_.Admit(Version::k5, kQos1, PacketId{999}, admission).has_value());
    }
    for (const uint16_t id : to_release_) ASSERT_TRUE(flow_.Knows(PacketId{id}));
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, InboundModel, ::testing::Range<uint64_t>(1, 5));

}  // namespace
}  // namespace broker
