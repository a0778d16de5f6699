// Replicas of two releases that apply the same log decide alike, or one of them stops.
#include "storage/core/apply_rules.h"

#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/chunk.h"
#include "storage/core/command_codec.h"
#include "storage/core/memory_store.h"
#include "storage/core/partition.h"
#include "tests/storage/core/generator.h"
#include "tests/storage/core/model.h"

namespace storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr PartitionId kPartition = 5;

// ---- What is frozen -----------------------------------------------------------------------------

// A value here is never edited. A release that wants another one adds a level, and its line.
TEST(ApplyRules, WhatALevelSaysNeverChanges) {
  static_assert(sizeof(ApplyRules) == 48, "a further rule belongs into the lines below");
  std::vector<std::string> levels;
  for (const ApplyRules& rules : kApplyRules) {
    levels.push_back(
        absl::StrCat("run_ahead ", rules.run_ahead, " shared_bytes_min ", rules.shared_bytes_min,
                     " copies_bytes_max ", rules.copies_bytes_max, " expired_looked_at_max ",
                     rules.expired_looked_at_max, " digest_noted_every ", rules.digest_noted_every,
                     " wills_in_outbox ", rules.wills_in_outbox));
  }
  const std::string numbers =
      "run_ahead 2 shared_bytes_min 1024 copies_bytes_max 65536 "
      "expired_looked_at_max 64 digest_noted_every 1024 wills_in_outbox ";
  EXPECT_THAT(levels, ElementsAre(numbers + "0", numbers + "1"));
}

// It is what a message counts for in a queue's bound in bytes, and so decides what is dropped.
TEST(ApplyRules, TheSizeOfAQueuedMessageNeverChanges) {
  const std::string message(100, 'm');
  ChunkEntry entry;
  EXPECT_EQ(ChunkEntrySize(entry), 0u);
  entry.message = message;
  EXPECT_EQ(ChunkEntrySize(entry), 102u);
  entry.qos = mqtt::QoS::kExactlyOnce;
  EXPECT_EQ(ChunkEntrySize(entry), 104u);
  entry.retain = true;
  EXPECT_EQ(ChunkEntrySize(entry), 106u);
  entry.subscription_ids = {5, 300};
  EXPECT_EQ(ChunkEntrySize(entry), 111u);
  entry.share_filter = "$share/g/a";
  EXPECT_EQ(ChunkEntrySize(entry), 123u);
  const std::string large(1000, 'm');
  entry.message = large;
  EXPECT_EQ(ChunkEntrySize(entry), 1024u);
}

// ---- Two releases side by side ------------------------------------------------------------------

ApplyRules Edited(uint64_t ApplyRules::*rule, uint64_t value) {
  ApplyRules rules = kApplyRules[0];
  rules.*rule = value;
  return rules;
}
static_assert(std::is_same_v<size_t, uint64_t>);

// One replica, of a release that knows some rules. It may be loaded again at any moment.
class Build {
 public:
  explicit Build(std::vector<ApplyRules> rules) : rules_(std::move(rules)) { Load(); }

  absl::Status Apply(const std::string& entry) {
    MemoryBatch batch;
    Effects effects;
    log_.push_back(entry);
    const absl::Status status =
        partition_->ApplyEntry(entry, {}, log_.size(), /*term=*/1, store_, batch, effects);
    if (status.ok()) store_.Write(batch);
    return status;
  }
  void Flush() {
    MemoryBatch batch;
    partition_->Flush(batch);
    store_.Write(batch);
  }
  // Loses what was not flushed, and applies it again.
  void Restart() {
    Load();
    const std::vector<std::string> log = std::exchange(log_, {});
    for (const std::string& entry : log) EXPECT_TRUE(Apply(entry).ok());
  }
  const Partition& partition() const { return *partition_; }
  const MemoryStore& store() const { return store_; }

 private:
  void Load() {
    partition_ = std::make_unique<Partition>(kPartition, rules_);
    EXPECT_TRUE(partition_->Load(store_).ok());
  }

