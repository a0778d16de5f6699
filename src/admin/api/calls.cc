#include "admin/api/calls.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/log.h"

namespace admin {
namespace {

constexpr std::memory_order kRelaxed = std::memory_order_relaxed;

// Of somebody who has shown nothing: he can call as often as he likes, and must not fill the disk.
void AuditStranger(const Method& method, const Evidence& evidence, absl::string_view cause,
                   const absl::Status& status) {
  base::LogLimited(base::LogLevel::kInfo, "admin refused", cause,
                   {{"from", evidence.address}, {"what", method.name()}, {"outcome", status}});
}

}  // namespace

absl::StatusOr<std::shared_ptr<Call>> Calls::Admit(const Method& method, const Evidence& evidence,
                                                   Protocol protocol) {
  by_protocol_[static_cast<size_t>(protocol)].fetch_add(1, kRelaxed);
  absl::StatusOr<Caller> caller = Identify(method, evidence);
  absl::Status status = caller.status();
  if (!status.ok()) {
    strangers_.fetch_add(1, kRelaxed);
    AuditStranger(method, evidence, "who calls is not known", status);
    return status;
  }
  if (status = CheckRole(method, *caller); !status.ok()) {
    denied_.fetch_add(1, kRelaxed);
  } else if (absl::StatusOr<Permit> permit = Take(method); permit.ok()) {
    return std::make_shared<Call>(method, *std::move(caller), *std::move(permit),
                                  LeftBehind(method));
  } else {
    too_many_.fetch_add(1, kRelaxed);
    status = permit.status();
  }
  if (method.role == pb::ROLE_UNSPECIFIED) {
    AuditStranger(method, evidence, "too many calls of methods that need no role", status);
  } else {
    Audit(method, *caller, nullptr, status);
  }
  return status;
}

absl::StatusOr<Caller> Calls::Identify(const Method& method, const Evidence& evidence) {
  absl::StatusOr<Caller> caller = access_.table()->Identify(evidence, clock_.Now());
  if (!caller.ok() && method.role == pb::ROLE_UNSPECIFIED) return Caller{};
  return caller;
}

std::atomic<uint32_t>& Calls::LeftBehind(const Method& method) {
  base::MutexLock lock(mutex_);
  return left_behind_[&method];
}

absl::Status Calls::TooLate() const {
  const std::string silent = silent_();
  return absl::DeadlineExceededError(silent.empty() ? "a part of the broker did not answer in time"
                                                    : silent);
}

absl::StatusOr<Calls::Permit> Calls::Take(const Method& method) {
  if (const uint32_t left = LeftBehind(method).load(kRelaxed); left >= limits_.left_behind_max) {
    const std::string silent = silent_();
    return absl::ResourceExhaustedError(
        absl::StrCat(left, " calls of ", method.name(), " are not answered yet, and nobody waits ",
                     "for them any more", silent.empty() ? "" : ": ", silent));
  }
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
  {
    base::MutexLock lock(mutex_);
    for (const auto& [method, left] : left_behind_) view.left_behind += left.load(kRelaxed);
  }
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

void Call::Begin() const {
  base::MutexLock lock(mutex_);
  running_ = true;
}

void Call::Leave() const {
  base::MutexLock lock(mutex_);
  if (std::exchange(left_, true)) return;
  permit_ = {};
  if (!running_) return;
  left_behind_.fetch_add(1, kRelaxed);
  permit_ = Calls::Permit(left_behind_);
}

void Call::Answered() const {
  base::MutexLock lock(mutex_);
  running_ = false;
  // What waits for its caller keeps the place; what nobody waits for is done.
  if (left_) permit_ = {};
}

void Run(std::shared_ptr<const Call> call, Method::MessageReply reply) {
  const Call& it = *call;
  it.Begin();
  it.method.once(it.caller, *it.request,
                 [call = std::move(call), reply = std::move(reply)](
                     const absl::Status& status, const google::protobuf::Message* response) {
                   if (call->method.audited())
                     Audit(call->method, call->caller, call->request.get(), status);
                   call->Answered();
                   reply(status, response);
                 });
}

void Run(std::shared_ptr<const Call> call, std::shared_ptr<Outlet> outlet) {
  if (call->method.audited())
    Audit(call->method, call->caller, call->request.get(), absl::OkStatus());
  call->method.stream(call->caller, *call->request, std::move(outlet));
}

}  // namespace admin
