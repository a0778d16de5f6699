// What a durable message costs from request to answer, delivery and acknowledgement; and a cold
// start. The disk counts: TMPDIR chooses it.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "cluster/partition_log.h"
#include "storage/core/keys.h"
#include "storage/partition_host.h"
#include "tests/storage/host_rig.h"

namespace storage {
namespace {

constexpr size_t kPayloadBytes = 256;
constexpr uint32_t kPartitions = 16;

StorageOptions OptionsIn(const std::string& path, Durability durability) {
  StorageOptions options;
  options.data_dir = path;
  options.partitions = kPartitions;
  options.durability = durability;
  options.min_free_disk_bytes = 0;
  return options;
}

// A shard with subscribers that acknowledge everything at once.
class BenchShard final : public EventSink {
 public:
  explicit BenchShard(std::vector<std::string> clients) : clients_(std::move(clients)) {}
  void Attach(PartitionHost* host) { host_ = host; }

  void Post(const ShardAddress& shard, std::vector<Event> events) override {
    std::vector<Addressed> answers;
    size_t published = 0;
    size_t others = 0;
    for (Event& event : events) {
      if (std::holds_alternative<Published>(event)) {
        CHECK(std::get<Published>(event).status.ok()) << "publish";
        ++published;
      } else if (const auto* route = std::get_if<RouteChange>(&event)) {
        answers.push_back(ConfirmRoutes{route->number});
      } else if (const auto* deliver = std::get_if<Deliver>(&event)) {
        Acknowledge acknowledge;
        acknowledge.client_id = clients_[deliver->connection.connection];
        acknowledge.epoch = deliver->epoch;
        for (const Delivery& delivery : deliver->entries) {
          acknowledge.entries.push_back({delivery.sequence, AckKind::kPubAck});
        }
        answers.push_back(std::move(acknowledge));
      } else if (const auto* opened = std::get_if<SessionOpened>(&event)) {
        epochs_[opened->token] = opened->epoch;
        ++others;
      } else {
        ++others;
      }
    }
    host_->Submit(shard, std::move(answers));
    base::MutexLock lock(mutex_);
    published_ += published;
    others_ += others;
    changed_.SignalAll();
  }

  // Until so many were answered since the start.
  void AwaitPublished(size_t count) {
    base::MutexLock lock(mutex_);
    while (published_ < count) changed_.Wait(mutex_);
  }
  void AwaitOthers(size_t count) {
    base::MutexLock lock(mutex_);
    while (others_ < count) changed_.Wait(mutex_);
  }
  uint64_t epoch(size_t client) const { return epochs_[client]; }
  void Reserve() { epochs_.resize(clients_.size()); }

