// In the steady state a message to a transient session of the publisher's shard allocates nothing:
// from the bytes that come to the bytes that leave.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "auth/core/method.h"
#include "base/timeline.h"
#include "broker/shard/shard_core.h"
#include "tests/broker/shard/open_gate.h"
#include "tests/support/allocation_counter.h"
#include "tests/support/fake_clock.h"
#include "tests/support/wire.h"

namespace sim {
namespace {

// Has what the test puts into it, and forgets what is written.
class Pipe final : public broker::Stream {
 public:
  struct State {
    std::string_view input;
    size_t written = 0;
    broker::Connection* connection = nullptr;
  };
  explicit Pipe(State& state) : state_(state) {}
  State& state() { return state_; }

  broker::ReadResult Read(char* buffer, size_t capacity) override {
    if (state_.input.empty()) return {};
    const size_t bytes = state_.input.copy(buffer, capacity);
    state_.input.remove_prefix(bytes);
    return {broker::IoState::kOk, bytes};
  }
  broker::WriteResult Write(const std::string_view* ranges, size_t count) override {
    for (size_t i = 0; i < count; ++i) state_.written += ranges[i].size();
    return {broker::IoState::kOk, 0};
  }
  bool HasBufferedInput() const override { return false; }
  bool HasUnreadInput() const override { return !state_.input.empty(); }
  bool HandshakeDone() const override { return true; }
  void StartClose() override {}
  broker::PeerInfo peer() const override { return {}; }
  std::string_view error() const override { return {}; }

 private:
  State& state_;
};

class NoAllocation : public testing::Test,
                     public broker::ShardPort,
                     public broker::PartitionClient {
 protected:
  NoAllocation() {
    world_.options = &options_;
    world_.clock = &clock_;
    world_.timeline = &timeline_;
    world_.partitions = this;
    world_.methods = &methods_;
    world_.user_places = &users_;
    world_.room_for_subscriptions = [] { return uint64_t{1} << 40; };
    world_.metrics.push_back(&metrics_);
    world_.listeners.push_back(std::make_shared<const broker::ListenerTerms>(
        broker::ListenerTerms{.gatekeeper = std::make_shared<OpenGate>()}));
    core_ = std::make_unique<broker::ShardCore>(storage::ShardId{0}, 1u, world_, metrics_, *this,
                                                base::Rng(1));
  }

  void Turn(Pipe::State& from, std::string_view bytes) {
    from.input = bytes;
    core_->BeginTurn();
    core_->OnReady(*from.connection, {.readable = true});
    core_->ReadAgain();
    core_->OnMailTaken(0);
    core_->FinishRound();
  }
  void Join(Pipe::State& pipe, const std::string& id) {
    core_->BeginTurn();
    core_->Accept(std::make_unique<Pipe>(pipe), 0);
    core_->FinishRound();
    Turn(pipe, support::ConnectPacket{.client_id = id}.Encode());
    for (storage::Addressed& request : std::exchange(asked_, {})) {
      const auto* const open = std::get_if<storage::OpenSession>(&request.request);
      if (open == nullptr) continue;
      core_->OnTask(storage::Event(storage::SessionOpened{.token = open->token, .epoch = 1}));
    }
    Turn(pipe, {});
    ASSERT_GT(pipe.written, 0u);
  }

  // ShardPort
  void Post(storage::ShardId, std::unique_ptr<base::Batch<broker::ShardTask>>) override {}
  void Hurry(storage::ShardId) override {}
  void TakeMail() override {}
  absl::Status Watch(broker::Connection& connection) override {
    static_cast<Pipe&>(*connection.stream).state().connection = &connection;
    return absl::OkStatus();
  }
  void Unwatch(broker::Connection&) override {}
  void Adopt(std::unique_ptr<broker::Stream>, size_t) override {}
  void HoldAcceptors(bool) override {}
  // PartitionClient
  void Submit(storage::ShardId, std::vector<storage::Addressed> requests) override {
    for (storage::Addressed& request : requests) asked_.push_back(std::move(request));
  }

  broker::ShardOptions options_ = [] {
    broker::ShardOptions options;
    options.connections_max = 100;
    options.memory_high_bytes = options.input_bytes_max = options.subscriptions_bytes_max = 1 << 30;
    return options;
  }();
  support::FakeClock clock_;
  base::Timeline timeline_;
  auth::AuthMethodRegistry methods_;
  NoUserLimits users_;
  broker::ShardMetrics metrics_;
  broker::ShardWorld world_;
  std::vector<storage::Addressed> asked_;
  std::unique_ptr<broker::ShardCore> core_;
  Pipe::State publisher_;
  std::vector<Pipe::State> subscribers_{10};
  uint16_t last_id_ = 0;
  size_t acknowledging_ = 0;  // Allocations while they were.
};

TEST_F(NoAllocation, OfQos0And1ToTransientSessionsOfTheShard) {
  if (!support::AllocationsAreCounted()) GTEST_SKIP() << "a sanitizer allocates by itself";
  Join(publisher_, "publisher");
  for (size_t i = 0; i < subscribers_.size(); ++i) {
    Join(subscribers_[i], "subscriber " + std::to_string(i));
    Turn(subscribers_[i], support::Subscribe(support::Version::k5, 1, {{"a/+/c", 1}}));
  }
  for (const unsigned qos : {0u, 1u}) {
    std::string bytes;
    for (int i = 0; i < 20; ++i) {
      bytes +=
          support::PublishPacket{
              .topic = "a/b/c", .payload = std::string(200, 'x'), .qos = qos, .packet_id = 7}
              .Encode(support::Version::k5);
    }
    const auto round = [&] {
      Turn(publisher_, bytes);
      if (qos == 0) return;
      for (Pipe::State& subscriber : subscribers_) {
        std::string acks;  // Identifiers are given out in turn.
        acks.reserve(20 * 4);
        for (uint16_t id = 1; id <= 20; ++id)
          acks += support::Ack(support::PacketType::kPuback, static_cast<uint16_t>(last_id_ + id));
        const size_t before = support::Allocations();
        Turn(subscriber, acks);
        acknowledging_ += support::Allocations() - before;
      }
      last_id_ = static_cast<uint16_t>(last_id_ + 20);
    };
    for (int i = 0; i < 20; ++i) round();  // Buffers and tables have their size then.
    acknowledging_ = 0;
    const size_t written = subscribers_[3].written;
    const size_t before = support::Allocations();
    Turn(publisher_, bytes);
    // Nothing for a message. Who had none in flight has a table of them made, with his first.
    EXPECT_EQ(support::Allocations() - before, qos == 0 ? 0 : subscribers_.size());
    EXPECT_EQ(subscribers_[3].written - written, 20u * (2 + 2 + 5 + 2 * qos + 1 + 200 + 1));
    EXPECT_EQ(acknowledging_, 0u);
  }
}

}  // namespace
}  // namespace sim
