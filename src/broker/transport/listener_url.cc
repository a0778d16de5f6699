#include "broker/transport/listener_url.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "absl/status/status.h"

namespace broker {
namespace {

using Scheme = ListenerUrl::Scheme;

struct SchemeRow {
  std::string_view name;
  Scheme scheme;
  uint16_t port;
};

constexpr std::array<SchemeRow, 5> kSchemes = {{
    {"mqtt", Scheme::kMqtt, 1883},
    {"mqtts", Scheme::kMqtts, 8883},
    {"ws", Scheme::kWs, 8083},
    {"wss", Scheme::kWss, 8084},
    {"unix", Scheme::kUnix, 0},
}};

constexpr size_t kUnixPathBytesMax = sizeof(sockaddr_un::sun_path) - 1;

bool IsAddress(int family, const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> address;
  return inet_pton(family, text.c_str(), address.data()) == 1;
}

bool IsHostName(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
  });
}

// "192.0.2.256" is no name, but an address with a slip.
bool LooksLikeIpv4(std::string_view text) {
  return text.find_first_not_of("0123456789.") == std::string_view::npos;
}

absl::Status Wrong(std::string_view url, std::string_view what) {
  std::string words = "listener URL '";
  words.append(url).append("': ").append(what);
  return absl::InvalidArgumentError(words);
}

// `authority` is HOST[:PORT]. Returns what is wrong, or nothing.
std::string_view ParseAuthority(std::string_view authority, ListenerUrl& url) {
  if (authority.find('@') != std::string_view::npos) return "a listener has no user name";
  std::string_view port;
  bool has_port = false;
  if (!authority.empty() && authority[0] == '[') {
    const size_t end = authority.find(']');
    if (end == std::string_view::npos) return "']' is missing after the IPv6 address";
    url.host = authority.substr(1, end - 1);
    if (!IsAddress(AF_INET6, url.host)) return "not an IPv6 address between '[' and ']'";
    const std::string_view rest = authority.substr(end + 1);
    if (!rest.empty() && rest[0] != ':') return "only ':PORT' may follow ']'";
    has_port = !rest.empty();
    port = rest.substr(has_port ? 1 : 0);
  } else {
    const size_t colon = authority.find(':');
    has_port = colon != std::string_view::npos;
    if (has_port) port = authority.substr(colon + 1);
    if (port.find(':') != std::string_view::npos)
      return "an IPv6 address is written in '[' and ']'";
    url.host = authority.substr(0, colon);
    if (url.host == "*") url.host.clear();
    if (!url.host.empty() && !IsHostName(url.host)) return "the host has an invalid character";
    if (!url.host.empty() && LooksLikeIpv4(url.host) && !IsAddress(AF_INET, url.host)) {
      return "the host is not a valid IPv4 address";
    }
  }
  if (!has_port) return {};
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), url.port);
  if (port.empty() || error != std::errc() || end != port.data() + port.size()) {
    return "the port is not a number from 0 to 65535";
  }
  return {};
}

absl::StatusOr<ListenerUrl> ParseUnix(std::string_view text, std::string_view path) {
  if (path.substr(0, 2) == "//") path.remove_prefix(2);  // unix:///run/x is unix:/run/x.
  if (path.empty() || path[0] != '/') {
    return Wrong(text, "the path of a unix socket is absolute, as in unix:/run/mqttd.sock");
  }
  if (path.size() > kUnixPathBytesMax) {
    return Wrong(text, "the path of a unix socket has at most 107 bytes");
  }
  if (path.back() == '/') return Wrong(text, "the path names a directory");
  ListenerUrl url;
  url.scheme = Scheme::kUnix;
  url.path = path;
  return url;
}

}  // namespace

absl::StatusOr<ListenerUrl> ParseListenerUrl(std::string_view text) {
  if (text.find_first_of(std::string_view(" \t\r\n\0", 5)) != std::string_view::npos) {
    return Wrong(text, "there is a blank in it");
  }
  const size_t colon = text.find(':');
  const auto row = std::find_if(kSchemes.begin(), kSchemes.end(), [&](const SchemeRow& candidate) {
    return candidate.name == text.substr(0, colon);
  });
  if (colon == std::string_view::npos || row == kSchemes.end()) {
    return Wrong(text, "it begins with mqtt://, mqtts://, ws://, wss:// or unix:/");
  }
  std::string_view rest = text.substr(colon + 1);
  if (row->scheme == Scheme::kUnix) return ParseUnix(text, rest);
  if (rest.substr(0, 2) != "//") return Wrong(text, "'//' is missing after the scheme");
  rest.remove_prefix(2);

  ListenerUrl url;
  url.scheme = row->scheme;
  url.port = row->port;
  const size_t slash = std::min(rest.find_first_of("/?#"), rest.size());
  const std::string_view wrong = ParseAuthority(rest.substr(0, slash), url);
  if (!wrong.empty()) return Wrong(text, wrong);
  url.path = rest.substr(slash);
  if (url.path.find_first_of("?#") != std::string::npos) {
    return Wrong(text, "a listener has no query and no fragment");
  }
  if (!url.websocket()) {
    if (url.path.size() > 1) return Wrong(text, "only ws and wss listeners have a path");
    url.path.clear();
  }
  return url;
}

bool ListenerUrl::loopback() const {
  if (unix_socket() || host == "localhost") return true;
  if (IsAddress(AF_INET, host)) return host.substr(0, 4) == "127.";
  in6_addr address;
  return inet_pton(AF_INET6, host.c_str(), &address) == 1 && IN6_IS_ADDR_LOOPBACK(&address);
}

std::string ListenerUrl::ToString() const {
  const auto row = std::find_if(kSchemes.begin(), kSchemes.end(),
                                [&](const SchemeRow& each) { return each.scheme == scheme; });
  std::string text(row->name);
  if (unix_socket()) return text.append(":").append(path);
  const bool ipv6 = host.find(':') != std::string::npos;
  text.append("://").append(ipv6 ? "[" : "").append(host.empty() ? "*" : host);
  text.append(ipv6 ? "]" : "").append(":").append(std::to_string(port));
  return text.append(path);
}

}  // namespace broker
