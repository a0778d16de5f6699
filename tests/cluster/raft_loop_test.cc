// All groups of a node: what becomes of proposals, reads, members and the log.
#include "cluster/raft/raft_loop.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cluster/loop_rig.h"

namespace cluster {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

// Messages to and from it are lost.
auto CutOff(ReplicaId id) {
  return [id](const LoopRig::Node& from, const RaftLoop::Message& message) {
    return from.id == id || message.to == id;
  };
}

std::vector<uint64_t> Proposals(const std::vector<Committed>& batches) {
  std::vector<uint64_t> numbers;
  for (const Committed& batch : batches) {
    for (const CommittedEntry& entry : batch.entries) {
      if (!entry.entry.empty()) numbers.push_back(entry.proposal);
    }
  }
  return numbers;
}

TEST(RaftLoop, AnEntryComesBackAsTheLeadersProposalAndAsNobodysElsewhere) {
  LoopRig rig(3);
  rig.Elect(1);
  rig.Propose(1, "a");
  rig.Propose(1, "b");
  rig.Exchange();
  rig.TickAll();  // Followers hear of a commit with what comes next.
  EXPECT_THAT(Proposals(rig.TakeEvents<Committed>(1)), ElementsAre(1, 2));
  EXPECT_THAT(Proposals(rig.TakeEvents<Committed>(2)), ElementsAre(0, 0));
  EXPECT_THAT(rig[3].entries, ElementsAre("a", "b"));
}

TEST(RaftLoop, FollowersHearOfACommitAtOnceIfSomebodyWaitsForThat) {
  LoopRig rig(3);
  rig.Elect(1);
  rig.loop(2).TellCommitted(0);  // It has nothing to tell.
  rig.Propose(1, "a");
  rig.Exchange();
  EXPECT_THAT(rig[3].entries, IsEmpty());
  rig.loop(1).TellCommitted(0);
  rig.Exchange();
  EXPECT_THAT(rig[2].entries, ElementsAre("a"));
  EXPECT_THAT(rig[3].entries, ElementsAre("a"));
}

TEST(RaftLoop, OfAMemberAloneOnlyThatIsSyncedForWhichSomebodyWaits) {
  LoopRig rig(1);
  rig.Elect(1);
  LoopRig::Node& node = rig[1];
  node.hold_writes = true;
  rig.loop(1).Submit({.group = 0, .number = 7, .entry = "lazy", .sync = false});
  rig.Run(1);
  ASSERT_TRUE(node.writing.has_value());
  EXPECT_EQ(node.writing->sync, EntryStore::Sync::kNo);
  ASSERT_THAT(node.writing->appended, SizeIs(1));
  EXPECT_EQ(node.writing->appended[0].last, 7u);
  rig.EndWrite(1);
  rig.Run(1);
  EXPECT_THAT(node.entries, ElementsAre("lazy"));
  rig.loop(1).Tick();
  rig.Run(1);
  EXPECT_FALSE(node.writing.has_value());  // A commit index says nothing new.
  rig.Propose(1, "promised");
  rig.Run(1);
  ASSERT_TRUE(node.writing.has_value());
  EXPECT_EQ(node.writing->sync, EntryStore::Sync::kYes);
  rig.EndWrite(1);
  ASSERT_TRUE(rig.Restart(1).ok());
  rig.Elect(1);
  EXPECT_THAT(node.entries, ElementsAre("lazy", "promised"));
}

TEST(RaftLoop, WhereOthersCountOnItEachEntryIsSynced) {
  LoopRig rig(3);
  rig.Elect(1);
  rig[1].hold_writes = true;
  rig.loop(1).Submit({.group = 0, .number = 7, .entry = "lazy", .sync = false});
  rig.Run(1);
  ASSERT_TRUE(rig[1].writing.has_value());
  EXPECT_EQ(rig[1].writing->sync, EntryStore::Sync::kYes);
}

TEST(RaftLoop, WhoDoesNotLeadRefusesAtOnce) {
  LoopRig rig(3);
  rig.Elect(1);
  rig.Propose(2, "a");
  rig.loop(2).ReadBarrier(9, 17);  // Of a group that is not here.
  rig.Exchange();
  const std::vector<NotCommitted> fates = rig.TakeEvents<NotCommitted>(2);
  ASSERT_THAT(fates, SizeIs(1));
  EXPECT_EQ(fates[0].fate, Fate::kSurely);
  EXPECT_THAT(rig.TakeEvents<NotReadable>(2), SizeIs(1));
  EXPECT_THAT(rig[1].entries, IsEmpty());
}

TEST(RaftLoop, WhatADeposedLeaderProposedHasAnUnknownFateAndIsNotPairedWithItsSuccessor) {
  LoopRig rig(3);
  rig.Elect(1);
  rig.Exchange();
  rig.loses = CutOff(1);
  rig.Propose(1, "lost");
  rig.Exchange();
  for (int i = 0; i < 40 && !rig.Leads(2) && !rig.Leads(3); ++i) rig.TickAll();
  const ReplicaId leader = rig.Leads(2) ? 2 : 3;
  rig.Propose(leader, "kept");  // Under the index that "lost" has at 1.
  rig.TickAll(12);
  // Check quorum: 1 knows by now that it leads nobody, and tells it.
  std::vector<NotCommitted> fates = rig.TakeEvents<NotCommitted>(1);
  ASSERT_THAT(fates, SizeIs(1));
  EXPECT_EQ(fates[0].fate, Fate::kUnknown);
  rig.loses = nullptr;
  rig.TickAll(3);
  EXPECT_THAT(rig[1].entries, ElementsAre("kept"));
  EXPECT_THAT(Proposals(rig.TakeEvents<Committed>(1)), ElementsAre(0));
  EXPECT_THAT(Proposals(rig.TakeEvents<Committed>(leader)), testing::Contains(2));
}

// Its leader led before, and may not have heard yet that somebody else did since.
TEST(RaftLoop, WhatIsProposedForATermIsNotTakenInAnother) {
  LoopRig rig(3);
  rig.Elect(1);
  rig.Exchange();
  const uint64_t term = rig.TakeEvents<RoleChange>(1).back().term;
  rig.loop(1).Submit({.group = 0, .number = 1, .entry = "now", .term = term});
  rig.loop(1).Submit({.group = 0, .number = 2, .entry = "late", .term = term - 1});
  rig.Exchange();
  const std::vector<NotCommitted> fates = rig.TakeEvents<NotCommitted>(1);
  ASSERT_THAT(fates, SizeIs(1));
  EXPECT_EQ(fates[0].proposal, 2u);
  EXPECT_EQ(fates[0].fate, Fate::kSurely);
  EXPECT_THAT(rig[1].entries, ElementsAre("now"));
}

TEST(RaftLoop, AReadWaitsForAMajorityAndADeposedLeaderAnswersNone) {
  LoopRig rig(3);
  rig.Elect(1);
  rig.Propose(1, "a");
  rig.Exchange();
  rig.loop(1).ReadBarrier(0, 1);
  rig.loop(1).ReadBarrier(0, 2);
  rig.Run(1);
  EXPECT_THAT(rig.TakeEvents<Readable>(1), IsEmpty());
  // Both in one round of heartbeats.
  EXPECT_THAT(rig.under_way, SizeIs(2));
  rig.Exchange();
  const std::vector<Readable> reads = rig.TakeEvents<Readable>(1);
  ASSERT_THAT(reads, SizeIs(2));
  EXPECT_EQ(reads[0].index, rig[1].applied.index);

  rig.loses = CutOff(1);
  rig.loop(1).ReadBarrier(0, 3);
  rig.TickAll(40);
  EXPECT_THAT(rig.TakeEvents<Readable>(1), IsEmpty());
  EXPECT_THAT(rig.TakeEvents<NotReadable>(1), SizeIs(1));
}

TEST(RaftLoop, AFollowerIsToldHowFarItsLeaderHasCommitted) {
  LoopRig rig(3);
  rig.Elect(1);
  rig.Propose(1, "a");
  rig.Exchange();
  EXPECT_THAT(rig[2].entries, IsEmpty());  // It hears of the commit only later.
  rig.loop(2).ReadBarrier(0, 1);
  rig.loop(3).ReadBarrier(0, 1);  // Nobody's answer is another's.
  rig.Exchange();
  for (const ReplicaId follower : {2, 3}) {
    const std::vector<Readable> reads = rig.TakeEvents<Readable>(follower);
    ASSERT_THAT(reads, SizeIs(1));
    EXPECT_EQ(reads[0].index, rig[1].applied.index);
  }

  // What is lost is asked for again, also of another leader.
  rig.loses = CutOff(1);
  rig.loop(2).ReadBarrier(0, 2);
  rig.TickAll(40);
  EXPECT_THAT(rig.TakeEvents<NotReadable>(2), IsEmpty());
  EXPECT_THAT(rig.TakeEvents<Readable>(2), SizeIs(1));
}

// raft-rs forgets a read that is asked for before the leader's first entry is committed.
TEST(RaftLoop, AReadThatIsAskedForTooEarlyIsAnsweredLater) {
  LoopRig rig(3);
  rig.loses = [](const LoopRig::Node&, const RaftLoop::Message& message) {
    return message.kind == RaftGroup::kAppend;
  };
  rig.Elect(1);
  rig.loop(1).ReadBarrier(0, 1);
  rig.Exchange();
  EXPECT_THAT(rig.TakeEvents<Readable>(1), IsEmpty());
  rig.loses = nullptr;
  rig.TickAll(3);
  const std::vector<Readable> reads = rig.TakeEvents<Readable>(1);
  ASSERT_THAT(reads, SizeIs(1));
  EXPECT_EQ(reads[0].index, kGroupBegin.index + 1);
}

// A disk that is full, and a log that could not be opened again yet.
TEST(RaftLoop, WhileTheLogCannotBeReadItsGroupsGoOn) {
  RaftLoopOptions options;
  options.group.recent_bytes_max = 500;
  options.cut_bytes_min = 400;
  LoopRig rig(1, options);
  rig.Elect(1);
  for (int i = 0; i < 4; ++i) {
    rig.Propose(1, std::string(400, 'x'));
    rig.Exchange();
  }
  LoopRig::Node& node = rig[1];
  const uint64_t flushed = node.applied.index - 2;
  node.hold_writes = true;
  node.store.FailWith(absl::UnavailableError("the log could not be opened again yet"));
  for (int i = 0; i < 4; ++i) {
    rig.Propose(1, std::string(400, 'y'));
    rig.loop(1).Tick();
    rig.Run(1);
  }
  rig.loop(1).Flushed(0, flushed);
  rig.Run(1);
  EXPECT_THAT(rig.TakeEvents<GroupStopped>(1), IsEmpty());
  node.store.FailWith(absl::OkStatus());
  node.hold_writes = false;
  rig.EndWrite(1);
  rig.Exchange();
  EXPECT_THAT(rig.TakeEvents<GroupStopped>(1), IsEmpty());
  EXPECT_THAT(node.entries, SizeIs(8));
}

TEST(RaftLoop, WhoLeavesHandsOverWhatItLeads) {
  LoopRig rig(3);
  rig.Elect(1);
  rig.Propose(1, "a");
  rig.Exchange();
  EXPECT_EQ(rig.loop(2).YieldLeaderships(), 0u);
  EXPECT_EQ(rig.loop(1).YieldLeaderships(), 1u);
  rig.Exchange();
  EXPECT_EQ(rig.loop(1).YieldLeaderships(), 0u);
  EXPECT_TRUE(rig.Leads(2) || rig.Leads(3));
  LoopRig alone(1);
  alone.Elect(1);
  EXPECT_EQ(alone.loop(1).YieldLeaderships(), 0u);
}

// Full or failing: it says so, and goes on saying that it leads.
TEST(RaftLoop, ALeaderWhoseDiskTakesNoWriteHandsOver) {
  RaftLoopOptions options;
  options.unfit_ticks = 5;  // Less than what makes an election.
  LoopRig rig(3, options);
  rig.Elect(1);
  rig.Propose(1, "a");
  rig.Exchange();
  rig[1].hold_writes = true;
  rig.Propose(1, "b");
  rig.Exchange();
  EXPECT_THAT(rig[1].entries, ElementsAre("a"));
  for (int i = 0; i < 6; ++i) rig.TickAll();
  ASSERT_TRUE(rig.Leads(2) || rig.Leads(3));
  const ReplicaId leader = rig.Leads(2) ? 2 : 3;
  rig.Propose(leader, "c");
  rig.Exchange();
  EXPECT_THAT(rig[leader].entries, ElementsAre("a", "b", "c"));
  rig[1].hold_writes = false;
  rig.EndWrite(1);
  for (int i = 0; i < 6; ++i) rig.TickAll();
  EXPECT_THAT(rig[1].entries, ElementsAre("a", "b", "c"));
  EXPECT_TRUE(rig.Leads(leader));
}

// A disk that is busy all the time is not one that hangs.
TEST(RaftLoop, ALeaderWhoseWritesFollowEachOtherLeadsOn) {
  RaftLoopOptions options;
  options.unfit_ticks = 5;
  LoopRig rig(3, options);
  rig.Elect(1);
  rig[1].hold_writes = true;
  rig.Propose(1, "first");
  rig.Exchange();
  for (int i = 0; i < 50; ++i) {
    rig.TickAll();  // One is under way.
    rig.Propose(1, "next");
    rig.EndWrite(1);
    rig.Exchange();
    ASSERT_TRUE(rig[1].writing.has_value());
    ASSERT_TRUE(rig.Leads(1)) << i;
  }
}

// The one that is asked first may be the one that is cut off.
TEST(RaftLoop, ALeadershipThatIsNotTakenIsOfferedToAnother) {
  RaftLoopOptions options;
  options.unfit_ticks = 5;
  LoopRig rig(3, options);
  rig.Elect(1);
  rig[1].hold_writes = true;
  rig.Propose(1, "a");
  rig.Exchange();
  ReplicaId asked = 0;  // First.
  rig.loses = [&](const LoopRig::Node&, const RaftLoop::Message& message) {
    constexpr uint8_t kTimeoutNow = 14;  // eraftpb.MessageType
    if (message.kind == kTimeoutNow && asked == 0) asked = message.to;
    return message.kind == kTimeoutNow && message.to == asked;
  };
  for (int i = 0; i < 30; ++i) rig.TickAll();
  ASSERT_NE(asked, 0u);
  EXPECT_TRUE(rig.Leads(asked == 2 ? 3 : 2));
}

TEST(RaftLoop, WhatANodeIsNotFitToLeadGoesToAnother) {
  LoopRig rig(3);
  rig.Elect(1);
  rig.loop(1).SetFit(0, false);
  rig.Exchange();
  EXPECT_TRUE(rig.Leads(2) || rig.Leads(3));
}

// They do not hand it to each other for ever.
TEST(RaftLoop, OfTwoThatAreNotFitToLeadNeitherDoes) {
  for (const ReplicaId fit : {1, 2, 3}) {
    LoopRig rig(3);
    rig.Elect(1);
    for (ReplicaId id = 1; id <= 3; ++id) rig.loop(id).SetFit(0, id == fit);
    rig.Exchange();
    rig.TickAll(100);
    EXPECT_TRUE(rig.Leads(fit)) << fit;
  }
}

// What takes none of them long would take for ever, if it began anew with each leader.
TEST(RaftLoop, WhatNobodyIsFitToLeadGoesRoundEverMoreSeldom) {
  LoopRig rig(3);
  rig.Elect(1);
  for (ReplicaId id = 1; id <= 3; ++id) rig.loop(id).SetFit(0, false);
  rig.Exchange();
  size_t leaders = 0;
  int longest = 0;
  int since = 0;
  ReplicaId leader = 0;
  for (int tick = 0; tick < 1600; ++tick) {  // 100 s.
    rig.TickAll();
    for (ReplicaId id = 1; id <= 3; ++id) {
      if (!rig.Leads(id) || id == leader) continue;
      leader = id;
      ++leaders;
      since = tick;
    }
    longest = std::max(longest, tick - since);
  }
  EXPECT_LT(leaders, 40u);
  EXPECT_GT(longest, 160);
}

TEST(RaftLoop, WhoIsFitAgainLeadsOn) {
  LoopRig rig(3);
  rig.Elect(1);
  rig.loses = CutOff(1);
  rig.loop(1).SetFit(0, false);
  rig.Exchange();
  rig.loop(1).SetFit(0, true);
  rig.loses = nullptr;
  rig.TickAll(40);
  EXPECT_TRUE(rig.Leads(1));
}

TEST(RaftLoop, ALeaderKnowsWhereWhatEarlierTermsCommittedEnds) {
  LoopRig rig(3);
  rig.Elect(1);
  rig.Propose(1, "a");
  rig.Exchange();
  rig.TakeEvents<RoleChange>(2);
  ASSERT_TRUE(rig.loop(1).TransferLeadership(0, 2).ok());
  rig.Exchange();
  ASSERT_TRUE(rig.Leads(2));
  const std::vector<RoleChange> changes = rig.TakeEvents<RoleChange>(2);
  ASSERT_FALSE(changes.empty());
  EXPECT_EQ(changes.back().role, Role::kLeader);
  // Its first entry, behind 1's first and "a".
  EXPECT_EQ(changes.back().applied_before_leading, kGroupBegin.index + 3);
  EXPECT_EQ(rig.TakeEvents<RoleChange>(1).back().leader, 2u);
}

TEST(RaftLoop, ProposalsWaitWhileTooMuchIsUnderWay) {
  RaftLoopOptions options;
  options.group.uncommitted_bytes_max = 1000;
  options.group.message_bytes_max = 500;
  LoopRig rig(3, options);
  rig.Elect(1);
  rig.loses = CutOff(1);
  for (int i = 0; i < 100; ++i) rig.Propose(1, std::string(100, 'x'));
  rig.Exchange();
  EXPECT_LE(rig.loop(1).GetStatus(0)->last, kGroupBegin.index + 1 + 11);
  EXPECT_THAT(rig.TakeEvents<NotCommitted>(1), IsEmpty());
  rig.loses = nullptr;
  rig.TickAll(20);
  EXPECT_THAT(rig[1].entries, SizeIs(100));
}

TEST(RaftLoop, AllGroupsOfARoundAreOneWrite) {
  MemoryEntryStore store;
  RaftLoop loop({}, store);
  const auto write = [&] {
    loop.Run();
    while (const std::optional<RaftLoop::Write> begun = loop.BeginWrite()) {
      ASSERT_TRUE(store.Write(*begun->batch, begun->sync).ok());
      loop.OnWritten();
      loop.Run();
    }
  };
  for (GroupId group = 0; group < 64; ++group) {
    ASSERT_TRUE(loop.AddGroup({.group = group,
                               .replica = 1,
                               .applied = kGroupBegin,
                               .conf_state = {.voters = {1}}})
                    .ok());
    ASSERT_TRUE(loop.Campaign(group).ok());
  }
  write();
  const size_t before = store.writes;
  loop.TakeEvents();
  for (GroupId group = 0; group < 64; ++group) loop.Submit({group, 1, "x"});
  write();
  EXPECT_EQ(store.writes, before + 1);
  std::vector<Committed> committed;
  for (LogEvent& event : loop.TakeEvents()) {
    if (auto* const batch = std::get_if<Committed>(&event)) committed.push_back(std::move(*batch));
  }
  EXPECT_THAT(Proposals(committed), testing::AllOf(SizeIs(64), testing::Each(1)));
}

TEST(RaftLoop, AWriteThatFailedIsTheSameWhenItIsTriedAgain) {
  LoopRig rig(1);
  rig.Elect(1);
  rig[1].hold_writes = true;
  rig.Propose(1, "first");
  rig.Run(1);
  ASSERT_TRUE(rig[1].writing.has_value());
  EntryBatch* const batch = rig[1].writing->batch;
  rig[1].store.FailWith(absl::UnavailableError("no room"));
  EXPECT_FALSE(rig[1].store.Write(*batch, EntryStore::Sync::kYes).ok());
  rig.Propose(1, "second");
  rig.Run(1);
  EXPECT_FALSE(rig.loop(1).BeginWrite().has_value()) << "nothing may be written before it";
  EXPECT_THAT(rig[1].entries, IsEmpty());
  EXPECT_THAT(rig.TakeEvents<NotCommitted>(1), IsEmpty());
  rig[1].store.FailWith(absl::OkStatus());
  rig[1].hold_writes = false;
  rig.EndWrite(1);
  rig.Run(1);
  EXPECT_THAT(rig[1].entries, ElementsAre("first", "second"));
}

TEST(RaftLoop, ThreeMembersBecomeThreeOthersByOneJointChange) {
  LoopRig rig(3);
  rig.Elect(1);
  rig.Propose(1, "before");
  rig.Exchange();
  for (const ReplicaId id : {4, 5}) rig.Add(id, {}, {});
  ASSERT_TRUE(rig.loop(1)
                  .ChangeMembers(0, {{MemberChange::Kind::kAddVoter, 4},
                                     {MemberChange::Kind::kAddVoter, 5},
                                     {MemberChange::Kind::kRemove, 2},
                                     {MemberChange::Kind::kRemove, 3}})
                  .ok());
  for (int i = 0; i < 30; ++i) {
    rig.TickAll();
    if (!rig.TakeEvents<SnapshotWanted>(1).empty()) {
      rig.loop(1).OfferSnapshot(0, rig[1].applied.index, "state");
    }
    for (const ReplicaId id : {4, 5}) {
      for (const InstallSnapshot& snapshot : rig.TakeEvents<InstallSnapshot>(id)) {
        rig[id].applied = snapshot.place;
        rig.loop(id).Installed(0, snapshot.place);
        rig.loop(1).ReportSnapshot(0, id, true);
      }
    }
  }
  rig.Propose(1, "after");
  rig.TickAll(3);
  EXPECT_THAT(rig[4].entries, testing::Contains("after"));
  EXPECT_THAT(rig[5].entries, testing::Contains("after"));
  const absl::StatusOr<RaftGroup::Status> status = rig.loop(1).GetStatus(0);
  std::vector<ReplicaId> members;
  for (const auto& member : status->progress) members.push_back(member.replica);
  EXPECT_THAT(members, ElementsAre(1, 4, 5));
  // As the log has it, for the next start.
  EXPECT_THAT(rig[4].store.Load(0)->conf_states.back().state.voters, UnorderedElementsAre(1, 4, 5));
  ASSERT_TRUE(rig.loop(1).TransferLeadership(0, 4).ok());
  rig.Exchange();
  EXPECT_TRUE(rig.Leads(4));
}

TEST(RaftLoop, OneChangeOfTheMembersAtATime) {
  LoopRig rig(3);
  rig.Elect(1);
  rig.Exchange();
  rig.loses = CutOff(1);
  ASSERT_TRUE(rig.loop(1).ChangeMembers(0, {{MemberChange::Kind::kAddLearner, 4}}).ok());
  rig.Exchange();
  EXPECT_EQ(rig.loop(1).ChangeMembers(0, {{MemberChange::Kind::kAddLearner, 5}}).code(),
            absl::StatusCode::kUnavailable);
}

TEST(RaftLoop, ALogIsCutWhenTheStateIsFlushedAndAStartFindsTheRest) {
  RaftLoopOptions options;
  options.cut_bytes_min = 1000;
  LoopRig rig(1, options);
  rig.Elect(1);
  for (int i = 0; i < 100; ++i) {
    rig.Propose(1, std::string(100, 'x'));
    rig.Exchange();
  }
  EXPECT_EQ(rig[1].store.Load(0)->begin, kGroupBegin);
  rig.loop(1).Flushed(0, rig[1].applied.index - 50);
  rig.TickAll();
  const absl::StatusOr<EntryStore::Group> stored = rig[1].store.Load(0);
  EXPECT_GT(stored->begin.index, kGroupBegin.index + 40);
  EXPECT_LE(stored->begin.index, rig[1].applied.index - 50);
  ASSERT_TRUE(rig.Restart(1).ok());
  rig.Elect(1);
  rig.Propose(1, "after");
  rig.Exchange();
  EXPECT_EQ(rig[1].entries.back(), "after");
}

// A leader that hears of no majority steps down within a tick, and knows of no member then what it
// has. The log was cut in that same tick to what was flushed, and who had been away needed it.
TEST(RaftLoop, ALeaderThatStepsDownKeepsWhatAMemberLacks) {
  RaftLoopOptions options;
  options.cut_bytes_min = 1000;
  LoopRig rig(3, options);
  rig.Elect(1);
  rig.loses = CutOff(3);
  for (int i = 0; i < 100; ++i) {
    rig.Propose(1, absl::StrCat("entry ", i, std::string(100, 'x')));
    rig.Exchange();
  }
  rig.loop(1).Flushed(0, rig[1].applied.index);
  rig.loop(2).Flushed(0, rig[2].applied.index);
  EXPECT_EQ(rig[1].store.Load(0)->begin, kGroupBegin);
  rig.loses = CutOff(1);
  rig.TickAll(100);
  EXPECT_FALSE(rig.Leads(1));
  EXPECT_EQ(rig[1].store.Load(0)->begin, kGroupBegin);
  EXPECT_EQ(rig[2].store.Load(0)->begin.index, rig[3].store.Load(0)->begin.index);
  rig.loses = nullptr;
  rig.TickAll(100);
  EXPECT_EQ(rig[3].entries, rig[1].entries);
}

void ProposeMany(LoopRig& rig, int entries) {
  for (int i = 0; i < entries; ++i) {
    rig.Propose(1, absl::StrCat("entry ", i, std::string(100, 'x')));
    rig.Exchange();
  }
}

// What a follower keeps is for who is away, and its leader says when nobody is.
TEST(RaftLoop, FollowersForgetWhatAllMembersHave) {
  RaftLoopOptions options;
  options.cut_bytes_min = 1000;
  LoopRig rig(3, options);
  rig.Elect(1);
  ProposeMany(rig, 100);
  for (const ReplicaId id : {1, 2, 3}) rig.loop(id).Flushed(0, rig[id].applied.index);
  rig.TickAll(10);
  for (const ReplicaId id : {1, 2, 3})
    EXPECT_GT(rig[id].store.Load(0)->begin.index, kGroupBegin.index + 80) << id;
  rig.loses = CutOff(3);
  ProposeMany(rig, 100);
  for (const ReplicaId id : {1, 2}) rig.loop(id).Flushed(0, rig[id].applied.index);
  rig.TickAll(10);
  for (const ReplicaId id : {1, 2})
    EXPECT_LE(rig[id].store.Load(0)->begin.index, rig[3].store.Load(0)->last) << id;
  rig.loses = nullptr;
  rig.TickAll(100);
  EXPECT_EQ(rig[3].entries, rig[1].entries);
}

// A process counts what the one before it has left, or each restart would begin the bound anew.
TEST(RaftLoop, WhatIsKeptForTheAbsentIsBoundedOverRestarts) {
  RaftLoopOptions options;
  options.cut_bytes_min = 1000;
  options.lagging_bytes_max = 5000;
  LoopRig rig(3, options);
  rig.Elect(1);
  rig.loses = CutOff(3);
  for (int life = 0; life < 10; ++life) {
    ProposeMany(rig, 20);
    ASSERT_TRUE(rig.Restart(2).ok());
    rig.TickAll(5);
    for (const ReplicaId id : {1, 2}) rig.loop(id).Flushed(0, rig[id].applied.index);
    rig.TickAll(5);
    EXPECT_LE(rig[2].store.Load(0)->bytes, 8000u) << "life " << life;
  }
  EXPECT_GT(rig[2].store.Load(0)->bytes, 3000u);
}

// Who is away must not be outrun by a restart. Of small entries the data is the lesser part.
TEST(RaftLoop, AStartCountsAsTheProcessBeforeItDid) {
  RaftLoopOptions options;
  options.cut_bytes_min = 1000;
  options.lagging_bytes_max = 20'000;
  LoopRig rig(3, options);
  rig.Elect(1);
  rig.loses = CutOff(3);
  for (int i = 0; i < 5000; ++i) {
    rig.Propose(1, "x");
    rig.Exchange();
  }
  const auto flush = [&rig] {
    rig.loop(2).Flushed(0, rig[2].applied.index);
    rig.TickAll(5);
    return rig[2].store.Load(0)->begin.index;
  };
  const uint64_t begin = flush();
  ASSERT_TRUE(rig.Restart(2).ok());
  EXPECT_EQ(flush(), begin);
}

TEST(RaftLoop, EachMemberThatIsOutrunIsNamedOnce) {
  RaftLoopOptions options;
  options.cut_bytes_min = 1000;
  options.lagging_bytes_max = 1000;
  LoopRig rig(5, options);
  rig.Elect(1);
  rig.loses = [](const LoopRig::Node&, const RaftLoop::Message& m) { return m.to > 3; };
  ProposeMany(rig, 50);
  rig.loop(1).Flushed(0, rig[1].applied.index);
  rig.loses = nullptr;
  rig.TickAll(100);
  std::vector<ReplicaId> named;
  for (const SnapshotWanted& wanted : rig.TakeEvents<SnapshotWanted>(1)) named.push_back(wanted.to);
  EXPECT_THAT(named, testing::UnorderedElementsAre(4, 5));
}

// Whoever leads by then has nothing from it but that it lacks what it was sent.
TEST(RaftLoop, WhatAnOutrunMemberHasIsSaidByANewLeaderToo) {
  RaftLoopOptions options;
  options.cut_bytes_min = 1000;
  options.lagging_bytes_max = 1000;
  LoopRig rig(3, options);
  rig.Elect(1);
  ProposeMany(rig, 20);
  const uint64_t has = rig[3].store.Load(0)->last;
  rig.loses = CutOff(3);
  ProposeMany(rig, 100);
  for (const ReplicaId id : {1, 2}) rig.loop(id).Flushed(0, rig[id].applied.index);
  rig.TickAll(5);
  ASSERT_TRUE(rig.loop(1).TransferLeadership(0, 2).ok());
  rig.Exchange();
  rig.loses = nullptr;
  rig.TickAll(100);
  const std::vector<SnapshotWanted> wanted = rig.TakeEvents<SnapshotWanted>(2);
  ASSERT_EQ(wanted.size(), 1u);
  EXPECT_EQ(wanted[0].to, ReplicaId{3});
  EXPECT_EQ(wanted[0].has, has);
  EXPECT_GT(wanted[0].begins, has);
}

TEST(RaftLoop, AMemberThatLagsIsServedFromTheDisk) {
  RaftLoopOptions options;
  options.group.recent_bytes_max = 500;
  LoopRig rig(3, options);
  rig.Elect(1);
  rig.loses = CutOff(3);
  for (int i = 0; i < 100; ++i) {
    rig.Propose(1, absl::StrCat("entry ", i, std::string(100, 'x')));
    rig.Exchange();
  }
  rig.loses = nullptr;
  rig.TickAll(5);
  EXPECT_GT(rig[1].store.reads, 0u);
  EXPECT_EQ(rig[3].entries, rig[1].entries);
}

TEST(RaftLoop, WhatIsNoMessageForUsIsRefusedAndDoesNoHarm) {
  LoopRig rig(3);
  rig.Elect(1);
  EXPECT_EQ(rig.loop(1).OnMessage(0, "\xff\xff\xff").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(rig.loop(1).OnMessage(9, "").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(rig.loop(1).OnMessage(0, "").code(), absl::StatusCode::kInvalidArgument);
  // A proposal (2) from 2 to 1: nobody could say what became of it.
  EXPECT_EQ(rig.loop(1).OnMessage(0, "\x08\x02\x10\x01\x18\x02").code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(rig.Leads(1));
}

// protobuf 2.28 would use up the stack.
TEST(RaftLoop, AMessageOfNestedGroupsIsRefusedBeforeItIsRead) {
  LoopRig rig(3);
  const std::string groups(1 << 20, '\x0b');
  EXPECT_EQ(rig.loop(1).OnMessage(0, groups).code(), absl::StatusCode::kInvalidArgument);
  // In an entry (field 7), 100 of them.
  EXPECT_EQ(
      rig.loop(1).OnMessage(0, "\x08\x03\x10\x01\x18\x02\x3a\x64" + groups.substr(0, 100)).code(),
      absl::StatusCode::kInvalidArgument);
  rig.Elect(1);
}

TEST(RaftLoop, MembersWhoseDisksStallStillFollow) {
  LoopRig rig(3);
  rig.Elect(1);
  rig.TickAll();
  rig[2].hold_writes = rig[3].hold_writes = true;
  rig.Propose(1, "x");
  rig.Exchange();
  rig.TickAll(60);  // Several election timeouts.
  EXPECT_TRUE(rig.Leads(1));
  EXPECT_THAT(rig[1].entries, IsEmpty());
  rig.EndWrite(2);
  rig.Exchange();
  EXPECT_THAT(rig[1].entries, ElementsAre("x"));
}

// With clocks that tick together, whoever draws at random has two candidates in every tenth term.
TEST(RaftLoop, MembersDoNotStandForElectionAtOnce) {
  LoopRig rig(3);
  rig.Elect(1);
  ReplicaId leader = 1;
  for (int round = 0; round < 60; ++round) {
    rig.TickAll(3);
    const uint64_t term = rig.loop(leader).GetStatus(0)->term;
    rig[leader].loop = nullptr;
    rig.TickAll(20);  // The longest election timeout.
    const ReplicaId dead = leader;
    for (ReplicaId id = 1; id <= 3; ++id) {
      if (id != dead && rig.Leads(id)) leader = id;
    }
    ASSERT_NE(leader, dead) << "nobody was elected in round " << round;
    EXPECT_EQ(rig.loop(leader).GetStatus(0)->term, term + 1);
    ASSERT_TRUE(rig.Restart(dead).ok());
  }
}

TEST(RaftLoop, LeadersSpeakAtTheSameTicksWheneverTheyWereElected) {
  RaftLoopOptions options;
  options.group.heartbeat_ticks = 3;
  for (int elected_at = 0; elected_at < 6; ++elected_at) {
    LoopRig rig(3, options);
    rig.TickAll(elected_at);
    rig.Elect(1);
    int heartbeats = 0;
    rig.loses = [&](const LoopRig::Node&, const RaftLoop::Message& message) {
      heartbeats += message.kind == RaftGroup::kHeartbeat ? 1 : 0;
      return false;
    };
    for (int tick = elected_at + 1; tick < elected_at + 20; ++tick) {
      heartbeats = 0;
      rig.TickAll();
      if (tick < elected_at + 6 && heartbeats == 0) continue;  // Its first entry said so.
      EXPECT_EQ(heartbeats, tick % 3 == 0 ? 2 : 0) << "elected " << elected_at << ", tick " << tick;
    }
  }
}

TEST(RaftLoop, ALogThatBeginsBehindTheStateIsDamage) {
  LoopRig rig(1);
  MemoryEntryStore store;
  const std::unique_ptr<EntryBatch> batch = store.NewBatch();
  batch->Restart(0, {.index = 100, .term = 6}, {.voters = {1}});
  ASSERT_TRUE(store.Write(*batch, EntryStore::Sync::kYes).ok());
  RaftLoop loop({}, store);
  EXPECT_EQ(loop.AddGroup({.group = 0,
                           .replica = 1,
                           .applied = {.index = 50, .term = 6},
                           .conf_state = {.voters = {1}}})
                .code(),
            absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace cluster
