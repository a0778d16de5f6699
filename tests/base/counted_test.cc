#include "base/counted.h"

#include <gtest/gtest.h>

#include <cstdint>

namespace base {
namespace {

TEST(Counted, OneIsOneAndAllOthersAreSeveral) {
  EXPECT_EQ(Counted(1, "day"), "1 day");
  EXPECT_EQ(Counted(0, "client"), "0 clients");
  EXPECT_EQ(Counted(uint64_t{1} << 63, "queued message"), "9223372036854775808 queued messages");
}

}  // namespace
}  // namespace base
