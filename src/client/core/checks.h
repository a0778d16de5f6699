// Whether what the application asks for can be said in MQTT at all: a client that wrote it down as
// it is would break a rule, and be cut off for it.
#ifndef CLIENT_CORE_CHECKS_H_
#define CLIENT_CORE_CHECKS_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "client/core/message.h"
#include "client/core/options.h"
#include "mqtt/types.h"

namespace mqttd::client {

// Each says kInvalidArgument, with what is wrong. What 3.1.1 does not send is not looked at there.

// What CONNECT is made of.
absl::Status CheckOptions(const SessionOptions& options);
absl::Status CheckMessage(const Message& message, mqtt::Version version);
absl::Status CheckSubscribe(const std::vector<Subscription>& subscriptions,
                            const SubscribeOptions& options, mqtt::Version version);
absl::Status CheckUnsubscribe(const std::vector<std::string>& filters,
                              const std::vector<UserProperty>& user_properties,
                              mqtt::Version version);
// `expires`: the Session Expiry Interval of CONNECT was not 0.
absl::Status CheckDisconnect(const DisconnectOptions& options, bool expires, mqtt::Version version);

}  // namespace mqttd::client

#endif  // CLIENT_CORE_CHECKS_H_
