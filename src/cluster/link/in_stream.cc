#include "cluster/link/in_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "cluster/link/bytes.h"
#include "mqttd/cluster/v1/link.pb.h"

namespace cluster {

InStream::InStream(LinkClass link_class, const LinkOptions& options, std::string caller,
                   Owner& owner)
    : class_(link_class),
      caller_(std::move(caller)),
      owner_(owner),
      credit_(options.limits[static_cast<size_t>(link_class)]) {}

InStream* InStream::Start(LinkClass link_class, const LinkOptions& options, std::string caller,
                          Owner& owner) {
  const std::shared_ptr<InStream> stream(
      new InStream(link_class, options, std::move(caller), owner));
  stream->self_ = stream;
  stream->StartRead(&stream->in_);
  return stream.get();
}

void InStream::OnReadDone(bool ok) {
  if (!ok) return Close("the caller has ended it");
  std::string bytes = ToString(in_);
  if (!welcome_) return OnHello(bytes);
  if (!OnFrame(std::move(bytes))) return;
  base::MutexLock lock(mutex_);
  if (!finished_) StartRead(&in_);
}

void InStream::OnHello(std::string_view bytes) {
  ::mqttd::cluster::v1::ToPeer first;
  if (!first.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || !first.has_hello())
    return Close("who speaks to a node says first who it is");
  admitted_ = owner_.Admit(first.hello(), class_, shared_from_this());
  welcome_ = admitted_.why_not.empty();
  base::MutexLock lock(mutex_);
  if (finished_) return;
  if (!welcome_) {
    ::mqttd::cluster::v1::FromPeer answer;
    answer.mutable_refused()->set_why(admitted_.why_not);
    answer.mutable_refused()->set_ended(admitted_.ended.value());
    out_ = ToBuffer(answer.SerializeAsString());
    finished_ = true;
    StartWriteAndFinish(&out_, grpc::WriteOptions(), grpc::Status::OK);
    return;
  }
  out_ = ToBuffer(admitted_.welcome);
  writing_ = true;
  StartWrite(&out_);
  StartRead(&in_);
}

// False: it has been closed.
bool InStream::OnFrame(std::string bytes) {
  FrameView frame;
  if (!ParseFrame(bytes, frame)) {
    Close("a frame cannot be read");
    return false;
  }
  uint64_t item_bytes = 0;
  bool believed = true;
  {
    base::MutexLock lock(mutex_);
    for (const ItemPlace& item : frame.items) {
      believed = believed && credit_.Received(item.size);
      item_bytes += item.size;
    }
    if (believed && frame.ping != 0) Write({.pong = frame.ping, .taken = credit_.Tell()});
  }
  if (!believed) {
    Close("more was sent than may be on its way");
    return false;
  }
  if (frame.items.empty()) return true;
  admitted_.metrics->frames_received.Add();
  admitted_.metrics->items_received.Add(frame.items.size());
  admitted_.metrics->bytes_received.Add(item_bytes);
  owner_.OnFrame(ReceivedFrame(class_, admitted_.from, admitted_.link, std::move(bytes),
                               std::move(frame.items), weak_from_this()));
  return true;
}

void InStream::Took(LinkCredit::Amount amount) {
  base::MutexLock lock(mutex_);
  if (finished_ || !credit_.Took(amount)) return;
  if (const auto tell = credit_.ToTell()) Write({.taken = *tell});
}

void InStream::Write(BackFrame back) {
  if (back.pong != 0) next_.pong = back.pong;
  next_.taken.items += back.taken.items;
  next_.taken.bytes += back.taken.bytes;
  if (writing_ || finished_) return;
  out_ = ToBuffer(EncodeBackFrame(std::exchange(next_, {})));
  writing_ = true;
  StartWrite(&out_);
}

void InStream::OnWriteDone(bool ok) {
  base::MutexLock lock(mutex_);
  writing_ = false;
  if (!ok || finished_) return;
  if (next_.pong != 0 || next_.taken.items != 0) Write({});
}

void InStream::Close(const std::string& why) {
  const std::shared_ptr<InStream> keep = shared_from_this();
  base::MutexLock lock(mutex_);
  if (std::exchange(finished_, true)) return;
  Finish(grpc::Status(grpc::StatusCode::CANCELLED, why));
}

void InStream::OnDone() {
  owner_.OnEnd(class_, shared_from_this());
  self_.reset();
}

}  // namespace cluster
