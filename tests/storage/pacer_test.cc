#include "storage/pacer.h"

#include "gtest/gtest.h"

namespace storage {
namespace {

TEST(Pacer, RestsTwiceAsLongAsItWorkedOnceThatPays) {
  absl::Duration now = absl::Seconds(5);
  Pacer pacer(now);
  now += Pacer::kWorkMin / 2;
  EXPECT_EQ(pacer.Rest(now), absl::ZeroDuration());
  now += Pacer::kWorkMin;
  const absl::Duration rest = pacer.Rest(now);
  EXPECT_EQ(rest, Pacer::kWorkMin * 1.5 * Pacer::kRestPerWork);
  now += rest;
  EXPECT_EQ(pacer.Rest(now), absl::ZeroDuration()) << "what it rested is no work";
}

TEST(Pacer, RestsNoLongerForOneStalledPiece) {
  Pacer pacer(absl::ZeroDuration());
  EXPECT_EQ(pacer.Rest(absl::Seconds(60)), Pacer::kRestMax);
}

}  // namespace
}  // namespace storage
