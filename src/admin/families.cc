// What the shards and the process count, by name.
#include "admin/families.h"

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "admin/metrics_text.h"
#include "auth/hash_pool.h"
#include "auth/verified_logins.h"
#include "base/version.h"
#include "mqtt/types.h"

namespace admin {
namespace {

using broker::MetricsSnapshot;
using broker::ShardMetrics;

// Makes the label of an enum's value from its broker::Name.
template <typename Enum>
std::string Label(Enum value) {
  return std::string(broker::Name(value));
}

// A family without labels: the sum over the shards.
template <typename Metric>
auto Total(const MetricsSnapshot& snapshot, Metric ShardMetrics::*metric) {
  decltype(Metric().value()) sum = 0;
  for (const ShardMetrics* shard : snapshot.shards) sum += (shard->*metric).value();
  return sum;
}

// A family by some enum; all values, so that a rate has a zero to start from.
template <typename Enum>
void ByCause(const MetricsSnapshot& snapshot, base::CounterPer<Enum> ShardMetrics::*metric,
             FamilyBuilder& out) {
  for (size_t i = 0; i < base::CounterPer<Enum>::kSize; ++i) {
    const auto cause = static_cast<Enum>(i);
    uint64_t sum = 0;
    for (const ShardMetrics* shard : snapshot.shards) sum += (shard->*metric)[cause].value();
    out.Sample(sum, {Label(cause)});
  }
}

template <size_t kSize>
uint64_t TotalAt(const MetricsSnapshot& snapshot,
                 std::array<base::Counter, kSize> ShardMetrics::*metric, size_t at) {
  uint64_t sum = 0;
  for (const ShardMetrics* shard : snapshot.shards) sum += (shard->*metric)[at].value();
  return sum;
}

void ByPacketType(const MetricsSnapshot& snapshot,
                  std::array<base::Counter, 16> ShardMetrics::*metric, FamilyBuilder& out) {
  for (size_t type = 1; type < 16; ++type) {
    const std::string_view name = mqtt::PacketTypeName(static_cast<mqtt::PacketType>(type));
    out.Sample(TotalAt(snapshot, metric, type),
               {absl::AsciiStrToLower(absl::string_view(name.data(), name.size()))});
  }
}

void ByQos(const MetricsSnapshot& snapshot, std::array<base::Counter, 3> ShardMetrics::*metric,
           FamilyBuilder& out) {
  for (size_t qos = 0; qos < 3; ++qos) {
    out.Sample(TotalAt(snapshot, metric, qos), {absl::StrCat(qos)});
  }
}

// By Reason Code, as it is written in the specification: those that the packet may have, so that a
// rate has a zero to start from.
void ByReason(const MetricsSnapshot& snapshot, std::array<base::Counter, 256> ShardMetrics::*metric,
              mqtt::PacketType type, FamilyBuilder& out) {
  for (size_t code = 0; code < 256; ++code) {
    const uint64_t count = TotalAt(snapshot, metric, code);
    if (count == 0 && !mqtt::IsAllowed(static_cast<mqtt::ReasonCode>(code), type)) continue;
    out.Sample(count, {absl::StrFormat("0x%02X", code)});
  }
}

std::vector<const base::LatencyHistogram*> Histograms(
    const MetricsSnapshot& snapshot, base::LatencyHistogram ShardMetrics::*metric) {
  std::vector<const base::LatencyHistogram*> parts;
  for (const ShardMetrics* shard : snapshot.shards) parts.push_back(&(shard->*metric));
  return parts;
}

// Of several that go by one name, the one that runs out first.
std::map<std::string, int64_t> FirstToExpire(const std::vector<OwnCertificate>& certificates) {
  std::map<std::string, int64_t> first;
  for (const OwnCertificate& each : certificates) {
    if (each.expires_unix_s == 0) continue;
    const auto [it, added] = first.try_emplace(each.used_by, each.expires_unix_s);
    it->second = std::min(it->second, each.expires_unix_s);
  }
  return first;
}

void AddListeners(const MetricsSnapshot& snapshot, const NodeView& node, FamilyBuilder& out) {
  out.Gauge("listener_connections", "Open connections of a listener.", {"listener"});
  for (const auto& listener : snapshot.listeners) {
    out.Sample(uint64_t{listener.connections}, {listener.url});
  }
  out.Counter("listener_accepted_total", "Connections that a listener accepted.", {"listener"});
  for (const auto& listener : snapshot.listeners) out.Sample(listener.accepted, {listener.url});
  out.Counter(
      "listener_refused_total",
      "Connections closed at once, by the limit that was reached; descriptors: none was left. "
      "Behind a proxy those of an address are told in CONNACK, and a page that is not among the "
      "websocket_origins gets 403.",
      {"listener", "cause"});
  for (const auto& listener : snapshot.listeners) {
    out.Sample(listener.refused_connections_max, {listener.url, "connections_max"});
    out.Sample(listener.refused_address_max, {listener.url, "address_connections_max"});
    out.Sample(listener.refused_address_rate, {listener.url, "address_connection_rate_max"});
    out.Sample(listener.refused_origins, {listener.url, "websocket_origins"});
    out.Sample(listener.refused_descriptors, {listener.url, "descriptors"});
  }
  out.Gauge("listener_certificate_expiry_timestamp_seconds",
            "When the certificate of a listener with TLS runs out, since 1970; of the admin API "
            "(\"admin\") and of the links between nodes (\"cluster\", or their authority's) too.",
            {"listener"});
  for (const auto& listener : snapshot.listeners) {
    if (listener.certificate_expires_unix_s != 0)
      out.Sample(static_cast<double>(listener.certificate_expires_unix_s), {listener.url});
  }
  for (const auto& [used_by, expires] : FirstToExpire(node.certificates))
    out.Sample(static_cast<double>(expires), {used_by});
  out.Counter("listener_rate_waits_total",
              "Times that accepting waited because of connection_rate_max.", {"listener"});
  for (const auto& listener : snapshot.listeners) out.Sample(listener.rate_waits, {listener.url});
  out.Counter("listener_pauses_total",
              "Times that accepting stopped for a moment for want of descriptors or memory.",
              {"listener"});
  for (const auto& listener : snapshot.listeners) out.Sample(listener.pauses, {listener.url});
}

}  // namespace

void AddConnections(const MetricsSnapshot& snapshot, const NodeView& node, FamilyBuilder& out) {
  out.BeginChapter("Connections");
  out.Gauge("connections", "Open network connections, before CONNECT too.");
  out.Sample(Total(snapshot, &ShardMetrics::connections));
  out.Gauge("connections_tls", "Those of them over TLS.");
  out.Sample(Total(snapshot, &ShardMetrics::connections_tls));
  out.Gauge("connections_websocket", "Those of them over WebSocket, with or without TLS.");
  out.Sample(Total(snapshot, &ShardMetrics::connections_websocket));
  out.Counter("connections_opened_total", "Network connections since the start.");
  out.Sample(Total(snapshot, &ShardMetrics::connections_opened));
  out.Counter("connections_refused_total", "Refused by a bound of the whole broker, by cause.",
              {"cause"});
  ByCause(snapshot, &ShardMetrics::connections_refused, out);
  out.Counter("connections_closed_total", "Connections that ended, by cause.", {"cause"});
  ByCause(snapshot, &ShardMetrics::connections_closed, out);
  AddListeners(snapshot, node, out);

  out.Gauge("clients_connected", "Clients connected: CONNACK with success was sent.");
  out.Sample(Total(snapshot, &ShardMetrics::clients_connected));
  out.Counter("connects_total", "Accepted CONNECTs, by protocol version.", {"version"});
  out.Sample(TotalAt(snapshot, &ShardMetrics::connects_by_version, 3), {"3.1"});
  out.Sample(TotalAt(snapshot, &ShardMetrics::connects_by_version, 4), {"3.1.1"});
  out.Sample(TotalAt(snapshot, &ShardMetrics::connects_by_version, 5), {"5.0"});
  out.Counter("connack_sent_total", "CONNACKs, by Reason Code (of 5.0).", {"code"});
  ByReason(snapshot, &ShardMetrics::connacks_sent, mqtt::PacketType::kConnAck, out);
  out.Counter("disconnect_sent_total", "DISCONNECTs sent, by Reason Code.", {"code"});
  ByReason(snapshot, &ShardMetrics::disconnects_sent, mqtt::PacketType::kDisconnect, out);
  out.Counter("disconnect_received_total", "DISCONNECTs received, by Reason Code.", {"code"});
  ByReason(snapshot, &ShardMetrics::disconnects_received, mqtt::PacketType::kDisconnect, out);
  out.Gauge("arrivals_waiting",
            "Connections before CONNECT that have something to be read and wait for their turn.");
  out.Sample(Total(snapshot, &ShardMetrics::arrivals_waiting));
  out.Counter("accept_holds_total",
              "Times that a shard accepted nothing for a while because too many of them waited.");
  out.Sample(Total(snapshot, &ShardMetrics::accept_holds));
  out.Counter("takeovers_total", "Connections that gave way to a newer one of the same client.");
  out.Sample(Total(snapshot, &ShardMetrics::takeovers));
  out.Counter("auth_failures_total", "CONNECTs refused for who the client is or says it is.");
  out.Sample(Total(snapshot, &ShardMetrics::auth_failures));
  const auth::HashPool* const pool = snapshot.hash_pool;
  out.Counter("password_hashes_total", "Passwords verified.");
  out.Sample(pool == nullptr ? uint64_t{0} : pool->completed());
  out.Counter("password_hashes_refused_total", "Logins refused because too many were waiting.");
  out.Sample(pool == nullptr ? uint64_t{0} : pool->refused());
  out.Gauge("password_hashes_waiting", "Logins that wait for their password to be verified.");
  out.Sample(pool == nullptr ? uint64_t{0} : uint64_t{pool->waiting()});
  out.Counter("password_hashes_abandoned_total",
              "Logins that were not verified because their clients had gone.");
  out.Sample(pool == nullptr ? uint64_t{0} : pool->abandoned());
  const auth::VerifiedLogins* const verified = snapshot.verified_logins;
  out.Gauge("verified_logins", "Logins that are remembered: they come back without a hash.");
  out.Sample(verified == nullptr ? uint64_t{0} : uint64_t{verified->size()});
  out.Counter("verified_logins_used_total", "Logins that were let in because of that.");
  out.Sample(verified == nullptr ? uint64_t{0} : verified->hits());
}

void AddPackets(const MetricsSnapshot& snapshot, FamilyBuilder& out) {
  out.BeginChapter("Packets");
  out.Counter("packets_received_total", "MQTT Control Packets received.", {"type"});
  ByPacketType(snapshot, &ShardMetrics::packets_received, out);
  out.Counter("packets_sent_total", "MQTT Control Packets sent.", {"type"});
  ByPacketType(snapshot, &ShardMetrics::packets_sent, out);
  out.Counter("bytes_received_total", "Bytes of whole packets, without TLS and WebSocket.",
              {"type"});
  ByPacketType(snapshot, &ShardMetrics::bytes_received, out);
  out.Counter("bytes_sent_total", "Bytes of whole packets, without TLS and WebSocket.", {"type"});
  ByPacketType(snapshot, &ShardMetrics::bytes_sent, out);
  out.Counter("protocol_violations_total",
              "Packets that broke a rule, by the rule's number in the specification.", {"rule"});
  std::vector<std::pair<std::string, uint64_t>> rules = {{"other", 0}};
  for (const ShardMetrics* shard : snapshot.shards) {
    shard->violations.ForEach([&rules](std::string_view rule, uint64_t count) {
      for (auto& [known, sum] : rules) {
        if (known != rule) continue;
        sum += count;
        return;
      }
      rules.emplace_back(rule, count);
    });
  }
  for (const auto& [rule, count] : rules) out.Sample(count, {rule});
}

void AddMessages(const MetricsSnapshot& snapshot, FamilyBuilder& out) {
  out.BeginChapter("Messages");
  out.Counter("publish_received_total", "PUBLISH received.", {"qos"});
  ByQos(snapshot, &ShardMetrics::publish_received, out);
  out.Counter("publish_sent_total", "PUBLISH sent.", {"qos"});
  ByQos(snapshot, &ShardMetrics::publish_sent, out);
  out.Counter("publish_payload_bytes_received_total", "Payloads received.");
  out.Sample(Total(snapshot, &ShardMetrics::publish_bytes_received));
  out.Counter("publish_payload_bytes_sent_total", "Payloads sent.");
  out.Sample(Total(snapshot, &ShardMetrics::publish_bytes_sent));
  out.Counter("publish_unmatched_total", "PUBLISH to which nobody subscribes.");
  out.Sample(Total(snapshot, &ShardMetrics::publish_unmatched));
  out.Counter("publish_duplicates_total",
              "QoS 2 PUBLISH repeated before PUBREL: acknowledged, not delivered again.");
  out.Sample(Total(snapshot, &ShardMetrics::publish_duplicates));
  out.Counter("messages_dropped_total", "Messages not delivered to a session, by cause.",
              {"cause"});
  ByCause(snapshot, &ShardMetrics::dropped, out);
  out.Counter("subscriptions_refused_total",
              "Subscriptions answered with 0x97, by the bound that they would have gone beyond.",
              {"bound"});
  ByCause(snapshot, &ShardMetrics::subscriptions_refused, out);
  out.Histogram("commit_latency_seconds",
                "From asking for something to be stored until it is durable.",
                Histograms(snapshot, &ShardMetrics::commit_latency));
  out.Histogram("delivery_latency_seconds",
                "From reading a PUBLISH until handing it to a subscriber's socket.",
                Histograms(snapshot, &ShardMetrics::delivery_latency));
}

void AddInside(const MetricsSnapshot& snapshot, FamilyBuilder& out) {
  out.BeginChapter("Inside");
  out.Gauge("inflight_messages", "QoS 1 and 2 messages sent and not yet acknowledged.");
  out.Sample(Total(snapshot, &ShardMetrics::inflight_messages));
  out.Gauge("output_bytes", "Bytes that wait for sockets to take them.");
  out.Sample(Total(snapshot, &ShardMetrics::output_bytes));
  out.Counter("shard_turns_total", "Turns of a shard's event loop.", {"shard"});
  for (size_t i = 0; i < snapshot.shards.size(); ++i) {
    out.Sample(snapshot.shards[i]->turns.value(), {absl::StrCat(i)});
  }
  out.Gauge("shard_connections", "Open connections of a shard.", {"shard"});
  for (size_t i = 0; i < snapshot.shards.size(); ++i) {
    out.Sample(snapshot.shards[i]->connections.value(), {absl::StrCat(i)});
  }
  out.Counter("mailbox_batches_total", "Batches that shards received from other threads.");
  out.Sample(Total(snapshot, &ShardMetrics::mailbox_batches));
  out.Counter("mailbox_messages_total", "What was in these batches.");
  out.Sample(Total(snapshot, &ShardMetrics::mailbox_messages));
  out.Counter("reads_paused_total", "Times that a publisher was not read from, to slow it down.");
  out.Sample(Total(snapshot, &ShardMetrics::reads_paused));
  out.Counter("events_of_former_leaders_total",
              "What a partition's former leader sent late, and shards dropped: the new one sends "
              "it.");
  out.Sample(Total(snapshot, &ShardMetrics::events_of_former_leaders));
  out.Gauge("requests_kept",
            "Requests to partitions that shards keep until they are said to be done.");
  out.Sample(Total(snapshot, &ShardMetrics::requests_kept));
  out.Counter("publish_throttled_total",
              "PUBLISH after which a client had to wait, or was disconnected, by cause: its rate, "
              "or the broker's memory.",
              {"cause"});
  ByCause(snapshot, &ShardMetrics::throttled, out);
  out.Gauge("shard_stall_seconds",
            "How long the shard that is stuck longest has not come to its next task; 0: none is.");
  out.Sample(uint64_t{snapshot.stall.seconds});
  out.Gauge("memory_high", "1: memory is above the mark, new clients are refused. 0: enough.");
  out.Sample(uint64_t{snapshot.memory.high ? 1u : 0u});
  out.Gauge("memory_high_bytes", "The mark: broker.memory_high_bytes.");
  out.Sample(snapshot.memory.high_bytes);
  out.Counter("memory_high_total", "Times that memory rose above the mark.");
  out.Sample(snapshot.memory.rises);
  out.Gauge("memory_account_bytes",
            "Memory held for clients, by what for: packets that have begun to arrive, CONNECTs not "
            "yet answered, topic aliases, output buffers, messages (each once), subscriptions.",
            {"use"});
  for (size_t i = 0; i < snapshot.memory.account.size(); ++i) {
    out.Sample(snapshot.memory.account[i], {std::string(Name(static_cast<base::MemoryUse>(i)))});
  }
  out.Counter("match_cache_hits_total", "Topics whose subscribers were remembered.");
  out.Sample(Total(snapshot, &ShardMetrics::match_cache_hits));
  out.Counter("match_cache_misses_total", "Topics whose subscribers had to be looked up.");
  out.Sample(Total(snapshot, &ShardMetrics::match_cache_misses));
}

void AddAdmin(const AdminCalls& calls, FamilyBuilder& out) {
  out.BeginChapter("Admin API");
  out.Gauge("admin_calls",
            "Calls under way, by gRPC and HTTP together. Bounds: admin.calls_max, "
            "admin.streams_max. open: health checks and reflection, which anybody may call; "
            "left_behind: nobody waits for their answers any more, which have not come.",
            {"kind"});
  out.Sample(calls.calls, {"call"});
  out.Sample(calls.streams, {"stream"});
  out.Sample(calls.open, {"open"});
  out.Sample(calls.left_behind, {"left_behind"});
  out.Counter("admin_calls_total", "Calls that came.", {"protocol"});
  out.Sample(calls.grpc, {"grpc"});
  out.Sample(calls.http, {"http"});
  out.Counter("admin_calls_refused_total",
              "Calls that were refused. unauthenticated: nobody knows who it is; role: it may not; "
              "too_many: a bound is reached.",
              {"reason"});
  out.Sample(calls.refused_unauthenticated, {"unauthenticated"});
  out.Sample(calls.refused_role, {"role"});
  out.Sample(calls.refused_full, {"too_many"});
}

void AddProcess(const MetricsSnapshot& snapshot, const ProcessStats& process, absl::Time now,
                const NodeView& node, FamilyBuilder& out) {
  out.BeginChapter("Process");
  out.Gauge("info", "Always 1; its labels say what runs.", {"version", "node"});
  out.Sample(uint64_t{1}, {base::kVersion, std::string(node.id)});
  out.Gauge("ready", "1: clients may come. 0: they should not, and /readyz says why.");
  out.Sample(uint64_t{node.ready});
  out.Gauge("draining", "1: clients are being sent away, the process is about to stop.");
  out.Sample(uint64_t{node.draining});
  out.Gauge("drain_connections_left", "Connections that are yet to be told to go.");
  out.Sample(Total(snapshot, &ShardMetrics::drain_left));
  out.Gauge("start_time_seconds", "When the process started, since 1970.");
  out.Sample(absl::ToDoubleSeconds(snapshot.started - absl::UnixEpoch()));
  out.Gauge("uptime_seconds", "Since the start.");
  out.Sample(absl::ToDoubleSeconds(now - snapshot.started));
  out.Counter("process_cpu_seconds_total", "Processor time of all threads, user and system.");
  out.Sample(process.cpu_seconds);
  out.Gauge("process_resident_memory_bytes", "Memory in use.");
  out.Sample(process.resident_bytes);
  out.Gauge("process_virtual_memory_bytes", "Address space in use.");
  out.Sample(process.virtual_bytes);
  out.Gauge("process_open_fds", "Open file descriptors: connections, and files of the store.");
  out.Sample(process.open_fds);
  out.Gauge("process_max_fds", "How many there may be.");
  out.Sample(process.max_fds);
  out.Gauge("process_threads", "Threads.");
  out.Sample(process.threads);
}

}  // namespace admin
