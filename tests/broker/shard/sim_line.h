// A Network Connection of the simulation: what a kernel and a network keep of one, both ways.
#ifndef TESTS_BROKER_SHARD_SIM_LINE_H_
#define TESTS_BROKER_SHARD_SIM_LINE_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/rng.h"
#include "broker/core/stream.h"
#include "broker/shard/shard_core.h"
#include "tests/broker/shard/agenda.h"

namespace sim {

// Bytes arrive later than they were sent, in order; how much later, chance says. Shared by the two
// ends, either of which may be gone.
class Line final : public std::enable_shared_from_this<Line> {
 public:
  Line(Agenda& agenda, base::Rng rng) : agenda_(agenda), rng_(std::move(rng)) {}

  // ---- The client's end.
  std::function<void(std::string_view)> on_bytes;
  std::function<void()> on_end;  // The broker ended it, in order or not.

  void Send(std::string bytes) {
    if (dead_) return;
    Up([this, bytes = std::move(bytes)] {
      arrived_ += bytes;
      Tell({.readable = true});
    });
  }
  // The end of the stream, behind what was sent.
  void Finish() {
    if (dead_) return;
    Up([this] {
      ended_ = broker::IoState::kClosed;
      Tell({.readable = true, .gone = true});
    });
  }
  // Both ways at once, and what is on its way is lost. The broker hears of it a little later.
  void Break() {
    Vanish();
    agenda_.After(Latency(), [line = shared_from_this()] {
      line->arrived_.clear();
      line->ended_ = broker::IoState::kError;
      line->Tell({.readable = true, .writable = true, .gone = true});
    });
  }
  // Likewise, and the broker hears nothing.
  void Vanish() {
    dead_ = true;
    on_bytes = nullptr;
    on_end = nullptr;
  }
  // The client does not read any more, or it does again.
  void Stall(bool stalled) {
    stalled_ = stalled;
    if (!stalled) ReadSent();
  }
  bool closed_by_broker() const { return closed_; }

  // ---- The broker's end.
  // Who is told of readiness; nobody, while it is not watched.
  std::function<void(broker::ShardCore::Readiness)> tell;

  broker::ReadResult Read(char* buffer, size_t capacity) {
    if (arrived_.empty()) return {ended_, 0};
    const size_t bytes = arrived_.copy(buffer, capacity);
    arrived_.erase(0, bytes);
    return {broker::IoState::kOk, bytes};
  }
  broker::WriteResult Write(const std::string_view* ranges, size_t count) {
    if (finished_) return {broker::IoState::kClosed, 0};
    if (ended_ == broker::IoState::kError) return {broker::IoState::kError, 0};
    size_t offered = 0;
    const size_t before = sent_.size();
    for (size_t i = 0; i < count; ++i) {
      offered += ranges[i].size();
      sent_ += ranges[i].substr(0, kRoomBytes - std::min(kRoomBytes, sent_.size()));
    }
    const size_t taken = sent_.size() - before;
    blocked_ = taken < offered;
    if (!stalled_) ReadSent();
    return {taken < offered ? broker::IoState::kAgain : broker::IoState::kOk, taken};
  }
  bool has_unread_input() const { return !arrived_.empty(); }
  void FinishFromBroker() {
    if (std::exchange(finished_, true)) return;
    Down([this] {
      if (on_end) std::exchange(on_end, nullptr)();
    });
  }
  void CloseFromBroker() {
    tell = nullptr;
    closed_ = true;
    FinishFromBroker();
  }

 private:
  static constexpr size_t kRoomBytes = 16 * 1024;  // That the broker may be ahead of the client.

  absl::Duration Latency() { return absl::Microseconds(rng_.Between(10, 3000)); }
  void Up(std::function<void()> act) { Plan(up_ns_, std::move(act)); }
  void Down(std::function<void()> act) { Plan(down_ns_, std::move(act)); }
  // Behind what is on its way in that direction.
  void Plan(int64_t& last_ns, std::function<void()> act) {
    last_ns = std::max(last_ns, agenda_.now_ns() + absl::ToInt64Nanoseconds(Latency()));
    agenda_.At(last_ns, [line = shared_from_this(), act = std::move(act)] {
      if (!line->dead_) act();
    });
  }
  void Tell(broker::ShardCore::Readiness readiness) {
    if (tell) tell(readiness);
  }
  void ReadSent() {
    if (!sent_.empty()) {
      Down([this, bytes = std::exchange(sent_, {})] {
        if (on_bytes) on_bytes(bytes);
      });
    }
    if (std::exchange(blocked_, false)) Up([this] { Tell({.writable = true}); });
  }

  Agenda& agenda_;
  base::Rng rng_;
  int64_t up_ns_ = 0;
  int64_t down_ns_ = 0;
  std::string arrived_;  // At the broker, and not read.
  std::string sent_;     // By the broker, and not read by the client.
  broker::IoState ended_ = broker::IoState::kAgain;
  bool dead_ = false;
  bool stalled_ = false;
  bool blocked_ = false;
  bool finished_ = false;
  bool closed_ = false;
};

class LineStream final : public broker::Stream {
 public:
  explicit LineStream(std::shared_ptr<Line> line) : line_(std::move(line)) {}
  ~LineStream() override { line_->CloseFromBroker(); }

  Line& line() { return *line_; }

  broker::ReadResult Read(char* buffer, size_t capacity) override {
    return line_->Read(buffer, capacity);
  }
  broker::WriteResult Write(const std::string_view* ranges, size_t count) override {
    return line_->Write(ranges, count);
  }
  bool HasBufferedInput() const override { return false; }
  bool HasUnreadInput() const override { return line_->has_unread_input(); }
  bool HandshakeDone() const override { return true; }
  void StartClose() override { line_->FinishFromBroker(); }
  broker::PeerInfo peer() const override { return {.address = "192.0.2.1"}; }
  std::string_view error() const override { return "the line broke"; }

 private:
  const std::shared_ptr<Line> line_;
};

}  // namespace sim

#endif  // TESTS_BROKER_SHARD_SIM_LINE_H_
