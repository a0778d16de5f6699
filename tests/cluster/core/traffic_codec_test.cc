// Requests and events between nodes: what is written is read again, and is what traffic.proto says.
#include "cluster/core/traffic_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "base/rng.h"
#include "cluster/core/node_item.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/message.h"
#include "google/protobuf/unknown_field_set.h"
#include "mqttd/cluster/v1/traffic.pb.h"
#include "tests/cluster/core/traffic_values.h"

namespace cluster {
namespace {

using ::testing::HasSubstr;

constexpr int kRounds = 300;

// `size` values of a variant, one of each kind, filled.
template <typename... Values, typename Each>
void ForEachKind(base::Rng& rng, std::variant<Values...>*, Each each) {
  const auto one = [&]<typename Value>(Value value) {
    Filling filling(rng);
    traffic::Fields(filling, value);
    each(std::move(value));
  };
  (one(Values{}), ...);
}

std::string BodyOf(const std::string& item, size_t head_numbers) {
  size_t at = 1;
  for (; head_numbers > 0; ++at) head_numbers -= static_cast<uint8_t>(item[at]) < 0x80 ? 1 : 0;
  return item.substr(at);
}

// Whether the generated class of that name reads the body, knows all of it, and writes the same.
void ExpectIs(const std::string& name, const std::string& body) {
  const google::protobuf::Descriptor* const type =
      google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName(
          "mqttd.cluster.v1." + name);
  ASSERT_NE(type, nullptr) << name;
  const std::unique_ptr<google::protobuf::Message> message(
      google::protobuf::MessageFactory::generated_factory()->GetPrototype(type)->New());
  ASSERT_TRUE(message->ParseFromString(body)) << name;
  EXPECT_TRUE(message->GetReflection()->GetUnknownFields(*message).empty()) << name;
  std::string again;
  {
    google::protobuf::io::StringOutputStream stream(&again);
    google::protobuf::io::CodedOutputStream out(&stream);
    out.SetSerializationDeterministic(true);
    ASSERT_TRUE(message->SerializeToCodedStream(&out));
  }
  EXPECT_EQ(again, body) << name << "\n" << message->DebugString();
}

class TrafficCodec : public testing::Test {
 protected:
  template <typename Each>
  void ForEachRequest(Each each) {
    ForEachKind(rng_, static_cast<storage::Request*>(nullptr), each);
  }
  template <typename Each>
  void ForEachEvent(Each each) {
    ForEachKind(rng_, static_cast<storage::Event*>(nullptr), each);
  }

  template <typename Each>
  void ForEachNodeItem(Each each) {
    ForEachKind(rng_, static_cast<NodeItem*>(nullptr), each);
  }

