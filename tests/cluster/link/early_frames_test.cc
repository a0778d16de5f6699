#include "cluster/link/early_frames.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace cluster {
namespace {

struct Source final : FrameSource {
  void Took(LinkCredit::Amount amount) override { bytes += amount.bytes; }
  size_t bytes = 0;
};

ReceivedFrame FrameOf(uint64_t link, const std::shared_ptr<Source>& source) {
  return {LinkClass::kTraffic,  {NodeId(2), Incarnation(1)}, link,
          std::string(10, 'x'), {{.at = 0, .size = 10}},     source};
}

// However often a node connects before it can be heard, it is one link's credit that is kept.
TEST(EarlyFrames, AreThoseOfTheLastLink) {
  const auto first = std::make_shared<Source>();
  const auto second = std::make_shared<Source>();
  EarlyFrames early;
  EXPECT_TRUE(early.empty());
  early.Add(FrameOf(7, first));
  early.Add(FrameOf(7, first));
  EXPECT_EQ(early.size(), 2u);
  early.Add(FrameOf(8, second));
  EXPECT_EQ(early.size(), 1u);
  EXPECT_EQ(first->bytes, 20u) << "they count no more against what may be on its way";
  early.Add(FrameOf(7, first));
  EXPECT_EQ(early.size(), 1u);
  EXPECT_EQ(first->bytes, 30u);
  early.Add(FrameOf(8, second));
  EXPECT_EQ(second->bytes, 0u);
  const auto taken = early.Take();
  ASSERT_EQ(taken.size(), 2u);
  EXPECT_EQ(taken[0].link(), 8u);
  EXPECT_TRUE(early.empty());
}

}  // namespace
}  // namespace cluster
