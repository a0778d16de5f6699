// A node whose storage takes nothing, and that others have to wait for.
#include "storage/leader/aside.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/core/command_log.h"
#include "tests/storage/host_rig.h"
#include "tests/support/patience.h"

namespace storage {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Then = Aside::Then;

constexpr NodeId kAsker = NodeId(2);

class AsideTest : public testing::Test {
 protected:
  Then Ask(uint64_t index = 9, uint64_t ticket = 1) {
    return aside_.Hear(kAsker, {.partition = 1, .index = index, .ticket = ticket}, moment_);
  }
  void Pass(absl::Duration by) { moment_.now += by; }
  void Turn(const absl::Status& standing) {
    aside_.BeginTurn(moment_.now);
    aside_.EndTurn(standing, moment_);
  }
  // What the leader says that asks once a second for so long.
  std::vector<Then> Insist(int seconds) {
    std::vector<Then> then;
    for (int i = 0; i < seconds; ++i) {
      then.push_back(Ask());
      Pass(absl::Seconds(1));
    }
    return then;
  }
  void StepAside() {
    Turn(kFull);
    Insist(5);
    ASSERT_EQ(Ask(), Then::kStepAside);
    aside_.Closed();
  }
  // Not 0: it may return if what it said is so up to there.
  uint64_t MayReturn(uint64_t told) {
    return aside_.MayReturn(moment_.now, [&](const std::vector<uint64_t>& through) {
      return std::all_of(through.begin(), through.end(), [&](uint64_t at) { return at <= told; });
    });
  }

