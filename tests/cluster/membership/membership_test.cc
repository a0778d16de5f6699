// Three nodes that become one cluster, with real logs and sockets: who is admitted, who leads which
// partition, and what becomes of that when a node dies.
#include "cluster/membership/membership.h"

#include <fcntl.h>
#include <rocksdb/env.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "base/mutex.h"
#include "cluster/raft/types.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/core/metrics.h"
#include "tests/support/patience.h"
#include "tests/support/temp_dir.h"

namespace cluster {
namespace {

using storage::PartitionId;
using testing::HasSubstr;

constexpr uint16_t kNodes = 3;
constexpr uint32_t kPartitions = 16;
constexpr int64_t kDayMs = 86'400'000;

class TestNode final : public MembershipHandler {
 public:
  explicit TestNode(const std::string& listen) : listen_(listen) {}
  ~TestNode() override { Stop(); }

  absl::Status Create(const std::string& seeds) {
    MembershipOptions options;
    options.directory = directory_.path();
    options.links.listen = listen_;
    for (const absl::string_view seed : absl::StrSplit(seeds, ',', absl::SkipWhitespace()))
      options.bootstrap.seeds.emplace_back(seed);
    options.bootstrap.expected_size = kNodes;
    options.bootstrap.partitions = kPartitions;
    options.bootstrap.level_max = kLevelKnown;
    auto created = Membership::Create(std::move(options), *this, base::RealClock::Get());
    if (!created.ok()) return created.status();
    membership_ = *std::move(created);
    listen_ = membership_->links().address();
    return absl::OkStatus();
  }
  const std::string& address() const { return listen_; }
  base::Timeline& timeline() { return timeline_; }
  absl::Duration lease_until() {
    base::MutexLock lock(mutex_);
    return until_;
  }

  absl::Status Start(const std::string& uuid) {
    storage_options_.partitions = kPartitions;
    storage_options_.durability = storage::Durability::kNone;
    const storage::CommandLogPlace place{.path = directory_.path() + "/log",
                                         .end_path = directory_.path() + "/log-end",
                                         .create = std::exchange(create_, false),
                                         .options = storage_options_,
                                         .env = *rocksdb::Env::Default(),
                                         .clock = base::RealClock::Get(),
                                         .metrics = metrics_};
    auto log = membership_->log_opener()(place);
    if (!log.ok()) return log.status();
    log_ = *std::move(log);
    std::vector<storage::LogStart> starts;
    {
      base::MutexLock lock(mutex_);
      for (PartitionId id = 0; id < kPartitions; ++id)
        starts.push_back({id, applied_[id].index, applied_[id].term});
    }
    // Clocks that are days apart.
    timeline_.Set(1'790'000'000'000 + (uuid.back() - '0') * kDayMs,
                  base::RealClock::Get().MonotonicNs());
    const absl::Status started = log_->Start(
        starts, [this](std::vector<storage::LogEvent> events) { Take(std::move(events)); });
    return started.ok() ? membership_->Start(uuid, 2, timeline_) : started;
  }
  void Stop() {
    if (membership_ != nullptr) membership_->Stop();
    log_ = nullptr;
    membership_ = nullptr;
    base::MutexLock lock(mutex_);
    leads_.clear();
    holds_ = false;
    self_ = {};
  }

  bool Wait(const std::function<bool(TestNode&)>& holds) {
    const absl::Duration end =
        base::RealClock::Get().Monotonic() + absl::Seconds(60) * support::TestSlowdown();
    base::MutexLock lock(mutex_);
    while (!holds(*this)) {
      if (base::RealClock::Get().Monotonic() > end) return false;
      changed_.WaitFor(mutex_, absl::Milliseconds(50));
    }
    return true;
  }
  bool WaitServing() {
    return Wait([](TestNode& node) { return node.holds_; });
  }
  bool WaitLive(size_t count) {
    return Wait([count](TestNode& node) {
      size_t live = 0;
      for (const auto& [id, one] : node.members_.nodes()) live += one.is_live() ? 1 : 0;
      return live == count;
    });
  }
  std::map<PartitionId, bool> leads() {
    base::MutexLock lock(mutex_);
    return leads_;
  }
  bool WaitLed(size_t count) {
    return Wait([count](TestNode& node) {
      size_t led = 0;
      for (const auto& [id, leads] : node.leads_) led += leads ? 1 : 0;
      return led >= count;
    });
  }
  bool WaitEntry(PartitionId id, const std::string& entry) {
    return Wait([&](TestNode& node) {
      const auto& entries = node.entries_[id];
      return std::find(entries.begin(), entries.end(), entry) != entries.end();
    });
  }
  void Propose(PartitionId id, const std::string& entry) {
    storage::Submission submission;
    submission.proposals.push_back({id, ++number_, entry});
    Take(log_->Submit(std::move(submission)));
  }
  NodeLife self() {
    base::MutexLock lock(mutex_);
    return self_;
  }
  Membership& membership() { return *membership_; }
  // From here on whoever writes down who the members are waits, as for a disk that hangs …
  void HangDisk() {
    EXPECT_TRUE(Wait([](TestNode& node) { return mkfifo(node.hanging_.c_str(), 0600) == 0; }));
  }
  // … until somebody reads it.
  int OpenHanging() const { return open(hanging_.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC); }

