#include "client/client.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <exception>
#include <variant>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "client/client_impl.h"

namespace mqttd::client {
absl::Status Thrown(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const std::exception& exception) {
    return absl::InternalError(absl::StrCat("an exception: ", exception.what()));
  } catch (...) {
    return absl::InternalError("an exception");
  }
}

namespace {

absl::Status Closed() { return absl::CancelledError("the client is closed"); }
absl::Status Cancelled() { return absl::CancelledError("the operation was cancelled"); }

}  // namespace

// ---- Operations ------------------------------------------------------------------------------

void Client::Impl::Connect(Token op, Completion<ConnectResult> done) {
  if (state_ == State::kClosed) return Finish(std::move(done), Closed());
  if (stream_ != nullptr || connecting_) {
    return Finish(std::move(done), absl::FailedPreconditionError(
                                       "there is a connection already, or one is being made"));
  }
  connect_op_ = op;
  attempt_cancelled_ = false;
  connecting_ = true;  // From now on: the coroutine may begin later.
  asio::co_spawn(
      strand_, ConnectOnce(),
      [self = shared_from_this(), done = std::move(done)](
          const std::exception_ptr& thrown, absl::StatusOr<ConnectResult> result) mutable {
        self->connect_op_ = 0;
        if (thrown != nullptr) result = Thrown(thrown);
        self->Finish(std::move(done), std::move(result));
      });
}

void Client::Impl::Serve(Token op, Completion<Done> done) {
  if (state_ == State::kClosed) return Finish(std::move(done), Closed());
  if (!load_status_.ok()) return Finish(std::move(done), load_status_);
  if (serving_ || connecting_) {
    return Finish(std::move(done), absl::FailedPreconditionError(
                                       "it serves already, or a connection is being made"));
  }
  serving_ = true;
  serve_op_ = op;
  serve_cancelled_ = false;
  asio::co_spawn(strand_, ServeLoop(),
                 [self = shared_from_this(), done = std::move(done)](
                     const std::exception_ptr& thrown, absl::Status status) mutable {
                   self->serving_ = false;
                   self->serve_op_ = 0;
                   if (thrown != nullptr) status = Thrown(thrown);
                   if (status.ok()) return self->Finish(std::move(done), Done{});
                   self->Finish(std::move(done), std::move(status));
                 });
}

void Client::Impl::Publish(Token op, Message message, Completion<PublishResult> done) {
  if (state_ == State::kClosed) return Finish(std::move(done), Closed());
  absl::Status status = session_.Publish(op, std::move(message));
  if (!status.ok()) return Finish(std::move(done), std::move(status));
  publishes_.emplace(op, std::move(done));
  Settle();
}

void Client::Impl::Subscribe(Token op, SubscribePacket packet, Completion<SubscribeResult> done) {
  if (state_ == State::kClosed) return Finish(std::move(done), Closed());
  absl::Status status =
      session_.Subscribe(op, std::move(packet.subscriptions), std::move(packet.options));
  if (!status.ok()) return Finish(std::move(done), std::move(status));
  subscribes_.emplace(op, std::move(done));
  Settle();
}

void Client::Impl::Unsubscribe(Token op, UnsubscribePacket packet,
                               Completion<UnsubscribeResult> done) {
  if (state_ == State::kClosed) return Finish(std::move(done), Closed());
  absl::Status status =
      session_.Unsubscribe(op, std::move(packet.filters), std::move(packet.user_properties));
  if (!status.ok()) return Finish(std::move(done), std::move(status));
  unsubscribes_.emplace(op, std::move(done));
  Settle();
}

void Client::Impl::Ping(Token op, Completion<absl::Duration> done) {
  if (!session_.is_connected()) {
    return Finish(std::move(done), absl::UnavailableError("not connected"));
  }
  if (pings_.size() >= options_.pings_max) {
    return Finish(std::move(done), absl::ResourceExhaustedError(absl::StrCat(
                                       pings_.size(), " PINGREQ wait for their answer already")));
  }
  pings_.push_back({op, steady_clock::now(), std::move(done)});
  session_.SendPing();
  keep_alive_.cancel();  // It waits for this answer from now on.
  Settle();
}

namespace {

// The completion of an operation whose result is an answer.
template <typename Result, typename Done>
auto ToAnswer(Done done) {
  return [done = std::move(done)](absl::StatusOr<Result> result) mutable {
    if (!result.ok()) return done(result.status());
    done(AnswerOf(*std::move(result)));
  };
}

}  // namespace

