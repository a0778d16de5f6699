#include "admin/api/access_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/support/fake_clock.h"
#include "tests/support/temp_dir.h"

namespace admin {
namespace {

using mqttd::access::v1::Change;
using testing::HasSubstr;

class AccessStoreTest : public testing::Test {
 protected:
  // A process with the data directory.
  struct Run {
    explicit Run(AccessStoreTest& test, const std::string& node = "",
                 AccessStore::Spreads spreads = AccessStore::Spreads::kNot)
        : store(test.dir_.path() + node, test.clock_, access, spreads) {}
    auth::RunTimeAccess access;
    AccessStore store;

    absl::Status Ban(const std::string& client, int64_t ends_at_unix_ms = 0) {
      return store
          .Change({.name = "deploy"},
                  [&](Change& change) {
                    change.mutable_set_ban()->mutable_target()->set_client_id(client);
                    change.mutable_set_ban()->set_ends_at_unix_ms(ends_at_unix_ms);
                    change.mutable_set_ban()->set_reason("a \"word\"\nand more");
                    return absl::OkStatus();
                  })
          .status();
    }
    absl::Status Unban(const std::string& client) {
      return store
          .Change({},
                  [&](Change& change) {
                    change.mutable_remove_ban()->set_client_id(client);
                    return absl::OkStatus();
                  })
          .status();
    }
    bool Banned(const std::string& client) const {
      const auto table = access.ban_table();
      return table != nullptr && table->Find(client, "", "", 0) != nullptr;
    }
  };

