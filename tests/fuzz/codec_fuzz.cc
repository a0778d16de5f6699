// A byte stream as a peer might send it. Byte 0 chooses the version and the direction; the rest is
// cut into frames and decoded. What is accepted must print, be written again, and mean the same
// then.
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>

#include "base/check.h"
#include "tests/mqtt/any_packet.h"

namespace mqtt {
namespace {

void CheckPacket(const AnyPacket& packet, Version version, Sender sender) {
  std::ostringstream text;
  text << packet;
  CHECK(text.str().find('\n') == std::string::npos) << text.str();

  const Connect* connect = std::get_if<Connect>(&packet);
  const Version written_in = connect == nullptr ? version : connect->version;
  const std::string frame = ToFrame(packet, written_in);
  CHECK(!frame.empty()) << text.str();
  AnyPacket again;
  const auto violation = Decode(AsBytes(frame), written_in, sender, again);
  CHECK(!violation.has_value()) << *violation << " in " << text.str();
  CHECK(ToFrame(again, written_in) == frame) << text.str() << " became " << again;
}

void Run(Bytes stream, Version version, Sender sender) {
  while (true) {
    const FrameResult result = PeekFrame(stream, 1 << 20, version);
    if (result.kind == FrameResult::Kind::kNeedMore) {
      CHECK(result.bytes_needed > stream.size()) << "needs no more than it has";
      return;
    }
    if (result.kind == FrameResult::Kind::kViolation) {
      CHECK(IsError(result.violation.reason) && !result.violation.rule.empty());
      return;
    }
    const Bytes frame = stream.first(result.header.frame_size());
    AnyPacket packet;
    const auto violation = Decode(frame, version, sender, packet);
    if (violation.has_value()) {
      CHECK(IsError(violation->reason) && !violation->rule.empty()) << *violation;
    } else {
      CheckPacket(packet, version, sender);
    }
    stream.remove_prefix(frame.size());
  }
}

}  // namespace
}  // namespace mqtt

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  constexpr mqtt::Version kVersions[] = {mqtt::Version::kUnknown, mqtt::Version::k31,
                                         mqtt::Version::k311, mqtt::Version::k5};
  const auto sender = (data[0] & 4) != 0 ? mqtt::Sender::kServer : mqtt::Sender::kClient;
  mqtt::Run(mqtt::Bytes(data + 1, size - 1), kVersions[data[0] & 3], sender);
  return 0;
}
