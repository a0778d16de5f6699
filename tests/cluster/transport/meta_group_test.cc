// The meta group on three nodes: real logs, threads and sockets; lives, leases and who is gone.
#include "cluster/transport/meta_group.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mqttd/cluster/v1/link.pb.h"
#include "tests/cluster/transport/log_over_links.h"
#include "tests/support/patience.h"
#include "tests/support/temp_dir.h"

namespace cluster {
namespace {

namespace pb = ::mqttd::cluster::v1;
using testing::Contains;

constexpr uint16_t kNodes = 3;

absl::Duration Now() { return base::RealClock::Get().SinceBoot(); }

NodeLife Life(uint16_t node, uint32_t incarnation) {
  return {NodeId(node), Incarnation(incarnation)};
}

class MetaTestNode final : public LinkHandler {
 public:
  explicit MetaTestNode(uint16_t number) : number_(number) {}
  ~MetaTestNode() override { Stop(); }

  void Listen(const std::string& at) {
    auto started = Links::Start({.listen = at}, *this, base::RealClock::Get());
    ASSERT_TRUE(started.ok()) << started.status();
    links_ = *std::move(started);
  }
  const std::string& address() const { return links_->address(); }
  Links& links() { return *links_; }

  // Of a new node: what the founders begin with.
  void Start(const std::optional<Members>& founded) {
    MetaGroupOptions options;
    {
      base::MutexLock lock(mutex_);
      if (founded.has_value()) members_ = *founded;
      ++incarnation_;
      options.members = members_;
      options.applied = applied_;
      options.self.set_incarnation(incarnation_);
    }
    options.node = NodeId(number_);
    options.self.set_uuid(absl::StrCat("u", number_));
    options.self.set_start(base::Rng::FromEntropy()());
    options.self.set_cluster_address(address());
    StartLog(options.members);
    MetaGroup::Parts parts;
    parts.links = links_.get();
    parts.clock = &base::RealClock::Get();
    parts.timeline = &timeline_;
    parts.submit = [this](Proposal proposal) {
      std::vector<Proposal> one;
      one.push_back(std::move(proposal));
      raft_->log().Submit(std::move(one));
    };
    parts.read_barrier = [this](uint64_t ticket) {
      raft_->log().Run([ticket](RaftLoop& loop) { loop.ReadBarrier(0, ticket); });
    };
    parts.begin_life = [this](Incarnation incarnation) {
      base::MutexLock lock(mutex_);
      incarnation_ = incarnation.value();
      return absl::OkStatus();
    };
    parts.on_members = [this](const Members& members, uint64_t applied) {
      base::MutexLock lock(mutex_);
      members_ = members;
      applied_ = applied;
      changed_.SignalAll();
    };
    parts.on_gone = [this](const std::vector<NodeLife>& lives) {
      base::MutexLock lock(mutex_);
      for (const NodeLife& life : lives) gone_[life] = Now();
      changed_.SignalAll();
    };
    parts.on_stopped = [](const absl::Status& status) { ADD_FAILURE() << status; };
    auto meta = MetaGroup::Start(std::move(options), std::move(parts));
    std::vector<LogEvent> waiting;
    {
      base::MutexLock lock(mutex_);
      meta_ = std::move(meta);
      waiting = std::exchange(early_, {});
      for (LogEvent& event : waiting) meta_->OnLogEvent(std::move(event));
    }
  }

  void Stop() {
    if (links_ != nullptr) links_->Stop();
    std::unique_ptr<MetaGroup> meta;
    {
      base::MutexLock lock(mutex_);
      meta = std::move(meta_);
    }
    if (meta != nullptr) meta->Stop();
    if (raft_ != nullptr) raft_->log().Stop().IgnoreError();
    meta = nullptr;
    raft_ = nullptr;
    links_ = nullptr;
  }

