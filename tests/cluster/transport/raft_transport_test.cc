// Raft groups of three nodes: real logs on real disks, real threads, real sockets between them.
#include "cluster/transport/raft_transport.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cluster/link/link_node.h"
#include "tests/cluster/transport/log_over_links.h"
#include "tests/support/patience.h"
#include "tests/support/temp_dir.h"

namespace cluster {
namespace {

constexpr GroupId kGroups = 16;
constexpr uint16_t kNodes = 3;
constexpr absl::Duration kTick = absl::Milliseconds(50);

absl::Duration Now() { return base::RealClock::Get().Monotonic(); }

class RaftNode final : public LinkHandler {
 public:
  struct Group {
    std::vector<std::string> entries;
    Place applied = kGroupBegin;
    bool leads = false;
    uint64_t term = 0;
    absl::Duration led_at;  // When it was heard that it leads.
    size_t unknown = 0;     // Proposals that may or may not have been committed.
  };

  explicit RaftNode(uint16_t number) : number_(number) {}
  ~RaftNode() override { Stop(); }

  void Listen(const std::string& at) {
    auto started = Links::Start({.listen = at}, *this, base::RealClock::Get());
    ASSERT_TRUE(started.ok()) << started.status();
    links_ = *std::move(started);
  }
  const std::string& address() const { return links_->address(); }

  void Start(uint32_t incarnation, const std::map<NodeId, std::string>& addresses) {
    raft_ = LogOverLinks::Open(
        *links_, directory_.path() + "/log", std::exchange(create_, false), kTick,
        [this](std::vector<LogEvent> events) { Take(events); },
        [](NodeLife, const ControlItem&) {});
    ASSERT_NE(raft_, nullptr);
    std::map<RaftTransport::Place, NodeId> replicas;
    std::vector<ReplicaId> voters;
    for (uint16_t node = 1; node <= kNodes; ++node) {
      voters.push_back(node);
      for (GroupId group = 0; group < kGroups; ++group) replicas[{group, node}] = NodeId(node);
    }
    raft_->transport().SetReplicas(std::move(replicas));
    std::vector<GroupStart> groups;
    {
      base::MutexLock lock(mutex_);
      for (GroupId group = 0; group < kGroups; ++group) {
        groups.push_back({.group = group,
                          .replica = number_,
                          .applied = groups_[group].applied,
                          .conf_state = {.voters = voters}});
      }
    }
    ASSERT_TRUE(raft_->log().Start(groups).ok());
    Introduce(incarnation, addresses);
  }

  // Who is in which life, as the meta group would say.
  void Introduce(uint32_t incarnation, const std::map<NodeId, std::string>& addresses) {
    Door door{.cluster_id = "C",
              .self = {NodeId(number_), Incarnation(incarnation)},
              .uuid = absl::StrCat("u", number_),
              .release = "test"};
    std::map<NodeId, std::string> peers = addresses;
    peers.erase(NodeId(number_));
    for (const auto& [node, address] : addresses)
      door.nodes[node] = {absl::StrCat("u", node.value()), Incarnation(1), Incarnation(0)};
    links_->SetDoor(door);
    links_->SetPeers(peers);
  }

  // As kill -9 does: the kernel closes the sockets, and what is on the disk is there.
  void Stop() {
    if (links_ != nullptr) links_->Stop();
    raft_ = nullptr;
    links_ = nullptr;
    base::MutexLock lock(mutex_);
    for (auto& [id, group] : groups_) group.leads = false;
  }

  void Propose(GroupId group, const std::string& entry) {
    std::vector<Proposal> proposals;
    proposals.push_back({.group = group, .number = ++last_number_, .entry = entry});
    raft_->log().Submit(std::move(proposals));
  }

  Group Of(GroupId group) {
    base::MutexLock lock(mutex_);
    return groups_[group];
  }
  bool Wait(const std::function<bool(std::map<GroupId, Group>&)>& holds) {
    const absl::Duration end = Now() + absl::Seconds(30) * support::TestSlowdown();
    base::MutexLock lock(mutex_);
    while (!holds(groups_)) {
      if (Now() > end) return false;
      changed_.WaitFor(mutex_, absl::Milliseconds(50));
    }
    return true;
  }
  const RaftTransport::Metrics& transport_metrics() const { return raft_->transport().metrics(); }

