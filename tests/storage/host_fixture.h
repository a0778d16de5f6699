// A Host without threads, and the words to tell stories about it.
#ifndef TESTS_STORAGE_HOST_FIXTURE_H_
#define TESTS_STORAGE_HOST_FIXTURE_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/core/keys.h"
#include "tests/storage/host_sim.h"
#include "tests/storage/requests.h"

namespace storage {

inline constexpr PartitionMask kAll = 0b1111;

inline StorageOptions SmallOptions() {
  StorageOptions options;
  options.data_dir = "unused";
  options.partitions = 4;
  options.min_free_disk_bytes = 1000;
  return options;
}

// One command, of a kind that does not exist.
inline constexpr std::string_view kUnknownCommand = "\x0A\x04\xA2\x06\x01x";

// A Client Identifier, or a topic, of that partition.
inline std::string ClientIn(PartitionId partition, uint32_t partitions = 4) {
  std::string client = "c";
  while (PartitionOfClient(client, partitions) != partition) client += "c";
  return client;
}
inline std::string TopicIn(PartitionId partition, uint32_t partitions = 4) {
  std::string topic = "t";
  while (PartitionOfTopic(topic, partitions) != partition) topic += "t";
  return topic;
}

inline mqtt::MessagePtr Text(std::string_view topic, std::string_view payload,
                             mqtt::QoS qos = mqtt::QoS::kAtLeastOnce, bool retain = false) {
  return mqtt::Message::Create(
      {.topic = topic, .payload = payload, .properties = {}, .qos = qos, .retain = retain});
}

inline mqtt::MessagePtr ExpiringText(std::string_view topic, std::string_view payload,
                                     int64_t created_at_unix_ms, int64_t expires_at_unix_ms) {
  return mqtt::Message::Create({.topic = topic,
                                .payload = payload,
                                .properties = {},
                                .qos = mqtt::QoS::kAtLeastOnce,
                                .created_at_unix_ms = created_at_unix_ms,
                                .expires_at_unix_ms = expires_at_unix_ms});
}

class HostTest : public testing::Test {
 protected:
  explicit HostTest(StorageOptions options = SmallOptions()) : sim_(std::move(options)) {}

  OpenSession MakeOpen(const std::string& client_id, uint32_t expiry_s = 3600) {
    OpenSession open;
    open.token = ++token_;
    open.connection = {.shard = 0, .connection = ++connection_};
    open.client_id = client_id;
    open.expiry_s = expiry_s;
    open.window_messages = 10;
    open.window_bytes = 100'000;
    return open;
  }
  SessionOpened Open(OpenSession open) {
    sim_.Send(std::move(open));
    sim_.Settle();
    std::vector<SessionOpened> opened = sim_.Take<SessionOpened>();
    EXPECT_THAT(opened, testing::SizeIs(1));
    return opened.empty() ? SessionOpened{} : opened.front();
  }
  SessionOpened Open(const std::string& client_id, uint32_t expiry_s = 3600) {
    return Open(MakeOpen(client_id, expiry_s));
  }
  void SendClose(const std::string& client_id, CloseCause cause, uint64_t connection) {
    CloseSession close;
    close.client_id = client_id;
    close.connection = {.shard = 0, .connection = connection};
    close.cause = cause;
    sim_.Send(std::move(close));
  }
  void Close(const std::string& client_id, CloseCause cause = CloseCause::kWithWill) {
    SendClose(client_id, cause, connection_);
    sim_.Settle();
  }
  absl::Status Subscribe(const std::string& client_id, uint64_t epoch, const std::string& filter) {
    sim_.Send(MakeSubscribe(++token_, client_id, epoch, filter, mqtt::QoS::kExactlyOnce));
    sim_.Settle();
    const std::vector<SubscribeDone> done = sim_.Take<SubscribeDone>();
    EXPECT_THAT(done, testing::SizeIs(1));
    return done.empty() ? absl::UnknownError("no answer") : done.front().status;
  }
  Token SendPublish(mqtt::MessagePtr message) {
    storage::Publish publish;
    publish.token = ++token_;
    publish.partitions = kAll;
    publish.set_retained = message->retain();
    publish.message = std::move(message);
    sim_.Send(std::move(publish));
    return token_;
  }
  absl::Status Publish(mqtt::MessagePtr message) {
    SendPublish(std::move(message));
    sim_.Settle();
    const std::vector<Published> published = sim_.Take<Published>();
    EXPECT_THAT(published, testing::SizeIs(1));
    return published.empty() ? absl::UnknownError("no answer") : published.front().status;
  }
  std::vector<std::string> TakePayloads() {
    std::vector<std::string> payloads;
    for (const Deliver& deliver : sim_.Take<Deliver>()) {
      for (const Delivery& delivery : deliver.entries) {
        payloads.emplace_back(delivery.message ? delivery.message->payload() : "PUBREL");
      }
    }
    return payloads;
  }
  std::vector<std::string> TakeWills() {
    std::vector<std::string> payloads;
    for (const RouteMessage& route : sim_.Take<RouteMessage>()) {
      payloads.emplace_back(route.message->payload());
    }
    return payloads;
  }
  void Acknowledge(const std::string& client_id, uint64_t epoch, uint64_t sequence,
                   AckKind kind = AckKind::kPubAck) {
    sim_.Send(MakeAcknowledge(client_id, epoch, sequence, kind));
    sim_.Settle();
  }

  HostSim sim_;
  Token token_ = 0;
  uint64_t connection_ = 0;
};

}  // namespace storage

#endif  // TESTS_STORAGE_HOST_FIXTURE_H_
