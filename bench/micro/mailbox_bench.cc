// What it costs to hand values to another thread: by the size of the batch, by how many batches
// gather before they are taken, and with producers that push at the same time.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "base/mailbox.h"

namespace base {
namespace {

// As large as a request of a shard: what is moved matters.
struct Value {
  uint64_t words[8] = {};
};

std::unique_ptr<Batch<Value>> BatchOf(size_t values) {
  auto batch = std::make_unique<Batch<Value>>();
  batch->items.resize(values);
  return batch;
}

size_t Take(Mailbox<Value>& mailbox) {
  return mailbox.TakeAll([](Value&& value) { benchmark::DoNotOptimize(value); });
}

// One batch posted and taken: per value it becomes cheap as the batch grows.
void BM_Batch(benchmark::State& state) {
  const auto values = static_cast<size_t>(state.range(0));
  Mailbox<Value> mailbox([] {});
  for (auto _ : state) {
    mailbox.Post(BatchOf(values));
    benchmark::DoNotOptimize(Take(mailbox));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  state.SetComplexityN(state.range(0));
}
BENCHMARK(BM_Batch)->RangeMultiplier(8)->Range(1, 4096)->Complexity();

// Many batches of sixteen wait before the consumer comes.
void BM_Backlog(benchmark::State& state) {
  Mailbox<Value> mailbox([] {});
  for (auto _ : state) {
    for (int64_t i = 0; i < state.range(0); ++i) mailbox.Post(BatchOf(16));
    benchmark::DoNotOptimize(Take(mailbox));
  }
  state.SetItemsProcessed(state.iterations() * state.range(0) * 16);
  state.SetComplexityN(state.range(0));
}
BENCHMARK(BM_Backlog)->RangeMultiplier(8)->Range(1, 4096)->Complexity();

// Thread 0 takes, the others push at the same list.
void BM_Producers(benchmark::State& state) {
  static Mailbox<Value>* mailbox = nullptr;
  if (state.thread_index() == 0) mailbox = new Mailbox<Value>([] {});
  for (auto _ : state) {
    if (state.thread_index() == 0) {
      benchmark::DoNotOptimize(Take(*mailbox));
    } else {
      mailbox->Post(BatchOf(16));
    }
  }
  if (state.thread_index() == 0) {
    delete std::exchange(mailbox, nullptr);
  } else {
    state.SetItemsProcessed(state.iterations() * 16);
  }
}
BENCHMARK(BM_Producers)->Threads(2)->Threads(4)->UseRealTime();

}  // namespace
}  // namespace base
