// The PROXY header as whoever reaches the port sends it.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "broker/transport/proxy_protocol.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using broker::ParseProxyHeader;
  using State = broker::ProxyParseResult::State;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  broker::ProxyHeader header;
  const broker::ProxyParseResult result = ParseProxyHeader(input, header);
  CHECK((result.state == State::kInvalid) == !result.error.empty()) << "words exactly on failure";
  if (result.state == State::kNeedMore) {
    CHECK(size < broker::kProxyHeaderBytesMax) << "waits for ever";
  }
  if (result.state != State::kDone) return 0;
  CHECK(result.bytes > 0 && result.bytes <= size) << "more than there is";
  CHECK(result.bytes <= broker::kProxyHeaderBytesMax) << "longer than allowed";
  // The header alone means the same, and nothing less is a header.
  broker::ProxyHeader alone;
  const std::string_view exactly = input.substr(0, result.bytes);
  CHECK(ParseProxyHeader(exactly, alone).state == State::kDone) << "depends on what follows";
  CHECK(alone == header) << "depends on what follows";
  CHECK(ParseProxyHeader(exactly.substr(0, exactly.size() - 1), alone).state == State::kNeedMore)
      << "done too early";
  return 0;
}
