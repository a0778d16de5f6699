// Three nodes over one log: leaders move, links break with what is on its way, and a node dies and
// comes back. What must hold all the same.
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
#include "tests/storage/cluster_sim.h"
#include "tests/storage/host_fixture.h"

namespace storage {
namespace {

using Placed = ClusterSim::Placed;
constexpr ShardId kShards = ClusterSim::kShards;
constexpr size_t kNowhere = SIZE_MAX;

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

// A client with a session that stays, and that takes everything.
struct Taker {
  std::string client_id;
  size_t node = kNowhere;  // Where it is connected, or is about to be.
  ShardId shard = 0;
  uint64_t connection = 0;
  uint64_t epoch = 0;            // 0: it has no CONNACK yet.
  bool lost_connection = false;  // Its node died: what was sent may come again without DUP.
  bool asked = false;            // For its subscription.
  bool subscribed = false;       // It has SUBACK.
  Token subscribe_token = 0;
  std::map<std::string, uint64_t> sequence_of;  // Payload → sequence.
  std::map<std::string, uint64_t> last;         // Of each publisher, the latest number.
  std::map<uint64_t, mqtt::QoS> to_acknowledge;
  std::set<uint64_t> to_complete;
  std::set<uint64_t> on_wire;  // Sequences sent as PUBLISH on this connection.
};

// Connects with a will, and goes with or without a goodbye, or with its node.
struct Mortal {
  size_t node = kNowhere;
  ShardId shard = 0;
  uint64_t connection = 0;
  uint64_t epoch = 0;
  uint64_t number = 0;  // Of the will.
};

class World {
 public:
  World(uint64_t seed, Placed placed)
      : rng_(seed), sim_(OptionsOf(seed), seed, placed), publishers_(sim_.nodes() * kShards) {
    sim_.on_event = [this](SimShard& shard, Event& event) {
      std::visit([&](auto& one) { On(one, shard); }, event);
    };
    sim_.on_death = [this](size_t node) { OnDeath(node); };
    for (int i = 0; i < 6; ++i) takers_.emplace_back().client_id = absl::StrCat("taker", i);
  }

  const Fault& Run(int steps) {
    sim_.Settle();
    for (int i = 0; i < 2; ++i) Connect(takers_[size_t(i)]);
    sim_.Settle();
    for (int i = 0; i < steps && !fault_.found(); ++i) Step();
    if (!fault_.found()) ComeToRest();
    return fault_;
  }
  uint64_t moves() const { return moves_; }
  uint64_t deaths() const { return deaths_; }
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
  size_t AnyNode() { return rng_.Below(sim_.nodes()); }
  ShardId AnyShard() { return static_cast<ShardId>(rng_.Below(kShards)); }
  Taker& AnyTaker() { return takers_[rng_.Below(takers_.size())]; }
  bool Serves(size_t node) { return sim_.lives(node) && sim_.ready(node); }

  // ---- What happens

  void Step() {
    switch (rng_.Below(20)) {
      case 0:
      case 1:
      case 2:
        return PublishSomething();
      case 3:
      case 4:
      case 5:
        return sim_.RunHost(AnyNode());
      case 6:
      case 7:
        return sim_.Commit(AnyNode());
      case 8:
      case 9:
        return sim_.HearLog(AnyNode(), 1 + rng_.Below(4));
      case 10:
      case 11:
      case 12:
      case 13:
        return sim_.Carry(AnyNode(), AnyNode(), 1 + rng_.Below(8));
      case 14:
      case 15:
        return AcknowledgeOne(AnyTaker());
      case 16:
        if (rng_.Chance(0.2)) return Reconnect(AnyTaker());
        return ComeOrGo();
      case 17:
        // Now and then for longer than a new leader waits for those who have not told.
        sim_.clock().Advance(absl::Milliseconds(rng_.Chance(0.2) ? 300 : 3));
        return sim_.HearNews(AnyNode());
      case 18:
        if (rng_.Chance(0.1)) return sim_.BreakLink(AnyNode(), AnyNode());
        return MendLinks();
      default:
        return Upset();
    }
  }

