// Where a listener listens, as written in the configuration.
#ifndef BROKER_TRANSPORT_LISTENER_URL_H_
#define BROKER_TRANSPORT_LISTENER_URL_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace broker {

struct ListenerUrl {
  enum class Scheme { kMqtt, kMqtts, kWs, kWss, kUnix };

  Scheme scheme = Scheme::kMqtt;
  // An IPv4 or IPv6 address (without brackets), a host name, or empty: all addresses of both kinds.
  std::string host;
  uint16_t port = 0;  // 0: the kernel chooses. Not used by kUnix.
  // kUnix: the socket's path. kWs, kWss: the only path that is served; empty serves every path.
  std::string path;

  bool tls() const { return scheme == Scheme::kMqtts || scheme == Scheme::kWss; }
  bool websocket() const { return scheme == Scheme::kWs || scheme == Scheme::kWss; }
  bool unix_socket() const { return scheme == Scheme::kUnix; }

  // Accepts only this machine's own processes: a loopback address, "localhost" or a unix socket.
  bool loopback() const;

  // The form that `ParseListenerUrl` reads, port always written.
  std::string ToString() const;

  friend bool operator==(const ListenerUrl&, const ListenerUrl&) = default;
};

// Reads
//   mqtt://HOST[:PORT]   mqtts://HOST[:PORT]   ws://HOST[:PORT][/PATH]   wss://HOST[:PORT][/PATH]
//   unix:/PATH
// HOST is an IPv4 address, [an IPv6 address], a name, `*` or nothing (all addresses). Default
// ports: mqtt 1883, mqtts 8883, ws 8083, wss 8084. Errors: kInvalidArgument, saying what is wrong
// with which part.
absl::StatusOr<ListenerUrl> ParseListenerUrl(std::string_view text);

}  // namespace broker
#endif  // BROKER_TRANSPORT_LISTENER_URL_H_
