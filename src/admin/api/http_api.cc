#include "admin/api/http_api.h"

#include <arpa/inet.h>

#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "admin/api/openapi.h"
#include "admin/api/queued_outlet.h"
#include "google/protobuf/util/json_util.h"

namespace admin {
namespace {

using google::protobuf::Message;

constexpr absl::string_view kPrefix = "/api/v1/";
constexpr char kJson[] = "application/json";

std::string ToJson(const Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  std::string text;
  (void)google::protobuf::util::MessageToJsonString(message, &text, options);
  return text;
}

int HttpStatusOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kAborted:
      return 409;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

std::string Quoted(absl::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppend(&quoted, "\\u00", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
    } else {
      quoted += c;
    }
  }
  return quoted + "\"";
}

std::string ErrorJson(const absl::Status& status) {
  return absl::StrCat("{\"code\":", Quoted(absl::StatusCodeToString(status.code())),
                      ",\"message\":", Quoted(status.message()), "}");
}

HttpResponse ErrorResponse(const absl::Status& status) {
  return {HttpStatusOf(status.code()), kJson, ErrorJson(status) + "\n"};
}

// An answer as it waits: it is made text on the server's thread.
using Answer = std::shared_ptr<const Message>;

Answer CopyOf(const Message& message) {
  std::shared_ptr<Message> copy(message.New());
  copy->CopyFrom(message);
  return copy;
}

class HttpOutlet final : public QueuedOutlet<Answer>,
                         public std::enable_shared_from_this<HttpOutlet> {
 public:
  explicit HttpOutlet(std::shared_ptr<HttpExchange> exchange) : exchange_(std::move(exchange)) {}

 private:
  Answer Encode(const Message& message) override { return CopyOf(message); }
  size_t SizeOf(const Answer& item) override { return item->ByteSizeLong(); }
  void Start(Answer item) override {
    exchange_->Write([item] { return absl::StrCat("data: ", ToJson(*item), "\n\n"); },
                     [self = shared_from_this()](bool ok) { self->OnWritten(ok); });
  }
  void Finish(const absl::Status& status) override {
    exchange_->Write(
        [status] {
          return status.ok() ? std::string("event: end\ndata: {}\n\n")
                             : absl::StrCat("event: error\ndata: ", ErrorJson(status), "\n\n");
        },
        [](bool) {});
    exchange_->EndStream();
    exchange_.reset();
  }

  std::shared_ptr<HttpExchange> exchange_;
};

// Once: the answer, or that none came in time.
class Answering {
 public:
  explicit Answering(std::shared_ptr<HttpExchange> exchange) : exchange_(std::move(exchange)) {}
  void Answer(std::function<HttpResponse()> make) {
    std::shared_ptr<HttpExchange> exchange;
    {
      base::MutexLock lock(mutex_);
      exchange = std::move(exchange_);
    }
    if (exchange != nullptr) exchange->Respond(std::move(make));
  }

 private:
  base::Mutex mutex_;
  std::shared_ptr<HttpExchange> exchange_ ABSL_GUARDED_BY(mutex_);
};

// "localhost:9883", "127.0.0.1", "[::1]:9883". Not "127.example.org": that is a name like others,
// and whoever owns it may let it lead here.
bool IsLoopbackName(absl::string_view host) {
  if (absl::ConsumePrefix(&host, "[")) return absl::StartsWith(host, "::1]");
  const std::string name(host.substr(0, host.find(':')));
  if (absl::EqualsIgnoreCase(name, "localhost")) return true;
  in_addr address = {};
  return inet_pton(AF_INET, name.c_str(), &address) == 1 && ntohl(address.s_addr) >> 24 == 127;
}

}  // namespace

// ---- A call -------------------------------------------------------------------------------------

class HttpApi::OneCall final : public HttpCall {
 public:
  OneCall(HttpApi& api, std::shared_ptr<Call> call) : api_(api), call_(std::move(call)) {}

  void Run(std::string body, std::shared_ptr<HttpExchange> exchange) override {
    call_->request.reset(call_->method.request->New());
    if (!body.empty()) {
      const auto parsed = google::protobuf::util::JsonStringToMessage(body, call_->request.get());
      if (!parsed.ok()) {
        const std::string why(parsed.message().data(), parsed.message().size());
        return exchange->Respond([why, name = call_->method.descriptor->input_type()->name()] {
          return ErrorResponse(absl::InvalidArgumentError(
              absl::StrCat("the body is not the JSON of a ", name, ": ", why)));
        });
      }
    }
    call_->method.stream ? RunStream(std::move(exchange)) : RunOnce(std::move(exchange));
  }