  void MendLinks() {
    for (size_t node = 0; node < sim_.nodes(); ++node) {
      if (rng_.Chance(0.3)) sim_.MendLink(node, (node + 1) % sim_.nodes());
      if (sim_.nodes() > 3 && rng_.Chance(0.3)) sim_.MendLink(node, (node + 2) % sim_.nodes());
    }
  }
  void Upset() {
    if (rng_.Chance(0.2)) {
      ++moves_;
      return sim_.MoveLead(static_cast<PartitionId>(rng_.Below(4)), AnyNode());
    }
    if (dead_ != kNowhere) {
      if (rng_.Chance(0.3)) sim_.Restart(std::exchange(dead_, kNowhere));
      return;
    }
    if (!rng_.Chance(0.02)) return;
    ++deaths_;
    dead_ = AnyNode();
    sim_.Kill(dead_);
  }

  // From a transient session of some shard, without waiting for the answer.
  void PublishSomething() {
    const size_t node = AnyNode();
    if (!Serves(node)) return;
    const ShardId shard = AnyShard();
    uint64_t& number = publishers_[node * kShards + shard];
    SimShard& from = sim_.shard(node, shard);
    const std::string payload =
        absl::StrCat("n", node, "i", from.address.incarnation.value(), "s", shard, ":", ++number);
    storage::Publish publish;
    publish.message =
        Text("news", payload, rng_.Chance(0.5) ? mqtt::QoS::kAtLeastOnce : mqtt::QoS::kExactlyOnce);
    publish.token = ++token_;
    publish.partitions = ClusterSim::RoutesOf(from, "news");
    std::set<std::string>& wanted = wanted_by_[payload];
    for (const Taker& taker : takers_) {
      if (taker.subscribed) wanted.insert(taker.client_id);
    }
    if (publish.partitions == 0) {
      acknowledged_.insert(payload);
      return;
    }
    asked_[publish.token] = payload;
    sim_.Ask(from, std::move(publish));
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
    sim_.Ask(sim_.shard(taker.node, taker.shard), std::move(acknowledge));
  }

  void ComeOrGo() {
    if (mortal_.node == kNowhere) {
      mortal_.node = AnyNode();
      if (!Serves(mortal_.node)) {
        mortal_.node = kNowhere;
        return;
      }
      mortal_.shard = AnyShard();
      SimShard& shard = sim_.shard(mortal_.node, mortal_.shard);
      mortal_.connection = ++connection_;
      OpenSession open = OpenFor("mortal", shard, mortal_.connection, 0);
      const std::string will = absl::StrCat("will:", ++mortal_.number);
      open.will = Text("news", will);
      return sim_.Ask(shard, std::move(open));
    }
    if (mortal_.epoch == 0) return;
    const bool says_goodbye = rng_.Chance(0.3);
    if (!says_goodbye) WillIsDue();
    Close("mortal", mortal_.node, mortal_.shard, mortal_.connection, mortal_.epoch,
          says_goodbye ? CloseCause::kNormal : CloseCause::kWithWill);
    // The goodbye may die with its node.
    if (says_goodbye) may_be_due_.insert(absl::StrCat("will:", mortal_.number));
    mortal_.node = kNowhere;
    mortal_.epoch = 0;
  }
  void WillIsDue() {
    const std::string will = absl::StrCat("will:", mortal_.number);
    wills_due_.insert(will);
    std::set<std::string>& wanted = wanted_by_[will];
    for (const Taker& taker : takers_) {
      if (taker.subscribed) wanted.insert(taker.client_id);
    }
  }

