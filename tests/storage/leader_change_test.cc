// Partitions get new leaders at random moments, in place or after another node has led them: what
// the former one had said is lost, shards ask again, and what must hold all the same.
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "gtest/gtest.h"
#include "storage/core/session.h"
#include "tests/storage/host_fixture.h"
#include "tests/storage/host_sim.h"
#include "tests/storage/requests.h"

namespace storage {
namespace {

using Mutant = HostSim::Mutant;

constexpr ShardId kShards = 2;

// What went wrong first; empty: nothing.
class Fault {
 public:
  bool found() const { return !text_.empty(); }
  const std::string& text() const { return text_; }
  void Check(bool holds, std::string_view what) {
    if (!holds && text_.empty()) text_ = what;
  }

 private:
  std::string text_;
};

// Publishes one message after the other at QoS 2 from a durable session, each again with its
// identifier until it is answered.
struct Exact {
  uint64_t epoch = 0;
  uint64_t connection = 0;
  ShardId shard = 0;
  bool refused = false;
  uint64_t number = 0;
  uint16_t packet_id = 1;
  Token token = 0;
  enum class Stage { kIdle, kPublish, kRelease } stage = Stage::kIdle;
};

// A durable session that takes everything.
struct Taker {
  std::string client_id;
  ShardId shard = 0;
  uint64_t epoch = 0;
  uint64_t former_epoch = 0;
  uint64_t connection = 0;
  bool refused = false;
  bool subscribed = false;
  Token subscribe_token = 0;
  std::map<std::string, uint64_t> sequence_of;  // Payload → sequence.
  std::map<char, uint64_t> last;                // Of each publisher, the latest number.
  std::map<uint64_t, mqtt::QoS> to_acknowledge;
  std::set<uint64_t> to_complete;
  std::set<uint64_t> on_wire;  // Sequences sent as PUBLISH on this connection.
};

// Connects with a will, and goes without or with a goodbye.
struct Mortal {
  uint64_t epoch = 0;
  uint64_t connection = 0;
  ShardId shard = 0;
  uint64_t number = 0;  // Of the will.
  bool open = false;
};

enum class Change {
  kInPlace,    // What the former leader proposed is the new one's.
  kElsewhere,  // Another node leads for a while: what was proposed may be lost, or comes as
               // nobody's.
};

class World {
 public:
  World(uint64_t seed, Mutant mutant, bool crashes, Change change = Change::kInPlace)
      : rng_(seed), crashes_(crashes), change_(change), sim_(OptionsOf(seed), kShards) {
    sim_.mutant = mutant;
    sim_.holds_events = true;
    sim_.on_event = [this](ShardId shard, Event& event) {
      std::visit([&](auto& one) { On(one, shard); }, event);
    };
    for (int i = 0; i < 3; ++i) takers_.emplace_back().client_id = absl::StrCat("taker", i);
  }

  const Fault& Run(int steps) {
    Start();
    for (int i = 0; i < steps && !fault_.found(); ++i) Step();
    if (!fault_.found()) ComeToRest();
    return fault_;
  }
  uint64_t changes() const { return changes_; }
  uint64_t acknowledged() const { return acknowledged_.size(); }
  uint64_t wills() const { return wills_due_.size(); }

 private:
  static StorageOptions OptionsOf(uint64_t seed) {
    StorageOptions options = SmallOptions();
    options.min_free_disk_bytes = 0;
    options.takeover_pause_max = absl::ZeroDuration();
    if (seed % 2 == 0) options.state_pending_bytes = 300;
    if (seed % 3 == 0) options.group_commands_max = 1 + seed % 5;
    return options;
  }
  ShardId AnyShard() { return static_cast<ShardId>(rng_.Below(kShards)); }
  Taker& AnyTaker() { return takers_[rng_.Below(takers_.size())]; }

  // ---- What happens

  void Start() {
    Open("exact", exact_.shard, exact_.connection, exact_.epoch);
    for (Taker& taker : takers_) Connect(taker);
    sim_.Settle();
    for (const Taker& taker : takers_) fault_.Check(taker.subscribed, "nobody is subscribed");
  }

