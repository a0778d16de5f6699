// The records that are written by hand are what protobuf would write and read.
#include <string>

#include "base/rng.h"
#include "gtest/gtest.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/chunk.h"
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

TEST(StoredMessage, IsWhatProtobufReads) {
  std::string bytes;
  AppendStoredMessage(Sample(), bytes);
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
  const std::string bytes = EncodeStoredMessage(*mqtt::Message::Create(Sample()));
  const mqtt::MessagePtr message = DecodeStoredMessage(bytes);
  ASSERT_TRUE(message);
  EXPECT_EQ(message->topic(), Sample().topic);
  EXPECT_EQ(message->payload(), Sample().payload);
  EXPECT_EQ(message->properties(), Sample().properties);
  EXPECT_EQ(message->publisher(), Sample().publisher);
  EXPECT_EQ(EncodeStoredMessage(*message), bytes);
}

TEST(StoredMessage, SkipsFieldsOfALaterRelease) {
  std::string bytes = EncodeStoredMessage(*mqtt::Message::Create(Sample()));
  const std::string before = bytes;
  bytes += std::string("\xA2\x06\x03xyz", 6);       // Field 100, bytes.
  bytes += std::string("\x61\0\0\0\0\0\0\0\0", 9);  // Field 12, 64 bits.
  bytes += std::string("\x6D\0\0\0\0", 5);          // Field 13, 32 bits.
  const mqtt::MessagePtr message = DecodeStoredMessage(bytes);
  ASSERT_TRUE(message);
  EXPECT_EQ(EncodeStoredMessage(*message), before);
}

TEST(StoredMessage, CutShortIsRefusedOrShorter) {
  const std::string bytes = EncodeStoredMessage(*mqtt::Message::Create(Sample()));
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
  }
}

TEST(PublishedWill, ExpiresAsLongAfterItIsPublishedAsItWasSetTo) {
  const mqtt::MessagePtr will = PublishedWill(*mqtt::Message::Create(Sample()), 5'000);
  EXPECT_EQ(will->created_at_unix_ms(), 5'000);
  EXPECT_EQ(will->expires_at_unix_ms(), 65'000);
  mqtt::MessageParts endless = Sample();
  endless.expires_at_unix_ms = 0;
  EXPECT_EQ(PublishedWill(*mqtt::Message::Create(endless), 5'000)->expires_at_unix_ms(), 0);
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
  std::string bytes;
  BeginChunk(1'000'000, bytes);
  for (const ChunkEntry& one : {entry, bare}) {
    std::string raw;
    AppendChunkEntry(one, raw);
    EXPECT_EQ(raw.size(), ChunkEntrySize(one));
    AddToChunk(raw, bytes);
  }

  pb::QueueChunk record;
  ASSERT_TRUE(record.ParseFromString(bytes));
  EXPECT_EQ(record.SerializeAsString(), bytes);
  EXPECT_EQ(record.first(), 1'000'000u);
  ASSERT_EQ(record.entries_size(), 2);
  EXPECT_EQ(record.entries(0).message(), "message bytes");
  EXPECT_EQ(record.entries(0).subscription_ids(2), 268'435'455u);
  EXPECT_EQ(record.entries(0).share_filter(), "$share/g/t");
  EXPECT_EQ(record.entries(0).ByteSizeLong(), ChunkEntrySize(entry));

  const std::optional<ChunkView> view = ParseChunk(bytes);
  ASSERT_TRUE(view.has_value());
  EXPECT_EQ(view->last(), 1'000'001u);
  const std::optional<ChunkEntry> back = ParseChunkEntry(view->entries[0]);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->qos, mqtt::QoS::kAtLeastOnce);
  EXPECT_TRUE(back->retain);
  EXPECT_EQ(back->subscription_ids, entry.subscription_ids);
  EXPECT_EQ(ParseChunkEntry(view->entries[1])->message, "m");
}

TEST(Retained, IsWhatProtobufReads) {
  const std::string bytes = EncodeRetained({"body", 99, 1ull << 63});
  pb::RetainedRecord record;
  ASSERT_TRUE(record.ParseFromString(bytes));
  EXPECT_EQ(record.message(), "body");
  EXPECT_EQ(record.order(), 99u);
  EXPECT_EQ(record.partitions(), 1ull << 63);
  EXPECT_EQ(record.SerializeAsString(), bytes);
  EXPECT_EQ(ParseRetained(bytes)->order, 99u);
}

}  // namespace
}  // namespace storage
