#include "cluster/core/route_stream.h"

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cluster {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

// A router that has what frames say, and is as strict as the real one.
struct Router {
  RouteView view;
  std::set<std::string> keys;

  RouteView::Result Take(const RouteFrame& frame) {
    const RouteView::Result result = view.OnFrame(frame);
    if (result != RouteView::Result::kOk) return result;
    if (frame.begin) keys.clear();
    for (const RouteDelta& change : frame.changes) {
      const bool changed =
          change.add ? keys.insert(change.key).second : keys.erase(change.key) == 1;
      EXPECT_TRUE(changed) << "told twice: " << change.key;
    }
    return result;
  }
};

void ReadAll(const RouteSource& source, RouteSource::Reader& reader, Router& router) {
  while (const auto frame = source.Next(reader, 64))
    ASSERT_EQ(router.Take(*frame), RouteView::Result::kOk);
}

TEST(RouteKey, IsAHashOfWhatHasNoWildcardAndElseTheText) {
  EXPECT_EQ(RouteKeyOf("a/+"), "ta/+");
  EXPECT_EQ(RouteKeyOf("#"), "t#");
  EXPECT_THAT(RouteKeyOf("a/b"), SizeIs(9));
  EXPECT_NE(RouteKeyOf("a/b"), RouteKeyOf("a/c"));
}

TEST(RouteStream, OnlyTheFirstAndTheLastSessionOfAFilterAreTold) {
  RouteSource source({}, 1);
  EXPECT_TRUE(source.Add("a/+", 1));
  EXPECT_FALSE(source.Add("a/+", 2));
  EXPECT_FALSE(source.Remove("a/+", 3));
  EXPECT_TRUE(source.Remove("a/+", 4));
  EXPECT_EQ(source.keys(), 0u);
}

TEST(RouteStream, AViewIsStaleUntilItHasTheWholeSnapshot) {
  RouteSource source({}, 7);
  for (uint64_t i = 1; i <= 20; ++i) source.Add(absl::StrCat("filter/", i, "/+"), i);
  Router router;
  auto reader = source.ReaderAt(0, 0);
  auto frame = source.Next(reader, 64);
  ASSERT_TRUE(frame.has_value());
  EXPECT_TRUE(frame->begin);
  EXPECT_FALSE(frame->whole);
  router.Take(*frame);
  EXPECT_TRUE(router.view.stale());
  EXPECT_EQ(router.view.number(), 0u);
  ReadAll(source, reader, router);
  EXPECT_FALSE(router.view.stale());
  EXPECT_EQ(router.view.number(), 20u);
  EXPECT_THAT(router.keys, SizeIs(20));
}

TEST(RouteStream, AnEmptySetIsASnapshotToo) {
  RouteSource source({}, 7);
  Router router;
  auto reader = source.ReaderAt(0, 0);
  ReadAll(source, reader, router);
  EXPECT_FALSE(router.view.stale());
}

TEST(RouteStream, WhoComesBackGoesOnWhereItWas) {
  RouteSource source({}, 7);
  source.Add("a/#", 1);
  Router router;
  auto reader = source.ReaderAt(0, 0);
  ReadAll(source, reader, router);
  router.view.OnLost();
  EXPECT_TRUE(router.view.stale());
  source.Add("b/#", 2);
  source.Remove("a/#", 3);
  reader = source.ReaderAt(router.view.life(), router.view.number());
  const auto frame = source.Next(reader, 1000);
  ASSERT_TRUE(frame.has_value());
  EXPECT_FALSE(frame->begin);
  router.Take(*frame);
  EXPECT_FALSE(router.view.stale());
  EXPECT_THAT(router.keys, ElementsAre("tb/#"));
}

TEST(RouteStream, WhoComesBackToAnOriginThatHasNothingNewHearsSo) {
  RouteSource source({}, 7);
  source.Add("a/#", 1);
  Router router;
  auto reader = source.ReaderAt(0, 0);
  ReadAll(source, reader, router);
  router.view.OnLost();
  reader = source.ReaderAt(router.view.life(), router.view.number());
  const auto frame = source.Next(reader, 1000);
  ASSERT_TRUE(frame.has_value());
  router.Take(*frame);
  EXPECT_FALSE(router.view.stale());
  EXPECT_THAT(router.keys, ElementsAre("ta/#"));
  EXPECT_FALSE(source.Next(reader, 1000).has_value()) << "once";
}

// What others were told of meanwhile it must not miss.
TEST(RouteStream, WhoComesBackIsStaleUntilItHasCaughtUp) {
  RouteSource source({}, 7);
  Router router;
  auto reader = source.ReaderAt(0, 0);
  ReadAll(source, reader, router);
  router.view.OnLost();
  for (uint64_t i = 1; i <= 20; ++i) source.Add(absl::StrCat("filter/", i, "/+"), i);
  reader = source.ReaderAt(router.view.life(), router.view.number());
  router.Take(*source.Next(reader, 64));
  EXPECT_TRUE(router.view.stale());
  ReadAll(source, reader, router);
  EXPECT_FALSE(router.view.stale());
  // From then on it may be behind: nobody is told that it is not.
  for (uint64_t i = 21; i <= 40; ++i) source.Add(absl::StrCat("filter/", i, "/+"), i);
  router.Take(*source.Next(reader, 64));
  EXPECT_FALSE(router.view.stale());
  EXPECT_LT(router.view.number(), 40u);
}

TEST(RouteStream, AnotherReplicaOfThePartitionGoesOnWithIt) {
  RouteSource leader({}, 1);
  RouteSource follower({}, 1);
  for (RouteSource* const source : {&leader, &follower}) {
    source->Add("a/#", 10);
    source->Add("b/#", 12);
  }
  leader.Advance(15);
  Router router;
  auto reader = leader.ReaderAt(0, 0);
  ReadAll(leader, reader, router);
  EXPECT_EQ(router.view.number(), 15u);
  router.view.OnLost();
  // It has applied less as yet.
  reader = follower.ReaderAt(router.view.life(), router.view.number());
  EXPECT_FALSE(follower.Next(reader, 1000).has_value());
  follower.Remove("a/#", 17);
  ReadAll(follower, reader, router);
  EXPECT_EQ(router.view.number(), 17u);
  EXPECT_THAT(router.keys, ElementsAre("tb/#"));
}

TEST(RouteStream, WhoLagsTooFarGetsASnapshotAndMemoryIsBounded) {
  RouteSource source({.kept_changes_max = 10}, 7);
  Router router;
  auto reader = source.ReaderAt(0, 0);
  ReadAll(source, reader, router);
  for (uint64_t i = 1; i <= 100; ++i) source.Add(absl::StrCat(i, "/#"), i);
  const auto frame = source.Next(reader, 1 << 20);
  ASSERT_TRUE(frame.has_value());
  EXPECT_TRUE(frame->begin);
  router.Take(*frame);
  EXPECT_THAT(router.keys, SizeIs(100));
}

TEST(RouteStream, AFrameThatIsMissingIsNoticed) {
  RouteSource source({}, 7);
  Router router;
  auto reader = source.ReaderAt(0, 0);
  ReadAll(source, reader, router);
  source.Add("a/#", 1);
  (void)source.Next(reader, 1000);  // Lost.
  source.Add("b/#", 2);
  const auto frame = source.Next(reader, 1000);
  ASSERT_TRUE(frame.has_value());
  EXPECT_EQ(router.Take(*frame), RouteView::Result::kGap);
  EXPECT_TRUE(router.view.stale());
  EXPECT_THAT(router.keys, IsEmpty());
  reader = source.ReaderAt(router.view.life(), router.view.number());
  ReadAll(source, reader, router);
  EXPECT_THAT(router.keys, SizeIs(2));
}

TEST(RouteStream, AnotherLifeOfTheOriginBeginsAnew) {
  RouteSource former({}, 7);
  former.Add("a/#", 1);
  Router router;
  auto reader = former.ReaderAt(0, 0);
  ReadAll(former, reader, router);
  RouteSource source({}, 8);
  source.Add("b/#", 1);
  reader = source.ReaderAt(router.view.life(), router.view.number());
  ReadAll(source, reader, router);
  EXPECT_THAT(router.keys, ElementsAre("tb/#"));
}

TEST(RouteStream, EverybodyHasConfirmedWhatTheSlowestHas) {
  RouteConfirmations confirmations;
  EXPECT_EQ(confirmations.ByAll(), UINT64_MAX);
  confirmations.Join(1);
  confirmations.Join(2);
  confirmations.Confirm(1, 10);
  EXPECT_EQ(confirmations.ByAll(), 0u);
  confirmations.Confirm(2, 7);
  confirmations.Confirm(2, 5);
  confirmations.Confirm(3, 1);  // It is not there.
  EXPECT_EQ(confirmations.ByAll(), 7u);
  confirmations.Leave(2);
  EXPECT_EQ(confirmations.ByAll(), 10u);
}

// Sessions come and go, frames go one by one, links break with what is under way: whoever is not
// stale has exactly the origin's set as of its number.
TEST(RouteStream, RandomChangesAndBrokenLinksEndInTheSameSet) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    base::Rng rng(seed);
    auto source =
        std::make_unique<RouteSource>(RouteStreamOptions{.kept_changes_max = 1 + rng.Below(30)}, 1);
    uint64_t life = 1;
    uint64_t number = 0;
    std::map<std::string, int> sessions;
    std::map<uint64_t, std::set<std::string>> truth;  // By number, of this life.
    const auto note = [&] {
      std::set<std::string> keys;
      for (const auto& [filter, count] : sessions) {
        if (count > 0) keys.insert(RouteKeyOf(filter));
      }
      truth[number] = std::move(keys);
    };
    note();
    Router router;
    auto reader = source->ReaderAt(0, 0);
    std::deque<RouteFrame> under_way;
    for (int step = 0; step < 400; ++step) {
      const std::string filter = absl::StrCat("f", rng.Below(25), rng.Chance(0.5) ? "/+" : "");
      const uint64_t what = rng.Below(100);
      if (what < 30) {
        source->Add(filter, ++number);
        ++sessions[filter];
        note();
      } else if (what < 55) {
        if (sessions[filter] == 0) continue;
        source->Remove(filter, ++number);
        --sessions[filter];
        note();
      } else if (what < 75) {
        if (auto frame = source->Next(reader, rng.Below(80)))
          under_way.push_back(std::move(*frame));
      } else if (what < 95) {
        if (under_way.empty()) continue;
        ASSERT_EQ(router.Take(under_way.front()), RouteView::Result::kOk);
        under_way.pop_front();
      } else if (what < 98) {
        under_way.clear();
        router.view.OnLost();
        reader = source->ReaderAt(router.view.life(), router.view.number());
      } else {
        source = std::make_unique<RouteSource>(RouteStreamOptions{.kept_changes_max = 20}, ++life);
        sessions.clear();
        truth.clear();
        number = 0;
        note();
        under_way.clear();
        router.view.OnLost();
        reader = source->ReaderAt(router.view.life(), router.view.number());
      }
      if (!router.view.stale() && router.view.life() == life) {
        ASSERT_EQ(router.keys, truth.at(router.view.number()));
      }
    }
    for (const RouteFrame& frame : under_way) ASSERT_EQ(router.Take(frame), RouteView::Result::kOk);
    ReadAll(*source, reader, router);
    ASSERT_FALSE(router.view.stale());
    ASSERT_EQ(router.keys, truth.at(number));
  }
}

}  // namespace
}  // namespace cluster
