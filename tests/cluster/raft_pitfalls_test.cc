// What raft-rs and RocksDB would do to who uses them carelessly: a test each, by the numbers in
// docs/decisions/0012-consensus.md.
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/options.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "cluster/log_store.h"
#include "cluster/raft/raft_group.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/core/options.h"
#include "storage/log_db.h"
#include "tests/cluster/loop_rig.h"
#include "tests/storage/faulty_disk.h"
#include "tests/support/temp_dir.h"

namespace cluster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr uint8_t kAppend = RaftGroup::kAppend;
constexpr uint8_t kAppendResponse = 4;
constexpr uint8_t kVote = 5;
constexpr uint8_t kVoteResponse = 6;

// Of term 9 from 2 to 1, an entry 3 behind entry 5, which is committed: eraftpb.Message by hand.
const char kMadAppend[] =
    "\x08\x03\x10\x01\x18\x02\x20\x09\x28\x05\x30\x05\x3a\x04\x10\x09\x18\x03";

TEST(RaftPitfall, P01APanicOfRaftRsStopsItsGroupAndNothingElse) {
  LoopRig rig(3);
  ASSERT_TRUE(
      rig.loop(1)
          .AddGroup(
              {.group = 7, .replica = 1, .applied = kGroupBegin, .conf_state = {.voters = {1}}})
          .ok());
  const absl::Status status = rig.loop(1).OnMessage(0, kMadAppend);
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("conflict with committed"));
  rig.Run(1);
  const std::vector<GroupStopped> stopped = rig.TakeEvents<GroupStopped>(1);
  ASSERT_THAT(stopped, SizeIs(1));
  EXPECT_EQ(stopped[0].group, 0);
  EXPECT_EQ(rig.loop(1).OnMessage(0, kMadAppend).code(), absl::StatusCode::kNotFound);
  // The other group serves on; this one does again when it is made anew.
  ASSERT_TRUE(rig.loop(1).Campaign(7).ok());
  rig.Run(1);
  EXPECT_THAT(rig.TakeEvents<RoleChange>(1), SizeIs(testing::Ge(1)));
  ASSERT_TRUE(rig.Restart(1).ok());
  rig.Elect(1);
}

TEST(RaftPitfall, P02ALeaderDoesNotRemoveItself) {
  LoopRig rig(3);
  rig.Elect(1);
  const MemberChange self = {MemberChange::Kind::kRemove, 1};
  const absl::Status refused = rig.loop(1).ChangeMembers(0, {self});
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition) << refused;
  EXPECT_THAT(std::string(refused.message()), HasSubstr("transfer leadership first"));
}

// Nor does one go on that comes to lead with its own removal in its log: raft-rs would panic at the
// next answer of a follower.
TEST(RaftPitfall, P02ALeaderThatAppliesItsOwnRemovalIsGone) {
  LoopRig rig(3);
  rig.Elect(1);
  // 1 proposes that 2 goes; 2 and 3 have that, and 1 does not hear so: nothing is committed.
  rig.loses = [](const LoopRig::Node& from, const RaftLoop::Message& message) {
    return from.id != 1 && message.kind == kAppendResponse;
  };
  const MemberChange gone = {MemberChange::Kind::kRemove, 2};
  ASSERT_TRUE(rig.loop(1).ChangeMembers(0, {gone}).ok());
  rig.Exchange();
  rig[1].loop = nullptr;
  rig.loses = nullptr;
  for (int i = 0; i < 50 && !rig.Leads(2); ++i) {
    rig.loop(2).Tick();
    if (i < 10)
      rig.loop(3).Tick();  // Until it no longer waits for 1, and not until it stands itself.
    rig.Run(2);
    while (!rig.under_way.empty()) {
      auto [from, message] = rig.under_way.front();
      rig.under_way.pop_front();
      if (message.to == 1 || rig[message.to].loop == nullptr) continue;
      (void)rig.loop(message.to).OnMessage(0, message.data);
      rig.Run(message.to);
      if (!rig.TakeEvents<GroupStopped>(2).empty()) {
        EXPECT_EQ(rig.loop(2).OnMessage(0, message.data).code(), absl::StatusCode::kNotFound);
        return;
      }
    }
  }
  FAIL() << "2 was never removed";
}

