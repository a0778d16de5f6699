#include "broker/transport/poller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/broker/transport/descriptor_limit.h"
#include "tests/broker/transport/sockets.h"

namespace broker {
namespace {

using testing::ElementsAre;

struct Connection {
  explicit Connection(std::string its_name) : name(std::move(its_name)) {
    auto [ours, theirs] = MakePair();
    fd = ours;
    peer = std::move(theirs);
  }
  ~Connection() { close(fd); }

  std::string name;
  int fd;
  Peer peer;
};

class PollerTest : public testing::Test, protected Poller::Handler {
 protected:
  PollerTest() : poller_(*Poller::Create(*this)) {}

  void OnTurn() override { ++turns_; }
  void OnEvents(void* target, uint32_t events) override {
    Connection& connection = *static_cast<Connection*>(target);
    seen_.push_back(connection.name + ((events & EPOLLIN) != 0 ? " in" : "") +
                    ((events & EPOLLOUT) != 0 ? " out" : "") +
                    ((events & EPOLLRDHUP) != 0 ? " rdhup" : ""));
    if (on_events_) on_events_(connection);
  }
  bool OnEndOfRound() override {
    ++rounds_;
    return on_end_of_round_ ? on_end_of_round_() : false;
  }
  bool OnSleep() override {
    ++sleeps_;
    return on_sleep_ ? on_sleep_() : true;
  }

  void Add(Connection& connection) {
    ASSERT_TRUE(poller_->Add(connection.fd, &connection).ok());
    Settle();
    seen_.clear();
  }
  // Runs all that is ready.
  void Settle() {
    for (size_t before = SIZE_MAX; poller_->RunOne(false) || seen_.size() != before;)
      before = seen_.size();
  }

  std::unique_ptr<Poller> poller_;
  int turns_ = 0, rounds_ = 0, sleeps_ = 0;
  std::vector<std::string> seen_;
  std::function<void(Connection&)> on_events_;
  std::function<bool()> on_end_of_round_;
  std::function<bool()> on_sleep_;
};

TEST_F(PollerTest, TheFirstEventTellsWhatIsReadyAlready) {
  Connection a("a");
  a.peer.Send("x");
  ASSERT_TRUE(poller_->Add(a.fd, &a).ok());
  Settle();
  EXPECT_THAT(seen_, ElementsAre("a in out"));
}

TEST_F(PollerTest, EachArrivalIsAnEdgeAndTheEndIsToo) {
  Connection a("a");
  Add(a);
  a.peer.Send("x");
  Settle();
  EXPECT_EQ(seen_.size(), 1u);
  Settle();
  EXPECT_EQ(seen_.size(), 1u) << "nothing new came";
  a.peer.Send("y");
  Settle();
  EXPECT_EQ(seen_.size(), 2u);
  a.peer.FinishSending();
  Settle();
  ASSERT_EQ(seen_.size(), 3u);
  EXPECT_THAT(seen_[2], testing::HasSubstr("rdhup"));
}

TEST_F(PollerTest, WhoHasMoreToDoGetsAnotherRoundInTheSameTurn) {
  Settle();
  int more = 3;
  on_end_of_round_ = [&] { return more-- > 0; };
  const int rounds = rounds_;
  const int turns = turns_;
  EXPECT_FALSE(poller_->RunOne(false));
  EXPECT_EQ(rounds_ - rounds, 4);
  EXPECT_EQ(turns_ - turns, 1);
  EXPECT_EQ(sleeps_, turns_);
}

TEST_F(PollerTest, EndlessRoundsLeaveAsioItsShare) {
  Settle();
  on_end_of_round_ = [] { return true; };
  bool posted = false;
  boost::asio::post(poller_->context(), [&] { posted = true; });
  poller_->LookAtAsio();
  const int rounds = rounds_;
  EXPECT_TRUE(poller_->RunOne(true)) << "and the next turn does not wait";
  EXPECT_TRUE(posted);
  EXPECT_EQ(rounds_ - rounds, Poller::kRoundsMax);
  on_end_of_round_ = nullptr;
  Settle();
}

TEST_F(PollerTest, AsiosEndlessHandlersLeaveConnectionsTheirShare) {
  Connection a("a");
  Add(a);
  int handlers = 0;
  std::function<void()> again = [&] {
    ++handlers;
    boost::asio::post(poller_->context(), again);
  };
  again();
  poller_->LookAtAsio();
  a.peer.Send("x");
  EXPECT_TRUE(poller_->RunOne(true)) << "Asio has more";
  EXPECT_THAT(seen_, ElementsAre("a in out"));
  EXPECT_EQ(handlers, 1 + 1);
}

// Asio waits for input on a descriptor.
struct AsiosWait {
  explicit AsiosWait(Poller& poller) : waiting(poller.context()) {
    auto [ours, theirs] = MakePair();
    waiting.assign(ours);
    peer = std::move(theirs);
    EXPECT_TRUE(poller.WatchForAsio(ours).ok());
    waiting.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                       [this](const boost::system::error_code& error) { came = !error; });
    poller.LookAtAsio();
  }

