// What the state machine costs per message, without a store behind it.
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "benchmark/benchmark.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/command_codec.h"
#include "storage/core/memory_store.h"
#include "storage/core/partition.h"

namespace storage {
namespace {

// Counts and forgets.
class NullBatch : public StateBatch {
 public:
  void Put(std::string_view key, std::string_view value) override {
    bytes_ += key.size() + value.size();
  }
  void Delete(std::string_view key) override { bytes_ += key.size(); }
  void DeleteRange(std::string_view, std::string_view) override {}
  size_t bytes() const { return bytes_; }

 private:
  size_t bytes_ = 0;
};

constexpr int kSessions = 1000;
constexpr int kCommandsPerEntry = 64;

std::string Name(const char* kind, int number) { return kind + std::to_string(number); }

// Every session takes its own topic, so that a message goes to one queue.
void OpenSessions(Partition& partition, const MemoryStore& store, StateBatch& batch) {
  pb::Entry entry;
  for (int i = 0; i < kSessions; ++i) {
    pb::OpenSession& open = *entry.add_commands()->mutable_open_session();
    open.set_client_id(Name("client-", i));
    open.set_expiry_s(3600);
    open.set_window_messages(20);
    pb::Subscribe& subscribe = *entry.add_commands()->mutable_subscribe();
    subscribe.set_client_id(open.client_id());
    subscribe.set_epoch(static_cast<uint64_t>(i) + 1);
    pb::Subscription& wanted = *subscribe.add_subscriptions();
    wanted.set_filter(Name("plant/7/sensor/", i));
    wanted.set_options(1);
  }
  Effects effects;
  CHECK(partition.ApplyEntry(entry.SerializeAsString(), {}, 1, 1, store, batch, effects).ok())
      << "in set-up";
}

std::vector<mqtt::MessagePtr> MessageForEach(size_t payload_bytes) {
  const std::string payload(payload_bytes, 'x');
  std::vector<mqtt::MessagePtr> messages;
  for (int i = 0; i < kSessions; ++i) {
    const std::string topic = Name("plant/7/sensor/", i);
    mqtt::MessageParts parts;
    parts.topic = topic;
    parts.payload = payload;
    parts.qos = mqtt::QoS::kAtLeastOnce;
    parts.publisher = "publisher";
    messages.push_back(mqtt::Message::Create(parts));
  }
  return messages;
}

// One entry of kCommandsPerEntry messages, for one session after the other.
void AddMessages(const std::vector<mqtt::MessagePtr>& messages, size_t& next, std::string& entry,
                 std::vector<mqtt::MessagePtr>& used) {
  entry.clear();
  used.clear();
  for (int i = 0; i < kCommandsPerEntry; ++i) {
    const mqtt::MessagePtr& message = messages[next++ % kSessions];
    AppendEnqueue({}, message->parts(), /*match=*/true, {}, entry);
    used.push_back(message);
  }
}

// Argument: payload bytes. Encoding the message and building the entry is part of it, as is the
// acknowledgement that follows.
void EnqueueAndAcknowledge(benchmark::State& state) {
  MemoryStore store;
  NullBatch batch;
  Partition partition(0);
  CHECK(partition.Load(store).ok()) << "in set-up";
  OpenSessions(partition, store, batch);
  const auto messages = MessageForEach(static_cast<size_t>(state.range(0)));
  uint64_t index = 1;
  size_t next = 0;
  Effects effects;
  std::vector<mqtt::MessagePtr> used;
  std::string entry;
  std::string acknowledge;
  for (auto _ : state) {
    AddMessages(messages, next, entry, used);
    effects.Clear();
    CHECK(partition.ApplyEntry(entry, used, ++index, 1, store, batch, effects).ok()) << "enqueue";
    state.PauseTiming();
    acknowledge.clear();
    for (const Effect& effect : effects.list) {
      const Enqueued& enqueued = std::get<Enqueued>(effect);
      const Session& session = partition.session(enqueued.slot);
      AcknowledgeView view{.client_id = session.client_id, .epoch = session.epoch};
      view.puback.push_back(enqueued.delivery.sequence);
      AppendAcknowledge({}, view, acknowledge);
    }
    effects.Clear();
    if (state.range(1) != 0) state.ResumeTiming();
    CHECK(partition.ApplyEntry(acknowledge, {}, ++index, 1, store, batch, effects).ok()) << "ack";
    if (state.range(1) == 0) state.ResumeTiming();
  }
  benchmark::DoNotOptimize(batch.bytes());
  state.SetItemsProcessed(state.iterations() * kCommandsPerEntry);
}
BENCHMARK(EnqueueAndAcknowledge)
    ->ArgNames({"payload", "with_ack"})
    ->Args({256, 0})
    ->Args({256, 1})
    ->Args({1024, 0});

// The same behind messages that wait already, for sessions whose window is full: a queue's length
// must not be felt at its end.
void EnqueueBehind(benchmark::State& state) {
  MemoryStore store;
  NullBatch batch;
  Partition partition(0);
  CHECK(partition.Load(store).ok()) << "in set-up";
  OpenSessions(partition, store, batch);
  const auto messages = MessageForEach(64);
  uint64_t index = 1;
  size_t next = 0;
  Effects effects;
  std::vector<mqtt::MessagePtr> used;
  std::string entry;
  const auto enqueue = [&] {
    AddMessages(messages, next, entry, used);
    effects.Clear();
    CHECK(partition.ApplyEntry(entry, used, ++index, 1, store, batch, effects).ok()) << "enqueue";
  };
  while (next < static_cast<size_t>(state.range(0))) enqueue();
  for (auto _ : state) enqueue();
  state.SetItemsProcessed(state.iterations() * kCommandsPerEntry);
  state.SetComplexityN(state.range(0));
}
BENCHMARK(EnqueueBehind)
    ->ArgName("waiting")
    ->RangeMultiplier(10)
    ->Range(20'000, 2'000'000)
    ->Iterations(1000)
    ->Complexity();

}  // namespace
}  // namespace storage
