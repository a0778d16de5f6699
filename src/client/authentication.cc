// Extended authentication (§4.12): which step the application's method is asked for, and what its
// answer means to the connection.
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/client_impl.h"

namespace mqttd::client {
namespace {

absl::Status Unauthenticated(const absl::Status& why) {
  return absl::UnauthenticatedError(absl::StrCat("authentication failed: ", why.message()));
}

// What an authenticator answers, or what it throws, as a status.
template <typename Function>
auto Asked(const Function& function) -> decltype(function()) {
  try {
    return function();
  } catch (...) {
    return Thrown(std::current_exception());
  }
}

}  // namespace

// A new exchange with each connection: what was said on the last one is of no use.
absl::Status Client::Impl::BeginAuthentication() {
  authentication_ = absl::OkStatus();
  if (options_.authenticator == nullptr) return absl::OkStatus();
  absl::StatusOr<std::string> data = Asked([&] { return options_.authenticator->Begin(); });
  if (!data.ok()) return Unauthenticated(data.status());
  session_.SetAuthenticationData(*std::move(data));
  return absl::OkStatus();
}

absl::Status Client::Impl::FinishAuthentication(std::string_view data) {
  if (options_.authenticator == nullptr) return absl::OkStatus();
  const absl::Status status = Asked([&] { return options_.authenticator->Finish(data); });
  return status.ok() ? status : Unauthenticated(status);
}

void Client::Impl::Reauthenticate(Token op, Completion<Done> done) {
  if (options_.authenticator == nullptr) {
    return Finish(std::move(done), absl::FailedPreconditionError(
                                       "there is no authenticator (Options::authenticator)"));
  }
  if (!session_.is_connected()) {
    return Finish(std::move(done), absl::UnavailableError("not connected"));
  }
  if (reauthenticated_ != nullptr) {
    return Finish(std::move(done),
                  absl::FailedPreconditionError("the last re-authentication is still under way"));
  }
  absl::StatusOr<std::string> data = Asked([&] { return options_.authenticator->Begin(); });
  if (!data.ok()) return Finish(std::move(done), Unauthenticated(data.status()));
  reauthenticate_op_ = op;
  reauthenticated_ = std::move(done);
  session_.SendAuth(mqtt::ReasonCode::kReauthenticate, *data);  // [MQTT5-4.12.1-1]
  Settle();
}

void Client::Impl::EndReauthentication(const absl::Status& status) {
  Completion<Done> done = std::exchange(reauthenticated_, nullptr);
  reauthenticate_op_ = 0;
  if (!status.ok()) return Finish(std::move(done), status);
  Finish(std::move(done), Done{});
}

void Client::Impl::On(AuthWanted& event) {
  if (options_.authenticator == nullptr) {
    authentication_.Update(
        absl::UnauthenticatedError("the server asks for an authentication that was not set up"));
  } else if (event.reason == mqtt::ReasonCode::kContinueAuthentication) {
    absl::StatusOr<std::string> answer =
        Asked([&] { return options_.authenticator->Continue(event.data); });
    if (answer.ok()) {
      return session_.SendAuth(mqtt::ReasonCode::kContinueAuthentication, *answer);
    }
    authentication_.Update(Unauthenticated(answer.status()));
  } else {
    authentication_.Update(FinishAuthentication(event.data));
    if (authentication_.ok()) return EndReauthentication(absl::OkStatus());
  }
  EndReauthentication(authentication_);
  if (stream_ != nullptr) stream_->Close();
}

}  // namespace mqttd::client
