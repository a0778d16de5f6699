// The PROXY protocol, versions 1 (text) and 2 (binary): what a proxy says about the connection it
// forwards, ahead of the connection's own bytes.
#ifndef BROKER_TRANSPORT_PROXY_PROTOCOL_H_
#define BROKER_TRANSPORT_PROXY_PROTOCOL_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "broker/transport/transport.h"

namespace broker {

struct ProxyHeader {
  // kNone: the proxy speaks for itself (LOCAL: a health check) or does not know (UNKNOWN,
  // UNSPEC): the socket's own addresses are valid.
  enum class Family { kNone, kInternet, kUnix };

  Family family = Family::kNone;
  std::string source_address;  // kInternet: as text; kUnix: the path.
  std::string destination_address;
  uint16_t source_port = 0;
  uint16_t destination_port = 0;

  // Version 2's additional fields (TLVs); empty if absent.
  std::string authority;  // The host name the client asked for.
  bool tls = false;       // The client reached the proxy over TLS.
  std::string tls_version;
  std::string cipher;
  // Common Name of the client's certificate; only if the proxy says that it was verified.
  std::string certificate_subject_cn;

  friend bool operator==(const ProxyHeader&, const ProxyHeader&) = default;
};

// A longer header is refused. Version 1 allows 107 bytes, version 2 64 KiB, of which addresses need
// 216 and real proxies' fields some hundred.
inline constexpr size_t kProxyHeaderBytesMax = 4096;

struct ProxyParseResult {
  enum class State { kNeedMore, kDone, kInvalid };

  State state = State::kNeedMore;
  size_t bytes = 0;        // kDone: length of the header; what follows belongs to the connection.
  std::string_view error;  // kInvalid: why, static.
};

// Reads a header from the beginning of `bytes`. `header` is written if kDone. Decides kInvalid as
// early as a byte is wrong; never needs more than `kProxyHeaderBytesMax`.
ProxyParseResult ParseProxyHeader(std::string_view bytes, ProxyHeader& header);

// Takes the header off a connection's descriptor, and not a byte more.
class ProxyStage {
 public:
  // Never blocks. kOk: done (also when called again). kClosed: the peer left before.
  IoState Drive(int fd);

  bool done() const { return done_; }
  std::string_view error() const { return error_; }

  // Replaces in `info`, which has the socket's addresses, what the proxy knows better.
  void Apply(PeerInfo& info) const;

 private:
  bool done_ = false;
  std::string_view error_;  // Static.
  ProxyHeader header_;
};

}  // namespace broker
#endif  // BROKER_TRANSPORT_PROXY_PROTOCOL_H_
