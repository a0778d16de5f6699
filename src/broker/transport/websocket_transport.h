// WebSocket over TCP or TLS: the server's end.
#ifndef BROKER_TRANSPORT_WEBSOCKET_TRANSPORT_H_
#define BROKER_TRANSPORT_WEBSOCKET_TRANSPORT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "broker/transport/listener_counters.h"
#include "broker/transport/transport.h"
#include "broker/transport/websocket_frame.h"

namespace broker {

// Each `Write` becomes one binary frame. Pings are answered, the latest one only if they come
// faster than the peer reads. What breaks the protocol is answered with a close frame and ends in
// kError.
class WebSocketTransport final : public Transport {
 public:
  // Who may connect, and where it is counted that one may not. Shared by all connections of a
  // listener.
  struct Door {
    std::string origins;  // See `AnswerUpgrade`.
    std::shared_ptr<ListenerCounters> counters;
  };

  // `served_path`: see `AnswerUpgrade`; shared likewise. Without a door everybody may.
  WebSocketTransport(std::unique_ptr<Transport> inner,
                     std::shared_ptr<const std::string> served_path,
                     std::shared_ptr<Door> door = nullptr);
  ~WebSocketTransport() override;

  int fd() const override { return inner_->fd(); }
  ReadResult Read(char* buffer, size_t capacity) override;
  WriteResult Write(const std::string_view* ranges, size_t count) override;
  bool HasBufferedInput() const override { return more_input_; }
  bool WantsWrite() const override;
  bool HandshakeDone() const override { return upgraded_; }
  void StartClose() override;
  PeerInfo peer() const override;
  std::string_view error() const override;

 private:
  struct Upgrade;  // Only while the request is read and answered.
  struct Control;  // Only while a control frame waits to be sent.

  // kOk: answered with 101; frames may follow in `upgrade_->request`.
  IoState DriveUpgrade(char* buffer, size_t capacity);
  // Takes the frames in the buffer apart, in place. kAgain: there were no bytes of messages.
  ReadResult Decode(char* buffer, size_t size);
  // A last word to a peer that broke the rules, and kError.
  ReadResult Fail(const char* error, std::string_view last_words);
  void QueueControl(std::string frame);
  void FlushControl();
  bool frame_in_progress() const { return header_sent_ < header_bytes_ || frame_remaining_ > 0; }

  std::unique_ptr<Transport> inner_;
  // Of the request; until it came, and if it is the same, the path that is served.
  std::shared_ptr<const std::string> path_;
  std::unique_ptr<Upgrade> upgrade_;
  std::unique_ptr<Control> control_;
  const char* error_ = nullptr;  // Static; null: see `inner_`.
  uint64_t frame_remaining_ =
      0;  // Payload bytes of the frame being sent that `inner_` did not take.
  std::array<char, kServerFrameHeaderBytesMax> header_;
  uint8_t header_bytes_ = 0;  // Of the frame being sent;
  uint8_t header_sent_ = 0;   // how many of them `inner_` took.
  bool upgraded_ = false;
  bool more_input_ = false;
  bool close_sent_ = false;  // Or queued: no frame may follow.
  bool ended_ = false;       // The peer's close frame or end of stream came.
  WebSocketFrameDecoder decoder_;
};

// A budget: what an idle WebSocket costs above TCP.
static_assert(sizeof(WebSocketTransport) <= 136);

}  // namespace broker
#endif  // BROKER_TRANSPORT_WEBSOCKET_TRANSPORT_H_