TEST(RaftPitfall, P03ANewcomerGetsTheMembersWithASnapshot) {
  LoopRig rig(3);
  rig.Elect(1);
  rig.Propose(1, "before");
  rig.Exchange();
  rig.Add(4, {}, {});
  ASSERT_TRUE(rig.loop(1).ChangeMembers(0, {{MemberChange::Kind::kAddLearner, 4}}).ok());
  std::vector<InstallSnapshot> snapshots;
  for (int i = 0; i < 20 && snapshots.empty(); ++i) {
    rig.TickAll();
    if (!rig.TakeEvents<SnapshotWanted>(1).empty()) {
      rig.loop(1).OfferSnapshot(0, rig[1].applied.index, "state");
      rig.TakeEvents<Committed>(1);
    }
    snapshots = rig.TakeEvents<InstallSnapshot>(4);
  }
  ASSERT_THAT(snapshots, SizeIs(1))
      << "it replayed the log, which does not say who the members were";
  EXPECT_EQ(snapshots[0].data, "state");
  EXPECT_THAT(snapshots[0].conf_state.voters, testing::UnorderedElementsAre(1, 2, 3));
  rig[4].applied = snapshots[0].place;
  rig.loop(4).Installed(0, snapshots[0].place);
  rig.loop(1).ReportSnapshot(0, 4, true);
  rig.TickAll(3);
  rig.Propose(1, "after");
  rig.TickAll(3);
  EXPECT_THAT(rig[4].entries, ElementsAre("after"));
}

// 3 lacks more entries than 1, which leads, has kept.
void LeaveBehind(LoopRig& rig) {
  rig.Elect(1);
  rig.loses = [](const LoopRig::Node&, const RaftLoop::Message& m) { return m.to == 3; };
  for (int i = 0; i < 50; ++i) {
    rig.Propose(1, std::string(100, 'x'));
    rig.Exchange();
  }
  rig.loop(1).Flushed(0, rig[1].applied.index);
}

// Behind as many entries as `rig` is told, 3 gets a snapshot.
InstallSnapshot LagAndAsk(LoopRig& rig) {
  LeaveBehind(rig);
  rig.loses = nullptr;
  for (int i = 0; i < 40; ++i) {
    rig.TickAll();
    for (const SnapshotWanted& wanted : rig.TakeEvents<SnapshotWanted>(1)) {
      EXPECT_EQ(wanted.to, 3u);
      EXPECT_LT(wanted.has, wanted.begins);
      rig.loop(1).OfferSnapshot(0, rig[1].applied.index, "state");
    }
    std::vector<InstallSnapshot> snapshots = rig.TakeEvents<InstallSnapshot>(3);
    if (!snapshots.empty()) return snapshots[0];
  }
  ADD_FAILURE() << "no snapshot came";
  return {};
}

RaftLoopOptions CutsEarly() {
  RaftLoopOptions options;
  options.lagging_bytes_max = 1000;
  options.cut_bytes_min = 1000;
  options.group.recent_bytes_max = 500;
  return options;
}

TEST(RaftPitfall, P04AStateThatIsAheadOfItsLogBeginsItAnew) {
  LoopRig rig(3, CutsEarly());
  const InstallSnapshot snapshot = LagAndAsk(rig);
  // The state has it, and then the machine dies: the log knows nothing of it.
  rig[3].applied = snapshot.place;
  rig[3].conf_state = snapshot.conf_state;
  const absl::Status started = rig.Restart(3);
  ASSERT_TRUE(started.ok()) << started;
  rig.loop(1).ReportSnapshot(0, 3, true);
  rig.Propose(1, "after");
  rig.TickAll(30);
  ASSERT_THAT(rig[3].entries, testing::Not(IsEmpty()));
  EXPECT_EQ(rig[3].entries.back(), "after");
  EXPECT_EQ(rig[3].applied.index, rig[1].applied.index);
}