  void OnFrame(ReceivedFrame frame) override {
    if (raft_ != nullptr) raft_->transport().OnFrame(std::move(frame));
  }
  void OnDown(NodeId peer, const std::string&) override {
    if (raft_ != nullptr) raft_->transport().OnDown(peer);
  }

 private:
  void Take(std::vector<LogEvent>& events) {
    base::MutexLock lock(mutex_);
    for (LogEvent& event : events) {
      if (auto* const committed = std::get_if<Committed>(&event)) {
        Group& group = groups_[committed->group];
        for (CommittedEntry& entry : committed->entries) {
          EXPECT_EQ(entry.place.index, group.applied.index + 1);
          group.applied = entry.place;
          if (!entry.entry.empty()) group.entries.push_back(std::move(entry.entry));
        }
      } else if (const auto* const role = std::get_if<RoleChange>(&event)) {
        Group& group = groups_[role->group];
        if (role->role == Role::kLeader && !group.leads) group.led_at = Now();
        group.leads = role->role == Role::kLeader;
        group.term = role->term;
      } else if (const auto* const fate = std::get_if<NotCommitted>(&event)) {
        if (fate->fate == Fate::kUnknown) ++groups_[fate->group].unknown;
      }
    }
    changed_.SignalAll();
  }

  const uint16_t number_;
  const support::TempDir directory_;
  bool create_ = true;
  uint64_t last_number_ = 0;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::map<GroupId, Group> groups_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<Links> links_;
  std::unique_ptr<LogOverLinks> raft_;
};

class RaftTransportTest : public testing::Test {
 protected:
  void StartAll() {
    for (uint16_t i = 1; i <= kNodes; ++i) {
      nodes_[i] = std::make_unique<RaftNode>(i);
      nodes_[i]->Listen(absl::StrCat("127.0.0.", i, ":0"));
      addresses_[NodeId(i)] = nodes_[i]->address();
    }
    for (auto& [number, node] : nodes_) node->Start(1, addresses_);
    for (GroupId group = 0; group < kGroups; ++group) ASSERT_NE(LeaderOf(group), 0);
  }
  // Waits until there is one; 0: nobody leads.
  uint16_t LeaderOf(GroupId group, uint16_t without = 0) {
    const absl::Duration end = Now() + absl::Seconds(30) * support::TestSlowdown();
    while (Now() < end) {
      for (auto& [number, node] : nodes_) {
        if (number == without) continue;
        const RaftNode::Group state = node->Of(group);
        if (state.leads) return number;
      }
      // Looks again when that one hears something, or a moment later.
      nodes_.begin()->second->Wait([looks = 0](auto&) mutable { return ++looks > 1; });
    }
    return 0;
  }

