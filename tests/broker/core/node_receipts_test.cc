#include "broker/core/node_receipts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/rng.h"

namespace broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

NodeMask Nodes(std::initializer_list<uint32_t> nodes) {
  NodeMask mask = 0;
  for (const uint32_t node : nodes) mask |= NodeMask{1} << node;
  return mask;
}

std::vector<storage::Token> Has(NodeReceipts& receipts, uint32_t node, uint64_t receipt) {
  std::vector<storage::Token> done;
  receipts.Has(node, receipt, done);
  return done;
}

TEST(NodeReceipts, WaitForTheLastNode) {
  NodeReceipts receipts;
  receipts.Expect(1, Nodes({0, 63}), 10);
  receipts.Expect(2, Nodes({0}), 20);
  receipts.Expect(5, Nodes({63}), 50);
  EXPECT_THAT(Has(receipts, 0, 3), ElementsAre(20));
  EXPECT_THAT(Has(receipts, 0, 2), IsEmpty()) << "late, and known";
  EXPECT_THAT(Has(receipts, 63, 4), ElementsAre(10));
  EXPECT_THAT(Has(receipts, 63, 5), ElementsAre(50));
  EXPECT_EQ(receipts.size(), 0u);
}

TEST(NodeReceipts, AreNotOwedByANodeThatHasGone) {
  NodeReceipts receipts;
  receipts.Expect(1, Nodes({3}), 10);
  receipts.Expect(2, Nodes({3, 4}), 20);
  std::vector<storage::Token> done;
  receipts.Gone(3, done);
  EXPECT_THAT(done, ElementsAre(10));
  receipts.Expect(3, Nodes({3}), 30);  // Another one has its place.
  EXPECT_THAT(Has(receipts, 3, 3), ElementsAre(30));
  EXPECT_THAT(Has(receipts, 4, 3), ElementsAre(20));
}

TEST(NodeReceipts, AreLetGoOfByWhoIsNotPatient) {
  NodeReceipts receipts;
  receipts.Expect(1, Nodes({3}), 10);
  receipts.Expect(2, Nodes({3}), 20, /*patient=*/true);
  receipts.Expect(3, Nodes({3, 4}), 30);
  std::vector<storage::Token> done;
  receipts.LetGoOf(3, done);
  EXPECT_THAT(done, ElementsAre(10));
  receipts.Expect(4, Nodes({3}), 40);
  receipts.LetGoOf(3, done);
  EXPECT_THAT(done, ElementsAre(10, 40));
  EXPECT_THAT(Has(receipts, 4, 4), ElementsAre(30));
  EXPECT_THAT(Has(receipts, 3, 4), ElementsAre(20));
  EXPECT_EQ(receipts.size(), 0u);
}

// It waits for a node of which nobody can say whether it is gone, while others take messages.
TEST(NodeReceipts, BehindOneThatWaitsForLongAreNotKept) {
  NodeReceipts receipts;
  receipts.Expect(1, Nodes({1}), 1, /*patient=*/true);
  constexpr uint64_t kMessages = 100'000;
  for (uint64_t receipt = 2; receipt <= kMessages; ++receipt) {
    receipts.Expect(receipt, receipt % 1000 == 0 ? Nodes({1, 2}) : Nodes({2}), receipt);
    std::vector<storage::Token> done;
    receipts.LetGoOf(1, done);
    ASSERT_THAT(done, IsEmpty());
    ASSERT_THAT(Has(receipts, 2, receipt), ElementsAre(receipt));
    ASSERT_LT(receipts.size(), 5000u) << receipt;
  }
  EXPECT_THAT(Has(receipts, 1, kMessages), ElementsAre(1));
  EXPECT_EQ(receipts.size(), 0u);
}