TEST(RaftPitfall, P05AfterASnapshotAGroupIsFrozenUntilItsLogHasItAndThenStandsForElection) {
  LoopRig rig(3, CutsEarly());
  const InstallSnapshot snapshot = LagAndAsk(rig);
  for (int i = 0; i < 100; ++i) rig.loop(3).Tick();  // It would stand for election.
  rig.Exchange();
  EXPECT_TRUE(rig.Leads(1));
  rig[3].applied = snapshot.place;
  rig.loop(3).Installed(0, snapshot.place);
  rig.Exchange();
  rig.Propose(1, "after");
  rig.TickAll(3);
  EXPECT_THAT(rig[3].entries, ElementsAre("after"));
  ASSERT_TRUE(rig.loop(1).TransferLeadership(0, 3).ok());
  rig.Exchange();
  EXPECT_TRUE(rig.Leads(3));
}

// As long as nobody can install one, of a later release: it would answer nothing, and not vote.
TEST(RaftPitfall, ASnapshotThatNobodyInstallsFreezesNoGroup) {
  RaftLoopOptions options = CutsEarly();
  options.group.installs_snapshots = false;
  LoopRig rig(3, options);
  LeaveBehind(rig);
  std::vector<std::string> snapshots;
  rig.loses = [&](const LoopRig::Node&, const RaftLoop::Message& m) {
    if (m.kind == RaftGroup::kSnapshot) snapshots.push_back(m.data);
    return false;
  };
  for (int i = 0; i < 40 && snapshots.empty(); ++i) {
    rig.TickAll();
    if (!rig.TakeEvents<SnapshotWanted>(1).empty())
      rig.loop(1).OfferSnapshot(0, rig[1].applied.index, "state");
  }
  ASSERT_FALSE(snapshots.empty());
  EXPECT_TRUE(absl::IsUnimplemented(rig.loop(3).OnMessage(0, snapshots[0])));
  EXPECT_THAT(rig.TakeEvents<InstallSnapshot>(3), IsEmpty());
  // It is needed for another leader.
  rig.loses = [](const LoopRig::Node& from, const RaftLoop::Message& m) {
    return from.id == 1 || m.to == 1;
  };
  for (int i = 0; i < 200 && !rig.Leads(2); ++i) rig.TickAll();
  EXPECT_TRUE(rig.Leads(2));
}

TEST(RaftPitfall, P06NoVoteAndNoAnswerLeavesBeforeWhatItSaysIsOnTheDisk) {
  LoopRig rig(3);
  std::multiset<std::pair<ReplicaId, uint8_t>> left;
  rig.loses = [&](const LoopRig::Node& from, const RaftLoop::Message& message) {
    left.emplace(from.id, message.kind);
    return false;
  };
  rig.Exchange();
  rig[1].hold_writes = rig[2].hold_writes = true;
  ASSERT_TRUE(rig.loop(1).Campaign(0).ok());
  rig.Exchange();  // Pre-votes say nothing that has to be kept.
  EXPECT_FALSE(left.contains({1, kVote}));
  rig.EndWrite(1);
  rig.Exchange();
  EXPECT_TRUE(left.contains({1, kVote}));
  EXPECT_FALSE(left.contains({2, kVoteResponse}));
  rig.EndWrite(2);
  rig.Exchange();
  EXPECT_TRUE(left.contains({2, kVoteResponse}));
  ASSERT_TRUE(rig.Leads(1));  // raft-rs asserts that its log is on the disk.
  // A leader sends what it is still writing; a follower does not say that it has it.
  EXPECT_TRUE(left.contains({1, kAppend}));
  EXPECT_FALSE(left.contains({2, kAppendResponse}));
  rig.EndWrite(2);
  rig.Exchange();
  EXPECT_TRUE(left.contains({2, kAppendResponse}));
}

