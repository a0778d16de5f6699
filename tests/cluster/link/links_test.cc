// Links between nodes of one process, over real sockets.
#include "cluster/link/links.h"

#include <grpcpp/create_channel.h>

#include <cstdio>
#include <memory>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cluster/link/calls.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/cluster/link/link_node.h"
#include "tests/cluster/link/silent_proxy.h"

namespace cluster {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

std::vector<std::string> Numbers(size_t count) {
  std::vector<std::string> items;
  for (size_t i = 0; i < count; ++i) items.push_back(absl::StrCat("item ", i));
  return items;
}

const LinkClassMetrics& Metrics(const PeerReport& report, LinkClass link_class) {
  return report.metrics->classes[static_cast<size_t>(link_class)];
}

// A report that says so.
auto Says(const std::string& words) {
  return [words](const PeerReport& report) { return absl::StrContains(report.why, words); };
}

// How many "item N" it takes until it is full.
size_t SendUntilFull(LinkNode& from, NodeId to, bool more) {
  size_t sent = 0;
  while (from.links().Send(to, LinkClass::kTraffic, absl::StrCat("item ", sent), more) ==
         LinkSend::kQueued)
    ++sent;
  return sent;
}

LinkOptions Narrow() {
  LinkOptions options;
  for (LinkCredit::Amount& limit : options.limits) limit = {.items = 100, .bytes = 1 << 20};
  return options;
}

TEST(Links, ThreeNodesHearEachOtherInEachClass) {
  LinkNode a(1);
  LinkNode b(2);
  LinkNode c(3);
  LinkNode::Introduce({&a, &b, &c});
  for (LinkNode* const from : {&a, &b, &c}) {
    for (LinkNode* const to : {&a, &b, &c}) {
      if (from == to) continue;
      ASSERT_TRUE(from->WaitUp(to->id()));
      for (const LinkClass link_class :
           {LinkClass::kControl, LinkClass::kLog, LinkClass::kTraffic, LinkClass::kBulk}) {
        const std::string item = absl::StrCat("hello from ", from->id().value());
        ASSERT_EQ(from->links().Send(to->id(), link_class, item), LinkSend::kQueued);
        EXPECT_THAT(to->WaitItems(from->id(), link_class, 1), ElementsAre(item));
      }
    }
  }
  EXPECT_EQ(a.links().Send(NodeId(9), LinkClass::kControl, "x"), LinkSend::kDown);
}

TEST(Links, ManyItemsComeInOrderAndManyInOneFrame) {
  LinkNode a(1);
  LinkNode b(2);
  LinkNode::Introduce({&a, &b});
  ASSERT_TRUE(a.WaitUp(b.id()));
  const auto items = Numbers(100'000);
  EXPECT_TRUE(a.SendAll(b.id(), LinkClass::kTraffic, items));
  EXPECT_EQ(b.WaitItems(a.id(), LinkClass::kTraffic, items.size()), items);
  const PeerReport report = a.Report(b.id());
  const LinkClassMetrics& traffic = Metrics(report, LinkClass::kTraffic);
  EXPECT_EQ(traffic.items_sent.value(), items.size());
  EXPECT_LT(traffic.frames_sent.value(), items.size() / 4);
  std::printf("%lu items in %lu frames\n", traffic.items_sent.value(), traffic.frames_sent.value());
}

TEST(Links, ItemsThatFollowEachOtherGoInOneFrame) {
  LinkNode a(1);
  LinkNode b(2);
  LinkNode::Introduce({&a, &b});
  ASSERT_TRUE(a.WaitUp(b.id()));
  const auto items = Numbers(10);
  for (size_t i = 0; i < items.size(); ++i)
    EXPECT_EQ(a.links().Send(b.id(), LinkClass::kLog, items[i], i + 1 < items.size()),
              LinkSend::kQueued);
  EXPECT_EQ(b.WaitItems(a.id(), LinkClass::kLog, items.size()), items);
  const PeerReport report = a.Report(b.id());
  EXPECT_EQ(Metrics(report, LinkClass::kLog).frames_sent.value(), 1u);
}

// Those before it are not kept back with it.
TEST(Links, ItemsBeforeOneThatIsNotTakenGo) {
  LinkOptions options = Narrow();
  options.item_bytes_max = 100;
  LinkNode a(1, options);
  LinkNode b(2, Narrow());
  LinkNode::Introduce({&a, &b});
  ASSERT_TRUE(a.WaitUp(b.id()));
  EXPECT_EQ(a.links().Send(b.id(), LinkClass::kLog, "small", /*more=*/true), LinkSend::kQueued);
  EXPECT_EQ(a.links().Send(b.id(), LinkClass::kLog, std::string(101, 'x')), LinkSend::kTooLarge);
  EXPECT_THAT(b.WaitItems(a.id(), LinkClass::kLog, 1), ElementsAre("small"));
}

TEST(Links, ItemsBeforeAFullStreamGo) {
  LinkNode a(1, Narrow());
  LinkNode b(2, Narrow());
  LinkNode::Introduce({&a, &b});
  ASSERT_TRUE(a.WaitUp(b.id()));
  b.SetTaking(false);
  const size_t sent = SendUntilFull(a, b.id(), /*more=*/true);
  EXPECT_EQ(b.WaitItems(a.id(), LinkClass::kTraffic, sent), Numbers(sent));
}

// More than once around the credit, in several classes and both directions at a time.
TEST(Links, ClassesAndDirectionsGoOnBesideEachOther) {
  LinkNode a(1, Narrow());
  LinkNode b(2, Narrow());
  LinkNode::Introduce({&a, &b});
  ASSERT_TRUE(a.WaitUp(b.id()));
  ASSERT_TRUE(b.WaitUp(a.id()));
  const auto items = Numbers(5'000);
  std::thread bulk([&] { EXPECT_TRUE(a.SendAll(b.id(), LinkClass::kBulk, items)); });
  std::thread back([&] { EXPECT_TRUE(b.SendAll(a.id(), LinkClass::kTraffic, items)); });
  EXPECT_TRUE(a.SendAll(b.id(), LinkClass::kTraffic, items));
  bulk.join();
  back.join();
  EXPECT_EQ(b.WaitItems(a.id(), LinkClass::kTraffic, items.size()), items);
  EXPECT_EQ(b.WaitItems(a.id(), LinkClass::kBulk, items.size()), items);
  EXPECT_EQ(a.WaitItems(b.id(), LinkClass::kTraffic, items.size()), items);
}

TEST(Links, AReaderThatDoesNotTakeStopsWhoSendsAndNothingIsLost) {
  LinkNode a(1, Narrow());
  LinkNode b(2, Narrow());
  LinkNode::Introduce({&a, &b});
  ASSERT_TRUE(a.WaitUp(b.id()));
  b.SetTaking(false);
  EXPECT_EQ(SendUntilFull(a, b.id(), /*more=*/false), 100u);
  EXPECT_TRUE(a.links().IsFull(b.id(), LinkClass::kTraffic));
  EXPECT_EQ(a.links().Send(b.id(), LinkClass::kTraffic, "x"), LinkSend::kFull);
  EXPECT_THAT(b.WaitItems(a.id(), LinkClass::kTraffic, 100), SizeIs(100));
  EXPECT_EQ(a.rooms(), 0);
  // What is urgent is not behind it.
  EXPECT_EQ(a.links().Send(b.id(), LinkClass::kControl, "urgent"), LinkSend::kQueued);
  EXPECT_THAT(b.WaitItems(a.id(), LinkClass::kControl, 1), ElementsAre("urgent"));
  b.SetTaking(true);
  ASSERT_TRUE(a.WaitRooms(1));
  EXPECT_EQ(a.links().Send(b.id(), LinkClass::kTraffic, "item 100"), LinkSend::kQueued);
  EXPECT_EQ(b.WaitItems(a.id(), LinkClass::kTraffic, 101), Numbers(101));
  EXPECT_TRUE(a.IsUp(b.id()));
}

TEST(Links, WhatRaftSendsAgainIsDroppedWhenItIsTooMuch) {
  LinkNode a(1, Narrow());
  LinkNode b(2, Narrow());
  LinkNode::Introduce({&a, &b});
  ASSERT_TRUE(a.WaitUp(b.id()));
  b.SetTaking(false);
  for (int i = 0; i < 100; ++i)
    ASSERT_EQ(a.links().Send(b.id(), LinkClass::kLog, "entry"), LinkSend::kQueued);
  for (int i = 0; i < 10; ++i)
    ASSERT_EQ(a.links().Send(b.id(), LinkClass::kLog, "entry"), LinkSend::kDropped);
  EXPECT_EQ(Metrics(a.Report(b.id()), LinkClass::kLog).items_dropped.value(), 10u);
  b.SetTaking(true);
}

TEST(Links, AnItemThatIsTooLargeIsNotTakenAndTheLargestIs) {
  LinkOptions options;
  options.item_bytes_max = 3 << 20;
  LinkNode a(1, options);
  LinkNode b(2, options);
  LinkNode::Introduce({&a, &b});
  ASSERT_TRUE(a.WaitUp(b.id()));
  EXPECT_EQ(a.links().Send(b.id(), LinkClass::kTraffic, std::string((3 << 20) + 1, 'x')),
            LinkSend::kTooLarge);
  const std::string largest(3 << 20, 'y');
  ASSERT_EQ(a.links().Send(b.id(), LinkClass::kTraffic, "small"), LinkSend::kQueued);
  ASSERT_EQ(a.links().Send(b.id(), LinkClass::kTraffic, largest), LinkSend::kQueued);
  EXPECT_THAT(b.WaitItems(a.id(), LinkClass::kTraffic, 2), ElementsAre("small", largest));
}

TEST(Links, ANodeThatGoesAndComesBackIsConnectedAgain) {
  LinkNode a(1);
  auto b = std::make_unique<LinkNode>(2);
  LinkNode::Introduce({&a, b.get()});
  ASSERT_TRUE(a.WaitUp(NodeId(2)));
  ASSERT_TRUE(b->WaitUp(NodeId(1)));
  const std::string address = b->address();
  b.reset();
  ASSERT_TRUE(a.WaitDown(NodeId(2)));
  EXPECT_EQ(a.links().Send(NodeId(2), LinkClass::kTraffic, "x"), LinkSend::kDown);
  ASSERT_TRUE(a.WaitReport(NodeId(2), Says("nothing listens there")));
  b = std::make_unique<LinkNode>(2);
  LinkNode::Introduce({&a, b.get()});
  ASSERT_TRUE(a.WaitTimesUp(2));
  ASSERT_EQ(a.links().Send(NodeId(2), LinkClass::kTraffic, "again"), LinkSend::kQueued);
  EXPECT_THAT(b->WaitItems(NodeId(1), LinkClass::kTraffic, 1), ElementsAre("again"));
  EXPECT_EQ(a.Report(NodeId(2)).metrics->disconnected.value(), 1u);
}

TEST(Links, ANodeThatCallsIsTriedAtOnce) {
  LinkOptions patient;
  patient.retry_first = patient.retry_most = absl::Hours(1);
  LinkNode a(1, patient);
  std::string address;
  {
    LinkNode gone(2);
    LinkNode::Introduce({&gone, &a});
    ASSERT_TRUE(a.WaitUp(NodeId(2)));
    address = gone.address();
  }
  ASSERT_TRUE(a.WaitDown(NodeId(2)));
  LinkNode b(2, {}, address);
  LinkNode::Introduce({&b, &a});
  EXPECT_TRUE(a.WaitUp(NodeId(2)));
}

// A name that leads nowhere yet, or to where the node was before: it has called, so it is there.
TEST(Links, ANodeWhoseNameLeadsElsewhereIsReachedWhereItCallsFrom) {
  LinkNode a(1);
  LinkNode b(2, {}, "127.0.0.1");  // From where it calls, too.
  LinkNode::Introduce({&b, &a});
  const std::string port = b.address().substr(b.address().rfind(':'));
  a.links().SetPeers({{NodeId(2), "b.invalid" + port}});
  b.links().SetPeers({});
  b.links().SetPeers({{NodeId(1), a.address()}});
  ASSERT_TRUE(a.WaitUp(NodeId(2)));
  ASSERT_EQ(a.links().Send(NodeId(2), LinkClass::kTraffic, "there"), LinkSend::kQueued);
  EXPECT_THAT(b.WaitItems(NodeId(1), LinkClass::kTraffic, 1), ElementsAre("there"));
  EXPECT_EQ(a.Report(NodeId(2)).address, "b.invalid" + port);
}

// A node that stands still, or a network that drops everything: no connection ends by that.
TEST(Links, ANodeThatFallsSilentIsDownAndUpAgainWhenItIsHeard) {
  LinkOptions options;
  options.heartbeat = absl::Milliseconds(50);
  options.silence_max = absl::Milliseconds(300) * support::TestSlowdown();
  options.connect_within = absl::Milliseconds(300) * support::TestSlowdown();
  LinkNode a(1, options);
  LinkNode b(2, options);
  SilentProxy network(b.address());
  LinkNode::Introduce({&a, &b}, {{b.id(), network.address()}});
  ASSERT_TRUE(a.WaitUp(b.id()));
  network.SetSilent(true);
  ASSERT_TRUE(a.WaitDown(b.id()));
  ASSERT_TRUE(a.WaitReport(b.id(), Says("there is no answer")));
  EXPECT_EQ(a.links().Send(b.id(), LinkClass::kTraffic, "x"), LinkSend::kDown);
  EXPECT_TRUE(b.IsUp(a.id()));  // The other direction is another link.
  network.SetSilent(false);
  ASSERT_TRUE(a.WaitUp(b.id()));
  ASSERT_EQ(a.links().Send(b.id(), LinkClass::kTraffic, "again"), LinkSend::kQueued);
  EXPECT_THAT(b.WaitItems(a.id(), LinkClass::kTraffic, 1), ElementsAre("again"));
}

// What is on its way stays bounded while nothing is heard of it, and comes when it is: a pause that
// is shorter than the patience costs nothing but time.
TEST(Links, AShortSilenceLosesNothing) {
  LinkOptions options = Narrow();
  options.silence_max = absl::Seconds(60);
  LinkNode a(1, options);
  LinkNode b(2, options);
  SilentProxy network(b.address());
  LinkNode::Introduce({&a, &b}, {{b.id(), network.address()}});
  ASSERT_TRUE(a.WaitUp(b.id()));
  network.SetSilent(true);
  const auto items = Numbers(1000);
  std::thread sender([&] { EXPECT_TRUE(a.SendAll(b.id(), LinkClass::kTraffic, items)); });
  ASSERT_TRUE(a.WaitReport(b.id(), [](const PeerReport& report) {
    return Metrics(report, LinkClass::kTraffic).times_full.value() > 0;
  }));
  EXPECT_LE(Metrics(a.Report(b.id()), LinkClass::kTraffic).items_sent.value(), 200u);
  network.SetSilent(false);
  sender.join();
  EXPECT_EQ(b.WaitItems(a.id(), LinkClass::kTraffic, items.size()), items);
}

TEST(Links, WhoIsNotWelcomeHearsWhy) {
  LinkNode a(1);
  LinkNode b(2);
  LinkNode::Introduce({&a, &b});
  ASSERT_TRUE(a.WaitUp(b.id()));
  // It hears that this node's life has ended: what is there ends, and what is tried is refused.
  b.door.nodes[a.id()].gone_through = Incarnation(1);
  b.links().SetDoor(b.door);
  ASSERT_TRUE(a.WaitDown(b.id()));
  ASSERT_TRUE(
      a.WaitReport(b.id(), Says("it refuses this node: incarnation 1 of node 1 has ended")));
  EXPECT_TRUE(a.WaitLifeOver(Incarnation(1)));
  // Admitted anew, it is.
  a.door.self.incarnation = Incarnation(2);
  b.door.nodes[a.id()].incarnation = Incarnation(2);
  b.links().SetDoor(b.door);
  a.links().SetDoor(a.door);
  ASSERT_TRUE(a.WaitUp(b.id()));
  EXPECT_GE(b.Report(a.id()).metrics->refused.value(), 1u);
}

TEST(Links, ANodeAtAnothersAddressAndOneOfAnotherClusterAreNotTakenForIt) {
  LinkNode a(1);
  LinkNode b(2);
  LinkNode::Introduce({&a, &b});
  a.door.nodes[NodeId(3)] = {"u3", Incarnation(1), Incarnation(0)};
  a.links().SetDoor(a.door);
  a.links().SetPeers({{NodeId(3), b.address()}});
  ASSERT_TRUE(a.WaitReport(NodeId(3), Says("this is node 2, and node 3 is meant")));
  a.door.cluster_id = "D";
  a.links().SetDoor(a.door);
  a.links().SetPeers({{b.id(), b.address()}});
  ASSERT_TRUE(a.WaitReport(b.id(), Says("belongs to cluster C, and the caller to D")));
}

TEST(Links, ALaterLinkOfANodeEndsTheOneBefore) {
  LinkNode a(1);
  LinkNode b(2);
  LinkNode::Introduce({&a, &b});
  ASSERT_TRUE(a.WaitUp(b.id()));
  ASSERT_TRUE(b.WaitUp(a.id()));
  // The node is started again on another machine, and the process here knows nothing of it.
  LinkNode other(1, {}, "127.0.0.9");
  other.door = a.door;
  other.door.self.incarnation = Incarnation(2);
  other.links().SetDoor(other.door);
  other.links().SetPeers({{b.id(), b.address()}});
  ASSERT_TRUE(other.WaitUp(b.id()));
  ASSERT_TRUE(a.WaitDown(b.id()));
  ASSERT_TRUE(a.WaitReport(b.id(), Says("another link since")));
  EXPECT_TRUE(other.IsUp(b.id()));
}

TEST(Links, RoundTripsAreMeasured) {
  LinkOptions options;
  options.heartbeat = absl::Milliseconds(10);
  LinkNode a(1, options);
  LinkNode b(2, options);
  LinkNode::Introduce({&a, &b});
  ASSERT_TRUE(a.WaitReport(
      b.id(), [](const PeerReport& report) { return report.round_trip > absl::ZeroDuration(); }));
  EXPECT_LT(a.Report(b.id()).round_trip, absl::Seconds(3));
}

// What Meet was answered, or the words of its error.
std::string Meet(LinkNode& from, const std::string& address) {
  base::Mutex mutex;
  base::CondVar changed;
  std::optional<std::string> heard;
  LinkNode::View view;
  view.set_uuid("a");
  from.links().Meet(address, view, absl::Seconds(10) * support::TestSlowdown(), [&](auto answer) {
    base::MutexLock lock(mutex);
    heard = answer.ok() ? answer->uuid() : std::string(answer.status().message());
    changed.SignalAll();
  });
  base::MutexLock lock(mutex);
  while (!heard.has_value()) changed.Wait(mutex);
  return *heard;
}

TEST(Links, NodesThatBelongToNoClusterMeet) {
  LinkNode a(1);
  LinkNode b(2);
  b.on_meet = [](const auto& view, const auto& answer) {
    LinkNode::View mine;
    mine.set_uuid(absl::StrCat(view.uuid(), " met"));
    answer(mine);
  };
  EXPECT_EQ(Meet(a, b.address()), "a met");
  b.on_meet = nullptr;
  EXPECT_EQ(Meet(a, b.address()), "the node does not answer that");
  std::string nobody;
  {
    LinkNode gone(3);
    nobody = gone.address();
  }
  EXPECT_THAT(Meet(a, nobody), HasSubstr("nothing listens there"));
}

// What a call between members is answered, or the words of its error.
class Asked {
 public:
  void Ask(LinkNode& from, NodeId to) {
    LinkNode::AdminRequest request;
    request.set_method("/a/b");
    from.links().Admin(to, request, absl::Minutes(10), [this](auto answer) {
      Set(answer.ok() ? answer->response() : std::string(answer.status().message()));
    });
  }
  void Set(std::string heard) {
    base::MutexLock lock(mutex_);
    heard_ = std::move(heard);
    changed_.SignalAll();
  }
  std::string Wait() {
    base::MutexLock lock(mutex_);
    while (!heard_.has_value()) changed_.Wait(mutex_);
    return *heard_;
  }

 private:
  base::Mutex mutex_;
  base::CondVar changed_;
  std::optional<std::string> heard_;
};

TEST(Links, AMembersCallIsAnswered) {
  LinkNode a(1);
  LinkNode b(2);
  LinkNode::Introduce({&a, &b});
  b.on_admin = [](const auto& request, const auto& answer) {
    LinkNode::AdminResponse response;
    response.set_response(absl::StrCat(request.method(), " of ", request.from().node()));
    answer(response);
  };
  ASSERT_TRUE(a.WaitUp(b.id()));
  Asked first;
  first.Ask(a, b.id());
  EXPECT_EQ(first.Wait(), "/a/b of 1");
  b.on_admin = nullptr;
  Asked second;
  second.Ask(a, b.id());
  EXPECT_EQ(second.Wait(), "the node does not answer that");
  Asked third;
  third.Ask(a, NodeId(9));
  EXPECT_EQ(third.Wait(), "it is no member that this node knows");
}

TEST(Links, ACallOfWhoIsNoMemberIsRefused) {
  LinkNode a(1);
  LinkNode b(2);
  LinkNode::Introduce({&a, &b});
  bool served = false;
  b.on_admin = [&served](const auto&, const auto& answer) {
    served = true;
    answer({});
  };
  LinkNode::AdminRequest request;
  request.set_method("/a/b");
  const auto refusal = [&] {
    Asked asked;
    Calls calls;
    calls.Call(grpc::CreateChannel(b.address(), grpc::InsecureChannelCredentials()),
               "/mqttd.cluster.v1.Link/Admin", request.SerializeAsString(), absl::Minutes(10),
               [&asked](const absl::StatusOr<std::string>& answer) {
                 LinkNode::AdminResponse response;
                 if (answer.ok()) response.ParseFromString(*answer);
                 asked.Set(response.refused());
               });
    return asked.Wait();
  };
  EXPECT_EQ(refusal(), "this node belongs to cluster C, and the caller to none");
  request.mutable_from()->set_cluster_id("C");
  request.mutable_from()->set_node(1);
  request.mutable_from()->set_to_node(2);
  request.mutable_from()->set_version_min(1);
  request.mutable_from()->set_version_max(1);
  request.mutable_from()->set_incarnation(1);
  request.mutable_from()->set_uuid("another");
  EXPECT_THAT(refusal(), HasSubstr("is known here with the data directory u1"));
  EXPECT_FALSE(served);
  request.mutable_from()->set_uuid("u1");
  EXPECT_EQ(refusal(), "");
  EXPECT_TRUE(served);
}

// A node that stands still takes calls: its kernel does. Nobody is to wait until their deadline.
TEST(Links, ACallIsOverWithItsLink) {
  LinkOptions options;
  options.heartbeat = absl::Milliseconds(50) * support::TestSlowdown();
  options.silence_max = absl::Milliseconds(500) * support::TestSlowdown();
  LinkNode a(1, options);
  LinkNode b(2, options);
  SilentProxy network(b.address());
  LinkNode::Introduce({&a, &b}, {{b.id(), network.address()}});
  Asked reached;
  std::vector<std::function<void(const LinkNode::AdminResponse&)>> kept;
  b.on_admin = [&](const auto&, const auto& answer) {
    kept.push_back(answer);
    reached.Set("reached");
  };
  ASSERT_TRUE(a.WaitUp(b.id()));
  Asked asked;
  asked.Ask(a, b.id());
  EXPECT_EQ(reached.Wait(), "reached");
  network.SetSilent(true);
  EXPECT_EQ(asked.Wait(), "the link to it was lost");
  Asked later;
  later.Ask(a, b.id());
  EXPECT_THAT(later.Wait(), HasSubstr("answer"));  // Not any more, or to the next try.
  network.SetSilent(false);
}

TEST(Links, TwoCannotListenAtOnePlace) {
  LinkNode a(1);
  LinkOptions options;
  options.listen = a.address();
  const auto second = Links::Start(options, a, base::RealClock::Get());
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(second.status().message(), HasSubstr("cannot listen for other nodes at 127.0.0.1"));
}

}  // namespace
}  // namespace cluster
