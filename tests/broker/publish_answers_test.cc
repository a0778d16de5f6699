// Partitions that answer for their parts of a PUBLISH in whatever order: what a publisher and the
// subscribers see all the same.
#include <gmock/gmock.h>

#include <algorithm>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "mqtt/message.h"
#include "storage/core/keys.h"
#include "tests/broker/fake_host.h"

namespace broker {
namespace {

using support::Packet;
using enum support::PacketType;

constexpr uint32_t kPartitions = 4;
constexpr auto kQos2 = mqtt::QoS::kExactlyOnce;

// A publisher that does not wait, a transient subscriber of everything, a `$share` group with one
// transient member, and durable sessions in several partitions.
class PublishAnswers : public ServerTest, public testing::WithParamInterface<uint64_t> {
 protected:
  // A message that the host was asked to store, and how many parts of it are not answered.
  struct Asked {
    storage::Token token = 0;
    std::vector<storage::PartitionId> left;  // Those that have not answered.
    bool refused = false;                    // As a whole.
    bool decided = false;
    std::set<storage::PartitionId> refused_by = {};  // Of a record of an outbox.
    std::string payload;
  };

  // "d0" … "d3" are for the durable sessions of one partition each, "all" for those of all.
  void SetUpRoutes() {
    for (uint32_t id = 0; id < kPartitions; ++id) {
      const auto partition = static_cast<storage::PartitionId>(id);
      Post(0, storage::RouteChange{
                  .number = id + 1, .partition = partition, .filter = absl::StrCat("d", id)});
      Post(0, storage::RouteChange{.number = id + 1, .partition = partition, .filter = "all"});
    }
  }
  // Takes in what the shard asked since: a part for each partition, those of a message in a row.
  void Collect(base::Rng& rng) {
    while (host_.Has<storage::Publish>()) {
      auto part = host_.Take<storage::Publish>();
      EXPECT_TRUE(seen_.emplace(part.token, part.partition).second) << "asked twice";
      if (asked_.empty() || asked_.back().token != part.token) {  // They follow each other.
        asked_.push_back({.token = part.token, .payload = std::string(part.message->payload())});
        asked_.back().decided = static_cast<bool>(part.outbox);
      }
      if (part.outbox && !Takes(part, rng)) asked_.back().refused_by.insert(part.partition);
      asked_.back().left.push_back(part.partition);
      if (part.set_retained) {
        EXPECT_EQ(storage::PartitionOfTopic(part.message->topic(), kPartitions), part.partition);
      }
    }
    while (host_.Has<storage::AcceptInbound>()) {
      accepting_.push_back(host_.Take<storage::AcceptInbound>());
    }
    while (host_.Has<storage::OutboxDone>()) {
      const auto done = host_.Take<storage::OutboxDone>();
      if (done.fate != storage::OutboxDone::Fate::kPassedOn) {
        given_back_.insert(done.number);
        continue;
      }
      told_.erase(done.number);
      if (done.token == 0) continue;
      Post(0, storage::Published{.token = done.token, .partition = done.partition});
    }
  }
  // Whether the partition takes its part of a record: now and then not, and nothing that comes
  // behind what it has not taken.
  bool Takes(const storage::Publish& part, base::Rng& rng) {
    std::set<uint64_t>& taken = taken_[{part.partition, part.outbox.partition}];
    if (taken.contains(part.outbox.number)) return true;
    if (part.outbox_after != 0 && !taken.contains(part.outbox_after)) return false;
    if (rng.Chance(0.1)) return false;
    for (const uint64_t number : taken) {
      if (part.message->qos() != kQos2 || number < 1000) continue;
      EXPECT_LT(number, part.outbox.number) << "one has overtaken another";
    }
    taken.insert(part.outbox.number);
    return true;
  }
  void Tell(storage::RouteMessage record) {
    told_[record.outbox.number] = record;
    Post(0, std::move(record));
  }
  void TellAgain() {
    for (const uint64_t number : std::exchange(given_back_, {})) Post(0, told_.at(number));
  }
  bool AllIsDone() const { return asked_.empty() && accepting_.empty() && told_.empty(); }
  // The publisher's partition has one more QoS 2 message, or refuses it.
  void AcceptOne(base::Rng& rng) {
    Collect(rng);
    if (accepting_.empty()) return;
    const storage::AcceptInbound accept = std::move(accepting_.front());
    accepting_.pop_front();
    const auto home = storage::PartitionOfClient(accept.client_id, kPartitions);
    storage::Published answer{.token = accept.token, .partition = home};
    if (rng.Chance(0.1)) {
      answer.status = absl::ResourceExhaustedError("disk full");
      refused_.emplace_back(accept.message->payload());
      return Post(0, std::move(answer));
    }
    Post(0, std::move(answer));
    Tell(storage::RouteMessage{.message = accept.message,
                               .outbox = {.partition = home, .number = ++records_, .kept_from = 1},
                               .clears_only = accept.clears_only,
                               .in_order = true,
                               .targets = accept.targets});
  }
  void AnswerOne(base::Rng& rng) {
    AcceptOne(rng);
    Collect(rng);
    if (rng.Chance(0.2)) TellAgain();
    if (asked_.empty()) return;
    const size_t chosen = rng.Below(asked_.size());
    Asked& asked = asked_[chosen];
    if (!std::exchange(asked.decided, true) && rng.Chance(0.1)) {
      asked.refused = true;
      refused_.push_back(asked.payload);
    }
    storage::Published answer{.token = asked.token};
    const size_t who = rng.Below(asked.left.size());
    answer.partition = asked.left[who];
    if (asked.refused || asked.refused_by.contains(answer.partition))
      answer.status = absl::ResourceExhaustedError("disk full");
    // It may have been asked twice, and then answers twice.
    if (!rng.Chance(0.1)) asked.left.erase(asked.left.begin() + static_cast<std::ptrdiff_t>(who));
    if (asked.left.empty()) asked_.erase(asked_.begin() + static_cast<std::ptrdiff_t>(chosen));
    Post(0, std::move(answer));
  }
  bool IsRefused(const std::string& payload) const {
    return std::find(refused_.begin(), refused_.end(), payload) != refused_.end();
  }
  // Until the shard has read all that the publisher sent.
  void Sync(Client& publisher) {
    publisher.wire.Send(std::string(support::kPingreq));
    while (true) {
      const Packet packet = publisher.wire.Read().value();
      if (packet.type == kPingresp) return;
      acks_.emplace_back(packet.type, packet.packet_id);
    }
  }

