#include "cluster/link/out_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "cluster/link/bytes.h"
#include "cluster/link/frame.h"
#include "mqttd/cluster/v1/link.pb.h"

namespace cluster {

const char* MethodOf(LinkClass link_class) {
  switch (link_class) {
    case LinkClass::kControl:
      return "/mqttd.cluster.v1.Link/Control";
    case LinkClass::kLog:
      return "/mqttd.cluster.v1.Link/Log";
    case LinkClass::kTraffic:
      return "/mqttd.cluster.v1.Link/Traffic";
    case LinkClass::kBulk:
      break;
  }
  return "/mqttd.cluster.v1.Link/Bulk";
}

OutStream::OutStream(LinkClass link_class, const LinkOptions& options, LinkClassMetrics& metrics,
                     std::string hello, std::shared_ptr<Owner> owner)
    : class_(link_class),
      frame_bytes_max_(options.frame_bytes_max),
      metrics_(metrics),
      owner_(std::move(owner)),
      out_(ToBuffer(std::move(hello))),
      credit_(options.limits[static_cast<size_t>(link_class)]) {}

std::shared_ptr<OutStream> OutStream::Create(LinkClass link_class, const LinkOptions& options,
                                             LinkClassMetrics& metrics, std::string hello,
                                             std::shared_ptr<Owner> owner,
                                             std::function<void()> gone) {
  return {new OutStream(link_class, options, metrics, std::move(hello), std::move(owner)),
          [gone = std::move(gone)](OutStream* stream) {
            delete stream;
            gone();
          }};
}

void OutStream::Open(grpc::GenericStub& stub) {
  self_ = shared_from_this();
  base::MutexLock lock(mutex_);
  state_ = State::kHello;
  writing_ = true;
  stub.PrepareBidiStreamingCall(&context_, MethodOf(class_), grpc::StubOptions(), this);
  AddHold();  // Until it is closed: writes begin outside gRPC's own calls.
  StartRead(&in_);
  StartWrite(&out_);
  StartCall();
}

LinkSend OutStream::Send(std::string_view item, bool more) {
  base::MutexLock lock(mutex_);
  if (state_ != State::kOpen) return LinkSend::kDown;
  if (credit_.IsFull()) {
    if (!writing_) WriteNext();
    if (IsDroppedWhenFull(class_)) {
      metrics_.items_dropped.Add();
      return LinkSend::kDropped;
    }
    if (!wants_room_) metrics_.times_full.Add();
    wants_room_ = true;
    return LinkSend::kFull;
  }
  credit_.Sent(item.size());
  metrics_.items_sent.Add();
  metrics_.bytes_sent.Add(item.size());
  if (frames_.empty() || frames_.back().size() >= frame_bytes_max_) frames_.emplace_back();
  AppendItem(item, frames_.back());
  if (!writing_ && (!more || frames_.size() > 1)) WriteNext();
  return LinkSend::kQueued;
}

void OutStream::Flush() {
  base::MutexLock lock(mutex_);
  if (state_ == State::kOpen && !writing_) WriteNext();
}

bool OutStream::IsFull() const {
  base::MutexLock lock(mutex_);
  return credit_.IsFull();
}

LinkCredit::Amount OutStream::on_way() const {
  base::MutexLock lock(mutex_);
  return credit_.on_way();
}

void OutStream::Ping(uint64_t ping) {
  base::MutexLock lock(mutex_);
  if (state_ != State::kOpen) return;
  ping_ = ping;
  if (!writing_) WriteNext();
}

// One write at a time: what comes meanwhile goes with the next.
void OutStream::WriteNext() {
  if (frames_.empty() && ping_ == 0) return;
  std::string frame;
  if (!frames_.empty()) {
    frame = std::move(frames_.front());
    frames_.pop_front();
    metrics_.frames_sent.Add();
  }
  if (ping_ != 0) AppendPing(std::exchange(ping_, 0), frame);
  out_ = ToBuffer(std::move(frame));
  writing_ = true;
  StartWrite(&out_);
}

void OutStream::OnWriteDone(bool ok) {
  base::MutexLock lock(mutex_);
  writing_ = false;
  // If it failed, so does the read, and tells why.
  if (ok && state_ == State::kOpen) WriteNext();
}

void OutStream::OnReadDone(bool ok) {
  if (!ok) return Close("");
  const std::string bytes = ToString(in_);
  bool opened = false;
  {
    base::MutexLock lock(mutex_);
    opened = state_ == State::kOpen;
  }
  opened ? OnBack(bytes) : OnAnswer(bytes);
  base::MutexLock lock(mutex_);
  if (state_ != State::kClosed) StartRead(&in_);
}

void OutStream::OnAnswer(std::string_view bytes) {
  ::mqttd::cluster::v1::FromPeer answer;
  if (!answer.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    return Close("the node answers in a way that this release does not understand");
  if (!answer.has_welcome()) {
    owner_->OnRefused(class_, answer.refused().why(), Incarnation(answer.refused().ended()));
    return Close(answer.refused().why());
  }
  const ::mqttd::cluster::v1::Welcome& welcome = answer.welcome();
  {
    base::MutexLock lock(mutex_);
    if (state_ != State::kHello) return;
    state_ = State::kOpen;
    if (!writing_) WriteNext();
  }
  owner_->OnWelcome(
      class_, {NodeId(static_cast<uint16_t>(welcome.node())), Incarnation(welcome.incarnation())});
}

void OutStream::OnBack(std::string_view bytes) {
  BackFrame back;
  if (!ParseBackFrame(bytes, back)) return Close("the node sends what cannot be read");
  bool believed = true;
  bool room = false;
  {
    base::MutexLock lock(mutex_);
    believed = credit_.Taken(back.taken);
    room = believed && wants_room_ && credit_.HasRoom();
    if (room) wants_room_ = false;
  }
  if (!believed) return Close("the node says that it has taken what was not sent");
  if (back.pong != 0) owner_->OnPong(back.pong);
  if (room) owner_->OnRoom(class_);
}

void OutStream::Close(std::string why) {
  const std::shared_ptr<OutStream> keep = shared_from_this();
  base::MutexLock lock(mutex_);
  const State before = std::exchange(state_, State::kClosed);
  if (before == State::kClosed || before == State::kNew) return;
  why_ = std::move(why);
  frames_.clear();
  context_.TryCancel();
  RemoveHold();
}

void OutStream::OnDone(const grpc::Status& status) {
  std::string why;
  {
    base::MutexLock lock(mutex_);
    why = why_;
  }
  if (why.empty()) why = status.ok() ? "the node has ended it" : status.error_message();
  owner_->OnEnd(class_, std::move(why));
  self_.reset();
}

}  // namespace cluster
