// The time of a partition whose leader moves from node to node: no wall clock has a part in it.
#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "base/timeline.h"
#include "gtest/gtest.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/command_codec.h"
#include "storage/core/memory_store.h"
#include "storage/core/partition.h"
#include "storage/core/time_record.h"
#include "tests/storage/core/harness.h"

namespace storage {
namespace {

constexpr int64_t kSecondMs = 1000;
constexpr int64_t kMinuteMs = 60 * kSecondMs;
constexpr int64_t kWallMs = 1'790'000'000'000;
constexpr int64_t kStepMs = 100;  // So often a leader looks at what is due.

// A node with clocks of its own and a replica. `at_ms`: how long the test has run.
class Node {
 public:
  Node(base::Rng& rng, int64_t wall_skew_ms)
      : wall_skew_ms_(wall_skew_ms), up_ms_(rng.Between(0, 1000 * kMinuteMs)) {
    EXPECT_TRUE(replica_.Load(store_).ok());
  }

  // The first of a cluster begins with its wall clock, whoever joins or starts again with what the
  // others have (cluster/core/common_time.h).
  void Found(int64_t at_ms) { SetTime(kWallMs + at_ms + wall_skew_ms_, at_ms); }
  void Join(const Node& other, int64_t at_ms) { SetTime(other.TimeAt(at_ms), at_ms); }
  // Its process ends and starts again, at once; the wall clock may show anything by then.
  void Restart(int64_t at_ms, int64_t wall_skew_ms) {
    const TimeRecord last = {.clocks = Read(at_ms), .unix_ms = TimeAt(at_ms)};
    wall_skew_ms_ = wall_skew_ms;
    SetTime(TimeAtStart(last, Read(at_ms), replica_.last_time_unix_ms()), at_ms);
  }

  // As it stamps when it leads.
  int64_t StampAt(int64_t at_ms) const { return replica_.StampAt(TimeAt(at_ms)); }
  void Apply(const pb::Command& command) {
    std::string entry;
    AppendCommand(command, entry);
    MemoryBatch batch;
    Effects effects;
    ASSERT_TRUE(replica_.ApplyEntry(entry, {}, ++index_, 1, store_, batch, effects).ok());
    store_.Write(batch);
  }
  const Partition& replica() const { return replica_; }

 private:
  int64_t MonotonicNs(int64_t at_ms) const { return (up_ms_ + at_ms) * 1'000'000; }
  int64_t TimeAt(int64_t at_ms) const { return timeline_.UnixMs(MonotonicNs(at_ms)); }
  void SetTime(int64_t unix_ms, int64_t at_ms) { timeline_.Set(unix_ms, MonotonicNs(at_ms)); }
  ClockReading Read(int64_t at_ms) const {
    return {
        .boot_id = "boot", .boot_ms = up_ms_ + at_ms, .wall_ms = kWallMs + at_ms + wall_skew_ms_};
  }

  int64_t wall_skew_ms_;
  const int64_t up_ms_;
  base::Timeline timeline_;
  MemoryStore store_;
  Partition replica_{3};
  uint64_t index_ = 0;
};

// An hour in which the leader moves every two seconds between nodes whose wall clocks are ten
// minutes apart and are set again and again. Sessions come and go; what is due is done by whoever
// leads then.
class MovingLeader {
 public:
  explicit MovingLeader(uint64_t seed) : rng_(seed) {
    for (size_t i = 0; i < 3; ++i) nodes_.push_back(std::make_unique<Node>(rng_, Skew()));
    nodes_[0]->Found(0);
    for (size_t i = 1; i < 3; ++i) nodes_[i]->Join(*nodes_[0], 0);
  }

  void Run() {
    for (; at_ms_ < 60 * kMinuteMs; at_ms_ += kStepMs) {
      if (at_ms_ % (2 * kSecondMs) == 0) leader_ = rng_.Below(nodes_.size());
      if (rng_.Chance(0.001)) {
        const size_t starts = rng_.Below(nodes_.size());
        nodes_[starts]->Restart(at_ms_, Skew());
        nodes_[starts]->Join(*nodes_[(starts + 1) % nodes_.size()], at_ms_);
      }
      if (rng_.Chance(0.02)) ComeAndGo();
      RunDeadlines();
      if (testing::Test::HasFailure()) return;
    }
  }
  size_t wills() const { return wills_; }
  size_t ends() const { return ends_; }

 private:
  struct Expected {
    int64_t will_ms = 0;
    int64_t end_ms = 0;
  };

  int64_t Skew() { return rng_.Between(-10 * kMinuteMs, 10 * kMinuteMs); }

