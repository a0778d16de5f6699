#include "broker/transport/websocket_upgrade.h"

#include <openssl/evp.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <optional>

namespace broker {
namespace {

using State = UpgradeResult::State;

constexpr std::string_view kEnd = "\r\n\r\n";
constexpr std::array<std::string_view, 2> kSubprotocols = {"mqtt", "mqttv3.1"};

char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return Lower(x) == Lower(y); });
}

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t") - begin + 1);
}

// Takes the part before the next `separator`, and the separator, off `rest`.
std::string_view NextPart(std::string_view& rest, std::string_view separator) {
  const size_t end = std::min(rest.find(separator), rest.size());
  const std::string_view part = rest.substr(0, end);
  rest.remove_prefix(std::min(end + separator.size(), rest.size()));
  return part;
}

// First element of a comma-separated list for which `wanted` holds.
template <typename Wanted>
std::optional<std::string_view> FindInList(std::string_view list, Wanted wanted) {
  while (!list.empty()) {
    const std::string_view element = Trim(NextPart(list, ","));
    if (wanted(element)) return element;
  }
  return std::nullopt;
}

// §2.3.2 of RFC 9110: what a header's name is made of.
bool IsToken(std::string_view text) {
  constexpr std::string_view kPunctuation = "!#$%&'*+-.^_`|~";
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= '0' && c <= '9') || (Lower(c) >= 'a' && Lower(c) <= 'z') ||
           kPunctuation.find(c) != std::string_view::npos;
  });
}

bool HasControlCharacter(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return (c >= 0 && c < ' ' && c != '\t') || c == '\x7F'; });
}

// The headers that matter. A list that is given in several headers is joined.
struct Headers {
  std::optional<std::string_view> host, key, version, origin;
  std::string upgrade, connection, protocols;
  bool body = false;
};

// Returns false if the header is malformed, or given twice where only one can be valid.
bool TakeHeader(std::string_view line, Headers& headers) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return false;
  const std::string_view name = line.substr(0, colon);
  const std::string_view value = Trim(line.substr(colon + 1));
  if (!IsToken(name) || HasControlCharacter(value)) return false;

  const auto single = [&](std::optional<std::string_view>& field) {
    const bool first = !field.has_value();
    field = value;
    return first;
  };
  const auto append = [&](std::string& list) {
    list.append(list.empty() ? "" : ",").append(value);
    return true;
  };
  if (EqualsIgnoreCase(name, "Host")) return single(headers.host);
  if (EqualsIgnoreCase(name, "Origin")) return single(headers.origin);
  if (EqualsIgnoreCase(name, "Sec-WebSocket-Key")) return single(headers.key);
  if (EqualsIgnoreCase(name, "Sec-WebSocket-Version")) return single(headers.version);
  if (EqualsIgnoreCase(name, "Sec-WebSocket-Protocol")) return append(headers.protocols);
  if (EqualsIgnoreCase(name, "Upgrade")) return append(headers.upgrade);
  if (EqualsIgnoreCase(name, "Connection")) return append(headers.connection);
  if (EqualsIgnoreCase(name, "Transfer-Encoding")) headers.body = true;
  if (EqualsIgnoreCase(name, "Content-Length")) headers.body = value != "0";
  return true;
}

// "GET /path?query HTTP/1.1"
struct RequestLine {
  std::string_view method, path, version;
};

std::optional<RequestLine> ParseRequestLine(std::string_view line) {
  RequestLine request;
  request.method = NextPart(line, " ");
  std::string_view target = NextPart(line, " ");
  request.version = line;
  if (!IsToken(request.method) || HasControlCharacter(target)) return std::nullopt;
  if (request.version.substr(0, 5) != "HTTP/") return std::nullopt;
  // The absolute form, as it is sent to proxies: skip scheme and authority.
  const size_t scheme_end = target.find("://");
  if (scheme_end != std::string_view::npos && scheme_end < target.find('/')) {
    target.remove_prefix(scheme_end + 3);
    target.remove_prefix(std::min(target.find('/'), target.size()));
    if (target.empty()) target = "/";
  }
  request.path = target.substr(0, target.find('?'));
  if (request.path.empty() || request.path[0] != '/') return std::nullopt;
  return request;
}

// §4.1: 16 bytes in base64.
bool IsKey(std::string_view key) {
  return key.size() == 24 && key.substr(22) == "==" &&
         std::all_of(key.begin(), key.begin() + 22, [](char c) {
           return (c >= '0' && c <= '9') || (Lower(c) >= 'a' && Lower(c) <= 'z') || c == '+' ||
                  c == '/';
         });
}

