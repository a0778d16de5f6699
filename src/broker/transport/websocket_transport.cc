#include "broker/transport/websocket_transport.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "broker/transport/websocket_upgrade.h"

namespace broker {
namespace {

// Reads of the inner transport in one `Read` that yield no bytes of messages: a peer that sends
// nothing but pings does not hold up the others.
constexpr int kReadsMax = 4;

size_t TotalBytes(const std::string_view* ranges, size_t count) {
  size_t total = 0;
  for (size_t i = 0; i < count; ++i) total += ranges[i].size();
  return total;
}

// Appends to `out` bytes [begin, begin + size) of the ranges.
void AppendSlice(const std::string_view* ranges, size_t count, size_t begin, size_t size,
                 std::vector<std::string_view>& out) {
  for (size_t i = 0; i < count && size > 0; ++i) {
    if (begin >= ranges[i].size()) {
      begin -= ranges[i].size();
      continue;
    }
    out.push_back(ranges[i].substr(begin, size));
    begin = 0;
    size -= out.back().size();
  }
}

WriteResult WriteText(Transport& transport, std::string_view text) {
  return transport.Write(&text, 1);
}

// A descriptor that is closed with unread input is reset, and the peer may then never see our last
// words. Reads what is there already, within reason.
void Drain(Transport& transport) {
  constexpr int kDrainReadsMax = 16;
  std::array<char, 4096> discarded;
  for (int i = 0; i < kDrainReadsMax; ++i) {
    if (transport.Read(discarded.data(), discarded.size()).state != IoState::kOk) return;
  }
}

}  // namespace

struct WebSocketTransport::Upgrade {
  std::string request;  // What was read and is not used up; after the upgrade: frames.
  std::string
      response;  // Not empty: the request is answered, `response_sent` bytes of it are sent.
  size_t response_sent = 0;
  std::shared_ptr<Door> door;
};

struct WebSocketTransport::Control {
  std::string sending;  // Offered to `inner_`, so that it may not change any more.
  size_t sent = 0;      // Of `sending`.
  std::string next;     // The latest that waits.
};

WebSocketTransport::WebSocketTransport(std::unique_ptr<Transport> inner,
                                       std::shared_ptr<const std::string> served_path,
                                       std::shared_ptr<Door> door)
    : inner_(std::move(inner)),
      path_(std::move(served_path)),
      upgrade_(std::make_unique<Upgrade>()) {
  upgrade_->door = std::move(door);
}

WebSocketTransport::~WebSocketTransport() = default;

ReadResult WebSocketTransport::Read(char* buffer, size_t capacity) {
  more_input_ = false;
  if (error_ != nullptr) return {IoState::kError, 0};
  if (ended_) return {IoState::kClosed, 0};
  if (!upgraded_) {
    const IoState state = DriveUpgrade(buffer, capacity);
    if (state != IoState::kOk) return {state, 0};
  }
  if (control_ != nullptr) FlushControl();
  for (int reads = 0; reads < kReadsMax; ++reads) {
    size_t bytes;
    if (upgrade_ != nullptr) {  // Frames came with the request.
      bytes = upgrade_->request.copy(buffer, capacity);
      upgrade_->request.erase(0, bytes);
      if (upgrade_->request.empty()) upgrade_.reset();
      more_input_ = true;
    } else {
      const ReadResult raw = inner_->Read(buffer, capacity);
      more_input_ = inner_->HasBufferedInput();
      if (raw.state == IoState::kClosed) ended_ = true;
      if (raw.state != IoState::kOk) return raw;
      bytes = raw.bytes;
    }
    const ReadResult decoded = Decode(buffer, bytes);
    if (decoded.state != IoState::kAgain) return decoded;
  }
  more_input_ = true;
  return {IoState::kAgain, 0};
}

IoState WebSocketTransport::DriveUpgrade(char* buffer, size_t capacity) {
  Upgrade& upgrade = *upgrade_;
  while (upgrade.response.empty()) {
    const size_t room = kUpgradeRequestBytesMax - upgrade.request.size();
    const ReadResult read = inner_->Read(buffer, std::min(capacity, room));
    if (read.state == IoState::kClosed) ended_ = true;
    if (read.state != IoState::kOk) return read.state;
    upgrade.request.append(buffer, read.bytes);
    const std::string_view origins =
        upgrade.door != nullptr ? std::string_view(upgrade.door->origins) : std::string_view();
    UpgradeResult answer = AnswerUpgrade(upgrade.request, *path_, origins);
    if (answer.state == UpgradeResult::State::kRefused) {
      if (answer.origin_refused)
        upgrade.door->counters->refused_origins.fetch_add(1, std::memory_order_relaxed);
      return Fail(answer.error, answer.response).state;
    }
    if (answer.state == UpgradeResult::State::kAccepted) {
      upgrade.request.erase(0, answer.bytes);
      upgrade.response = std::move(answer.response);
      if (answer.path != *path_)
        path_ = std::make_shared<const std::string>(std::move(answer.path));
    }
  }
  const std::string_view rest = std::string_view(upgrade.response).substr(upgrade.response_sent);
  const WriteResult written = WriteText(*inner_, rest);
  upgrade.response_sent += written.bytes;
  if (written.state != IoState::kOk) return written.state;
  upgraded_ = true;
  if (upgrade.request.empty()) upgrade_.reset();
  return IoState::kOk;
}

ReadResult WebSocketTransport::Decode(char* buffer, size_t size) {
  using Event = WebSocketFrameDecoder::Event;
  size_t used = 0;
  size_t bytes = 0;
  while (used < size && !ended_) {
    const WebSocketFrameDecoder::Step step =
        decoder_.Decode(buffer + used, size - used, buffer + bytes);
    used += step.consumed;
    bytes += step.written;
    if (step.event == Event::kPing) {
      QueueControl(ControlFrame(WebSocketOpcode::kPong, decoder_.control_payload()));
    } else if (step.event == Event::kClose) {
      ended_ = true;
      QueueControl(CloseFrame(decoder_.close_code()));
      close_sent_ = true;
    } else if (step.event == Event::kViolation) {
      const ReadResult failed = Fail(decoder_.error(), CloseFrame(decoder_.close_code()));
      if (bytes == 0) return failed;
      break;
    }
  }
  if (control_ != nullptr) FlushControl();
  const bool over = ended_ || error_ != nullptr;
  if (bytes > 0) {
    more_input_ = more_input_ || over;  // The next `Read` tells.
    return {IoState::kOk, bytes};
  }
  return {over ? IoState::kClosed : IoState::kAgain, 0};
}

ReadResult WebSocketTransport::Fail(const char* error, std::string_view last_words) {
  error_ = error;
  if (!frame_in_progress() && control_ == nullptr && !close_sent_) WriteText(*inner_, last_words);
  control_.reset();
  close_sent_ = true;
  inner_->StartClose();
  Drain(*inner_);
  return {IoState::kError, 0};
}

void WebSocketTransport::QueueControl(std::string frame) {
  if (close_sent_) return;
  if (control_ == nullptr) control_ = std::make_unique<Control>();
  control_->next = std::move(frame);
}

// Sends what waits, as far as it goes. A failure shows at the next `Read` or `Write`.
void WebSocketTransport::FlushControl() {
  Control& control = *control_;
  for (;;) {
    if (control.sending.empty()) {
      if (control.next.empty()) break;
      if (frame_in_progress()) return;  // A control frame stands between frames.
      control.sending = std::exchange(control.next, {});
      control.sent = 0;
    }
    const WriteResult written =
        WriteText(*inner_, std::string_view(control.sending).substr(control.sent));
    control.sent += written.bytes;
    if (written.state != IoState::kOk) return;
    control.sending.clear();
  }
  control_.reset();
  if (close_sent_) inner_->StartClose();
}

WriteResult WebSocketTransport::Write(const std::string_view* ranges, size_t count) {
  if (error_ != nullptr) return {IoState::kError, 0};
  if (close_sent_) return {IoState::kClosed, 0};
  if (!upgraded_) return {IoState::kAgain, 0};
  if (control_ != nullptr) FlushControl();
  const size_t total = TotalBytes(ranges, count);
  if (total == 0) return {IoState::kOk, 0};
  if (control_ != nullptr && !control_->sending.empty()) return {IoState::kAgain, 0};

  size_t taken = 0;
  thread_local std::vector<std::string_view> pieces;  // Keeps its memory.
  while (taken < total) {
    if (!frame_in_progress()) {
      frame_remaining_ = total - taken;
      header_sent_ = 0;
      header_bytes_ = static_cast<uint8_t>(
          WriteFrameHeader(WebSocketOpcode::kBinary, frame_remaining_, header_.data()));
    }
    const size_t header_rest = header_bytes_ - header_sent_;
    pieces.clear();
    if (header_rest > 0) {
      pieces.emplace_back(reinterpret_cast<const char*>(header_.data()) + header_sent_,
                          header_rest);
    }
    AppendSlice(ranges, count, taken, std::min<uint64_t>(frame_remaining_, total - taken), pieces);
    const WriteResult written = inner_->Write(pieces.data(), pieces.size());
    const size_t of_header = std::min(written.bytes, header_rest);
    header_sent_ = static_cast<uint8_t>(header_sent_ + of_header);
    frame_remaining_ -= written.bytes - of_header;
    taken += written.bytes - of_header;
    if (written.state != IoState::kOk) return {written.state, taken};
  }
  if (control_ != nullptr) FlushControl();
  return {IoState::kOk, taken};
}

bool WebSocketTransport::WantsWrite() const {
  const bool answering = upgrade_ != nullptr && !upgraded_ && !upgrade_->response.empty();
  return answering || control_ != nullptr || inner_->WantsWrite();
}

void WebSocketTransport::StartClose() {
  if (close_sent_) return;
  const bool says_goodbye = upgraded_ && error_ == nullptr && !frame_in_progress();
  if (says_goodbye) {
    QueueControl(CloseFrame(kCloseNormal));
    close_sent_ = true;
    FlushControl();
  } else {
    close_sent_ = true;
    control_.reset();
    inner_->StartClose();
  }
}

PeerInfo WebSocketTransport::peer() const {
  PeerInfo info = inner_->peer();
  info.websocket_path = *path_;
  return info;
}

std::string_view WebSocketTransport::error() const {
  return error_ != nullptr ? error_ : inner_->error();
}

}  // namespace broker