 private:
  void RunOnce(std::shared_ptr<HttpExchange> exchange) {
    const auto answering = std::make_shared<Answering>(exchange);
    exchange->RunAfter(api_.calls_.limits().patience, [calls = &api_.calls_, call = call_,
                                                       weak = std::weak_ptr<Answering>(answering)] {
      const auto waits = weak.lock();
      if (waits == nullptr) return;
      waits->Answer([status = calls->TooLate()] { return ErrorResponse(status); });
      call->Leave();
    });
    exchange->OnGone([call = call_] { call->Leave(); });
    exchange.reset();
    admin::Run(std::move(call_), [answering](const absl::Status& status, const Message* response) {
      if (!status.ok()) return answering->Answer([status] { return ErrorResponse(status); });
      answering->Answer([answer = CopyOf(*response)]() -> HttpResponse {
        return {200, kJson, ToJson(*answer) + "\n"};
      });
    });
  }

  void RunStream(const std::shared_ptr<HttpExchange>& exchange) {
    const auto outlet = std::make_shared<HttpOutlet>(exchange);
    exchange->BeginStream("text/event-stream");
    // The call, and with it its place, goes when the caller does.
    exchange->OnGone([weak = std::weak_ptr<HttpOutlet>(outlet), call = call_] {
      if (const auto stream = weak.lock()) stream->OnCancel();
      call->Leave();
    });
    {
      base::MutexLock lock(api_.mutex_);
      api_.streams_.remove_if([](const auto& stream) { return stream.expired(); });
      api_.streams_.push_back(outlet);
    }
    admin::Run(std::move(call_), outlet);
  }

  HttpApi& api_;
  std::shared_ptr<Call> call_;
};

Evidence EvidenceOf(const HttpRequest& request) {
  Evidence evidence;
  evidence.address = request.peer;
  evidence.loopback = request.loopback && !request.forwarded && IsLoopbackName(request.host);
  absl::string_view value = request.authorization;
  if (absl::ConsumePrefix(&value, "Bearer ") || absl::ConsumePrefix(&value, "bearer "))
    evidence.token = std::string(absl::StripAsciiWhitespace(value));
  return evidence;
}

HttpApi::HttpApi(const Methods& methods, Calls& calls)
    : methods_(methods), calls_(calls), openapi_(OpenApi(methods)) {}

bool HttpApi::Takes(const HttpRequest& request) const {
  return absl::StartsWith(request.path, "/api/");
}

std::unique_ptr<HttpCall> HttpApi::Begin(const HttpRequest& request, HttpResponse& answer) {
  if (request.path == "/api/v1/openapi.json" && !request.post) {
    answer = {200, kJson, openapi_};
    return nullptr;
  }
  absl::string_view name = request.path;
  const Method* const method = absl::ConsumePrefix(&name, kPrefix)
                                   ? methods_.Find(absl::StrCat("/mqttd.admin.v1.", name))
                                   : nullptr;
  if (method == nullptr || method->each) {
    answer = ErrorResponse(absl::NotFoundError(absl::StrCat(
        "there is no method ", request.path, "; /api/v1/openapi.json has those that there are")));
    return nullptr;
  }
  if (!request.post) {
    answer = Refuse(405, "methods are called by POST");
    return nullptr;
  }
  // Which no web page can send to another server without asking it.
  const absl::string_view type = request.content_type;
  if (!absl::EqualsIgnoreCase(absl::StripAsciiWhitespace(type.substr(0, type.find(';'))), kJson)) {
    answer = Refuse(415, "Content-Type must be application/json");
    return nullptr;
  }
  absl::StatusOr<std::shared_ptr<Call>> call =
      calls_.Admit(*method, EvidenceOf(request), Protocol::kHttp);
  if (!call.ok()) {
    answer = ErrorResponse(call.status());
    return nullptr;
  }
  return std::make_unique<OneCall>(*this, *std::move(call));
}

HttpResponse HttpApi::Refuse(int status, absl::string_view why) const {
  HttpResponse answer = ErrorResponse(absl::InvalidArgumentError(why));
  answer.status = status;
  return answer;
}

void HttpApi::Stop() {
  std::list<std::weak_ptr<Outlet>> streams;
  {
    base::MutexLock lock(mutex_);
    streams.swap(streams_);
  }
  for (const auto& weak : streams) {
    if (const auto stream = weak.lock())
      stream->End(absl::UnavailableError("the broker is stopping"));
  }
}

}  // namespace admin
