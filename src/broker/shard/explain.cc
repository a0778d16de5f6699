#include "broker/shard/explain.h"

#include <algorithm>
#include <utility>

#include "broker/core/publish_right.h"
#include "broker/shard/client_view.h"
#include "broker/shard/deliverer.h"
#include "mqtt/encode_publish.h"
#include "mqtt/topic.h"

namespace broker {
namespace {

const Session* SessionOf(const ShardCore& shard, uint64_t number) {
  const Connection* const connection = shard.Find(number);
  const bool is = connection != nullptr && connection->phase == Phase::kConnected &&
                  connection->session != nullptr;
  return is ? connection->session.get() : nullptr;
}

// As Deliverer writes it, without a Topic Alias.
uint64_t PacketBytes(const Session& session, const SupposedMessage& message,
                     const ConnectedAnswer& answer, const std::vector<uint32_t>& ids) {
  mqtt::PublishHead head;
  head.version = session.version;
  head.qos = answer.qos;
  head.topic = message.topic;
  if (session.version == mqtt::Version::k5) {
    head.subscription_ids = ids;
    if (message.expires) head.message_expiry_interval = 0;
  }
  // Of an empty payload, and then of this one: Remaining Length has seven bits in each of its
  // bytes.
  const uint64_t remaining = mqtt::MeasurePublish(head).remaining_length + message.payload_bytes;
  uint64_t length_bytes = 1;
  for (uint64_t rest = remaining >> 7; rest != 0; rest >>= 7) ++length_bytes;
  return 1 + length_bytes + remaining;
}

ConnectedAnswer AnswerOf(ShardCore& shard, const Session& session, const SupposedMessage& message) {
  ConnectedAnswer answer;
  answer.client_id = session.client_id.view();
  answer.durable = session.durable;
  const bool own = !message.publisher.empty() && message.publisher == session.client_id.view();
  bool counts = false;
  std::vector<uint32_t> ids;
  session.subscriptions.ForEach([&](std::string_view filter) {
    const auto shared = mqtt::ParseShared(filter);
    if (!mqtt::Matches(shared ? shared->filter : filter, message.topic)) return;
    answer.filters.emplace_back(filter);
    (shared ? answer.shared : answer.plain) = true;
    const storage::SubscriptionRecord record = SubscriptionOf(shard, session, filter);
    if (!shared && own && record.options.no_local) return;
    counts = counts || !shared;
    answer.qos = std::max(answer.qos, mqtt::Min(message.qos, record.options.qos));
    if (record.subscription_id != 0) ids.push_back(record.subscription_id);
  });
  std::sort(answer.filters.begin(), answer.filters.end());
  answer.no_local = answer.plain && !counts;
  answer.may_read = session.permissions->MayRead(message.topic);
  answer.packet_bytes = PacketBytes(session, message, answer, ids);
  answer.packet_bytes_max = session.packet_size_max;
  answer.output_bytes = session.connection.output.bytes();
  answer.queued_messages = session.outbound.queued_messages();
  answer.output_full = !HasRoom(shard, session, mqtt::QoS::kAtMostOnce);
  answer.waits = !session.outbound.queue_empty() || !session.outbound.has_room();
  answer.queue_full = !HasRoom(shard, session, mqtt::QoS::kAtLeastOnce);
  return answer;
}

}  // namespace

std::optional<ConnectedAnswer> ExplainConnected(ShardCore& shard, uint64_t connection,
                                                const SupposedMessage& message) {
  const Session* const session = SessionOf(shard, connection);
  if (session == nullptr) return std::nullopt;
  return AnswerOf(shard, *session, message);
}

ConnectedAnswers ExplainAllConnected(ShardCore& shard, uint64_t after,
                                     const SupposedMessage& message, size_t answers_max) {
  constexpr size_t kSubscriptionsAtOnce = 4096;
  ConnectedAnswers found;
  found.next = after;
  size_t visited = 0;
  const std::vector<uint64_t> numbers = NextConnections(shard, after, kClientsLookedMax);
  found.end = numbers.size() < kClientsLookedMax;
  for (const uint64_t number : numbers) {
    if (visited >= kSubscriptionsAtOnce || found.answers.size() == answers_max) {
      found.end = false;
      break;
    }
    found.next = number;
    const Session* const session = SessionOf(shard, number);
    if (session == nullptr || session->durable || session->connection.listener.inside) continue;
    visited += session->subscriptions.size();
    ConnectedAnswer answer = AnswerOf(shard, *session, message);
    if (!answer.filters.empty()) found.answers.push_back(std::move(answer));
  }
  return found;
}

bool MayPublishHere(const ShardCore& shard, uint64_t connection, const SupposedMessage& message) {
  const Session* const session = SessionOf(shard, connection);
  if (session == nullptr) return true;
  return IsEnough(RightToPublish(*session->permissions, session->client_id.view(), message.topic),
                  message.retain,
                  message.payload_bytes == 0 ? std::string_view() : std::string_view("x"));
}

}  // namespace broker