  void Reconnect(Taker& taker) {
    if (taker.node != kNowhere && taker.epoch == 0) return;  // Let it get in first.
    if (taker.epoch != 0 && rng_.Chance(0.5)) {              // Else it is a takeover.
      Close(taker.client_id, taker.node, taker.shard, taker.connection, taker.epoch,
            CloseCause::kWithWill);
      taker.node = kNowhere;
      taker.epoch = 0;
    }
    Connect(taker);
  }
  void Connect(Taker& taker) {
    const size_t node = AnyNode();
    if (!Serves(node)) return;
    taker.to_acknowledge.clear();
    taker.to_complete.clear();
    taker.on_wire.clear();
    taker.node = node;
    taker.shard = AnyShard();
    taker.epoch = 0;
    taker.connection = ++connection_;
    SimShard& shard = sim_.shard(node, taker.shard);
    sim_.Ask(shard, OpenFor(taker.client_id, shard, taker.connection, kExpiryNever));
  }
  void Close(const std::string& client_id, size_t node, ShardId shard, uint64_t connection,
             uint64_t epoch, CloseCause cause) {
    LetGo(client_id, connection);
    CloseSession close;
    close.client_id = client_id;
    close.epoch = epoch;
    close.connection = RefOf(sim_.shard(node, shard), connection);
    close.cause = cause;
    sim_.Ask(sim_.shard(node, shard), std::move(close));
  }
  void LetGo(const std::string& client_id, uint64_t connection) {
    const auto found = owners_.find(client_id);
    if (found != owners_.end() && found->second.connection == connection) owners_.erase(found);
  }
  static ConnectionRef RefOf(const SimShard& shard, uint64_t connection) {
    return {.node = shard.address.node,
            .shard = shard.address.shard,
            .incarnation = shard.address.incarnation,
            .connection = connection};
  }
  OpenSession OpenFor(const std::string& client_id, const SimShard& shard, uint64_t connection,
                      uint32_t expiry_s) {
    OpenSession open;
    open.token = ++token_;
    open.connection = RefOf(shard, connection);
    open.client_id = client_id;
    open.expiry_s = expiry_s;
    open.window_messages = 3;
    open.window_bytes = 1000;
    opening_[open.token] = {client_id, connection};
    return open;
  }

  void OnDeath(size_t node) {
    if (mortal_.node == node) {
      if (mortal_.epoch != 0) {
        WillIsDue();
      } else {
        may_be_due_.insert(absl::StrCat("will:", mortal_.number));
      }
      mortal_.node = kNowhere;
      mortal_.epoch = 0;
    }
    for (Taker& taker : takers_) {
      if (taker.node != node) continue;
      taker.node = kNowhere;
      taker.epoch = 0;
      taker.lost_connection = true;
      if (!taker.subscribed) taker.asked = false;
    }
    std::erase_if(owners_, [&](const auto& one) { return one.second.node == node; });
    // Nobody waits for these any more.
    std::erase_if(asked_, [&](const auto& one) {
      return one.second.substr(0, 2) == absl::StrCat("n", node);
    });
    for (auto it = opening_.begin(); it != opening_.end();) {
      const auto& connections = sim_.shard(node, 0).connections;
      const auto& others = sim_.shard(node, 1).connections;
      const uint64_t connection = it->second.second;
      const bool here = connections.contains(connection) || others.contains(connection);
      it = here ? opening_.erase(it) : std::next(it);
    }
  }

  // ---- What is heard

