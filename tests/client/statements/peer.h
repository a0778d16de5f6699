// The servers that clients are shown against: mqttd and Debian's mosquitto, as processes.
#ifndef TESTS_CLIENT_STATEMENTS_PEER_H_
#define TESTS_CLIENT_STATEMENTS_PEER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "tests/client/mosquitto_process.h"
#include "tests/support/broker_process.h"
#include "tests/support/temp_dir.h"

namespace mqttd::client {

enum class PeerKind : uint8_t { kMqttd, kMosquitto };

inline std::string NameOf(PeerKind kind) {
  return kind == PeerKind::kMqttd ? "mqttd" : "mosquitto";
}

// What a server is to say in CONNACK. Absent: as it does by itself.
struct PeerLimits {
  std::optional<int> receive_maximum;
  std::optional<int> maximum_qos;
  std::optional<int> packet_size_max;
  std::optional<int> topic_alias_maximum;
  std::optional<int> keep_alive_s;  // mosquitto has at least 10.
  bool retains = true;
};

// Where clients of this process find it.
struct Peer {
  std::string unix_url;
  std::string tcp_url;
  std::string websocket_url;
  std::shared_ptr<void> process;
};

inline Peer MakeMqttd(const PeerLimits& limits) {
  struct Process {
    support::TempDir directory;
    std::unique_ptr<support::BrokerProcess> broker;
  };
  auto process = std::make_shared<Process>();
  Peer peer;
  peer.unix_url = absl::StrCat("unix:", std::string(process->directory.path()), "/socket");
  std::vector<std::string> set;
  const auto say = [&](const char* key, const std::optional<int>& value, const char* unit = "") {
    if (value.has_value()) set.push_back(absl::StrCat("mqtt.", key, "=", *value, unit));
  };
  say("receive_maximum", limits.receive_maximum);
  say("maximum_qos", limits.maximum_qos);
  say("maximum_packet_size", limits.packet_size_max);
  say("topic_alias_maximum", limits.topic_alias_maximum);
  say("server_keep_alive", limits.keep_alive_s, "s");
  if (!limits.retains) set.emplace_back("mqtt.retain_available=false");
  process->broker = std::make_unique<support::BrokerProcess>(support::BrokerOptions{
      .listen = {peer.unix_url, "mqtt://127.0.0.1:0", "ws://127.0.0.1:0/mqtt"}, .set = set});
  peer.tcp_url = absl::StrCat("mqtt://127.0.0.1:", process->broker->port(1));
  peer.websocket_url = absl::StrCat("ws://127.0.0.1:", process->broker->port(2), "/mqtt");
  peer.process = std::move(process);
  return peer;
}

inline Peer MakeMosquitto(const PeerLimits& limits) {
  MosquittoProcess::Config config{.network = true};
  const auto say = [](std::string& lines, const char* key, const std::optional<int>& value) {
    if (value.has_value()) absl::StrAppend(&lines, key, " ", *value, "\n");
  };
  say(config.lines, "max_inflight_messages", limits.receive_maximum);
  say(config.lines, "max_packet_size", limits.packet_size_max);
  say(config.lines, "max_keepalive", limits.keep_alive_s);
  if (!limits.retains) config.lines += "retain_available false\n";
  say(config.of_each, "max_qos", limits.maximum_qos);
  say(config.of_each, "max_topic_alias", limits.topic_alias_maximum);
  auto process = std::make_shared<MosquittoProcess>(std::move(config));
  return {process->url(), process->tcp_url(), process->websocket_url(), process};
}

inline Peer MakePeer(PeerKind kind, const PeerLimits& limits = {}) {
  return kind == PeerKind::kMqttd ? MakeMqttd(limits) : MakeMosquitto(limits);
}

// Without limits; the tests of a program share it, and take topics and identifiers of their own.
inline const Peer& SharedPeer(PeerKind kind) {
  static const Peer* const mqttd = new Peer(MakePeer(PeerKind::kMqttd));
  static const Peer* const mosquitto = new Peer(MakePeer(PeerKind::kMosquitto));
  return kind == PeerKind::kMqttd ? *mqttd : *mosquitto;
}

}  // namespace mqttd::client

#endif  // TESTS_CLIENT_STATEMENTS_PEER_H_
