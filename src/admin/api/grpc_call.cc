#include "admin/api/grpc_call.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/alarm.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/security/auth_context.h>

#include <chrono>
#include <deque>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "base/mutex.h"

namespace admin {
namespace {

using google::protobuf::Message;

// What a part of the broker may take for its part of an answer. A broker in trouble is when answers
// are wanted, and none of its parts may keep a caller for longer.
constexpr std::chrono::seconds kPatience{30};
// Answers of a stream that wait for their reader.
constexpr size_t kWaitingMax = 1024;
constexpr size_t kWaitingBytesMax = 16 << 20;

grpc::Status ToGrpc(const absl::Status& status) {
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

// "ipv4:127.0.0.1:40312", "ipv6:%5B::1%5D:40312".
void SetPeer(const std::string& peer, Evidence& evidence) {
  std::string text = absl::StrReplaceAll(peer, {{"%5B", "["}, {"%5D", "]"}});
  absl::string_view address = text;
  const bool v6 = absl::ConsumePrefix(&address, "ipv6:");
  if (!v6) absl::ConsumePrefix(&address, "ipv4:");
  evidence.address = std::string(address);
  evidence.loopback =
      v6 ? absl::StartsWith(address, "[::1]:") || absl::StartsWith(address, "[::ffff:127.")
         : absl::StartsWith(address, "127.");
}

Evidence EvidenceOf(const grpc::GenericCallbackServerContext& context) {
  Evidence evidence;
  SetPeer(context.peer(), evidence);
  const auto found = context.client_metadata().find("authorization");
  if (found != context.client_metadata().end()) {
    absl::string_view value(found->second.data(), found->second.size());
    if (absl::ConsumePrefix(&value, "Bearer ") || absl::ConsumePrefix(&value, "bearer "))
      evidence.token = std::string(value);
  }
  // OpenSSL's chain on a server is without the caller's own certificate, which goes first.
  for (const char* const property :
       {GRPC_X509_PEM_CERT_PROPERTY_NAME, GRPC_X509_PEM_CERT_CHAIN_PROPERTY_NAME}) {
    for (const grpc::string_ref& pem : context.auth_context()->FindPropertyValues(property))
      evidence.certificate_chain_pem.append(pem.data(), pem.size());
  }
  return evidence;
}

bool Parse(grpc::ByteBuffer& buffer, Message& message) {
  return grpc::GenericDeserialize<grpc::ProtoBufferReader, Message>(&buffer, &message).ok();
}

grpc::ByteBuffer Serialize(const Message& message) {
  grpc::ByteBuffer buffer;
  bool own = false;
  (void)grpc::GenericSerialize<grpc::ProtoBufferWriter, Message>(message, &buffer, &own);
  return buffer;
}

class GrpcCall;

// A call as whoever answers it holds it: it may go before the answer comes.
class Link {
 public:
  explicit Link(GrpcCall& call) : call_(&call) {}
  // The right to finish it; null: it is taken, or the call is over.
  GrpcCall* Take() {
    base::MutexLock lock(mutex_);
    return std::exchange(call_, nullptr);
  }

 private:
  base::Mutex mutex_;
  GrpcCall* call_ ABSL_GUARDED_BY(mutex_);
};

// The answers of a stream that wait, and its end. The reactor goes when `Finish` was called and all
// is quiet, so whoever sends talks to this.
class GrpcOutlet final : public Outlet {
 public:
  explicit GrpcOutlet(grpc::ServerGenericBidiReactor& reactor) : reactor_(&reactor) {}

  bool Send(const Message& message) override {
    base::MutexLock lock(mutex_);
    if (reactor_ == nullptr || ending_) return false;
    if (waiting_.size() >= kWaitingMax || waiting_bytes_ >= kWaitingBytesMax) {
      full_ = true;
      return false;
    }
    grpc::ByteBuffer buffer = Serialize(message);
    waiting_bytes_ += buffer.Length();
    waiting_.push_back(std::move(buffer));
    Write();
    return true;
  }

  void End(absl::Status status) override {
    std::function<void()> gone;
    {
      base::MutexLock lock(mutex_);
      if (reactor_ == nullptr || ending_) return;
      ending_ = true;
      status_ = std::move(status);
      gone = std::move(gone_);
      Write();
    }
    if (gone) gone();
  }

  void OnGone(std::function<void()> gone) override {
    {
      base::MutexLock lock(mutex_);
      if (reactor_ != nullptr && !ending_) {
        gone_ = std::move(gone);
        return;
      }
    }
    gone();
  }

  void OnRoom(std::function<void()> room) override {
    {
      base::MutexLock lock(mutex_);
      if (full_ && reactor_ != nullptr) {
        room_ = std::move(room);
        return;
      }
    }
    room();
  }

  // ---- Of the reactor.
  void OnWritten(bool ok) {
    std::function<void()> room;
    {
      base::MutexLock lock(mutex_);
      writing_ = false;
      if (!ok && !ending_) {
        ending_ = true;
        status_ = absl::CancelledError("the caller has gone");
      }
      if (!ok) waiting_.clear();
      if (waiting_.size() <= kWaitingMax / 2 && waiting_bytes_ <= kWaitingBytesMax / 2) {
        full_ = false;
        room = std::move(room_);
      }
      Write();
    }
    if (room) room();
  }
  void OnCancel() {
    std::function<void()> gone;
    {
      base::MutexLock lock(mutex_);
      gone = std::move(gone_);
      if (reactor_ != nullptr) {
        ending_ = true;
        status_ = absl::CancelledError("the caller has gone");
        waiting_.clear();
        Write();
      }
    }
    if (gone) gone();
  }

 private:
  void Write() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || reactor_ == nullptr) return;
    if (!waiting_.empty()) {
      out_ = std::move(waiting_.front());
      waiting_.pop_front();
      waiting_bytes_ -= out_.Length();
      writing_ = true;
      return reactor_->StartWrite(&out_);
    }
    if (ending_) std::exchange(reactor_, nullptr)->Finish(ToGrpc(status_));
  }