void Client::Impl::RoundTrip(Token op, Packet packet, Completion<Answer> done) {
  if (auto* publish = std::get_if<PublishPacket>(&packet)) {
    const mqtt::QoS qos = publish->message.qos;
    if (qos == mqtt::QoS::kAtMostOnce) {
      return Finish(std::move(done),
                    absl::InvalidArgumentError("nothing answers a PUBLISH of QoS 0"));
    }
    return Publish(op, std::move(publish->message),
                   [qos, done = std::move(done)](absl::StatusOr<PublishResult> result) mutable {
                     if (!result.ok()) return done(result.status());
                     done(AnswerOf(qos, *std::move(result)));
                   });
  }
  if (auto* subscribe = std::get_if<SubscribePacket>(&packet)) {
    return Subscribe(op, std::move(*subscribe), ToAnswer<SubscribeResult>(std::move(done)));
  }
  if (auto* unsubscribe = std::get_if<UnsubscribePacket>(&packet)) {
    return Unsubscribe(op, std::move(*unsubscribe), ToAnswer<UnsubscribeResult>(std::move(done)));
  }
  if (std::holds_alternative<PingReqPacket>(packet)) {
    return Ping(op, [done = std::move(done)](absl::StatusOr<absl::Duration> result) mutable {
      if (!result.ok()) return done(result.status());
      done(Answer{.type = mqtt::PacketType::kPingResp});
    });
  }
  Reauthenticate(op, [done = std::move(done)](absl::StatusOr<Done> result) mutable {
    if (!result.ok()) return done(result.status());
    done(Answer{.type = mqtt::PacketType::kAuth, .reasons = {mqtt::ReasonCode::kSuccess}});
  });
}

void Client::Impl::Acknowledge(const ReceivedMessage& message) {
  session_.Acknowledge(message);
  Settle();
}

void Client::Impl::Disconnect(Token op, const DisconnectOptions& options, Completion<Done> done) {
  if (!session_.is_connected()) {
    Close(absl::CancelledError("the client disconnected"));
    return Finish(std::move(done), Done{});
  }
  absl::Status status =
      CheckDisconnect(options, options_.session.session_expiry_s != 0, options_.session.version);
  if (!status.ok()) return Finish(std::move(done), std::move(status));
  session_.SendDisconnect(options);
  disconnects_.emplace(op, std::move(done));
  // The write that carries it ends, well or not, and then nothing more is to be said. A handler
  // that asked for it returns first: until then nothing is written.
  Spawn(
      [](std::shared_ptr<Impl> self, Token its_op) -> asio::awaitable<void> {
        error_code ignored;
        co_await asio::post(self->strand_, asio::use_awaitable);
        self->Settle();
        self->written_.expires_at(After(steady_clock::now(), self->options_.ping_timeout));
        if (self->writing_) co_await self->written_.async_wait(Into(ignored));
        self->Close(absl::CancelledError("the client disconnected"));
        self->End<Done>(self->disconnects_, its_op, Done{});
      }(shared_from_this(), op),
      stream_);
}

void Client::Impl::Close(const absl::Status& why) {
  if (state_ == State::kClosed) return;
  CancelAttempt();
  if (stream_ != nullptr) {
    std::shared_ptr<Stream> stream = stream_;
    ConnectionEnded(stream, why);
  }
  SetState(State::kClosed, why);
  session_.Fail(why);
  RunEvents();
  unsent_.clear();
  while (!requested_.empty()) EndRequest(std::string(requested_.begin()->first), why);
  ended_.cancel();
  backoff_wait_.cancel();
}

void Client::Impl::CancelAttempt() {
  if (!connecting_) return;
  attempt_cancelled_ = true;
  attempt_.cancel();
  if (stream_ != nullptr) stream_->Close();
}

// Each operation is in one of these places; in none, once it is over.
void Client::Impl::CancelOperation(Token op) {
  CancelRequest(op);
  if (publishes_.contains(op)) session_.CancelPublish(op);
  if (subscribes_.contains(op) || unsubscribes_.contains(op)) session_.CancelRequest(op);
  if (op == connect_op_) CancelAttempt();
  if (op == serve_op_) {
    serve_cancelled_ = true;
    if (serve_tries_) CancelAttempt();
    ended_.cancel();
    backoff_wait_.cancel();
  }
  if (op == reauthenticate_op_ && reauthenticated_ != nullptr) {
    reauthenticate_op_ = 0;
    Finish(std::exchange(reauthenticated_, [](const absl::StatusOr<Done>&) {}), Cancelled());
  }
  for (SentPing& ping : pings_) {
    if (ping.op == op) Finish(std::exchange(ping.done, nullptr), Cancelled());
  }
  if (disconnects_.contains(op)) {
    Close(absl::CancelledError("the client disconnected"));
    End<Done>(disconnects_, op, Cancelled());
  }
  Settle();
}