TEST(RaftPitfall, P07AReadyWithoutWritesDoesNotStandForOneThatIsBeingWritten) {
  LoopRig rig(3);
  rig.Elect(1);
  rig.TickAll();
  rig[2].hold_writes = true;
  rig.Propose(1, "x");
  rig.Exchange();
  EXPECT_THAT(rig[1].entries, ElementsAre("x"));  // By 1 and 3.
  rig.Propose(1, "y");                            // Tells 2 that "x" is committed.
  rig.Exchange();
  rig.TickAll(3);  // Heartbeats: they change nothing at 2, and it answers them.
  EXPECT_THAT(rig[2].entries, IsEmpty());
  rig.EndWrite(2);
  rig.Run(2);
  EXPECT_THAT(rig[2].entries, ElementsAre("x"));
  rig.EndWrite(2);
  rig.Exchange();
  rig.TickAll();
  EXPECT_THAT(rig[2].entries, ElementsAre("x", "y"));
}

// A group whose entries nobody asks for.
struct NoEntries final : EntryReader {
  absl::Status Read(uint64_t, uint64_t, uint64_t,
                    absl::FunctionRef<void(const EntryView&)>) override {
    return absl::DataLossError("no entries");
  }
};

TEST(RaftPitfall, P08NothingComesBetweenAReadyAndItsAdvance) {
  NoEntries reader;
  const absl::StatusOr<std::unique_ptr<RaftGroup>> made =
      RaftGroup::Create({.replica = 1},
                        {.hard_state = {.term = 5, .vote = 0, .commit = 5},
                         .conf_state = {.voters = {1}},
                         .begin = kGroupBegin,
                         .last = 5,
                         .applied = 5},
                        reader);
  ASSERT_TRUE(made.ok()) << made.status();
  RaftGroup& group = **made;
  ASSERT_TRUE(group.Campaign().ok());
  std::vector<std::string> written;
  uint64_t number = 0;
  for (const std::string name : {"a", "b", "c"}) {
    const absl::StatusOr<const RaftGroup::Ready*> ready = group.TakeReady();
    ASSERT_TRUE(ready.ok()) << ready.status();
    for (const EntryView& entry : (*ready)->entries) written.emplace_back(entry.data);
    number = (*ready)->number;
    EXPECT_THAT((*ready)->committed, IsEmpty());
    // None of them is on the disk yet.
    ASSERT_TRUE(group.Propose({name}).ok());
  }
  EXPECT_THAT(written, ElementsAre("", "a", "b"));
  ASSERT_TRUE(group.Persisted(number).ok());
  const absl::StatusOr<const RaftGroup::Ready*> last = group.TakeReady();
  ASSERT_TRUE(last.ok()) << last.status();
  EXPECT_THAT((*last)->entries, SizeIs(1));
  EXPECT_THAT((*last)->committed, SizeIs(3));
}

TEST(RaftPitfall, P09ACommitIndexThatLagsBehindTheStateIsTakenFromIt) {
  LoopRig rig(1);
  rig.Elect(1);
  rig.Propose(1, "x");
  rig.Exchange();
  EXPECT_THAT(rig[1].entries, ElementsAre("x"));
  // That it is committed waits for the next write, which never comes.
  const Place applied = rig[1].applied;
  const absl::Status started = rig.Restart(1);
  ASSERT_TRUE(started.ok()) << started;
  EXPECT_LT(rig[1].store.Load(0)->hard_state.commit, applied.index);
  rig.Elect(1);
  EXPECT_THAT(rig[1].entries, ElementsAre("x"));
}