  std::string File() const { return dir_.path() + "/admin/access"; }
  std::string Text() const {
    std::ifstream file(File(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void Append(const std::string& text) const {
    std::ofstream(File(), std::ios::binary | std::ios::app) << text;
  }

  const support::TempDir dir_;
  support::FakeClock clock_;
};

TEST_F(AccessStoreTest, WhatWasSetHoldsAtOnceAndInTheNextProcess) {
  Run first(*this);
  ASSERT_TRUE(first.store.Load().ok());
  EXPECT_EQ(first.access.ban_table(), nullptr);
  ASSERT_TRUE(first.Ban("one").ok());
  ASSERT_TRUE(first.Ban("two").ok());
  ASSERT_TRUE(first.Unban("one").ok());
  EXPECT_TRUE(first.Banned("two"));
  EXPECT_FALSE(first.Banned("one"));

  Run second(*this);
  ASSERT_TRUE(second.store.Load().ok());
  EXPECT_TRUE(second.Banned("two"));
  EXPECT_FALSE(second.Banned("one"));
  const auto bans = second.access.ListBans(std::nullopt, 10);
  ASSERT_EQ(bans.size(), 1u);
  EXPECT_EQ(bans[0].by, "deploy");
  EXPECT_EQ(bans[0].reason, "a \"word\"\nand more");
  EXPECT_EQ(bans[0].set_at_unix_ms, absl::ToUnixMillis(clock_.Now()));
  struct stat about = {};
  ASSERT_EQ(stat(File().c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 0777, 0600u);
}

TEST_F(AccessStoreTest, UsersRulesAndTheDefaultAreKeptToo) {
  const char kHash[] =
      "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
  const auto fill = [&](Run& run) {
    const auto make = [&](const std::function<void(Change&)>& what) {
      const auto made = run.store.Change({.name = "deploy"}, [&](Change& change) {
        what(change);
        return absl::OkStatus();
      });
      EXPECT_TRUE(made.ok()) << made.status();
    };
    for (const char* const name : {"alice", "bob"}) {
      make([&](Change& change) {
        change.mutable_set_user()->set_name(name);
        change.mutable_set_user()->set_password_hash(kHash);
      });
    }
    make([](Change& change) { change.set_remove_user("bob"); });
    const auth::RunTimeRule rules[] = {
        {auth::RuleFor::kUser, "alice", "a/#", auth::kRuleRead | auth::kRuleWrite, "", 0},
        {auth::RuleFor::kAnonymous, "", "b", auth::kRuleWrite, "", 0},
        {auth::RuleFor::kEveryone, "", "%c/x", auth::kRuleDeny, "", 0},
        {auth::RuleFor::kUser, "alice", "c", auth::kRuleRead, "", 0}};
    for (const auto& rule : rules)
      make([&](Change& change) { ToKept(rule.key(), *change.mutable_add_rule()); });
    make([&](Change& change) { ToKept(rules[3].key(), *change.mutable_remove_rule()); });
    make([](Change& change) { change.set_deny_by_default(true); });
  };
  const auto expect = [&](const Run& run) {
    ASSERT_EQ(run.access.ListUsers("", 10).size(), 1u);
    EXPECT_EQ(run.access.ListUsers("", 10)[0].password_hash, kHash);
    const auto rules = run.access.ListRules(std::nullopt, 10);
    ASSERT_EQ(rules.size(), 3u);
    EXPECT_EQ(rules[0].filter, "a/#");
    EXPECT_EQ(rules[0].bits, auth::kRuleRead | auth::kRuleWrite);
    EXPECT_EQ(rules[0].by, "deploy");
    EXPECT_EQ(rules[1].who, auth::RuleFor::kAnonymous);
    EXPECT_EQ(rules[2].bits, auth::kRuleDeny);
    EXPECT_TRUE(run.access.denies_by_default());
  };
  Run first(*this);
  ASSERT_TRUE(first.store.Load().ok());
  fill(first);
  expect(first);
  Run second(*this);
  ASSERT_TRUE(second.store.Load().ok());
  expect(second);
  for (int i = 0; i < 1100; ++i)
    ASSERT_TRUE(second.Ban("again").ok());  // Until it is written anew.
  Run third(*this);
  ASSERT_TRUE(third.store.Load().ok());
  expect(third);
}

TEST_F(AccessStoreTest, ALastLineThatIsNotWholeIsCutOff) {
  {
    Run run(*this);
    ASSERT_TRUE(run.store.Load().ok());
    ASSERT_TRUE(run.Ban("one").ok());
  }
  const std::string whole = Text();
  Append(whole.substr(0, whole.size() / 2));
  Run next(*this);
  ASSERT_TRUE(next.store.Load().ok());
  EXPECT_FALSE(next.Banned("two"));
  ASSERT_TRUE(next.Ban("two").ok());
  EXPECT_EQ(Text().substr(0, whole.size() + 1), whole + "{");
  // As if a change had been written in part and could not be taken back.
  Append(whole.substr(0, whole.size() / 2));
  ASSERT_TRUE(next.Ban("three").ok());
  Run last(*this);
  ASSERT_TRUE(last.store.Load().ok());
  EXPECT_TRUE(last.Banned("one"));
  EXPECT_TRUE(last.Banned("two"));
  EXPECT_TRUE(last.Banned("three"));
}

// No room for anything else: it needs none.
TEST_F(AccessStoreTest, ALastLineThatIsNotWholeEndsNoStartThatCannotWrite) {
  {
    Run run(*this);
    ASSERT_TRUE(run.store.Load().ok());
    ASSERT_TRUE(run.Ban("one").ok());
  }
  Append("{\"set_ban\":");
  std::filesystem::create_directories(File() + ".new");  // So that it cannot be written anew.
  Run next(*this);
  const absl::Status loaded = next.store.Load();
  ASSERT_TRUE(loaded.ok()) << loaded;
  EXPECT_TRUE(next.Banned("one"));
}

// Whoever asks for it.
TEST_F(AccessStoreTest, WhatAStartCouldNotReadIsRefusedAndNotWritten) {
  Run run(*this);
  ASSERT_TRUE(run.store.Load().ok());
  ASSERT_TRUE(run.Ban("one").ok());
  const auto change = [&](const std::string& by, const std::function<void(Change&)>& what) {
    return run.store
        .Change({.name = by},
                [&](Change& made) {
                  what(made);
                  return absl::OkStatus();
                })
        .status();
  };
  const auto ban = [](Change& made) {
    made.mutable_set_ban()->mutable_target()->set_client_id("c");
  };
  const bool odd_name_is_kept = change("Andr\xE9", ban).ok();
  const std::string before = Text();
  EXPECT_TRUE(absl::IsInvalidArgument(change("deploy", [](Change& made) {
    made.mutable_set_ban()->mutable_target()->set_address("nowhere");
  })));
  EXPECT_TRUE(absl::IsInvalidArgument(change("deploy", [](Change& made) {
    made.mutable_set_user()->set_name("alice");
    made.mutable_set_user()->set_password_hash("none");
  })));
  EXPECT_EQ(Text(), before);
  Run next(*this);
  const absl::Status loaded = next.store.Load();
  EXPECT_TRUE(loaded.ok()) << loaded;
  EXPECT_EQ(next.Banned("c"), odd_name_is_kept);
}

TEST_F(AccessStoreTest, ADamagedLineAndAnUnknownChangeAreNotPassedOver) {
  {
    Run run(*this);
    ASSERT_TRUE(run.store.Load().ok());
    ASSERT_TRUE(run.Ban("one").ok());
  }
  const std::string whole = Text();
  for (const char* const line : {"{\"set_ban\":", "{\"of_next_year\":{}}", "{\"set_ban\":{}}",
                                 "{\"set_ban\":{\"target\":{\"address\":\"nowhere\"}}}"}) {
    std::ofstream(File(), std::ios::binary) << whole << line << "\n" << whole;
    Run next(*this);
    const absl::Status status = next.store.Load();
    EXPECT_THAT(std::string(status.message()), HasSubstr("admin/access:2: ")) << line;
  }
}

TEST_F(AccessStoreTest, WhatIsRefusedOrCannotBeWrittenChangesNothing) {
  Run run(*this);
  ASSERT_TRUE(run.store.Load().ok());
  const absl::Status refused =
      run.store.Change({}, [](Change&) { return absl::NotFoundError("no such thing"); }).status();
  EXPECT_TRUE(absl::IsNotFound(refused));
  EXPECT_FALSE(std::filesystem::exists(File()));
  std::filesystem::create_directories(File());  // So that it cannot be opened for writing.
  EXPECT_FALSE(run.Ban("one").ok());
  EXPECT_FALSE(run.Banned("one"));
}

// Ten times as many changes of the same few bans must not make a file ten times as large.
TEST_F(AccessStoreTest, TheFileIsBoundedByWhatThereIs) {
  Run run(*this);
  ASSERT_TRUE(run.store.Load().ok());
  size_t largest = 0;
  for (int i = 0; i < 1300; ++i) {
    ASSERT_TRUE(run.Ban(absl::StrCat("client-", i % 3)).ok());
    if (i % 50 == 0) largest = std::max(largest, Text().size());
  }
  EXPECT_LT(largest, 300'000u);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(run.Unban(absl::StrCat("client-", i)).ok());
  ASSERT_TRUE(run.Ban("last").ok());
  Run next(*this);
  ASSERT_TRUE(next.store.Load().ok());
  EXPECT_EQ(next.access.bans(), 1u);
  EXPECT_TRUE(next.Banned("last"));
}

TEST_F(AccessStoreTest, WhatHasEndedIsForgotten) {
  Run run(*this);
  ASSERT_TRUE(run.store.Load().ok());
  ASSERT_TRUE(run.Ban("soon", absl::ToUnixMillis(clock_.Now() + absl::Seconds(5))).ok());
  clock_.Advance(absl::Seconds(5));
  Run next(*this);
  ASSERT_TRUE(next.store.Load().ok());
  EXPECT_EQ(next.access.bans(), 0u);
}

// ---- Two nodes ----------------------------------------------------------------------------------

class AccessStores : public AccessStoreTest {
 protected:
  using Spreads = AccessStore::Spreads;
  AccessStores() {
    for (const char* const node : {"/a", "/b"})
      std::filesystem::create_directory(dir_.path() + node);
    EXPECT_TRUE(a_.store.Load().ok());
    EXPECT_TRUE(b_.store.Load().ok());
  }
  // What one has and the other lacks, as AccessSpread fetches it. Returns how much that was.
  static size_t Fetch(const Run& from, Run& to, size_t at_once = 2) {
    size_t news = 0;
    for (size_t kind = 0; kind < kChangeKinds; ++kind) {
      std::optional<Change> after;
      while (true) {
        const auto page = from.store.List(static_cast<ChangeKind>(kind), after, at_once);
        EXPECT_TRUE(page.ok());
        if (page->empty()) break;
        after = page->back();
        const auto taken = to.store.Take({page->begin(), page->end()});
        news += taken.size();
      }
    }
    (void)to.store.Keep();
    return news;
  }
  static absl::Status Permit(Run& run, const std::string& filter, bool remove = false) {
    return run.store
        .Change({.name = "deploy"},
                [&](Change& change) {
                  auto& rule = *(remove ? change.mutable_remove_rule() : change.mutable_add_rule());
                  rule.set_user_name("alice");
                  rule.set_access(mqttd::access::v1::Rule::ACCESS_READ);
                  rule.set_filter(filter);
                  return absl::OkStatus();
                })
        .status();
  }
  static absl::Status Deny(Run& run, bool deny) {
    return run.store
        .Change({},
                [&](Change& change) {
                  change.set_deny_by_default(deny);
                  return absl::OkStatus();
                })
        .status();
  }

  Run a_{*this, "/a", Spreads::kOverNodes};
  Run b_{*this, "/b", Spreads::kOverNodes};
};

TEST_F(AccessStores, HaveTheSameWhenEachHasFetchedWhatTheOtherHas) {
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(a_.Ban(absl::StrCat("a", i)).ok());
    ASSERT_TRUE(b_.Ban(absl::StrCat("b", i)).ok());
    ASSERT_TRUE(Permit(b_, absl::StrCat("b/", i)).ok());
  }
  ASSERT_TRUE(Deny(a_, true).ok());
  EXPECT_NE(a_.store.digests(), b_.store.digests());
  EXPECT_EQ(Fetch(a_, b_), 6u);
  EXPECT_EQ(Fetch(b_, a_), 10u);
  EXPECT_EQ(a_.store.digests(), b_.store.digests());
  EXPECT_TRUE(a_.Banned("b4") && b_.Banned("a0"));
  EXPECT_EQ(a_.access.rules(), 5u);
  EXPECT_TRUE(b_.access.denies_by_default());
  EXPECT_EQ(Fetch(a_, b_) + Fetch(b_, a_), 0u);
  // And a start finds it so.
  Run again(*this, "/b", Spreads::kOverNodes);
  ASSERT_TRUE(again.store.Load().ok());
  EXPECT_EQ(again.store.digests(), a_.store.digests());
}

TEST_F(AccessStores, OfTwoChangesOfOneThingTheLaterHolds) {
  ASSERT_TRUE(a_.Ban("one").ok());
  Fetch(a_, b_);
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(b_.Unban("one").ok());
  ASSERT_TRUE(Deny(a_, true).ok());
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(Deny(b_, false).ok());
  EXPECT_EQ(Fetch(a_, b_), 0u);
  EXPECT_FALSE(b_.Banned("one"));
  Fetch(b_, a_);
  EXPECT_FALSE(a_.Banned("one"));
  EXPECT_FALSE(a_.access.denies_by_default());
  EXPECT_EQ(a_.store.digests(), b_.store.digests());
}

// Its clock goes ahead: who changes what it made means it all the same.
TEST_F(AccessStores, WhatIsChangedLaterHoldsWhateverTheClockOfWhoMadeItSaid) {
  clock_.Advance(absl::Hours(1));
  ASSERT_TRUE(a_.Ban("one").ok());
  ASSERT_TRUE(Permit(a_, "x").ok());
  Fetch(a_, b_);
  clock_.SetWall(clock_.Now() - absl::Hours(1));
  ASSERT_TRUE(b_.Unban("one").ok());
  ASSERT_TRUE(Permit(b_, "x", /*remove=*/true).ok());
  EXPECT_EQ(Fetch(a_, b_), 0u);
  EXPECT_EQ(Fetch(b_, a_), 2u);
  EXPECT_FALSE(a_.Banned("one"));
  EXPECT_EQ(a_.access.rules(), 0u);
}

TEST_F(AccessStores, KnowWhatWasRemovedAfterTheFileIsWrittenAnewAndAStart) {
  ASSERT_TRUE(b_.Ban("gone").ok());
  Fetch(b_, a_);
  clock_.Advance(absl::Seconds(1));
  ASSERT_TRUE(a_.Unban("gone").ok());
  const std::string file = dir_.path() + "/a/admin/access";
  uintmax_t before = 0;
  do {  // Until that was done.
    before = std::filesystem::file_size(file);
    ASSERT_TRUE(a_.Ban("kept").ok());
  } while (std::filesystem::file_size(file) > before);
  Run again(*this, "/a", Spreads::kOverNodes);
  ASSERT_TRUE(again.store.Load().ok());
  EXPECT_EQ(again.store.digests(), a_.store.digests());
  EXPECT_EQ(Fetch(b_, again), 0u);
  EXPECT_FALSE(again.Banned("gone"));
  EXPECT_EQ(Fetch(again, b_), 2u);
  EXPECT_FALSE(b_.Banned("gone"));
}

TEST_F(AccessStores, WhatAnotherHasSetHoldsThoughItCannotBeWrittenAndIsWrittenLater) {
  ASSERT_TRUE(a_.Ban("one").ok());
  const std::string file = dir_.path() + "/b/admin/access";
  std::filesystem::create_directories(file);  // So that it cannot be opened for writing.
  EXPECT_EQ(Fetch(a_, b_), 1u);
  EXPECT_TRUE(b_.Banned("one"));
  EXPECT_EQ(a_.store.digests(), b_.store.digests());
  EXPECT_TRUE(b_.store.unkept());
  EXPECT_FALSE(b_.Ban("own").ok());  // What is made here is on the disk first.
  EXPECT_TRUE(b_.store.unkept());
  std::filesystem::remove(file);
  EXPECT_TRUE(b_.Ban("own").ok());  // And what it knew before is, with it.
  EXPECT_FALSE(b_.store.unkept());
  Run again(*this, "/b", Spreads::kOverNodes);
  ASSERT_TRUE(again.store.Load().ok());
  EXPECT_TRUE(again.Banned("one") && again.Banned("own"));
  EXPECT_EQ(again.store.digests(), b_.store.digests());
}

TEST_F(AccessStores, WhatCannotBeWrittenIsBoundedAndNothingOfItIsLost) {
  google::protobuf::RepeatedPtrField<Change> changes;
  for (int i = 0; i < 1500; ++i) {
    Change& change = *changes.Add();
    change.set_at_unix_ms(5);
    change.mutable_set_ban()->mutable_target()->set_client_id(absl::StrCat("client-", i));
    change.mutable_set_ban()->set_reason(std::string(4000, 'x'));
  }
  const std::string file = dir_.path() + "/a/admin/access";
  std::filesystem::create_directories(file);
  EXPECT_EQ(a_.store.Take(changes).size(), 1500u);
  EXPECT_FALSE(a_.store.Keep().ok());
  EXPECT_FALSE(a_.store.Keep().ok());
  std::filesystem::remove(file);
  EXPECT_TRUE(a_.store.Keep().ok());
  EXPECT_FALSE(a_.store.unkept());
  Run again(*this, "/a", Spreads::kOverNodes);
  ASSERT_TRUE(again.store.Load().ok());
  EXPECT_EQ(again.access.bans(), 1500u);
  EXPECT_EQ(again.store.digests(), a_.store.digests());
}

TEST_F(AccessStores, WhatIsNotUnderstoodDoesNothing) {
  google::protobuf::RepeatedPtrField<Change> changes;
  changes.Add()->set_at_unix_ms(5);  // As one of a later release reads here.
  changes.Add()->mutable_set_ban()->mutable_target()->set_address("no address");
  changes.Add()->mutable_set_ban()->mutable_target()->set_client_id("one");
  EXPECT_EQ(a_.store.Take(changes).size(), 1u);
  EXPECT_TRUE(a_.store.Keep().ok());
  EXPECT_TRUE(a_.Banned("one"));
  Run again(*this, "/a", Spreads::kOverNodes);
  ASSERT_TRUE(again.store.Load().ok());
  EXPECT_TRUE(again.Banned("one"));
}

}  // namespace
}  // namespace admin
