// The HTTP request that turns a connection into a WebSocket (RFC 6455, section 4.2).
#ifndef BROKER_TRANSPORT_WEBSOCKET_UPGRADE_H_
#define BROKER_TRANSPORT_WEBSOCKET_UPGRADE_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace broker {

inline constexpr size_t kUpgradeRequestBytesMax = 8192;

struct UpgradeResult {
  enum class State { kNeedMore, kAccepted, kRefused };

  State state = State::kNeedMore;
  size_t bytes = 0;        // kAccepted: length of the request; frames follow.
  std::string response;    // kAccepted, kRefused: the whole answer.
  std::string path;        // kAccepted: as requested, without the query.
  const char* error = "";  // kRefused: why, static.
  bool origin_refused = false;
};

// Answers the request at the beginning of `bytes`: 101 if it is a GET of `served_path` (empty: any
// path) for WebSocket version 13 that offers subprotocol "mqtt" (or "mqttv3.1", which older clients
// of MQTT 3.1 offer; the client's first choice wins). Else 400, 403, 404, 405, 426, 431 (longer
// than `kUpgradeRequestBytesMax`) or 505. Extensions are never agreed to.
// `origins` (separated by commas; empty: any) are the pages whose scripts may connect: browsers
// name theirs in Origin, and what is not a browser names none (RFC 6455, section 10.2).
// Header names in any case and order, CRLF line ends only.
UpgradeResult AnswerUpgrade(std::string_view bytes, std::string_view served_path,
                            std::string_view origins = {});

// Sec-WebSocket-Accept for a Sec-WebSocket-Key.
std::string WebSocketAccept(std::string_view key);

}  // namespace broker
#endif  // BROKER_TRANSPORT_WEBSOCKET_UPGRADE_H_