  base::Mutex mutex_;
  grpc::ServerGenericBidiReactor* reactor_ ABSL_GUARDED_BY(mutex_);  // Null: it is finished.
  std::deque<grpc::ByteBuffer> waiting_ ABSL_GUARDED_BY(mutex_);
  size_t waiting_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  grpc::ByteBuffer out_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool full_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> gone_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> room_ ABSL_GUARDED_BY(mutex_);
};

// gRPC's threads call it, one at a time but for OnCancel.
class GrpcCall final : public grpc::ServerGenericBidiReactor {
 public:
  GrpcCall(grpc::GenericCallbackServerContext& context, const Method* method,
           absl::StatusOr<Caller> caller)
      : method_(method), link_(std::make_shared<Link>(*this)) {
    absl::Status status = Admit(context, std::move(caller));
    if (status.ok()) {
      StartRead(&in_);
    } else {
      Refuse(std::move(status));
    }
  }

  void OnReadDone(bool ok) override {
    if (method_->each) return OnNext(ok);
    if (!ok) return Refuse(absl::InvalidArgumentError("the request is missing"));
    request_.reset(method_->request->New());
    if (!Parse(in_, *request_)) return Refuse(absl::InvalidArgumentError("the request is damaged"));
    if (method_->stream) {
      // Its end is the outlet's from here on. In this order: a cancellation meanwhile finds one of
      // the two.
      auto outlet = std::make_shared<GrpcOutlet>(*this);
      SetOutlet(outlet);
      if (link_->Take() == nullptr) return;
      if (method_->audited()) Audit(*method_, caller_, request_.get(), absl::OkStatus());
      return method_->stream(caller_, *request_, outlet);
    }
    alarm_.Set(std::chrono::system_clock::now() + kPatience, [link = link_](bool over) {
      if (!over) return;
      if (GrpcCall* const call = link->Take())
        call->Finish(absl::DeadlineExceededError("a part of the broker did not answer in time"));
    });
    method_->once(caller_, *request_,
                  [link = link_](const absl::Status& status, const Message* response) {
                    GrpcCall* const call = link->Take();
                    if (call != nullptr) call->Answer(status, response);
                  });
  }

