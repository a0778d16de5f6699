#include "storage/leader/explain.h"

#include <algorithm>

#include "mqtt/topic.h"
#include "storage/core/partition.h"
#include "storage/core/session.h"
#include "storage/leader/leader.h"

namespace storage {
namespace {

StoredAnswer AnswerOf(const Leader& leader, const Session& session,
                      const SupposedMessage& message) {
  StoredAnswer answer;
  answer.client_id = session.client_id;
  answer.user_name = session.user_name;
  answer.listener = session.listener;
  answer.connected = session.connected;
  answer.queued_messages = session.queue.messages();
  answer.queued_bytes = session.queue.bytes();
  answer.has_room = leader.partition().HasRoom(session, 0, 0, message.bytes);
  const bool own = !message.publisher.empty() && message.publisher == session.client_id;
  bool counts = false;
  for (const auto& [filter, subscription] : session.subscriptions) {
    const auto shared = mqtt::ParseShared(filter);
    if (!mqtt::Matches(shared ? shared->filter : filter, message.topic)) continue;
    answer.filters.emplace_back(filter);
    (shared ? answer.shared : answer.plain) = true;
    const mqtt::SubscriptionOptions options = subscription->record.options;
    if (!shared && own && options.no_local) continue;
    counts = counts || !shared;
    answer.qos = std::max(answer.qos, mqtt::Min(message.qos, options.qos));
  }
  answer.no_local = answer.plain && !counts;
  return answer;
}

bool IsDurable(const Session& session) { return session.expiry_s != 0; }

}  // namespace

std::optional<StoredAnswer> ExplainStored(const Node& node, std::string_view client_id,
                                          const SupposedMessage& message) {
  const Leader& leader = node.LeaderOf(client_id);
  const Session* const session = leader.partition().Find(client_id);
  if (session == nullptr || !IsDurable(*session)) return std::nullopt;
  return AnswerOf(leader, *session, message);
}

StoredAnswers ExplainAllStored(const Node& node, const SessionPlace& from,
                               const SupposedMessage& message, size_t answers_max) {
  constexpr size_t kSubscriptionsAtOnce = 4096;
  StoredAnswers found;
  size_t looked = 0;
  size_t visited = 0;
  SessionPlace place = from;
  for (; place.partition < node.leaders.size(); ++place.partition, place.slot = 0) {
    const Leader& leader = *node.leaders[place.partition];
    if (!leader.serving()) continue;
    for (; place.slot < leader.partition().slots(); ++place.slot) {
      if (looked++ == kSessionsLookedMax || visited >= kSubscriptionsAtOnce ||
          found.answers.size() == answers_max) {
        found.next = place;
        return found;
      }
      const Session* const session = leader.partition().FindSlot(place.slot);
      if (session == nullptr || !IsDurable(*session)) continue;
      visited += session->subscriptions.size();
      StoredAnswer answer = AnswerOf(leader, *session, message);
      if (!answer.filters.empty()) found.answers.push_back(std::move(answer));
    }
  }
  return found;
}

}  // namespace storage