  // ---- MembershipHandler
  void OnAdmitted(NodeLife self, const Members& members) override {
    base::MutexLock lock(mutex_);
    self_ = self;
    members_ = members;
    changed_.SignalAll();
  }
  void OnLifeOver() override {}
  void OnMembers(const Members& members) override {
    base::MutexLock lock(mutex_);
    members_ = members;
    changed_.SignalAll();
  }
  void OnLeaseUntil(absl::Duration until) override {
    base::MutexLock lock(mutex_);
    until_ = until;
  }
  void OnLease(bool holds) override {
    base::MutexLock lock(mutex_);
    holds_ = holds;
    changed_.SignalAll();
  }
  void OnStopped(const absl::Status& why) override { ADD_FAILURE() << why; }
  void OnFrame(ReceivedFrame frame) override { frame.Took(); }
  void OnUp(NodeLife) override {}
  void OnDown(NodeId) override {}
  void OnRoom(NodeId) override {}

 private:
  void Take(std::vector<storage::LogEvent> events) {
    base::MutexLock lock(mutex_);
    for (storage::LogEvent& event : events) {
      if (const auto* const role = std::get_if<storage::RoleChange>(&event))
        leads_[role->partition] = role->leads;
      if (const auto* const committed = std::get_if<storage::Committed>(&event)) {
        applied_[committed->partition] = {committed->index, committed->term};
        if (!committed->entry.empty()) entries_[committed->partition].push_back(committed->entry);
      }
    }
    changed_.SignalAll();
  }

  std::string listen_;
  const support::TempDir directory_;
  const std::string hanging_ = directory_.path() + "/members.new";
  storage::StorageOptions storage_options_;
  base::Timeline timeline_;
  storage::HostMetrics metrics_;
  bool create_ = true;
  uint64_t number_ = 0;
  base::Mutex mutex_;
  base::CondVar changed_;
  NodeLife self_ ABSL_GUARDED_BY(mutex_);
  Members members_ ABSL_GUARDED_BY(mutex_);
  bool holds_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Duration until_ ABSL_GUARDED_BY(mutex_) = -absl::InfiniteDuration();
  std::map<PartitionId, bool> leads_ ABSL_GUARDED_BY(mutex_);
  std::map<PartitionId, Place> applied_ ABSL_GUARDED_BY(mutex_);
  std::map<PartitionId, std::vector<std::string>> entries_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Membership> membership_;
  std::unique_ptr<storage::CommandLog> log_;
};

std::string Uuid(size_t node) { return absl::StrCat("u", node); }

class ThreeNodes : public testing::Test {
 protected:
  ThreeNodes() {
    for (uint16_t i = 1; i <= kNodes; ++i)
      nodes_.push_back(std::make_unique<TestNode>(absl::StrCat("127.0.0.", i, ":0")));
    // The first hears of the others when they ask it.
    EXPECT_TRUE(nodes_[0]->Create("").ok());
    for (size_t i = 1; i < kNodes; ++i) EXPECT_TRUE(nodes_[i]->Create(nodes_[0]->address()).ok());
    for (size_t i = 0; i < kNodes; ++i) EXPECT_TRUE(nodes_[i]->Start(Uuid(i)).ok());
    for (const auto& node : nodes_) EXPECT_TRUE(node->WaitServing()) << node->membership().why();
    for (const auto& node : nodes_) EXPECT_TRUE(node->WaitLive(kNodes));
  }

  TestNode* LeaderOf(PartitionId id) {
    const absl::Duration end =
        base::RealClock::Get().Monotonic() + absl::Seconds(60) * support::TestSlowdown();
    while (base::RealClock::Get().Monotonic() < end) {
      for (const auto& node : nodes_) {
        if (node->leads()[id]) return node.get();
      }
      nodes_[1]->Wait([](TestNode&) { return true; });
    }
    return nullptr;
  }

