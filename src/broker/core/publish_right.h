// What a client may do to a topic: its access rules, and whose `$SYS` is.
#ifndef BROKER_CORE_PUBLISH_RIGHT_H_
#define BROKER_CORE_PUBLISH_RIGHT_H_

#include <cstdint>
#include <string_view>

#include "auth/core/permissions.h"

namespace broker {

enum class PublishRight : uint8_t {
  kNone,
  kClear,    // Delete a retained message, by an empty one. Nothing is delivered.
  kPublish,  // All of it; as a will too.
};

// `$SYS` and what is below it is the server's own, whatever the access rules say.
inline bool IsServersOwn(std::string_view topic) {
  constexpr std::string_view kSys = "$SYS";
  return topic.starts_with(kSys) && (topic.size() == kSys.size() || topic[kSys.size()] == '/');
}

// Where a bridge of mosquitto says that it is up ("1") or down ("0", its will), if `notifications`
// are on, as they are by default.
inline bool IsBridgeState(std::string_view topic, std::string_view client_id) {
  constexpr std::string_view kBefore = "$SYS/broker/connection/", kAfter = "/state";
  return topic.size() == kBefore.size() + client_id.size() + kAfter.size() &&
         topic.starts_with(kBefore) && topic.ends_with(kAfter) &&
         topic.substr(kBefore.size(), client_id.size()) == client_id;
}

// Of the whole of `$SYS` a client may write one topic, the state of the bridge that it is, and
// needs no access rule for that: only one that denies it takes it away. What lies elsewhere (of
// bridges that are gone) may be cleared by who may write there by the access rules.
inline PublishRight RightToPublish(const auth::Permissions& permissions, std::string_view client_id,
                                   std::string_view topic) {
  const bool may_write = permissions.MayWrite(topic);
  if (!IsServersOwn(topic)) return may_write ? PublishRight::kPublish : PublishRight::kNone;
  if (IsBridgeState(topic, client_id))
    return may_write || !permissions.Denies(topic) ? PublishRight::kPublish : PublishRight::kNone;
  return may_write ? PublishRight::kClear : PublishRight::kNone;
}

// Whether the right is enough for a message with this RETAIN flag and payload.
inline bool IsEnough(PublishRight right, bool retain, std::string_view payload) {
  return right == PublishRight::kPublish ||
         (right == PublishRight::kClear && retain && payload.empty());
}

}  // namespace broker
#endif  // BROKER_CORE_PUBLISH_RIGHT_H_
