// The records that are written by hand are what protobuf would write and read.
#include <string>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "mqttd/storage/v1/command.pb.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/chunk.h"
#include "storage/core/command_codec.h"
#include "storage/core/keys.h"
#include "storage/core/message_codec.h"
#include "storage/core/partition.h"
#include "storage/core/retained_record.h"

namespace storage {
namespace {

mqtt::MessageParts Sample() {
  mqtt::MessageParts parts;
  parts.topic = "plant/7/temperature";
  parts.payload = std::string_view("\0\x01\xFF", 3);
  parts.properties = std::string_view("\x01\x01", 2);
  parts.qos = mqtt::QoS::kExactlyOnce;
  parts.retain = true;
  parts.created_at_unix_ms = 1'700'000'000'123;
  parts.expires_at_unix_ms = 1'700'000'060'123;
  parts.publisher = "sensor";
  return parts;
}

TEST(Wire, ANumberTakesAsManyBytesAsAreWritten) {
  for (int bits = 0; bits <= 64; ++bits) {
    for (const int64_t step : {-1, 0, 1}) {
      const uint64_t value = (bits == 64 ? 0 : uint64_t{1} << bits) + static_cast<uint64_t>(step);
      char buffer[wire::kVarintMax];
      const char* const end = wire::WriteVarint(buffer, value);
      EXPECT_EQ(wire::VarintSize(value), static_cast<size_t>(end - buffer)) << value;
      const char* at = buffer;
      uint64_t read = 0;
      EXPECT_TRUE(wire::TakeVarint(at, end, read)) << value;
      EXPECT_EQ(read, value);
      EXPECT_EQ(at, end) << value;
      at = buffer;
      EXPECT_FALSE(wire::TakeVarint(at, end - 1, read)) << value << " without its last byte";
    }
  }
}

TEST(StoredMessage, IsWhatProtobufReads) {
  const std::string bytes = EncodeStoredMessage(Sample());
  pb::StoredMessage record;
  ASSERT_TRUE(record.ParseFromString(bytes));
  EXPECT_EQ(record.topic(), Sample().topic);
  EXPECT_EQ(record.payload(), Sample().payload);
  EXPECT_EQ(record.properties(), Sample().properties);
  EXPECT_EQ(record.qos(), 2u);
  EXPECT_TRUE(record.retain());
  EXPECT_EQ(record.created_at_unix_ms(), 1'700'000'000'123);
  EXPECT_EQ(record.expires_at_unix_ms(), 1'700'000'060'123);
  EXPECT_EQ(record.publisher(), "sensor");
  EXPECT_EQ(record.SerializeAsString(), bytes);
}

TEST(StoredMessage, ComesBackAsItWas) {
  const std::string bytes = EncodeStoredMessage(Sample());
  const mqtt::MessagePtr message = DecodeStoredMessage(bytes);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->topic(), Sample().topic);
  EXPECT_EQ(message->payload(), Sample().payload);
  EXPECT_EQ(message->properties(), Sample().properties);
  EXPECT_EQ(message->publisher(), Sample().publisher);
  EXPECT_EQ(EncodeStoredMessage(*message), bytes);
}

TEST(StoredMessage, SkipsFieldsOfALaterRelease) {
  std::string bytes = EncodeStoredMessage(Sample());
  const std::string before = bytes;
  bytes += std::string("\xA2\x06\x03xyz", 6);       // Field 100, bytes.
  bytes += std::string("\x61\0\0\0\0\0\0\0\0", 9);  // Field 12, 64 bits.
  bytes += std::string("\x6D\0\0\0\0", 5);          // Field 13, 32 bits.
  const mqtt::MessagePtr message = DecodeStoredMessage(bytes);
  ASSERT_TRUE(message);
  EXPECT_EQ(EncodeStoredMessage(*message), before);
}

TEST(StoredMessage, CutShortIsRefusedOrShorter) {
  const std::string bytes = EncodeStoredMessage(Sample());
  for (size_t size = 0; size < bytes.size(); ++size) {
    pb::StoredMessage record;
    const bool protobuf_reads_it = record.ParseFromString(bytes.substr(0, size));
    const bool we_read_it = ParseStoredMessage(std::string_view(bytes).substr(0, size)).has_value();
    EXPECT_EQ(we_read_it, protobuf_reads_it && !record.topic().empty()) << size;
  }
}

TEST(StoredMessage, NoiseDoesNoHarm) {
  base::Rng rng(7);
  for (int i = 0; i < 20'000; ++i) {
    std::string noise(rng.Below(40), '\0');
    for (char& c : noise) c = static_cast<char>(rng.Below(256));
    ParseStoredMessage(noise);
    ParseChunk(noise);
    ParseChunkEntry(noise);
    ParseRetained(noise);
    std::string_view rest = noise;
    std::string_view command;
    bool ok = true;
    while (NextCommand(rest, command, ok)) ParseCommand(command);
    ParseEnqueue(noise);
    ParseAcknowledge(noise);
  }
}

TEST(Commands, AreWhatProtobufReadsAndWrites) {
  mqtt::MessageParts parts;
  parts.topic = "t";
  parts.payload = std::string_view("a\0b", 3);
  parts.properties = "props";
  parts.qos = mqtt::QoS::kExactlyOnce;
  parts.retain = true;
  parts.created_at_unix_ms = 1'700'000'000'000;
  parts.expires_at_unix_ms = 1'800'000'000'000;
  parts.publisher = "alice";
  const EnqueueTarget targets[] = {{.client_id = "bob",
                                    .filter = "$share/g/t",
                                    .options = {.qos = mqtt::QoS::kAtLeastOnce},
                                    .subscription_id = 300},
                                   {.client_id = "carol", .filter = "$share/h/#"}};
  AcknowledgeView acknowledge{.client_id = "bob", .epoch = 1u << 20};
  acknowledge.puback = {1, 200, 1ull << 40};
  acknowledge.pubcomp = {7};
  std::string bytes;
  AppendEnqueue({.time_unix_ms = 1'700'000'000'001, .order = 9}, parts, true, targets, bytes);
  AppendAcknowledge({.time_unix_ms = 5, .order = 10}, acknowledge, bytes);
  pb::Command rare;
  rare.set_order(11);
  rare.mutable_close_node();
  AppendCommand(rare, bytes);

  pb::Entry entry;
  ASSERT_TRUE(entry.ParseFromString(bytes));
  EXPECT_EQ(entry.SerializeAsString(), bytes);
  ASSERT_EQ(entry.commands_size(), 3);
  EXPECT_EQ(entry.commands(0).time_unix_ms(), 1'700'000'000'001);
  const pb::Enqueue& enqueue = entry.commands(0).enqueue();
  EXPECT_EQ(enqueue.message().size(), StoredMessageSize(parts));
  EXPECT_EQ(ParseStoredMessage(enqueue.message())->publisher, "alice");
  EXPECT_TRUE(enqueue.match());
  EXPECT_EQ(enqueue.targets(0).subscription().subscription_id(), 300u);
  EXPECT_EQ(enqueue.targets(1).client_id(), "carol");
  EXPECT_EQ(entry.commands(1).acknowledge().puback(2), 1ull << 40);

  std::string_view rest = bytes;
  std::string_view command;
  bool ok = true;
  ASSERT_TRUE(NextCommand(rest, command, ok));
  const std::optional<EnqueueView> back = ParseEnqueue(ParseCommand(command)->body);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->message, enqueue.message());
  EXPECT_TRUE(back->match);
  ASSERT_EQ(back->targets.size(), 2u);
  EXPECT_EQ(back->targets[0].filter, "$share/g/t");
  EXPECT_EQ(back->targets[0].options.qos, mqtt::QoS::kAtLeastOnce);
  EXPECT_EQ(back->targets[1].subscription_id, 0u);
  ASSERT_TRUE(NextCommand(rest, command, ok));
  EXPECT_EQ(ParseCommand(command)->stamp.order, 10u);
  const std::optional<AcknowledgeView> acked = ParseAcknowledge(ParseCommand(command)->body);
  ASSERT_TRUE(acked.has_value());
  EXPECT_EQ(acked->epoch, 1u << 20);
  EXPECT_EQ(acked->puback, acknowledge.puback);
  EXPECT_EQ(acked->pubcomp, acknowledge.pubcomp);
  ASSERT_TRUE(NextCommand(rest, command, ok));
  EXPECT_EQ(ParseCommand(command)->kind, CommandKind::kOther);
  EXPECT_FALSE(NextCommand(rest, command, ok));
  EXPECT_TRUE(ok);
  rest = std::string_view(bytes).substr(0, bytes.size() - 1);
  while (NextCommand(rest, command, ok)) continue;
  EXPECT_FALSE(ok);
}

