#include "admin/api/calls.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace admin {
namespace {

constexpr std::memory_order kRelaxed = std::memory_order_relaxed;

}  // namespace

absl::StatusOr<Calls::Admitted> Calls::Admit(const Method& method, const Evidence& evidence,
                                             Protocol protocol) {
  by_protocol_[static_cast<size_t>(protocol)].fetch_add(1, kRelaxed);
  absl::StatusOr<Caller> caller = Identify(method, evidence);
  absl::Status status = caller.status();
  if (!status.ok()) {
    strangers_.fetch_add(1, kRelaxed);
    caller = Caller{.name = "unknown", .address = evidence.address};
  } else if (status = CheckRole(method, *caller); !status.ok()) {
    denied_.fetch_add(1, kRelaxed);
  } else if (absl::StatusOr<Permit> permit = Take(method); permit.ok()) {
    return Admitted{*std::move(caller), *std::move(permit)};
  } else {
    too_many_.fetch_add(1, kRelaxed);
    status = permit.status();
  }
  Audit(method, *caller, nullptr, status);
  return status;
}

absl::StatusOr<Caller> Calls::Identify(const Method& method, const Evidence& evidence) {
  absl::StatusOr<Caller> caller = access_.table()->Identify(evidence, clock_.Now());
  if (!caller.ok() && method.role == pb::ROLE_UNSPECIFIED) return Caller{};
  return caller;
}

absl::StatusOr<Calls::Permit> Calls::Take(const Method& method) {
  const bool call = method.once != nullptr;
  const bool open = method.role == pb::ROLE_UNSPECIFIED;
  std::atomic<uint32_t>& taken =
      call ? (open ? open_calls_ : calls_) : (open ? open_streams_ : streams_);
  const uint32_t max = open ? limits_.open_max : call ? limits_.calls_max : limits_.streams_max;
  if (taken.fetch_add(1, kRelaxed) < max) return Permit(taken);
  taken.fetch_sub(1, kRelaxed);
  const char* const kind = call ? "calls" : "streams";
  if (open) {
    return absl::ResourceExhaustedError(
        absl::StrCat(max, " ", kind,
                     " of methods that need no role are under way, and that is enough: try again"));
  }
  return absl::ResourceExhaustedError(absl::StrCat(max, " ", kind, " are under way, and admin.",
                                                   kind, "_max says that is enough: try again"));
}

AdminCalls Calls::view() const {
  AdminCalls view;
  view.calls = calls_.load(kRelaxed);
  view.streams = streams_.load(kRelaxed);
  view.open = open_calls_.load(kRelaxed) + open_streams_.load(kRelaxed);
  view.grpc = by_protocol_[0].load(kRelaxed);
  view.http = by_protocol_[1].load(kRelaxed);
  view.refused_unauthenticated = strangers_.load(kRelaxed);
  view.refused_role = denied_.load(kRelaxed);
  view.refused_full = too_many_.load(kRelaxed);
  return view;
}

void Run(std::shared_ptr<const Call> call, Method::MessageReply reply) {
  const Call& it = *call;
  it.method->once(it.caller, *it.request,
                  [call = std::move(call), reply = std::move(reply)](
                      const absl::Status& status, const google::protobuf::Message* response) {
                    if (call->method->audited())
                      Audit(*call->method, call->caller, call->request.get(), status);
                    reply(status, response);
                  });
}

void Run(std::shared_ptr<const Call> call, std::shared_ptr<Outlet> outlet) {
  if (call->method->audited())
    Audit(*call->method, call->caller, call->request.get(), absl::OkStatus());
  call->method->stream(call->caller, *call->request, std::move(outlet));
}

}  // namespace admin