  base::Rng rng_{20261129};
};

TEST_F(TrafficCodec, ARequestIsReadAsItWasWritten) {
  for (int round = 0; round < kRounds; ++round) {
    ForEachRequest([&](auto request) {
      const std::string before = TextOf(request);
      storage::Addressed asked(std::move(request));
      asked.partition = static_cast<storage::PartitionId>(rng_.Below(64));
      asked.sequence = rng_() >> rng_.Below(64);
      asked.kept_from = rng_() >> rng_.Below(64);
      const auto from = static_cast<storage::ShardId>(rng_.Below(1000));
      std::string item;
      AppendRequest(from, asked, item);
      const absl::StatusOr<RemoteRequest> read = ParseRequest(item);
      ASSERT_TRUE(read.ok()) << read.status() << " " << before;
      EXPECT_EQ(read->from, from);
      EXPECT_EQ(read->asked.partition, asked.partition);
      EXPECT_EQ(read->asked.sequence, asked.sequence);
      EXPECT_EQ(read->asked.kept_from, asked.kept_from);
      ASSERT_EQ(read->asked.request.index(), asked.request.index());
      std::visit([&](const auto& it) { EXPECT_EQ(TextOf(it), before); }, read->asked.request);
    });
  }
}

TEST_F(TrafficCodec, AnEventIsReadAsItWasWritten) {
  for (int round = 0; round < kRounds; ++round) {
    ForEachEvent([&](auto value) {
      const std::string before = TextOf(value);
      const storage::Event event(std::move(value));
      const auto to = static_cast<storage::ShardId>(rng_.Below(1000));
      std::string item;
      AppendEvent(to, event, item);
      const absl::StatusOr<RemoteEvent> read = ParseEvent(item);
      ASSERT_TRUE(read.ok()) << read.status() << " " << before;
      EXPECT_EQ(read->to, to);
      ASSERT_EQ(read->event.index(), event.index());
      std::visit([&](const auto& it) { EXPECT_EQ(TextOf(it), before); }, read->event);
    });
  }
}

TEST_F(TrafficCodec, ANodeItemIsReadAsItWasWritten) {
  for (int round = 0; round < kRounds; ++round) {
    ForEachNodeItem([&](auto value) {
      const std::string before = TextOf(value);
      std::string item;
      AppendNodeItem(value, item);
      EXPECT_EQ(KindOfItem(item), ItemKind::kNode);
      const absl::StatusOr<NodeItem> read = ParseNodeItem(item);
      ASSERT_TRUE(read.ok()) << read.status() << " " << before;
      ASSERT_EQ(read->index(), NodeItem(std::move(value)).index());
      std::visit([&](const auto& it) { EXPECT_EQ(TextOf(it), before); }, *read);
    });
  }
}

TEST_F(TrafficCodec, ForwardedMessagesAreReadAsTheyWereWritten) {
  for (int round = 0; round < kRounds; ++round) {
    const ForwardHead head{.from = static_cast<storage::ShardId>(rng_.Below(1000)),
                           .to = storage::Incarnation(static_cast<uint32_t>(rng_() >> 32)),
                           .first = 1 + (rng_() >> (1 + rng_.Below(62))),
                           .messages = 1 + static_cast<uint32_t>(rng_.Below(9))};
    std::string block(kForwardHeadRoom, '\0');
    std::vector<std::string> payloads;
    std::vector<std::unique_ptr<storage::ChosenMember>> members;
    std::vector<storage::OutboxRef> records(head.messages);
    int to_members = 0;
    int of_outboxes = 0;
    for (uint32_t i = 0; i < head.messages; ++i) {
      payloads.emplace_back(rng_.Below(300), static_cast<char>('a' + i));
      mqtt::MessageParts parts;
      parts.topic = "t";
      parts.payload = payloads.back();
      parts.qos = static_cast<mqtt::QoS>(rng_.Below(3));
      members.push_back(rng_.Chance(0.3) ? std::make_unique<storage::ChosenMember>() : nullptr);
      Filling filling(rng_);
      if (members.back() == nullptr && rng_.Chance(0.5)) {
        AppendForwarded(parts, block);
        continue;
      }
      if (members.back() == nullptr) {
        traffic::Fields(filling, records[i]);
        AppendForwarded(parts, records[i], block);
        ++of_outboxes;
        continue;
      }
      traffic::Fields(filling, *members.back());
      AppendForwarded(parts, *members.back(), block);
      ++to_members;
    }
    const std::string_view item = std::string_view(block).substr(WriteForwardHead(head, block));
    EXPECT_EQ(KindOfItem(item), ItemKind::kForwards);
    std::string_view body;
    const absl::StatusOr<ForwardHead> read = ParseForwardHead(item, body);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->from, head.from);
    EXPECT_EQ(read->to, head.to);
    EXPECT_EQ(read->first, head.first);
    EXPECT_EQ(read->messages, head.messages);
    std::vector<Forwarded> messages;
    ASSERT_TRUE(ParseForwarded(body, messages).ok());
    ASSERT_EQ(messages.size(), payloads.size());
    for (size_t i = 0; i < payloads.size(); ++i) {
      EXPECT_EQ(messages[i].message->payload(), payloads[i]);
      ASSERT_EQ(messages[i].member == nullptr, members[i] == nullptr);
      EXPECT_EQ(TextOf(messages[i].outbox), TextOf(records[i]));
      if (members[i] == nullptr) continue;
      EXPECT_EQ(TextOf(*messages[i].member), TextOf(*members[i]));
    }
    mqttd::cluster::v1::Forwards generated;
    ASSERT_TRUE(generated.ParseFromArray(body.data(), static_cast<int>(body.size())));
    EXPECT_EQ(generated.to_members_size(), to_members);
    EXPECT_EQ(generated.of_outboxes_size(), of_outboxes);
    EXPECT_EQ(generated.messages_size(),
              static_cast<int>(head.messages) - to_members - of_outboxes);
    for (const auto& one : generated.of_outboxes()) {
      std::string bytes;
      ASSERT_TRUE(one.outbox().SerializeToString(&bytes));
      ExpectIs("OutboxRef", bytes);
    }
    for (const auto& one : generated.to_members()) {
      std::string bytes;
      ASSERT_TRUE(one.member().SerializeToString(&bytes));
      ExpectIs("ChosenMember", bytes);
    }
    for (size_t size = 0; size < item.size(); ++size) {  // Cut anywhere: no harm.
      std::vector<Forwarded> some;
      if (ParseForwardHead(item.substr(0, size), body).ok()) (void)ParseForwarded(body, some);
    }
  }
}

TEST_F(TrafficCodec, PartsAreReadAsTheyWereWritten) {
  std::string item;
  AppendPart({.last = true, .bytes = "bytes"}, item);
  EXPECT_EQ(KindOfItem(item), ItemKind::kPart);
  EXPECT_TRUE(ParsePart(item)->last);
  EXPECT_EQ(ParsePart(item)->bytes, "bytes");
  item[1] = 2;
  EXPECT_FALSE(ParsePart(item).ok());
}

const char* const kRequests[] = {"OpenSession", "CloseSession",   "Subscribe",    "Unsubscribe",
                                 "Publish",     "AcceptInbound",  "OutboxDone",   "OutboxAssign",
                                 "Acknowledge", "ReleaseInbound", "ScanRetained", "ConfirmRoutes",
                                 "ReplayTaken", "Claims"};
const char* const kEvents[] = {
    "SessionOpened", "TakenOver",         "SubscribeDone",   "UnsubscribeDone", "Published",
    "Deliver",       "ReleaseDue",        "InboundReleased", "RetainedPage",    "RouteChange",
    "RouteBlock",    "ShareMemberChange", "ShareMemberRoom", "SessionTooSlow",  "RouteMessage",
    "StreamAck",     "ClaimsWanted",      "StorageState"};
const char* const kNodeItems[] = {"ForwardsTaken", "RoutesWanted", "RoutesTold", "RoutesTaken",
                                  "KnowRoutes",    "RoutesKnown",  "FeedRoutes", "FeedTaken",
                                  "ScanWanted",    "ScanDone"};
static_assert(std::size(kNodeItems) == std::variant_size_v<NodeItem>);
static_assert(std::size(kRequests) == std::variant_size_v<storage::Request>);
static_assert(std::size(kEvents) == std::variant_size_v<storage::Event>);

TEST_F(TrafficCodec, BodiesAreWhatTrafficProtoSays) {
  mqttd::cluster::v1::Publish linked_in;  // Or its file would not be.
  for (int round = 0; round < kRounds; ++round) {
    ForEachRequest([&](auto request) {
      const storage::Addressed asked(std::move(request));
      std::string item;
      AppendRequest(1, asked, item);
      ExpectIs(kRequests[asked.request.index()], BodyOf(item, 4));
    });
    ForEachEvent([&](auto value) {
      const storage::Event event(std::move(value));
      std::string item;
      AppendEvent(1, event, item);
      ExpectIs(kEvents[event.index()], BodyOf(item, 1));
    });
    ForEachNodeItem([&](auto value) {
      std::string item;
      AppendNodeItem(value, item);
      ExpectIs(kNodeItems[NodeItem(std::move(value)).index()], BodyOf(item, 0));
    });
  }
}

TEST_F(TrafficCodec, AFieldOfALaterReleaseIsSkipped) {
  std::string item;
  AppendEvent(3, storage::StreamAck{.partition = 5, .through = 7}, item);
  item += std::string("\xF2\x07\x03new", 6);  // Field 126, three bytes.
  const absl::StatusOr<RemoteEvent> read = ParseEvent(item);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(TextOf(std::get<storage::StreamAck>(read->event)), "1:5 2:7 ");
}

TEST_F(TrafficCodec, WhatNoReleaseWritesIsRefusedInWords) {
  EXPECT_THAT(std::string(ParseEvent("").status().message()), HasSubstr("cannot be read"));
  EXPECT_FALSE(ParseRequest("").ok());
  EXPECT_FALSE(ParseRequest(std::string(1, '\x05')).ok());
  EXPECT_FALSE(ParseEvent(std::string("\xFE\x01", 2)).ok()) << "a kind that is none";
  std::string request;
  AppendRequest(0, storage::ConfirmRoutes{.number = 1}, request);
  EXPECT_FALSE(ParseEvent(request).ok()) << "a request is no event";
  std::string wrong;
  AppendRequest(0,
                storage::Acknowledge{
                    .client_id = "c", .epoch = 1, .entries = {{1, storage::AckKind::kPubComp}}},
                wrong);
  wrong.back() = '\x03';
  EXPECT_FALSE(ParseRequest(wrong).ok()) << "an acknowledgement of a fourth kind";
}

// Cut anywhere, or with a byte changed: read or refused, never more than that.
TEST_F(TrafficCodec, DamagedItemsDoNoHarm) {
  const auto damage = [&](const std::string& item, const auto& parse) {
    for (size_t size = 0; size < item.size(); ++size) parse(item.substr(0, size));
    for (int i = 0; i < 20; ++i) {
      std::string changed = item;
      changed[rng_.Below(changed.size())] ^= static_cast<char>(1 + rng_.Below(255));
      parse(changed);
    }
  };
  for (int round = 0; round < 20; ++round) {
    ForEachRequest([&](auto request) {
      std::string item;
      AppendRequest(1, storage::Addressed(std::move(request)), item);
      damage(item, [](const std::string& bytes) { (void)ParseRequest(bytes); });
    });
    ForEachEvent([&](auto event) {
      std::string item;
      AppendEvent(1, storage::Event(std::move(event)), item);
      damage(item, [](const std::string& bytes) { (void)ParseEvent(bytes); });
    });
    ForEachNodeItem([&](auto value) {
      std::string item;
      AppendNodeItem(std::move(value), item);
      damage(item, [](const std::string& bytes) { (void)ParseNodeItem(bytes); });
    });
  }
}

}  // namespace
}  // namespace cluster
