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

}  // namespace
}  // namespace broker