TEST(Chunk, IsWhatProtobufReads) {
  ChunkEntry entry;
  entry.message = "message bytes";
  entry.qos = mqtt::QoS::kAtLeastOnce;
  entry.retain = true;
  entry.subscription_ids = {1, 300, 268'435'455};
  entry.share_filter = "$share/g/t";
  ChunkEntry bare;
  bare.message = "m";
  ChunkEntry shared;
  shared.body = 300;
  shared.size = 5000;
  shared.qos = mqtt::QoS::kAtLeastOnce;
  std::string bytes;
  BeginChunk(1'000'000, bytes);
  for (const ChunkEntry& one : {entry, bare, shared}) {
    std::string raw;
    AppendChunkEntry(one, raw);
    EXPECT_EQ(raw.size(), ChunkEntrySize(one));
    AddToChunk(raw, bytes);
  }

  pb::QueueChunk record;
  ASSERT_TRUE(record.ParseFromString(bytes));
  EXPECT_EQ(record.SerializeAsString(), bytes);
  EXPECT_EQ(record.first(), 1'000'000u);
  ASSERT_EQ(record.entries_size(), 3);
  EXPECT_EQ(record.entries(2).body(), 300u);
  EXPECT_EQ(record.entries(0).message(), "message bytes");
  EXPECT_EQ(record.entries(0).subscription_ids(2), 268'435'455u);
  EXPECT_EQ(record.entries(0).share_filter(), "$share/g/t");
  EXPECT_EQ(record.entries(0).ByteSizeLong(), ChunkEntrySize(entry));

  const std::optional<ChunkView> view = ParseChunk(bytes);
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->last(), 1'000'002u);
  EXPECT_EQ(FactsOfEntry(view->entries[0]).size, ChunkEntrySize(entry));
  EXPECT_EQ(FactsOfEntry(view->entries[0]).body, 0u);
  EXPECT_EQ(FactsOfEntry(view->entries[2]).size, 5000u);
  EXPECT_EQ(FactsOfEntry(view->entries[2]).body, 300u);
  const std::optional<ChunkEntry> back = ParseChunkEntry(view->entries[0]);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->qos, mqtt::QoS::kAtLeastOnce);
  EXPECT_TRUE(back->retain);
  EXPECT_EQ(back->subscription_ids, entry.subscription_ids);
  EXPECT_EQ(ParseChunkEntry(view->entries[1])->message, "m");
}

