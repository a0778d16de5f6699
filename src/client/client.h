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
// it ends in is an absl::StatusOr; the library itself throws nothing.
#ifndef CLIENT_CLIENT_H_
#define CLIENT_CLIENT_H_

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/associated_cancellation_slot.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/authenticator.h"
#include "client/core/message.h"
#include "client/core/options.h"
#include "client/core/round_trip.h"
#include "client/core/store.h"
#include "client/stream.h"
#include "client/trace.h"

namespace mqttd::client {

using PublishHandler = std::function<void(absl::StatusOr<PublishResult>)>;

// Sends the answer to a request: to its Response Topic, with its Correlation Data, whatever
// `answer` says of them. May be called later, from any thread; at most once.
class Reply {
 public:
  Reply() = default;
  explicit Reply(std::function<void(Message answer, PublishHandler done)> send)
      : send_(std::move(send)) {}

  // `done`, if there is one, is told what publishing the answer ended in, on the client's executor.
  // kFailedPrecondition: the request has no Response Topic. kCancelled: the client is closed; if it
  // is destroyed, `done` is called at once.
  void operator()(Message answer, PublishHandler done = nullptr) const {
    send_(std::move(answer), std::move(done));
  }

 private:
  std::function<void(Message answer, PublishHandler done)> send_;
};
using RequestHandler = std::function<void(const ReceivedMessage& request, Reply reply)>;

// Where a client stands, for those who watch it.
enum class State : uint8_t { kDisconnected, kConnecting, kConnected, kClosed };

// How a message ended that Options::store brought from an earlier client, most often one of a
// process that died: as its AsyncPublish would have ended.
using StoredHandler =
    std::function<void(const Message& message, const absl::StatusOr<PublishResult>& result)>;

// `why`: what ended the connection, or kept it from being made; OK otherwise. A handler is told of
// each change in order, after the call that made it has returned.
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
  // The address of this machine from which TCP connections are made. Empty: the system's choice.
  std::string local_address;
  // Instead of the transports that are built in.
  Dialer dialer;
  // Extended authentication; null: none.
  std::shared_ptr<Authenticator> authenticator;
  // Where answers to `AsyncRequest` come: one topic for each client. Empty: one below the server's
  // Response Information if `SessionOptions::request_response_information` brought that, else
  // "responses/" and 16 random digits.
  std::string response_topic;
  // Keeps messages of QoS 1 and 2 beyond the process, from when they are accepted (see
  // AsyncPublish); see file_store.h. Null: they live as long as the client.
  std::shared_ptr<Store> store;
  // Called once for each message that the store held when the client was made, when it has ended.
  // Not for those that are still open when the client is closed: they stay in the store, and the
  // next client is told.
  StoredHandler on_stored_done;
  // Told of each packet, sent or received; null: costs nothing.
  Tracer trace;
  // From the name's resolution to CONNACK.
  absl::Duration connect_timeout = absl::Seconds(10);
  // PINGREQ to PINGRESP, of keep alive and of `AsyncPing`; then the connection counts as lost. Keep
  // alive sends PINGREQ when for so long nothing was sent, or nothing was received.
  absl::Duration ping_timeout = absl::Seconds(10);
  // `AsyncPing` that wait for their answer; more end with kResourceExhausted.
  size_t pings_max = 100;
  // `AsyncRequest` that wait for their response; more end with kResourceExhausted.
  size_t responses_max = 10'000;
  BackoffOptions reconnect;
  // `AsyncServe` ends when the server refuses the credentials or the identifier, instead of trying
  // for ever.
  bool give_up_when_refused = true;
};

// Counted since the client was made; the last five: as it is now.
struct Statistics {
  SessionStatistics session;
  uint64_t connections = 0;       // That stood: CONNACK with success.
  uint64_t connect_failures = 0;  // Tries that ended otherwise.
  uint64_t bytes_sent = 0;
  uint64_t bytes_received = 0;
  uint64_t responses_late = 0;     // Answers to requests that had ended.
  absl::Duration last_round_trip;  // PINGREQ to PINGRESP; 0: none yet.
  State state = State::kDisconnected;
  size_t in_flight = 0;  // QoS 1 and 2, sent and not acknowledged.
  size_t queued = 0;     // Messages that wait to be sent.
  size_t queued_bytes = 0;
  size_t requests = 0;  // That wait for their response.
};

