// Which of the application's handlers a message is for.
#ifndef CLIENT_CORE_DISPATCHER_H_
#define CLIENT_CORE_DISPATCHER_H_

#include <functional>
#include <string>
#include <vector>

#include "absl/functional/function_ref.h"
#include "client/core/message.h"

namespace mqttd::client {

// Handlers by Topic Filter, called in the order in which they were set. A message that matches none
// goes to the default handler. Belongs to one thread.
class Dispatcher {
 public:
  // Replaces the handler of that very filter. For "$share/group/filter" it is the filter behind the
  // group that messages are matched against. An empty handler removes it.
  void Set(std::string filter, MessageHandler handler);
  void SetDefault(MessageHandler handler) { default_ = std::move(handler); }
  // Has `call` called with each handler that is to take the message; their number. A handler may
  // set or remove handlers.
  size_t Dispatch(const ReceivedMessage& message,
                  absl::FunctionRef<void(const MessageHandler&)> call) const;

 private:
  struct Entry {
    std::string name;    // As it was given.
    std::string filter;  // What it matches.
    MessageHandler handler;
  };
  std::vector<Entry> entries_;
  MessageHandler default_;
};

}  // namespace mqttd::client

#endif  // CLIENT_CORE_DISPATCHER_H_