  std::map<uint16_t, std::unique_ptr<RaftNode>> nodes_;
  std::map<NodeId, std::string> addresses_;
};

// A node is down and has no replica any more at the same time, when the cluster gives it up.
TEST(RaftTransport, ReplicasMayBeReplacedWhileADownNodesAreTold) {
  LinkNode node(1);
  std::vector<RaftTransport::Place> unreachable;
  RaftTransport* told = nullptr;
  RaftTransport transport(node.links(), {.receive = {},
                                         .unreachable =
                                             [&](RaftTransport::Place place) {
                                               told->SetReplicas({});
                                               unreachable.push_back(place);
                                             },
                                         .other = {}});
  told = &transport;
  transport.SetReplicas({{{0, 2}, NodeId(2)}, {{1, 2}, NodeId(2)}, {{2, 2}, NodeId(2)}});
  transport.OnDown(NodeId(2));
  EXPECT_THAT(unreachable, testing::SizeIs(3));
}

TEST_F(RaftTransportTest, EntriesAreCommittedOnAllNodes) {
  StartAll();
  constexpr size_t kEntries = 200;
  const absl::Duration begin = Now();
  std::vector<absl::Duration> took;
  for (size_t i = 0; i < kEntries; ++i) {
    const auto group = static_cast<GroupId>(i % kGroups);
    RaftNode& leader = *nodes_[LeaderOf(group)];
    const absl::Duration asked = Now();
    const size_t before = leader.Of(group).entries.size();
    leader.Propose(group, absl::StrCat("entry ", i));
    ASSERT_TRUE(leader.Wait([&](auto& groups) { return groups[group].entries.size() > before; }));
    took.push_back(Now() - asked);
  }
  const absl::Duration all = Now() - begin;
  for (auto& [number, node] : nodes_) {
    EXPECT_TRUE(node->Wait([&](auto& groups) {
      size_t entries = 0;
      for (const auto& [id, group] : groups) entries += group.entries.size();
      return entries == kEntries;
    }));
  }
  std::sort(took.begin(), took.end());
  std::printf(
      "one after the other, synced on two of three nodes: p50 %s, p99 %s, %.0f a second\n",
      absl::FormatDuration(absl::Trunc(took[took.size() / 2], absl::Microseconds(1))).c_str(),
      absl::FormatDuration(absl::Trunc(took[took.size() * 99 / 100], absl::Microseconds(1)))
          .c_str(),
      kEntries / absl::ToDoubleSeconds(all));
  const absl::Duration start = Now();
  constexpr size_t kMany = 20'000;
  std::map<GroupId, uint16_t> leaders;
  for (GroupId group = 0; group < kGroups; ++group) leaders[group] = LeaderOf(group);
  for (size_t i = 0; i < kMany; ++i) {
    const auto group = static_cast<GroupId>(i % kGroups);
    nodes_[leaders[group]]->Propose(group, std::string(256, 'x'));
  }
  for (auto& [number, node] : nodes_) {
    ASSERT_TRUE(node->Wait([&](auto& groups) {
      size_t entries = 0;
      for (const auto& [id, group] : groups) entries += group.entries.size();
      return entries == kEntries + kMany;
    }));
  }
  std::printf("many at a time: %.0f entries of 256 bytes a second on all three nodes\n",
              kMany / absl::ToDoubleSeconds(Now() - start));
  for (GroupId group = 0; group < kGroups; ++group) {
    EXPECT_EQ(nodes_[1]->Of(group).entries, nodes_[2]->Of(group).entries);
    EXPECT_EQ(nodes_[1]->Of(group).entries, nodes_[3]->Of(group).entries);
  }
}

TEST_F(RaftTransportTest, ANodeDiesAndItsGroupsAreLedByOthersSoonAndItCatchesUp) {
  StartAll();
  const uint16_t victim = LeaderOf(0);
  std::vector<GroupId> led;
  for (GroupId group = 0; group < kGroups; ++group) {
    const uint16_t leader = LeaderOf(group);
    nodes_[leader]->Propose(group, absl::StrCat("before ", group));
    if (leader == victim) led.push_back(group);
  }
  for (auto& [number, node] : nodes_) {
    ASSERT_TRUE(node->Wait([](auto& groups) {
      return std::all_of(groups.begin(), groups.end(),
                         [](const auto& group) { return group.second.entries.size() == 1; });
    }));
  }
  const absl::Duration killed = Now();
  nodes_[victim]->Stop();
  std::vector<absl::Duration> led_again;
  for (const GroupId group : led) {
    const uint16_t leader = LeaderOf(group, victim);
    ASSERT_NE(leader, 0);
    led_again.push_back(nodes_[leader]->Of(group).led_at - killed);
    nodes_[leader]->Propose(group, absl::StrCat("after ", group));
  }
  std::sort(led_again.begin(), led_again.end());
  std::printf("%zu groups led again: the first after %s, the last after %s\n", led.size(),
              absl::FormatDuration(absl::Trunc(led_again.front(), absl::Milliseconds(1))).c_str(),
              absl::FormatDuration(absl::Trunc(led_again.back(), absl::Milliseconds(1))).c_str());
  EXPECT_LT(led_again.back(), absl::Seconds(1.5) * support::TestSlowdown() + absl::Seconds(1));
  for (auto& [number, node] : nodes_) {
    if (number == victim) continue;
    ASSERT_TRUE(node->Wait([&](auto& groups) {
      return std::all_of(led.begin(), led.end(),
                         [&](GroupId group) { return groups[group].entries.size() == 2; });
    }));
  }
  // It comes back at the same place, in its next life.
  nodes_[victim]->Listen(addresses_[NodeId(victim)]);
  nodes_[victim]->Start(2, addresses_);
  ASSERT_TRUE(nodes_[victim]->Wait([&](auto& groups) {
    return std::all_of(led.begin(), led.end(),
                       [&](GroupId group) { return groups[group].entries.size() == 2; });
  }));
  for (const GroupId group : led) {
    EXPECT_THAT(
        nodes_[victim]->Of(group).entries,
        testing::ElementsAre(absl::StrCat("before ", group), absl::StrCat("after ", group)));
  }
}

}  // namespace
}  // namespace cluster
