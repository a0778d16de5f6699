// The text that Prometheus reads, and its documentation.
#include "broker/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <string>

#include "admin/families.h"
#include "admin/metrics_text.h"
#include "base/metric.h"
#include "storage/core/metrics.h"

namespace admin {
namespace {

using ::testing::HasSubstr;

std::string Text(const broker::MetricsSnapshot& snapshot) {
  ProcessStats process;
  process.cpu_seconds = 1.5;
  return MetricsText(
      AllFamilies(snapshot, process, snapshot.started + absl::Seconds(5), {.id = "n-1"}));
}

// Series by name and labels; every line must be one of the format's.
std::map<std::string, double> Parse(const std::string& text) {
  static const std::regex kSample(
      R"re(([a-zA-Z_:][a-zA-Z0-9_:]*(\{([a-z_]+="([^"\\\n]|\\["\\n])*",?)*\})?) ([-+0-9.eEInf]+))re");
  static const std::regex kComment(R"re(# (HELP|TYPE) [a-z_]+ .+)re");
  std::map<std::string, double> series;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (std::regex_match(line, kComment)) continue;
    if (!std::regex_match(line, match, kSample)) {
      ADD_FAILURE() << "no line of the format: " << line;
      continue;
    }
    EXPECT_TRUE(series.emplace(match[1], std::strtod(match[5].str().c_str(), nullptr)).second)
        << "twice: " << line;
  }
  return series;
}

TEST(MetricsText, AnEmptyBrokerHasAWellFormedPage) {
  const std::map<std::string, double> series = Parse(Text({}));
  EXPECT_EQ(series.at("mqttd_uptime_seconds"), 5);
  EXPECT_EQ(series.at("mqttd_process_cpu_seconds_total"), 1.5);
  EXPECT_EQ(series.count("mqttd_retained_messages"), 0u) << "there is no store to count";
}

TEST(MetricsText, ANodeOfAClusterTellsOfTheOthers) {
  base::ClusterView cluster;
  cluster.links = {{.node = 3,
                    .up = true,
                    .round_trip_s = 0.25,
                    .connected = 2,
                    .disconnected = 1,
                    .streams = {{.link_class = "traffic", .items = 7, .times_full = 4}}}};
  cluster.traffic.dropped = 5;
  cluster.node = 1;
  cluster.holds_replicas = true;
  cluster.members = {{.node = 1, .live = true}, {.node = 3, .live = true}, {.node = 4}};
  cluster.partitions = {{.leader = 1}, {.leader = 3}, {.leader = 1}, {.leader = 0}};
  const std::map<std::string, double> series = Parse(
      MetricsText(AllFamilies({}, {}, absl::UnixEpoch(), {.id = "n-1", .cluster = &cluster})));
  EXPECT_EQ(series.at("mqttd_cluster_link_up{node=\"3\"}"), 1);
  EXPECT_EQ(series.at("mqttd_cluster_link_round_trip_seconds{node=\"3\"}"), 0.25);
  EXPECT_EQ(series.at("mqttd_cluster_link_items_total{node=\"3\",class=\"traffic\"}"), 7);
  EXPECT_EQ(series.at("mqttd_cluster_link_full_total{node=\"3\",class=\"traffic\"}"), 4);
  EXPECT_EQ(series.at("mqttd_cluster_forwards_dropped_total"), 5);
  EXPECT_EQ(series.at("mqttd_cluster_members{state=\"live\"}"), 2);
  EXPECT_EQ(series.at("mqttd_cluster_members{state=\"gone\"}"), 1);
  EXPECT_EQ(series.at("mqttd_cluster_lease"), 0);
  EXPECT_EQ(series.at("mqttd_cluster_holds_replicas"), 1);
  EXPECT_EQ(series.at("mqttd_cluster_partitions_led"), 2);
  EXPECT_EQ(series.at("mqttd_cluster_partitions_without_leader"), 1);
  EXPECT_EQ(Parse(Text({})).count("mqttd_cluster_forwards_dropped_total"), 0u)
      << "a node alone has no others";
}

TEST(MetricsText, ShardsAreAddedUp) {
  const auto one = std::make_unique<broker::ShardMetrics>();
  const auto two = std::make_unique<broker::ShardMetrics>();
  one->connections.Add(3);
  two->connections.Add(4);
  one->queued_messages.Add(-2);  // Queued by the other shard, taken by this one.
  two->queued_messages.Add(5);
  one->packets_received[3].Add(7);
  two->publish_sent[2].Add(9);
  one->dropped[broker::DropCause::kExpired].Add(2);
  two->connacks_sent[0x87].Add(1);
  one->connects_by_version[4].Add(6);
  for (auto* shard : {one.get(), two.get()}) shard->violations.Add("MQTT5-3.3.4-7");
  const auto host = std::make_unique<storage::HostMetrics>();
  host->queued_messages.Set(100);
  host->log_fsyncs.Add(11);
  broker::MetricsSnapshot snapshot;
  snapshot.shards = {one.get(), two.get()};
  snapshot.storage = host.get();
  host->memory.Add(base::MemoryUse::kSubscriptions, 500);
  host->memory.AddTo(snapshot.memory.account);
  one->memory.Add(base::MemoryUse::kSubscriptions, 40);
  one->memory.AddTo(snapshot.memory.account);
  snapshot.listeners.push_back({.url = "ws://h/\"x\"", .refused_connections_max = 8});

  const std::map<std::string, double> series = Parse(Text(snapshot));
  EXPECT_EQ(series.at("mqttd_connections"), 7);
  EXPECT_EQ(series.at("mqttd_shard_connections{shard=\"1\"}"), 4);
  EXPECT_EQ(series.at("mqttd_queued_messages{kind=\"transient\"}"), 3);
  EXPECT_EQ(series.at("mqttd_queued_messages{kind=\"durable\"}"), 100);
  EXPECT_EQ(series.at("mqttd_packets_received_total{type=\"publish\"}"), 7);
  EXPECT_EQ(series.at("mqttd_packets_received_total{type=\"auth\"}"), 0);
  EXPECT_EQ(series.at("mqttd_publish_sent_total{qos=\"2\"}"), 9);
  EXPECT_EQ(series.at("mqttd_messages_dropped_total{cause=\"expired\"}"), 2);
  EXPECT_EQ(series.at("mqttd_connack_sent_total{code=\"0x87\"}"), 1);
  EXPECT_EQ(series.at("mqttd_connects_total{version=\"3.1.1\"}"), 6);
  EXPECT_EQ(series.at("mqttd_protocol_violations_total{rule=\"MQTT5-3.3.4-7\"}"), 2);
  EXPECT_EQ(series.at("mqttd_log_fsyncs_total"), 11);
  EXPECT_EQ(series.at("mqttd_memory_account_bytes{use=\"subscriptions\"}"), 540);
  EXPECT_EQ(series.at("mqttd_memory_account_bytes{use=\"input\"}"), 0);
  EXPECT_EQ(series.at("mqttd_listener_refused_total{listener=\"ws://h/\\\"x\\\"\",cause="
                      "\"connections_max\"}"),
            8);
}

TEST(MetricsText, HistogramsAreCumulativeAndInSeconds) {
  const auto shard = std::make_unique<broker::ShardMetrics>();
  shard->commit_latency.Record(absl::Microseconds(10));
  shard->commit_latency.Record(absl::Milliseconds(2), 3);
  shard->commit_latency.Record(absl::Hours(1));
  broker::MetricsSnapshot snapshot;
  snapshot.shards = {shard.get()};
  const std::map<std::string, double> series = Parse(Text(snapshot));
  EXPECT_EQ(series.at("mqttd_commit_latency_seconds_count"), 5);
  EXPECT_NEAR(series.at("mqttd_commit_latency_seconds_sum"), 3600.00601, 1e-9);
  EXPECT_EQ(series.at("mqttd_commit_latency_seconds_bucket{le=\"1.6e-05\"}"), 1);
  EXPECT_EQ(series.at("mqttd_commit_latency_seconds_bucket{le=\"0.001024\"}"), 1);
  EXPECT_EQ(series.at("mqttd_commit_latency_seconds_bucket{le=\"0.002048\"}"), 4);
  EXPECT_EQ(series.at("mqttd_commit_latency_seconds_bucket{le=\"16.777216\"}"), 4);
  EXPECT_EQ(series.at("mqttd_commit_latency_seconds_bucket{le=\"+Inf\"}"), 5);
}

TEST(MetricsText, CountersEndInTotalAndNothingElseDoes) {
  std::istringstream lines(Text({}));
  std::string hash, word, name, type;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("# TYPE ", 0) != 0) continue;
    std::istringstream(line) >> hash >> word >> name >> type;
    EXPECT_EQ(type == "counter", name.size() > 6 && name.substr(name.size() - 6) == "_total")
        << line;
    EXPECT_EQ(name.rfind("mqttd_", 0), 0u) << name;
  }
}

