#include "cluster/link/calls.h"

#include <grpcpp/generic/generic_stub.h>

#include <chrono>
#include <utility>

#include "cluster/link/bytes.h"
#include "cluster/link/credentials.h"

namespace cluster {
namespace {

// gRPC's threads call it. Whoever answers holds it by a token, for it may go before.
class ServedCall final : public grpc::ServerGenericBidiReactor {
 public:
  class Token {
   public:
    explicit Token(ServedCall& call) : call_(&call) {}
    ~Token() {
      Finish(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the node does not answer that"));
    }
    void Answer(std::string bytes) {
      base::MutexLock lock(mutex_);
      if (ServedCall* const call = std::exchange(call_, nullptr)) {
        call->out_ = ToBuffer(std::move(bytes));
        call->StartWriteAndFinish(&call->out_, grpc::WriteOptions(), grpc::Status::OK);
      }
    }
    void Finish(const grpc::Status& status) {
      base::MutexLock lock(mutex_);
      if (ServedCall* const call = std::exchange(call_, nullptr))
        call->ServerBidiReactor::Finish(status);
    }

   private:
    base::Mutex mutex_;
    ServedCall* call_ ABSL_GUARDED_BY(mutex_);
  };

  explicit ServedCall(std::function<void(std::string, Answer)> serve)
      : serve_(std::move(serve)), token_(std::make_shared<Token>(*this)), weak_(token_) {
    StartRead(&in_);
  }

  void OnReadDone(bool ok) override {
    std::shared_ptr<Token> token = std::move(token_);  // Lives as long as who is to answer wants.
    if (!ok)
      return token->Finish(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "there is no request"));
    serve_(ToString(in_), [token](std::string bytes) { token->Answer(std::move(bytes)); });
  }
  void OnCancel() override {
    if (const std::shared_ptr<Token> token = weak_.lock()) token->Finish(grpc::Status::CANCELLED);
  }
  void OnDone() override { delete this; }

 private:
  ~ServedCall() override = default;

  const std::function<void(std::string, Answer)> serve_;
  std::shared_ptr<Token> token_;
  const std::weak_ptr<Token> weak_;
  grpc::ByteBuffer in_;
  grpc::ByteBuffer out_;
};

}  // namespace

grpc::ServerGenericBidiReactor* ServeCall(std::function<void(std::string, Answer)> serve) {
  return new ServedCall(std::move(serve));
}

struct Calls::OneCall {
  uint64_t link = 0;
  std::shared_ptr<grpc::Channel> channel;
  grpc::ClientContext context;
  grpc::ByteBuffer request;
  grpc::ByteBuffer answer;
  Done done;
};

void Calls::Forget(OneCall* call) {
  {
    base::MutexLock lock(mutex_);
    under_way_.erase(call);
  }
  delete call;
  base::MutexLock lock(mutex_);
  if (--count_ == 0) none_left_.SignalAll();
}

void Calls::Call(std::shared_ptr<grpc::Channel> channel, const std::string& method,
                 std::string request, absl::Duration within, Done done, uint64_t link) {
  {
    base::MutexLock lock(mutex_);
    if (ending_) {
      channel = nullptr;
    } else {
      ++count_;
    }
  }
  if (channel == nullptr) return done(absl::UnavailableError("this node is being stopped"));
  const std::shared_ptr<OneCall> call(new OneCall, [this](OneCall* gone) { Forget(gone); });
  call->link = link;
  call->channel = std::move(channel);
  call->request = ToBuffer(std::move(request));
  call->done = std::move(done);
  call->context.set_deadline(std::chrono::system_clock::now() + absl::ToChronoNanoseconds(within));
  grpc::GenericStub stub(call->channel);
  stub.UnaryCall(&call->context, method, grpc::StubOptions(), &call->request, &call->answer,
                 [call](const grpc::Status& status) {
                   if (status.ok()) {
                     call->done(ToString(call->answer));
                   } else if (status.error_code() == grpc::StatusCode::DEADLINE_EXCEEDED) {
                     call->done(absl::UnavailableError("there is no answer"));
                   } else if (status.error_code() == grpc::StatusCode::CANCELLED) {
                     call->done(absl::UnavailableError("the link to it was lost"));
                   } else {
                     call->done(absl::UnavailableError(InOperatorsWords(status.error_message())));
                   }
                 });
  base::MutexLock lock(mutex_);
  under_way_.insert(call.get());
  if (ending_) call->context.TryCancel();
}

void Calls::CancelLink(uint64_t link) {
  base::MutexLock lock(mutex_);
  for (OneCall* const call : under_way_) {
    if (call->link == link) call->context.TryCancel();
  }
}

void Calls::CancelAll() {
  base::MutexLock lock(mutex_);
  ending_ = true;
  for (OneCall* const call : under_way_) call->context.TryCancel();
  while (count_ != 0) none_left_.Wait(mutex_);
}

}  // namespace cluster
