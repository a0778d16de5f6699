// Whose a session is, how many there may be, and what of an owner is published.
#include <iostream>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/core/session.h"
#include "storage/leader/host.h"
#include "storage/leader/session_census.h"
#include "tests/storage/host_fixture.h"

namespace storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class HostOwners : public HostTest {
 protected:
  using HostTest::HostTest;

  OpenSession As(const std::string& user_name, const std::string& client_id,
                 uint32_t expiry_s = 3600) {
    OpenSession open = MakeOpen(client_id, expiry_s);
    open.user_name = user_name;
    return open;
  }
  OpenRefusal Refused(OpenSession open) { return Open(std::move(open)).refusal; }

  // Connects and leaves, so that a session stays; with a subscription if it is to hold something.
  void Leave(const std::string& user_name, const std::string& client_id, bool holds = false) {
    const SessionOpened opened = Open(As(user_name, client_id));
    ASSERT_TRUE(opened.status.ok()) << opened.status;
    if (holds) {
      EXPECT_TRUE(Subscribe(client_id, opened.epoch, "kept/" + client_id).ok());
    }
    Close(client_id);
  }
  void Crash() { sim_.Crash(rng_); }
  bool Stored(const std::string& client_id) {
    const PartitionId partition = PartitionOfClient(client_id, sim_.core().partitions());
    return sim_.core().partition(partition).Find(client_id) != nullptr;
  }

  base::Rng rng_{1};
};

TEST_F(HostOwners, AStoredSessionIsItsUsersAlone) {
  Leave("alice", "dev7", true);
  for (const bool clean_start : {false, true}) {
    OpenSession bob = As("bob", "dev7");
    bob.clean_start = clean_start;
    EXPECT_EQ(Refused(bob), OpenRefusal::kOtherUser);
    OpenSession nobody = As("", "dev7", clean_start ? 0 : 3600);
    nobody.clean_start = clean_start;
    EXPECT_EQ(Refused(nobody), OpenRefusal::kOtherUser);
  }
  EXPECT_TRUE(Open(As("alice", "dev7")).session_present);
}

TEST_F(HostOwners, AConnectedSessionIsNotTakenOverByAnother) {
  for (const uint32_t expiry_s : {0u, 3600u}) {
    const std::string client_id = expiry_s == 0 ? "transient" : "durable";
    ASSERT_TRUE(Open(As("alice", client_id, expiry_s)).status.ok());
    EXPECT_EQ(Refused(As("bob", client_id, 0)), OpenRefusal::kOtherUser);
    EXPECT_EQ(Refused(As("", client_id, 3600)), OpenRefusal::kOtherUser);
    EXPECT_THAT(sim_.Take<TakenOver>(), IsEmpty());
    sim_.Send(As("alice", client_id, expiry_s));
    sim_.Settle();
    EXPECT_THAT(sim_.Take<TakenOver>(), SizeIs(1)) << "its own user may";
  }
}

TEST_F(HostOwners, WhileItsOwnerWaitsForItNobodyElseStepsInFront) {
  ASSERT_TRUE(Open(As("", "dev", 0)).status.ok());
  const uint64_t first = connection_;
  sim_.Send(As("alice", "dev"));
  sim_.Settle();
  EXPECT_THAT(sim_.Take<TakenOver>(), SizeIs(1));
  EXPECT_EQ(Refused(As("bob", "dev")), OpenRefusal::kOtherUser);
  SendClose("dev", CloseCause::kTakenOver, first);
  sim_.Settle();
  EXPECT_THAT(sim_.Take<SessionOpened>(), SizeIs(1));
}

TEST_F(HostOwners, ASessionOfNobodyBecomesThatOfTheNextUser) {
  Leave("", "dev", true);
  EXPECT_TRUE(Open(As("alice", "dev")).session_present);
  Close("dev");
  EXPECT_EQ(Refused(As("bob", "dev")), OpenRefusal::kOtherUser);
}

