#include "admin/api/grpc_call.h"

#include <grpc/grpc_security_constants.h>
#include <grpcpp/alarm.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/security/auth_context.h>

#include <chrono>
#include <functional>
#include <memory>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "admin/api/queued_outlet.h"
#include "base/mutex.h"
#include "base/status_macros.h"

namespace admin {
namespace {

using google::protobuf::Message;

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

// A call that gRPC has not let go: what was said at last may never be taken.
class Held {
 public:
  explicit Held(grpc::GenericCallbackServerContext& context) : context_(&context) {}
  // Nothing more is sent.
  void Cancel() {
    base::MutexLock lock(mutex_);
    if (context_ != nullptr) context_->TryCancel();
  }
  void Forget() {
    base::MutexLock lock(mutex_);
    context_ = nullptr;
  }

 private:
  base::Mutex mutex_;
  grpc::GenericCallbackServerContext* context_ ABSL_GUARDED_BY(mutex_);
};

// The reactor goes when `Finish` was called and all is quiet, so whoever sends talks to this.
class GrpcOutlet final : public QueuedOutlet<grpc::ByteBuffer> {
 public:
  explicit GrpcOutlet(grpc::ServerGenericBidiReactor& reactor) : reactor_(reactor) {}

 private:
  grpc::ByteBuffer Encode(const Message& message) override { return Serialize(message); }
  size_t SizeOf(const grpc::ByteBuffer& item) override { return item.Length(); }
  void Start(grpc::ByteBuffer item) override {
    out_ = std::move(item);
    reactor_.StartWrite(&out_);
  }
  void Finish(const absl::Status& status) override { reactor_.Finish(ToGrpc(status)); }

  grpc::ServerGenericBidiReactor& reactor_;
  grpc::ByteBuffer out_;
};

// gRPC's threads call it, one at a time but for OnCancel.
class GrpcCall final : public grpc::ServerGenericBidiReactor {
 public:
  GrpcCall(grpc::GenericCallbackServerContext& context, const Method* method, Calls& calls)
      : method_(method),
        calls_(calls),
        patience_(calls.limits().patience),
        link_(std::make_shared<Link>(*this)),
        held_(std::make_shared<Held>(context)) {
    absl::Status status = Admit(context);
    if (!status.ok()) {
      Refuse(std::move(status));
      return;
    }
    if (!method_->each) {
      GiveUpLater(unasked_,
                  [] { return absl::DeadlineExceededError("the request did not come in time"); });
    }
    StartRead(&in_);
  }

  void OnReadDone(bool ok) override {
    unasked_.Cancel();
    if (method_->each) return OnNext(ok);
    if (!ok) return Refuse(absl::InvalidArgumentError("the request is missing"));
    call_->request.reset(method_->request->New());
    if (!Parse(in_, *call_->request))
      return Refuse(absl::InvalidArgumentError("the request is damaged"));
    if (method_->stream) {
      // Its end is the outlet's from here on. In this order: a cancellation meanwhile finds one of
      // the two.
      auto outlet = std::make_shared<GrpcOutlet>(*this);
      SetOutlet(outlet);
      if (link_->Take() == nullptr) return;
      return Run(call_, outlet);
    }
    GiveUpLater(unanswered_, [calls = &calls_] { return calls->TooLate(); });
    Run(call_, [link = link_](const absl::Status& status, const Message* response) {
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

  void OnDone() override {
    held_->Forget();
    delete this;
  }

 private:
  ~GrpcCall() override {
    unasked_.Cancel();
    unanswered_.Cancel();
    untaken_.Cancel();
    if (call_ != nullptr) call_->Leave();
  }

  // Of a stream only what comes before its handler has it: the link is the outlet's then.
  void GiveUpLater(grpc::Alarm& alarm, std::function<absl::Status()> why) {
    alarm.Set(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(patience_),
              [link = link_, why = std::move(why)](bool over) {
                if (!over) return;
                if (GrpcCall* const call = link->Take()) call->Finish(why());
              });
  }

  absl::Status Admit(const grpc::GenericCallbackServerContext& context) {
    if (method_ == nullptr) {
      return absl::UnimplementedError(absl::StrCat("this broker has no method ", context.method(),
                                                   "; it may be older than the caller"));
    }
    ASSIGN_OR_RETURN(call_, calls_.Admit(*method_, EvidenceOf(context), Protocol::kGrpc));
    return absl::OkStatus();
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
    CancelLater();
    grpc::ServerGenericBidiReactor::Finish(ToGrpc(status));
  }
  void Answer(const absl::Status& status, const Message* response) {
    if (!status.ok()) return Finish(status);
    CancelLater();
    out_ = Serialize(*response);
    StartWriteAndFinish(&out_, grpc::WriteOptions(), grpc::Status::OK);
  }

  // If what is said now is not taken. Before it is said: then all this may be gone.
  void CancelLater() {
    untaken_.Set(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(patience_),
                 [held = held_](bool over) {
                   if (over) held->Cancel();
                 });
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
  Calls& calls_;
  const absl::Duration patience_;
  const std::shared_ptr<Link> link_;
  const std::shared_ptr<Held> held_;
  std::shared_ptr<Call> call_;  // Null: refused.
  grpc::ByteBuffer in_;
  grpc::ByteBuffer out_;
  grpc::Alarm unasked_;
  grpc::Alarm unanswered_;
  grpc::Alarm untaken_;
  base::Mutex mutex_;
  std::shared_ptr<GrpcOutlet> outlet_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

grpc::ServerGenericBidiReactor* StartGrpcCall(grpc::GenericCallbackServerContext& context,
                                              const Methods& methods, Calls& calls) {
  return new GrpcCall(context, methods.Find(context.method()), calls);
}

}  // namespace admin
