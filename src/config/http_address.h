// ADDRESS:PORT of the HTTP endpoint and of the admin API.
#ifndef CONFIG_HTTP_ADDRESS_H_
#define CONFIG_HTTP_ADDRESS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace config {

struct HttpAddress {
  bool off = false;
  std::string address;  // IPv4 or IPv6, without brackets.
  uint16_t port = 0;    // 0: the system chooses.

  bool loopback() const;         // Reached from this machine only.
  std::string ToString() const;  // "127.0.0.1:9883", "[::1]:9883".
};

// Reads "127.0.0.1:9883", "[::1]:9883", "*:9883" (all IPv4 addresses), "localhost:9883"
// (127.0.0.1),
// ":9883" (likewise *) or "off". Other host names are refused: what they mean can change.
// Errors: kInvalidArgument, in words that follow the key's name, with `usual_port` in the example.
absl::StatusOr<HttpAddress> ParseHttpAddress(absl::string_view text, uint16_t usual_port = 9883);

}  // namespace config

#endif  // CONFIG_HTTP_ADDRESS_H_
