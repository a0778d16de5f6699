#include "broker/shard/hook_flow.h"

#include <utility>

#include "base/check.h"
#include "broker/shard/changed_message.h"
#include "broker/shard/refusals.h"
#include "mqtt/decode.h"

namespace broker {

using mqtt::ReasonCode;

HookFlow::HookFlow(ShardContext& context, ConnectFlow& connecting, PublishFlow& publishing,
                   SubscribeFlow& subscribing, const HookTerms& terms)
    : context_(context),
      connecting_(connecting),
      publishing_(publishing),
      subscribing_(subscribing),
      terms_(terms),
      idle_ticks_(terms.state == nullptr ? 0 : terms.idle_s * ShardContext::kTicksPerSecond) {
  if (terms.publish != nullptr) {
    publishing.ask_hook = [this](Connection& connection, const mqtt::Publish& packet,
                                 std::string_view topic, PublishRight right) {
      OnPublish(connection, packet, topic, right);
    };
    connecting.ask_will_hook = [this](Connection& connection, const mqtt::MessagePtr& will) {
      OnWill(connection, will);
    };
  }
  if (terms.subscribe != nullptr) {
    subscribing.ask_subscribe_hook = [this](Connection& connection, uint8_t flags, mqtt::Bytes body,
                                            const mqtt::Subscribe& packet) {
      OnSubscribe(connection, flags, body, packet);
    };
  }
  if (terms.unsubscribe != nullptr) {
    subscribing.ask_unsubscribe_hook = [this](Connection& connection, uint8_t flags,
                                              mqtt::Bytes body, const mqtt::Unsubscribe& packet) {
      OnUnsubscribe(connection, flags, body, packet);
    };
  }
}

bool HookFlow::Concerns(const Connection& connection) const { return !connection.listener.inside; }

void HookFlow::OnAccepted(const Connection& connection) {
  if (terms_.state != nullptr && Concerns(connection))
    terms_.state->OnState(connection, ConnectionState::kNew);
}

void HookFlow::OnConnected(Connection& connection, bool session_present) {
  if (!Concerns(connection)) return;
  if (terms_.state != nullptr) terms_.state->OnState(connection, ConnectionState::kActive);
  if (terms_.connected == nullptr) return;
  auto answer = terms_.connected->OnConnected(connection, session_present);
  HeldConnect held;
  if (!answer.has_value()) return Wait(connection, held);
  GoOn(connection, held, *answer);
}

void HookFlow::OnPublish(Connection& connection, const mqtt::Publish& packet,
                         std::string_view topic, PublishRight right) {
  HeldPublish held;
  held.packet.qos = packet.qos;
  held.packet.retain = packet.retain;
  held.packet.packet_id = packet.packet_id;
  held.right = right;
  std::string scratch;
  held.message = mqtt::MakeMessage(packet, topic, connection.session->client_id,
                                   context_.now_unix_ms, scratch);
  HookAnswer answer;
  if (Concerns(connection)) {
    auto decided = terms_.publish->OnPublish(connection, held.message);
    if (!decided.has_value()) return Wait(connection, std::move(held));
    answer = *std::move(decided);
  }
  GoOn(connection, held, answer);
}

void HookFlow::OnWill(Connection& connection, const mqtt::MessagePtr& will) {
  HookAnswer answer;
  HeldWill held;
  if (Concerns(connection)) {
    auto decided = terms_.publish->OnWill(connection, will);
    if (!decided.has_value()) return Wait(connection, held);
    answer = *std::move(decided);
  }
  GoOn(connection, held, answer);
}

void HookFlow::OnSubscribe(Connection& connection, uint8_t flags, mqtt::Bytes body,
                           const mqtt::Subscribe& packet) {
  if (!Concerns(connection)) return subscribing_.Subscribe(connection, packet, {});
  auto answer = terms_.subscribe->OnSubscribe(connection, packet);
  if (!answer.has_value())
    return Wait(connection, HeldRequest{true, flags, std::string(mqtt::AsText(body))});
  if (answer->kind == HookAnswer::Kind::kClose) return End(connection, answer->reason);
  subscribing_.Subscribe(connection, packet, answer->reasons);
}

void HookFlow::OnUnsubscribe(Connection& connection, uint8_t flags, mqtt::Bytes body,
                             const mqtt::Unsubscribe& packet) {
  if (!Concerns(connection)) return subscribing_.Unsubscribe(connection, packet);
  auto answer = terms_.unsubscribe->OnUnsubscribe(connection, packet);
  if (!answer.has_value())
    return Wait(connection, HeldRequest{false, flags, std::string(mqtt::AsText(body))});
  if (answer->kind == HookAnswer::Kind::kClose) return End(connection, answer->reason);
  subscribing_.Unsubscribe(connection, packet);
}

bool HookFlow::MayHave(const Session& session, const mqtt::MessageParts& message) {
  if (!Concerns(session.connection)) return true;
  switch (terms_.deliver->OnDeliver(session, message)) {
    case Hooks::Delivery::kDeliver:
      return true;
    case Hooks::Delivery::kDrop:
      return false;
    case Hooks::Delivery::kClose:  // While a match is being walked.
      context_.CloseLater(session.connection, {.cause = CloseCause::kHook,
                                               .say = ReasonCode::kImplementationSpecificError});
      return false;
  }
  return true;
}

void HookFlow::Wait(Connection& connection, Held held) {
  const uint64_t number = connection.ref.connection;
  context_.Pause(connection, kPauseDeciding);
  const auto [place, first] = waiting_.try_emplace(number);
  CHECK(first) << "a client waits with one packet";
  place->second = {
      std::move(held),
      deadlines_.insert(deadlines_.end(), {number, context_.InTicks(terms_.timeout_s)})};
}

void HookFlow::OnAnswered(uint64_t number, HookAnswer answer) {
  const auto found = waiting_.find(number);
  if (found == waiting_.end()) return;  // It went, or took too long.
  Waiting waiting = std::move(found->second);
  waiting_.erase(found);
  deadlines_.erase(waiting.deadline);
  Connection* const connection = context_.Find(number);
  if (connection == nullptr) return;
  // CONNACK ends what a connection waits for, whoever has decided last.
  const bool connecting = std::holds_alternative<HeldWill>(waiting.held);
  if (!connecting && connection->session == nullptr) return;
  std::visit([&](auto& held) { GoOn(*connection, held, answer); }, waiting.held);
  if (!connecting) context_.Resume(*connection, kPauseDeciding);
}

void HookFlow::GoOn(Connection& connection, HeldConnect&, HookAnswer& answer) {
  if (answer.kind != HookAnswer::Kind::kGoOn) End(connection, answer.reason);
}

void HookFlow::GoOn(Connection& connection, HeldWill&, HookAnswer& answer) {
  connecting_.OnWillDecided(connection, std::move(answer));
}

void HookFlow::GoOn(Connection& connection, HeldPublish& held, HookAnswer& answer) {
  switch (answer.kind) {
    case HookAnswer::Kind::kClose:
      return End(connection, answer.reason);
    case HookAnswer::Kind::kRefuse:
      // PUBREC has the same ones.
      return Refuse(connection, held,
                    mqtt::IsAllowed(answer.reason, mqtt::PacketType::kPubAck)
                        ? answer.reason
                        : ReasonCode::kNotAuthorized,
                    "the hook of the embedding program refuses it");
    case HookAnswer::Kind::kGoOn:
      break;
  }
  if (answer.message) {
    // What it has become is looked at as what the client sent was.
    const Session& session = *connection.session;
    const mqtt::MessageParts parts = answer.message->parts();
    held.right = RightToPublish(*session.permissions, session.client_id.view(), parts.topic);
    held.packet.retain = parts.retain;
    held.message = std::move(answer.message);
    if (const auto fault = FaultOf(parts, session.limits, held.right)) {
      return Refuse(connection, held, fault->reason, fault->why);
    }
  }
  publishing_.RouteDecided(connection, held.packet, std::move(held.message), held.right);
}

void HookFlow::Refuse(Connection& connection, const HeldPublish& held, ReasonCode reason,
                      std::string_view why) {
  context_.metrics.dropped[DropCause::kHook].Add();
  LogRefused(connection, "publish refused", why, "topic", held.message->topic());
  publishing_.Refuse(*connection.session, held.packet, reason);
}

void HookFlow::GoOn(Connection& connection, HeldRequest& held, HookAnswer& answer) {
  if (answer.kind == HookAnswer::Kind::kClose) return End(connection, answer.reason);
  const mqtt::Bytes body = mqtt::AsBytes(held.body);
  // It was decoded before, so nothing is wrong with it.
  if (held.subscribes) {
    mqtt::Subscribe packet;
    static_cast<void>(mqtt::DecodeSubscribe(held.flags, body, connection.version, packet));
    return subscribing_.Subscribe(connection, packet, answer.reasons);
  }
  mqtt::Unsubscribe packet;
  static_cast<void>(mqtt::DecodeUnsubscribe(held.flags, body, connection.version, packet));
  subscribing_.Unsubscribe(connection, packet);
}

void HookFlow::End(Connection& connection, ReasonCode reason) {
  context_.Close(connection, {.cause = CloseCause::kHook, .say = reason});
}

void HookFlow::OnIdle(Connection& connection) {
  connection.idle = true;
  if (Concerns(connection)) terms_.state->OnState(connection, ConnectionState::kIdle);
}

void HookFlow::OnAwake(Connection& connection) {
  connection.idle = false;
  if (Concerns(connection)) terms_.state->OnState(connection, ConnectionState::kActive);
}

void HookFlow::OnEnded(const Connection& connection, CloseCause cause) {
  if (const auto found = waiting_.find(connection.ref.connection); found != waiting_.end()) {
    deadlines_.erase(found->second.deadline);
    waiting_.erase(found);
  }
  if (connection.session != nullptr && terms_.disconnected != nullptr && Concerns(connection))
    terms_.disconnected->OnDisconnected(connection, cause);
}

void HookFlow::OnGone(const Connection& connection) {
  if (!Concerns(connection)) return;
  if (terms_.state != nullptr) terms_.state->OnState(connection, ConnectionState::kClosed);
  terms_.any->OnGone(connection);
}

void HookFlow::OnTick() {
  while (!deadlines_.empty() && deadlines_.front().tick <= context_.now_tick) {
    const uint64_t number = deadlines_.front().connection;
    deadlines_.pop_front();
    waiting_.erase(number);
    Connection* const connection = context_.Find(number);
    if (connection == nullptr) continue;
    terms_.any->OnTimeout(*connection);
    if (connection->session == nullptr) {  // It waits for what is said of its will.
      connecting_.OnWillDecided(
          *connection, {.kind = HookAnswer::Kind::kClose, .reason = ReasonCode::kServerBusy});
    } else {
      End(*connection, ReasonCode::kServerBusy);
    }
  }
}

}  // namespace broker
