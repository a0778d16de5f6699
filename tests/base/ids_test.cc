#include "base/ids.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <sstream>
#include <type_traits>

#include "absl/container/flat_hash_set.h"

namespace base {
namespace {

using ShardId = StrongId<struct ShardIdTag, uint8_t>;
using PartitionId = StrongId<struct PartitionIdTag, uint8_t>;

static_assert(!std::is_convertible_v<ShardId, PartitionId>);
static_assert(!std::is_convertible_v<int, ShardId>);
static_assert(!std::is_convertible_v<ShardId, int>);
static_assert(sizeof(ShardId) == 1);

TEST(StrongId, ComparesAndHashesByValue) {
  EXPECT_EQ(ShardId(3), ShardId(3));
  EXPECT_LT(ShardId(3), ShardId(4));
  EXPECT_EQ(ShardId().value(), 0);
  const absl::flat_hash_set<ShardId> set = {ShardId(1), ShardId(2), ShardId(1)};
  EXPECT_EQ(set.size(), 2u);
  EXPECT_TRUE(set.contains(ShardId(2)));
}

TEST(StrongId, PrintsSmallOnesAsNumbers) {
  std::ostringstream out;
  out << ShardId(65);
  EXPECT_EQ(out.str(), "65");
}

}  // namespace
}  // namespace base
