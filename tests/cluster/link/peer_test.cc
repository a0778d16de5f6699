#include "cluster/link/peer.h"

#include "gtest/gtest.h"

namespace cluster {
namespace {

using Phase = PeerState::Phase;
using Wish = PeerState::Wish;

constexpr NodeLife kLife{NodeId(2), Incarnation(1)};
absl::Duration At(double seconds) { return absl::Seconds(50) + absl::Seconds(seconds); }

void Welcome(PeerState& peer, absl::Duration now) {
  for (size_t i = 1; i < kLinkClasses; ++i) EXPECT_FALSE(peer.OnWelcome(kLife, now));
  EXPECT_TRUE(peer.OnWelcome(kLife, now));
}

TEST(PeerState, IsUpWhenAllItsStreamsAreWelcome) {
  const LinkOptions options;
  PeerState peer(options, base::Rng(1));
  EXPECT_EQ(peer.Look(At(0)), Wish::kConnect);
  EXPECT_EQ(peer.Look(At(0)), Wish::kNothing);
  Welcome(peer, At(1));
  EXPECT_EQ(peer.phase(), Phase::kUp);
  EXPECT_EQ(peer.life(), kLife);
  EXPECT_EQ(peer.Look(At(1)), Wish::kPing);
  EXPECT_EQ(peer.Look(At(1.4)), Wish::kNothing);
  EXPECT_EQ(peer.next_look(), At(1.5));
  peer.OnPong(At(1), At(1.2));
  EXPECT_EQ(peer.round_trip(), absl::Milliseconds(200));
}

TEST(PeerState, GivesUpWhoDoesNotAnswer) {
  const LinkOptions options;
  PeerState peer(options, base::Rng(1));
  EXPECT_EQ(peer.Look(At(0)), Wish::kConnect);
  EXPECT_EQ(peer.Look(At(2.9)), Wish::kNothing);
  EXPECT_EQ(peer.Look(At(3)), Wish::kGiveUp);
  EXPECT_EQ(peer.why(), "there is no answer");
  EXPECT_EQ(peer.Look(At(4)), Wish::kConnect);
  Welcome(peer, At(4));
  EXPECT_EQ(peer.Look(At(4)), Wish::kPing);
  EXPECT_EQ(peer.Look(At(6.9)), Wish::kPing);
  EXPECT_EQ(peer.Look(At(7)), Wish::kGiveUp);
  EXPECT_EQ(peer.life(), NodeLife{});
}

TEST(PeerState, TriesAgainSoonAndThenLessOften) {
  const LinkOptions options;
  PeerState peer(options, base::Rng(1));
  absl::Duration now = At(0);
  absl::Duration last = absl::ZeroDuration();
  for (int i = 0; i < 10; ++i) {
    ASSERT_EQ(peer.Look(now), Wish::kConnect);
    peer.Lose(now, "refused");
    last = peer.next_look() - now;
    EXPECT_LE(last, options.retry_most);
    EXPECT_GE(last, options.retry_first / 2);
    now = peer.next_look();
  }
  EXPECT_GE(last, options.retry_most / 2);
  // Who stood for a while is tried again soon.
  ASSERT_EQ(peer.Look(now), Wish::kConnect);
  Welcome(peer, now);
  now += absl::Seconds(10);
  peer.Lose(now, "lost");
  EXPECT_LE(peer.next_look() - now, options.retry_first);
}

TEST(PeerState, WhoCallsIsTriedAtOnceAlsoIfWhatWasBeingTriedFails) {
  LinkOptions options;
  options.retry_first = options.retry_most = absl::Hours(1);
  PeerState peer(options, base::Rng(1));
  ASSERT_EQ(peer.Look(At(0)), Wish::kConnect);
  peer.Lose(At(0), "refused");
  EXPECT_EQ(peer.Look(At(1)), Wish::kNothing);
  peer.OnCalled();
  ASSERT_EQ(peer.Look(At(1)), Wish::kConnect);
  peer.OnCalled();
  peer.Lose(At(1), "refused");
  ASSERT_EQ(peer.Look(At(1)), Wish::kConnect);
  peer.Lose(At(1), "refused");  // Once for each call.
  EXPECT_EQ(peer.Look(At(2)), Wish::kNothing);
}

}  // namespace
}  // namespace cluster
