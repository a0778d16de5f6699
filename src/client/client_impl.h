// The client's inside: one object on one strand, for client.cc and connection.cc.
#ifndef CLIENT_CLIENT_IMPL_H_
#define CLIENT_CLIENT_IMPL_H_

#include <atomic>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"
#include "base/rng.h"
#include "client/client.h"
#include "client/core/backoff.h"
#include "client/core/checks.h"
#include "client/core/dispatcher.h"
#include "client/core/session.h"
#include "client/handler_gate.h"

namespace mqttd::client {

namespace asio = boost::asio;
using boost::system::error_code;
using std::chrono::steady_clock;

// An error of Asio's goes into `error`, instead of being thrown into the coroutine.
inline auto Into(error_code& error) { return asio::redirect_error(asio::use_awaitable, error); }

inline std::chrono::nanoseconds Chrono(absl::Duration duration) {
  return absl::ToChronoNanoseconds(duration);
}

// A CONNACK that says no, as an error.
absl::Status Refused(const ConnectResult& result);
// A DISCONNECT from the server, as an error.
absl::Status SentAway(const ServerDisconnect& disconnect);

// `from` + `wait`, which may be for ever.
inline steady_clock::time_point After(steady_clock::time_point from, absl::Duration wait) {
  if (wait >= absl::Hours(24 * 365)) return steady_clock::time_point::max();
  return from + Chrono(wait);
}

// What a dialer, an authenticator or a store of the application threw.
absl::Status Thrown(const std::exception_ptr& thrown);

// Has it leave the executor's run(), as an exception of a handler of Asio's does.
inline void Rethrow(const asio::strand<asio::any_io_executor>& strand, std::exception_ptr thrown) {
  asio::post(strand.get_inner_executor(),
             [thrown = std::move(thrown)] { std::rethrow_exception(thrown); });
}

inline Options WithMethod(Options options) {
  if (options.authenticator != nullptr) {
    options.session.authentication_method = options.authenticator->method();
  }
  return options;
}

// All of it runs on one strand. Lives until the last coroutine that works for it has ended.
class Client::Impl : public std::enable_shared_from_this<Client::Impl> {
 public:
  Impl(asio::any_io_executor executor, Options options)
      : strand_(asio::make_strand(std::move(executor))),
        options_(WithMethod(std::move(options))),
        rng_(base::Rng::FromEntropy()),
        session_(options_.session, options_.store.get()),
        backoff_(options_.reconnect, rng_.Fork()),
        attempt_(strand_),
        backoff_wait_(strand_),
        ended_(strand_, steady_clock::time_point::max()),
        written_(strand_),
        keep_alive_(strand_) {
    load_status_ = CheckOptions(options_.session);
    load_status_.Update(session_.Load());
    for (const std::string& server : options_.servers) {
      absl::StatusOr<Endpoint> endpoint = ParseEndpoint(server);
      if (!endpoint.ok()) {
        load_status_.Update(endpoint.status());
        continue;
      }
      endpoints_.push_back(*std::move(endpoint));
    }
    if (options_.servers.empty()) {
      load_status_.Update(absl::InvalidArgumentError("no server to connect to (Options::servers)"));
    }
    if (!options_.subscriptions.empty()) {
      load_status_.Update(session_.Subscribe(0, options_.subscriptions));
    }
    SetId();
  }

  // ---- Operations, on the strand.
  void Connect(Token op, Completion<ConnectResult> done);
  void Serve(Token op, Completion<Done> done);
  void Publish(Token op, Message message, Completion<PublishResult> done);
  void Subscribe(Token op, SubscribePacket packet, Completion<SubscribeResult> done);
  void Unsubscribe(Token op, UnsubscribePacket packet, Completion<UnsubscribeResult> done);
  void Ping(Token op, Completion<absl::Duration> done);
  void Reauthenticate(Token op, Completion<Done> done);
  void RoundTrip(Token op, Packet packet, Completion<Answer> done);
  void Request(Token op, Message request, absl::Duration timeout, Completion<ReceivedMessage> done);
  void Acknowledge(const ReceivedMessage& message);
  void Disconnect(Token op, const DisconnectOptions& options, Completion<Done> done);
  void Close(const absl::Status& why);
  void CancelOperation(Token op);
  Statistics statistics() const;