TEST(RaftPitfall, P10WhatIsProposedInOneRoundIsOneMessageAndOneWrite) {
  LoopRig rig(3);
  rig.Elect(1);
  int messages = 0;
  rig.loses = [&](const LoopRig::Node& from, const RaftLoop::Message& message) {
    messages += from.id == 1 && message.kind == kAppend ? 1 : 0;
    return false;
  };
  const size_t writes = rig[1].store.writes;
  for (int i = 0; i < 100; ++i) rig.Propose(1, "x");
  rig.Run(1);
  EXPECT_EQ(messages, 2);
  EXPECT_EQ(rig[1].store.writes, writes + 1);
  rig.Exchange();
  EXPECT_THAT(rig[1].entries, SizeIs(100));
}

TEST(RaftPitfall, P11AnEntryHasABound) {
  RaftLoopOptions options;
  options.group.entry_bytes_max = 1000;
  LoopRig rig(1, options);
  rig.Elect(1);
  rig.Propose(1, std::string(1001, 'x'));
  rig.Propose(1, "fits");
  rig.Exchange();
  const std::vector<NotCommitted> refused = rig.TakeEvents<NotCommitted>(1);
  ASSERT_THAT(refused, SizeIs(1));
  EXPECT_EQ(refused[0].fate, Fate::kSurely);
  EXPECT_THAT(rig[1].entries, ElementsAre("fits"));
  // Behind the loop's back too.
  NoEntries reader;
  const auto group = RaftGroup::Create(
      {.replica = 1, .entry_bytes_max = 10},
      {.conf_state = {.voters = {1}}, .begin = kGroupBegin, .last = 5, .applied = 5}, reader);
  ASSERT_TRUE(group.ok());
  ASSERT_TRUE((*group)->Campaign().ok());
  EXPECT_EQ((*group)->Propose({std::string(11, 'x')}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// Debian's librocksdb is built with assertions: an error that is handled wrongly is an abort.
TEST(RaftPitfall, P13AFailingDiskIsAStatusAndTheSameBatchIsWrittenAgain) {
  const support::TempDir directory;
  const auto disk = std::make_shared<storage::FaultyDisk>();
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(disk);
  const storage::StorageOptions options;
  auto store = LogStore::Open(directory.path() + "/log", options, *env, /*create=*/true);
  ASSERT_TRUE(store.ok()) << store.status();
  for (const auto fault :
       {storage::FaultyDisk::Fault::kNoSpace, storage::FaultyDisk::Fault::kSyncFails}) {
    const std::unique_ptr<EntryBatch> batch = (*store)->NewBatch();
    batch->Restart(1, kGroupBegin, {.voters = {1}});
    batch->Append(1, {{.place = {6, 5}, .data = "kept"}}, 5);
    disk->Set(fault);
    EXPECT_FALSE((*store)->Write(*batch, EntryStore::Sync::kYes).ok());
    EXPECT_FALSE((*store)->Repair().ok());
    disk->Set(storage::FaultyDisk::Fault::kNone);
    ASSERT_TRUE((*store)->Repair().ok());
    ASSERT_TRUE((*store)->Write(*batch, EntryStore::Sync::kYes).ok());
    EXPECT_EQ((*store)->Load(1)->last, 6);
  }
}

// Together with DeleteRange, by which logs are cut, it corrupts RocksDB 7.8's memory tables.
TEST(RaftPitfall, P14TheLogGivesItsMemoryTablesNoHints) {
  const support::TempDir directory;
  const auto db = storage::LogDb::Open(directory.path() + "/log", {}, *rocksdb::Env::Default(),
                                       /*create=*/true);
  ASSERT_TRUE(db.ok()) << db.status();
  EXPECT_EQ((*db)->db()->GetOptions().memtable_insert_with_hint_prefix_extractor, nullptr);
}

}  // namespace
}  // namespace cluster
