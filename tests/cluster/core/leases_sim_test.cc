// Never two owners at one instant, whatever clocks, networks and machines do.
#include "tests/cluster/core/leases_sim.h"

#include <cstdio>
#include <cstdlib>
#include <string>

#include "gtest/gtest.h"

namespace cluster {
namespace {

using Mutant = LeasesSimOptions::Mutant;

// MQTTD_SIM_SEEDS=10000 for more, MQTTD_SIM_SEED=17 for one, told line by line.
uint64_t Number(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(LeasesSim, NobodyHoldsALeaseOfALifeThatIsGone) {
  if (const uint64_t only = Number("MQTTD_SIM_SEED", 0); only != 0) {
    EXPECT_EQ(LeasesSim({.seed = only, .explain = true}).Run(), "");
    return;
  }
  const uint64_t seeds = Number("MQTTD_SIM_SEEDS", 100);
  uint64_t granted = 0;
  uint64_t gone = 0;
  uint64_t leaders = 0;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    LeasesSim sim({.seed = seed});
    ASSERT_EQ(sim.Run(), "");
    granted += sim.granted();
    gone += sim.gone();
    leaders += sim.leaders();
  }
  std::printf("%lu seeds: %lu leases granted, %lu lives gone, %lu leaders\n", seeds, granted, gone,
              leaders);
  // Weather without effect would prove nothing.
  EXPECT_GT(granted, seeds * 50);
  EXPECT_GT(gone, seeds * 3);
  EXPECT_GT(leaders, seeds * 2);
}

class LeasesSimMutants : public testing::TestWithParam<Mutant> {};

TEST_P(LeasesSimMutants, AreFoundWithinTwoHundredSeeds) {
  uint64_t seed = 1;
  while (seed <= 200 && LeasesSim({.seed = seed, .mutant = GetParam()}).Run().empty()) ++seed;
  EXPECT_LE(seed, 200u);
  std::printf("found by seed %lu\n", seed);
}

std::string NameOf(const testing::TestParamInfo<Mutant>& mutant) {
  constexpr const char* kNames[] = {"None", "NoBarrier", "NoWait", "NoDrift", "Forgets"};
  return kNames[static_cast<int>(mutant.param)];
}

INSTANTIATE_TEST_SUITE_P(LeasesSim, LeasesSimMutants,
                         testing::Values(Mutant::kNoBarrier, Mutant::kNoWait, Mutant::kNoDrift,
                                         Mutant::kForgets),
                         NameOf);

}  // namespace
}  // namespace cluster