  bool Wait(const std::function<bool()>& holds) {
    const absl::Duration end = Now() + absl::Seconds(30) * support::TestSlowdown();
    base::MutexLock lock(mutex_);
    while (!holds()) {
      if (Now() > end) return false;
      changed_.WaitFor(mutex_, absl::Milliseconds(20));
    }
    return true;
  }
  bool WaitLease() {
    return Wait([&] { return meta_->lease().until > Now(); });
  }
  // When it was heard.
  absl::Duration WaitGone(NodeLife life) {
    EXPECT_TRUE(Wait([&] { return gone_.contains(life); }));
    base::MutexLock lock(mutex_);
    return gone_[life];
  }
  bool WaitLive(NodeLife life) {
    return Wait([&] { return members_.IsLive(life); });
  }
  Members members() {
    base::MutexLock lock(mutex_);
    return members_;
  }
  bool leads() {
    base::MutexLock lock(mutex_);
    return leads_;
  }

  void OnFrame(ReceivedFrame frame) override { raft_->transport().OnFrame(std::move(frame)); }
  void OnDown(NodeId peer, const std::string&) override {
    if (raft_ != nullptr) raft_->transport().OnDown(peer);
  }
  void OnJoin(const pb::JoinRequest& request,
              std::function<void(const pb::JoinResponse&)> answer) override {
    base::MutexLock lock(mutex_);
    if (meta_ != nullptr) meta_->OnJoin(request, std::move(answer));
  }

 private:
  void StartLog(const Members& members) {
    raft_ = LogOverLinks::Open(
        *links_, directory_.path() + "/log", std::exchange(create_, false), absl::Milliseconds(50),
        [this](std::vector<LogEvent> events) { Take(events); },
        [this](NodeLife from, const ControlItem& item) {
          base::MutexLock lock(mutex_);
          if (meta_ != nullptr) meta_->OnControl(from, item);
        });
    ASSERT_NE(raft_, nullptr);
    std::map<RaftTransport::Place, NodeId> replicas;
    GroupStart start{.group = 0};
    for (const GroupReplicas::Replica& replica : members.meta().replicas) {
      replicas[{0, replica.number}] = replica.node;
      start.conf_state.voters.push_back(replica.number);
      if (replica.node == NodeId(number_)) start.replica = replica.number;
    }
    raft_->transport().SetReplicas(std::move(replicas));
    {
      base::MutexLock lock(mutex_);
      start.applied = {.index = applied_, .term = terms_.at(applied_)};
    }
    const absl::Status started = raft_->log().Start({start});
    ASSERT_TRUE(started.ok()) << started;
  }
  void Take(std::vector<LogEvent>& events) {
    base::MutexLock lock(mutex_);
    for (LogEvent& event : events) {
      if (const auto* const role = std::get_if<RoleChange>(&event))
        leads_ = role->role == Role::kLeader;
      if (const auto* const committed = std::get_if<Committed>(&event)) {
        for (const CommittedEntry& entry : committed->entries)
          terms_[entry.place.index] = entry.place.term;
      }
      if (meta_ == nullptr) {
        early_.push_back(std::move(event));
      } else {
        meta_->OnLogEvent(std::move(event));
      }
    }
  }

