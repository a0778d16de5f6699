// A partition on a store in memory, with short words for commands. It flushes after every entry,
// and is then loaded again from what was written. Beside it a replica applies the same and flushes
// only what must be; it is loaded again too, and given the entries that its store has not. All of
// them must be the same: every test is a crash test too.
#ifndef TESTS_STORAGE_CORE_HARNESS_H_
#define TESTS_STORAGE_CORE_HARNESS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/effects.h"
#include "storage/core/memory_store.h"
#include "storage/core/message_codec.h"
#include "storage/core/partition.h"

namespace storage {

// What a test says of a message; the rest is not its subject.
struct Text {
  std::string topic = "t";
  std::string payload = "p";
  mqtt::QoS qos = mqtt::QoS::kAtLeastOnce;
  bool retain = false;
  std::string publisher;
  int64_t expires = 0;
  int64_t created = 0;
};

inline std::string Stored(const Text& text) {
  mqtt::MessageParts parts;
  parts.topic = text.topic;
  parts.payload = text.payload;
  parts.qos = text.qos;
  parts.retain = text.retain;
  parts.publisher = text.publisher;
  parts.expires_at_unix_ms = text.expires;
  parts.created_at_unix_ms = text.created;
  return EncodeStoredMessage(parts);
}

struct OpenOptions {
  bool clean_start = false;
  uint32_t expiry_s = 3600;
  uint32_t window = 10;
  std::optional<Text> will;
  uint32_t will_delay_s = 0;
};

class Harness {
 public:
  explicit Harness(PartitionId id = 3)
      : id_(id),
        partition_(std::make_unique<Partition>(id)),
        lazy_(std::make_unique<Partition>(id)) {
    EXPECT_TRUE(partition_->Load(store_).ok());
    EXPECT_TRUE(lazy_->Load(lazy_store_).ok());
    Add().mutable_raise_level()->set_level(GreatestLevel(kApplyRules));
    Commit();
  }

  Partition& partition() { return *partition_; }
  MemoryStore& store() { return store_; }
  const Effects& effects() const { return effects_; }
  int64_t now() const { return now_; }
  uint64_t order() const { return order_; }
  void Advance(int64_t ms) { now_ += ms; }

  pb::Command& last() { return *entry_.mutable_commands()->rbegin(); }
  // Commands gathered here are applied as one entry.
  pb::Command& Add() {
    pb::Command& command = *entry_.add_commands();
    command.set_time_unix_ms(now_);
    command.set_order(++order_);
    return command;
  }

  // The outcomes of the entry's commands. `effects()` has what it caused.
  std::vector<Outcome> Commit() {
    effects_.Clear();
    MemoryBatch batch;
    const absl::Status status = partition_->ApplyEntry(entry_.SerializeAsString(), {}, ++index_,
                                                       /*term=*/1, store_, batch, effects_);
    EXPECT_TRUE(status.ok()) << status;
    partition_->Flush(batch);
    store_.Write(batch);
    log_.push_back(entry_.SerializeAsString());
    entry_.Clear();
    ApplyLazily();
    ExpectSameAfterLoading();
    return effects_.outcomes;
  }

  // A crash: what was in memory is gone.
  void Reload() {
    partition_ = std::make_unique<Partition>(id_);
    const absl::Status status = partition_->Load(store_);
    ASSERT_TRUE(status.ok()) << status;
  }

  // ---- One command, one entry ----

  Outcome Open(const std::string& client, const OpenOptions& options = {}) {
    AddOpen(client, options);
    return Commit().at(0);
  }
  void AddOpen(const std::string& client, const OpenOptions& options = {}) {
    pb::OpenSession& open = *Add().mutable_open_session();
    open.set_client_id(client);
    open.set_version(5);
    open.set_clean_start(options.clean_start);
    open.set_expiry_s(options.expiry_s);
    open.set_window_messages(options.window);
    open.set_will_delay_s(options.will_delay_s);
    if (options.will.has_value()) open.set_will(Stored(*options.will));
  }

  Outcome Close(const std::string& client, pb::CloseSession::Cause cause,
                std::optional<uint64_t> sent_through = std::nullopt,
                std::optional<uint32_t> expiry_s = std::nullopt) {
    pb::CloseSession& close = *Add().mutable_close_session();
    close.set_client_id(client);
    close.set_epoch(Epoch(client));
    close.set_cause(cause);
    if (sent_through.has_value()) close.set_sent_through(*sent_through);
    if (expiry_s.has_value()) close.set_expiry_s(*expiry_s);
    return Commit().at(0);
  }

