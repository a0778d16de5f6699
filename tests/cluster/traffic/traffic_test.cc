// The traffic between nodes over links that break, at random.
#include "cluster/traffic/traffic.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "tests/cluster/traffic/traffic_sim.h"

namespace cluster {
namespace {

uint64_t Setting(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  uint64_t value = otherwise;
  if (text != nullptr) (void)absl::SimpleAtoi(text, &value);
  return value;
}

// Links break at any moment in either direction, leaders move, nodes die and come back, members are
// heard of late. Held against each other all the while: every message above QoS 0 once and in
// order, no SUBACK before all know, requests and answers without a gap; and in the end nobody
// waits.
TEST(Traffic, RandomTrafficOverBrokenLinksLosesNothing) {
  const uint64_t seeds = Setting("MQTTD_SIM_SEEDS", 200);
  const uint64_t only = Setting("MQTTD_SIM_SEED", 0);
  uint64_t forwarded = 0;
  uint64_t confirmations = 0;
  uint64_t requests = 0;
  uint64_t handed_back = 0;
  for (uint64_t seed = only != 0 ? only : 1; seed <= (only != 0 ? only : seeds); ++seed) {
    SCOPED_TRACE(absl::StrCat("MQTTD_SIM_SEED=", seed));
    sim::FakeWorld world(seed, static_cast<uint16_t>(2 + seed % 3));
    for (int step = 0; step < 4000 && !testing::Test::HasFailure(); ++step) world.Step();
    if (testing::Test::HasFailure()) break;
    world.Heal();
    world.ExpectAllIsWell();
    if (testing::Test::HasFailure()) break;
    forwarded += world.forwarded;
    confirmations += world.confirmations;
    requests += world.requests_done;
    handed_back += world.handed_back;
  }
  if (only != 0 || testing::Test::HasFailure()) return;
  EXPECT_GT(forwarded, 100 * seeds);
  EXPECT_GT(confirmations, 20 * seeds);
  EXPECT_GT(requests, 100 * seeds);
  EXPECT_GT(handed_back, 0u);
}

}  // namespace
}  // namespace cluster
