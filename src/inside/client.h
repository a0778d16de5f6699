// The process as a client of its own broker.
#ifndef INSIDE_CLIENT_H_
#define INSIDE_CLIENT_H_

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "broker/core/stream.h"
#include "client/client.h"

namespace inside {

using Done = std::function<void(absl::Status)>;
// Of a message above QoS 0; of the others nobody can tell.
enum class Matched : uint8_t { kSomebody, kNobody };
using PublishDone = std::function<void(absl::StatusOr<Matched>)>;

// Owns a thread, on which handlers and what is done are called. No access rule concerns it. Any
// thread may call it, and let go of it: a handler that does so, on that thread, returns before the
// thread ends.
class Client {
 public:
  // `adopt` hands the broker its end of a connection; called on the thread, as long as this lives.
  explicit Client(std::function<void(std::unique_ptr<broker::Stream>)> adopt);
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void Publish(mqttd::client::Message message, PublishDone done);
  void Subscribe(mqttd::client::Subscription subscription, mqttd::client::MessageHandler handler,
                 Done done);
  void Unsubscribe(std::string filter, Done done);
  // Several filters with one handler, which gets a message once for each time that it comes.
  void Subscribe(std::vector<mqttd::client::Subscription> subscriptions,
                 mqttd::client::MessageHandler handler, Done done);
  // When all that was published before is with the broker, whatever its QoS.
  void Sync(Done done);
  // Lets go of the connection; what waits ends with kCancelled.
  void Close();

 private:
  const std::shared_ptr<boost::asio::io_context> io_;  // The thread's, too.
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::unique_ptr<mqttd::client::Client> client_;
  std::thread thread_;
};

}  // namespace inside

#endif  // INSIDE_CLIENT_H_