TEST_F(HostOwners, WhoMayHaveAnyHandsItOver) {
  Leave("alice", "dev", true);
  OpenSession bob = As("bob", "dev");
  bob.of_any_user = true;
  EXPECT_TRUE(Open(bob).session_present);
  Close("dev");
  EXPECT_EQ(Refused(As("alice", "dev")), OpenRefusal::kOtherUser);
  EXPECT_TRUE(Open(As("bob", "dev")).session_present);
}

TEST_F(HostOwners, TheOwnerIsRememberedOverARestart) {
  Leave("alice", "dev", true);
  Crash();
  EXPECT_EQ(Refused(As("bob", "dev")), OpenRefusal::kOtherUser);
  EXPECT_TRUE(Open(As("alice", "dev")).session_present);
}

// ---- Wills -------------------------------------------------------------------------------------

TEST_F(HostOwners, AWillIsNotPublishedOnceItsClientMayNoLonger) {
  std::vector<std::string> asked;
  bool may = true;
  sim_.core().node().may_publish = [&](const SessionUser& author, std::string_view topic) {
    asked.push_back(author.user_name + "@" + author.listener + ":" + author.client_id + " " +
                    std::string(topic));
    return may;
  };
  for (const bool allowed : {true, false}) {
    may = allowed;
    OpenSession open = As("alice", "dev");
    open.listener = "outside";
    open.will = Text("wills/dev", "gone");
    open.will_delay_s = 10;
    ASSERT_TRUE(Open(open).status.ok());
    Close("dev");
    EXPECT_THAT(TakeWills(), IsEmpty());
    sim_.clock().Advance(absl::Seconds(11));
    sim_.Settle();
    if (allowed) {
      EXPECT_THAT(TakeWills(), ElementsAre("gone"));
    } else {
      EXPECT_THAT(TakeWills(), IsEmpty());
    }
  }
  EXPECT_THAT(asked, ElementsAre("alice@outside:dev wills/dev", "alice@outside:dev wills/dev"));
  EXPECT_EQ(sim_.metrics().wills_not_authorized.value(), 1u);
  EXPECT_TRUE(Open(As("alice", "dev")).session_present) << "only the will is gone";
}

// ---- How many ----------------------------------------------------------------------------------

StorageOptions AtMost(uint64_t sessions, SessionsFull full) {
  StorageOptions options = SmallOptions();
  options.sessions_max = sessions;
  options.sessions_full = full;
  return options;
}

class FewSessions : public HostOwners {
 protected:
  FewSessions() : HostOwners(AtMost(3, SessionsFull::kRefuse)) {}
};

TEST_F(FewSessions, AreRefusedAboveTheBoundButKnownClientsAreNot) {
  for (const std::string id : {"a", "b", "c"}) Leave("u", id, true);
  EXPECT_EQ(Refused(As("u", "d")), OpenRefusal::kSessionsMax);
  EXPECT_TRUE(Open(As("u", "e", 0)).status.ok()) << "a transient one is none of them";
  EXPECT_TRUE(Open(As("u", "a")).session_present);
}

TEST_F(FewSessions, ThoseThatHoldNothingGiveWayTheOldestFirst) {
  Leave("u", "kept", true);
  Leave("u", "empty1");
  Leave("u", "empty2");
  EXPECT_TRUE(Open(As("u", "new")).status.ok());
  EXPECT_TRUE(Stored("kept"));
  EXPECT_FALSE(Stored("empty1"));
  EXPECT_TRUE(Stored("empty2"));
  EXPECT_EQ(sim_.metrics().sessions_gave_way.value(), 1u);
  EXPECT_TRUE(Open(As("u", "empty2")).session_present) << "connected again: it does not give way";
  EXPECT_EQ(Refused(As("u", "newer")), OpenRefusal::kSessionsMax);
}

TEST_F(FewSessions, ABurstDoesNotPassTheBound) {
  for (int i = 0; i < 10; ++i) sim_.Send(As("u", "c" + std::to_string(i)));
  sim_.Settle();
  int refused = 0;
  for (const SessionOpened& opened : sim_.Take<SessionOpened>()) {
    refused += opened.refusal == OpenRefusal::kSessionsMax ? 1 : 0;
  }
  EXPECT_EQ(refused, 7);
}