  void On(SessionOpened& event, SimShard& shard) {
    const auto found = opening_.find(event.token);
    if (found == opening_.end()) return;
    const auto [client_id, connection] = found->second;
    opening_.erase(found);
    fault_.Check(event.status.ok(),
                 absl::StrCat("a session is refused: ", std::string(event.status.message())));
    if (client_id == "mortal" && connection == mortal_.connection) mortal_.epoch = event.epoch;
    for (Taker& taker : takers_) {
      if (taker.client_id != client_id) continue;
      const auto [owner, is_first] =
          owners_.emplace(client_id, Owner{connection, size_t{shard.address.node.value()} - 1});
      fault_.Check(is_first || owner->second.connection == connection,
                   "two connections have one identifier");
      if (taker.connection != connection) continue;
      taker.epoch = event.epoch;
      if (taker.subscribed) {
        fault_.Check(event.session_present && event.subscriptions.size() == 1,
                     "a session is not resumed");
        continue;
      }
      taker.subscribe_token = ++token_;
      sim_.Ask(shard, MakeSubscribe(taker.subscribe_token, taker.client_id, taker.epoch, "news",
                                    mqtt::QoS::kExactlyOnce));
    }
  }
  void On(TakenOver& event, SimShard& shard) {
    LetGo(event.client_id, event.connection.connection);
    CloseSession close;
    close.client_id = event.client_id;
    close.epoch = event.epoch;
    close.connection = event.connection;
    close.cause = CloseCause::kTakenOver;
    for (Taker& taker : takers_) {
      if (taker.connection != event.connection.connection) continue;
      taker.node = kNowhere;
      taker.epoch = 0;
    }
    sim_.Ask(shard, std::move(close));
  }
  void On(SubscribeDone& event, SimShard& /*shard*/) {
    for (Taker& taker : takers_) {
      if (taker.subscribe_token == event.token && taker.epoch != 0) {
        fault_.Check(event.status.ok(), "SUBSCRIBE is refused");
        taker.subscribed = true;
      }
    }
  }
  void On(Published& event, SimShard& /*shard*/) {
    const auto asked = asked_.find(event.token);
    if (asked == asked_.end()) return;
    fault_.Check(event.status.ok(), "a message is refused");
    acknowledged_.insert(asked->second);
    asked_.erase(asked);
  }
  void On(Deliver& event, SimShard& /*shard*/) {
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
      const size_t colon = payload.find(':');
      uint64_t number = 0;
      fault_.Check(
          absl::SimpleAtoi(base::AbslView(std::string_view(payload).substr(colon + 1)), &number),
          "a payload that nobody sent");
      uint64_t& last = taker.last[payload.substr(0, colon)];
      // Wills are of sessions that follow each other; several nodes may pass them on.
      const bool is_will = payload.substr(0, colon) == "will";
      fault_.Check(is_will || number > last,
                   absl::StrCat("a message behind a later one: ", payload));
      last = number;
    } else {
      fault_.Check(delivery.dup || taker.lost_connection,
                   absl::StrCat("a message again without DUP: ", payload));
      fault_.Check(!released_.contains({taker.client_id, delivery.sequence}),
                   "a PUBLISH behind its PUBREL");
    }
    taker.to_acknowledge[delivery.sequence] = delivery.qos;
  }
  void On(ReleaseDue& event, SimShard& /*shard*/) {
    for (Taker& taker : takers_) {
      if (taker.connection != event.connection.connection || taker.epoch != event.epoch) continue;
      for (const uint64_t sequence : event.sequences) {
        taker.to_complete.insert(sequence);
        released_.insert({taker.client_id, sequence});
      }
    }
  }
  void On(RouteMessage& event, SimShard& /*shard*/) {
    const std::string payload(event.message->payload());
    fault_.Check(wills_due_.contains(payload) || may_be_due_.contains(payload),
                 absl::StrCat("a will is published that is not due: ", payload));
  }
  template <typename Other>
  void On(Other& /*event*/, SimShard& /*shard*/) {}

  // ---- What must have happened

  void ComeToRest() {
    sim_.Settle();
    for (int i = 0; i < 600; ++i) {
      for (Taker& taker : takers_) {
        if (taker.node == kNowhere) Connect(taker);
        for (int acknowledgements = 0; acknowledgements < 8; ++acknowledgements) {
          AcknowledgeOne(taker);
        }
      }
      sim_.Settle();
      if (i > 20 && AllAreEmpty()) break;
    }
    fault_.Check(asked_.empty(), "a request has no answer");
    fault_.Check(opening_.empty(), "a connection has no answer");
    for (const Taker& taker : takers_) {
      fault_.Check(taker.epoch != 0, "a client is never let in");
      fault_.Check(taker.subscribed, "a SUBSCRIBE has no answer");
    }
    for (const std::string& payload : acknowledged_) CheckDelivered(payload, "acknowledged");
    for (const std::string& payload : wills_due_) CheckDelivered(payload, "a will, due");
    fault_.Check(AllAreEmpty(), "a queue is never empty");
    for (size_t node = 0; node < sim_.nodes(); ++node) {
      for (ShardId shard = 0; shard < kShards; ++shard) {
        fault_.Check(sim_.shard(node, shard).streams.kept() <= 4 * 64,
                     "requests are kept for ever");
      }
      for (PartitionId id = 0; id < 4; ++id) {
        if (!sim_.Holds(node, id)) continue;
        fault_.Check(sim_.host(node).partition(id).digest() == sim_.StateOf(id).digest(),
                     "replicas have become different");
        fault_.Check(
            sim_.host(node).partition(id).origins().Shards().size() <= sim_.nodes() * kShards,
            "lives that are over are remembered for ever");
      }
    }
  }
  void CheckDelivered(const std::string& payload, std::string_view what) {
    for (const Taker& taker : takers_) {
      if (!wanted_by_[payload].contains(taker.client_id)) continue;
      fault_.Check(taker.sequence_of.contains(payload),
                   absl::StrCat(std::string(what), " and never delivered to ", taker.client_id,
                                ": ", payload));
    }
  }
  bool AllAreEmpty() {
    for (const Taker& taker : takers_) {
      const PartitionId id = sim_.PartitionOf(taker.client_id);
      const Session* const session = sim_.StateOf(id).Find(taker.client_id);
      if (session == nullptr || session->queue.messages() != 0) return false;
    }
    return true;
  }

