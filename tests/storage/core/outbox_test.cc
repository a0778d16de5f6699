// A partition's outbox: what goes into it, once, and what becomes of it.
#include "storage/core/outbox.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/core/keys.h"
#include "tests/storage/core/harness.h"

namespace storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

constexpr auto kWithWill = pb::CloseSession::WITH_WILL;

size_t Written(Harness& h) {
  size_t records = 0;
  for (const auto& [key, value] : h.store().map()) {
    records += key[2] == static_cast<char>(KeyKind::kOutbox) ? 1 : 0;
  }
  return records;
}

TEST(OutboxState, ARecordIsDoneOnceAndItsNumberIsNotUsedAgain) {
  Harness h;
  h.PublishTo("nobody", "$share/g/t", {.payload = "1"});
  EXPECT_EQ(h.partition().outbox().messages(), 1u);
  h.Add().mutable_outbox_done()->add_numbers(1);
  h.Add().mutable_outbox_done()->add_numbers(1);
  const std::vector<Outcome> outcomes = h.Commit();
  EXPECT_EQ(outcomes[0].code, OutcomeCode::kOk);
  EXPECT_EQ(outcomes[1].code, OutcomeCode::kNothing);
  EXPECT_EQ(h.partition().outbox().messages(), 0u);
  EXPECT_EQ(h.partition().outbox().bytes(), 0u);
  EXPECT_EQ(Written(h), 0u);
  h.PublishTo("nobody", "$share/g/t", {.payload = "2"});
  EXPECT_EQ(h.Outbox().at(0).number, 2u);
}

TEST(OutboxState, WhatMembersLeaveIsBoundedInNumberAndSize) {
  Harness h;
  pb::Limits limits;
  limits.set_outbox_messages_max(2);
  limits.set_outbox_bytes_max(200);
  h.SetLimits(limits);
  h.PublishTo("nobody", "$share/g/t", {.payload = std::string(300, 'x')});
  EXPECT_EQ(h.Dropped(DropCause::kOutbox), 1u);
  h.PublishTo("nobody", "$share/g/t", {.payload = "1"});
  h.PublishTo("nobody", "$share/g/t", {.payload = "2"});
  EXPECT_EQ(h.Dropped(DropCause::kOutbox), 0u);
  h.PublishTo("nobody", "$share/g/t", {.payload = "3"});
  EXPECT_EQ(h.Dropped(DropCause::kOutbox), 1u);
  h.OutboxDone(1);
  h.PublishTo("nobody", "$share/g/t", {.payload = "4"});
  EXPECT_THAT(h.Left(), ElementsAre("2", "4"));
}

TEST(OutboxState, WhatHasExpiredMakesRoom) {
  Harness h;
  pb::Limits limits;
  limits.set_outbox_messages_max(1);
  h.SetLimits(limits);
  h.PublishTo("nobody", "$share/g/t", {.payload = "short", .expires = h.now() + 1000});
  h.Advance(1000);
  h.PublishTo("nobody", "$share/g/t", {.payload = "next"});
  EXPECT_EQ(h.Dropped(DropCause::kExpired), 1u);
  EXPECT_THAT(h.Left(), ElementsAre("next"));
}

TEST(OutboxState, AWillIsThereWithTheCommandThatFiresIt) {
  Harness h;
  h.Open("a", {.will = Text{.topic = "w", .payload = "gone", .expires = 5000, .created = 2000}});
  h.Close("a", kWithWill);
  EXPECT_EQ(h.FireWill("a").code, OutcomeCode::kOk);
  EXPECT_THAT(h.EffectsOf<OutboxGrew>(), SizeIs(1));
  h.Reload();
  ASSERT_THAT(h.Outbox(), SizeIs(1));
  const OutboxRecord will = h.Outbox()[0];
  EXPECT_EQ(will.kind, OutboxRecord::Kind::kWill);
  EXPECT_EQ(will.message->payload(), "gone");
  EXPECT_EQ(will.message->expires_at_unix_ms(), h.now() + 3000);
}

// Its leader does not fire more than there is room for; but what a command says is done.
TEST(OutboxState, AWillIsNotDroppedAlthoughTheOutboxIsFull) {
  Harness h;
  pb::Limits limits;
  limits.set_outbox_messages_max(1);
  h.SetLimits(limits);
  h.PublishTo("nobody", "$share/g/t", {.payload = "1"});
  h.Open("a", {.will = Text{.topic = "w", .payload = "gone"}});
  h.Close("a", kWithWill);
  h.FireWill("a");
  EXPECT_THAT(h.Left(), ElementsAre("1", "gone"));
}