  Outcome Subscribe(const std::string& client, const std::string& filter,
                    mqtt::SubscriptionOptions options = {.qos = mqtt::QoS::kExactlyOnce},
                    uint32_t subscription_id = 0) {
    pb::Subscribe& subscribe = *Add().mutable_subscribe();
    subscribe.set_client_id(client);
    subscribe.set_epoch(Epoch(client));
    pb::Subscription& wanted = *subscribe.add_subscriptions();
    wanted.set_filter(filter);
    wanted.set_options(options.ToByte());
    wanted.set_subscription_id(subscription_id);
    return Commit().at(0);
  }

  Outcome Unsubscribe(const std::string& client, const std::string& filter) {
    pb::Unsubscribe& unsubscribe = *Add().mutable_unsubscribe();
    unsubscribe.set_client_id(client);
    unsubscribe.set_epoch(Epoch(client));
    unsubscribe.add_filters(filter);
    return Commit().at(0);
  }

  void AddPublish(const Text& text) {
    pb::Enqueue& enqueue = *Add().mutable_enqueue();
    enqueue.set_message(Stored(text));
    enqueue.set_match(true);
  }
  Outcome Publish(const Text& text) {
    AddPublish(text);
    return Commit().at(0);
  }

  Outcome PublishTo(const std::string& client, const std::string& share_filter, const Text& text,
                    mqtt::QoS qos = mqtt::QoS::kExactlyOnce, bool last_choice = false) {
    pb::Enqueue& enqueue = *Add().mutable_enqueue();
    enqueue.set_message(Stored(text));
    pb::Enqueue::Target& target = *enqueue.add_targets();
    target.set_client_id(client);
    target.set_last_choice(last_choice);
    target.mutable_subscription()->set_filter(share_filter);
    target.mutable_subscription()->set_options(mqtt::SubscriptionOptions{.qos = qos}.ToByte());
    return Commit().at(0);
  }

  Outcome Acknowledge(const std::string& client, const std::vector<uint64_t>& puback,
                      const std::vector<uint64_t>& pubrec = {},
                      const std::vector<uint64_t>& pubcomp = {}) {
    pb::Acknowledge& acknowledge = *Add().mutable_acknowledge();
    acknowledge.set_client_id(client);
    acknowledge.set_epoch(Epoch(client));
    for (const uint64_t s : puback) acknowledge.add_puback(s);
    for (const uint64_t s : pubrec) acknowledge.add_pubrec(s);
    for (const uint64_t s : pubcomp) acknowledge.add_pubcomp(s);
    return Commit().at(0);
  }

  Outcome SetRetained(const Text& text, uint64_t partitions = 0, uint32_t of_partitions = 64) {
    pb::SetRetained& set = *Add().mutable_set_retained();
    set.set_message(Stored(text));
    set.set_partitions(partitions);
    set.set_of_partitions(of_partitions);
    return Commit().at(0);
  }

  Outcome FireWill(const std::string& client) {
    pb::FireWill& fire = *Add().mutable_fire_will();
    fire.set_client_id(client);
    fire.set_epoch(Epoch(client));
    fire.set_outbox_at_unix_ms(now_);
    return Commit().at(0);
  }

  Outcome Expire(const std::string& client) {
    pb::ExpireSession& expire = *Add().mutable_expire_session();
    expire.set_client_id(client);
    expire.set_epoch(Epoch(client));
    return Commit().at(0);
  }

  Outcome SetLimits(const pb::Limits& limits) {
    *Add().mutable_set_limits()->mutable_limits() = limits;
    return Commit().at(0);
  }

  uint64_t Epoch(const std::string& client) const {
    const Session* const session = partition_->Find(client);
    return session == nullptr ? 0 : session->epoch;
  }

  QueuePage Read(const std::string& client, uint64_t from = 1, QueueReadLimits limits = {}) {
    const Session* const session = partition_->Find(client);
    if (session == nullptr) return {};
    absl::StatusOr<QueuePage> page =
        partition_->ReadQueue(store_, session->slot, from, limits, now_);
    EXPECT_TRUE(page.ok()) << page.status();
    if (!page.ok()) return {};
    const auto lazy = lazy_->ReadQueue(lazy_store_, lazy_->Find(client)->slot, from, limits, now_);
    EXPECT_TRUE(lazy.ok()) << lazy.status();
    if (lazy.ok()) ExpectSamePage(*page, *lazy);
    return *std::move(page);
  }