TEST(Retained, IsWhatProtobufReads) {
  const std::string bytes = EncodeRetained({"body", 99, 1ull << 63, 64});
  pb::RetainedRecord record;
  ASSERT_TRUE(record.ParseFromString(bytes));
  EXPECT_EQ(record.message(), "body");
  EXPECT_EQ(record.order(), 99u);
  EXPECT_EQ(record.partitions(), 1ull << 63);
  EXPECT_EQ(record.of_partitions(), 64u);
  EXPECT_EQ(record.SerializeAsString(), bytes);
  EXPECT_EQ(ParseRetained(bytes)->order, 99u);
}

TEST(Retained, SaysToWhichPartitionsItWentThoughTheyWereSplitSince) {
  const std::string bytes = EncodeRetained({"body", 99, 0b0110, 4});
  const std::optional<RetainedView> record = ParseRetained(bytes);
  ASSERT_TRUE(record.has_value());
  // A Client Identifier that was in partition 2 of 4 is in 2 or 6 of 8.
  for (uint32_t partitions = 4; partitions <= kPartitionsMax; partitions *= 2) {
    for (int i = 0; i < 100; ++i) {
      const std::string client = "client" + std::to_string(i);
      const PartitionId then = PartitionOfClient(client, 4);
      EXPECT_EQ(record->WentTo(PartitionOfClient(client, partitions)), then == 1 || then == 2);
    }
  }
}

// Those of a release that did not write down how many there were.
TEST(Retained, OfAnEarlierReleaseIsRead) {
  pb::RetainedRecord record;
  record.set_message("body");
  record.set_order(99);
  record.set_partitions(1ull << 5);
  const std::string bytes = record.SerializeAsString();
  const std::optional<RetainedView> view = ParseRetained(bytes);
  ASSERT_TRUE(view.has_value());
  EXPECT_TRUE(view->WentTo(5));
  EXPECT_FALSE(view->WentTo(1));
  EXPECT_FALSE(view->WentTo(4));
}

}  // namespace
}  // namespace storage