  void OnWriteDone(bool ok) override {
    if (const auto outlet = this->outlet()) return outlet->OnWritten(ok);
    if (ok && method_->each) return StartRead(&in_);
    if (GrpcCall* const call = link_->Take()) call->Finish(absl::CancelledError("gone"));
  }

  void OnCancel() override {
    if (const auto outlet = this->outlet()) return outlet->OnCancel();
    if (GrpcCall* const call = link_->Take()) call->Finish(absl::CancelledError("gone"));
  }

  void OnDone() override { delete this; }

 private:
  ~GrpcCall() override { alarm_.Cancel(); }

  absl::Status Admit(const grpc::GenericCallbackServerContext& context,
                     absl::StatusOr<Caller> caller) {
    if (method_ == nullptr) {
      return absl::UnimplementedError(absl::StrCat("this broker has no method ", context.method(),
                                                   "; it may be older than the caller"));
    }
    if (!caller.ok() && method_->role == pb::ROLE_UNSPECIFIED) caller = Caller{};
    absl::Status status = caller.status();
    if (status.ok()) {
      caller_ = *std::move(caller);
      status = CheckRole(*method_, caller_);
    } else {
      Evidence evidence;
      SetPeer(context.peer(), evidence);
      caller_ = {.name = "unknown", .address = evidence.address};
    }
    if (!status.ok()) Audit(*method_, caller_, nullptr, status);
    return status;
  }

  void OnNext(bool ok) {
    if (!ok) {
      if (GrpcCall* const call = link_->Take()) call->Finish(absl::OkStatus());
      return;
    }
    const std::unique_ptr<Message> request(method_->request->New());
    const std::unique_ptr<Message> response(method_->response->New());
    if (!Parse(in_, *request)) return Refuse(absl::InvalidArgumentError("the request is damaged"));
    method_->each(*request, *response);
    out_ = Serialize(*response);
    StartWrite(&out_);
  }

  void Refuse(absl::Status status) {
    if (GrpcCall* const call = link_->Take()) call->Finish(status);
  }
  // Of who took the link.
  void Finish(const absl::Status& status) {
    grpc::ServerGenericBidiReactor::Finish(ToGrpc(status));
  }
  void Answer(const absl::Status& status, const Message* response) {
    if (method_->audited()) Audit(*method_, caller_, request_.get(), status);
    if (!status.ok()) return Finish(status);
    out_ = Serialize(*response);
    StartWriteAndFinish(&out_, grpc::WriteOptions(), grpc::Status::OK);
  }

  void SetOutlet(std::shared_ptr<GrpcOutlet> outlet) {
    base::MutexLock lock(mutex_);
    outlet_ = std::move(outlet);
  }
  std::shared_ptr<GrpcOutlet> outlet() {
    base::MutexLock lock(mutex_);
    return outlet_;
  }

  const Method* const method_;
  const std::shared_ptr<Link> link_;
  Caller caller_;
  std::unique_ptr<Message> request_;
  grpc::ByteBuffer in_;
  grpc::ByteBuffer out_;
  grpc::Alarm alarm_;
  base::Mutex mutex_;
  std::shared_ptr<GrpcOutlet> outlet_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

grpc::ServerGenericBidiReactor* StartGrpcCall(grpc::GenericCallbackServerContext& context,
                                              const Methods& methods, const Access& access,
                                              const base::Clock& clock) {
  return new GrpcCall(context, methods.Find(context.method()),
                      access.table()->Identify(EvidenceOf(context), clock.Now()));
}

}  // namespace admin