  std::vector<std::unique_ptr<TestNode>> nodes_;
};

TEST_F(ThreeNodes, FindEachOtherAndHaveEverythingThreeTimes) {
  for (PartitionId id = 0; id < kPartitions; ++id) {
    TestNode* const leader = LeaderOf(id);
    ASSERT_NE(leader, nullptr) << id;
    const std::string entry = absl::StrCat("entry of ", id);
    leader->Propose(id, entry);
    for (const auto& node : nodes_) EXPECT_TRUE(node->WaitEntry(id, entry));
  }
  // Each comes to lead its part.
  for (const auto& node : nodes_) EXPECT_TRUE(node->WaitLed(kPartitions / kNodes));
}

TEST_F(ThreeNodes, WhoeverDiesIsMissedReplacedAndTakenBack) {
  const NodeLife before = nodes_[2]->self();
  nodes_[2]->Stop();
  EXPECT_TRUE(nodes_[0]->WaitLive(2));
  EXPECT_TRUE(nodes_[1]->WaitLive(2));
  for (PartitionId id = 0; id < kPartitions; ++id) {
    TestNode* const leader = LeaderOf(id);
    ASSERT_NE(leader, nullptr) << id;
    leader->Propose(id, "without the third");
    EXPECT_TRUE(nodes_[0]->WaitEntry(id, "without the third"));
  }
  ASSERT_TRUE(nodes_[2]->Create(nodes_[0]->address()).ok());
  ASSERT_TRUE(nodes_[2]->Start(Uuid(2)).ok());
  ASSERT_TRUE(nodes_[2]->WaitServing()) << nodes_[2]->membership().why();
  EXPECT_EQ(nodes_[2]->self().node, before.node);
  EXPECT_GT(nodes_[2]->self().incarnation, before.incarnation);
  EXPECT_TRUE(nodes_[0]->WaitLive(3));
  for (PartitionId id = 0; id < kPartitions; ++id)
    EXPECT_TRUE(nodes_[2]->WaitEntry(id, "without the third"));
}

TEST_F(ThreeNodes, ALeaseEndsWhereMostAreGone) {
  EXPECT_GT(nodes_[0]->lease_until(), base::RealClock::Get().SinceBoot());
  nodes_[1]->Stop();
  nodes_[2]->Stop();
  EXPECT_TRUE(nodes_[0]->Wait([&](TestNode&) { return !nodes_[0]->membership().holds_lease(); }));
  EXPECT_THAT(nodes_[0]->membership().why(), HasSubstr("most nodes"));
  EXPECT_LT(nodes_[0]->lease_until(), base::RealClock::Get().SinceBoot() + absl::Seconds(1));
  for (const size_t i : {1, 2}) {
    ASSERT_TRUE(nodes_[i]->Create(nodes_[0]->address()).ok());
    ASSERT_TRUE(nodes_[i]->Start(Uuid(i)).ok());
  }
  EXPECT_TRUE(nodes_[0]->WaitServing());
  EXPECT_TRUE(nodes_[1]->WaitServing());
}

TEST_F(ThreeNodes, ALeaseEndsAlthoughTheDiskHangs) {
  TestNode& node = *nodes_[0];
  node.HangDisk();
  nodes_[2]->Stop();
  EXPECT_TRUE(node.WaitLive(2)) << "it is to be written down";
  nodes_[1]->Stop();
  EXPECT_TRUE(node.Wait([&](TestNode&) { return !node.membership().holds_lease(); }));
  const int reads = node.OpenHanging();
  EXPECT_GE(reads, 0);
  node.Stop();
  close(reads);
}

// One that was no founder.
class AFourth : public ThreeNodes {
 protected:
  AFourth() { Join(); }
  void Join() {
    EXPECT_TRUE(fourth_.Create(nodes_[1]->address()).ok());
    EXPECT_TRUE(fourth_.Start("u9").ok());
  }
  absl::Status Forget(TestNode& asked, uint16_t node) {
    absl::Status status;
    absl::Notification done;
    asked.membership().Forget(NodeId(node), [&](absl::Status said) {
      status = std::move(said);
      done.Notify();
    });
    done.WaitForNotification();
    return status;
  }

