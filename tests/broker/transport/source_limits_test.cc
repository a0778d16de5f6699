// Who comes from where, how often: with addresses as the kernel and a proxy write them.
#include "broker/transport/source_limits.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include <cstring>
#include <string>
#include <vector>

namespace broker {
namespace {

using Verdict = SourceLimits::Verdict;

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kStart = 1'000 * kSecond;

Source At(const std::string& address) { return Source::Of(address).value(); }

sockaddr_storage KernelAddress(const std::string& address) {
  sockaddr_storage storage{};
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  inet_pton(AF_INET6, address.c_str(), &v6.sin6_addr);
  std::memcpy(&storage, &v6, sizeof(v6));
  return storage;
}

TEST(Source, AnIpv6NetworkIsOneSourceAndAnIpv4AddressAnother) {
  EXPECT_EQ(At("2001:db8::1"), At("2001:db8::ffff:0:0:2"));
  EXPECT_FALSE(At("2001:db8::1") == At("2001:db8:0:1::1"));
  EXPECT_FALSE(At("192.0.2.1") == At("192.0.2.2"));
  EXPECT_FALSE(At("0.0.0.1") == At("::1"));
}

TEST(Source, IsTheSameHoweverItIsWritten) {
  EXPECT_EQ(Source::Of(KernelAddress("::ffff:192.0.2.1")), At("192.0.2.1"));
  EXPECT_EQ(Source::Of(KernelAddress("2001:db8::7")), At("2001:db8::1"));
  EXPECT_EQ(At("::ffff:192.0.2.1"), At("192.0.2.1"));
}

TEST(Source, AUnixSocketIsNone) {
  EXPECT_EQ(Source::Of("unix"), std::nullopt);
  EXPECT_EQ(Source::Of(std::string()), std::nullopt);
  sockaddr_storage local{};
  local.ss_family = AF_UNIX;
  EXPECT_EQ(Source::Of(local), std::nullopt);
}

class SourceLimitsTest : public testing::Test {
 protected:
  Verdict Connect(const std::string& from, int64_t now_ns = kStart) {
    SourceLimits::Admission admission = limits_.Admit(At(from), bounds_, now_ns);
    EXPECT_EQ(admission.place != nullptr, admission.verdict == Verdict::kAdmitted);
    if (admission.place != nullptr) open_.push_back(std::move(admission.place));
    return admission.verdict;
  }

  std::shared_ptr<ListenerCounters> counters_ = std::make_shared<ListenerCounters>();
  SourceLimits limits_{counters_};
  SourceLimits::Bounds bounds_;
  std::vector<std::shared_ptr<ListenerCounters>> open_;
};

TEST_F(SourceLimitsTest, TooManyAtATimeAreRefusedUntilOneGoes) {
  bounds_.connections_max = 2;
  EXPECT_EQ(Connect("192.0.2.1"), Verdict::kAdmitted);
  EXPECT_EQ(Connect("192.0.2.1"), Verdict::kAdmitted);
  EXPECT_EQ(Connect("192.0.2.1"), Verdict::kTooMany);
  EXPECT_EQ(Connect("192.0.2.2"), Verdict::kAdmitted);
  open_.erase(open_.begin());
  EXPECT_EQ(Connect("192.0.2.1"), Verdict::kAdmitted);
  EXPECT_EQ(Connect("192.0.2.1"), Verdict::kTooMany);
}

TEST_F(SourceLimitsTest, TooManyASecondAreRefusedUntilTimeHasPassed) {
  bounds_.connection_rate_max = 2;
  EXPECT_EQ(Connect("192.0.2.1"), Verdict::kAdmitted);
  EXPECT_EQ(Connect("192.0.2.1"), Verdict::kAdmitted);
  open_.clear();
  EXPECT_EQ(Connect("192.0.2.1"), Verdict::kTooFast);
  EXPECT_EQ(Connect("192.0.2.2"), Verdict::kAdmitted);
  EXPECT_EQ(Connect("192.0.2.1", kStart + kSecond / 2), Verdict::kAdmitted);
  EXPECT_EQ(Connect("192.0.2.1", kStart + kSecond / 2), Verdict::kTooFast);
}

// Someone who keeps trying must not be kept out for longer by that.
TEST_F(SourceLimitsTest, RefusedConnectionsDoNotCountInTheRate) {
  bounds_ = {.connections_max = 1, .connection_rate_max = 2};
  EXPECT_EQ(Connect("192.0.2.1"), Verdict::kAdmitted);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Connect("192.0.2.1"), Verdict::kTooMany);
  open_.clear();
  EXPECT_EQ(Connect("192.0.2.1"), Verdict::kAdmitted);
  open_.clear();
  for (int i = 0; i < 10; ++i) EXPECT_EQ(Connect("192.0.2.1"), Verdict::kTooFast);
  EXPECT_EQ(Connect("192.0.2.1", kStart + kSecond / 2), Verdict::kAdmitted);
}

TEST_F(SourceLimitsTest, SourcesThatAreGoneAreForgotten) {
  bounds_ = {.connections_max = 1, .connection_rate_max = 1};
  int64_t now_ns = kStart;
  EXPECT_EQ(Connect("198.51.100.1", now_ns), Verdict::kAdmitted);
  const auto stays = std::move(open_.back());
  for (int i = 0; i < 100'000; ++i, now_ns += kSecond / 100) {
    open_.clear();
    const std::string address = "10." + std::to_string(i >> 16) + "." +
                                std::to_string(i >> 8 & 255) + "." + std::to_string(i & 255);
    ASSERT_EQ(Connect(address, now_ns), Verdict::kAdmitted);
  }
  EXPECT_LT(limits_.size(), 3'000u);
  EXPECT_EQ(Connect("198.51.100.1", now_ns), Verdict::kTooMany);
}

TEST_F(SourceLimitsTest, APlaceOutlivesTheLimits) {
  auto limits = std::make_unique<SourceLimits>(counters_);
  const auto place = limits->Admit(At("192.0.2.1"), {.connections_max = 1}, kStart).place;
  limits.reset();
  EXPECT_EQ(place.get(), counters_.get());
}

}  // namespace
}  // namespace broker