  base::Rng rng_;
  ClusterSim sim_;
  Fault fault_;
  std::vector<Taker> takers_;
  Mortal mortal_;
  std::vector<uint64_t> publishers_;  // By shard: of the last message.
  std::map<Token, std::pair<std::string, uint64_t>> opening_;
  std::map<Token, std::string> asked_;
  std::set<std::string> acknowledged_;
  std::map<std::string, std::set<std::string>> wanted_by_;  // Who had SUBACK before it was sent.
  std::set<std::string> wills_due_;
  std::set<std::string> may_be_due_;
  std::set<std::pair<std::string, uint64_t>> released_;
  // Who has an identifier, as far as the shards know.
  struct Owner {
    uint64_t connection = 0;
    size_t node = 0;
  };
  std::map<std::string, Owner> owners_;
  Token token_ = 0;
  uint64_t connection_ = 0;
  size_t dead_ = kNowhere;
  uint64_t moves_ = 0;
  uint64_t deaths_ = 0;
};

constexpr int kSteps = 5000;

uint64_t NumberFrom(const char* variable, uint64_t otherwise) {
  const char* const wanted = std::getenv(variable);
  uint64_t number = 0;
  return wanted != nullptr && absl::SimpleAtoi(wanted, &number) ? number : otherwise;
}
// More with MQTTD_SEEDS=10000 in the environment, and with MQTTD_SEED=81 that one only.
uint64_t FirstSeed() { return NumberFrom("MQTTD_SEED", 1); }
uint64_t LastSeed() { return NumberFrom("MQTTD_SEED", NumberFrom("MQTTD_SEEDS", 200)); }

void RunAll(Placed placed) {
  uint64_t moves = 0;
  uint64_t deaths = 0;
  uint64_t acknowledged = 0;
  uint64_t wills = 0;
  for (uint64_t seed = FirstSeed(); seed <= LastSeed(); ++seed) {
    World world(seed, placed);
    const Fault& fault = world.Run(kSteps);
    moves += world.moves();
    deaths += world.deaths();
    acknowledged += world.acknowledged();
    wills += world.wills();
    ASSERT_FALSE(fault.found()) << "seed " << seed << ": " << fault.text();
  }
  const uint64_t seeds = LastSeed() - FirstSeed() + 1;
  if (seeds < 100) return;  // Of few nothing can be expected.
  EXPECT_GT(moves, seeds * 10);
  EXPECT_GT(deaths, seeds / 2);
  EXPECT_GT(acknowledged, seeds * 50);
  EXPECT_GT(wills, seeds / 4);
}

TEST(ClusterChange, LosesNothingDoublesNothingAndStarvesNobody) { RunAll(Placed::kEverywhere); }

// A fourth node has no replica at all, others lack some: they know of routes what leaders tell.
TEST(ClusterChange, NodesWithoutReplicasAreNoWorse) { RunAll(Placed::kElsewhere); }

// What a shard finds there of what is retained, a page at a time.
class RetainedElsewhere : public testing::Test {
 protected:
  RetainedElsewhere() {
    sim_.on_event = [this](SimShard& /*shard*/, Event& event) {
      if (auto* const page = std::get_if<RetainedPage>(&event)) pages_.push_back(std::move(*page));
    };
    sim_.Settle();
    for (int i = 0; i < 40; ++i) {
      storage::Publish publish;
      publish.token = ++token_;
      publish.message = mqtt::Message::Create({.topic = absl::StrCat("kept/", i),
                                               .payload = "x",
                                               .qos = mqtt::QoS::kAtLeastOnce,
                                               .retain = true});
      publish.set_retained = true;
      sim_.Ask(sim_.shard(size_t(i) % sim_.nodes(), 0), std::move(publish));
    }
    sim_.Settle();
  }
  void Ask(size_t node, std::string filter, std::string cursor, std::vector<std::string> others) {
    ScanRetained scan{.token = ++token_, .filter = std::move(filter), .cursor = std::move(cursor)};
    scan.others = std::move(others);
    scan.messages_max = 7;
    sim_.Ask(sim_.shard(node, 0), std::move(scan));
  }
  RetainedPage Answer() {
    for (int i = 0; i < 100 && pages_.empty(); ++i) sim_.Settle();
    EXPECT_EQ(pages_.size(), 1u);
    if (pages_.empty()) return {};
    RetainedPage page = std::move(pages_.front());
    pages_.clear();
    EXPECT_TRUE(page.status.ok()) << page.status;
    EXPECT_EQ(page.token, token_);
    return page;
  }
  std::set<std::string> Read(size_t node, const std::string& filter) {
    std::set<std::string> topics;
    std::string cursor;
    for (int pages = 0; pages < 100; ++pages) {
      Ask(node, filter, cursor, {});
      const RetainedPage page = Answer();
      for (const mqtt::MessagePtr& message : page.messages)
        EXPECT_TRUE(topics.insert(std::string(message->topic())).second) << "twice";
      cursor = page.cursor;
      if (cursor.empty()) return topics;
    }
    ADD_FAILURE() << "it never ends";
    return topics;
  }

