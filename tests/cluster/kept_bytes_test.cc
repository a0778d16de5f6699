#include "cluster/kept_bytes.h"

#include <algorithm>

#include "gtest/gtest.h"

namespace cluster {
namespace {

constexpr uint64_t kGiB = 1 << 30;

TEST(KeptBytes, AreAQuarterOfTheDiskOrHalfOfWhatOthersLeaveFree) {
  EXPECT_EQ(KeptBytes({.capacity = 100 * kGiB, .free = 90 * kGiB}), 25 * kGiB);
  EXPECT_EQ(KeptBytes({.capacity = 100 * kGiB, .free = 20 * kGiB}), 10 * kGiB);
  EXPECT_EQ(KeptBytes({}), 0u);
}

// While a node is away the logs of the others grow, and a start of one of them must not take that
// for a disk that is full: it would forget at once what the absent node lacks.
TEST(KeptBytes, AreNoFewerForWhatIsKeptAlready) {
  LogDisk disk = {.capacity = 100 * kGiB, .free = 40 * kGiB};
  const uint64_t kept = KeptBytes(disk);
  EXPECT_EQ(kept, 20 * kGiB);
  for (int start = 0; start < 4; ++start) {
    const uint64_t grows = (kept - disk.log) / 2;
    disk.log += grows;
    disk.free -= grows;
    EXPECT_EQ(KeptBytes(disk), kept);
  }
}

}  // namespace
}  // namespace cluster