  void Step() {
    switch (rng_.Below(16)) {
      case 0:
      case 1:
        return PublishExactly();
      case 2:
        return PublishAtLeastOnce();
      case 3:
      case 4:
        return sim_.BeginWrite();
      case 5:
      case 6:
        return sim_.EndWrite();
      case 7:
      case 8:
        return sim_.Run();
      case 9:
      case 10:
        return sim_.DeliverEvents();
      case 11:
      case 12:
        return AcknowledgeOne(AnyTaker());
      case 13:
        if (rng_.Chance(0.3)) sim_.core().WantFlush();
        if (rng_.Chance(0.3)) sim_.state().Flush();
        sim_.clock().Advance(absl::Milliseconds(3));
        return ComeOrGo();
      case 14:
        if (rng_.Chance(0.3)) Reconnect(AnyTaker());
        return;
      default:
        if (crashes_ && rng_.Chance(0.02)) return Crash();
        if (rng_.Chance(0.4)) ChangeLeader(static_cast<PartitionId>(rng_.Below(4)));
    }
  }

  void ChangeLeader(PartitionId id) {
    ++changes_;
    if (change_ == Change::kInPlace) return sim_.ReplaceLeader(id);
    sim_.core().leads(id) ? sim_.LoseLead(id, /*lost=*/rng_.Chance(0.5)) : sim_.TakeLead(id);
  }

  void PublishExactly() {
    if (exact_.refused) Open("exact", exact_.shard, exact_.connection, exact_.epoch);
    exact_.refused = false;
    if (exact_.token != 0 || exact_.epoch == 0) return;
    exact_.token = ++token_;
    if (exact_.stage == Exact::Stage::kIdle) {
      ++exact_.number;
      exact_.packet_id = static_cast<uint16_t>(exact_.number % 3 + 1);
      exact_.stage = Exact::Stage::kPublish;
    }
    if (exact_.stage == Exact::Stage::kRelease) {
      ReleaseInbound release;
      release.token = exact_.token;
      release.client_id = "exact";
      release.epoch = exact_.epoch;
      release.packet_ids.push_back(exact_.packet_id);
      return sim_.Send(std::move(release), exact_.shard);
    }
    storage::Publish publish = Message(absl::StrCat("e", exact_.number), mqtt::QoS::kExactlyOnce);
    publish.token = exact_.token;
    sim_.Send(MakeAccept(std::move(publish), "exact", exact_.epoch, exact_.packet_id),
              exact_.shard);
  }

  // From a transient session of the second shard, without waiting for the answer.
  void PublishAtLeastOnce() {
    storage::Publish publish = Message(absl::StrCat("l", ++least_number_), mqtt::QoS::kAtLeastOnce);
    publish.token = ++token_;
    publish.set_retained = rng_.Chance(0.2);
    asked_[publish.token] = absl::StrCat("l", least_number_);
    sim_.Send(std::move(publish), 1);
  }

  static storage::Publish Message(const std::string& payload, mqtt::QoS qos) {
    storage::Publish publish;
    publish.message = Text("news", payload, qos);
    publish.partitions = kAll;
    return publish;
  }

  void AcknowledgeOne(Taker& taker) {
    if (taker.epoch == 0) return;
    Acknowledge acknowledge;
    acknowledge.client_id = taker.client_id;
    acknowledge.epoch = taker.epoch;
    if (!taker.to_acknowledge.empty()) {
      const auto [sequence, qos] = *taker.to_acknowledge.begin();
      taker.to_acknowledge.erase(sequence);
      acknowledge.entries.push_back(
          {sequence, qos == mqtt::QoS::kExactlyOnce ? AckKind::kPubRec : AckKind::kPubAck});
    } else if (!taker.to_complete.empty()) {
      const uint64_t sequence = *taker.to_complete.begin();
      taker.to_complete.erase(sequence);
      acknowledge.entries.push_back({sequence, AckKind::kPubComp});
    } else {
      return;
    }
    sim_.Send(std::move(acknowledge), taker.shard);
    if (taker.former_epoch == 0 || !rng_.Chance(0.2)) return;
    // Of a connection that is gone: it says nothing about what this one was sent.
    Acknowledge late;
    late.client_id = taker.client_id;
    late.epoch = taker.former_epoch;
    for (uint64_t sequence = 1; sequence <= taker.sequence_of.size() + 3; ++sequence) {
      late.entries.push_back({sequence, AckKind::kPubAck});
    }
    sim_.Send(std::move(late), taker.shard);
  }

  void ComeOrGo() {
    // A will that is on its way when its partition is led elsewhere may be lost.
    if (change_ == Change::kElsewhere) return;
    if (!mortal_.open) {
      if (mortal_.connection != 0) return;
      mortal_.shard = AnyShard();
      mortal_.connection = ++connection_;
      OpenSession open = OpenFor("mortal", mortal_.shard, mortal_.connection, 0);
      open.will = Text("news", absl::StrCat("w", ++mortal_.number));
      return sim_.Send(std::move(open), mortal_.shard);
    }
    const bool says_goodbye = rng_.Chance(0.3);
    if (!says_goodbye) wills_due_.insert(absl::StrCat("w", mortal_.number));
    // The goodbye may be gone with a crash.
    if (says_goodbye && crashes_) may_be_due_.insert(absl::StrCat("w", mortal_.number));
    Close("mortal", mortal_.epoch, mortal_.shard, mortal_.connection,
          says_goodbye ? CloseCause::kNormal : CloseCause::kWithWill);
    mortal_.open = false;
    mortal_.connection = 0;
  }

