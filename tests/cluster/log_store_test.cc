// The logs of all groups on a disk: what is found again.
#include "cluster/log_store.h"

#include <rocksdb/env.h>

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/core/options.h"
#include "tests/cluster/memory_entry_store.h"
#include "tests/storage/faulty_disk.h"
#include "tests/support/temp_dir.h"

namespace cluster {
namespace {

using Sync = EntryStore::Sync;

std::string Describe(const EntryStore::Group& group) {
  std::string text = absl::StrCat("term ", group.hard_state.term, " vote ", group.hard_state.vote,
                                  " commit ", group.hard_state.commit, " begin ", group.begin.index,
                                  "/", group.begin.term, " last ", group.last);
  for (const ConfStateAt& conf : group.conf_states) {
    absl::StrAppend(&text, " members from ", conf.index, ":");
    for (const ReplicaId id : conf.state.voters) absl::StrAppend(&text, " ", id);
  }
  return text;
}

std::string Entries(EntryStore& store, GroupId group, uint64_t low, uint64_t high,
                    uint64_t bytes_max = UINT64_MAX) {
  std::string text;
  const absl::Status status = store.Read(group, low, high, bytes_max, [&](const EntryView& entry) {
    absl::StrAppend(&text, entry.place.index, "/", entry.place.term, "/",
                    static_cast<int>(entry.kind), "=", std::string(entry.data), " ");
  });
  return status.ok() ? text : std::string(status.message());
}

struct LogStoreTest : testing::Test {
  void Open() {
    store.reset();
    auto opened = LogStore::Open(directory.path() + "/log", options, *env, create);
    ASSERT_TRUE(opened.ok()) << opened.status();
    store = *std::move(opened);
    create = false;
  }
  // Group 0 begins, and has so many entries of so many bytes. Returns the last one's index.
  uint64_t WriteLog(uint64_t entries, uint64_t bytes) {
    const std::string data(bytes, 'x');
    const std::unique_ptr<EntryBatch> batch = store->NewBatch();
    batch->Restart(0, kGroupBegin, {.voters = {1, 2, 3}});
    uint64_t last = kGroupBegin.index;
    for (; last < kGroupBegin.index + entries; ++last)
      batch->Append(0, {{.place = {last + 1, 5}, .data = data}}, last);
    EXPECT_TRUE(store->Write(*batch, Sync::kYes).ok());
    return last;
  }
  double CountedOf(GroupId group) { return static_cast<double>(store->Load(group)->bytes); }