Statistics Client::Impl::statistics() const {
  Statistics statistics = counted_;
  statistics.session = session_.statistics();
  statistics.in_flight = session_.in_flight();
  statistics.queued = session_.queued();
  statistics.queued_bytes = session_.queued_bytes();
  statistics.state = state_;
  statistics.requests = requested_.size();
  return statistics;
}

// ---- Events ----------------------------------------------------------------------------------

// After anything was asked of the session: tells the application, then writes. The order matters:
// a message is the application's before its acknowledgement leaves.
void Client::Impl::Settle() {
  RunEvents();
  if (!session_.store_status().ok() && stream_ != nullptr && !settling_ && !connecting_) {
    return ConnectionEnded(std::shared_ptr<Stream>(stream_), session_.store_status());
  }
  if (stream_ == nullptr || writing_ || settling_ || !session_.HasOutput()) return;
  writing_ = true;
  Spawn(WriteLoop(stream_), stream_);
}

void Client::Impl::Spawn(asio::awaitable<void> loop, const std::shared_ptr<Stream>& stream) {
  asio::co_spawn(strand_, std::move(loop),
                 [self = shared_from_this(), stream](const std::exception_ptr& thrown) {
                   if (thrown == nullptr) return;
                   self->ConnectionEnded(stream, Thrown(thrown));
                   Rethrow(self->strand_, thrown);
                 });
}

// A handler may use the client: what that brings is run here too, not inside it.
void Client::Impl::RunEvents() {
  if (settling_ || (untold_.empty() && !session_.HasEvents())) return;
  if (asking_ > 0) {
    if (std::exchange(settle_posted_, true)) return;
    asio::post(strand_, [self = shared_from_this()] {
      self->settle_posted_ = false;
      self->Settle();
    });
    return;
  }
  const absl::Cleanup settled = [this] { settling_ = false; };
  settling_ = true;
  const HandlerGate::Passage passage(handlers_);
  while (!untold_.empty() || session_.HasEvents()) {
    while (!untold_.empty()) {
      const Waiting change = std::move(untold_.front());
      untold_.pop_front();
      const StateHandler handler = on_state_;  // It may set another one.
      if (handler != nullptr) Call([&] { handler(change.state, change.why); });
    }
    for (Event& event : session_.TakeEvents()) {
      std::visit([this](auto& one) { On(one); }, event);
    }
  }
}

void Client::Impl::On(PublishDone& event) {
  if (!event.status.ok()) return End<PublishResult>(publishes_, event.token, event.status);
  End<PublishResult>(publishes_, event.token, std::move(event.result));
}

void Client::Impl::On(StoredDone& event) {
  if (options_.on_stored_done == nullptr) return;
  const auto result = event.status.ok() ? absl::StatusOr<PublishResult>(std::move(event.result))
                                        : absl::StatusOr<PublishResult>(event.status);
  Call([&] { options_.on_stored_done(event.message, result); });
}

void Client::Impl::On(SubscribeDone& event) {
  if (!event.status.ok()) return End<SubscribeResult>(subscribes_, event.token, event.status);
  End<SubscribeResult>(subscribes_, event.token, std::move(event.result));
}

void Client::Impl::On(UnsubscribeDone& event) {
  if (!event.status.ok()) return End<UnsubscribeResult>(unsubscribes_, event.token, event.status);
  End<UnsubscribeResult>(unsubscribes_, event.token, std::move(event.result));
}

void Client::Impl::On(Connected& event) {
  connected_ = std::move(event.result);
  response_information_ = connected_->response_information;
  SetId();
  if (connected_->ok()) {
    authentication_.Update(FinishAuthentication(connected_->authentication_data));
  }
}

void Client::Impl::On(Arrived& event) {
  if (!response_topic_.empty() && TakeResponse(event.message)) return;
  dispatcher_.Dispatch(
      event.message, [&](const MessageHandler& handler) { Call([&] { handler(event.message); }); });
}

void Client::Impl::On(Pong&) {
  if (pings_.empty()) return;
  SentPing ping = std::move(pings_.front());
  pings_.pop_front();
  keep_alive_.cancel();  // It waits for this answer, and from now on for the next PINGREQ.
  counted_.last_round_trip = absl::FromChrono(steady_clock::now() - ping.since);
  Finish(std::move(ping.done), counted_.last_round_trip);
}

void Client::Impl::On(Disconnected& event) {
  farewell_ = std::move(event.disconnect);
  if (!farewell_->server_reference.empty() && !endpoints_.empty()) {
    if (auto other = FollowReference(endpoints_[next_endpoint_], farewell_->server_reference);
        other.ok()) {
      reference_ = *std::move(other);
    }
  }
}

void Client::Impl::SetState(State state, const absl::Status& why) {
  if (state_ == state) return;
  state_ = state;
  untold_.push_back({state, why});
  RunEvents();
}

void Client::Impl::SetId() {
  base::MutexLock lock(id_mutex_);
  id_ = session_.client_id();
}