// As an earlier release logged it: what all others were to have stood in commands beside it.
TEST(OutboxState, OfAWillOfAnEarlierReleaseOnlyGroupsAreToHaveIt) {
  for (const bool groups : {true, false}) {
    Harness h;
    h.Open("a", {.will = Text{.topic = "w", .payload = "gone"}});
    h.Close("a", kWithWill);
    pb::FireWill& fire = *h.Add().mutable_fire_will();
    fire.set_client_id("a");
    fire.set_epoch(h.Epoch("a"));
    if (groups) fire.set_orphan_at_unix_ms(h.now());
    EXPECT_EQ(h.Commit().at(0).code, OutcomeCode::kOk);
    ASSERT_THAT(h.Left(), SizeIs(groups ? 1 : 0));
    if (groups) {
      EXPECT_EQ(h.Outbox()[0].kind, OutboxRecord::Kind::kLeft);
    }
  }
}

TEST(OutboxState, WhoIsChosenOfAGroupStaysSo) {
  Harness h;
  h.PublishTo("nobody", "$share/g/t", {.payload = "1"});
  const auto assign = [&](const std::string& client, const std::string& filter) {
    pb::OutboxAssign& command = *h.Add().mutable_outbox_assign();
    command.set_number(1);
    pb::SharedTarget& target = *command.add_targets();
    target.set_client_id(client);
    target.mutable_subscription()->set_filter(filter);
    return h.Commit().at(0).code;
  };
  EXPECT_EQ(assign("a", "$share/g/t"), OutcomeCode::kOk);
  EXPECT_EQ(assign("b", "$share/g/t"), OutcomeCode::kOk);
  EXPECT_EQ(assign("c", "$share/h/t"), OutcomeCode::kOk);
  h.Reload();
  const std::vector<SharedTarget> targets = h.Outbox().at(0).targets;
  ASSERT_THAT(targets, SizeIs(2));
  EXPECT_EQ(targets[0].client_id, "a");
  EXPECT_EQ(targets[1].client_id, "c");
  EXPECT_THAT(h.Left(), ElementsAre("1"));
  h.OutboxDone(1);
  EXPECT_EQ(assign("d", "$share/g/t"), OutcomeCode::kNothing);
}

// What is passed on soon is written nowhere but to the log.
TEST(OutboxState, WhatIsDoneBeforeTheNextFlushIsNeverWritten) {
  MemoryStore store;
  Partition partition(3);
  ASSERT_TRUE(partition.Load(store).ok());
  const auto apply = [&](const pb::Entry& entry, uint64_t index) {
    MemoryBatch batch;
    Effects effects;
    ASSERT_TRUE(
        partition.ApplyEntry(entry.SerializeAsString(), {}, index, 1, store, batch, effects).ok());
    EXPECT_EQ(batch.size(), 0u);
  };
  pb::Entry left;
  pb::Enqueue& enqueue = *left.add_commands()->mutable_enqueue();
  enqueue.set_message(Stored({.payload = std::string(1000, 'x')}));
  pb::Enqueue::Target& target = *enqueue.add_targets();
  target.set_client_id("nobody");
  target.mutable_subscription()->set_filter("$share/g/t");
  target.mutable_subscription()->set_options(1);
  apply(left, 1);
  EXPECT_GT(partition.unflushed_bytes(), 1000u);
  EXPECT_EQ(partition.outbox().Read(store, 3, 0, 10)->at(0).message->payload().size(), 1000u);
  pb::Entry done;
  done.add_commands()->mutable_outbox_done()->add_numbers(1);
  apply(done, 2);
  EXPECT_EQ(partition.unflushed_bytes(), 0u);
  MemoryBatch batch;
  partition.Flush(batch);
  store.Write(batch);
  EXPECT_EQ(store.map().size(), 1u);  // The meta record.
}

// The numbers of shards begin anew with each start, those of outboxes never.
TEST(OutboxState, AStartForgetsWhatShardsAskedAndNotWhatOutboxesPassedOn) {
  Harness h;
  const auto publish = [&](uint64_t origin, uint64_t sequence) {
    h.AddPublish({});
    pb::Command& last = h.last();
    last.set_origin(origin);
    last.set_sequence(sequence);
    return h.Commit().at(0).code;
  };
  const uint64_t outbox = Origins::OfOutbox(9);
  EXPECT_EQ(publish(1, 5), OutcomeCode::kOk);
  EXPECT_EQ(publish(outbox, 7), OutcomeCode::kOk);
  h.Add().mutable_close_node();
  h.Commit();
  EXPECT_TRUE(h.partition().origins().Shards().empty());
  EXPECT_EQ(publish(1, 5), OutcomeCode::kOk);
  EXPECT_EQ(publish(outbox, 7), OutcomeCode::kRepeat);
  EXPECT_EQ(publish(outbox, 6), OutcomeCode::kOk);  // It was refused before.
  EXPECT_EQ(publish(outbox, 6), OutcomeCode::kRepeat);
}

}  // namespace
}  // namespace storage
