// Random work, random crashes that lose what was not synced, and what must hold all the same.
#include <map>
#include <set>
#include <string>

#include "absl/strings/numbers.h"
#include "gtest/gtest.h"
#include "tests/storage/host_sim.h"
#include "tests/storage/requests.h"

namespace storage {
namespace {

constexpr PartitionMask kAll = 0b1111;

StorageOptions SmallOptions() {
  StorageOptions options;
  options.data_dir = "unused";
  options.partitions = 4;
  options.min_free_disk_bytes = 0;
  return options;
}

mqtt::MessagePtr Numbered(std::string_view topic, uint64_t number, mqtt::QoS qos) {
  return mqtt::Message::Create(
      {.topic = topic, .payload = std::to_string(number), .properties = {}, .qos = qos});
}

// A client with a durable session, as its shard sees it: publishes QoS 2 messages one after the
// other, each again with its identifier until it is answered.
struct Publisher {
  uint64_t epoch = 0;
  uint64_t connection = 0;
  bool refused = false;
  uint64_t number = 0;  // Of the message that is on its way.
  uint16_t packet_id = 1;
  Token token = 0;  // Of the request that is not answered yet; 0: none.
  enum class Stage { kIdle, kPublish, kRelease } stage = Stage::kIdle;
  std::set<uint64_t> answered;
};

// A durable session that takes everything, in the order it came.
struct Subscriber {
  std::string client_id;
  uint64_t epoch = 0;
  uint64_t connection = 0;
  bool refused = false;
  bool subscribed = false;
  Token subscribe_token = 0;
  std::map<uint64_t, uint64_t> sequence_of;  // Message number → sequence.
  std::map<uint64_t, uint64_t> number_at;    // Sequence → message number, not acknowledged.
  std::set<uint64_t> received;               // PUBREC sent, PUBCOMP not.
  uint64_t last_number = 0;
};

class World {
 public:
  enum class Weather { kCrashes, kCrashesAndErrors };
  World(uint64_t seed, Weather weather)
      : rng_(seed), errors_(weather == Weather::kCrashesAndErrors), sim_(OptionsOf(seed)) {
    sim_.on_event = [this](ShardId, Event& event) {
      std::visit([this](auto& one) { On(one); }, event);
    };
    for (int i = 0; i < 3; ++i) {
      Subscriber& bob = subscribers_.emplace_back();
      bob.client_id = "bob" + std::to_string(i);
    }
  }

  void RunFor(int steps) {
    ReconnectAll();
    sim_.Settle();
    for (Subscriber& bob : subscribers_) EXPECT_TRUE(bob.subscribed);
    for (int i = 0; i < steps; ++i) Step();
  }

  void CalmDown() {
    sim_.state().FailWith(absl::OkStatus());
    sim_.state().FailReadsWith(absl::OkStatus());
    sim_.clock().Advance(absl::Seconds(2));
    sim_.Settle();
    sim_.clock().Advance(absl::Seconds(2));  // What was refused at last is told of again.
    sim_.Settle();
    ReconnectAll();
    for (int i = 0; i < 200; ++i) {
      Advance();
      for (Subscriber& bob : subscribers_) {
        while (!bob.number_at.empty() || !bob.received.empty()) {
          AcknowledgeSome(bob);
          sim_.Settle();
        }
      }
      sim_.Settle();
    }
    for (const Subscriber& bob : subscribers_) {
      for (const uint64_t number : alice_.answered) {
        EXPECT_TRUE(bob.sequence_of.contains(number))
            << bob.client_id << " never got message " << number;
      }
    }
    EXPECT_GT(alice_.answered.size(), 10u);
  }

  uint64_t state_errors() { return sim_.metrics().state_errors.value(); }
  size_t crashes() const { return crashes_; }

 private:
  // With much memory for what the state has not yet, or hardly any; with groups that have room, or
  // hardly any.
  static StorageOptions OptionsOf(uint64_t seed) {
    StorageOptions options = SmallOptions();
    options.takeover_pause_max = absl::ZeroDuration();  // They take over without pause.
    if (seed % 2 == 0) options.state_pending_bytes = 300;
    if (seed % 3 == 0) options.group_commands_max = 1 + seed % 5;
    return options;
  }