TEST_F(FewSessions, AreCountedAgainAfterARestart) {
  Leave("u", "kept", true);
  Leave("u", "empty");
  Leave("u", "kept2", true);
  Crash();
  EXPECT_TRUE(Open(As("u", "new")).status.ok());
  EXPECT_FALSE(Stored("empty"));
  EXPECT_EQ(Refused(As("u", "newer")), OpenRefusal::kSessionsMax);
}

class OldestEnds : public HostOwners {
 protected:
  OldestEnds() : HostOwners(AtMost(2, SessionsFull::kEndOldest)) {}
};

TEST_F(OldestEnds, TheSessionWhoseClientIsAwayLongestGivesWay) {
  Leave("u", "a", true);
  Leave("u", "b", true);
  Leave("u", "a", true);  // It was here again.
  EXPECT_TRUE(Open(As("u", "c")).status.ok());
  EXPECT_TRUE(Stored("a"));
  EXPECT_FALSE(Stored("b"));
}

TEST_F(HostOwners, AUserHasABoundOfItsOwn) {
  const auto bounded = [&](const std::string& user, const std::string& id) {
    OpenSession open = As(user, id);
    open.user_sessions_max = 2;
    return open;
  };
  Leave("u", "a", true);
  Leave("u", "b", true);
  EXPECT_EQ(Refused(bounded("u", "c")), OpenRefusal::kUserSessionsMax);
  EXPECT_TRUE(Open(bounded("other", "d")).status.ok());
  EXPECT_TRUE(Open(bounded("u", "a")).session_present);
  OpenSession end = As("u", "b", 0);
  end.clean_start = true;
  EXPECT_TRUE(Open(end).status.ok());
  EXPECT_TRUE(Open(bounded("u", "c")).status.ok()) << "one of them has ended";
  EXPECT_EQ(Refused(bounded("u", "e")), OpenRefusal::kUserSessionsMax);
}

TEST_F(HostOwners, WhileMemoryIsShortOnlyKnownClientsComeInAndWhatIsEmptyEnds) {
  Leave("u", "known", true);
  Leave("u", "empty");
  const auto scarce = [&](const std::string& id) {
    OpenSession open = As("u", id);
    open.only_known = true;
    return open;
  };
  EXPECT_EQ(Refused(scarce("new")), OpenRefusal::kNewWhileMemoryIsShort);
  EXPECT_FALSE(Stored("empty"));
  EXPECT_TRUE(Open(scarce("known")).session_present);
}

// What it costs to end the oldest of N sessions and to note a new one, as in an endless series of
// clients that come once: the work is counted, so that a busy machine changes nothing.
double LooksPerNewSession(uint64_t sessions) {
  SessionCensus census;
  uint64_t epoch = 0;
  uint64_t looks = 0;
  const auto still_is = [&](const SessionCensus::Away&) { return ++looks > 0; };
  for (uint64_t i = 0; i < sessions; ++i) {
    census.IsAway({++epoch, 0, 0}, SessionCensus::Holds::kNothing);
  }
  const uint64_t before = looks;
  for (uint64_t i = 0; i < sessions; ++i) {
    EXPECT_TRUE(census.TakeOldest(SessionCensus::Holds::kNothing, still_is).has_value());
    census.IsAway({++epoch, 0, 0}, SessionCensus::Holds::kNothing);
    if (census.WantsPrune()) census.Prune(still_is);
  }
  return static_cast<double>(looks - before) / static_cast<double>(sessions);
}

TEST(SessionCensus, ANewSessionAtTheBoundCostsTheSameAmongFewAndAmongMany) {
  const double few = LooksPerNewSession(10'000);
  const double many = LooksPerNewSession(100'000);
  std::cout << "a new session looks at " << few << " of 10,000, " << many << " of 100,000\n";
  EXPECT_LE(many, few * 1.5 + 1);
}

}  // namespace
}  // namespace storage
