// The life of a client's connection: found, made, read from, written to, kept alive, lost, made
// again.
#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/experimental/awaitable_operators.hpp>
#include <exception>
#include <variant>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "client/client_impl.h"
#include "mqtt/frame.h"

namespace mqttd::client {
namespace {

// Trying again with the same credentials and the same packet can but end the same way.
bool IsFinal(mqtt::ReasonCode reason) {
  using enum mqtt::ReasonCode;
  switch (reason) {
    case kMalformedPacket:
    case kProtocolError:
    case kUnsupportedProtocolVersion:
    case kClientIdentifierNotValid:
    case kBadUserNameOrPassword:
    case kNotAuthorized:
    case kBanned:
    case kBadAuthenticationMethod:
    case kPacketTooLarge:
    case kRetainNotSupported:
    case kQosNotSupported:
      return true;
    default:
      return false;
  }
}

}  // namespace

absl::Status Refused(const ConnectResult& result) {
  return absl::PermissionDeniedError(absl::StrCat(
      "the server refuses the connection: ", base::AbslView(mqtt::ReasonCodeName(result.reason)),
      result.reason_string.empty() ? "" : ": ", result.reason_string));
}

absl::Status SentAway(const ServerDisconnect& disconnect) {
  return absl::UnavailableError(absl::StrCat(
      "the server ended the connection: ", base::AbslView(mqtt::ReasonCodeName(disconnect.reason)),
      disconnect.reason_string.empty() ? "" : ": ", disconnect.reason_string));
}

asio::awaitable<absl::StatusOr<std::unique_ptr<Stream>>> Client::Impl::DialServer(
    Endpoint endpoint) {
  std::exception_ptr thrown;
  try {
    if (options_.dialer != nullptr) co_return co_await options_.dialer(endpoint);
    co_return co_await Dial(endpoint, options_.tls, options_.local_address);
  } catch (...) {
    thrown = std::current_exception();
  }
  co_return Thrown(thrown);
}

// Each server once, from where the last try ended.
asio::awaitable<absl::StatusOr<ConnectResult>> Client::Impl::ConnectOnce() {
  const auto self = shared_from_this();
  absl::Cleanup over = [this] { connecting_ = false; };
  co_await asio::post(strand_, asio::use_awaitable);  // Not inside the call that asks for it.
  if (!load_status_.ok()) co_return load_status_;
  if (state_ == State::kClosed) co_return absl::CancelledError("the client is closed");
  SetState(State::kConnecting);
  absl::StatusOr<ConnectResult> result = absl::UnavailableError("no server was tried");
  const size_t tries = endpoints_.size() + (reference_.has_value() ? 1 : 0);
  for (size_t i = 0; i < tries && state_ != State::kClosed && !attempt_cancelled_; ++i) {
    Endpoint endpoint = endpoints_[next_endpoint_];
    if (reference_.has_value()) {
      endpoint = *std::exchange(reference_, std::nullopt);
    } else {
      next_endpoint_ = (next_endpoint_ + 1) % endpoints_.size();
    }
    result = co_await Establish(endpoint);
    if (!result.ok()) continue;
    if (!result->server_reference.empty()) {  // 0x9C, 0x9D: also as a hint in other answers.
      if (auto other = FollowReference(endpoint, result->server_reference); other.ok()) {
        reference_ = *std::move(other);
      }
    }
    if (result->ok() || IsFinal(result->reason)) break;
  }
  std::move(over).Invoke();
  if (state_ == State::kClosed) co_return absl::CancelledError("the client is closed");
  const bool stands = result.ok() && result->ok();
  if (!stands && attempt_cancelled_) result = absl::CancelledError("the operation was cancelled");
  if (stands) {
    backoff_.Reset();
    next_endpoint_ = (next_endpoint_ + endpoints_.size() - 1) % endpoints_.size();
  } else {
    SetState(State::kDisconnected, result.ok() ? Refused(*result) : result.status());
  }
  co_return result;
}

asio::awaitable<absl::StatusOr<ConnectResult>> Client::Impl::Establish(Endpoint endpoint) {
  using namespace asio::experimental::awaitable_operators;
  const auto deadline = After(steady_clock::now(), options_.connect_timeout);
  attempt_.expires_at(deadline);
  error_code timed;
  auto dialed = co_await (DialServer(endpoint) || attempt_.async_wait(Into(timed)));
  if (attempt_cancelled_) co_return absl::CancelledError("the operation was cancelled");
  if (dialed.index() == 1) {
    co_return absl::DeadlineExceededError(
        absl::StrCat(endpoint.ToString(), ": no connection within ",
                     absl::FormatDuration(options_.connect_timeout)));
  }
  absl::StatusOr<std::unique_ptr<Stream>>& opened = std::get<0>(dialed);
  if (!opened.ok()) co_return opened.status();
  if (state_ == State::kClosed) co_return absl::CancelledError("the client is closed");
  stream_ = *std::move(opened);
  const std::shared_ptr<Stream> stream = stream_;
  connected_.reset();
  farewell_.reset();
  read_bytes_ = 0;
  if (absl::Status status = BeginAuthentication(); !status.ok()) {
    stream_->Close();
    stream_.reset();
    co_return status;
  }
  session_.BeginConnection();
  attempt_.expires_at(deadline);
  attempt_.async_wait([stream](const error_code& cancelled) {
    if (!cancelled) stream->Close();
  });
  absl::Status status = co_await Handshake();
  if (attempt_.cancel() == 0 && !status.ok() && !attempt_cancelled_) {
    status = absl::DeadlineExceededError(
        absl::StrCat(endpoint.ToString(), ": no answer to CONNECT within ",
                     absl::FormatDuration(options_.connect_timeout)));
  }
  if (!authentication_.ok()) status = authentication_;
  if (attempt_cancelled_) status = absl::CancelledError("the operation was cancelled");
  if (!status.ok() || !connected_->ok()) {
    ++counted_.connect_failures;
    ConnectionEnded(stream, status);
    if (!status.ok()) co_return status;
    co_return *connected_;
  }
  ++counted_.connections;
  last_received_ = steady_clock::now();
  SetState(State::kConnected);
  Spawn(ReadLoop(stream), stream);
  Spawn(KeepAliveLoop(stream), stream);
  Settle();
  co_return *connected_;
}

// CONNECT goes out, and what comes is taken in until it holds the answer.
asio::awaitable<absl::Status> Client::Impl::Handshake() {
  const std::shared_ptr<Stream> stream = stream_;
  while (!connected_.has_value()) {
    Settle();
    absl::Status status = co_await ReadSome(*stream);
    if (status.ok() && stream_ != stream) status = absl::CancelledError("the client is closed");
    if (status.ok()) status = TakeFrames();
    if (!status.ok()) co_return status;
  }
  co_return absl::OkStatus();
}

asio::awaitable<absl::Status> Client::Impl::ServeLoop() {
  const auto self = shared_from_this();
  co_await asio::post(strand_, asio::use_awaitable);  // Not inside the call that asks for it.
  while (state_ != State::kClosed && !serve_cancelled_) {
    error_code ignored;
    if (!session_.is_connected() && !connecting_ && stream_ == nullptr) {
      connecting_ = serve_tries_ = true;
      attempt_cancelled_ = false;
      const absl::StatusOr<ConnectResult> result = co_await ConnectOnce();
      serve_tries_ = false;
      // What Options says cannot work with the next try either.
      if (absl::IsInvalidArgument(result.status())) co_return result.status();
      if (options_.give_up_when_refused) {
        if (result.ok() && IsFinal(result->reason)) co_return Refused(*result);
        if (absl::IsUnauthenticated(result.status())) co_return result.status();
      }
    }
    if (state_ == State::kClosed || serve_cancelled_) break;
    if (session_.is_connected()) co_await ended_.async_wait(Into(ignored));
    if (state_ == State::kClosed || serve_cancelled_) break;
    // Servers that send us to one another are not followed for ever without a wait.
    if (reference_.has_value() && references_followed_ < kReferencesInARow) {
      ++references_followed_;
      continue;
    }
    references_followed_ = 0;
    backoff_wait_.expires_after(Chrono(backoff_.Next()));
    co_await backoff_wait_.async_wait(Into(ignored));
  }
  if (serve_cancelled_) co_return absl::CancelledError("the operation was cancelled");
  co_return absl::OkStatus();
}

asio::awaitable<void> Client::Impl::ReadLoop(std::shared_ptr<Stream> stream) {
  const auto self = shared_from_this();
  absl::Status status;
  while (status.ok() && stream_ == stream) {
    status = co_await ReadSome(*stream);
    if (status.ok() && stream_ == stream) status = TakeFrames();
    if (stream_ == stream) Settle();
  }
  // A DISCONNECT that says what the server did wrong is on its way: it leaves first.
  error_code ignored;
  if (stream_ == stream && absl::IsFailedPrecondition(status) && writing_) {
    written_.expires_after(std::chrono::seconds(1));
    co_await written_.async_wait(Into(ignored));
  }
  ConnectionEnded(stream, authentication_.ok() ? status : authentication_);
}

asio::awaitable<absl::Status> Client::Impl::ReadSome(Stream& stream) {
  error_code error;
  const size_t got = co_await stream.Read(
      asio::buffer(read_buffer_.data() + read_bytes_, read_buffer_.size() - read_bytes_), error);
  if (error) {
    co_return absl::UnavailableError(
        absl::StrCat("the connection to the server is lost: ", error.message()));
  }
  last_received_ = steady_clock::now();
  read_bytes_ += got;
  counted_.bytes_received += got;
  co_return absl::OkStatus();
}

// Hands each whole frame to the session; what is left moves to the buffer's start, which grows for
// a frame that is larger.
absl::Status Client::Impl::TakeFrames() {
  size_t at = 0;
  size_t needed = 0;
  while (at < read_bytes_) {
    const mqtt::Bytes rest(read_buffer_.data() + at, read_bytes_ - at);
    const mqtt::FrameResult frame =
        mqtt::PeekFrame(rest, options_.session.maximum_packet_size, options_.session.version);
    std::optional<mqtt::Violation> violation;
    if (frame.kind == mqtt::FrameResult::Kind::kNeedMore) {
      needed = frame.bytes_needed;
      break;
    }
    if (frame.kind == mqtt::FrameResult::Kind::kViolation) {
      violation = frame.violation;
      if (session_.is_connected()) session_.SendDisconnect({.reason = violation->reason});
    } else {
      TraceFrames(rest.first(frame.header.frame_size()), mqtt::Sender::kServer);
      violation = session_.OnFrame(frame.header, mqtt::FrameBody(frame.header, rest));
      at += frame.header.frame_size();
    }
    if (violation.has_value()) {
      return absl::FailedPreconditionError(
          absl::StrCat("the server broke the protocol: ",
                       base::AbslView(mqtt::ReasonCodeName(violation->reason)), " (",
                       base::AbslView(violation->rule), ")"));
    }
    RunEvents();
    if (stream_ == nullptr) return absl::CancelledError("the client is closed");
    if (!session_.store_status().ok()) return session_.store_status();
  }
  std::copy(read_buffer_.begin() + static_cast<ptrdiff_t>(at),
            read_buffer_.begin() + static_cast<ptrdiff_t>(read_bytes_), read_buffer_.begin());
  read_bytes_ -= at;
  if (needed > read_buffer_.size()) {
    read_buffer_.resize(needed);
  } else if (read_buffer_.size() > kReadBytes && read_bytes_ <= kReadBytes &&
             needed <= kReadBytes) {
    read_buffer_.resize(kReadBytes);
    read_buffer_.shrink_to_fit();
  }
  return absl::OkStatus();
}

void Client::Impl::TraceFrames(mqtt::Bytes bytes, mqtt::Sender sender) {
  if (options_.trace == nullptr) return;
  Call([&] { Trace(options_.trace, bytes, options_.session.version, sender); });
}

asio::awaitable<void> Client::Impl::WriteLoop(std::shared_ptr<Stream> stream) {
  const auto self = shared_from_this();
  error_code error;
  absl::Cleanup over = [this] { writing_ = false; };
  while (!error && stream_ == stream && session_.HasOutput()) {
    write_buffer_.clear();
    session_.TakeOutput(write_buffer_);
    RunEvents();  // Messages of QoS 0 that left the queue.
    TraceFrames(mqtt::AsBytes(write_buffer_), mqtt::Sender::kClient);
    last_sent_ = steady_clock::now();
    co_await stream->Write(asio::buffer(write_buffer_), error);
    counted_.bytes_sent += write_buffer_.size();
  }
  std::move(over).Invoke();
  written_.cancel();
  if (error) {
    ConnectionEnded(stream, absl::UnavailableError(absl::StrCat(
                                "the connection to the server is lost: ", error.message())));
  } else if (stream_ != nullptr && stream_ != stream) {
    Settle();  // The next connection's output waited for this write.
  }
}

// [MQTT-3.1.2-23] (3.1.1), [MQTT5-3.1.2-20]: something is sent within each Keep Alive interval. And
// something is asked of a server that was silent for so long, however much we send: a peer that is
// gone is noticed.
asio::awaitable<void> Client::Impl::KeepAliveLoop(std::shared_ptr<Stream> stream) {
  const auto self = shared_from_this();
  const absl::Duration interval = session_.keep_alive_s() == 0
                                      ? absl::InfiniteDuration()
                                      : absl::Seconds(session_.keep_alive_s());
  error_code error;
  while (stream_ == stream) {
    const auto due = pings_.empty() ? After(std::min(last_sent_, last_received_), interval)
                                    : After(pings_.front().since, options_.ping_timeout);
    if (steady_clock::now() < due) {
      keep_alive_.expires_at(due);  // Cancelled when that is over: `due` is another then.
      co_await keep_alive_.async_wait(Into(error));
    } else if (pings_.empty()) {
      pings_.push_back({.since = steady_clock::now()});
      session_.SendPing();
      Settle();
    } else {
      ConnectionEnded(stream, absl::UnavailableError("the server does not answer PINGREQ"));
    }
  }
}

void Client::Impl::ConnectionEnded(const std::shared_ptr<Stream>& stream, const absl::Status& why) {
  stream->Close();
  if (stream_ != stream) return;
  stream_.reset();
  session_.EndConnection();
  for (SentPing& ping : std::exchange(pings_, {})) {
    Finish(std::move(ping.done),
           absl::UnavailableError("the connection was lost before the server answered"));
  }
  if (reauthenticated_ != nullptr) {
    EndReauthentication(
        farewell_.has_value() ? absl::PermissionDeniedError(SentAway(*farewell_).message()) : why);
  }
  if (state_ != State::kClosed && !connecting_) {
    SetState(State::kDisconnected, farewell_.has_value() ? SentAway(*farewell_) : why);
  }
  RunEvents();
  ended_.cancel();
  keep_alive_.cancel();
}

}  // namespace mqttd::client
