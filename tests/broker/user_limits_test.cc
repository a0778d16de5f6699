// Clients by user name: who counts, and who no longer does.
#include "broker/user_limits.h"

#include <gtest/gtest.h>

namespace broker {
namespace {

TEST(UserLimits, AUserHasOnlySoManyClientsAndOthersHaveTheirOwn) {
  UserLimits limits;
  EXPECT_TRUE(limits.Enter({"alice", "a"}, 2));
  EXPECT_TRUE(limits.Enter({"alice", "b"}, 2));
  EXPECT_FALSE(limits.Enter({"alice", "c"}, 2));
  EXPECT_TRUE(limits.Enter({"bob", "c"}, 2));
  EXPECT_EQ(limits.ClientsOf("alice"), 2u);
  limits.Leave({"alice", "a"});
  EXPECT_TRUE(limits.Enter({"alice", "c"}, 2));
}

TEST(UserLimits, ATakeoverCountsOnceAndThePlaceStaysUntilTheLastConnectionEnds) {
  UserLimits limits;
  EXPECT_TRUE(limits.Enter({"alice", "a"}, 1));
  EXPECT_TRUE(limits.Enter({"alice", "a"}, 1));
  EXPECT_EQ(limits.ClientsOf("alice"), 1u);
  limits.Leave({"alice", "a"});  // The one that was taken over.
  EXPECT_FALSE(limits.Enter({"alice", "b"}, 1));
  limits.Leave({"alice", "a"});
  EXPECT_TRUE(limits.Enter({"alice", "b"}, 1));
}

TEST(UserLimits, NothingIsKeptOfUsersWhoAreNotThere) {
  UserLimits limits;
  EXPECT_FALSE(limits.Enter({"nobody", "a"}, 0));
  EXPECT_EQ(limits.users(), 0u);
  EXPECT_TRUE(limits.Enter({"alice", "a"}, 1));
  limits.Leave({"alice", "a"});
  EXPECT_EQ(limits.users(), 0u);
}

}  // namespace
}  // namespace broker
