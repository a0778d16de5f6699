#include "broker/sys_topics.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/version.h"
#include "mqtt/types.h"
#include "storage/core/metrics.h"

namespace broker {
namespace {

template <typename Array>
uint64_t Total(const Array& counters) {
  uint64_t total = 0;
  for (const auto& counter : counters) total += counter.value();
  return total;
}

// The sums that several topics are made of.
struct Sums {
  uint64_t packets_received = 0, packets_sent = 0, bytes_received = 0, bytes_sent = 0;
  uint64_t publish_received = 0, publish_sent = 0, publish_bytes_received = 0,
           publish_bytes_sent = 0;
  uint64_t dropped = 0, connections = 0, sockets = 0;
  int64_t connected = 0, maximum = 0, transient = 0, subscriptions = 0, shared = 0, inflight = 0;
};

Sums Add(const MetricsSnapshot& snapshot) {
  Sums sums;
  for (const ShardMetrics* const shard : snapshot.shards) {
    sums.packets_received += Total(shard->packets_received);
    sums.packets_sent += Total(shard->packets_sent);
    sums.bytes_received += Total(shard->bytes_received);
    sums.bytes_sent += Total(shard->bytes_sent);
    sums.publish_received += Total(shard->publish_received);
    sums.publish_sent += Total(shard->publish_sent);
    sums.publish_bytes_received += shard->publish_bytes_received.value();
    sums.publish_bytes_sent += shard->publish_bytes_sent.value();
    for (size_t i = 0; i < static_cast<size_t>(DropCause::kCount_); ++i) {
      sums.dropped += shard->dropped[static_cast<DropCause>(i)].value();
    }
    sums.connections += Total(shard->connects_by_version);
    sums.sockets += shard->connections_opened.value();
    sums.connected += shard->clients_connected.value();
    sums.maximum += shard->clients_connected_maximum.value();
    sums.transient += shard->sessions_transient.value();
    sums.subscriptions += shard->subscriptions.value();
    sums.shared += shard->subscriptions_shared.value();
    sums.inflight += shard->inflight_messages.value();
  }
  return sums;
}

void AddState(SysTopicSource::Values& values, const MetricsSnapshot& snapshot, const Sums& sums) {
  const auto add = [&](const char* name, auto value) {
    values.emplace_back(absl::StrCat("$SYS/broker/", name), absl::StrCat(value));
  };
  int64_t durable = 0, offline = 0, queued = 0, queued_bytes = 0, retained = 0,
          subscriptions = sums.subscriptions;
  int64_t shared = sums.shared;
  uint64_t expired = 0;
  if (const storage::HostMetrics* const storage = snapshot.storage) {
    durable = storage->sessions.value();
    offline = durable - storage->sessions_connected.value();
    queued = storage->queued_messages.value();
    queued_bytes = storage->queued_bytes.value();
    retained = storage->retained_messages.value();
    subscriptions += storage->subscriptions.value();
    shared += storage->subscriptions_shared.value();
    expired = storage->sessions_expired.value();
  }
  add("clients/connected", sums.connected);
  add("clients/disconnected", offline);
  add("clients/maximum", sums.maximum);
  add("clients/total", sums.transient + durable);
  add("clients/expired", expired);
  add("messages/received", sums.packets_received);
  add("messages/sent", sums.packets_sent);
  add("messages/inflight", sums.inflight);
  add("publish/messages/received", sums.publish_received);
  add("publish/messages/sent", sums.publish_sent);
  add("publish/messages/dropped", sums.dropped);
  add("publish/bytes/received", sums.publish_bytes_received);
  add("publish/bytes/sent", sums.publish_bytes_sent);
  add("bytes/received", sums.bytes_received);
  add("bytes/sent", sums.bytes_sent);
  add("subscriptions/count", subscriptions);
  add("shared_subscriptions/count", shared);
  add("retained messages/count", retained);
  add("store/messages/count", queued);
  add("store/messages/bytes", queued_bytes);
  add("memory/used", snapshot.memory.used_bytes);
  add("memory/high", snapshot.memory.high ? 1 : 0);
}

}  // namespace

void SysTopicSource::AddLoad(Values& values, const std::string& name, uint64_t total,
                             double seconds) {
  Load& load = loads_[name];
  constexpr std::array<int, 3> kMinutes = {1, 5, 15};
  for (size_t i = 0; i < kMinutes.size(); ++i) {
    if (seconds > 0) {
      const double rate = static_cast<double>(total - load.last) * 60.0 / seconds;
      const double keep = std::exp(-seconds / (60.0 * kMinutes[i]));
      load.per_minute[i] = load.per_minute[i] * keep + rate * (1 - keep);
    }
    values.emplace_back(absl::StrCat("$SYS/broker/load/", name, "/", kMinutes[i], "min"),
                        absl::StrFormat("%.2f", load.per_minute[i]));
  }
  load.last = total;
}

SysTopicSource::Values SysTopicSource::Update(const MetricsSnapshot& snapshot, absl::Time now) {
  const Sums sums = Add(snapshot);
  const double seconds = last_ == absl::InfinitePast() ? 0 : absl::ToDoubleSeconds(now - last_);
  last_ = now;
  Values all;
  all.emplace_back("$SYS/broker/version", absl::StrCat("mqttd version ", base::kVersion));
  all.emplace_back("$SYS/broker/uptime",
                   absl::StrCat(absl::ToInt64Seconds(now - snapshot.started), " seconds"));
  AddState(all, snapshot, sums);
  AddLoad(all, "messages/received", sums.packets_received, seconds);
  AddLoad(all, "messages/sent", sums.packets_sent, seconds);
  AddLoad(all, "publish/received", sums.publish_received, seconds);
  AddLoad(all, "publish/sent", sums.publish_sent, seconds);
  AddLoad(all, "publish/dropped", sums.dropped, seconds);
  AddLoad(all, "bytes/received", sums.bytes_received, seconds);
  AddLoad(all, "bytes/sent", sums.bytes_sent, seconds);
  AddLoad(all, "sockets", sums.sockets, seconds);
  AddLoad(all, "connections", sums.connections, seconds);

  Values changed;
  for (auto& [topic, value] : all) {
    std::string& known = known_[topic];
    if (known == value) continue;
    known = value;
    changed.emplace_back(std::move(topic), std::move(value));
  }
  return changed;
}

}  // namespace broker
