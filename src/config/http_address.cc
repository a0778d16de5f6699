#include "config/http_address.h"

#include <arpa/inet.h>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace config {
namespace {

bool IsAddress(int family, const std::string& text) {
  unsigned char buffer[sizeof(in6_addr)];
  return inet_pton(family, text.c_str(), buffer) == 1;
}

}  // namespace

bool HttpAddress::loopback() const { return absl::StartsWith(address, "127.") || address == "::1"; }

std::string HttpAddress::ToString() const {
  const bool v6 = absl::StrContains(address, ':');
  return absl::StrCat(v6 ? "[" : "", address, v6 ? "]:" : ":", port);
}

absl::StatusOr<HttpAddress> ParseHttpAddress(absl::string_view text, uint16_t usual_port) {
  HttpAddress result;
  if (text == "off") {
    result.off = true;
    return result;
  }
  const absl::Status wrong = absl::InvalidArgumentError(
      absl::StrCat("expects ADDRESS:PORT such as 127.0.0.1:", usual_port, " or [::1]:", usual_port,
                   ", or off, not \"", absl::Utf8SafeCEscape(text.substr(0, 60)), "\""));
  const size_t colon = text.rfind(':');
  uint32_t port = 0;
  if (colon == absl::string_view::npos || !absl::SimpleAtoi(text.substr(colon + 1), &port) ||
      port > 65535) {
    return wrong;
  }
  result.port = static_cast<uint16_t>(port);
  absl::string_view host = text.substr(0, colon);
  if (absl::StartsWith(host, "[") && absl::EndsWith(host, "]")) {
    host = host.substr(1, host.size() - 2);
    result.address = std::string(host);
    return IsAddress(AF_INET6, result.address) ? absl::StatusOr<HttpAddress>(result) : wrong;
  }
  if (host.empty() || host == "*") host = "0.0.0.0";
  if (host == "localhost") host = "127.0.0.1";
  result.address = std::string(host);
  return IsAddress(AF_INET, result.address) ? absl::StatusOr<HttpAddress>(result) : wrong;
}

}  // namespace config
