// The process as a client of its own broker.
#ifndef EMBED_INSIDE_CLIENT_H_
#define EMBED_INSIDE_CLIENT_H_

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "broker/core/stream.h"
#include "client/client.h"
#include "embed/server.h"

namespace mqttd {

// Owns a thread. Any thread may call it, and let go of it: a handler that does so, on that thread,
// returns before the thread ends.
class InsideClient {
 public:
  // `adopt` hands the broker its end of a connection; called on the thread, as long as this lives.
  explicit InsideClient(std::function<void(std::unique_ptr<broker::Stream>)> adopt);
  ~InsideClient();
  InsideClient(const InsideClient&) = delete;
  InsideClient& operator=(const InsideClient&) = delete;

  void Publish(Message message, Done done);
  void Subscribe(client::Subscription subscription, MessageHandler handler, Done done);
  void Unsubscribe(std::string filter, Done done);
  // Lets go of the connection; what waits ends with kCancelled.
  void Close();

 private:
  const std::shared_ptr<boost::asio::io_context> io_;  // The thread's, too.
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
  std::unique_ptr<client::Client> client_;
  std::thread thread_;
};

}  // namespace mqttd

#endif  // EMBED_INSIDE_CLIENT_H_
