#include "broker/listener_gate.h"

#include "broker/transport/source_limits.h"

namespace broker {
namespace {

struct PoolTicket final : PasswordCheck {
  explicit PoolTicket(auth::HashPool::Ticket own) : ticket(std::move(own)) {}
  const auth::HashPool::Ticket ticket;
};

Gatekeeper::Verdict ToVerdict(SourceLimits::Verdict verdict) {
  switch (verdict) {
    case SourceLimits::Verdict::kAdmitted:
      return Gatekeeper::Verdict::kAdmitted;
    case SourceLimits::Verdict::kTooMany:
      return Gatekeeper::Verdict::kTooMany;
    case SourceLimits::Verdict::kTooFast:
      break;
  }
  return Gatekeeper::Verdict::kTooFast;
}

}  // namespace

Gatekeeper::Admission ListenerGate::AdmitProxied(const std::string& address, int64_t now_ns) {
  SourceLimits::Admission admission = listener_->AdmitProxied(address, now_ns);
  // Where there is no limit the place is everybody's.
  if (!listener_->limits_sources()) admission.place.reset();
  return {ToVerdict(admission.verdict), std::move(admission.place)};
}

std::optional<auth::Outcome> ListenerGate::TryNow(const auth::Credentials& credentials) const {
  return authenticator_->TryNow(credentials);
}

std::unique_ptr<PasswordCheck> ListenerGate::Verify(const storage::ConnectionRef& connection,
                                                    auth::Credentials credentials,
                                                    const std::string& address) {
  const std::optional<Source> source = Source::Of(address);
  credentials.source = source.has_value() ? source->value() : 0;
  return std::make_unique<PoolTicket>(authenticator_->Authenticate(
      std::move(credentials),
      // It may still run when the listener is closed and its last connection gone.
      [tell = tell_, connection](auth::Outcome outcome) { tell(connection, std::move(outcome)); }));
}

auth::Outcome ListenerGate::AdmitAs(const auth::Credentials& credentials,
                                    std::string_view user_name) const {
  return authenticator_->AdmitAs(credentials, user_name);
}

std::shared_ptr<const auth::Permissions> ListenerGate::PermissionsFor(
    const auth::Identity& identity) const {
  return authenticator_->PermissionsFor(identity);
}

bool ListenerGate::StillAdmits(const auth::Identity& identity) const {
  return authenticator_->StillAdmits(identity);
}

}  // namespace broker
