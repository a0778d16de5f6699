// The client's inside: one object on one strand, for client.cc and connection.cc.
#ifndef CLIENT_CLIENT_IMPL_H_
#define CLIENT_CLIENT_IMPL_H_

#include <atomic>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/mutex.h"
#include "client/client.h"

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

// All of it runs on one strand. Lives until the last coroutine that works for it has ended.
class Client::Impl : public std::enable_shared_from_this<Client::Impl> {
 public:
  Impl(asio::any_io_executor executor, Options options)
      : strand_(asio::make_strand(std::move(executor))),
        options_(std::move(options)),
        session_(options_.session, options_.store.get()),
        backoff_(options_.reconnect, base::Rng::FromEntropy()),
        ended_(strand_),
        written_(strand_),
        keep_alive_(strand_) {
    load_status_ = session_.Load();
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
      load_status_.Update(session_.Subscribe(0, options_.subscriptions, 0));
    }
    SetId();
  }

  // ---- Operations, on the strand.
  void Connect(Completion<ConnectResult> done);
  void Serve(Completion<Done> done);
  void Publish(Token op, Message message, Completion<PublishResult> done);
  void Subscribe(Token op, std::vector<Subscription> subscriptions, uint32_t identifier,
                 Completion<SubscribeResult> done);
  void Unsubscribe(Token op, std::vector<std::string> filters, Completion<UnsubscribeResult> done);
  void Ping(Completion<absl::Duration> done);
  void Acknowledge(const ReceivedMessage& message);
  void Disconnect(mqtt::ReasonCode reason, Completion<Done> done);
  void Close(const absl::Status& why);
  void CancelOperation(Token op);
  Statistics statistics() const;

  Dispatcher& dispatcher() { return dispatcher_; }
  void SetStateHandler(StateHandler handler) { on_state_ = std::move(handler); }
  const asio::strand<asio::any_io_executor>& strand() const { return strand_; }
  Token NewToken() { return ++last_token_; }
  std::string id() const {
    base::MutexLock lock(id_mutex_);
    return id_;
  }

 private:
  static constexpr size_t kReadBytes = size_t{64} << 10;

  asio::awaitable<absl::StatusOr<ConnectResult>> ConnectOnce();
  asio::awaitable<absl::StatusOr<ConnectResult>> Establish(Endpoint endpoint);
  asio::awaitable<absl::StatusOr<std::unique_ptr<Stream>>> DialServer(const Endpoint& endpoint) {
    if (options_.dialer != nullptr) return options_.dialer(endpoint);
    return Dial(endpoint, options_.tls);
  }
  asio::awaitable<absl::Status> Handshake();
  asio::awaitable<absl::Status> ServeLoop();
  asio::awaitable<void> ReadLoop(std::shared_ptr<Stream> stream);
  asio::awaitable<void> WriteLoop(std::shared_ptr<Stream> stream);
  asio::awaitable<void> KeepAliveLoop(std::shared_ptr<Stream> stream);
  asio::awaitable<absl::Status> ReadSome(Stream& stream);
  absl::Status TakeFrames();
  void ConnectionEnded(const std::shared_ptr<Stream>& stream, const absl::Status& why);
  void Settle();
  void RunEvents();
  void On(PublishDone& event);
  void On(SubscribeDone& event);
  void On(UnsubscribeDone& event);
  void On(Connected& event);
  void On(Arrived& event);
  void On(Pong& event);
  void On(AuthWanted& event);
  void On(Disconnected& event);
  void SetState(State state, const absl::Status& why = absl::OkStatus());
  void SetId();
  template <typename Result>
  static void End(absl::flat_hash_map<Token, Completion<Result>>& waiting, Token token,
                  absl::StatusOr<Result> result);

  asio::strand<asio::any_io_executor> strand_;
  const Options options_;
  Session session_;
  Dispatcher dispatcher_;
  Backoff backoff_;
  absl::Status load_status_;
  std::vector<Endpoint> endpoints_;
  size_t next_endpoint_ = 0;
  std::optional<Endpoint> reference_;  // A Server Reference to be followed once.
  StateHandler on_state_;

  State state_ = State::kDisconnected;
  bool connecting_ = false;
  bool settling_ = false;
  bool writing_ = false;
  std::shared_ptr<Stream> stream_;
  std::optional<ConnectResult> connected_;  // What CONNACK said, of the connection being made.
  std::optional<ServerDisconnect> farewell_;
  asio::steady_timer ended_;    // Never expires: cancelled when the connection ends.
  asio::steady_timer written_;  // Likewise, when everything is written.
  asio::steady_timer keep_alive_;
  steady_clock::time_point last_sent_;
  std::optional<steady_clock::time_point> ping_sent_;
  std::string write_buffer_;
  std::vector<uint8_t> read_buffer_ = std::vector<uint8_t>(kReadBytes);
  size_t read_bytes_ = 0;  // Of an incomplete frame, at the buffer's start.

  std::atomic<Token> last_token_{0};
  absl::flat_hash_map<Token, Completion<PublishResult>> publishes_;
  absl::flat_hash_map<Token, Completion<SubscribeResult>> subscribes_;
  absl::flat_hash_map<Token, Completion<UnsubscribeResult>> unsubscribes_;
  std::vector<std::pair<steady_clock::time_point, Completion<absl::Duration>>> pings_;
  Statistics counted_;
  mutable base::Mutex id_mutex_;
  std::string id_ ABSL_GUARDED_BY(id_mutex_);
};

}  // namespace mqttd::client

#endif  // CLIENT_CLIENT_IMPL_H_