TEST(NodeReceipts, AgreeWithAListOfWhoOwesWhat) {
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    base::Rng rng(seed);
    NodeReceipts receipts;
    std::map<uint64_t, std::set<uint32_t>> owed;
    uint64_t last = 0;
    for (int i = 0; i < 500; ++i) {
      std::vector<storage::Token> done;
      std::vector<storage::Token> expected;
      const auto node = static_cast<uint32_t>(rng.Below(5));
      const auto settle = [&](uint64_t through) {
        for (auto one = owed.begin(); one != owed.end() && one->first <= through;) {
          const bool all = one->second.erase(node) != 0 && one->second.empty();
          if (all) expected.push_back(one->first);
          one = all ? owed.erase(one) : std::next(one);
        }
      };
      if (rng.Chance(0.5)) {
        last += 1 + rng.Below(3);
        NodeMask mask = 0;
        for (uint32_t each = 0; each < 5; ++each) {
          if (!rng.Chance(0.4)) continue;
          mask |= NodeMask{1} << each;
          owed[last].insert(each);
        }
        if (mask != 0) receipts.Expect(last, mask, last);
      } else if (rng.Chance(0.9)) {
        const uint64_t through = rng.Below(last + 1);
        receipts.Has(node, through, done);
        settle(through);
      } else {
        receipts.Gone(node, done);
        settle(last);
      }
      ASSERT_EQ(done, expected);
    }
  }
}

// A block of forwarded messages may end between two copies of one message to a node, which says
// what it has by the greatest receipt of a block.
TEST(OwedReceipts, OfAMessageThatGoesToANodeTwiceAreTwo) {
  NodeReceipts receipts;
  OwedReceipts owed;
  owed.Begin();
  const uint64_t by_routes = owed.Owe(Nodes({1, 2}));
  const uint64_t to_member = owed.Owe(Nodes({2}));
  EXPECT_GT(to_member, by_routes);
  EXPECT_EQ(owed.Expect(receipts, 10, false), 2u);
  EXPECT_FALSE(owed.any());
  EXPECT_THAT(Has(receipts, 2, by_routes), IsEmpty());
  EXPECT_THAT(Has(receipts, 2, to_member), ElementsAre(10)) << "1 owes the first copy";
  EXPECT_THAT(Has(receipts, 1, by_routes), ElementsAre(10));
  EXPECT_EQ(receipts.size(), 0u);
}

TEST(OwedReceipts, OfAMessageThatGoesToEachNodeOnceIsOne) {
  NodeReceipts receipts;
  OwedReceipts owed;
  owed.Begin();
  const uint64_t by_routes = owed.Owe(Nodes({1, 2}));
  EXPECT_EQ(owed.Owe(Nodes({3})), by_routes);
  EXPECT_EQ(owed.Owe(0), by_routes) << "it goes to a node that is not waited for";
  EXPECT_EQ(owed.Expect(receipts, 10, false), 1u);
  owed.Begin();
  EXPECT_GT(owed.Owe(Nodes({1})), by_routes);
}

// One that a member leaves is handed on while another message is being routed.
TEST(OwedReceipts, AreSetAsideForAMessageThatComesBetween) {
  NodeReceipts receipts;
  OwedReceipts owed;
  owed.Begin();
  const uint64_t before = owed.Owe(Nodes({1}));
  std::vector<OwedReceipts::Owed> paused = owed.Pause();
  EXPECT_FALSE(owed.any());
  const uint64_t between = owed.Owe(Nodes({1, 2}));
  EXPECT_GT(between, before);
  owed.Begin();
  EXPECT_FALSE(owed.any()) << "nobody waits for it";
  owed.Resume(std::move(paused));
  const uint64_t behind = owed.Owe(Nodes({2}));
  EXPECT_GT(behind, between);
  EXPECT_EQ(owed.Expect(receipts, 10, false), 2u);
  EXPECT_THAT(Has(receipts, 2, between), IsEmpty());
  EXPECT_THAT(Has(receipts, 2, behind), ElementsAre(10));
  EXPECT_THAT(Has(receipts, 1, before), ElementsAre(10));
}

}  // namespace
}  // namespace broker