// A client and its session, which outlives connections: what is unacknowledged when one is lost is
// sent again on the next, under its Packet Identifier.
//
// Threads: methods may be called from any; handlers and completions run on the executor, one at a
// time, completions on their own associated executor where they have one. No thread of its own;
// Asio has one where it looks up names. No handler or completion is called inside a method: what is
// over at once is told right after it.
//
// The destructor closes, and waits for a handler that runs on another thread at that moment. Once
// it has returned no handler (OnMessage, OnRequest, OnState, Options::trace) runs any more;
// completions of operations that were open do, on the executor, with kCancelled.
//
// Exceptions: one that a handler or a completion throws leaves the executor's run(), as it does
// with Asio's own operations; the client is not harmed, and run() may be called again. What a
// dialer or an authenticator throws counts as its error, kInternal.
//
// Cancellation: every operation ends with kCancelled when its cancellation slot is asked to,
// whatever the type; below is what each has done by then.
class Client {
 public:
  Client(boost::asio::any_io_executor executor, Options options);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // ---- Before or between connections.
  // Called for each message that matches `filter`, before it is acknowledged (QoS 1 and 2; unless
  // `manual_acknowledgement`). One handler for a filter, the last one set; where several filters
  // match, each handler is called, in the order in which they were set. Subscribing is a step of
  // its own. Handlers must not block: the client's work waits. An empty handler removes it.
  void OnMessage(std::string filter, MessageHandler handler);
  // For what no other handler takes.
  void OnMessage(MessageHandler handler);
  void OnState(StateHandler handler);

  // ---- Connecting.
  // One try at each server in turn until one answers. Ends with what CONNACK said, a refusal
  // included. An error says what became of the last try: kUnavailable or kDeadlineExceeded (not
  // reached), kFailedPrecondition (it broke the protocol; or there is a connection already, or one
  // is being made), kUnauthenticated (the authenticator is not content), kInvalidArgument (in
  // Options). Cancellation gives the try up; a connection that stands by then stays.
  template <typename CompletionToken>
  auto AsyncConnect(CompletionToken&& token) {
    return Initiate<ConnectResult>(token, [](Impl& impl, Token op, Completion<ConnectResult> done) {
      StartConnect(impl, op, std::move(done));
    });
  }
  // Connects, and connects again whenever the connection is lost, with waits between
  // (Options::reconnect) and the next server each time. Its ends:
  //   OK                   Close or AsyncDisconnect.
  //   kCancelled           cancelled, or the client was closed before. A connection that stands
  //                        stays; a try is given up.
  //   kInvalidArgument     something in Options, files of TLS included, cannot work.
  //   kFailedPrecondition  it serves already, or AsyncConnect is under way.
  //   others               what Store::Load said.
  // And if `give_up_when_refused`:
  //   kPermissionDenied    the server refuses us with a reason that no other try would change.
  //   kUnauthenticated     authentication failed (Options::authenticator).
  // Anything else is a failed try: a server that cannot be reached, is busy, sends us away, or
  // breaks the protocol.
  template <typename CompletionToken>
  auto AsyncServe(CompletionToken&& token) {
    return Initiate<Done>(token, [](Impl& impl, Token op, Completion<Done> done) {
      StartServe(impl, op, std::move(done));
    });
  }
  // AsyncConnect, then AsyncSubscribe; ends with the answer to that. kPermissionDenied: CONNACK
  // refused.
  template <typename CompletionToken>
  auto AsyncConnectAndSubscribe(std::vector<Subscription> subscriptions, CompletionToken&& token) {
    return Initiate<SubscribeResult>(
        token, [subscriptions = std::move(subscriptions)](
                   Impl& impl, Token op, Completion<SubscribeResult> done) mutable {
          StartConnectAndSubscribe(impl, op, std::move(subscriptions), std::move(done));
        });
  }
  // Once more through the extended authentication, on the connection that stands (§4.12.1).
  // kPermissionDenied: the server has ended the connection instead. kFailedPrecondition: there is
  // no authenticator, or the last one is still under way. kUnavailable: no connection. Cancelled:
  // the exchange goes on, and what it ends in is not told.
  template <typename CompletionToken>
  auto AsyncReauthenticate(CompletionToken&& token) {
    return Initiate<Done>(token, [](Impl& impl, Token op, Completion<Done> done) {
      StartReauthenticate(impl, op, std::move(done));
    });
  }

