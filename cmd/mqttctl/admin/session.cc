#include "admin/session.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/security/credentials.h>

#include <chrono>
#include <cstdio>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "arguments.h"
#include "base/status_macros.h"
#include "google/protobuf/descriptor.h"
#include "input.h"
#include "mqttd/admin/v1/common.pb.h"
#include "terminal.h"

namespace mqttctl {
namespace {

namespace pb = ::mqttd::admin::v1;

using google::protobuf::Message;

constexpr int kNoBound = -1;  // The broker has one for requests, and messages have theirs.
constexpr int kKeepaliveMs = 20'000;
constexpr int kKeepaliveTimeoutMs = 10'000;
constexpr int kReconnectMsMin = 200;
constexpr int kReconnectMsMax = 2'000;

// Nothing, where no file is named.
absl::StatusOr<std::string> TextOf(const std::string& path) {
  if (path.empty()) return std::string();
  return ReadFile(path);
}

absl::Status ToAbsl(const grpc::Status& status) {
  return {static_cast<absl::StatusCode>(status.error_code()), status.error_message()};
}

grpc::ByteBuffer Serialize(const Message& message) {
  grpc::ByteBuffer buffer;
  bool own = false;
  (void)grpc::GenericSerialize<grpc::ProtoBufferWriter, Message>(message, &buffer, &own);
  return buffer;
}

class GrpcSession final : public AdminSession {
 public:
  GrpcSession(const std::shared_ptr<grpc::Channel>& channel, std::string token, int timeout_s)
      : stub_(channel), token_(std::move(token)), timeout_s_(timeout_s) {}

  absl::Status Call(const std::string& method, const Message& request, Message& response) override {
    bool answered = false;
    RETURN_IF_ERROR(Run(method, request, response, timeout_s_, [&] { return answered = true; }));
    if (!answered) return absl::InternalError("the broker has not answered");
    WarnOfMissing(response);
    return absl::OkStatus();
  }

  absl::Status Stream(const std::string& method, const Message& request, Message& response,
                      const std::function<bool()>& each) override {
    return Run(method, request, response, 0, each);
  }

  void Again() override { told_.clear(); }

 private:
  // Whatever is asked of a cluster: which of its nodes did not answer, and what nobody answered
  // for. Each is said once.
  void WarnOfMissing(const Message& response) {
    const google::protobuf::Descriptor& type = *response.GetDescriptor();
    const google::protobuf::Reflection& reflection = *response.GetReflection();
    const google::protobuf::FieldDescriptor* const page = type.FindFieldByName("page");
    if (page != nullptr && page->message_type() == pb::PageResponse::descriptor())
      WarnOfMissing(reflection.GetMessage(response, page));
    const google::protobuf::FieldDescriptor* const missing = type.FindFieldByName("missing");
    if (missing == nullptr || missing->message_type() != pb::MissingNode::descriptor()) return;
    for (int i = 0; i < reflection.FieldSize(response, missing); ++i) {
      pb::MissingNode node;
      node.CopyFrom(reflection.GetRepeatedMessage(response, missing, i));
      if (told_.insert(absl::StrCat(node.node(), ": ", node.reason())).second) {
        std::fprintf(stderr, "Warning: no answer from %s: %s\n", OneLine(node.node()).c_str(),
                     OneLine(node.reason()).c_str());
      }
    }
  }

  // A call with all its answers, one step after the other.
  absl::Status Run(const std::string& method, const Message& request, Message& response,
                   int timeout_s, const std::function<bool()>& each) {
    grpc::ClientContext context;
    if (timeout_s > 0)
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(timeout_s));
    if (!token_.empty()) context.AddMetadata("authorization", absl::StrCat("Bearer ", token_));
    grpc::CompletionQueue queue;
    const auto step = [&queue] {
      void* tag = nullptr;
      bool ok = false;
      return queue.Next(&tag, &ok) && ok;
    };
    const auto call = stub_.PrepareCall(&context, absl::StrCat("/mqttd.admin.v1.", method), &queue);
    call->StartCall(nullptr);
    bool going = step();
    if (going) {
      call->WriteLast(Serialize(request), grpc::WriteOptions(), nullptr);
      going = step();
    }
    while (going) {
      grpc::ByteBuffer answer;
      call->Read(&answer, nullptr);
      if (!step()) break;
      if (!grpc::GenericDeserialize<grpc::ProtoBufferReader, Message>(&answer, &response).ok()) {
        context.TryCancel();
        return absl::InternalError("the broker's answer cannot be read");
      }
      if (!each()) {
        context.TryCancel();
        break;
      }
    }
    const bool enough = going && timeout_s == 0;
    grpc::Status status;
    call->Finish(&status, nullptr);
    step();
    if (enough && status.error_code() == grpc::StatusCode::CANCELLED) return absl::OkStatus();
    return ToAbsl(status);
  }