  void Step() {
    switch (rng_.Below(12)) {
      case 0:
      case 1:
        return Advance();
      case 2:
      case 3:
        return sim_.BeginWrite();
      case 4:
      case 5:
        if (errors_ && rng_.Chance(0.1)) return sim_.EndWrite(absl::UnavailableError("EIO"));
        return sim_.EndWrite();
      case 6:
      case 7:
        return sim_.Run();
      case 8:
      case 9:
        return AcknowledgeSome(subscribers_[rng_.Below(subscribers_.size())]);
      case 10:
        if (rng_.Chance(0.3)) sim_.core().WantFlush();
        if (rng_.Chance(0.3)) sim_.state().Flush();
        sim_.clock().Advance(absl::Milliseconds(3));
        if (errors_) BreakAndMend();
        return;
      default:
        if (rng_.Chance(0.9)) return Reconnect(subscribers_[rng_.Below(subscribers_.size())]);
        if (!rng_.Chance(0.3)) return;
        ++crashes_;
        sim_.Crash(rng_);
        ReconnectAll();
        sim_.Settle();
    }
  }

  void BreakAndMend() {
    if (rng_.Chance(0.05)) {
      const absl::Status error = absl::ResourceExhaustedError("ENOSPC");
      sim_.state().FailWith(error);
      if (rng_.Chance(0.5)) sim_.state().ForgetWhenRepaired();
      if (rng_.Chance(0.5)) sim_.core().OnStateError(error);
    }
    if (rng_.Chance(0.1)) {
      sim_.state().FailReadsOf(static_cast<PartitionId>(rng_.Below(4)),
                               absl::UnavailableError("EIO"));
    }
    if (rng_.Chance(0.3)) sim_.state().FailReadsWith(absl::OkStatus());
    if (rng_.Chance(0.3)) sim_.state().FailWith(absl::OkStatus());
    if (rng_.Chance(0.5)) sim_.Repair();
    if (rng_.Chance(0.3)) sim_.clock().Advance(absl::Seconds(1));  // The next try is due.
    for (Subscriber& bob : subscribers_) {
      if (bob.refused) Reconnect(bob);
    }
    if (alice_.refused) Open("alice", alice_.connection, alice_.epoch);
    alice_.refused = false;
  }

  // The publisher does the next thing, or the same again.
  void Advance() {
    if (alice_.token != 0 || alice_.epoch == 0) return;
    alice_.token = ++token_;
    if (alice_.stage == Publisher::Stage::kIdle) {
      ++alice_.number;
      alice_.packet_id = static_cast<uint16_t>(alice_.number % 7 + 1);
      alice_.stage = Publisher::Stage::kPublish;
    }
    if (alice_.stage == Publisher::Stage::kPublish) {
      Publish publish;
      publish.token = alice_.token;
      publish.message = Numbered("news", alice_.number, mqtt::QoS::kExactlyOnce);
      publish.partitions = kAll;
      return sim_.Send(MakeAccept(std::move(publish), "alice", alice_.epoch, alice_.packet_id));
    }
    ReleaseInbound release;
    release.token = alice_.token;
    release.client_id = "alice";
    release.epoch = alice_.epoch;
    release.packet_ids.push_back(alice_.packet_id);
    sim_.Send(std::move(release));
  }

  void AcknowledgeSome(Subscriber& bob) {
    if (bob.epoch == 0 || (bob.number_at.empty() && bob.received.empty())) return;
    Acknowledge acknowledge;
    acknowledge.client_id = bob.client_id;
    acknowledge.epoch = bob.epoch;
    if (!bob.number_at.empty()) {
      const uint64_t sequence = bob.number_at.begin()->first;
      acknowledge.entries.push_back({sequence, AckKind::kPubRec});
      bob.number_at.erase(sequence);
    } else {
      const uint64_t sequence = *bob.received.begin();
      acknowledge.entries.push_back({sequence, AckKind::kPubComp});
      bob.received.erase(sequence);
    }
    sim_.Send(std::move(acknowledge));
  }

  void Reconnect(Subscriber& bob) {
    if (bob.epoch != 0 && rng_.Chance(0.5)) {  // Else it is a takeover.
      CloseSession close;
      close.client_id = bob.client_id;
      close.epoch = bob.epoch;
      close.connection = {.connection = bob.connection};
      sim_.Send(std::move(close));
    }
    Open(bob.client_id, bob.connection, bob.epoch);
    bob.number_at.clear();
    bob.received.clear();
  }

  void ReconnectAll() {
    alice_.token = 0;
    Open("alice", alice_.connection, alice_.epoch);
    for (Subscriber& bob : subscribers_) {
      bob.epoch = 0;
      Reconnect(bob);
    }
  }

  void Open(const std::string& client_id, uint64_t& connection, uint64_t& epoch) {
    epoch = 0;
    connection = ++connection_;
    OpenSession open;
    open.token = ++token_;
    open.connection = {.connection = connection};
    open.client_id = client_id;
    open.expiry_s = kExpiryNever;
    open.window_messages = 3;
    open.window_bytes = 1000;
    opening_[open.token] = {client_id, connection};
    sim_.Send(std::move(open));
  }

  Subscriber* Find(std::string_view client_id) {
    for (Subscriber& bob : subscribers_) {
      if (bob.client_id == client_id) return &bob;
    }
    return nullptr;
  }