  Dispatcher& dispatcher() { return dispatcher_; }
  void SetStateHandler(StateHandler handler) { on_state_ = std::move(handler); }
  const asio::strand<asio::any_io_executor>& strand() const { return strand_; }
  Token NewToken() { return ++last_token_; }
  HandlerGate& handlers() { return handlers_; }
  // The end of an operation.
  template <typename Result>
  void Finish(Completion<Result>&& done, std::type_identity_t<absl::StatusOr<Result>>&& result);
  std::string id() const {
    base::MutexLock lock(id_mutex_);
    return id_;
  }

 private:
  friend class Asking;

  static constexpr size_t kReadBytes = size_t{64} << 10;

  // How many Server References are followed one after the other without a wait.
  static constexpr int kReferencesInARow = 4;

  struct SentPing {
    Token op = 0;
    steady_clock::time_point since;
    Completion<absl::Duration> done;  // Null: of keep alive, or cancelled.
  };
  struct Waiting {  // To be told to the application.
    State state;
    absl::Status why;
  };
  struct Requested {  // A request whose response has not come.
    Token op = 0;
    Completion<ReceivedMessage> done;
    std::unique_ptr<asio::steady_timer> deadline;
  };
  struct Unsent {  // A request that waits for the subscription to the Response Topic.
    std::string correlation;
    Message request;
  };

  asio::awaitable<absl::StatusOr<ConnectResult>> ConnectOnce();
  asio::awaitable<absl::StatusOr<ConnectResult>> Establish(Endpoint endpoint);
  asio::awaitable<absl::StatusOr<std::unique_ptr<Stream>>> DialServer(Endpoint endpoint);
  asio::awaitable<absl::Status> Handshake();
  asio::awaitable<absl::Status> ServeLoop();
  asio::awaitable<void> ReadLoop(std::shared_ptr<Stream> stream);
  asio::awaitable<void> WriteLoop(std::shared_ptr<Stream> stream);
  asio::awaitable<void> KeepAliveLoop(std::shared_ptr<Stream> stream);
  asio::awaitable<absl::Status> ReadSome(Stream& stream);
  absl::Status TakeFrames();
  void ConnectionEnded(const std::shared_ptr<Stream>& stream, const absl::Status& why);
  // How the coroutines above are started: one that throws ends the connection.
  void Spawn(asio::awaitable<void> loop, const std::shared_ptr<Stream>& stream);
  void CancelAttempt();
  void Settle();
  void RunEvents();
  // Calls something of the application's. What it throws leaves the executor's run().
  template <typename Function>
  void Call(Function&& function);
  void TraceFrames(mqtt::Bytes bytes, mqtt::Sender sender);
  void On(PublishDone& event);
  void On(StoredDone& event);
  void On(SubscribeDone& event);
  void On(UnsubscribeDone& event);
  void On(Connected& event);
  void On(Arrived& event);
  void On(Pong& event);
  void On(AuthWanted& event);
  void On(Disconnected& event);

  // authentication.cc
  absl::Status BeginAuthentication();
  absl::Status FinishAuthentication(std::string_view data);
  void EndReauthentication(const absl::Status& status);

  // requests.cc
  std::string NewResponseTopic();
  void SubscribeToResponses();
  void SendRequest(const std::string& correlation, Message request);
  bool TakeResponse(ReceivedMessage& message);
  void EndRequest(const std::string& correlation, absl::StatusOr<ReceivedMessage> result);
  void CancelRequest(Token op);
  void SetState(State state, const absl::Status& why = absl::OkStatus());
  void SetId();
  template <typename Result>
  void End(absl::flat_hash_map<Token, Completion<Result>>& waiting, Token token,
           absl::StatusOr<Result> result);

  asio::strand<asio::any_io_executor> strand_;
  const Options options_;
  base::Rng rng_;
  Session session_;
  Dispatcher dispatcher_;
  Backoff backoff_;
  absl::Status load_status_;
  std::vector<Endpoint> endpoints_;
  size_t next_endpoint_ = 0;
  std::optional<Endpoint> reference_;  // A Server Reference to be followed once.
  StateHandler on_state_;

