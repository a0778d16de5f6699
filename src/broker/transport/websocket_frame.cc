#include "broker/transport/websocket_frame.h"

#include <algorithm>
#include <cstring>

namespace broker {
namespace {

constexpr uint8_t kFinal = 0x80;
constexpr uint8_t kReserved = 0x70;
constexpr uint8_t kOpcodeMask = 0x0F;
constexpr uint8_t kMasked = 0x80;
constexpr uint8_t kLengthMask = 0x7F;
constexpr uint8_t kLength16 = 126;
constexpr uint8_t kLength64 = 127;
constexpr size_t kStartBytes = 2;
constexpr size_t kMaskBytes = 4;

uint64_t BigEndian(const unsigned char* bytes, size_t count) {
  uint64_t value = 0;
  for (size_t i = 0; i < count; ++i) value = value << 8 | bytes[i];
  return value;
}

size_t LengthBytes(uint8_t short_length) {
  if (short_length == kLength64) return 8;
  return short_length == kLength16 ? 2 : 0;
}

bool KnownOpcode(uint8_t opcode) { return opcode <= 0x2 || (opcode >= 0x8 && opcode <= 0xA); }

// §7.4: codes that a peer may put into a close frame.
bool ValidCloseCode(uint64_t code) {
  return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
         (code >= 3000 && code <= 4999);
}

// Copies `size` bytes unmasked. `output` may lie before `input` in the same buffer, at any
// distance: each step loads before it stores, and stores only below what it loads next.
void Unmask(const char* input, size_t size, const std::array<unsigned char, 4>& mask,
            char* output) {
  uint32_t half;
  std::memcpy(&half, mask.data(), sizeof(half));
  const uint64_t word = static_cast<uint64_t>(half) << 32 | half;
  size_t i = 0;
  for (; i + sizeof(word) <= size; i += sizeof(word)) {
    uint64_t bytes;
    std::memcpy(&bytes, input + i, sizeof(bytes));
    bytes ^= word;
    std::memcpy(output + i, &bytes, sizeof(bytes));
  }
  for (; i < size; ++i) {
    output[i] = static_cast<char>(static_cast<unsigned char>(input[i]) ^ mask[i % kMaskBytes]);
  }
}

}  // namespace

size_t WriteFrameHeader(WebSocketOpcode opcode, uint64_t payload_bytes,
                        char header[kServerFrameHeaderBytesMax]) {
  header[0] = static_cast<char>(kFinal | static_cast<uint8_t>(opcode));
  size_t length_bytes = 0;
  if (payload_bytes < kLength16) {
    header[1] = static_cast<char>(payload_bytes);
  } else if (payload_bytes <= UINT16_MAX) {
    header[1] = static_cast<char>(kLength16);
    length_bytes = 2;
  } else {
    header[1] = static_cast<char>(kLength64);
    length_bytes = 8;
  }
  for (size_t i = 0; i < length_bytes; ++i) {
    header[kStartBytes + i] = static_cast<char>(payload_bytes >> 8 * (length_bytes - 1 - i));
  }
  return kStartBytes + length_bytes;
}

std::string ControlFrame(WebSocketOpcode opcode, std::string_view payload) {
  char header[kServerFrameHeaderBytesMax];
  const size_t header_bytes = WriteFrameHeader(opcode, payload.size(), header);
  return std::string(header, header_bytes).append(payload);
}

std::string CloseFrame(uint16_t code) {
  const char payload[2] = {static_cast<char>(code >> 8), static_cast<char>(code)};
  return ControlFrame(WebSocketOpcode::kClose, {payload, sizeof(payload)});
}

bool WebSocketFrameDecoder::Fail(uint16_t code, const char* error) {
  stage_ = Stage::kFailed;
  close_code_ = code;
  error_ = error;
  return false;
}

size_t WebSocketFrameDecoder::HeaderBytesNeeded() const {
  if (header_bytes_ < kStartBytes) return kStartBytes;
  return kStartBytes + LengthBytes(header_[1] & kLengthMask) + kMaskBytes;
}

bool WebSocketFrameDecoder::CheckStart() {
  const uint8_t opcode = header_[0] & kOpcodeMask;
  const bool final = (header_[0] & kFinal) != 0;
  const uint8_t short_length = header_[1] & kLengthMask;
  if ((header_[0] & kReserved) != 0) {
    return Fail(kCloseProtocolError, "WebSocket: reserved bit set, no extension was agreed to");
  }
  if (!KnownOpcode(opcode)) return Fail(kCloseProtocolError, "WebSocket: unknown opcode");
  if ((header_[1] & kMasked) == 0) {
    return Fail(kCloseProtocolError, "WebSocket: client's frame is not masked");
  }
  const WebSocketOpcode frame = static_cast<WebSocketOpcode>(opcode);
  if (frame == WebSocketOpcode::kText) {
    // [MQTT-6.0.0-1] of the protocol above; a subprotocol of binary messages only.
    return Fail(kCloseUnsupportedData, "WebSocket: text frame");
  }
  if (frame == WebSocketOpcode::kContinuation && !in_message_) {
    return Fail(kCloseProtocolError, "WebSocket: continuation of no message");
  }
  if (frame == WebSocketOpcode::kBinary && in_message_) {
    return Fail(kCloseProtocolError, "WebSocket: new message inside a fragmented one");
  }
  opcode_ = frame;
  final_ = final;
  if (control() && (!final || short_length > kControlPayloadBytesMax)) {
    return Fail(kCloseProtocolError, "WebSocket: control frame fragmented or too long");
  }
  return true;
}

bool WebSocketFrameDecoder::EnterPayload() {
  const uint8_t short_length = header_[1] & kLengthMask;
  const size_t length_bytes = LengthBytes(short_length);
  remaining_ = short_length;
  if (length_bytes > 0) remaining_ = BigEndian(&header_[kStartBytes], length_bytes);
  const uint64_t needs_more_than = length_bytes == 8 ? UINT16_MAX : kLength16 - 1;
  if (length_bytes > 0 && (remaining_ <= needs_more_than || remaining_ > INT64_MAX)) {
    return Fail(kCloseProtocolError, "WebSocket: frame length not in its shortest form");
  }
  std::copy_n(&header_[kStartBytes + length_bytes], kMaskBytes, mask_.begin());
  control_.reset();
  if (control()) {
    if (remaining_ > 0) control_ = std::make_unique<char[]>(remaining_);
  } else {
    in_message_ = !final_;
  }
  control_bytes_ = 0;
  header_bytes_ = 0;
  stage_ = Stage::kPayload;
  return true;
}

WebSocketFrameDecoder::Event WebSocketFrameDecoder::EndFrame() {
  stage_ = Stage::kHeader;
  if (opcode_ == WebSocketOpcode::kPing) return Event::kPing;
  if (opcode_ == WebSocketOpcode::kPong) return Event::kPong;
  if (opcode_ != WebSocketOpcode::kClose) return Event::kNone;
  close_code_ = kCloseNormal;
  if (control_bytes_ > 0) {
    const uint64_t code =
        control_bytes_ < 2 ? 0
                           : BigEndian(reinterpret_cast<const unsigned char*>(control_.get()), 2);
    if (!ValidCloseCode(code)) {
      Fail(kCloseProtocolError, "WebSocket: close frame without a valid code");
      return Event::kViolation;
    }
    close_code_ = static_cast<uint16_t>(code);
  }
  return Event::kClose;
}

WebSocketFrameDecoder::Step WebSocketFrameDecoder::Decode(const char* input, size_t size,
                                                          char* output) {
  Step step;
  while (stage_ != Stage::kFailed && step.consumed < size) {
    if (stage_ == Stage::kHeader) {
      const size_t taken = std::min(HeaderBytesNeeded() - header_bytes_, size - step.consumed);
      std::memcpy(&header_[header_bytes_], input + step.consumed, taken);
      header_bytes_ = static_cast<uint8_t>(header_bytes_ + taken);
      step.consumed += taken;
      if (header_bytes_ == kStartBytes && !CheckStart()) break;
      if (header_bytes_ < HeaderBytesNeeded()) continue;
      if (!EnterPayload()) break;
    } else {
      const size_t taken = std::min<uint64_t>(remaining_, size - step.consumed);
      char* const target = control() ? control_.get() + control_bytes_ : output + step.written;
      Unmask(input + step.consumed, taken, mask_, target);
      const std::array<unsigned char, kMaskBytes> mask = mask_;
      for (size_t i = 0; i < kMaskBytes; ++i) mask_[i] = mask[(taken + i) % kMaskBytes];
      if (control()) {
        control_bytes_ = static_cast<uint8_t>(control_bytes_ + taken);
      } else {
        step.written += taken;
      }
      step.consumed += taken;
      remaining_ -= taken;
    }
    if (remaining_ == 0) {
      step.event = EndFrame();
      if (step.event != Event::kNone) return step;
    }
  }
  if (stage_ == Stage::kFailed) step.event = Event::kViolation;
  return step;
}

}  // namespace broker