  // The queue in words: payload, "*" behind it if DUP, "!" if only PUBREL is owed.
  std::vector<std::string> Queue(const std::string& client) {
    std::vector<std::string> words;
    for (const Delivery& delivery : Read(client, 1, {.messages_max = 100'000}).entries) {
      if (delivery.release) {
        words.push_back("!");
      } else {
        words.push_back(std::string(delivery.message->payload()) + (delivery.dup ? "*" : ""));
      }
    }
    return words;
  }

  // What is in the outbox.
  std::vector<OutboxRecord> Outbox() const {
    auto records = partition_->outbox().Read(store_, id_, 0, 100'000);
    EXPECT_TRUE(records.ok()) << records.status();
    return records.ok() ? *std::move(records) : std::vector<OutboxRecord>();
  }
  // Its payloads.
  std::vector<std::string> Left() const {
    std::vector<std::string> payloads;
    for (const OutboxRecord& record : Outbox()) payloads.emplace_back(record.message->payload());
    return payloads;
  }
  Outcome OutboxDone(uint64_t number) {
    Add().mutable_outbox_done()->add_numbers(number);
    return Commit().at(0);
  }

  template <typename Kind>
  std::vector<Kind> EffectsOf() const {
    std::vector<Kind> found;
    for (const Effect& effect : effects_.list) {
      if (const Kind* const one = std::get_if<Kind>(&effect)) found.push_back(*one);
    }
    return found;
  }
  uint64_t Dropped(DropCause cause) const { return effects_.dropped[static_cast<size_t>(cause)]; }

 private:
  void ApplyLazily() {
    MemoryBatch batch;
    Effects effects;
    const absl::Status status =
        lazy_->ApplyEntry(log_.back(), {}, index_, /*term=*/1, lazy_store_, batch, effects);
    ASSERT_TRUE(status.ok()) << status;
    ASSERT_EQ(batch.size() == 0, lazy_->flushed_index() != index_);
    lazy_store_.Write(batch);
    ASSERT_EQ(effects.list.size(), effects_.list.size());
    ASSERT_EQ(effects.dropped, effects_.dropped);
  }
  void ExpectSameAfterLoading() {
    ASSERT_EQ(lazy_->Dump(), partition_->Dump());
    Partition again(id_);
    const absl::Status status = again.Load(store_);
    ASSERT_TRUE(status.ok()) << status;
    ASSERT_EQ(again.Dump(), partition_->Dump());

    Partition late(id_);
    ASSERT_TRUE(late.Load(lazy_store_).ok());
    Effects effects;
    for (uint64_t index = late.applied_index() + 1; index <= index_; ++index) {
      MemoryBatch batch;
      const std::string& entry = log_[index - 1];
      ASSERT_TRUE(late.ApplyEntry(entry, {}, index, /*term=*/1, lazy_store_, batch, effects).ok());
      ASSERT_EQ(batch.size(), 0u);  // Else it had been written.
    }
    ASSERT_EQ(late.Dump(), partition_->Dump());
  }
  static void ExpectSamePage(const QueuePage& a, const QueuePage& b) {
    ASSERT_EQ(a.entries.size(), b.entries.size());
    for (size_t i = 0; i < a.entries.size(); ++i) {
      ASSERT_EQ(a.entries[i].sequence, b.entries[i].sequence);
      ASSERT_EQ(a.entries[i].release, b.entries[i].release);
      if (a.entries[i].release) continue;
      ASSERT_EQ(a.entries[i].message->payload(), b.entries[i].message->payload());
    }
    ASSERT_EQ(a.expired, b.expired);
    ASSERT_EQ(a.next, b.next);
    ASSERT_EQ(a.end, b.end);
  }

  const PartitionId id_;
  MemoryStore store_;
  std::unique_ptr<Partition> partition_;
  MemoryStore lazy_store_;
  std::unique_ptr<Partition> lazy_;
  std::vector<std::string> log_;
  pb::Entry entry_;
  Effects effects_;
  uint64_t index_ = 0;
  uint64_t order_ = 0;
  int64_t now_ = 1'000'000;
};

}  // namespace storage

#endif  // TESTS_STORAGE_CORE_HARNESS_H_
