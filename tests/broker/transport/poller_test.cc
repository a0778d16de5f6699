#include "broker/transport/poller.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/broker/transport/sockets.h"

namespace broker {
namespace {

using testing::ElementsAre;

struct Connection : Pollable {
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
  PollerTest() : poller_(*Poller::Create(context_, *this)) {}

  void OnTurn() override { ++turns_; }
  void OnEvents(Pollable& target, uint32_t events) override {
    const std::string& name = static_cast<Connection&>(target).name;
    seen_.push_back(name + ((events & EPOLLIN) != 0 ? " in" : "") +
                    ((events & EPOLLOUT) != 0 ? " out" : "") +
                    ((events & EPOLLRDHUP) != 0 ? " rdhup" : ""));
    if (on_events_) on_events_(static_cast<Connection&>(target));
  }
  void OnEndOfRound() override {
    ++rounds_;
    if (on_end_of_round_) on_end_of_round_();
  }
  bool OnSleep() override {
    ++sleeps_;
    return on_sleep_ ? on_sleep_() : true;
  }

  void Add(Connection& connection) {
    ASSERT_TRUE(poller_->Add(connection.fd, connection).ok());
    Settle();
    seen_.clear();
  }
  // Runs all that is ready.
  void Settle() {
    while (context_.poll() > 0) {
    }
  }

  boost::asio::io_context context_{BOOST_ASIO_CONCURRENCY_HINT_UNSAFE};
  std::unique_ptr<Poller> poller_;
  int turns_ = 0, rounds_ = 0, sleeps_ = 0;
  std::vector<std::string> seen_;
  std::function<void(Connection&)> on_events_;
  std::function<void()> on_end_of_round_;
  std::function<bool()> on_sleep_;
};

TEST_F(PollerTest, TheFirstEventTellsWhatIsReadyAlready) {
  Connection a("a");
  a.peer.Send("x");
  ASSERT_TRUE(poller_->Add(a.fd, a).ok());
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

TEST_F(PollerTest, AVisitAgainComesOnceInTheNextRound) {
  Connection a("a");
  Connection b("b");
  Add(a);
  Add(b);
  int again = 3;
  on_events_ = [&](Connection& target) {
    if (target.name != "a" || again-- <= 0) return;
    poller_->VisitAgain(target);
    poller_->VisitAgain(target);
  };
  const int rounds = rounds_;
  a.peer.Send("x");
  b.peer.Send("x");
  Settle();
  EXPECT_EQ(seen_.size(), 2u + 3u);
  EXPECT_EQ(rounds_ - rounds, 4);
  EXPECT_EQ(sleeps_, turns_);
}

TEST_F(PollerTest, EndlessVisitsLeaveAsioItsShare) {
  Connection a("a");
  Add(a);
  on_events_ = [&](Connection& target) { poller_->VisitAgain(target); };
  poller_->VisitAgain(a);  // From outside a turn: asks for one.
  bool posted = false;
  boost::asio::post(context_, [&] { posted = true; });
  for (int handlers = 0; handlers < 10 && !posted; ++handlers) context_.poll_one();
  EXPECT_TRUE(posted);
  EXPECT_LE(seen_.size(), 10u * Poller::kRoundsMax);
  on_events_ = nullptr;
  Settle();
}

TEST_F(PollerTest, ARemovedTargetHasNoMoreEventsInTheSameRound) {
  auto a = std::make_unique<Connection>("a");
  auto b = std::make_unique<Connection>("b");
  Add(*a);
  Add(*b);
  on_events_ = [&](Connection& target) {  // Whoever comes first removes and frees the other.
    auto& other = target.name == "a" ? b : a;
    if (other == nullptr) return;
    poller_->Remove(other->fd, *other);
    other.reset();
  };
  a->peer.Send("x");
  b->peer.Send("x");
  Settle();
  EXPECT_EQ(seen_.size(), 1u);
}

TEST_F(PollerTest, ARemovedTargetIsNotVisitedAgain) {
  auto a = std::make_unique<Connection>("a");
  auto b = std::make_unique<Connection>("b");
  Add(*a);
  Add(*b);
  on_events_ = [&](Connection& target) {
    on_events_ = nullptr;
    poller_->VisitAgain(target);
    poller_->VisitAgain(*b);
    poller_->Remove(target.fd, target);
  };
  a->peer.Send("x");
  Settle();
  EXPECT_THAT(seen_, ElementsAre("a in out", "b in"));
}

TEST_F(PollerTest, RequestTurnIsOneTurnHoweverOftenAskedFor) {
  Settle();
  const int turns = turns_;
  poller_->RequestTurn();
  poller_->RequestTurn();
  Settle();
  EXPECT_EQ(turns_ - turns, 1);
}

TEST_F(PollerTest, ARefusedSleepIsAnotherTurn) {
  Settle();
  int refusals = 2;
  on_sleep_ = [&] { return refusals-- <= 0; };
  const int turns = turns_;
  poller_->RequestTurn();
  Settle();
  EXPECT_EQ(turns_ - turns, 3);
}

TEST_F(PollerTest, WakeEndsTheWaitOfAnotherThreadEachTime) {
  Settle();
  for (int i = 0; i < 100; ++i) {
    const int turns = turns_;
    std::thread other([&] { poller_->Wake(); });
    while (turns_ == turns) context_.run_one();  // Blocks for good if a wake-up is lost.
    other.join();
    EXPECT_GT(turns_, turns);
  }
}

TEST_F(PollerTest, MoreEventsThanARoundTakesAreAllHandled) {
  std::vector<std::unique_ptr<Connection>> connections;
  for (int i = 0; i < 40; ++i) {
    connections.push_back(std::make_unique<Connection>(std::to_string(i)));
    Add(*connections.back());
  }
  // Each event makes one more elsewhere, far beyond the rounds of one turn.
  int left = 500;
  on_events_ = [&](Connection&) {
    if (left-- > 0) connections[static_cast<size_t>(left) % 40]->peer.Send("x");
  };
  connections[0]->peer.Send("x");
  Settle();
  EXPECT_LE(left, 0);
}

TEST_F(PollerTest, MayBeDestroyedByItsHandler) {
  Connection a("a");
  Add(a);
  on_events_ = [&](Connection&) { poller_.reset(); };
  a.peer.Send("x");
  context_.run();
  EXPECT_EQ(seen_.size(), 1u);
}

}  // namespace
}  // namespace broker