  // ---- What a session does. While there is no connection these wait for the next one.
  // Ends when the server has acknowledged the message: PUBACK at QoS 1, PUBCOMP at QoS 2; at QoS 0
  // when it is on its way. kResourceExhausted: too many wait already.
  // The client has accepted the message once this has run on its executor and not failed: at once
  // if it is called there. From then on a store keeps it (QoS 1 and 2), sent or not: what a process
  // that dies has not seen acknowledged, the next one publishes, in the same order; if the store
  // fails, this ends with what it said. Cancelled: what was not sent
  // yet is not sent; what is in flight may have been delivered, and is sent again, if it must be,
  // until the server acknowledges it.
  template <typename CompletionToken>
  auto AsyncPublish(Message message, CompletionToken&& token) {
    return Initiate<PublishResult>(
        token, [message = std::move(message)](Impl& impl, Token op,
                                              Completion<PublishResult> done) mutable {
          StartPublish(impl, op, std::move(message), std::move(done));
        });
  }
  // Ends with SUBACK: one Reason Code for each filter, refusals included. What is granted is
  // subscribed to again whenever the server has lost the session. kInvalidArgument: a filter that
  // no server may accept, or more than the server's Maximum Packet Size takes.
  // kResourceExhausted: `SessionOptions::requests_max` wait already. Cancelled: what was not sent
  // is not sent; what was may still be granted, but is not sent again.
  template <typename CompletionToken>
  auto AsyncSubscribe(std::vector<Subscription> subscriptions, SubscribeOptions options,
                      CompletionToken&& token) {
    return Initiate<SubscribeResult>(
        token, [packet = SubscribePacket{std::move(subscriptions), std::move(options)}](
                   Impl& impl, Token op, Completion<SubscribeResult> done) mutable {
          StartSubscribe(impl, op, std::move(packet), std::move(done));
        });
  }
  template <typename CompletionToken>
  auto AsyncSubscribe(std::vector<Subscription> subscriptions, CompletionToken&& token) {
    return AsyncSubscribe(std::move(subscriptions), {}, std::forward<CompletionToken>(token));
  }
  // Ends with UNSUBACK: in 5.0 one Reason Code for each filter. Errors and cancellation are those
  // of AsyncSubscribe. Handlers of OnMessage stay.
  template <typename CompletionToken>
  auto AsyncUnsubscribe(std::vector<std::string> filters, CompletionToken&& token) {
    return Initiate<UnsubscribeResult>(
        token, [packet = UnsubscribePacket{std::move(filters), {}}](
                   Impl& impl, Token op, Completion<UnsubscribeResult> done) mutable {
          StartUnsubscribe(impl, op, std::move(packet), std::move(done));
        });
  }
  // Sends one packet and ends with the packet that answers it. kInvalidArgument: a QoS 0 PUBLISH,
  // which nothing answers.
  template <typename CompletionToken>
  auto AsyncRoundTrip(Packet packet, CompletionToken&& token) {
    return Initiate<Answer>(
        token, [packet = std::move(packet)](Impl& impl, Token op, Completion<Answer> done) mutable {
          StartRoundTrip(impl, op, std::move(packet), std::move(done));
        });
  }
  // PINGREQ and its answer: the time between them. kUnavailable: no connection, or it was lost, as
  // it is after `ping_timeout`. kResourceExhausted: `pings_max` wait already.
  template <typename CompletionToken>
  auto AsyncPing(CompletionToken&& token) {
    return Initiate<absl::Duration>(token,
                                    [](Impl& impl, Token op, Completion<absl::Duration> done) {
                                      StartPing(impl, op, std::move(done));
                                    });
  }
  // With `SessionOptions::manual_acknowledgement`: the application is done with it.
  void Acknowledge(ReceivedMessage message);

  // ---- Request and response (§4.10), 5.0 only.
  // Publishes `request` with a Response Topic and Correlation Data of ours, and ends with the
  // message that answers it. kDeadlineExceeded: none came within `timeout`, from now. kNotFound:
  // the server says that nobody is subscribed to the request's topic. kPermissionDenied: it refuses
  // the request, or the subscription to the Response Topic. kFailedPrecondition: not 5.0.
  // kResourceExhausted: `responses_max` wait already. Cancelled: a response that comes later is
  // dropped.
  template <typename CompletionToken>
  auto AsyncRequest(Message request, absl::Duration timeout, CompletionToken&& token) {
    return Initiate<ReceivedMessage>(
        token, [request = std::move(request), timeout](Impl& impl, Token op,
                                                       Completion<ReceivedMessage> done) mutable {
          StartRequest(impl, op, std::move(request), timeout, std::move(done));
        });
  }
  // Like OnMessage, for the side that answers, and takes its place for `filter`. Answers go at the
  // request's QoS unless they say a higher one. Subscribing to `filter` is a step of its own.
  void OnRequest(std::string filter, RequestHandler handler);