  TestNode fourth_{"127.0.0.4:0"};
};

TEST_F(AFourth, HasTheTimeOfTheOthersAsTheyHaveOne) {
  ASSERT_TRUE(fourth_.WaitServing()) << fourth_.membership().why();
  nodes_[1]->Stop();
  ASSERT_TRUE(nodes_[1]->Create(nodes_[0]->address()).ok());
  ASSERT_TRUE(nodes_[1]->Start(Uuid(1)).ok());
  ASSERT_TRUE(nodes_[1]->WaitServing()) << nodes_[1]->membership().why();
  const int64_t now_ns = base::RealClock::Get().MonotonicNs();
  const int64_t first_ms = nodes_[0]->timeline().UnixMs(now_ns);
  for (TestNode* const node : {nodes_[1].get(), nodes_[2].get(), &fourth_})
    EXPECT_NEAR(static_cast<double>(node->timeline().UnixMs(now_ns) - first_ms), 0, 10'000);
}

TEST_F(AFourth, JoinsAndHearsOfEverybodyWithoutAReplica) {
  ASSERT_TRUE(fourth_.WaitServing()) << fourth_.membership().why();
  EXPECT_EQ(fourth_.self(), (NodeLife{NodeId(4), Incarnation(1)}));
  for (const auto& node : nodes_) EXPECT_TRUE(node->WaitLive(4));
  EXPECT_TRUE(fourth_.WaitLive(4));
  EXPECT_FALSE(fourth_.membership().members().HasReplicas(NodeId(4)));
  EXPECT_EQ(fourth_.membership().members().PartitionsOn(NodeId(4)), 0u);
  EXPECT_EQ(fourth_.membership().members().PartitionsOn(NodeId(1)), 0xFFFFu);
  nodes_[2]->Stop();
  EXPECT_TRUE(fourth_.WaitLive(3)) << "it hears who is gone";
  EXPECT_TRUE(fourth_.membership().holds_lease());
  fourth_.Stop();
  EXPECT_TRUE(nodes_[0]->WaitLive(2));
  // It knows from its own directory where the others are.
  ASSERT_TRUE(fourth_.Create("").ok());
  ASSERT_TRUE(fourth_.Start("u9").ok());
  ASSERT_TRUE(fourth_.WaitServing()) << fourth_.membership().why();
  EXPECT_EQ(fourth_.self(), (NodeLife{NodeId(4), Incarnation(2)}));
  EXPECT_TRUE(nodes_[0]->WaitLive(3));
}

TEST_F(AFourth, LosesItsLeaseWithoutMostFounders) {
  ASSERT_TRUE(fourth_.WaitServing()) << fourth_.membership().why();
  nodes_[0]->Stop();
  nodes_[1]->Stop();
  EXPECT_TRUE(fourth_.Wait([&](TestNode&) { return !fourth_.membership().holds_lease(); }));
  EXPECT_THAT(fourth_.membership().why(), HasSubstr("most nodes"));
}

TEST_F(AFourth, IsForgottenWhenItIsGoneAndIsToldSo) {
  ASSERT_TRUE(fourth_.WaitServing()) << fourth_.membership().why();
  const absl::Status lives = Forget(*nodes_[0], 4);
  EXPECT_TRUE(absl::IsFailedPrecondition(lives)) << lives;
  EXPECT_THAT(std::string(lives.message()), HasSubstr("is running"));
  EXPECT_TRUE(absl::IsNotFound(Forget(fourth_, 9)));
  nodes_[2]->Stop();
  const auto gone = [](TestNode& node) { return node.WaitLive(3); };
  EXPECT_TRUE(gone(*nodes_[0]) && gone(*nodes_[1]) && gone(fourth_));
  const absl::Status holds = Forget(fourth_, 3);
  EXPECT_TRUE(absl::IsFailedPrecondition(holds)) << holds;
  EXPECT_THAT(std::string(holds.message()), HasSubstr("has replicas"));
  fourth_.Stop();
  EXPECT_TRUE(nodes_[0]->WaitLive(2));
  EXPECT_TRUE(Forget(*nodes_[1], 4).ok());
  EXPECT_TRUE(absl::IsNotFound(Forget(*nodes_[0], 4)));
  Join();
  EXPECT_TRUE(fourth_.Wait([&](TestNode&) {
    return fourth_.membership().why().find("node 4 was forgotten") != std::string::npos;
  })) << fourth_.membership().why();
  // A follower hears of it later than who was asked.
  EXPECT_TRUE(nodes_[0]->Wait(
      [](TestNode& node) { return node.membership().members().nodes().size() == 3; }));
  TestNode another("127.0.0.5:0");
  ASSERT_TRUE(another.Create(nodes_[0]->address()).ok());
  ASSERT_TRUE(another.Start("u10").ok());
  ASSERT_TRUE(another.WaitServing()) << another.membership().why();
  EXPECT_EQ(another.self().node, NodeId(5)) << "no number is given twice";
}

}  // namespace
}  // namespace cluster