  State state_ = State::kDisconnected;
  std::deque<Waiting> untold_;  // Changes of `state_` that the application has not heard of.
  bool connecting_ = false;
  bool serving_ = false;
  Token connect_op_ = 0;  // Of the AsyncConnect under way, and of AsyncServe; 0: none.
  Token serve_op_ = 0;
  bool serve_tries_ = false;        // The attempt under way is AsyncServe's.
  bool attempt_cancelled_ = false;  // The attempt under way is to be given up.
  bool serve_cancelled_ = false;
  int references_followed_ = 0;  // Without a wait.
  // A method of the client is under way on the strand: what it brings about is told when it has
  // returned, not inside it.
  int asking_ = 0;
  bool settle_posted_ = false;
  bool settling_ = false;
  bool writing_ = false;
  HandlerGate handlers_;
  std::shared_ptr<Stream> stream_;
  std::optional<ConnectResult> connected_;  // What CONNACK said, of the connection being made.
  std::optional<ServerDisconnect> farewell_;
  absl::Status authentication_;       // Why it failed, on this connection.
  Completion<Done> reauthenticated_;  // Null: none is under way.
  std::string response_information_;  // Of the last CONNACK.
  asio::steady_timer attempt_;        // The end of the try to connect that is under way.
  asio::steady_timer backoff_wait_;   // Between tries.
  asio::steady_timer ended_;          // Never expires: cancelled when the connection ends.
  asio::steady_timer written_;        // Likewise, when everything is written.
  asio::steady_timer keep_alive_;
  steady_clock::time_point last_sent_;
  steady_clock::time_point last_received_;
  std::string write_buffer_;
  std::vector<uint8_t> read_buffer_ = std::vector<uint8_t>(kReadBytes);
  size_t read_bytes_ = 0;  // Of an incomplete frame, at the buffer's start.

  std::atomic<Token> last_token_{0};
  absl::flat_hash_map<Token, Completion<PublishResult>> publishes_;
  absl::flat_hash_map<Token, Completion<SubscribeResult>> subscribes_;
  absl::flat_hash_map<Token, Completion<UnsubscribeResult>> unsubscribes_;
  absl::flat_hash_map<Token, Completion<Done>> disconnects_;
  std::deque<SentPing> pings_;  // In the order in which their answers come.
  Token reauthenticate_op_ = 0;
  std::string response_topic_;  // Empty: no request was made yet.
  bool hears_responses_ = false;
  uint64_t last_request_ = 0;
  absl::flat_hash_map<std::string, Requested> requested_;  // By their Correlation Data.
  std::vector<Unsent> unsent_;
  Statistics counted_;
  mutable base::Mutex id_mutex_;
  std::string id_ ABSL_GUARDED_BY(id_mutex_);
};

// Directly, unless a method is under way: Asio's rule is that no completion runs inside the call
// that began its operation.
template <typename Result>
void Client::Impl::Finish(Completion<Result>&& done,
                          std::type_identity_t<absl::StatusOr<Result>>&& result) {
  if (done == nullptr) return;
  if (asking_ == 0) {
    try {
      done(std::move(result));
    } catch (...) {
      Rethrow(strand_, std::current_exception());
    }
    return;
  }
  asio::post(strand_, [self = shared_from_this(), done = std::move(done),
                       result = std::move(result)]() mutable { done(std::move(result)); });
}

template <typename Result>
void Client::Impl::End(absl::flat_hash_map<Token, Completion<Result>>& waiting, Token token,
                       absl::StatusOr<Result> result) {
  const auto found = waiting.find(token);
  if (found == waiting.end()) return;
  Completion<Result> done = std::move(found->second);
  waiting.erase(found);
  Finish(std::move(done), std::move(result));
}

template <typename Function>
void Client::Impl::Call(Function&& function) {
  const HandlerGate::Passage passage(handlers_);
  if (handlers_.closed()) return;
  try {
    function();
  } catch (...) {
    Rethrow(strand_, std::current_exception());
  }
}

}  // namespace mqttd::client

#endif  // CLIENT_CLIENT_IMPL_H_
