// Where a server is: a URL, taken apart.
#ifndef CLIENT_CORE_ENDPOINT_H_
#define CLIENT_CORE_ENDPOINT_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace mqttd::client {

enum class Transport : uint8_t { kTcp, kTls, kWebSocket, kSecureWebSocket, kUnix };

struct Endpoint {
  Transport transport = Transport::kTcp;
  std::string
      host;  // A name or an address, IPv6 without its brackets; of kUnix: the socket's path.
  uint16_t port = 0;
  std::string path;  // Of the WebSocket transports, with its query: "/mqtt".

  bool is_secure() const {
    return transport == Transport::kTls || transport == Transport::kSecureWebSocket;
  }
  bool is_websocket() const {
    return transport == Transport::kWebSocket || transport == Transport::kSecureWebSocket;
  }
  // "mqtts://broker:8883", as ParseEndpoint takes it.
  std::string ToString() const;

  friend bool operator==(const Endpoint&, const Endpoint&) = default;
};

// Schemes and default ports: mqtt, tcp 1883; mqtts, ssl, tls 8883; ws 80; wss 443 (path "/mqtt"
// unless given); unix:PATH. A host without a scheme is TCP. Error: kInvalidArgument, with what is
// wrong.
absl::StatusOr<Endpoint> ParseEndpoint(std::string_view url);

// A Server Reference (§4.11): space-separated "host[:port]"; the first that can be read, reached by
// the same transport as `from`.
absl::StatusOr<Endpoint> FollowReference(const Endpoint& from, std::string_view reference);

}  // namespace mqttd::client

#endif  // CLIENT_CORE_ENDPOINT_H_
