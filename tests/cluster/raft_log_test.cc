// Raft groups on their threads and real disks: nodes of one process, which talk by mailbox.
#include "cluster/raft_log.h"

#include <rocksdb/env.h>

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/storage/faulty_disk.h"
#include "tests/support/patience.h"
#include "tests/support/temp_dir.h"

namespace cluster {
namespace {

using Fault = storage::FaultyDisk::Fault;
using testing::ElementsAre;

// Who hears whom; and the lock of all that the nodes note.
class Network {
 public:
  void Connect(ReplicaId id, RaftLog* log) {
    base::MutexLock lock(mutex);
    logs_[id] = log;
  }
  void Send(std::vector<RaftLoop::Message> messages) {
    base::MutexLock lock(mutex);
    for (RaftLoop::Message& message : messages) {
      const auto it = logs_.find(message.to);
      if (it == logs_.end() || it->second == nullptr) continue;
      std::vector<RaftLoop::Message> one;
      one.push_back(std::move(message));
      it->second->Receive(std::move(one));
    }
  }
  // Until it is so; false: it took too long.
  bool Await(const std::function<bool()>& so) {
    base::MutexLock lock(mutex);
    while (!so()) {
      if (!changed.WaitFor(mutex, absl::Seconds(30) * support::TestSlowdown())) return so();
    }
    return true;
  }

  base::Mutex mutex;
  base::CondVar changed;

 private:
  std::map<ReplicaId, RaftLog*> logs_ ABSL_GUARDED_BY(mutex);
};

class Node {
 public:
  Node(ReplicaId id, std::vector<ReplicaId> voters, Network& network, RaftLogOptions options = {})
      : id_(id), voters_(std::move(voters)), network_(network), options_(std::move(options)) {
    options_.tick = absl::Milliseconds(20);
    options_.loop.seed = 1;
  }
  ~Node() { Stop().IgnoreError(); }

  void Start() {
    auto store =
        LogStore::Open(directory_.path() + "/log", {}, *env_, std::exchange(create_, false));
    ASSERT_TRUE(store.ok()) << store.status();
    log_ = std::make_unique<RaftLog>(
        options_, *std::move(store), nullptr, base::RealClock::Get(), metrics_,
        [this](std::vector<RaftLoop::Message> messages) { network_.Send(std::move(messages)); },
        [this](std::vector<LogEvent> events) { Take(events); });
    Place applied;
    {
      base::MutexLock lock(network_.mutex);
      applied = applied_;
    }
    const absl::Status started = log_->Start(
        {{.group = 0, .replica = id_, .applied = applied, .conf_state = {.voters = voters_}}});
    ASSERT_TRUE(started.ok()) << started;
    network_.Connect(id_, log_.get());
  }
  absl::Status Stop() {
    if (log_ == nullptr) return absl::OkStatus();
    network_.Connect(id_, nullptr);
    const absl::Status status = log_->Stop();
    log_ = nullptr;
    base::MutexLock lock(network_.mutex);
    leads_ = false;
    return status;
  }
  void Propose(const std::string& entry) {
    std::vector<Proposal> proposals;
    proposals.push_back({.group = 0, .number = ++last_number_, .entry = entry});
    log_->Submit(std::move(proposals));
  }
  RaftLog& log() { return *log_; }
  storage::FaultyDisk& disk() { return *disk_; }
  const storage::HostMetrics& metrics() const { return metrics_; }

  bool Await(const std::function<bool(const Node&)>& so) {
    return network_.Await([&] { return so(*this); });
  }
  bool AwaitEntries(size_t count) {
    return Await([=](const Node& node) { return node.entries_.size() >= count; });
  }
  std::vector<std::string> entries() {
    base::MutexLock lock(network_.mutex);
    return entries_;
  }

  // Under the lock, for Await.
  std::vector<std::string> entries_;
  std::vector<uint64_t> own_;  // Proposals that came back.
  std::vector<absl::Status> health_;
  size_t unknown_ = 0;
  size_t readable_ = 0;
  bool leads_ = false;

 private:
  void Take(std::vector<LogEvent>& events) {
    base::MutexLock lock(network_.mutex);
    for (const LogEvent& event : events) {
      if (const auto* committed = std::get_if<Committed>(&event)) {
        for (const CommittedEntry& entry : committed->entries) {
          applied_ = entry.place;
          if (!entry.entry.empty()) entries_.push_back(entry.entry);
          if (entry.proposal != 0) own_.push_back(entry.proposal);
        }
      }
      if (const auto* role = std::get_if<RoleChange>(&event)) leads_ = role->role == Role::kLeader;
      if (const auto* health = std::get_if<LogHealth>(&event)) health_.push_back(health->status);
      if (std::holds_alternative<NotCommitted>(event)) ++unknown_;
      if (std::holds_alternative<Readable>(event)) ++readable_;
    }
    network_.changed.SignalAll();
  }