  const absl::Status kFull = absl::ResourceExhaustedError("no space left on device");
  Aside aside_{4};
  Aside::Moment moment_{.now = absl::Seconds(1000)};
};

TEST_F(AsideTest, WhoHoldsUpALeaderThatInsistsClosesItsClientsBeforeItAnswers) {
  Turn(kFull);
  EXPECT_THAT(Insist(5), testing::Each(Then::kPassOn));
  EXPECT_FALSE(aside_.is_aside());
  EXPECT_EQ(Ask(), Then::kStepAside);
  EXPECT_TRUE(aside_.is_aside());
  EXPECT_THAT(aside_.why(), HasSubstr("no space left on device"));
  EXPECT_EQ(Ask(), Then::kPassOn) << "somebody may still be connected";
  aside_.Closed();
  EXPECT_EQ(Ask(), Then::kAnswer);
}

// All nodes are slow when there is much to do: were they to leave for that, there would be none.
TEST_F(AsideTest, WhoseStorageWorksStaysHoweverLongItTakes) {
  for (int i = 0; i < 100; ++i) {
    Turn(absl::OkStatus());
    EXPECT_EQ(Insist(1).front(), Then::kPassOn);
  }
}

TEST_F(AsideTest, WhoHoldsUpNobodyStays) {
  Turn(kFull);
  Insist(1);
  Pass(absl::Minutes(1));
  for (uint64_t ticket = 2; ticket < 20; ++ticket) {
    EXPECT_EQ(Ask(9, ticket), Then::kPassOn) << "the one before was answered";
    Pass(absl::Seconds(1));
  }
}

TEST_F(AsideTest, WhatFailedForAMomentIsNoReason) {
  Insist(5);
  Turn(kFull);
  EXPECT_EQ(Ask(), Then::kPassOn);
  Pass(absl::Seconds(4));
  EXPECT_EQ(Ask(), Then::kPassOn);
  Turn(absl::OkStatus());
  Turn(kFull);
  Pass(absl::Seconds(4));
  EXPECT_EQ(Ask(), Then::kPassOn);
}

TEST_F(AsideTest, AHostThatWaitsForTheDiskNeedNotSaySo) {
  aside_.BeginTurn(moment_.now);
  Insist(5);
  EXPECT_EQ(Ask(), Then::kStepAside);
  EXPECT_THAT(aside_.why(), HasSubstr("waiting"));
}

TEST_F(AsideTest, AWriteOfTheLogThatDoesNotEndIsAReason) {
  Turn(absl::OkStatus());
  moment_.log_since = moment_.now;
  Insist(5);
  EXPECT_EQ(Ask(), Then::kStepAside);
  EXPECT_THAT(aside_.why(), HasSubstr("log"));
}

TEST_F(AsideTest, ItReturnsWhenItsStorageHasWorkedForAWhileAndWhatItSaidIsSo) {
  StepAside();
  EXPECT_EQ(Ask(12), Then::kAnswer);
  Turn(absl::OkStatus());
  Pass(Aside::kWorksFor / 2);
  EXPECT_EQ(MayReturn(100), 0u);
  Turn(kFull);
  Turn(absl::OkStatus());
  Pass(Aside::kWorksFor / 2);
  EXPECT_EQ(MayReturn(100), 0u) << "it failed in between";
  Pass(Aside::kWorksFor);
  EXPECT_EQ(MayReturn(11), 0u);
  EXPECT_EQ(Ask(13), Then::kPassOn) << "from here on it is answered when it is so";
  const uint64_t attempt = MayReturn(12);
  ASSERT_NE(attempt, 0u);
  EXPECT_EQ(MayReturn(12), 0u) << "the shards are asked once";
  EXPECT_TRUE(aside_.is_aside());
  EXPECT_TRUE(aside_.Return(attempt));
  EXPECT_FALSE(aside_.is_aside());
  EXPECT_FALSE(aside_.Return(attempt));
}

TEST_F(AsideTest, ADiskThatFailsAgainBeforeItHasReturnedHoldsUpNobodyEither) {
  StepAside();
  EXPECT_EQ(Ask(12), Then::kAnswer);
  Turn(absl::OkStatus());
  Pass(Aside::kWorksFor);
  const uint64_t attempt = MayReturn(12);
  ASSERT_NE(attempt, 0u);
  Turn(kFull);
  EXPECT_THAT(Insist(5), testing::Each(Then::kPassOn));
  EXPECT_EQ(Ask(20), Then::kAnswer);
  EXPECT_FALSE(aside_.Return(attempt)) << "it would let clients in without that";
  Turn(absl::OkStatus());
  Pass(Aside::kWorksFor);
  EXPECT_EQ(MayReturn(12), 0u);
  EXPECT_NE(MayReturn(20), 0u);
}

// ---- With the host's thread ---------------------------------------------------------------------

// Time that moves only when the test says so, for several threads.
class SharedClock final : public base::Clock {
 public:
  absl::Time Now() const override { return absl::FromUnixSeconds(1'704'067'200) + Monotonic(); }
  absl::Duration Monotonic() const override { return absl::Seconds(seconds_.load()); }
  absl::Duration SinceBoot() const override { return Monotonic(); }
  std::string BootId() const override { return "boot"; }
  void Advance(int64_t seconds) { seconds_ += seconds; }

 private:
  std::atomic<int64_t> seconds_{1000};
};

// A log whose partitions another node leads.
class OthersLog final : public CommandLog {
 public:
  explicit OthersLog(Post& post) : post_(post) {}
  absl::Status ReadAfter(PartitionId, uint64_t, const Visit&) override { return absl::OkStatus(); }
  absl::Status Start(absl::Span<const LogStart> starts, Post post) override {
    post_ = std::move(post);
    std::vector<LogEvent> events;
    for (const LogStart& start : starts)
      events.emplace_back(RoleChange{.partition = start.partition, .term = 1});
    post_(std::move(events));
    return absl::OkStatus();
  }
  std::vector<LogEvent> Submit(Submission) override { return {}; }
  void Flushed(PartitionId, uint64_t) override {}
  void TellCommitted(PartitionId) override {}
  void SetFit(PartitionId, bool) override {}
  void ReadBarrier(PartitionId partition, uint64_t ticket) override {
    std::vector<LogEvent> events;
    events.emplace_back(Readable{.partition = partition, .ticket = ticket});
    post_(std::move(events));
  }
  absl::Status Checkpoint(const std::string&) override { return absl::OkStatus(); }
  absl::Status Stop() override { return absl::OkStatus(); }

 private:
  Post& post_;
};

// What happens on other threads, as the test awaits it.
template <typename T>
class Heard {
 public:
  void Add(T one) {
    const std::lock_guard lock(mutex_);
    all_.push_back(std::move(one));
    came_.notify_all();
  }
  std::vector<T> all() {
    const std::lock_guard lock(mutex_);
    return all_;
  }
  void Await(const T& one) {
    std::unique_lock lock(mutex_);
    const bool in_time =
        came_.wait_for(lock, std::chrono::seconds(60) * support::TestSlowdown(),
                       [&] { return std::find(all_.begin(), all_.end(), one) != all_.end(); });
    CHECK(in_time) << "it never came";
  }

 private:
  std::mutex mutex_;
  std::condition_variable came_;
  std::vector<T> all_;
};

class HostAside : public testing::Test {
 protected:
  static constexpr LiveNode kOther{.node = kAsker, .incarnation = Incarnation(5), .shards = 1};

  HostAside() {
    StorageOptions options;
    options.data_dir = directory_.path() + "/store";
    options.partitions = 4;
    options.min_free_disk_bytes = 0;
    auto opened = PartitionHost::Open(
        options, [this](const CommandLogPlace&) { return std::make_unique<OthersLog>(post_); },
        clock_, ears_, 1);
    CHECK(opened.ok()) << opened.status().ToString();
    host_ = *std::move(opened);
    ears_.Attach(host_.get());
    host_->SetSend([this](NodeId, const HostMessage& message) {
      if (const auto* const known = std::get_if<RoutesKnown>(&message)) said_.Add(known->ticket);
    });
    host_->SetDoor([this](const std::string& why, std::function<void()> done) {
      closed_done_ = std::move(done);
      doors_.Add(why);
    });
    host_->SetNodes({.node = NodeId(1), .incarnation = Incarnation(1), .shards = 1}, {kOther});
    std::promise<void> ready;
    host_->Start([&] { ready.set_value(); });
    ready.get_future().wait();
  }
  ~HostAside() override {
    (void)host_->Stop();
    ears_.Attach(nullptr);
  }

  void Ask(uint64_t index, uint64_t ticket) {
    host_->OnHostMessage(kOther.node, kOther.incarnation,
                         KnowRoutes{.partition = 1, .index = index, .ticket = ticket});
  }
  // Two turns of the host, so that one of them was whole.
  void Turn() {
    for (int i = 0; i < 2; ++i) {
      std::promise<void> turned;
      host_->Run([&](Host&) { turned.set_value(); });
      turned.get_future().wait();
    }
  }
  void Commit(uint64_t index) {
    std::vector<LogEvent> events;
    events.emplace_back(Committed{.partition = 1, .index = index, .term = kLogBegin.term});
    post_(std::move(events));
    Turn();
  }

  support::TempDir directory_;
  SharedClock clock_;
  Ears ears_;
  CommandLog::Post post_;
  Heard<uint64_t> said_;
  Heard<std::string> doors_;
  std::function<void()> closed_done_;
  std::unique_ptr<PartitionHost> host_;
};

TEST_F(HostAside, StepsAsideWhileItsThreadHangsAndReturnsWhenItKnowsWhatItSaid) {
  std::promise<void> hangs;
  std::promise<void> goes_on;
  host_->Run([&](Host&) {
    hangs.set_value();
    goes_on.get_future().wait();
  });
  hangs.get_future().wait();
  const uint64_t index = kLogBegin.index + 1;
  Ask(index, 7);
  EXPECT_THAT(doors_.all(), IsEmpty());
  clock_.Advance(6);
  Ask(index, 7);
  ASSERT_THAT(doors_.all(), testing::SizeIs(1));
  EXPECT_NE(doors_.all()[0], "");
  Ask(index, 7);
  EXPECT_THAT(said_.all(), IsEmpty()) << "clients are there still";
  closed_done_();
  Ask(index, 7);
  EXPECT_THAT(said_.all(), testing::ElementsAre(7));

  goes_on.set_value();
  const auto pass = [&] {  // More than it has to have worked for.
    Turn();
    clock_.Advance(11);
    Turn();
  };
  for (int i = 0; i < 5; ++i) pass();
  EXPECT_THAT(doors_.all(), testing::SizeIs(1)) << "its shards do not know the routes";
  Commit(index);
  while (doors_.all().size() == 1) pass();
  EXPECT_EQ(doors_.all()[1], "");
  EXPECT_THAT(said_.all(), testing::Each(7));
  Ask(index + 1, 8);
  Turn();
  EXPECT_THAT(said_.all(), testing::Each(7));
  Commit(index + 1);
  said_.Await(8);
}

}  // namespace
}  // namespace storage
