// Request and response (§4.10): a Response Topic of our own, and which response is for whom.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/by_name.h"
#include "client/client_impl.h"

namespace mqttd::client {

void Client::Impl::Request(Token op, Message request, absl::Duration timeout,
                           Completion<ReceivedMessage> done) {
  if (state_ == State::kClosed) {
    return Finish(std::move(done), absl::CancelledError("the client is closed"));
  }
  if (options_.session.version != mqtt::Version::k5) {
    return Finish(std::move(done),
                  absl::FailedPreconditionError("only MQTT 5.0 has requests and responses"));
  }
  if (requested_.size() >= options_.responses_max) {
    return Finish(std::move(done), absl::ResourceExhaustedError(absl::StrCat(
                                       requested_.size(),
                                       " requests wait for their response already; wait for "
                                       "some to end, or raise responses_max")));
  }
  if (response_topic_.empty()) response_topic_ = NewResponseTopic();
  std::string correlation = absl::StrFormat("%x", ++last_request_);
  auto deadline =
      std::make_unique<asio::steady_timer>(strand_, After(steady_clock::now(), timeout));
  deadline->async_wait([weak = weak_from_this(), correlation](const error_code& cancelled) {
    const auto self = weak.lock();
    if (cancelled || self == nullptr) return;
    self->EndRequest(correlation, absl::DeadlineExceededError("no response came in time"));
  });
  requested_.emplace(correlation, Requested{op, std::move(done), std::move(deadline)});
  request.response_topic = response_topic_;
  request.correlation_data = correlation;
  if (hears_responses_) return SendRequest(correlation, std::move(request));
  unsent_.push_back({std::move(correlation), std::move(request)});
  if (unsent_.size() == 1) SubscribeToResponses();
}

std::string Client::Impl::NewResponseTopic() {
  if (!options_.response_topic.empty()) return options_.response_topic;
  const std::string own = absl::StrFormat("%016x", rng_());
  if (response_information_.empty()) return absl::StrCat("responses/", own);
  return absl::StrCat(response_information_, response_information_.back() == '/' ? "" : "/", own);
}

// Requests wait for the answer, so that no response can come before there is a subscription.
void Client::Impl::SubscribeToResponses() {
  const auto heard = [this](absl::StatusOr<SubscribeResult> result) {
    absl::Status status = result.status();
    if (status.ok() && !result->ok()) {
      status = absl::PermissionDeniedError(absl::StrCat(
          "the server refuses the subscription to the Response Topic ", response_topic_, ": ",
          base::AbslView(mqtt::ReasonCodeName(result->reasons.front()))));
    }
    hears_responses_ = status.ok();
    for (Unsent& unsent : std::exchange(unsent_, {})) {
      if (!status.ok()) {
        EndRequest(unsent.correlation, status);
      } else if (requested_.contains(unsent.correlation)) {
        SendRequest(unsent.correlation, std::move(unsent.request));
      }
    }
  };
  SubscribePacket packet;
  packet.subscriptions.push_back({response_topic_, {.qos = mqtt::QoS::kExactlyOnce}});
  Subscribe(NewToken(), std::move(packet), heard);
}

void Client::Impl::SendRequest(const std::string& correlation, Message request) {
  const auto found = requested_.find(correlation);
  Publish(found->second.op, std::move(request),
          [this, correlation](absl::StatusOr<PublishResult> result) {
            if (!result.ok()) return EndRequest(correlation, result.status());
            if (!result->ok()) {
              return EndRequest(correlation,
                                absl::PermissionDeniedError(absl::StrCat(
                                    "the server refuses the request: ",
                                    base::AbslView(mqtt::ReasonCodeName(result->reason)))));
            }
            if (result->reason == mqtt::ReasonCode::kNoMatchingSubscribers) {
              EndRequest(correlation,
                         absl::NotFoundError("nobody is subscribed to the request's topic"));
            }
          });
}

// False: the message is none of the responses, but the application's.
bool Client::Impl::TakeResponse(ReceivedMessage& message) {
  if (message.topic != response_topic_) return false;
  if (options_.session.manual_acknowledgement) session_.Acknowledge(message);
  if (!requested_.contains(message.correlation_data)) {
    ++counted_.responses_late;
  } else {
    const std::string correlation = message.correlation_data;
    EndRequest(correlation, std::move(message));
  }
  return true;
}

void Client::Impl::EndRequest(const std::string& correlation,
                              absl::StatusOr<ReceivedMessage> result) {
  const auto found = requested_.find(correlation);
  if (found == requested_.end()) return;
  Requested requested = std::move(found->second);
  requested_.erase(found);
  requested.deadline->cancel();
  Finish(std::move(requested.done), std::move(result));
}

void Client::Impl::CancelRequest(Token op) {
  const auto found = std::find_if(requested_.begin(), requested_.end(),
                                  [op](const auto& one) { return one.second.op == op; });
  if (found == requested_.end()) return;
  const std::string correlation = found->first;
  EndRequest(correlation, absl::CancelledError("the request was cancelled"));
}

// ---- The side that answers -------------------------------------------------------------------

void Client::OnRequest(std::string filter, RequestHandler handler) {
  OnMessage(std::move(filter), [weak = std::weak_ptr<Impl>(impl_),
                                handler = std::move(handler)](const ReceivedMessage& request) {
    handler(request, Reply([weak, topic = request.response_topic, data = request.correlation_data,
                            qos = request.qos](Message answer, PublishHandler done) {
              auto impl = weak.lock();
              if (impl == nullptr) {
                if (done != nullptr) done(absl::CancelledError("the client is closed"));
                return;
              }
              answer.topic = topic;
              answer.correlation_data = data;
              answer.qos = std::max(answer.qos, qos);
              Run(std::move(impl),
                  [answer = std::move(answer), done = std::move(done)](Impl& target) mutable {
                    const auto tell = [done](absl::StatusOr<PublishResult> result) {
                      if (done != nullptr) done(std::move(result));
                    };
                    if (!answer.topic.empty()) {
                      return target.Publish(target.NewToken(), std::move(answer), tell);
                    }
                    target.Finish<PublishResult>(
                        tell, absl::FailedPreconditionError("the request has no Response Topic"));
                  });
            }));
  });
}

}  // namespace mqttd::client
