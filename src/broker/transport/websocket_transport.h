// WebSocket over TCP or TLS: the server's end.
#ifndef BROKER_TRANSPORT_WEBSOCKET_TRANSPORT_H_
#define BROKER_TRANSPORT_WEBSOCKET_TRANSPORT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "broker/transport/transport.h"
#include "broker/transport/websocket_frame.h"

namespace broker {

// Each `Write` becomes one binary frame. Pings are answered, the latest one only if they come
// faster than the peer reads. What breaks the protocol is answered with a close frame and ends in
// kError.
class WebSocketTransport final : public Transport {
 public:
  // `served_path`: see `AnswerUpgrade`; shared by all connections of a listener.
  WebSocketTransport(std::unique_ptr<Transport> inner,
                     std::shared_ptr<const std::string> served_path);
  ~WebSocketTransport() override;

  int fd() const override { return inner_->fd(); }
  ReadResult Read(char* buffer, size_t capacity) override;
  WriteResult Write(const iovec* ranges, size_t count) override;
  bool HasBufferedInput() const override;
  bool WantsWrite() const override;
  bool HandshakeDone() const override { return upgraded_; }
  void StartClose() override;
  PeerInfo peer() const override;
  std::string_view error() const override;

 private:
  struct Upgrade;  // Only while the request is read and answered.
  struct Control;  // Only while a control frame waits to be sent.

  ReadResult ReadUpgrade(char* buffer, size_t capacity);
  ReadResult Refuse(std::string_view error);
  ReadResult Decode(char* buffer, size_t size);
  IoState FlushControl();
  IoState WriteFrames(const iovec* ranges, size_t count, size_t& taken);

  std::unique_ptr<Transport> inner_;
  std::shared_ptr<const std::string> served_path_;
  std::unique_ptr<Upgrade> upgrade_;
  std::unique_ptr<Control> control_;
  std::string path_;
  std::string_view error_;  // Static; empty: see `inner_`.
  uint64_t frame_remaining_ =
      0;  // Payload bytes of the frame being sent that `inner_` did not take.
  std::array<char, kServerFrameHeaderBytesMax> header_;
  uint8_t header_bytes_ = 0;  // Of the frame being sent;
  uint8_t header_sent_ = 0;   // how many of them `inner_` took.
  bool upgraded_ = false;
  bool close_sent_ = false;
  bool close_received_ = false;
  bool ended_ = false;
  WebSocketFrameDecoder decoder_;
};

// A budget: what an idle WebSocket costs above TCP.
static_assert(sizeof(WebSocketTransport) <= 256);

}  // namespace broker
#endif  // BROKER_TRANSPORT_WEBSOCKET_TRANSPORT_H_