  const support::TempDir directory;
  const std::shared_ptr<storage::FaultyDisk> disk = std::make_shared<storage::FaultyDisk>();
  const std::unique_ptr<rocksdb::Env> env = rocksdb::NewCompositeEnv(disk);
  const storage::StorageOptions options;
  bool create = true;
  std::unique_ptr<LogStore> store;
};

// The same said to a map in memory and to RocksDB, with starts in between, leaves the same.
TEST_F(LogStoreTest, HasWhatAModelInMemoryHas) {
  base::Rng rng(7);
  MemoryEntryStore model;
  Open();
  std::map<GroupId, std::pair<uint64_t, uint64_t>> logs;  // Begin, last.
  for (int round = 0; round < 300; ++round) {
    const std::unique_ptr<EntryBatch> ours = store->NewBatch();
    const std::unique_ptr<EntryBatch> theirs = model.NewBatch();
    const auto both = [&](auto&& change) {
      change(*ours);
      change(*theirs);
    };
    for (uint64_t i = rng.Below(4); i < 4; ++i) {
      // Neighbours, and the last there can be.
      const auto group = static_cast<GroupId>(rng.Chance(0.2) ? 0xFFFF : rng.Below(3));
      const auto it = logs.find(group);
      if (it == logs.end() || rng.Chance(0.02)) {
        const Place begin = {.index = 5 + rng.Below(500), .term = 5 + rng.Below(5)};
        both([&](EntryBatch& b) { b.Restart(group, begin, {.voters = {1, 2, rng.Below(1) + 3}}); });
        logs[group] = {begin.index, begin.index};
        continue;
      }
      auto& [begin, last] = it->second;
      const uint64_t what = rng.Below(10);
      if (what < 6) {
        const uint64_t first = begin + 1 + rng.Below(last - begin + 1);
        std::vector<std::string> data(1 + rng.Below(5));
        std::vector<EntryView> entries;
        for (size_t n = 0; n < data.size(); ++n) {
          data[n] = absl::StrCat("round ", round, std::string(rng.Below(20), '\0'));
          entries.push_back({{first + n, 9}, static_cast<EntryKind>(rng.Below(3)), data[n]});
        }
        both([&](EntryBatch& b) { b.Append(group, entries, last); });
        last = first + data.size() - 1;
      } else if (what < 8) {
        const HardState state = {.term = rng.Below(9), .vote = rng.Below(3), .commit = last};
        both([&](EntryBatch& b) { b.SetHardState(group, state); });
      } else if (what == 8) {
        begin += rng.Below(last - begin + 1);
        both([&](EntryBatch& b) { b.Cut(group, {.index = begin, .term = 9}, begin); });
        both([&](EntryBatch& b) { b.SetConfState(group, {begin, {.voters = {begin}}}); });
      } else {
        both([&](EntryBatch& b) { b.SetConfState(group, {last, {.voters = {last, 2}}}); });
      }
    }
    ASSERT_TRUE(store->Write(*ours, Sync::kNo).ok());
    ASSERT_TRUE(model.Write(*theirs, Sync::kNo).ok());
    if (rng.Chance(0.05)) Open();
    for (const auto& [group, bounds] : logs) {
      const absl::StatusOr<EntryStore::Group> found = store->Load(group);
      ASSERT_TRUE(found.ok()) << found.status();
      ASSERT_EQ(Describe(*found), Describe(*model.Load(group))) << "round " << round;
      ASSERT_EQ(Entries(*store, group, bounds.first + 1, bounds.second + 1),
                Entries(model, group, bounds.first + 1, bounds.second + 1));
    }
  }
}

TEST_F(LogStoreTest, APowerCutLeavesWhatWasSynced) {
  Open();
  std::unique_ptr<EntryBatch> batch = store->NewBatch();
  batch->Restart(3, kGroupBegin, {.voters = {1, 2, 3}});
  batch->SetHardState(3, {.term = 7, .vote = 2, .commit = 5});
  batch->Append(3, {{.place = {6, 7}, .data = "synced"}}, 5);
  ASSERT_TRUE(store->Write(*batch, Sync::kYes).ok());
  batch = store->NewBatch();
  batch->Append(3, {{.place = {7, 7}, .data = "not synced"}}, 6);
  ASSERT_TRUE(store->Write(*batch, Sync::kNo).ok());
  disk->Set(storage::FaultyDisk::Fault::kPowerOff);
  store.reset();
  disk->Forget();
  Open();
  const absl::StatusOr<EntryStore::Group> found = store->Load(3);
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->hard_state, (HardState{.term = 7, .vote = 2, .commit = 5}));
  EXPECT_EQ(found->last, 6u);
  EXPECT_EQ(Entries(*store, 3, 6, 7), "6/7/0=synced ");
}

TEST_F(LogStoreTest, AReadGivesAtLeastOneEntryAndThenWhatFits) {
  Open();
  const std::unique_ptr<EntryBatch> batch = store->NewBatch();
  batch->Restart(0, kGroupBegin, {.voters = {1}});
  const std::string large(1000, 'x');
  batch->Append(0,
                {{.place = {6, 5}, .data = large},
                 {.place = {7, 5}, .data = "a"},
                 {.place = {8, 5}, .data = "b"}},
                5);
  ASSERT_TRUE(store->Write(*batch, Sync::kNo).ok());
  EXPECT_EQ(Entries(*store, 0, 6, 9, 10), absl::StrCat("6/5/0=", large, " "));
  EXPECT_EQ(Entries(*store, 0, 7, 9, 40), "7/5/0=a ");
  EXPECT_EQ(Entries(*store, 0, 7, 9), "7/5/0=a 8/5/0=b ");
  EXPECT_THAT(Entries(*store, 0, 8, 10), testing::HasSubstr("entry 9 is missing"));
}

// What was cut stays in files until they are merged with others.
TEST_F(LogStoreTest, OfALogIsCountedWhatItHasAndNotWhatWasCut) {
  Open();
  constexpr uint64_t kEntries = 2000, kLeft = 100, kBytes = 1000;
  const uint64_t last = WriteLog(kEntries, kBytes);
  Open();
  EXPECT_NEAR(CountedOf(0), kEntries * kBytes, kEntries * kBytes / 10.0);
  const std::unique_ptr<EntryBatch> batch = store->NewBatch();
  batch->Cut(0, {last - kLeft, 5}, kGroupBegin.index);
  ASSERT_TRUE(store->Write(*batch, Sync::kYes).ok());
  Open();
  EXPECT_NEAR(CountedOf(0), kLeft * kBytes, kLeft * kBytes / 10.0);
}

// So a process that begins counts about as the one before it did.
TEST_F(LogStoreTest, AnEntryTakesMoreThanItsData) {
  Open();
  constexpr uint64_t kEntries = 20'000, kBytes = 20;
  WriteLog(kEntries, kBytes);
  Open();
  constexpr uint64_t kExpected = kEntries * (kBytes + EntryStore::kEntryOverhead);
  EXPECT_NEAR(CountedOf(0), kExpected, kExpected / 5.0);
}

TEST_F(LogStoreTest, ARemovedGroupLeavesNothing) {
  Open();
  for (GroupId group = 4; group <= 6; ++group) {
    const std::unique_ptr<EntryBatch> batch = store->NewBatch();
    batch->Restart(group, kGroupBegin, {.voters = {1}});
    batch->SetHardState(group, {.term = 5});
    batch->Append(group, {{.place = {6, 5}, .data = "x"}}, 5);
    ASSERT_TRUE(store->Write(*batch, Sync::kNo).ok());
  }
  const std::unique_ptr<EntryBatch> batch = store->NewBatch();
  batch->Remove(5);
  ASSERT_TRUE(store->Write(*batch, Sync::kYes).ok());
  Open();
  EXPECT_EQ(store->Load(5).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store->Load(4)->last, 6u);
  EXPECT_EQ(store->Load(6)->last, 6u);
}

// A partition reads what it lacks on the host's thread, and the log's cuts what it no more needs.
TEST_F(LogStoreTest, ReadsWhatWasThereWhateverBecomesOfItMeanwhile) {
  Open();
  const uint64_t last = WriteLog(30, 100'000);
  uint64_t visited = 0;
  const absl::Status read = store->ReadAfter(0, kGroupBegin.index, [&](const EntryView& entry) {
    if (++visited == 1) {
      const std::unique_ptr<EntryBatch> batch = store->NewBatch();
      batch->Restart(0, {.index = last + 100, .term = 9}, {.voters = {1, 2, 3}});
      EXPECT_TRUE(store->Write(*batch, Sync::kNo).ok());
    }
    EXPECT_EQ(entry.place.index, kGroupBegin.index + visited);
    return absl::OkStatus();
  });
  EXPECT_TRUE(read.ok()) << read;
  EXPECT_EQ(visited, 30u);
}

TEST_F(LogStoreTest, TakesALogThatIsCutWhileItIsReadForNoDamage) {
  Open();
  uint64_t last = WriteLog(1, 10);
  std::atomic<bool> done{false};
  std::thread writer([&] {
    for (int i = 0; i < 500; ++i) {
      const std::unique_ptr<EntryBatch> batch = store->NewBatch();
      batch->Append(0, {{.place = {last + 1, 5}, .data = "x"}}, last);
      batch->Cut(0, {.index = last, .term = 5}, kGroupBegin.index);
      ++last;
      EXPECT_TRUE(store->Write(*batch, Sync::kNo).ok());
    }
    done = true;
  });
  absl::Status read;
  while (!done && read.ok()) {
    read = store->ReadAfter(0, uint64_t{1} << 40,
                            [](const EntryView& /*entry*/) { return absl::OkStatus(); });
  }
  writer.join();
  EXPECT_TRUE(read.ok()) << read;
}

}  // namespace
}  // namespace cluster