  void Log(pb::Command command) {
    command.set_time_unix_ms(nodes_[leader_]->StampAt(at_ms_));
    EXPECT_GE(command.time_unix_ms(), last_stamp_);
    last_stamp_ = command.time_unix_ms();
    for (const auto& node : nodes_) node->Apply(command);
  }
  const Session* Find(const std::string& client) const {
    return nodes_[leader_]->replica().Find(client);
  }

  // A session with a will loses its connection.
  void ComeAndGo() {
    const std::string client = absl::StrCat("c", ++clients_);
    const int64_t end_s = rng_.Between(5, 1800);
    const int64_t will_s = rng_.Between(1, end_s);
    pb::Command open;
    open.mutable_open_session()->set_client_id(client);
    open.mutable_open_session()->set_expiry_s(static_cast<uint32_t>(end_s));
    open.mutable_open_session()->set_window_messages(1);
    open.mutable_open_session()->set_will(Stored({.topic = "will"}));
    open.mutable_open_session()->set_will_delay_s(static_cast<uint32_t>(will_s));
    Log(open);
    pb::Command close;
    close.mutable_close_session()->set_client_id(client);
    close.mutable_close_session()->set_epoch(Find(client)->epoch);
    close.mutable_close_session()->set_cause(pb::CloseSession::WITH_WILL);
    Log(close);
    expected_[client] = {at_ms_ + will_s * kSecondMs, at_ms_ + end_s * kSecondMs};
  }

  void RunDeadlines() {
    std::vector<std::pair<std::string, bool>> due;  // The will, or the end.
    const int64_t now = nodes_[leader_]->StampAt(at_ms_);
    nodes_[leader_]->replica().ForEachSession([&](const Session& session) {
      const bool fires = session.will.message && session.will.due_at_unix_ms <= now;
      if (fires || (!session.will.message && session.ends_at_unix_ms <= now)) {
        due.emplace_back(session.client_id, fires);
      }
    });
    std::sort(due.begin(), due.end());
    for (const auto& [client, fires] : due) fires ? Fire(client) : End(client);
  }
  void Fire(const std::string& client) {
    pb::Command fire;
    fire.mutable_fire_will()->set_client_id(client);
    fire.mutable_fire_will()->set_epoch(Find(client)->epoch);
    Log(fire);
    ExpectInTime(expected_[client].will_ms);
    ++wills_;
  }
  void End(const std::string& client) {
    pb::Command expire;
    expire.mutable_expire_session()->set_client_id(client);
    expire.mutable_expire_session()->set_epoch(Find(client)->epoch);
    Log(expire);
    ExpectInTime(expected_[client].end_ms);
    EXPECT_EQ(Find(client), nullptr);
    ++ends_;
  }
  void ExpectInTime(int64_t wanted_ms) {
    EXPECT_GE(at_ms_, wanted_ms - kSecondMs);
    EXPECT_LE(at_ms_, wanted_ms + kSecondMs);
  }

  base::Rng rng_;
  std::vector<std::unique_ptr<Node>> nodes_;
  size_t leader_ = 0;
  int64_t at_ms_ = 0;
  int64_t last_stamp_ = 0;
  int clients_ = 0;
  std::map<std::string, Expected> expected_;
  size_t wills_ = 0;
  size_t ends_ = 0;
};

TEST(PartitionTime, NothingEndsEarlyOrLateHoweverOftenTheLeaderMoves) {
  for (uint64_t seed = 1; seed <= 10; ++seed) {
    SCOPED_TRACE(seed);
    MovingLeader story(seed);
    story.Run();
    EXPECT_GT(story.wills(), 300u);
    EXPECT_GT(story.ends(), 300u);
    if (testing::Test::HasFailure()) return;
  }
}

// A leader whose clock is behind goes on from the latest stamp.
TEST(PartitionTime, DoesNotGoBackWhateverALeaderStamps) {
  Harness h;
  h.Open("c", {.expiry_s = 10, .will = Text{}, .will_delay_s = 10});
  const int64_t closed_at = h.now();
  h.Close("c", pb::CloseSession::WITH_WILL);
  h.Advance(-kMinuteMs);
  EXPECT_EQ(h.partition().StampAt(h.now()), closed_at);
  h.Open("d", {.expiry_s = 10});
  h.Close("d", pb::CloseSession::NORMAL);
  EXPECT_EQ(h.partition().last_time_unix_ms(), closed_at);
  EXPECT_EQ(h.partition().Find("d")->ends_at_unix_ms, closed_at + 10 * kSecondMs);
  EXPECT_EQ(h.Expire("d").code, OutcomeCode::kNotDue);
  h.Advance(kMinuteMs + 10 * kSecondMs);
  EXPECT_EQ(h.Expire("d").code, OutcomeCode::kOk);
}

}  // namespace
}  // namespace storage
