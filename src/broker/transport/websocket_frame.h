// WebSocket framing (RFC 6455, section 5), as a server sees it.
#ifndef BROKER_TRANSPORT_WEBSOCKET_FRAME_H_
#define BROKER_TRANSPORT_WEBSOCKET_FRAME_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace broker {

enum class WebSocketOpcode : uint8_t {
  kContinuation = 0x0,
  kText = 0x1,
  kBinary = 0x2,
  kClose = 0x8,
  kPing = 0x9,
  kPong = 0xA,
};

// Close codes of RFC 6455, section 7.4.1, that we send.
inline constexpr uint16_t kCloseNormal = 1000;
inline constexpr uint16_t kCloseProtocolError = 1002;
inline constexpr uint16_t kCloseUnsupportedData = 1003;

// Bytes of a frame's header as a server sends it: not masked.
inline constexpr size_t kServerFrameHeaderBytesMax = 10;

// Writes the header of one unfragmented frame; returns its length.
size_t WriteFrameHeader(WebSocketOpcode opcode, uint64_t payload_bytes,
                        char header[kServerFrameHeaderBytesMax]);

// A whole control frame; `payload` of at most 125 bytes.
std::string ControlFrame(WebSocketOpcode opcode, std::string_view payload);
std::string CloseFrame(uint16_t code);

// Takes a client's frames apart, in pieces of any size. The binary messages come out as one stream
// of bytes: where a message or frame ends means nothing to MQTT.
class WebSocketFrameDecoder {
 public:
  enum class Event {
    kNone,       // All input was used up.
    kPing,       // `control_payload` is to be sent back.
    kPong,       // Nothing to do.
    kClose,      // Nothing may follow. `close_code` is the peer's.
    kViolation,  // Nothing more can be decoded: answer with `close_code` and close. `error`.
  };

  struct Step {
    Event event = Event::kNone;
    size_t consumed = 0;  // Of the input.
    size_t written = 0;   // To `output`.
  };

  // Decodes until the input ends or something is to be done. `output` has room for `size` bytes and
  // may be `input` or lie before it in the same buffer.
  // Cost: one pass, eight bytes at a time.
  Step Decode(const char* input, size_t size, char* output);

  std::string_view control_payload() const { return {control_.get(), control_bytes_}; }
  // kClose: the peer's code, 1000 if it gave none. kViolation: ours.
  uint16_t close_code() const { return close_code_; }
  const char* error() const { return error_; }  // kViolation: why, static.

 private:
  enum class Stage : uint8_t { kHeader, kPayload, kFailed };

  size_t HeaderBytesNeeded() const;  // As far as is known from those that are there.
  bool CheckStart();                 // Of the first two bytes. False: failed.
  bool EnterPayload();               // The header is complete. False: failed.
  Event EndFrame();
  bool Fail(uint16_t code, const char* error);
  bool control() const { return (static_cast<uint8_t>(opcode_) & 0x8) != 0; }

  static constexpr size_t kControlPayloadBytesMax = 125;

  uint64_t remaining_ = 0;                // Payload bytes of this frame still to come.
  const char* error_ = "";                // Static.
  std::array<unsigned char, 14> header_;  // `header_bytes_` of it are there.
  uint8_t header_bytes_ = 0;
  Stage stage_ = Stage::kHeader;
  std::array<unsigned char, 4> mask_;  // Turned so that mask_[0] is for the next byte.
  uint16_t close_code_ = 0;
  WebSocketOpcode opcode_ = WebSocketOpcode::kContinuation;
  bool final_ = false;
  bool in_message_ = false;  // A fragmented message waits for its continuation.
  uint8_t control_bytes_ = 0;
  std::unique_ptr<char[]> control_;  // Payload of the last frame, if that was a control frame.
};

}  // namespace broker
#endif  // BROKER_TRANSPORT_WEBSOCKET_FRAME_H_