  ClusterSim sim_{SmallOptions(), 7, Placed::kElsewhere};
  std::vector<RetainedPage> pages_;
  Token token_ = 0;
};

TEST_F(RetainedElsewhere, IsFoundByEveryNode) {
  for (size_t node = 0; node < sim_.nodes(); ++node) {
    EXPECT_EQ(Read(node, "kept/+").size(), 40u) << node;
    for (int i = 0; i < 40; i += 7) {
      const std::string topic = absl::StrCat("kept/", i);
      EXPECT_EQ(Read(node, topic), std::set<std::string>{topic}) << node;
    }
  }
}

TEST_F(RetainedElsewhere, IsLookedForOneFilterAfterTheOther) {
  for (size_t node = 0; node < sim_.nodes(); ++node) {
    Ask(node, "none/1", "", {"none/2", "none/3", "kept/5", "kept/6"});
    const RetainedPage page = Answer();
    // Where it is looked for by another node that may be in several steps.
    if (page.passed == 3) {
      ASSERT_EQ(page.messages.size(), 1u) << node;
      EXPECT_EQ(page.messages[0]->topic(), "kept/5");
    } else {
      EXPECT_TRUE(page.messages.empty() && !page.cursor.empty()) << node;
    }
  }
}

TEST_F(RetainedElsewhere, IsAskedForAgainWhenALinkBreaks) {
  Ask(3, "kept/+", "", {});
  sim_.Carry(3, 3, 1);
  sim_.RunHost(3);
  for (size_t other = 0; other < 3; ++other) sim_.BreakLink(3, other);
  const RetainedPage page = Answer();
  EXPECT_EQ(page.messages.size(), 7u);
}

TEST_F(RetainedElsewhere, IsFoundForWhoLooksFromOutside) {
  size_t found = 0;
  std::string cursor;
  bool more = true;
  while (more) {
    std::optional<absl::StatusOr<RetainedScans::Page>> page;
    RetainedScanOptions options;
    options.messages_max = 9;
    sim_.host(3).ReadRetained("kept/#", cursor, options,
                              [&](auto read) { page = std::move(read); });
    for (int i = 0; i < 100 && !page.has_value(); ++i) sim_.Settle();
    ASSERT_TRUE(page.has_value() && page->ok());
    found += (*page)->messages.size();
    cursor = (*page)->cursor;
    more = !cursor.empty();
  }
  EXPECT_EQ(found, 40u);
}

}  // namespace
}  // namespace storage
