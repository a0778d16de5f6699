#include "storage/core/session.h"

#include "mqttd/storage/v1/records.pb.h"

namespace storage {

const SessionSubscription* Session::FindSubscription(std::string_view filter) const {
  const auto found = subscriptions.find(filter);
  return found == subscriptions.end() ? nullptr : found->second.get();
}

ConnectionRef ReadOwner(const ::mqttd::storage::v1::Owner& record) {
  return {.node = NodeId(static_cast<uint16_t>(record.node())),
          .shard = static_cast<ShardId>(record.shard()),
          .incarnation = Incarnation(record.incarnation()),
          .connection = record.connection()};
}

void WriteOwner(const ConnectionRef& owner, ::mqttd::storage::v1::Owner& record) {
  record.set_node(owner.node.value());
  record.set_shard(owner.shard);
  record.set_incarnation(owner.incarnation.value());
  record.set_connection(owner.connection);
}

WillFate FateOfWill(const Session& session, bool clean_start, int64_t now_unix_ms) {
  if (!session.will.message || session.connected) return WillFate::kNone;
  const bool session_ended = session.ends_at_unix_ms != 0 && session.ends_at_unix_ms <= now_unix_ms;
  const bool due = session.will.due_at_unix_ms <= now_unix_ms;
  // A will is published when its delay is over or the session ends, whichever comes first
  // [MQTT5-3.1.2-8].
  return clean_start || session_ended || due ? WillFate::kFire : WillFate::kDelete;
}

}  // namespace storage