  void Reconnect(Taker& taker) {
    if (taker.epoch == 0) return;
    taker.former_epoch = taker.epoch;
    if (rng_.Chance(0.5)) {  // Else it is a takeover.
      Close(taker.client_id, taker.epoch, taker.shard, taker.connection, CloseCause::kWithWill);
    }
    Connect(taker);
  }
  void Connect(Taker& taker) {
    taker.to_acknowledge.clear();
    taker.to_complete.clear();
    taker.on_wire.clear();
    taker.shard = AnyShard();
    Open(taker.client_id, taker.shard, taker.connection, taker.epoch);
  }

  void Close(const std::string& client_id, uint64_t epoch, ShardId shard, uint64_t connection,
             CloseCause cause) {
    CloseSession close;
    close.client_id = client_id;
    close.epoch = epoch;
    close.connection = {.shard = shard, .connection = connection};
    close.cause = cause;
    sim_.Send(std::move(close), shard);
  }
  OpenSession OpenFor(const std::string& client_id, ShardId shard, uint64_t connection,
                      uint32_t expiry_s) {
    OpenSession open;
    open.token = ++token_;
    open.connection = {.shard = shard, .connection = connection};
    open.client_id = client_id;
    open.expiry_s = expiry_s;
    open.window_messages = 3;
    open.window_bytes = 1000;
    opening_[open.token] = {client_id, connection};
    return open;
  }
  void Open(const std::string& client_id, ShardId shard, uint64_t& connection, uint64_t& epoch) {
    epoch = 0;
    connection = ++connection_;
    sim_.Send(OpenFor(client_id, shard, connection, kExpiryNever), shard);
  }

  // The whole machine. What was not acknowledged may be gone; the connections are.
  void Crash() {
    const std::string will = absl::StrCat("w", mortal_.number);
    if (mortal_.open) wills_due_.insert(will);
    if (mortal_.connection != 0)
      may_be_due_.insert(will);  // It may be connected as far as the log says.
    told_wills_.clear();         // Who heard of them is gone.
    sim_.Crash(rng_);
    asked_.clear();
    opening_.clear();
    mortal_ = {.number = mortal_.number};
    crashed_ = true;
    exact_.token = 0;
    Open("exact", exact_.shard, exact_.connection, exact_.epoch);
    for (Taker& taker : takers_) {
      taker.epoch = taker.former_epoch = 0;
      Connect(taker);
    }
    sim_.Settle();
  }

  // ---- What is heard