  // ---- The end.
  // DISCONNECT, and closes once it is written. What waits ends with kCancelled; what is in a store
  // stays there. Cancelled: closes at once.
  template <typename CompletionToken>
  auto AsyncDisconnect(DisconnectOptions options, CompletionToken&& token) {
    return Initiate<Done>(
        token, [options = std::move(options)](Impl& impl, Token op, Completion<Done> done) {
          StartDisconnect(impl, op, options, std::move(done));
        });
  }
  template <typename CompletionToken>
  auto AsyncDisconnect(CompletionToken&& token) {
    return AsyncDisconnect({}, std::forward<CompletionToken>(token));
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
  using Completion = absl::AnyInvocable<void(absl::StatusOr<Result>)>;

  // While a method is under way, where the client's work runs: see Impl::asking_.
  class Asking {
   public:
    explicit Asking(Impl& impl);
    ~Asking();
    Asking(const Asking&) = delete;
    Asking& operator=(const Asking&) = delete;

   private:
    Impl& impl_;
  };

  static boost::asio::any_io_executor ExecutorOf(const Impl& impl);
  static bool RunsHere(const Impl& impl);
  static Token NewOperation(Impl& impl);
  static void Cancel(Impl& impl, Token op);
  // Runs `work` where the client's work runs.
  static void Run(std::shared_ptr<Impl> impl, absl::AnyInvocable<void(Impl&)> work);
  static void StartConnect(Impl& impl, Token op, Completion<ConnectResult> done);
  static void StartServe(Impl& impl, Token op, Completion<Done> done);
  static void StartConnectAndSubscribe(Impl& impl, Token op,
                                       std::vector<Subscription> subscriptions,
                                       Completion<SubscribeResult> done);
  static void StartReauthenticate(Impl& impl, Token op, Completion<Done> done);
  static void StartPublish(Impl& impl, Token op, Message message, Completion<PublishResult> done);
  static void StartSubscribe(Impl& impl, Token op, SubscribePacket packet,
                             Completion<SubscribeResult> done);
  static void StartUnsubscribe(Impl& impl, Token op, UnsubscribePacket packet,
                               Completion<UnsubscribeResult> done);
  static void StartPing(Impl& impl, Token op, Completion<absl::Duration> done);
  static void StartRoundTrip(Impl& impl, Token op, Packet packet, Completion<Answer> done);
  static void StartRequest(Impl& impl, Token op, Message request, absl::Duration timeout,
                           Completion<ReceivedMessage> done);
  static void StartDisconnect(Impl& impl, Token op, const DisconnectOptions& options,
                              Completion<Done> done);
  static void StartStatistics(Impl& impl, Token op, Completion<Statistics> done);

  // A handler without an executor of its own runs where the client does, and is called as it is.
  template <typename Handler>
  static constexpr bool kRunsAnywhere = requires {
    typename boost::asio::associated_executor<
        Handler, boost::asio::any_io_executor>::asio_associated_executor_is_unspecialised;
  };

  template <typename Result, typename Handler>
  static Completion<Result> CompletionOf(Handler handler, const Impl& impl) {
    if constexpr (kRunsAnywhere<Handler>) {
      return [handler = std::move(handler)](absl::StatusOr<Result> result) mutable {
        handler(std::move(result));
      };
    } else {
      const auto executor = boost::asio::get_associated_executor(handler, ExecutorOf(impl));
      return
          [handler = std::move(handler), executor,
           work = boost::asio::make_work_guard(executor)](absl::StatusOr<Result> result) mutable {
            // Not at once: the operation may still be in its initiation.
            boost::asio::post(executor,
                              [handler = std::move(handler), result = std::move(result)]() mutable {
                                handler(std::move(result));
                              });
          };
    }
  }

  template <typename Result, typename CompletionToken, typename Start>
  auto Initiate(CompletionToken&& token, Start start) {
    return boost::asio::async_initiate<CompletionToken, void(absl::StatusOr<Result>)>(
        [impl = impl_](auto handler, auto start_it) mutable {
          const Token op = NewOperation(*impl);
          if (auto slot = boost::asio::get_associated_cancellation_slot(handler);
              slot.is_connected()) {
            slot.assign([weak = std::weak_ptr<Impl>(impl), op](boost::asio::cancellation_type) {
              if (auto target = weak.lock()) {
                Run(std::move(target), [op](Impl& alive) { Cancel(alive, op); });
              }
            });
          }
          Completion<Result> done = CompletionOf<Result>(std::move(handler), *impl);
          if (RunsHere(*impl)) {
            const Asking asking(*impl);
            return start_it(*impl, op, std::move(done));
          }
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