TEST(LatencyHistogram, ABoundBelongsToTheBucketBelow) {
  using base::LatencyHistogram;
  for (size_t bucket = 0; bucket + 1 < LatencyHistogram::kBuckets; ++bucket) {
    LatencyHistogram histogram;
    histogram.Record(LatencyHistogram::UpperBound(bucket));
    histogram.Record(LatencyHistogram::UpperBound(bucket) + absl::Nanoseconds(1));
    EXPECT_EQ(histogram.count(bucket), 1u) << bucket;
    EXPECT_EQ(histogram.count(bucket + 1), 1u) << bucket;
  }
  LatencyHistogram histogram;
  histogram.Record(absl::ZeroDuration());
  histogram.Record(-absl::Seconds(1));  // A clock that went back does no harm.
  EXPECT_EQ(histogram.count(0), 2u);
  EXPECT_EQ(histogram.sum_ns(), 0u);
  histogram.Record(absl::InfiniteDuration());
  EXPECT_EQ(histogram.count(LatencyHistogram::kBuckets - 1), 1u);
}

TEST(ViolationCounts, CountByTextAndAreBounded) {
  const auto counts = std::make_unique<broker::ViolationCounts>();
  const std::string same_text_elsewhere = "MQTT5-1";
  counts->Add("MQTT5-1");
  counts->Add(same_text_elsewhere);
  std::vector<std::string> rules;
  for (int i = 0; i < 1000; ++i) rules.push_back("rule " + std::to_string(i));
  for (const std::string& rule : rules) counts->Add(rule);
  uint64_t sum = 0;
  uint64_t other = 0;
  size_t seen = 0;
  counts->ForEach([&](std::string_view rule, uint64_t count) {
    sum += count;
    ++seen;
    if (rule == "other") other = count;
    if (rule == "MQTT5-1") {
      EXPECT_EQ(count, 2u);
    }
  });
  EXPECT_EQ(sum, 1002u);
  EXPECT_EQ(seen, 257u);
  EXPECT_EQ(other, 745u);
}

