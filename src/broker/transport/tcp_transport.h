// Plain bytes over a stream socket, TCP or unix.
#ifndef BROKER_TRANSPORT_TCP_TRANSPORT_H_
#define BROKER_TRANSPORT_TCP_TRANSPORT_H_

#include <memory>
#include <string_view>

#include "broker/transport/listener_counters.h"
#include "broker/transport/proxy_protocol.h"
#include "broker/transport/transport.h"

namespace broker {

class TcpTransport final : public Transport {
 public:
  // Owns `fd`, which must be non-blocking. `proxy` is null, or takes a PROXY header off first.
  explicit TcpTransport(int fd, ConnectionSlot slot = {}, std::unique_ptr<ProxyStage> proxy = {});
  ~TcpTransport() override;

  int fd() const override { return fd_; }
  ReadResult Read(char* buffer, size_t capacity) override;
  WriteResult Write(const std::string_view* ranges, size_t count) override;
  bool HasBufferedInput() const override { return filled_; }
  bool WantsWrite() const override { return false; }
  bool HandshakeDone() const override { return proxy_ == nullptr || proxy_->done(); }
  void StartClose() override;
  PeerInfo peer() const override;
  std::string_view error() const override;

 private:
  int fd_;
  int errno_ = 0;         // Why kError; 0: see `proxy_`.
  bool filled_ = false;   // The last read filled the buffer.
  bool closing_ = false;  // Our direction has ended.
  std::unique_ptr<ProxyStage> proxy_;
  ConnectionSlot slot_;
};

// A budget: a broker holds a million of these.
static_assert(sizeof(TcpTransport) <= 64);

}  // namespace broker
#endif  // BROKER_TRANSPORT_TCP_TRANSPORT_H_