  void On(SessionOpened& event, ShardId /*shard*/) {
    const auto found = opening_.find(event.token);
    if (found == opening_.end()) return;
    const auto [client_id, connection] = found->second;
    opening_.erase(found);
    if (client_id == "exact" && connection == exact_.connection) {
      exact_.refused = !event.status.ok();
      exact_.epoch = event.epoch;
      // What was asked on the connection before has no answer any more.
    }
    if (client_id == "mortal" && connection == mortal_.connection) {
      mortal_.open = event.status.ok();
      mortal_.epoch = event.epoch;
      if (!mortal_.open) mortal_.connection = 0;
    }
    for (Taker& taker : takers_) {
      if (taker.client_id != client_id || taker.connection != connection) continue;
      fault_.Check(event.status.ok(), "a session is refused");
      taker.epoch = event.epoch;
      if (taker.subscribed) {
        fault_.Check(event.session_present && event.subscriptions.size() == 1,
                     "a session is not resumed");
        continue;
      }
      taker.subscribe_token = ++token_;
      sim_.Send(MakeSubscribe(taker.subscribe_token, taker.client_id, taker.epoch, "news",
                              mqtt::QoS::kExactlyOnce),
                taker.shard);
    }
  }
  void On(TakenOver& event, ShardId shard) {
    Close(event.client_id, event.epoch, shard, event.connection.connection, CloseCause::kTakenOver);
  }
  void On(SubscribeDone& event, ShardId /*shard*/) {
    fault_.Check(event.status.ok(), "SUBSCRIBE is refused");
    for (Taker& taker : takers_) {
      if (taker.subscribe_token == event.token) taker.subscribed = true;
    }
  }
  void On(Published& event, ShardId /*shard*/) {
    if (const auto asked = asked_.find(event.token); asked != asked_.end()) {
      if (event.status.ok()) acknowledged_.insert(asked->second);
      asked_.erase(asked);
    }
    if (event.token != exact_.token) return;
    exact_.token = 0;
    if (!event.status.ok()) {  // PUBREC with an error: the identifier is free for the next message.
      exact_.stage = Exact::Stage::kIdle;
      exact_.number += 2;  // With the same identifier.
      return;
    }
    acknowledged_.insert(absl::StrCat("e", exact_.number));
    exact_.stage = Exact::Stage::kRelease;
  }
  void On(InboundReleased& event, ShardId /*shard*/) {
    if (event.token != exact_.token) return;
    exact_.token = 0;
    if (event.status.ok()) exact_.stage = Exact::Stage::kIdle;
  }
  void On(Deliver& event, ShardId /*shard*/) {
    for (Taker& taker : takers_) {
      if (taker.connection != event.connection.connection || taker.epoch != event.epoch) continue;
      for (const Delivery& delivery : event.entries) Receive(taker, delivery);
    }
  }
  void Receive(Taker& taker, const Delivery& delivery) {
    if (delivery.release) {
      taker.to_complete.insert(delivery.sequence);
      return;
    }
    fault_.Check(taker.on_wire.insert(delivery.sequence).second,
                 "a PUBLISH twice on one connection");
    const std::string payload(delivery.message->payload());
    const auto [place, first] = taker.sequence_of.emplace(payload, delivery.sequence);
    fault_.Check(place->second == delivery.sequence,
                 absl::StrCat("a message twice under two identifiers: ", payload));
    if (first) {
      uint64_t number = 0;
      fault_.Check(absl::SimpleAtoi(base::AbslView(std::string_view(payload).substr(1)), &number),
                   "a payload that nobody sent");
      fault_.Check(number > taker.last[payload[0]], "a message behind a later one");
      taker.last[payload[0]] = number;
    } else {
      // Nobody waits for PUBACK to be synced: a crash may take back more of them than are counted.
      fault_.Check(delivery.dup || crashed_,
                   absl::StrCat("a message again without DUP: ", payload));
      fault_.Check(!released_.contains({taker.client_id, delivery.sequence}),
                   "a PUBLISH behind its PUBREL");
    }
    taker.to_acknowledge[delivery.sequence] = delivery.qos;
  }
  void On(ReleaseDue& event, ShardId /*shard*/) {
    for (Taker& taker : takers_) {
      if (taker.connection != event.connection.connection || taker.epoch != event.epoch) continue;
      for (const uint64_t sequence : event.sequences) {
        taker.to_complete.insert(sequence);
        released_.insert({taker.client_id, sequence});
      }
    }
  }
  void On(RouteMessage& event, ShardId /*shard*/) {
    const std::string payload(event.message->payload());
    if (payload[0] != 'w') return;
    fault_.Check(told_wills_.insert(payload).second, "a will is published twice");
    fault_.Check(wills_due_.contains(payload) || may_be_due_.contains(payload),
                 absl::StrCat("a will is published that is not due: ", payload));
  }
  template <typename Other>
  void On(Other& /*event*/, ShardId /*shard*/) {}

  // ---- What must have happened

  // Nobody connects anew: what is open must come to its end on the connections that live.
  void ComeToRest() {
    for (PartitionId id = 0; id < 4; ++id) sim_.TakeLead(id);
    sim_.Settle();
    for (int i = 0; i < 400; ++i) {
      for (Taker& taker : takers_) AcknowledgeOne(taker);
      if (i % 4 == 0 && exact_.stage != Exact::Stage::kIdle) PublishExactly();
      sim_.Settle();
      for (Taker& taker : takers_) {
        while (!taker.to_acknowledge.empty() || !taker.to_complete.empty()) {
          if (taker.epoch == 0 || fault_.found()) break;
          AcknowledgeOne(taker);
          sim_.Settle();
        }
      }
      if (i > 20 && AllAreEmpty()) break;
    }
    fault_.Check(asked_.empty() && exact_.token == 0, "a request has no answer");
    fault_.Check(opening_.empty() || crashed_, "a connection has no answer");
    for (const Taker& taker : takers_) {
      fault_.Check(taker.epoch != 0, "a client is never let in");
      for (const std::string& payload : acknowledged_) {
        fault_.Check(taker.sequence_of.contains(payload),
                     absl::StrCat("acknowledged and never delivered: ", payload));
      }
      for (const std::string& payload : wills_due_) {
        fault_.Check(taker.sequence_of.contains(payload),
                     absl::StrCat("a will that nobody got: ", payload));
      }
    }
    fault_.Check(AllAreEmpty(), "a queue is never empty");
    for (const std::string& payload : wills_due_) {
      fault_.Check(crashed_ || told_wills_.contains(payload),
                   absl::StrCat("a will that is not published: ", payload));
    }
    for (ShardId shard = 0; shard < kShards; ++shard) {
      fault_.Check(sim_.kept(shard) <= 4 * 64, "requests are kept for ever");
    }
    for (PartitionId id = 0; id < 4; ++id) {
      fault_.Check(sim_.core().partition(id).origins().Dump().size() < 10'000,
                   "holes are kept for ever");
    }
  }
  bool AllAreEmpty() {
    for (const Taker& taker : takers_) {
      const PartitionId id = PartitionOfClient(taker.client_id, 4);
      const Session* const session = sim_.core().partition(id).Find(taker.client_id);
      if (session == nullptr || session->queue.messages() != 0) return false;
    }
    return true;
  }