  void On(SessionOpened& event) {
    const auto [client_id, connection] = opening_.at(event.token);
    opening_.erase(event.token);
    if (client_id == "alice") {
      if (connection != alice_.connection) return;  // It has gone: a newer one takes over.
      alice_.refused = !event.status.ok();
      alice_.epoch = event.epoch;
      return;
    }
    Subscriber& bob = *Find(client_id);
    if (connection != bob.connection) return;
    bob.refused = !event.status.ok();
    EXPECT_TRUE(errors_ || !bob.refused);
    if (bob.refused) return;
    bob.epoch = event.epoch;
    if (bob.subscribed) {
      EXPECT_TRUE(event.session_present);
      EXPECT_EQ(event.subscriptions.size(), 1u);
      return;
    }
    sim_.core().OnRequest({}, MakeSubscribe(bob.subscribe_token = ++token_, bob.client_id,
                                            bob.epoch, "news", mqtt::QoS::kExactlyOnce));
  }
  void On(TakenOver& event) {
    if (event.epoch == 0) return;
    CloseSession close;
    close.client_id = event.client_id;
    close.epoch = event.epoch;
    close.connection = event.connection;
    close.cause = CloseCause::kTakenOver;
    sim_.core().OnRequest({}, std::move(close));
  }
  void On(SubscribeDone& event) {
    ASSERT_TRUE(event.status.ok());
    for (Subscriber& bob : subscribers_) {
      if (bob.subscribe_token == event.token) bob.subscribed = true;
    }
  }
  void On(Published& event) {
    if (event.token != alice_.token) return;
    alice_.token = 0;
    if (!event.status.ok()) {  // Refused: the same again.
      EXPECT_TRUE(errors_);
      return;
    }
    alice_.answered.insert(alice_.number);
    alice_.stage = Publisher::Stage::kRelease;
  }
  void On(InboundReleased& event) {
    if (event.token != alice_.token) return;
    alice_.token = 0;
    if (event.status.ok()) alice_.stage = Publisher::Stage::kIdle;
  }
  void On(Deliver& event) {
    Subscriber* bob = nullptr;
    for (Subscriber& one : subscribers_) {
      if (one.connection == event.connection.connection) bob = &one;
    }
    if (bob == nullptr || bob->epoch != event.epoch) return;
    for (const Delivery& delivery : event.entries) {
      if (delivery.release) {
        bob->received.insert(delivery.sequence);
        continue;
      }
      uint64_t number = 0;
      ASSERT_TRUE(absl::SimpleAtoi(
          absl::string_view(delivery.message->payload().data(), delivery.message->payload().size()),
          &number));
      const auto [it, first] = bob->sequence_of.emplace(number, delivery.sequence);
      // Exactly once: the same message never comes again under another identifier.
      EXPECT_EQ(it->second, delivery.sequence) << "message " << number << " is there twice";
      if (first) {
        EXPECT_GT(number, bob->last_number) << "out of order";
        bob->last_number = number;
      } else {
        EXPECT_TRUE(delivery.dup);
        EXPECT_FALSE(released_.contains({bob->client_id, delivery.sequence}))
            << "a PUBLISH after its PUBREL";
      }
      bob->number_at[delivery.sequence] = number;
    }
  }
  void On(ReleaseDue& event) {
    for (Subscriber& bob : subscribers_) {
      if (bob.connection != event.connection.connection || bob.epoch != event.epoch) continue;
      for (const uint64_t sequence : event.sequences) {
        bob.received.insert(sequence);
        released_.insert({bob.client_id, sequence});
      }
    }
  }
  template <typename Other>
  void On(Other& /*event*/) {}

  base::Rng rng_;
  const bool errors_;
  HostSim sim_;
  Publisher alice_;
  std::vector<Subscriber> subscribers_;
  std::map<Token, std::pair<std::string, uint64_t>> opening_;
  std::set<std::pair<std::string, uint64_t>> released_;
  Token token_ = 0;
  uint64_t connection_ = 0;
  size_t crashes_ = 0;
};

void RunSeeds(World::Weather weather) {
  size_t crashes = 0;
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    World world(seed, weather);
    world.RunFor(1500);
    world.CalmDown();
    crashes += world.crashes();
    if (testing::Test::HasFailure()) break;
  }
  EXPECT_GT(crashes, 60u);
}

TEST(HostCrash, WhatWasAnsweredIsDeliveredExactlyOnceAndInOrder) {
  RunSeeds(World::Weather::kCrashes);
}

TEST(HostCrash, SoItIsWhenTheDiskFailsNowAndThen) { RunSeeds(World::Weather::kCrashesAndErrors); }

}  // namespace
}  // namespace storage
