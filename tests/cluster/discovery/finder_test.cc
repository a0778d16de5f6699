// Nodes that find each other over real sockets, and keep on real disks what came of it.
#include "cluster/discovery/finder.h"

#include <future>
#include <map>
#include <memory>
#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cluster/link/link_node.h"
#include "tests/support/temp_dir.h"

namespace cluster {
namespace {

using Identity = ::mqttd::cluster::v1::NodeIdentity;

class FakeResolver final : public Resolver {
 public:
  absl::StatusOr<std::vector<std::string>> Resolve(const std::string&) override {
    base::MutexLock lock(mutex_);
    ++asked_;
    if (addresses_.empty()) return absl::NotFoundError("there is no such name yet");
    return addresses_;
  }
  void Set(std::vector<std::string> addresses) {
    base::MutexLock lock(mutex_);
    addresses_ = std::move(addresses);
  }

 private:
  base::Mutex mutex_;
  std::vector<std::string> addresses_ ABSL_GUARDED_BY(mutex_);
  int asked_ ABSL_GUARDED_BY(mutex_) = 0;
};

// A node with a directory, which can be started again.
class FindingNode {
 public:
  explicit FindingNode(uint16_t number) : number_(number) {}
  ~FindingNode() { Stop(); }

  // Listens, so that its address is known.
  void Listen() { node_ = std::make_unique<LinkNode>(number_); }
  void Find(std::vector<std::string> seeds, uint32_t expected_size, const std::string& dns = "") {
    FinderOptions options{.directory = directory_.path(), .dns = dns};
    options.bootstrap.uuid = absl::StrCat("uuid-", number_);
    options.bootstrap.address = node_->address();
    options.bootstrap.seeds = std::move(seeds);
    options.bootstrap.expected_size = expected_size;
    options.bootstrap.asked_every = absl::Milliseconds(20);
    options.resolved_every = absl::Milliseconds(20);
    auto started = Finder::Start(options, node_->links(), resolver, base::RealClock::Get(),
                                 [this](const Identity& identity) {
                                   base::MutexLock lock(mutex_);
                                   found_ = identity;
                                   changed_.SignalAll();
                                 });
    ASSERT_TRUE(started.ok()) << started.status();
    finder_ = *std::move(started);
    base::MutexLock lock(mutex_);
    meets_ = finder_.get();
  }
  // Before Listen's node is asked, it has to know whom to ask.
  void Serve() {
    node_->on_meet = [this](const auto& view, auto answer) {
      base::MutexLock lock(mutex_);
      if (meets_ != nullptr) meets_->OnMeet(view, std::move(answer));
    };
  }
  void Stop() {
    {
      base::MutexLock lock(mutex_);
      meets_ = nullptr;
    }
    finder_ = nullptr;
    node_ = nullptr;
    base::MutexLock lock(mutex_);
    found_.reset();
  }

  Identity WaitFound() {
    const absl::Duration end =
        base::RealClock::Get().Monotonic() + absl::Seconds(20) * support::TestSlowdown();
    base::MutexLock lock(mutex_);
    while (!found_.has_value() && base::RealClock::Get().Monotonic() < end)
      changed_.WaitFor(mutex_, absl::Milliseconds(100));
    return found_.value_or(Identity());
  }
  bool WaitWhy(const std::string& words) {
    const absl::Duration end =
        base::RealClock::Get().Monotonic() + absl::Seconds(20) * support::TestSlowdown();
    base::MutexLock lock(mutex_);
    while (!absl::StrContains(finder_->why(), words)) {
      if (base::RealClock::Get().Monotonic() > end) return false;
      changed_.WaitFor(mutex_, absl::Milliseconds(10));
    }
    return true;
  }
  bool found() {
    base::MutexLock lock(mutex_);
    return found_.has_value();
  }
  // What an operator who sends it there hears.
  absl::Status LookAt(std::vector<std::string> addresses) {
    std::promise<absl::Status> said;
    finder_->LookAt(std::move(addresses), [&said](absl::Status status) { said.set_value(status); });
    return said.get_future().get();
  }
  LinkNode& node() { return *node_; }
  const std::string& address() const { return node_->address(); }

  const std::shared_ptr<FakeResolver> resolver = std::make_shared<FakeResolver>();

 private:
  const uint16_t number_;
  const support::TempDir directory_;
  base::Mutex mutex_;
  base::CondVar changed_;
  std::optional<Identity> found_;
  Finder* meets_ = nullptr;
  std::unique_ptr<LinkNode> node_;
  std::unique_ptr<Finder> finder_;
};

// Three nodes that have found a cluster, from seeds or by a name.
class FinderTest : public testing::Test {
 protected:
  void Listen() {
    for (FindingNode& node : nodes_) {
      node.Listen();
      node.Serve();
      seeds_.push_back(node.address());
    }
  }
  std::string Cluster() {
    std::map<std::string, std::vector<uint32_t>> clusters;
    for (FindingNode& node : nodes_) {
      const Identity identity = node.WaitFound();
      clusters[identity.cluster_id()].push_back(identity.node());
    }
    EXPECT_EQ(clusters.size(), 1u);
    EXPECT_THAT(clusters.begin()->second, testing::UnorderedElementsAre(1, 2, 3));
    return clusters.begin()->first;
  }

