// Raft groups on machines that crash and a network that loses: what must hold, for many seeds.
#include "tests/cluster/raft_sim.h"

#include <cstdio>
#include <cstdlib>

#include "gtest/gtest.h"

namespace cluster {
namespace {

// MQTTD_SIM_SEEDS=10000 for more, MQTTD_SIM_SEED=17 for one, told line by line.
uint64_t Number(const char* name, uint64_t otherwise) {
  const char* const text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

void RunSeeds(RaftSimOptions options, uint64_t seeds) {
  if (const uint64_t only = Number("MQTTD_SIM_SEED", 0); only != 0) {
    options.seed = only;
    options.explain = true;
    EXPECT_EQ(RaftSim(options).Run(), "");
    return;
  }
  seeds = Number("MQTTD_SIM_SEEDS", seeds);
  uint64_t committed = 0;
  uint64_t crashes = 0;
  uint64_t snapshots = 0;
  uint64_t reads = 0;
  uint64_t elections = 0;
  uint64_t changes = 0;
  for (options.seed = 1; options.seed <= seeds; ++options.seed) {
    RaftSim sim(options);
    ASSERT_EQ(sim.Run(), "");
    committed += sim.committed();
    crashes += sim.crashes();
    snapshots += sim.snapshots();
    reads += sim.reads();
    elections += sim.elections();
    changes += sim.member_changes();
  }
  std::printf(
      "%lu seeds of %u nodes: %lu acknowledged, %lu read, %lu crashes, %lu elections, %lu "
      "snapshots, %lu changes of members\n",
      seeds, options.nodes, committed, reads, crashes, elections, snapshots, changes);
  // Weather without effect would prove nothing.
  EXPECT_GT(committed, seeds * 10);
  EXPECT_GT(crashes, seeds);
  EXPECT_GT(reads, seeds);
  EXPECT_TRUE(options.spares == 0 || changes > seeds);
  EXPECT_TRUE(options.nodes == 1 || snapshots > seeds / 10);
}

TEST(RaftSim, ThreeNodesKeepWhatTheyAcknowledgedAndGoOnAfterwards) { RunSeeds({.nodes = 3}, 200); }

TEST(RaftSim, FiveNodesKeepWhatTheyAcknowledgedAndGoOnAfterwards) {
  RunSeeds({.nodes = 5, .crashes_per_second = 1, .partitions_per_second = 1}, 60);
}

TEST(RaftSim, MembersComeAndGoMeanwhile) {
  RunSeeds({.nodes = 3, .spares = 2, .stormy_ms = 12'000, .crashes_per_second = 0.3}, 60);
}

TEST(RaftSim, OneNodeAloneKeepsWhatItAcknowledged) {
  RunSeeds({.nodes = 1, .crashes_per_second = 1}, 20);
}

TEST(RaftSim, ASeedTellsTheSameStoryEachTime) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    RaftSim first({.seed = seed});
    RaftSim second({.seed = seed});
    EXPECT_EQ(first.Run(), second.Run());
    EXPECT_EQ(first.trace(), second.trace()) << "seed " << seed;
    RaftSim other({.seed = seed + 100});
    (void)other.Run();
    EXPECT_NE(first.trace(), other.trace());
  }
}

}  // namespace
}  // namespace cluster