// With MQTTD_UPDATE_DOCS set it writes the file instead; the diff is the review.
TEST(Documentation, IsUpToDate) {
  const std::string path = MQTTD_SOURCE_DIR "/docs/metrics.md";
  if (std::getenv("MQTTD_UPDATE_DOCS") != nullptr) std::ofstream(path) << MetricsDocumentation();
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_EQ(text.str(), MetricsDocumentation())
      << "run: MQTTD_UPDATE_DOCS=1 ./dev test admin_metrics_test";
}

TEST(Documentation, NamesEverySeriesThatIsServed) {
  const auto shard = std::make_unique<broker::ShardMetrics>();
  const auto host = std::make_unique<storage::HostMetrics>();
  broker::MetricsSnapshot snapshot;
  snapshot.shards = {shard.get()};
  snapshot.storage = host.get();
  std::istringstream lines(Text(snapshot));
  const std::string documentation = MetricsDocumentation();
  std::string hash, word, name;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("# HELP ", 0) != 0) continue;
    std::istringstream(line) >> hash >> word >> name;
    EXPECT_THAT(documentation, HasSubstr("| `" + name)) << line;
  }
}

TEST(ProcessStats, AreReadFromTheKernel) {
  const ProcessStats stats = ReadProcessStats();
  EXPECT_GT(stats.resident_bytes, 100'000u);
  EXPECT_GE(stats.virtual_bytes, stats.resident_bytes);
  EXPECT_GE(stats.open_fds, 3u);
  EXPECT_GE(stats.max_fds, stats.open_fds);
  EXPECT_GE(stats.threads, 1u);
}

}  // namespace
}  // namespace admin