  const std::vector<ApplyRules> rules_;
  MemoryStore store_;
  std::unique_ptr<Partition> partition_;
  std::vector<std::string> log_;
};

// Applies random entries to both, and calls `compare` after each until it returns false.
void ApplyToBoth(uint64_t seed, int entries, Build& a, Build& b,
                 const std::function<bool(int)>& compare) {
  Model model;
  Generator generator(seed, model);
  for (int i = 0; i < entries; ++i) {
    const pb::Entry entry = generator.Next();
    for (const pb::Command& command : entry.commands()) model.Apply(command);
    const std::string bytes = entry.SerializeAsString();
    ASSERT_TRUE(a.Apply(bytes).ok());
    ASSERT_TRUE(b.Apply(bytes).ok());
    if (!compare(i)) return;
  }
}

std::string Raise(uint32_t level) {
  pb::Command command;
  command.mutable_raise_level()->set_level(level);
  std::string entry;
  AppendCommand(command, entry);
  return entry;
}

TEST(ApplyLevels, TwoReleasesAreEqualAfterEachEntryWheneverTheyFlushAndRestart) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    base::Rng rng(seed);
    Build older({kApplyRules[0]});
    Build newer({kApplyRules[0], Edited(&ApplyRules::run_ahead, 5)});
    ApplyToBoth(seed, 300, older, newer, [&](int) {
      if (rng.Chance(0.1)) older.Flush();
      if (rng.Chance(0.02)) older.Restart();
      EXPECT_EQ(older.partition().digest(), newer.partition().digest());
      EXPECT_EQ(older.partition().Dump(), newer.partition().Dump());
      return !testing::Test::HasFailure();
    });
  }
}

// Whoever edits a rule in place: another value of each is found by the digest.
TEST(ApplyLevels, AReleaseThatDecidesDifferentlyHasAnotherDigest) {
  const std::pair<uint64_t ApplyRules::*, uint64_t> edits[] = {
      {&ApplyRules::run_ahead, 3},
      {&ApplyRules::shared_bytes_min, 100},
      {&ApplyRules::copies_bytes_max, 300},
      {&ApplyRules::expired_looked_at_max, 0},
  };
  for (const auto& [rule, value] : edits) {
    SCOPED_TRACE(value);
    bool found = false;
    for (uint64_t seed = 1; seed <= 20 && !found; ++seed) {
      Build whole({kApplyRules[0]});
      Build edited({Edited(rule, value)});
      ApplyToBoth(seed, 700, whole, edited, [&](int) {
        found = whole.partition().digest() != edited.partition().digest();
        // Bytes in queues may follow later than the decision, never earlier.
        if (!found) {
          EXPECT_EQ(whole.partition().Dump(), edited.partition().Dump());
        }
        return !found && !testing::Test::HasFailure();
      });
    }
    EXPECT_TRUE(found);
  }
}

TEST(ApplyLevels, ARaisedPartitionDecidesByTheNewRulesAndAnEarlierReleaseStops) {
  Build older({kApplyRules[0]});
  Build newer({kApplyRules[0], Edited(&ApplyRules::run_ahead, 5)});
  const absl::Status status = older.Apply(Raise(1));
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(status.message()), HasSubstr("written by a newer release"));
  EXPECT_TRUE(older.partition().stopped());

  ASSERT_TRUE(newer.Apply(Raise(1)).ok());
  EXPECT_EQ(newer.partition().level(), 1u);
  newer.Flush();
  newer.Restart();
  EXPECT_EQ(newer.partition().level(), 1u);
  ASSERT_TRUE(newer.Apply(Raise(0)).ok());
  EXPECT_EQ(newer.partition().level(), 1u);

  // Of a state that is at a level that it does not know, a release reads nothing.
  Partition again(kPartition, absl::MakeConstSpan(kApplyRules, 1));
  const absl::Status loaded = again.Load(newer.store());
  EXPECT_EQ(loaded.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(loaded.message()), HasSubstr("is at apply level 1"));
  EXPECT_TRUE(again.stopped());
  EXPECT_EQ(again.applied_index(), 1u);
}

