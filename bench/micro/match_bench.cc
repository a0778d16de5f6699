// What Router::Find costs while other subscriptions grow from a thousand to a million, a tenth of
// them with wildcards.
//
// Each device has one subscriber of its own, by exact filter or wildcard; the topics asked for
// match one or two filters, so that the figures are of the search and not of the answer's length.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "broker/core/router.h"

namespace broker {
namespace {

// Never looked into.
Session* SessionOf(size_t number) { return reinterpret_cast<Session*>((number + 1) * 64); }

std::string TopicOf(size_t device) {
  return "site/" + std::to_string(device % 100) + "/line/" + std::to_string(device / 100 % 100) +
         "/device/" + std::to_string(device) + "/state";
}

// Every tenth: in turn a '+' for the last level, for a middle one, and a '#'.
std::string FilterOf(size_t device) {
  if (device % 10 != 0) return TopicOf(device);
  const std::string site = "site/" + std::to_string(device % 100);
  const std::string line = std::to_string(device / 100 % 100);
  const std::string name = std::to_string(device);
  switch (device / 10 % 3) {
    case 0:
      return site + "/line/" + line + "/device/" + name + "/+";
    case 1:
      return site + "/+/" + line + "/device/" + name + "/state";
    default:
      return site + "/line/" + line + "/device/" + name + "/#";
  }
}

std::unique_ptr<Router> RouterWith(size_t subscriptions, size_t cached_topics_max) {
  auto router = std::make_unique<Router>(cached_topics_max);
  for (size_t i = 0; i < subscriptions; ++i) {
    router->Add(FilterOf(i), {SessionOf(i), 0, {.qos = mqtt::QoS::kAtLeastOnce}});
  }
  router->Add("site/7/#", {SessionOf(subscriptions), 0, {}});
  return router;
}

std::vector<std::string> TopicsAmong(size_t subscriptions, size_t count) {
  std::vector<std::string> topics;
  for (size_t i = 0; i < count; ++i) topics.push_back(TopicOf(i * 7919 % subscriptions));
  return topics;
}

void FindAll(benchmark::State& state, Router& router, const std::vector<std::string>& topics) {
  size_t next = 0;
  size_t targets = 0;
  for (auto _ : state) {
    targets += router.Find(topics[next]).subscribers.size();
    next = next + 1 == topics.size() ? 0 : next + 1;
  }
  state.SetItemsProcessed(state.iterations());
  state.SetComplexityN(state.range(0));
  state.counters["targets"] =
      benchmark::Counter(static_cast<double>(targets), benchmark::Counter::kAvgIterations);
}

// A hundred topics that are published to again and again.
void BM_FindHotTopics(benchmark::State& state) {
  const auto subscriptions = static_cast<size_t>(state.range(0));
  const auto router = RouterWith(subscriptions, 10'000);
  FindAll(state, *router, TopicsAmong(subscriptions, 100));
}
BENCHMARK(BM_FindHotTopics)->RangeMultiplier(10)->Range(1'000, 1'000'000)->Complexity();

// Never in the cache.
void BM_FindColdTopics(benchmark::State& state) {
  const auto subscriptions = static_cast<size_t>(state.range(0));
  const auto router = RouterWith(subscriptions, 1);
  FindAll(state, *router, TopicsAmong(subscriptions, std::min<size_t>(subscriptions, 100'000)));
}
BENCHMARK(BM_FindColdTopics)->RangeMultiplier(10)->Range(1'000, 1'000'000)->Complexity();

// A client subscribes and goes again; `wildcard` changes spoil the cache for all topics.
void BM_AddAndRemove(benchmark::State& state) {
  const auto subscriptions = static_cast<size_t>(state.range(0));
  const auto router = RouterWith(subscriptions, 10'000);
  const std::string filter = state.range(1) != 0 ? "site/9/line/+/device/new/#" : "site/9/new";
  for (auto _ : state) {
    router->Add(filter, {SessionOf(subscriptions + 1), 0, {}});
    router->Remove(filter, SessionOf(subscriptions + 1));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(BM_AddAndRemove)->ArgNames({"", "wildcard"})->ArgsProduct({{1'000, 1'000'000}, {0, 1}});

}  // namespace
}  // namespace broker