  grpc::GenericStub stub_;
  const std::string token_;
  const int timeout_s_;
  std::set<std::string> told_;  // Nodes that did not answer, and why.
};

}  // namespace

absl::StatusOr<std::unique_ptr<AdminSession>> AdminSession::Open(
    const EndpointArguments& arguments) {
  ASSIGN_OR_RETURN(const std::string token_text, TextOf(arguments.token_file));
  const std::string token = arguments.token.empty()
                                ? std::string(absl::StripAsciiWhitespace(token_text))
                                : arguments.token;
  std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
  if (!arguments.ca_file.empty() || !arguments.cert_file.empty()) {
    grpc::SslCredentialsOptions tls;
    ASSIGN_OR_RETURN(tls.pem_root_certs, TextOf(arguments.ca_file));
    ASSIGN_OR_RETURN(tls.pem_cert_chain, TextOf(arguments.cert_file));
    ASSIGN_OR_RETURN(tls.pem_private_key, TextOf(arguments.key_file));
    credentials = grpc::SslCredentials(tls);
  }
  grpc::ChannelArguments options;
  options.SetMaxReceiveMessageSize(kNoBound);
  options.SetMaxSendMessageSize(kNoBound);
  options.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  // A stream of a broker whose machine went without a word ends, however quiet it was.
  options.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  options.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  options.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // Who watches sees a broker that is back.
  options.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMsMin);
  options.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMsMax);
  if (!arguments.server_name.empty()) options.SetSslTargetNameOverride(arguments.server_name);
  return std::make_unique<GrpcSession>(
      grpc::CreateCustomChannel(arguments.endpoint, credentials, options), token,
      arguments.timeout_s);
}

int PrintAdminError(const EndpointArguments& arguments, const absl::Status& status) {
  const std::string words = Harmless(status.message());
  const auto print = [&](absl::string_view advice) {
    std::fprintf(stderr, "Error: %s\n", words.c_str());
    if (!advice.empty()) std::fprintf(stderr, "%s\n", std::string(advice).c_str());
  };
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
      if (absl::StrContains(words, "connect") || absl::StrContains(words, "DNS") ||
          absl::StrContains(words, "socket") || absl::StrContains(words, "andshake")) {
        std::fprintf(stderr, "Error: no broker answers at %s: %s\n", arguments.endpoint.c_str(),
                     words.c_str());
        std::fprintf(stderr,
                     "Is mqttd running there, with --admin %s? Another place: --endpoint "
                     "ADDRESS:PORT or MQTTCTL_ENDPOINT. With TLS: --ca-file\n",
                     arguments.endpoint.c_str());
      } else {
        print("");
      }
      return kExitUnreachable;
    case absl::StatusCode::kDeadlineExceeded:
      print(absl::StrCat("There was no answer in time (", arguments.timeout_s,
                         " s): --timeout SECONDS"));
      return kExitUnreachable;
    case absl::StatusCode::kUnauthenticated:
      print(
          "Say who you are: --token-file FILE (MQTTCTL_TOKEN_FILE), or --cert-file and --key-file");
      return kExitNotAllowed;
    case absl::StatusCode::kPermissionDenied:
      print("");
      return kExitNotAllowed;
    case absl::StatusCode::kNotFound:
      print("");
      return kExitNotFound;
    case absl::StatusCode::kUnimplemented:
      print("The broker is older than this mqttctl.");
      return kExitRefused;
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kAborted:
      print("");
      return kExitRefused;
    default:
      print("");
      return kExitFailure;
  }
}

}  // namespace mqttctl
