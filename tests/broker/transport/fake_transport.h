// A transport without a socket: the test decides how much goes through in which call.
#ifndef TESTS_BROKER_TRANSPORT_FAKE_TRANSPORT_H_
#define TESTS_BROKER_TRANSPORT_FAKE_TRANSPORT_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>

#include "broker/transport/transport.h"

namespace broker {

// Behaves as the strictest transport, TLS: what was offered and not taken must be offered again.
class FakeTransport final : public Transport {
 public:
  struct State {
    std::string input;           // Not yet read.
    size_t input_limit = 65536;  // Of one `Read`.
    IoState input_end = IoState::kAgain;
    std::string output;
    size_t output_room = SIZE_MAX;
    bool closing = false;
  };

  // `state` is the test's, and outlives the transport.
  explicit FakeTransport(State& state) : state_(state) {}

  int fd() const override { return -1; }
  ReadResult Read(char* buffer, size_t capacity) override {
    if (state_.input.empty()) return {state_.input_end, 0};
    const size_t bytes = state_.input.copy(buffer, std::min(capacity, state_.input_limit));
    state_.input.erase(0, bytes);
    return {IoState::kOk, bytes};
  }
  WriteResult Write(const std::string_view* ranges, size_t count) override {
    std::string offered;
    for (size_t i = 0; i < count; ++i) {
      offered.append(ranges[i]);
    }
    EXPECT_EQ(offered.substr(0, pending_.size()), pending_) << "other bytes than before";
    const size_t taken = std::min(offered.size(), state_.output_room);
    state_.output.append(offered, 0, taken);
    state_.output_room -= taken;
    pending_ = offered.substr(taken);
    return {pending_.empty() ? IoState::kOk : IoState::kAgain, taken};
  }
  bool HasBufferedInput() const override { return !state_.input.empty(); }
  bool WantsWrite() const override { return false; }
  bool HandshakeDone() const override { return true; }
  void StartClose() override { state_.closing = true; }
  PeerInfo peer() const override { return {}; }
  std::string_view error() const override { return "fake"; }

 private:
  State& state_;
  std::string pending_;
};

}  // namespace broker
#endif  // TESTS_BROKER_TRANSPORT_FAKE_TRANSPORT_H_