// ---- The outside -----------------------------------------------------------------------------

Client::Client(asio::any_io_executor executor, Options options)
    : impl_(std::make_shared<Impl>(std::move(executor), std::move(options))) {}

Client::~Client() {
  impl_->handlers().Close(impl_->strand().running_in_this_thread());
  asio::post(impl_->strand(),
             [impl = impl_] { impl->Close(absl::CancelledError("the client was closed")); });
}

Client::Asking::Asking(Impl& impl) : impl_(impl) { ++impl_.asking_; }
Client::Asking::~Asking() { --impl_.asking_; }

asio::any_io_executor Client::ExecutorOf(const Impl& impl) { return impl.strand(); }

bool Client::RunsHere(const Impl& impl) { return impl.strand().running_in_this_thread(); }

Token Client::NewOperation(Impl& impl) { return impl.NewToken(); }

void Client::Cancel(Impl& impl, Token op) { impl.CancelOperation(op); }

void Client::Run(std::shared_ptr<Impl> impl, absl::AnyInvocable<void(Impl&)> work) {
  const auto& strand = impl->strand();
  asio::dispatch(strand, [impl = std::move(impl), work = std::move(work)]() mutable {
    const Asking asking(*impl);
    work(*impl);
  });
}

void Client::OnMessage(std::string filter, MessageHandler handler) {
  Run(impl_, [filter = std::move(filter), handler = std::move(handler)](Impl& impl) mutable {
    impl.dispatcher().Set(std::move(filter), std::move(handler));
  });
}

void Client::OnMessage(MessageHandler handler) {
  Run(impl_, [handler = std::move(handler)](Impl& impl) mutable {
    impl.dispatcher().SetDefault(std::move(handler));
  });
}

void Client::OnState(StateHandler handler) {
  Run(impl_, [handler = std::move(handler)](Impl& impl) mutable {
    impl.SetStateHandler(std::move(handler));
  });
}

void Client::Acknowledge(ReceivedMessage message) {
  Run(impl_, [message = std::move(message)](Impl& impl) { impl.Acknowledge(message); });
}

void Client::Close() {
  Run(impl_, [](Impl& impl) { impl.Close(absl::CancelledError("the client was closed")); });
}

std::string Client::id() const { return impl_->id(); }

void Client::StartConnect(Impl& impl, Token op, Completion<ConnectResult> done) {
  impl.Connect(op, std::move(done));
}
void Client::StartServe(Impl& impl, Token op, Completion<Done> done) {
  impl.Serve(op, std::move(done));
}
void Client::StartConnectAndSubscribe(Impl& impl, Token op, std::vector<Subscription> subscriptions,
                                      Completion<SubscribeResult> done) {
  impl.Connect(op,
               [&impl, keep = impl.shared_from_this(), op, subscriptions = std::move(subscriptions),
                done = std::move(done)](absl::StatusOr<ConnectResult> result) mutable {
                 if (result.ok() && !result->ok()) result = Refused(*result);
                 if (!result.ok()) return done(result.status());
                 impl.Subscribe(op, {std::move(subscriptions), {}}, std::move(done));
               });
}
void Client::StartReauthenticate(Impl& impl, Token op, Completion<Done> done) {
  impl.Reauthenticate(op, std::move(done));
}
void Client::StartPublish(Impl& impl, Token op, Message message, Completion<PublishResult> done) {
  impl.Publish(op, std::move(message), std::move(done));
}
void Client::StartSubscribe(Impl& impl, Token op, SubscribePacket packet,
                            Completion<SubscribeResult> done) {
  impl.Subscribe(op, std::move(packet), std::move(done));
}
void Client::StartUnsubscribe(Impl& impl, Token op, UnsubscribePacket packet,
                              Completion<UnsubscribeResult> done) {
  impl.Unsubscribe(op, std::move(packet), std::move(done));
}
void Client::StartRoundTrip(Impl& impl, Token op, Packet packet, Completion<Answer> done) {
  impl.RoundTrip(op, std::move(packet), std::move(done));
}
void Client::StartRequest(Impl& impl, Token op, Message request, absl::Duration timeout,
                          Completion<ReceivedMessage> done) {
  impl.Request(op, std::move(request), timeout, std::move(done));
}
void Client::StartPing(Impl& impl, Token op, Completion<absl::Duration> done) {
  impl.Ping(op, std::move(done));
}
void Client::StartDisconnect(Impl& impl, Token op, const DisconnectOptions& options,
                             Completion<Done> done) {
  impl.Disconnect(op, options, std::move(done));
}
void Client::StartStatistics(Impl& impl, Token, Completion<Statistics> done) {
  impl.Finish(std::move(done), impl.statistics());
}

}  // namespace mqttd::client
