// What the partitions would make of a message, for those who ask why.
#ifndef STORAGE_LEADER_EXPLAIN_H_
#define STORAGE_LEADER_EXPLAIN_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "mqtt/types.h"
#include "storage/leader/node.h"
#include "storage/leader/session_view.h"

namespace storage {

// A message that is not published, only talked about.
struct SupposedMessage {
  std::string topic;
  mqtt::QoS qos = mqtt::QoS::kAtMostOnce;
  uint64_t bytes = 0;     // Of topic and payload, about.
  std::string publisher;  // A Client Identifier; empty: nobody's.
};

// What a stored session's subscriptions make of it.
struct StoredAnswer {
  std::string client_id;
  std::string user_name;
  std::string listener;
  bool connected = false;
  std::vector<std::string> filters;  // Those that match, shared ones included.
  bool plain = false;                // At least one of them is not shared.
  bool shared = false;               // At least one is.
  bool no_local = false;             // It is its own, and every plain one of them has No Local.
  mqtt::QoS qos = mqtt::QoS::kAtMostOnce;  // At which it would be sent.
  bool has_room = true;                    // In its queue.
  uint64_t queued_messages = 0;
  uint64_t queued_bytes = 0;
};

// All on the host's thread. Nothing: there is no stored session.
std::optional<StoredAnswer> ExplainStored(const Node& node, std::string_view client_id,
                                          const SupposedMessage& message);

// Of sessions with at least one subscription that matches, in partitions that are led here, a few
// hundred looked at a time.
struct StoredAnswers {
  std::vector<StoredAnswer> answers;
  std::optional<SessionPlace> next;  // Absent: that was all.
};
StoredAnswers ExplainAllStored(const Node& node, const SessionPlace& from,
                               const SupposedMessage& message, size_t answers_max);

}  // namespace storage

#endif  // STORAGE_LEADER_EXPLAIN_H_