TEST(ApplyLevels, TheRulesOfALevelHoldFromWhereItWasRaised) {
  const std::vector<ApplyRules> rules = {kApplyRules[0], Edited(&ApplyRules::run_ahead, 5)};
  Build raised(rules);
  Build other(rules);
  const auto apply = [](Build& build, const std::function<void(pb::Command&)>& fill) {
    pb::Command command;
    command.set_time_unix_ms(1000);
    fill(command);
    std::string entry;
    AppendCommand(command, entry);
    ASSERT_TRUE(build.Apply(entry).ok());
  };
  for (Build* const build : {&raised, &other}) {
    apply(*build, [](pb::Command& command) {
      command.mutable_open_session()->set_client_id("c");
      command.mutable_open_session()->set_expiry_s(3600);
      command.mutable_open_session()->set_window_messages(1);
    });
    apply(*build, [](pb::Command& command) {
      command.mutable_subscribe()->set_client_id("c");
      command.mutable_subscribe()->set_epoch(1);
      command.mutable_subscribe()->add_subscriptions()->set_filter("t");
      command.mutable_subscribe()->mutable_subscriptions(0)->set_options(1);
    });
    for (int i = 0; i < 10; ++i) {
      apply(*build, [](pb::Command& command) {
        command.mutable_enqueue()->set_message(Stored({}));
        command.mutable_enqueue()->set_match(true);
      });
    }
  }
  ASSERT_TRUE(raised.Apply(Raise(1)).ok());
  for (Build* const build : {&raised, &other}) {
    apply(*build, [](pb::Command& command) { command.mutable_close_node(); });
  }
  EXPECT_EQ(raised.partition().Find("c")->queue.sent_through(), 5u);
  EXPECT_EQ(other.partition().Find("c")->queue.sent_through(), 2u);
}

TEST(ApplyLevels, ACommandThatNeedsALevelIsLeftToThoseWhoKnowIt) {
  pb::Command command;
  command.set_level(1);
  command.mutable_close_node();
  std::string entry;
  AppendCommand(command, entry);
  Build older({kApplyRules[0]});
  EXPECT_EQ(older.Apply(entry).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(older.partition().stopped());
  Build newer({kApplyRules[0], kApplyRules[0]});
  EXPECT_TRUE(newer.Apply(entry).ok());
}

// ---- Checksums ----------------------------------------------------------------------------------

std::string ChecksumOf(uint64_t index, uint64_t digest) {
  pb::Command command;
  command.mutable_checksum()->set_index(index);
  command.mutable_checksum()->set_digest(digest);
  std::string entry;
  AppendCommand(command, entry);
  return entry;
}

TEST(Checksums, AReplicaThatHasBecomeAnotherOneStops) {
  const ApplyRules often = Edited(&ApplyRules::digest_noted_every, 4);
  Build replica({often});
  std::vector<uint64_t> digests = {0};
  Model model;
  Generator generator(1, model);
  for (int i = 0; i < 9; ++i) {
    ASSERT_TRUE(replica.Apply(generator.Next().SerializeAsString()).ok());
    digests.push_back(replica.partition().digest());
  }
  replica.Flush();
  replica.Restart();
  EXPECT_TRUE(replica.Apply(ChecksumOf(8, digests[8])).ok());
  EXPECT_TRUE(replica.Apply(ChecksumOf(4, digests[4] + 1)).ok());  // Too long ago.
  EXPECT_TRUE(replica.Apply(ChecksumOf(9, digests[9] + 1)).ok());  // It has not noted that.
  EXPECT_FALSE(replica.partition().stopped());
  Build other({often});
  ASSERT_TRUE(other.Apply(ChecksumOf(100, 0)).ok());
  for (int i = 1; i < 9; ++i) {
    ASSERT_TRUE(other.Apply(generator.Next().SerializeAsString()).ok());
  }
  const absl::Status status = other.Apply(ChecksumOf(8, digests[8]));
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(other.partition().stopped());
}

}  // namespace
}  // namespace storage