// `status` is code and reason, `headers` whole lines, `error` becomes the body too.
UpgradeResult Refuse(std::string_view status, std::string_view headers, const char* error) {
  const std::string body = std::string(error).append("\n");
  UpgradeResult result;
  result.state = State::kRefused;
  result.error = error;
  result.response.append("HTTP/1.1 ").append(status).append("\r\n").append(headers);
  result.response.append("Content-Type: text/plain\r\nConnection: close\r\nContent-Length: ");
  result.response.append(std::to_string(body.size())).append(kEnd).append(body);
  return result;
}

UpgradeResult BadRequest(const char* error) { return Refuse("400 Bad Request", "", error); }

UpgradeResult UpgradeRequired(const char* error) {
  return Refuse("426 Upgrade Required", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                error);
}

UpgradeResult Accept(std::string_view key, std::string_view subprotocol) {
  UpgradeResult result;
  result.state = State::kAccepted;
  result.response =
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n";
  result.response.append("Sec-WebSocket-Accept: ").append(WebSocketAccept(key)).append("\r\n");
  result.response.append("Sec-WebSocket-Protocol: ").append(subprotocol).append(kEnd);
  return result;
}

// `head` is the request line and the headers, without the empty line.
UpgradeResult Answer(std::string_view head, std::string_view served_path,
                     std::string_view origins) {
  const std::optional<RequestLine> request = ParseRequestLine(NextPart(head, "\r\n"));
  if (!request) return BadRequest("HTTP: malformed request line");
  Headers headers;
  while (!head.empty()) {
    if (!TakeHeader(NextPart(head, "\r\n"), headers)) return BadRequest("HTTP: malformed header");
  }
  if (request->version != "HTTP/1.1") {
    return Refuse("505 HTTP Version Not Supported", "", "HTTP: version is not 1.1");
  }
  if (!headers.host) return BadRequest("HTTP: Host is missing");
  if (request->method != "GET") {
    return Refuse("405 Method Not Allowed", "Allow: GET\r\n", "HTTP: method is not GET");
  }
  if (headers.body) return BadRequest("HTTP: request has a body");
  if (!served_path.empty() && request->path != served_path) {
    return Refuse("404 Not Found", "", "HTTP: nothing is served at this path");
  }
  const auto is_websocket = [](std::string_view e) { return EqualsIgnoreCase(e, "websocket"); };
  const auto is_upgrade = [](std::string_view e) { return EqualsIgnoreCase(e, "upgrade"); };
  const auto is_ours = [](std::string_view e) {
    return std::find(kSubprotocols.begin(), kSubprotocols.end(), e) != kSubprotocols.end();
  };
  if (!FindInList(headers.upgrade, is_websocket)) {
    return UpgradeRequired("HTTP: this is a WebSocket endpoint, and the request is none for it");
  }
  if (!FindInList(headers.connection, is_upgrade)) {
    return BadRequest("WebSocket: Connection does not name Upgrade");
  }
  if (headers.version != "13") return UpgradeRequired("WebSocket: version is not 13");
  if (!headers.key || !IsKey(*headers.key)) {
    return BadRequest("WebSocket: Sec-WebSocket-Key is missing or malformed");
  }
  const auto is_origin = [&](std::string_view e) { return EqualsIgnoreCase(e, *headers.origin); };
  if (!origins.empty() && headers.origin && !FindInList(origins, is_origin)) {
    UpgradeResult refused = Refuse("403 Forbidden", "", "WebSocket: Origin is not allowed");
    refused.origin_refused = true;
    return refused;
  }
  const std::optional<std::string_view> subprotocol = FindInList(headers.protocols, is_ours);
  if (!subprotocol) return BadRequest("WebSocket: subprotocol mqtt is not offered");
  UpgradeResult result = Accept(*headers.key, *subprotocol);
  result.path = request->path;
  return result;
}

}  // namespace

std::string WebSocketAccept(std::string_view key) {
  constexpr std::string_view kGuid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  const std::string input = std::string(key).append(kGuid);
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest;
  SHA1(reinterpret_cast<const unsigned char*>(input.data()), input.size(), digest.data());
  std::array<unsigned char, 4 * ((SHA_DIGEST_LENGTH + 2) / 3) + 1> base64;
  const int length = EVP_EncodeBlock(base64.data(), digest.data(), digest.size());
  return std::string(reinterpret_cast<const char*>(base64.data()), static_cast<size_t>(length));
}

UpgradeResult AnswerUpgrade(std::string_view bytes, std::string_view served_path,
                            std::string_view origins) {
  const size_t end = bytes.substr(0, kUpgradeRequestBytesMax).find(kEnd);
  if (end == std::string_view::npos) {
    if (bytes.size() >= kUpgradeRequestBytesMax) {
      return Refuse("431 Request Header Fields Too Large", "",
                    "HTTP: request is longer than 8 KiB");
    }
    return {};
  }
  UpgradeResult result = Answer(bytes.substr(0, end), served_path, origins);
  if (result.state == State::kAccepted) result.bytes = end + kEnd.size();
  return result;
}

}  // namespace broker