  boost::asio::posix::stream_descriptor waiting;
  Peer peer;
  bool came = false;
};

TEST_F(PollerTest, ADescriptorOfAsiosEndsTheWait) {
  AsiosWait wait(*poller_);
  Settle();
  ASSERT_FALSE(wait.came);
  wait.peer.Send("x");
  while (!wait.came) poller_->RunOne(true);
}

TEST_F(PollerTest, ADescriptorOfAsiosIsNoReasonWhileItIsNotWatched) {
  AsiosWait wait(*poller_);
  Settle();
  poller_->SetWatched(wait.waiting.native_handle(), false);
  wait.peer.Send("x");
  Settle();
  EXPECT_FALSE(wait.came);
  poller_->SetWatched(wait.waiting.native_handle(), true);
  while (!wait.came) poller_->RunOne(true);
}

TEST_F(PollerTest, ATimerEndsTheWaitAndFiresOnceInATurn) {
  Settle();
  Timer timer(*poller_);
  EXPECT_EQ(timer.due(), Timer::Clock::time_point::max());
  const auto due = Timer::Clock::now() + std::chrono::microseconds(1500);
  int fired = 0;
  const int turns = turns_;
  timer.Start(due, [&] {
    ++fired;
    EXPECT_GE(Timer::Clock::now(), due);
    EXPECT_GT(turns_, turns);
  });
  EXPECT_EQ(timer.due(), due);
  while (fired == 0) poller_->RunOne(true);
  EXPECT_EQ(timer.due(), Timer::Clock::time_point::max());
  Settle();
  EXPECT_EQ(fired, 1);
}

TEST_F(PollerTest, ATimerThatIsStartedAgainOrCancelledDoesNotFireForTheFirstTime) {
  Timer first(*poller_);
  Timer second(*poller_);
  Timer last(*poller_);
  std::vector<std::string> fired;
  const auto now = Timer::Clock::now();
  first.Start(now, [&] { fired.push_back("too early"); });
  first.Start(now + std::chrono::milliseconds(2), [&] { fired.push_back("first"); });
  second.Start(now, [&] { fired.push_back("cancelled"); });
  second.Cancel();
  bool done = false;
  last.Start(now + std::chrono::milliseconds(3), [&] { done = true; });
  while (!done) poller_->RunOne(true);
  EXPECT_THAT(fired, ElementsAre("first"));
}

TEST_F(PollerTest, ATimerMayBeStartedByItself) {
  Timer timer(*poller_);
  int fired = 0;
  std::function<void()> fire = [&] {
    if (++fired < 5) timer.Start(Timer::Clock::now(), fire);
  };
  timer.Start(Timer::Clock::now(), fire);
  while (fired < 5) poller_->RunOne(true);
  EXPECT_EQ(timer.due(), Timer::Clock::time_point::max());
}

TEST_F(PollerTest, WhatAsioStillHoldsMayOwnTimers) {
  auto timer = std::make_shared<Timer>(*poller_);
  const std::weak_ptr<Timer> seen = timer;
  boost::asio::post(poller_->context(), [timer] { FAIL(); });
  timer.reset();
  EXPECT_FALSE(seen.expired());
  poller_.reset();
  EXPECT_TRUE(seen.expired());
}

TEST_F(PollerTest, ATimerMayEndAnother) {
  auto first = std::make_unique<Timer>(*poller_);
  auto second = std::make_unique<Timer>(*poller_);
  Timer last(*poller_);
  int fired = 0;
  const auto now = Timer::Clock::now();
  first->Start(now, [&] { ++fired, second.reset(); });
  second->Start(now, [&] { ++fired, first.reset(); });
  last.Start(now, [&] { fired += 10; });
  while (fired < 10) poller_->RunOne(true);
  EXPECT_EQ(fired, 11);
}

TEST_F(PollerTest, ARemovedTargetHasNoMoreEventsInTheSameRound) {
  auto a = std::make_unique<Connection>("a");
  auto b = std::make_unique<Connection>("b");
  Add(*a);
  Add(*b);
  on_events_ = [&](Connection& target) {  // Whoever comes first removes and frees the other.
    auto& other = target.name == "a" ? b : a;
    if (other == nullptr) return;
    poller_->Remove(other->fd, other.get());
    other.reset();
  };
  a->peer.Send("x");
  b->peer.Send("x");
  Settle();
  EXPECT_EQ(seen_.size(), 1u);
}

TEST_F(PollerTest, ARefusedSleepIsAnotherTurn) {
  Settle();
  int refusals = 2;
  on_sleep_ = [&] { return refusals-- <= 0; };
  const int turns = turns_;
  EXPECT_TRUE(poller_->RunOne(false));
  EXPECT_TRUE(poller_->RunOne(true)) << "and it did not wait";
  EXPECT_FALSE(poller_->RunOne(true));
  EXPECT_EQ(turns_ - turns, 3);
}

TEST_F(PollerTest, WakeEndsTheWaitOfAnotherThreadEachTime) {
  Settle();
  for (int i = 0; i < 100; ++i) {
    const int turns = turns_;
    std::thread other([&] { poller_->Wake(); });
    poller_->RunOne(true);  // Blocks for good if a wake-up is lost.
    other.join();
    EXPECT_GT(turns_, turns);
  }
}

TEST_F(PollerTest, MoreEventsThanARoundTakesAreAllHandled) {
  constexpr size_t kConnections = 2 * Poller::kEventsMax + 2;
  std::vector<std::unique_ptr<Connection>> connections;
  for (size_t i = 0; i < kConnections; ++i) {
    connections.push_back(std::make_unique<Connection>(std::to_string(i)));
    Add(*connections.back());
  }
  const int rounds = rounds_;
  for (const auto& connection : connections) connection->peer.Send("x");
  poller_->RunOne(true);
  EXPECT_EQ(rounds_ - rounds, 3);
  EXPECT_EQ(seen_.size(), kConnections);
  // Each event makes one more elsewhere, far beyond the rounds of one turn.
  size_t left = 50 * kConnections;
  on_events_ = [&](Connection&) {
    if (left > 0) connections[--left % kConnections]->peer.Send("x");
  };
  for (const auto& connection : connections) connection->peer.Send("x");
  poller_->RunOne(true);
  EXPECT_EQ(rounds_ - rounds, 3 + Poller::kRoundsMax);
  Settle();
  EXPECT_EQ(left, 0u);
}

// At each of the descriptors it needs.
TEST_F(PollerTest, WithoutDescriptorsItIsNotMadeAndSaysWhy) {
#ifdef __SANITIZE_ADDRESS__
  GTEST_SKIP() << "UBSan, which comes with it, opens pipes to look at objects";
#endif
  const int lowest_free = dup(0);
  close(lowest_free);
  int refused = 0;
  for (int more = 0;; ++more) {
    const DescriptorLimit limit(static_cast<rlim_t>(lowest_free + more));
    const auto poller = Poller::Create(*this);
    if (poller.ok()) break;
    ++refused;
    EXPECT_EQ(poller.status().code(), absl::StatusCode::kResourceExhausted);
    EXPECT_THAT(std::string(poller.status().message()),
                testing::MatchesRegex("cannot watch connections: Too many open files.*"));
  }
  EXPECT_GE(refused, 4);
}

TEST_F(PollerTest, StopEndsTheLoopAfterTheEventInProgress) {
  Connection a("a");
  Connection b("b");
  Add(a);
  Add(b);
  on_events_ = [&](Connection&) { poller_->Stop(); };
  a.peer.Send("x");
  b.peer.Send("x");
  poller_->Run();
  EXPECT_EQ(seen_.size(), 1u);
}

}  // namespace
}  // namespace broker
