// WebSocket as a hostile client sends it: the upgrade request, and frames in any cut.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.h"
#include "broker/transport/websocket_frame.h"
#include "broker/transport/websocket_upgrade.h"

namespace broker {
namespace {

using Event = WebSocketFrameDecoder::Event;

struct Decoded {
  std::string bytes;
  std::vector<std::pair<Event, std::string>> events;
  uint16_t close_code = 0;
};

// Decodes in place, in pieces of at most `piece_max`, as a transport does.
Decoded Decode(std::string_view input, size_t piece_max) {
  WebSocketFrameDecoder decoder;
  Decoded decoded;
  bool over = false;
  while (!input.empty() && !over) {
    std::string piece(input.substr(0, piece_max));
    input.remove_prefix(piece.size());
    size_t used = 0;
    size_t written = 0;
    while (used < piece.size() && !over) {
      const auto step =
          decoder.Decode(piece.data() + used, piece.size() - used, piece.data() + written);
      CHECK(step.consumed > 0 || step.event != Event::kNone) << "no progress";
      used += step.consumed;
      written += step.written;
      CHECK(used <= piece.size() && written <= used) << "more than there is";
      if (step.event == Event::kNone) continue;
      over = step.event == Event::kClose || step.event == Event::kViolation;
      const bool has_payload = step.event != Event::kViolation;
      decoded.events.emplace_back(step.event, has_payload ? decoder.control_payload() : "");
      CHECK(decoder.control_payload().size() <= 125) << "a control frame too long";
    }
    decoded.bytes.append(piece, 0, written);
  }
  if (over) decoded.close_code = decoder.close_code();
  return decoded;
}

void FuzzFrames(std::string_view input, size_t piece_max) {
  const Decoded whole = Decode(input, std::max<size_t>(input.size(), 1));
  const Decoded pieces = Decode(input, piece_max);
  CHECK(whole.bytes == pieces.bytes) << "the cut changes the bytes";
  CHECK(whole.events == pieces.events) << "the cut changes the events";
  CHECK(whole.close_code == pieces.close_code) << "the cut changes the close code";
}

void FuzzUpgrade(std::string_view input) {
  using State = UpgradeResult::State;
  for (const std::string_view served_path : {"", "/mqtt"}) {
    const UpgradeResult result = AnswerUpgrade(input, served_path);
    CHECK(result.bytes <= input.size()) << "more than there is";
    CHECK((result.state == State::kNeedMore) == result.response.empty()) << "an answer is owed";
    CHECK(result.state != State::kNeedMore || input.size() < kUpgradeRequestBytesMax)
        << "waits for ever";
    if (result.state != State::kAccepted) continue;
    CHECK(served_path.empty() || result.path == served_path) << "served at another path";
    // What follows the request does not change the answer, and nothing less is one.
    CHECK(AnswerUpgrade(input.substr(0, result.bytes), served_path).state == State::kAccepted)
        << "depends on what follows";
    CHECK(AnswerUpgrade(input.substr(0, result.bytes - 1), served_path).state == State::kNeedMore)
        << "answered too early";
  }
}

}  // namespace
}  // namespace broker

// The first byte: 0 for a request, else the size of the pieces of frames.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 0) {
    broker::FuzzUpgrade(rest);
  } else {
    broker::FuzzFrames(rest, data[0]);
  }
  return 0;
}