  base::Rng rng_;
  const bool crashes_;
  const Change change_;
  HostSim sim_;
  Fault fault_;
  Exact exact_;
  std::vector<Taker> takers_;
  Mortal mortal_;
  std::map<Token, std::pair<std::string, uint64_t>> opening_;
  std::map<Token, std::string> asked_;
  std::set<std::string> acknowledged_;
  std::set<std::string> wills_due_;
  std::set<std::string> may_be_due_;
  std::set<std::string> told_wills_;
  std::set<std::pair<std::string, uint64_t>> released_;
  uint64_t least_number_ = 0;
  Token token_ = 0;
  uint64_t connection_ = 0;
  uint64_t changes_ = 0;
  bool crashed_ = false;
};

constexpr int kSteps = 1500;

uint64_t NumberFrom(const char* variable, uint64_t otherwise) {
  const char* const wanted = std::getenv(variable);
  uint64_t number = 0;
  return wanted != nullptr && absl::SimpleAtoi(wanted, &number) ? number : otherwise;
}
// More with MQTTD_SEEDS=10000 in the environment, and with MQTTD_SEED=81 that one only.
uint64_t FirstSeed() { return NumberFrom("MQTTD_SEED", 1); }
uint64_t LastSeed() { return NumberFrom("MQTTD_SEED", NumberFrom("MQTTD_SEEDS", 200)); }

void RunSeeds(bool crashes, Change change = Change::kInPlace) {
  uint64_t changes = 0;
  uint64_t acknowledged = 0;
  uint64_t wills = 0;
  for (uint64_t seed = FirstSeed(); seed <= LastSeed(); ++seed) {
    World world(seed, Mutant::kNone, crashes, change);
    const Fault& fault = world.Run(kSteps);
    changes += world.changes();
    acknowledged += world.acknowledged();
    wills += world.wills();
    ASSERT_FALSE(fault.found()) << "seed " << seed << ": " << fault.text();
  }
  const uint64_t seeds = LastSeed() - FirstSeed() + 1;
  if (seeds < 100) return;  // Of few nothing can be expected.
  EXPECT_GT(changes, seeds * 10);
  EXPECT_GT(acknowledged, seeds * 50);
  if (change == Change::kInPlace) {
    EXPECT_GT(wills, seeds * 3);
  }
}

TEST(LeaderChange, LosesNothingDoublesNothingAndStarvesNobody) { RunSeeds(/*crashes=*/false); }

TEST(LeaderChange, NorDoesItTogetherWithCrashes) { RunSeeds(/*crashes=*/true); }

TEST(LeaderChange, NorWhenAnotherNodeLeadsForAWhile) {
  RunSeeds(/*crashes=*/false, Change::kElsewhere);
}

// What the test would not notice it does not test.
class LeaderChangeMutants : public testing::TestWithParam<Mutant> {};

TEST_P(LeaderChangeMutants, AreFoundWithinAHundredSeeds) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    const bool crashes =
        GetParam() == Mutant::kAcknowledgeBeforeCommit || GetParam() == Mutant::kDropOutboxEarly;
    World world(seed, GetParam(), crashes);
    if (world.Run(kSteps).found()) return;
  }
  FAIL() << "nobody noticed";
}

INSTANTIATE_TEST_SUITE_P(All, LeaderChangeMutants,
                         testing::Values(Mutant::kAcknowledgeBeforeCommit, Mutant::kForgetEpoch,
                                         Mutant::kSkipSequence, Mutant::kRefuseAfterProposing,
                                         Mutant::kResendFromHead, Mutant::kDropOutboxEarly));

}  // namespace
}  // namespace storage
