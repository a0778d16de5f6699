// The client for programs that wait: each call returns when it is done.
#ifndef CLIENT_BLOCKING_CLIENT_H_
#define CLIENT_BLOCKING_CLIENT_H_

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "client/client.h"

namespace mqttd::client {

// Owns a Client and the one thread on which it works, and on which handlers run. The calls may come
// from any thread but that one: from a handler, use `client()`. A call that takes longer than
// `timeout` returns kDeadlineExceeded; what it asked for goes on all the same.
class BlockingClient {
 public:
  explicit BlockingClient(Options options, absl::Duration timeout = absl::Seconds(30));
  ~BlockingClient();
  BlockingClient(const BlockingClient&) = delete;
  BlockingClient& operator=(const BlockingClient&) = delete;

  absl::StatusOr<ConnectResult> Connect();
  absl::StatusOr<SubscribeResult> ConnectAndSubscribe(std::vector<Subscription> subscriptions);
  absl::Status Reauthenticate();
  absl::StatusOr<SubscribeResult> Subscribe(std::vector<Subscription> subscriptions,
                                            SubscribeOptions options = {});
  absl::StatusOr<UnsubscribeResult> Unsubscribe(std::vector<std::string> filters);
  absl::StatusOr<PublishResult> Publish(Message message);
  absl::StatusOr<Answer> RoundTrip(Packet packet);
  absl::StatusOr<absl::Duration> Ping();
  // `timeout`: of this request, instead of that of all calls.
  absl::StatusOr<ReceivedMessage> Request(Message request, absl::Duration timeout);
  absl::StatusOr<Statistics> GetStatistics();
  absl::Status Disconnect(DisconnectOptions options = {});

  Client& client() { return client_; }

 private:
  boost::asio::io_context io_;
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  const absl::Duration timeout_;
  Client client_;
  std::thread thread_;
};

}  // namespace mqttd::client

#endif  // CLIENT_BLOCKING_CLIENT_H_