  const ReplicaId id_;
  const std::vector<ReplicaId> voters_;
  Network& network_;
  RaftLogOptions options_;
  const support::TempDir directory_;
  const std::shared_ptr<storage::FaultyDisk> disk_ = std::make_shared<storage::FaultyDisk>();
  const std::unique_ptr<rocksdb::Env> env_ = rocksdb::NewCompositeEnv(disk_);
  storage::HostMetrics metrics_;
  bool create_ = true;
  uint64_t last_number_ = 0;
  Place applied_ = kGroupBegin;
  std::unique_ptr<RaftLog> log_;
};

struct RaftLogTest : testing::Test {
  Node& Leader() {
    Node* leader = nullptr;
    EXPECT_TRUE(network.Await([&] {
      for (const auto& node : nodes) {
        if (node->leads_) leader = node.get();
      }
      return leader != nullptr;
    }));
    return leader == nullptr ? *nodes[0] : *leader;
  }
  void StartThree() {
    for (ReplicaId id = 1; id <= 3; ++id) {
      nodes.push_back(std::make_unique<Node>(id, std::vector<ReplicaId>{1, 2, 3}, network));
      nodes.back()->Start();
    }
  }

  Network network;
  std::vector<std::unique_ptr<Node>> nodes;
};

TEST_F(RaftLogTest, ANodeAloneLeadsAtOnceAndFindsItsEntriesAgain) {
  Node node(1, {1}, network);
  node.Start();
  for (int i = 0; i < 100; ++i) node.Propose(absl::StrCat("entry ", i));
  ASSERT_TRUE(node.AwaitEntries(100));
  EXPECT_EQ(node.own_.size(), 100u);
  ASSERT_TRUE(node.Stop().ok());
  EXPECT_GE(node.metrics().log_fsyncs.value(), 1u);
  EXPECT_GE(node.metrics().log_entries.value(), 100u);
  node.Start();
  node.Propose("after");
  ASSERT_TRUE(node.AwaitEntries(101));
  EXPECT_EQ(node.entries().back(), "after");
  EXPECT_TRUE(node.Stop().ok());
}

TEST_F(RaftLogTest, ADiskThatFailsDelaysAndRefusesNothing) {
  for (const Fault fault : {Fault::kNoSpace, Fault::kSyncFails}) {
    Node node(1, {1}, network);
    node.Start();
    node.Propose("before");
    ASSERT_TRUE(node.AwaitEntries(1));
    node.disk().Set(fault);
    node.Propose("meanwhile");
    ASSERT_TRUE(node.Await([](const Node& n) { return n.health_.size() == 1; }));
    node.Propose("later");
    EXPECT_EQ(node.metrics().log_healthy.value(), 0);
    node.disk().Set(Fault::kNone);
    ASSERT_TRUE(node.AwaitEntries(3));
    EXPECT_THAT(node.entries(), ElementsAre("before", "meanwhile", "later"));
    EXPECT_EQ(node.unknown_, 0u);
    ASSERT_TRUE(node.Stop().ok());
    ASSERT_EQ(node.health_.size(), 2u);
    EXPECT_FALSE(node.health_[0].ok());
    EXPECT_TRUE(node.health_[1].ok());
    EXPECT_EQ(node.metrics().log_healthy.value(), 1);
  }
}

TEST_F(RaftLogTest, EntriesAreNotSyncedWhereThatIsNotAskedForButVotesAre) {
  RaftLogOptions options;
  options.durability = storage::Durability::kNone;
  Node node(1, {1}, network, options);
  node.Start();
  node.Propose("first");
  ASSERT_TRUE(node.AwaitEntries(1));
  const uint64_t syncs = node.metrics().log_fsyncs.value();
  EXPECT_GE(syncs, 1u);  // It voted for itself.
  node.Propose("second");
  ASSERT_TRUE(node.AwaitEntries(2));
  EXPECT_EQ(node.metrics().log_fsyncs.value(), syncs);
}

TEST_F(RaftLogTest, ThreeNodesAgreeAndGoOnWithoutTheirLeader) {
  StartThree();
  Leader().Propose("first");
  for (const auto& node : nodes) ASSERT_TRUE(node->AwaitEntries(1));
  Node& deposed = Leader();
  deposed.log().Run([](RaftLoop& loop) { loop.ReadBarrier(0, 1); });
  ASSERT_TRUE(deposed.Await([](const Node& node) { return node.readable_ == 1; }));
  ASSERT_TRUE(deposed.Stop().ok());
  Leader().Propose("second");
  for (const auto& node : nodes) {
    ASSERT_TRUE(node.get() == &deposed || node->AwaitEntries(2));
  }
  deposed.Start();
  ASSERT_TRUE(deposed.AwaitEntries(2));
  EXPECT_THAT(deposed.entries(), ElementsAre("first", "second"));
}

// Its writes are on another thread, so it is heard of meanwhile; and it acknowledges nothing.
TEST_F(RaftLogTest, AFollowerWhoseDiskFailsHoldsNobodyUp) {
  StartThree();
  Leader().Propose("first");
  for (const auto& node : nodes) ASSERT_TRUE(node->AwaitEntries(1));
  Node& leader = Leader();
  Node& sick = nodes[0].get() == &leader ? *nodes[1] : *nodes[0];
  sick.disk().Set(Fault::kSyncFails);
  leader.Propose("second");
  ASSERT_TRUE(leader.AwaitEntries(2));
  ASSERT_TRUE(sick.Await([](const Node& node) { return !node.health_.empty(); }));
  EXPECT_THAT(sick.entries(), ElementsAre("first"));
  sick.disk().Set(Fault::kNone);
  ASSERT_TRUE(sick.AwaitEntries(2));
}

}  // namespace
}  // namespace cluster
