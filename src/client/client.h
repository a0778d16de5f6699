// An MQTT client on Boost.Asio: 3.1.1 and 5.0, over TCP, TLS, WebSocket, secure WebSocket and unix
// sockets.
//
//   mqttd::client::Client client(io.get_executor(), {.servers = {"mqtt://localhost"}});
//   client.OnMessage("sensor/#", [](const ReceivedMessage& m) { … });
//   co_await client.AsyncConnect(asio::use_awaitable);
//   co_await client.AsyncPublish({.topic = "t", .payload = "21.5", .qos = mqtt::QoS::kAtLeastOnce},
//                                asio::use_awaitable);
//
// Every operation takes a completion token of Asio's: a callback, use_awaitable, use_future. What
// it ends in is an absl::StatusOr; nothing throws.
#ifndef CLIENT_CLIENT_H_
#define CLIENT_CLIENT_H_

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/core/backoff.h"
#include "client/core/dispatcher.h"
#include "client/core/message.h"
#include "client/core/session.h"
#include "client/core/store.h"
#include "client/stream.h"

namespace mqttd::client {

// One step of an extended authentication (§4.12): what the server said, and our answer to it.
using Authenticator = std::function<absl::StatusOr<std::string>(std::string_view server_data)>;

// Where a client stands, for those who watch it.
enum class State : uint8_t { kDisconnected, kConnecting, kConnected, kClosed };

// `why`: what ended the connection, or kept it from being made; OK otherwise.
using StateHandler = std::function<void(State state, const absl::Status& why)>;

struct Options {
  // Tried in turn, from the first: "mqtt://host:1883", "mqtts://…", "ws://…", "wss://…",
  // "unix:PATH". At least one.
  std::vector<std::string> servers;
  // Identifier, credentials, will, limits, windows, queue bounds.
  SessionOptions session;
  // Made at the first connection, and again whenever the server has lost the session.
  std::vector<Subscription> subscriptions;
  TlsOptions tls;
  // Instead of the transports that are built in.
  Dialer dialer;
  Authenticator authenticator;
  // Keeps unacknowledged messages beyond the process; see file_store.h. Null: they live as long as
  // the client.
  std::shared_ptr<Store> store;
  // From the name's resolution to CONNACK.
  absl::Duration connect_timeout = absl::Seconds(10);
  // PINGREQ to PINGRESP; then the connection counts as lost.
  absl::Duration ping_timeout = absl::Seconds(10);
  BackoffOptions reconnect;
  // `AsyncServe` ends when the server refuses the credentials or the identifier, instead of trying
  // for ever.
  bool give_up_when_refused = true;
};

struct Statistics {
  SessionStatistics session;
  uint64_t connections = 0;  // That stood: CONNACK with success.
  uint64_t bytes_sent = 0;
  uint64_t bytes_received = 0;
  size_t in_flight = 0;
  size_t queued = 0;
};

// A client and its session, which outlives connections: what is unacknowledged when one is lost is
// sent again on the next, under its Packet Identifier.
//
// Threads: methods may be called from any; handlers and completions run on the executor, one at a
// time, completions on their own associated executor where they have one. No thread of its own. The
// destructor closes; what waits then ends with kCancelled.
class Client {
 public:
  Client(boost::asio::any_io_executor executor, Options options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // ---- Before or between connections.
  // Called for each message that matches `filter`, before it is acknowledged. Handlers must not
  // block: the client's work waits. An empty handler removes it.
  void OnMessage(std::string filter, MessageHandler handler);
  // For what no other handler takes.
  void OnMessage(MessageHandler handler);
  void OnState(StateHandler handler);

  // ---- Connecting.
  // One try at each server in turn until one answers. Ends with what CONNACK said, a refusal
  // included; an error means that none could be reached.
  template <typename CompletionToken>
  auto AsyncConnect(CompletionToken&& token) {
    return Initiate<ConnectResult>(token, [](Impl& impl, Token op, Completion<ConnectResult> done) {
      StartConnect(impl, op, std::move(done));
    });
  }
  // Connects, and connects again whenever the connection is lost, until Close or AsyncDisconnect
  // (then OK) or, if `give_up_when_refused`, until the server refuses us (kPermissionDenied).
  template <typename CompletionToken>
  auto AsyncServe(CompletionToken&& token) {
    return Initiate<Done>(token, [](Impl& impl, Token op, Completion<Done> done) {
      StartServe(impl, op, std::move(done));
    });
  }
  // AsyncConnect, then SUBSCRIBE; ends with the answer to that.
  template <typename CompletionToken>
  auto AsyncConnectAndSubscribe(std::vector<Subscription> subscriptions, CompletionToken&& token) {
    return Initiate<SubscribeResult>(
        token, [subscriptions = std::move(subscriptions)](
                   Impl& impl, Token op, Completion<SubscribeResult> done) mutable {
          StartConnectAndSubscribe(impl, op, std::move(subscriptions), std::move(done));
        });
  }

  // ---- What a session does. While there is no connection these wait for the next one.
  // Ends when the server has acknowledged the message: PUBACK at QoS 1, PUBCOMP at QoS 2; at QoS 0
  // when it is on its way. kResourceExhausted: too many wait already. Cancellation takes effect
  // until it is sent.
  template <typename CompletionToken>
  auto AsyncPublish(Message message, CompletionToken&& token) {
    return Initiate<PublishResult>(
        token, [message = std::move(message)](Impl& impl, Token op,
                                              Completion<PublishResult> done) mutable {
          StartPublish(impl, op, std::move(message), std::move(done));
        });
  }
  template <typename CompletionToken>
  auto AsyncSubscribe(std::vector<Subscription> subscriptions, uint32_t subscription_id,
                      CompletionToken&& token) {
    return Initiate<SubscribeResult>(
        token, [subscriptions = std::move(subscriptions), subscription_id](
                   Impl& impl, Token op, Completion<SubscribeResult> done) mutable {
          StartSubscribe(impl, op, std::move(subscriptions), subscription_id, std::move(done));
        });
  }
  template <typename CompletionToken>
  auto AsyncSubscribe(std::vector<Subscription> subscriptions, CompletionToken&& token) {
    return AsyncSubscribe(std::move(subscriptions), 0, std::forward<CompletionToken>(token));
  }
  template <typename CompletionToken>
  auto AsyncUnsubscribe(std::vector<std::string> filters, CompletionToken&& token) {
    return Initiate<UnsubscribeResult>(
        token, [filters = std::move(filters)](Impl& impl, Token op,
                                              Completion<UnsubscribeResult> done) mutable {
          StartUnsubscribe(impl, op, std::move(filters), std::move(done));
        });
  }
  // PINGREQ and its answer: the time between them. kUnavailable: no connection, or it was lost.
  template <typename CompletionToken>
  auto AsyncPing(CompletionToken&& token) {
    return Initiate<absl::Duration>(token,
                                    [](Impl& impl, Token op, Completion<absl::Duration> done) {
                                      StartPing(impl, op, std::move(done));
                                    });
  }
  // With `SessionOptions::manual_acknowledgement`: the application is done with it.
  void Acknowledge(ReceivedMessage message);

  // ---- The end.
  // DISCONNECT, and closes once it is written. What waits ends with kCancelled; what is in a store
  // stays there.
  template <typename CompletionToken>
  auto AsyncDisconnect(mqtt::ReasonCode reason, CompletionToken&& token) {
    return Initiate<Done>(token, [reason](Impl& impl, Token op, Completion<Done> done) {
      StartDisconnect(impl, op, reason, std::move(done));
    });
  }
  template <typename CompletionToken>
  auto AsyncDisconnect(CompletionToken&& token) {
    return AsyncDisconnect(mqtt::ReasonCode::kNormalDisconnection,
                           std::forward<CompletionToken>(token));
  }
  // Closes at once, without DISCONNECT: the server publishes the will.
  void Close();

  // The Client Identifier: ours, or what the server assigned at the first connection.
  std::string id() const;
  template <typename CompletionToken>
  auto AsyncStatistics(CompletionToken&& token) {
    return Initiate<Statistics>(token, [](Impl& impl, Token op, Completion<Statistics> done) {
      StartStatistics(impl, op, std::move(done));
    });
  }

  // Of operations that have no result but their status.
  struct Done {};

 private:
  class Impl;
  template <typename Result>
  using Completion = std::function<void(absl::StatusOr<Result>)>;

  static boost::asio::any_io_executor ExecutorOf(const Impl& impl);
  static Token NewOperation(Impl& impl);
  static void Cancel(Impl& impl, Token op);
  // Runs `work` where the client's work runs.
  static void Run(std::shared_ptr<Impl> impl, std::function<void(Impl&)> work);
  static void StartConnect(Impl& impl, Token op, Completion<ConnectResult> done);
  static void StartServe(Impl& impl, Token op, Completion<Done> done);
  static void StartConnectAndSubscribe(Impl& impl, Token op,
                                       std::vector<Subscription> subscriptions,
                                       Completion<SubscribeResult> done);
  static void StartPublish(Impl& impl, Token op, Message message, Completion<PublishResult> done);
  static void StartSubscribe(Impl& impl, Token op, std::vector<Subscription> subscriptions,
                             uint32_t subscription_id, Completion<SubscribeResult> done);
  static void StartUnsubscribe(Impl& impl, Token op, std::vector<std::string> filters,
                               Completion<UnsubscribeResult> done);
  static void StartPing(Impl& impl, Token op, Completion<absl::Duration> done);
  static void StartDisconnect(Impl& impl, Token op, mqtt::ReasonCode reason, Completion<Done> done);
  static void StartStatistics(Impl& impl, Token op, Completion<Statistics> done);

  template <typename Result, typename CompletionToken, typename Start>
  auto Initiate(CompletionToken&& token, Start start) {
    return boost::asio::async_initiate<CompletionToken, void(absl::StatusOr<Result>)>(
        [impl = impl_](auto handler, auto start_it) mutable {
          using Handler = decltype(handler);
          const auto executor = boost::asio::get_associated_executor(handler, ExecutorOf(*impl));
          const Token op = NewOperation(*impl);
          if (auto slot = boost::asio::get_associated_cancellation_slot(handler);
              slot.is_connected()) {
            slot.assign([weak = std::weak_ptr<Impl>(impl), op](boost::asio::cancellation_type) {
              if (auto target = weak.lock()) {
                Run(std::move(target), [op](Impl& alive) { Cancel(alive, op); });
              }
            });
          }
          auto held = std::make_shared<Handler>(std::move(handler));
          Completion<Result> done = [held, executor, work = boost::asio::make_work_guard(executor)](
                                        absl::StatusOr<Result> result) {
            boost::asio::dispatch(executor, [held, result = std::move(result)]() mutable {
              (*held)(std::move(result));
            });
          };
          Run(std::move(impl),
              [start_it = std::move(start_it), op, done = std::move(done)](Impl& target) mutable {
                start_it(target, op, std::move(done));
              });
        },
        token, std::move(start));
  }

  const std::shared_ptr<Impl> impl_;
};

}  // namespace mqttd::client

#endif  // CLIENT_CLIENT_H_