  const uint16_t number_;
  const support::TempDir directory_;
  base::Timeline timeline_;
  bool create_ = true;
  base::Mutex mutex_;
  base::CondVar changed_;
  Members members_ ABSL_GUARDED_BY(mutex_);
  uint64_t applied_ ABSL_GUARDED_BY(mutex_) = kGroupBegin.index;
  std::map<uint64_t, uint64_t> terms_ ABSL_GUARDED_BY(mutex_) = {
      {kGroupBegin.index, kGroupBegin.term}};  // By index.
  uint32_t incarnation_ ABSL_GUARDED_BY(mutex_) = 0;
  std::map<NodeLife, absl::Duration> gone_ ABSL_GUARDED_BY(mutex_);
  bool leads_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<LogEvent> early_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<MetaGroup> meta_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Links> links_;
  std::unique_ptr<LogOverLinks> raft_;
};

std::string InMs(absl::Duration time) {
  return absl::FormatDuration(absl::Trunc(time, absl::Milliseconds(1)));
}

// An operator's call waits for the answer: it comes whether the thread still took the question or
// not.
TEST(MetaGroup, WhatIsAskedWhileItStopsIsAnswered) {
  MetaTestNode node(1);
  node.Listen("127.0.0.1:0");
  for (int i = 0; i < 20; ++i) {
    base::Timeline timeline;
    MetaGroupOptions options;
    options.node = NodeId(1);
    options.self.set_uuid("u1");
    MetaGroup::Parts parts;
    parts.links = &node.links();
    parts.clock = &base::RealClock::Get();
    parts.timeline = &timeline;
    parts.on_members = [](const Members&, uint64_t) {};
    parts.begin_life = [](Incarnation) { return absl::OkStatus(); };
    const std::unique_ptr<MetaGroup> meta = MetaGroup::Start(std::move(options), std::move(parts));
    std::vector<absl::Status> answers;
    const auto ask = [&] {
      meta->Forget(NodeId(2), [&](absl::Status status) { answers.push_back(std::move(status)); });
    };
    for (int n = 0; n < i; ++n) ask();
    meta->Stop();
    ask();
    ASSERT_EQ(answers.size(), static_cast<size_t>(i) + 1);
    for (const absl::Status& answer : answers) EXPECT_TRUE(absl::IsCancelled(answer)) << answer;
  }
}

TEST(MetaGroup, NodesAreAdmittedLeasedMissedAndTakenBack) {
  std::map<uint16_t, std::unique_ptr<MetaTestNode>> nodes;
  pb::Formation formation;
  formation.set_cluster_id("C");
  formation.set_partitions(16);
  formation.set_replicas(kNodes);
  for (uint16_t i = 1; i <= kNodes; ++i) {
    nodes[i] = std::make_unique<MetaTestNode>(i);
    nodes[i]->Listen(absl::StrCat("127.0.0.", i, ":0"));
    pb::Formation::Founder& founder = *formation.add_founders();
    founder.set_uuid(absl::StrCat("u", i));
    founder.set_address(nodes[i]->address());
  }
  absl::Duration begin = Now();
  for (auto& [number, node] : nodes) node->Start(Members::Founded(formation));
  for (auto& [number, node] : nodes) ASSERT_TRUE(node->WaitLease()) << number;
  std::printf("all nodes have a lease %s after they were started\n", InMs(Now() - begin).c_str());

  // A node more asks any of them, and is told whom, if it is not that one.
  MetaTestNode fourth(4);
  fourth.Listen("127.0.0.4:0");
  std::string at = nodes[2]->address();
  pb::JoinResponse joined;
  for (int i = 0; i < 100 && joined.node() == 0; ++i) {
    pb::JoinRequest request;
    request.set_cluster_id("C");
    request.mutable_node()->set_uuid("u4");
    request.mutable_node()->set_incarnation(1);
    base::Mutex mutex;
    base::CondVar changed;
    std::optional<absl::StatusOr<pb::JoinResponse>> answer;
    fourth.links().Join(at, request, absl::Seconds(10), [&](auto response) {
      base::MutexLock lock(mutex);
      answer = std::move(response);
      changed.SignalAll();
    });
    base::MutexLock lock(mutex);
    while (!answer.has_value()) changed.Wait(mutex);
    if (!answer->ok()) continue;
    joined = **answer;
    if (!joined.ask_at().empty()) at = joined.ask_at();
  }
  EXPECT_EQ(joined.node(), 4u) << joined.why();
  EXPECT_THAT(joined.members(), Contains(nodes[1]->address()));

  // Whoever leads dies: another one waits for its lease, and says that it is gone.
  uint16_t victim = 1;
  for (auto& [number, node] : nodes) {
    if (node->leads()) victim = number;
  }
  const std::string address = nodes[victim]->address();
  const absl::Duration killed = Now();
  nodes[victim]->Stop();
  for (auto& [number, node] : nodes) {
    if (number == victim) continue;
    const absl::Duration took = node->WaitGone(Life(victim, 1)) - killed;
    std::printf("node %u knows that the leader is gone %s after its death\n", number,
                InMs(took).c_str());
    // Not before its lease can have ended.
    EXPECT_GT(took, absl::Seconds(1.9));
    EXPECT_TRUE(node->WaitLease());
  }

  // It comes back, as another life.
  begin = Now();
  nodes[victim]->Listen(address);
  nodes[victim]->Start(std::nullopt);
  ASSERT_TRUE(nodes[victim]->WaitLease());
  std::printf("it has a lease again %s after its start\n", InMs(Now() - begin).c_str());
  for (auto& [number, node] : nodes) EXPECT_TRUE(node->WaitLive(Life(victim, 2)));
  EXPECT_EQ(nodes[1]->members().Encode(), nodes[2]->members().Encode());
}

}  // namespace
}  // namespace cluster
