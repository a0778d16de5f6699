#include "client/core/endpoint.h"

#include <optional>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/by_name.h"
#include "base/status_macros.h"

namespace mqttd::client {
namespace {

struct Scheme {
  std::string_view name;
  Transport transport;
  uint16_t port;
};
constexpr Scheme kSchemes[] = {
    {"mqtt", Transport::kTcp, 1883},          {"tcp", Transport::kTcp, 1883},
    {"mqtts", Transport::kTls, 8883},         {"ssl", Transport::kTls, 8883},
    {"tls", Transport::kTls, 8883},           {"ws", Transport::kWebSocket, 80},
    {"wss", Transport::kSecureWebSocket, 443}};

const Scheme* FindScheme(std::string_view name) {
  for (const Scheme& scheme : kSchemes) {
    if (absl::EqualsIgnoreCase(base::AbslView(name), base::AbslView(scheme.name))) return &scheme;
  }
  return nullptr;
}

absl::Status Wrong(std::string_view url, std::string_view what) {
  return absl::InvalidArgumentError(
      absl::StrCat("server address \"", base::AbslView(url), "\": ", base::AbslView(what)));
}

// "host", "host:port", "[v6]:port"; a bare IPv6 address has no port.
absl::Status ParseAuthority(std::string_view url, std::string_view authority, Endpoint& endpoint) {
  std::string_view port;
  if (!authority.empty() && authority.front() == '[') {
    const size_t close = authority.find(']');
    if (close == std::string_view::npos)
      return Wrong(url, "the bracket of an IPv6 address is open");
    endpoint.host = authority.substr(1, close - 1);
    std::string_view rest = authority.substr(close + 1);
    if (!rest.empty() && rest.front() != ':') return Wrong(url, "a port begins with ':'");
    if (!rest.empty()) {
      port = rest.substr(1);
      if (port.empty()) return Wrong(url, "the port is missing");
    }
  } else if (const size_t colon = authority.find(':');
             colon != std::string_view::npos && authority.find(':', colon + 1) == authority.npos) {
    endpoint.host = authority.substr(0, colon);
    port = authority.substr(colon + 1);
    if (port.empty()) return Wrong(url, "the port is missing");
  } else {
    endpoint.host = authority;
  }
  if (endpoint.host.empty()) return Wrong(url, "the host is missing");
  uint32_t number = 0;
  if (port.empty()) return absl::OkStatus();
  if (!absl::SimpleAtoi(base::AbslView(port), &number) || number == 0 || number > UINT16_MAX) {
    return Wrong(url, "the port is a number from 1 to 65535");
  }
  endpoint.port = static_cast<uint16_t>(number);
  return absl::OkStatus();
}

}  // namespace

std::string Endpoint::ToString() const {
  if (transport == Transport::kUnix) return absl::StrCat("unix:", host);
  std::string_view scheme;
  for (const Scheme& known : kSchemes) {
    if (known.transport == transport && scheme.empty()) scheme = known.name;
  }
  const bool v6 = host.find(':') != std::string::npos;
  return absl::StrCat(base::AbslView(scheme), "://", v6 ? "[" : "", host, v6 ? "]" : "", ":", port,
                      path);
}

absl::StatusOr<Endpoint> ParseEndpoint(std::string_view url) {
  Endpoint endpoint;
  if (url.substr(0, 5) == "unix:") {
    std::string_view path = url.substr(5);
    if (path.substr(0, 2) == "//") path.remove_prefix(2);
    if (path.empty()) return Wrong(url, "the path of the socket is missing");
    endpoint.transport = Transport::kUnix;
    endpoint.host = path;
    return endpoint;
  }
  const Scheme* scheme = &kSchemes[0];
  std::string_view rest = url;
  if (const size_t mark = url.find("://"); mark != std::string_view::npos) {
    scheme = FindScheme(url.substr(0, mark));
    if (scheme == nullptr) {
      return Wrong(url, "the scheme is one of mqtt, mqtts, ws, wss, unix (or tcp, ssl, tls)");
    }
    rest.remove_prefix(mark + 3);
  }
  endpoint.transport = scheme->transport;
  endpoint.port = scheme->port;
  const size_t slash = rest.find('/');
  const std::string_view authority = rest.substr(0, slash);
  if (authority.find('@') != std::string_view::npos) {
    return Wrong(url, "user name and password are options of their own, not part of the address");
  }
  RETURN_IF_ERROR(ParseAuthority(url, authority, endpoint));
  const std::string_view path = slash == std::string_view::npos ? "" : rest.substr(slash);
  if (endpoint.is_websocket()) {
    endpoint.path = path.empty() ? "/mqtt" : std::string(path);
  } else if (path.size() > 1) {
    return Wrong(url, "only WebSocket addresses have a path");
  }
  return endpoint;
}

absl::StatusOr<Endpoint> FollowReference(const Endpoint& from, std::string_view reference) {
  for (const absl::string_view word :
       absl::StrSplit(base::AbslView(reference), ' ', absl::SkipEmpty())) {
    Endpoint endpoint = from;
    endpoint.host.clear();
    const std::string_view one(word.data(), word.size());
    if (ParseAuthority(one, one, endpoint).ok()) return endpoint;
  }
  return absl::InvalidArgumentError(absl::StrCat("no server to go to in the Server Reference \"",
                                                 base::AbslView(reference), "\""));
}

}  // namespace mqttd::client
