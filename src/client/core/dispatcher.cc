#include "client/core/dispatcher.h"

#include <algorithm>
#include <utility>

#include "mqtt/topic.h"

namespace mqttd::client {

void Dispatcher::Set(std::string filter, MessageHandler handler) {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.name == filter; });
  if (handler == nullptr) {
    if (found != entries_.end()) entries_.erase(found);
    return;
  }
  if (found != entries_.end()) {
    found->handler = std::move(handler);
    return;
  }
  const auto shared = mqtt::ParseShared(filter);
  std::string matched = shared.has_value() ? std::string(shared->filter) : filter;
  entries_.push_back({std::move(filter), std::move(matched), std::move(handler)});
}

size_t Dispatcher::Dispatch(const ReceivedMessage& message,
                            absl::FunctionRef<void(const MessageHandler&)> call) const {
  std::vector<MessageHandler> matching;  // Copies: a handler may change the list.
  for (const Entry& entry : entries_) {
    if (mqtt::Matches(entry.filter, message.topic)) matching.push_back(entry.handler);
  }
  if (matching.empty() && default_ != nullptr) matching.push_back(default_);
  for (const MessageHandler& handler : matching) call(handler);
  return matching.size();
}

}  // namespace mqttd::client
