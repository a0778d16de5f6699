// What becomes of groups whose disks lose something, take nothing or cannot be read.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "cluster/raft/raft_loop.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cluster/loop_rig.h"

namespace cluster {
namespace {

using testing::IsEmpty;

// Messages to and from it are lost.
auto CutOff(ReplicaId id) {
  return [id](const LoopRig::Node& from, const RaftLoop::Message& message) {
    return from.id == id || message.to == id;
  };
}

uint64_t Matched(LoopRig& rig, ReplicaId leader, ReplicaId member) {
  const absl::StatusOr<RaftGroup::Status> status = rig.loop(leader).GetStatus(0);
  for (const RaftGroup::Progress& progress : status->progress)
    if (progress.replica == member) return progress.matched;
  return 0;
}

void ProposeEach(LoopRig& rig, ReplicaId leader, const std::vector<std::string>& entries) {
  for (const std::string& entry : entries) {
    rig.Propose(leader, entry);
    rig.Exchange();
  }
}

std::string LogOf(LoopRig& rig, ReplicaId id) {
  const uint64_t last = rig[id].store.Load(0)->last;
  std::string text;
  const auto take = [&text](const EntryView& entry) {
    text += absl::StrCat(entry.place.term, ":", std::string(entry.data), " ");
  };
  EXPECT_TRUE(rig[id].store.Read(0, kGroupBegin.index + 1, last + 1, 1 << 20, take).ok());
  return text;
}

// With `durability: interval` or `none` it has said that it has them, and its leader counts on
// that.
TEST(RaftLoopDisk, AMemberThatLostEntriesGetsThemAgain) {
  for (const bool quiet : {true, false}) {
    LoopRig rig(3);
    rig.Elect(1);
    ProposeEach(rig, 1, {"a", "b"});
    rig.TickAll(2);
    const Place applied = rig[2].applied;
    rig[2].lazy = true;
    ProposeEach(rig, 1, {"c", "d", "e"});
    rig.TickAll(2);
    ASSERT_TRUE(rig.LosePower(2, applied).ok());
    ASSERT_EQ(rig[2].store.Load(0)->last, rig[1].store.Load(0)->last - 3);
    if (!quiet) rig.Propose(1, "f");
    rig.TickAll(4);
    EXPECT_TRUE(rig.Leads(1));
    EXPECT_THAT(rig.TakeEvents<GroupStopped>(2), IsEmpty());
    EXPECT_EQ(LogOf(rig, 2), LogOf(rig, 1)) << quiet;
    EXPECT_EQ(rig[2].applied, rig[1].applied);
    EXPECT_EQ(Matched(rig, 1, 2), rig[1].applied.index);
    // It is counted on again.
    rig.loses = CutOff(3);
    ProposeEach(rig, 1, {"g"});
    EXPECT_EQ(rig[1].entries.back(), "g");
  }
}

// The state may be ahead of the log: it begins anew where the state is.
TEST(RaftLoopDisk, AMemberThatLostTheEndOfWhatItAppliedGoesOn) {
  LoopRig rig(3);
  rig.Elect(1);
  ProposeEach(rig, 1, {"a"});
  rig[2].lazy = true;
  ProposeEach(rig, 1, {"b"});
  rig.TickAll(2);
  const Place applied = rig[2].applied;
  ProposeEach(rig, 1, {"c", "d"});
  rig.TickAll(2);
  ASSERT_TRUE(rig.LosePower(2, applied).ok());
  rig.TickAll(4);
  EXPECT_THAT(rig.TakeEvents<GroupStopped>(2), IsEmpty());
  EXPECT_EQ(rig[2].applied, rig[1].applied);
  EXPECT_EQ(rig[2].store.Load(0)->last, rig[1].store.Load(0)->last);
}

// What comes back may be what its leader had replaced: up to there it is not committed.
TEST(RaftLoopDisk, WhatALostWriteHadReplacedIsNotTakenForCommitted) {
  LoopRig rig(3);
  rig.Elect(2);
  ProposeEach(rig, 2, {"a"});
  rig.TickAll(2);
  const Place applied = rig[2].applied;
  rig.loses = CutOff(2);
  ProposeEach(rig, 2, {"not b", "not c", "not d"});
  for (int i = 0; i < 60 && !rig.Leads(1) && !rig.Leads(3); ++i) rig.TickAll();
  const ReplicaId leader = rig.Leads(1) ? 1 : 3;
  rig.TickAll(20);
  ASSERT_FALSE(rig.Leads(2));
  ASSERT_TRUE(rig.Leads(leader));
  rig[2].lazy = true;
  rig.loses = nullptr;
  rig.TickAll(3);
  ProposeEach(rig, leader, {"b"});
  rig.TickAll(3);
  ASSERT_EQ(LogOf(rig, 2), LogOf(rig, leader));
  ASSERT_TRUE(rig.LosePower(2, applied).ok());
  ASSERT_THAT(LogOf(rig, 2), testing::HasSubstr("not b"));
  rig[2].entries.clear();
  rig.TickAll(6);
  EXPECT_THAT(rig.TakeEvents<GroupStopped>(2), IsEmpty());
  EXPECT_EQ(LogOf(rig, 2), LogOf(rig, leader));
  EXPECT_THAT(rig[2].entries, testing::ElementsAre("b"));
}

// All that it has said to be there is there still, but its commit index.
TEST(RaftLoopDisk, AMemberThatLostNothingHearsInAQuietGroupWhatIsCommitted) {
  LoopRig rig(3);
  rig.Elect(1);
  ProposeEach(rig, 1, {"a", "b", "c"});
  ASSERT_LT(rig[2].applied.index, rig[1].applied.index);
  ASSERT_TRUE(rig.Restart(2).ok());
  rig.TickAll(4);
  EXPECT_EQ(rig[2].entries, rig[1].entries);
  EXPECT_EQ(Matched(rig, 1, 2), rig[1].applied.index);
}

// ---- A disk that takes nothing
// -------------------------------------------------------------------

// Its leader goes on sending, for it says that it is there.
TEST(RaftLoopDisk, AMemberThatCannotWriteGathersNoMoreThanItMay) {
  RaftLoopOptions options;
  options.unwritten_bytes_max = 1 << 20;
  LoopRig rig(3, options);
  rig.Elect(1);
  rig[3].hold_writes = true;
  for (int i = 0; i < 200; ++i) {
    rig.Propose(1, std::string(100'000, static_cast<char>('a' + i % 26)));
    rig.TickAll();
  }
  EXPECT_TRUE(rig.Leads(1));
  EXPECT_THAT(rig[1].entries, testing::SizeIs(200));
  rig.EndWrite(3);
  rig.Run(3);
  ASSERT_TRUE(rig[3].writing.has_value());
  EXPECT_LE(rig[3].writing->bytes, options.unwritten_bytes_max + options.group.message_bytes_max);
  rig[3].hold_writes = false;
  rig.EndWrite(3);
  rig.TickAll(8);
  EXPECT_EQ(rig[3].entries, rig[1].entries);
}

// ---- A log that cannot be read just now ---------------------------------------------------------

// As while the disk is full, and the database could not be opened again yet.
void MakeUnreadable(LoopRig::Node& node) {
  node.hold_writes = true;
  node.store.FailWith(absl::UnavailableError("the log could not be opened again yet"));
}

void MakeReadable(LoopRig& rig, ReplicaId id) {
  rig[id].store.FailWith(absl::OkStatus());
  rig[id].hold_writes = false;
  if (rig[id].writing.has_value()) rig.EndWrite(id);
  rig.Exchange();
}

TEST(RaftLoopDisk, AMemberThatAppendedNothingSinceItsStartFollowsThoughItCannotReadItsLog) {
  LoopRig rig(3);
  rig.Elect(1);
  ProposeEach(rig, 1, {"a", "b"});
  rig.TickAll(2);
  ASSERT_TRUE(rig.Restart(2).ok());
  rig.TickAll(2);
  MakeUnreadable(rig[2]);
  ProposeEach(rig, 1, {"x"});
  rig.loses = CutOff(1);
  rig.TickAll(60);  // It is asked for its vote.
  rig.loses = nullptr;
  rig.TickAll(3);
  EXPECT_THAT(rig.TakeEvents<GroupStopped>(2), IsEmpty());
  MakeReadable(rig, 2);
  rig.TickAll(60);
  EXPECT_EQ(rig[2].entries.back(), "x");
  EXPECT_EQ(LogOf(rig, 2), LogOf(rig, 1));
}

TEST(RaftLoopDisk, ALeaderThatCannotReadItsLogSendsLaterWhatALaggingMemberLacks) {
  RaftLoopOptions options;
  options.group.recent_bytes_max = 500;
  LoopRig rig(3, options);
  rig.Elect(1);
  rig.loses = CutOff(3);
  for (int i = 0; i < 20; ++i) ProposeEach(rig, 1, {absl::StrCat(i, std::string(100, 'x'))});
  rig.loses = nullptr;
  MakeUnreadable(rig[1]);
  rig.TickAll(6);
  EXPECT_THAT(rig.TakeEvents<GroupStopped>(1), IsEmpty());
  EXPECT_THAT(rig.TakeEvents<SnapshotWanted>(1), IsEmpty());
  EXPECT_TRUE(rig.Leads(1));
  EXPECT_THAT(rig[3].entries, IsEmpty());
  MakeReadable(rig, 1);
  rig.TickAll(6);
  EXPECT_EQ(rig[3].entries, rig[1].entries);
}

// It has entries from before its start, and hears only then that they are committed.
TEST(RaftLoopDisk, WhatIsCommittedAndCannotBeReadIsGivenOutWhenItCan) {
  for (const bool stands : {false, true}) {
    LoopRig rig(3);
    rig.Elect(1);
    ProposeEach(rig, 1, {"a", "b", "c"});
    ASSERT_TRUE(rig.Restart(2).ok());
    ASSERT_LT(rig[2].applied.index, rig[1].applied.index);
    rig.Run(2);
    MakeUnreadable(rig[2]);
    rig.TickAll(4);
    if (stands) {
      rig.loses = CutOff(1);
      rig[3].loop = nullptr;
      rig.TickAll(60);
      EXPECT_FALSE(rig.loop(2).Campaign(0).ok());
      rig.loses = nullptr;
      ASSERT_TRUE(rig.Restart(3).ok());
    }
    EXPECT_THAT(rig.TakeEvents<GroupStopped>(2), IsEmpty());
    EXPECT_LT(rig[2].entries.size(), rig[1].entries.size());
    MakeReadable(rig, 2);
    rig.TickAll(60);
    EXPECT_EQ(rig[2].entries, rig[1].entries) << stands;
  }
}

// One that votes for itself reads what others say to be committed.
TEST(RaftLoopDisk, ACandidateThatCannotReadItsLogStandsOn) {
  LoopRig rig(3);
  rig.Elect(1);
  ProposeEach(rig, 1, {"a", "b", "c"});
  ASSERT_TRUE(rig.Restart(2).ok());
  rig.Run(2);
  rig.loses = CutOff(2);
  rig.TickAll(40);  // It stands.
  MakeUnreadable(rig[2]);
  rig.TickAll(10);
  rig.loses = nullptr;
  rig.TickAll(30);
  EXPECT_THAT(rig.TakeEvents<GroupStopped>(2), IsEmpty());
  MakeReadable(rig, 2);
  rig.TickAll(60);
  EXPECT_EQ(rig[2].entries, rig[1].entries);
}

TEST(RaftLoopDisk, AnEntryThatIsLostStopsItsGroup) {
  LoopRig rig(3);
  rig.Elect(1);
  ProposeEach(rig, 1, {"a"});
  ASSERT_TRUE(rig.Restart(2).ok());
  rig.Run(2);
  rig[2].hold_writes = true;
  rig[2].store.FailWith(absl::DataLossError("entry 7 is missing"));
  rig.TickAll(4);
  EXPECT_THAT(rig.TakeEvents<GroupStopped>(2), testing::SizeIs(1));
}

}  // namespace
}  // namespace cluster