  FindingNode nodes_[3]{FindingNode(1), FindingNode(2), FindingNode(3)};
  std::vector<std::string> seeds_;
};

TEST_F(FinderTest, ThreeNodesFoundAClusterAndAreOfItAfterAStartInWhicheverOrder) {
  Listen();
  nodes_[0].Find(seeds_, 3);
  EXPECT_TRUE(nodes_[0].WaitWhy("waiting for 2 more of 3 nodes"));
  nodes_[1].Find(seeds_, 3);
  nodes_[2].Find(seeds_, 3);
  const std::string cluster = Cluster();
  for (FindingNode& node : nodes_) node.Stop();
  // Each alone: it knows.
  for (const int i : {1, 2, 0}) {
    nodes_[i].Listen();
    nodes_[i].Serve();
    nodes_[i].Find({}, 3);
    const Identity identity = nodes_[i].WaitFound();
    EXPECT_EQ(identity.cluster_id(), cluster);
    EXPECT_EQ(identity.incarnation(), 2u);
    nodes_[i].Stop();
  }
}

TEST_F(FinderTest, ANameIsResolvedUntilTheNodesBehindItAreThere) {
  Listen();
  for (FindingNode& node : nodes_) node.Find({}, 3, "nodes.example.org:1885");
  EXPECT_TRUE(nodes_[0].WaitWhy("there is no such name yet"));
  for (FindingNode& node : nodes_) node.resolver->Set(seeds_);
  Cluster();
}

TEST_F(FinderTest, ANodeMoreAsksToJoinAndIsToldWhereThatIsDecided) {
  Listen();
  for (FindingNode& node : nodes_) node.Find(seeds_, 3);
  const std::string cluster = Cluster();
  for (int i = 0; i < 3; ++i) {
    nodes_[i].node().on_join = [this, i, cluster](const auto& request, const auto& answer) {
      LinkNode::JoinResponse response;
      if (i != 2) {
        response.set_ask_at(seeds_[2]);
        response.set_why("another node decides");
      } else if (request.node().uuid() == "uuid-4" && request.cluster_id() == cluster) {
        response.set_cluster_id(cluster);
        response.set_node(4);
        response.set_incarnation(request.node().incarnation());
        response.add_members(seeds_[0]);
      }
      answer(response);
    };
  }
  FindingNode fourth(4);
  fourth.Listen();
  fourth.Serve();
  fourth.Find({seeds_[0]}, 0);
  const Identity identity = fourth.WaitFound();
  EXPECT_EQ(identity.cluster_id(), cluster);
  EXPECT_EQ(identity.node(), 4u);
  EXPECT_EQ(identity.incarnation(), 1u);
}

TEST_F(FinderTest, WhatTheClusterSaysToWhoMayNotJoinIsTold) {
  Listen();
  for (FindingNode& node : nodes_) node.Find(seeds_, 3);
  Cluster();
  for (FindingNode& node : nodes_) {
    node.node().on_join = [](const auto&, const auto& answer) {
      LinkNode::JoinResponse response;
      response.set_why("the cluster has 64 nodes");
      answer(response);
    };
  }
  FindingNode fourth(4);
  fourth.Listen();
  fourth.Serve();
  fourth.Find(seeds_, 0);
  EXPECT_TRUE(fourth.WaitWhy("the cluster does not admit this node: the cluster has 64 nodes"));
  EXPECT_FALSE(fourth.found());
}

TEST_F(FinderTest, TheAnswerToWhatAnEarlierOrderAskedMakesItNoMember) {
  std::string clusters[2];
  std::promise<std::function<void()>> held;
  for (const int i : {0, 1}) {
    nodes_[i].Listen();
    nodes_[i].Serve();
    nodes_[i].Find({nodes_[i].address()}, 1);
    clusters[i] = nodes_[i].WaitFound().cluster_id();
    nodes_[i].node().on_join = [&, i](const auto& request, const auto& answer) {
      LinkNode::JoinResponse response;
      response.set_cluster_id(clusters[i]);
      response.set_node(4);
      response.set_incarnation(request.node().incarnation());
      response.add_members(nodes_[i].address());
      if (i == 1) return answer(response);
      held.set_value([answer, response] { answer(response); });
    };
  }
  FindingNode fourth(4);
  fourth.Listen();
  fourth.Serve();
  fourth.Find({}, 0);
  ASSERT_TRUE(fourth.LookAt({nodes_[0].address()}).ok());
  const std::function<void()> admit = held.get_future().get();
  ASSERT_TRUE(fourth.LookAt({nodes_[1].address()}).ok());
  admit();
  EXPECT_EQ(fourth.WaitFound().cluster_id(), clusters[1]);
}

}  // namespace
}  // namespace cluster