 private:
  const std::vector<std::string> clients_;
  PartitionHost* host_ = nullptr;
  std::vector<uint64_t> epochs_;
  base::Mutex mutex_;
  base::CondVar changed_;
  size_t published_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t others_ ABSL_GUARDED_BY(mutex_) = 0;
};

std::vector<std::string> Clients(size_t count) {
  std::vector<std::string> clients;
  for (size_t i = 0; i < count; ++i) clients.push_back("client-" + std::to_string(i));
  return clients;
}

void StartAndWait(PartitionHost& host) {
  base::Mutex mutex;
  base::CondVar changed;
  bool ready = false;
  host.Start([&] {
    base::MutexLock lock(mutex);
    ready = true;
    changed.SignalAll();
  });
  base::MutexLock lock(mutex);
  while (!ready) changed.Wait(mutex);
}

void ConnectAll(PartitionHost& host, BenchShard& shard, const std::vector<std::string>& clients) {
  shard.Reserve();
  std::vector<Addressed> batch;
  for (size_t i = 0; i < clients.size(); ++i) {
    OpenSession open;
    open.token = i;
    open.connection = {.shard = 0, .incarnation = host.incarnation(), .connection = i};
    open.client_id = clients[i];
    open.expiry_s = 3600;
    open.window_messages = 1000;
    open.window_bytes = 16 << 20;
    batch.push_back(std::move(open));
  }
  host.Submit(host.OwnShard(0), std::move(batch));
  shard.AwaitOthers(clients.size());
  batch.clear();
  for (size_t i = 0; i < clients.size(); ++i) {
    Subscribe subscribe;
    subscribe.client_id = clients[i];
    subscribe.epoch = shard.epoch(i);
    subscribe.subscriptions.push_back(
        {.filter = "to/" + clients[i], .options = {.qos = mqtt::QoS::kAtLeastOnce}});
    batch.push_back(std::move(subscribe));
  }
  host.Submit(host.OwnShard(0), std::move(batch));
  shard.AwaitOthers(2 * clients.size());
}

Request MakePublish(const std::string& client, Token token) {
  Publish publish;
  publish.token = token;
  publish.message = MakeMessage("to/" + client, std::string(kPayloadBytes, 'x'));
  publish.partitions = PartitionMask{1} << PartitionOfClient(client, kPartitions);
  return publish;
}

// One to one, `in_flight` unanswered at most, sent again as half of them are answered.
void BM_Publish(benchmark::State& state) {
  const auto in_flight = static_cast<size_t>(state.range(0));
  support::TempDir directory;
  const std::vector<std::string> clients = Clients(50);
  BenchShard shard(clients);
  auto host = PartitionHost::Open(
      OptionsIn(directory.path() + "/store", static_cast<Durability>(state.range(1))),
      &cluster::PartitionLog::Open, base::RealClock::Get(), shard, 1);
  CHECK(host.ok()) << host.status();
  shard.Attach(host->get());
  StartAndWait(**host);
  ConnectAll(**host, shard, clients);

  const size_t step = in_flight > 1 ? in_flight / 2 : 1;
  size_t sent = 0;
  for (auto _ : state) {
    std::vector<Addressed> batch;
    for (size_t i = 0; i < step; ++i, ++sent) {
      batch.push_back(MakePublish(clients[sent % clients.size()], sent + 1));
    }
    (*host)->Submit((*host)->OwnShard(0), std::move(batch));
    if (sent + step > in_flight) shard.AwaitPublished(sent + step - in_flight);
  }
  shard.AwaitPublished(sent);
  state.SetItemsProcessed(static_cast<int64_t>(sent));
  const HostMetrics& metrics = (*host)->metrics();
  state.counters["per_commit"] =
      static_cast<double>(sent) / static_cast<double>(metrics.log_fsyncs.value() + 1);
  // Of all threads, RocksDB's own included.
  state.counters["messages"] = static_cast<double>(sent);
  CHECK((*host)->Stop().ok()) << "stop";
}
BENCHMARK(BM_Publish)
    ->ArgNames({"in_flight", "durability"})
    ->ArgsProduct({{1, 16, 64, 1000}, {0, 2}})
    ->MeasureProcessCPUTime()
    ->UseRealTime()
    ->MinTime(1.0);

// Sessions with 100 messages each, from Open to ready.
void BM_ColdStart(benchmark::State& state) {
  const auto sessions = static_cast<size_t>(state.range(0));
  const auto messages = static_cast<size_t>(state.range(1));
  support::TempDir directory;
  const std::string path = directory.path() + "/store";
  const std::vector<std::string> clients = Clients(sessions);
  {
    BenchShard shard(clients);
    auto host = PartitionHost::Open(OptionsIn(path, Durability::kNone),
                                    &cluster::PartitionLog::Open, base::RealClock::Get(), shard, 1);
    CHECK(host.ok()) << host.status();
    shard.Attach(host->get());
    StartAndWait(**host);
    ConnectAll(**host, shard, clients);
    std::vector<Addressed> batch;
    for (size_t i = 0; i < clients.size(); ++i) {
      CloseSession close;
      close.client_id = clients[i];
      close.epoch = shard.epoch(i);
      close.connection = {.shard = 0, .incarnation = (*host)->incarnation(), .connection = i};
      batch.push_back(std::move(close));
    }
    (*host)->Submit((*host)->OwnShard(0), std::move(batch));
    size_t sent = 0;
    for (size_t round = 0; round < messages; ++round) {
      batch.clear();
      for (const std::string& client : clients) batch.push_back(MakePublish(client, ++sent));
      (*host)->Submit((*host)->OwnShard(0), std::move(batch));
      shard.AwaitPublished(sent);
    }
    CHECK((*host)->Stop().ok()) << "stop";
  }
  for (auto _ : state) {
    BenchShard shard(clients);
    auto host = PartitionHost::Open(OptionsIn(path, Durability::kSync),
                                    &cluster::PartitionLog::Open, base::RealClock::Get(), shard, 1);
    CHECK(host.ok()) << host.status();
    shard.Attach(host->get());
    StartAndWait(**host);
    state.PauseTiming();
    CHECK((*host)->Stop().ok()) << "stop";
    state.ResumeTiming();
  }
}
BENCHMARK(BM_ColdStart)
    ->ArgNames({"sessions", "messages"})
    ->Args({10'000, 100})
    ->Args({100'000, 10})
    ->Unit(benchmark::kMillisecond)
    ->UseRealTime()
    ->Iterations(2);

}  // namespace
}  // namespace storage
