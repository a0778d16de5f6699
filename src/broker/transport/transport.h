// What lies between a connection's bytes and its socket: TCP, unix sockets, TLS, WebSocket, and the
// PROXY header before any of them.
#ifndef BROKER_TRANSPORT_TRANSPORT_H_
#define BROKER_TRANSPORT_TRANSPORT_H_

#include "broker/core/stream.h"

namespace broker {

// A Stream over a socket. Owns its descriptor; may be handed to another thread before it is first
// used, and belongs to one shard's thread from then on. Register the descriptor once with
// EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET. Then
//   upon EPOLLIN, EPOLLRDHUP, EPOLLHUP, EPOLLERR, and upon any edge while `WantsWrite` or not yet
//     `HandshakeDone`: `Read`. After RDHUP, HUP, ERR: until it is not kOk, for no other edge comes;
//   after `Read`: again soon if `HasBufferedInput`;
//   upon EPOLLOUT: `Write` what waits.
// Handshakes (PROXY header, TLS, WebSocket upgrade) and answers of the transport's own happen in
// `Read`, in one or few system calls. `StartClose`: WebSocket close frame, TLS close_notify, then
// the end of our direction.
class Transport : public Stream {
 public:
  ~Transport() override;  // Closes the descriptor.

  virtual int fd() const = 0;

  // Something of the transport's own (handshake, control frame, close frame) waits for writability;
  // `Read` goes on with it.
  virtual bool WantsWrite() const = 0;

  bool HasUnreadInput() const override;

 protected:
  Transport() = default;
};

}  // namespace broker
#endif  // BROKER_TRANSPORT_TRANSPORT_H_