  std::vector<Asked> asked_;
  std::set<std::pair<storage::Token, storage::PartitionId>> seen_;
  std::deque<storage::AcceptInbound> accepting_;
  uint64_t records_ = 1000;                         // Above the numbers of wills.
  std::map<uint64_t, storage::RouteMessage> told_;  // Records that are not passed on, by number.
  std::set<uint64_t> given_back_;                   // Of these, those that are to be told of again.
  // By partition, and by whose outbox they are in.
  std::map<std::pair<storage::PartitionId, storage::PartitionId>, std::set<uint64_t>> taken_;
  std::vector<std::string> refused_;
  std::vector<std::pair<support::PacketType, uint16_t>> acks_;
};

TEST_P(PublishAnswers, OrderAndPromisesHoldWhateverTheOrderOfTheAnswers) {
  base::Rng rng(GetParam());
  host_.partition_count = kPartitions;
  Start();
  SetUpRoutes();
  Client subscriber = Join(Transient("subscriber"));
  subscriber.wire.Subscribe({{"#", 0}});
  Client member = Join(Transient("member"));
  member.wire.Subscribe({{"$share/g/#", 0}});
  Client publisher = Join(GetParam() % 2 == 0 ? Durable("publisher") : Transient("publisher"));
  std::vector<std::string> at_once;  // QoS 0 and 1: to whoever is connected.
  std::vector<std::string> wills;    // When all partitions have them.
  std::vector<std::string> exactly_once;
  std::vector<std::pair<support::PacketType, uint16_t>> acks;
  uint16_t id = 0;
  for (int i = 0; i < 60; ++i) {
    if (rng.Chance(0.6)) {
      const auto qos = static_cast<unsigned>(rng.Below(3));
      const std::string topic =
          rng.Chance(0.3) ? "all"
                          : absl::StrCat(rng.Chance(0.2) ? "nobody" : "d", rng.Below(kPartitions));
      const std::string payload = std::to_string(i);
      support::PublishPacket packet{.topic = topic, .payload = payload, .qos = qos};
      packet.retain = rng.Chance(0.2);
      if (qos != 0) {
        packet.packet_id = ++id;
        acks.emplace_back(qos == 2 ? kPubrec : kPuback, id);
      }
      publisher.wire.Send(packet);
      (qos == 2 ? exactly_once : at_once).push_back(payload);
    } else if (rng.Chance(0.1)) {
      const std::string payload = absl::StrCat("will", i);
      mqtt::MessageParts parts;
      parts.topic = "d0";
      parts.payload = payload;
      parts.qos = mqtt::QoS::kAtLeastOnce;
      Sync(publisher);  // What was published before is before it.
      const uint64_t number = wills.size() + 1;
      Tell(storage::RouteMessage{.message = mqtt::Message::Create(parts),
                                 .outbox = {.number = number, .kept_from = 1}});
      Sync(publisher);
      wills.push_back(payload);
    } else {
      AnswerOne(rng);
    }
  }
  do {
    Sync(publisher);  // Requests are at the host.
    Sync(publisher);
    Collect(rng);
    while (!asked_.empty() || !accepting_.empty()) AnswerOne(rng);
    TellAgain();
    Sync(publisher);
    Sync(publisher);
    Collect(rng);
  } while (!AllIsDone());
  Sync(publisher);

  EXPECT_EQ(acks_, acks);  // [MQTT-4.6.0-2] [MQTT-4.6.0-3]
  for (const std::string* const who : {&subscriber.id, &member.id}) {
    Client& client = *who == subscriber.id ? subscriber : member;
    std::vector<std::string> early;
    std::vector<std::string> late;
    std::vector<std::string> of_wills;
    client.wire.Send(std::string(support::kPingreq));
    while (true) {
      const Packet packet = client.wire.Read().value();
      if (packet.type == kPingresp) break;
      ASSERT_EQ(packet.type, kPublish);
      const std::string payload(packet.payload);
      const bool is_late =
          std::find(exactly_once.begin(), exactly_once.end(), payload) != exactly_once.end();
      const bool is_will = payload.front() == 'w';
      (is_will ? of_wills : is_late ? late : early).push_back(payload);
    }
    if (who == &subscriber.id) {  // The member's waits until it is out of the outbox.
      EXPECT_THAT(of_wills, testing::UnorderedElementsAreArray(wills));
    }
    EXPECT_EQ(early, at_once) << *who;
    std::vector<std::string> wanted;
    for (const std::string& payload : exactly_once) {
      if (!IsRefused(payload)) wanted.push_back(payload);
    }
    EXPECT_EQ(late, wanted) << *who;
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, PublishAnswers, testing::Range<uint64_t>(1, 21));

}  // namespace
}  // namespace broker
