#include "client/core/session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "client/core/checks.h"
#include "mqtt/encode.h"
#include "mqtt/property.h"

namespace mqttd::client {
namespace {

using mqtt::PacketId;
using mqtt::PacketType;
using mqtt::QoS;
using mqtt::Version;

mqtt::UserProperties Views(const std::vector<UserProperty>& properties) {
  mqtt::UserProperties views;
  views.reserve(properties.size());
  for (const UserProperty& property : properties) views.push_back({property.name, property.value});
  return views;
}

// The properties that stay with a message on its way (§3.3.2.3), encoded.
void AppendProperties(const Message& message, std::string& out) {
  mqtt::MessageProperties properties;
  if (message.payload_is_utf8) properties.payload_format = uint8_t{1};
  if (!message.content_type.empty()) properties.content_type = message.content_type;
  if (!message.response_topic.empty()) properties.response_topic = message.response_topic;
  if (!message.correlation_data.empty()) properties.correlation_data = message.correlation_data;
  properties.user_properties = Views(message.user_properties);
  mqtt::AppendMessageProperties(properties, out);
}

bool HasProperties(const Message& message) {
  return message.payload_is_utf8 || !message.content_type.empty() ||
         !message.response_topic.empty() || !message.correlation_data.empty() ||
         !message.user_properties.empty();
}

}  // namespace

Session::Session(SessionOptions options, Store* store)
    : options_(std::move(options)), store_(store), keep_alive_s_(options_.keep_alive_s) {
  CHECK(options_.version != Version::kUnknown) << "the client speaks MQTT 3.1, 3.1.1 and 5.0";
}

absl::Status Session::Load() {
  if (store_ == nullptr) return absl::OkStatus();
  CHECK(in_flight_.empty() && !was_connected_) << "a store is loaded before the first connection";
  ASSIGN_OR_RETURN(Store::Contents contents, store_->Load());
  for (Store::Outbound& stored : contents.outbound) {
    last_sequence_ = std::max(last_sequence_, stored.sequence);
    if (!stored.id) {  // More than the bounds take, too: it was accepted.
      queue_bytes_ += BytesOf(stored.message);
      queue_.push_back({kFromStore, stored.sequence, true, std::move(stored.message)});
      continue;
    }
    const Stage stage = stored.released                           ? Stage::kAwaitingPubComp
                        : stored.message.qos == QoS::kExactlyOnce ? Stage::kAwaitingPubRec
                                                                  : Stage::kAwaitingPubAck;
    in_flight_[stored.id.value] = {.token = kFromStore,
                                   .sequence = stored.sequence,
                                   .stage = stage,
                                   .message = std::move(stored.message)};
  }
  for (const PacketId id : contents.inbound) inbound_.insert(id.value);
  // What the store has belongs to a session that the server is to have too.
  if (!in_flight_.empty() || !inbound_.empty()) options_.clean_start = false;
  return absl::OkStatus();
}

// ---- Requests --------------------------------------------------------------------------------

absl::Status Session::CheckRoom(const Message& message) const {
  if (queue_.size() >= options_.queue_messages_max ||
      queue_bytes_ + BytesOf(message) > options_.queue_bytes_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat("too many messages wait to be sent: ", queue_.size(), ", ", queue_bytes_,
                     " bytes; wait for publishes to end, or raise queue_messages_max or "
                     "queue_bytes_max"));
  }
  return absl::OkStatus();
}

absl::Status Session::Publish(Token token, Message message) {
  RETURN_IF_ERROR(CheckMessage(message, options_.version));
  RETURN_IF_ERROR(CheckRoom(message));
  Queued queued{token, ++last_sequence_, false, std::move(message)};
  // Nothing is before it: it need not wait in a queue.
  if (queue_.empty() && to_resend_.empty() && MaySend(queued.message.qos)) {
    ++statistics_.published;
    SendQueued(queued);
    return absl::OkStatus();
  }
  if (store_ != nullptr && queued.message.qos != QoS::kAtMostOnce) {
    RETURN_IF_ERROR(store_->PutOutbound(queued.sequence, {}, queued.message));
    queued.stored = true;
  }
  ++statistics_.published;
  queue_bytes_ += BytesOf(queued.message);
  queue_.push_back(std::move(queued));
  return absl::OkStatus();
}

bool Session::MaySend(QoS qos) const {
  return connected_ && store_status_.ok() && !last_byte_.has_value() &&
         output_.size() < options_.output_bytes_max &&
         (qos == QoS::kAtMostOnce || in_flight_.size() < window_);
}

bool Session::CancelPublish(Token token) {
  if (token == 0) return false;  // Nobody's: of those that were cancelled before.
  const auto found = std::find_if(queue_.begin(), queue_.end(),
                                  [token](const Queued& q) { return q.token == token; });
  if (found == queue_.end()) {
    const auto flight = std::find_if(in_flight_.begin(), in_flight_.end(),
                                     [token](const auto& f) { return f.second.token == token; });
    if (flight == in_flight_.end()) return false;
    flight->second.token = 0;
    FinishPublish(token, flight->second.message,
                  absl::CancelledError("cancelled while it was in flight: it may have been "
                                       "delivered"));
    return true;
  }
  if (found->stored && !Stored(store_->RemoveOutbound(found->sequence))) {
    found->token = 0;
    FinishPublish(token, found->message,
                  absl::CancelledError(
                      absl::StrCat("cancelled, but it will be sent: ", store_status_.message())));
    return true;
  }
  queue_bytes_ -= BytesOf(found->message);
  const Queued cancelled = std::move(*found);
  queue_.erase(found);
  FinishPublish(token, cancelled.message, absl::CancelledError("cancelled before it was sent"));
  Pump();  // It may be what others waited behind.
  return true;
}

bool Session::CancelRequest(Token token) {
  const auto waiting = std::find_if(waiting_requests_.begin(), waiting_requests_.end(),
                                    [token](const Request& r) { return r.token == token; });
  if (waiting != waiting_requests_.end()) {
    FinishRequest(*waiting, absl::CancelledError("cancelled before it was sent"));
    waiting_requests_.erase(waiting);
    return true;
  }
  for (auto& [id, request] : requests_) {
    if (request.token != token) continue;
    FinishRequest(request, absl::CancelledError("cancelled before the server answered"));
    request.token = 0;
    request.cancelled = true;
    return true;
  }
  return false;
}

absl::Status Session::CheckRoomForRequest() const {
  const size_t waiting = waiting_requests_.size() + requests_.size();
  if (waiting < options_.requests_max) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("too many SUBSCRIBE and UNSUBSCRIBE wait for their answer: ", waiting,
                   "; wait for some to end, or raise requests_max"));
}

absl::Status Session::Subscribe(Token token, std::vector<Subscription> subscriptions,
                                SubscribeOptions options) {
  RETURN_IF_ERROR(CheckSubscribe(subscriptions, options, options_.version));
  RETURN_IF_ERROR(CheckRoomForRequest());
  waiting_requests_.push_back({.token = token,
                               .sequence = ++last_sequence_,
                               .subscriptions = std::move(subscriptions),
                               .subscription_id = options.subscription_id,
                               .user_properties = std::move(options.user_properties)});
  Pump();
  return absl::OkStatus();
}

absl::Status Session::Unsubscribe(Token token, std::vector<std::string> filters,
                                  std::vector<UserProperty> user_properties) {
  RETURN_IF_ERROR(CheckUnsubscribe(filters, user_properties, options_.version));
  RETURN_IF_ERROR(CheckRoomForRequest());
  waiting_requests_.push_back({.token = token,
                               .sequence = ++last_sequence_,
                               .subscribe = false,
                               .filters = std::move(filters),
                               .user_properties = std::move(user_properties)});
  Pump();
  return absl::OkStatus();
}

void Session::Acknowledge(const ReceivedMessage& message) {
  if (!connected_ || message.qos == QoS::kAtMostOnce) return;
  const bool once = message.qos == QoS::kExactlyOnce;
  std::deque<Unacknowledged>& waiting = once ? awaiting_pubrec_ : awaiting_puback_;
  const auto found = std::find_if(waiting.begin(), waiting.end(), [&](const Unacknowledged& one) {
    return one.id == message.packet_id && !one.done;
  });
  if (found == waiting.end()) return;  // Of another connection, or acknowledged already.
  found->done = true;
  for (; !waiting.empty() && waiting.front().done; waiting.pop_front()) {
    WriteAck(once ? PacketType::kPubRec : PacketType::kPubAck, waiting.front().id,
             mqtt::ReasonCode::kSuccess);
  }
}

// ---- Output ----------------------------------------------------------------------------------

void Session::TakeOutput(std::string& out) {
  CHECK(out.empty()) << "what was taken before is to be written first";
  out.swap(output_);
  if (last_byte_.has_value()) {
    out.resize(std::exchange(*last_byte_, 0));
    output_.clear();
  }
  Pump();
}

// Encodes what may be sent now: what an earlier connection left open, then requests, then messages,
// while the window and the output have room. Messages leave in the order of Publish.
void Session::Pump() {
  if (!connected_ || last_byte_.has_value()) return;
  while (!to_resend_.empty() && output_.size() < options_.output_bytes_max &&
         in_flight_.size() < window_ + to_resend_.size()) {
    const uint16_t id = to_resend_.front();
    to_resend_.pop_front();
    SendAgain(id);
  }
  if (!waiting_requests_.empty()) PumpRequests();
  if (!to_resend_.empty()) return;
  while (!queue_.empty() && MaySend(queue_.front().message.qos)) {
    const size_t bytes = BytesOf(queue_.front().message);
    if (!SendQueued(queue_.front())) break;
    queue_.pop_front();
    queue_bytes_ -= bytes;
  }
}

void Session::PumpRequests() {
  std::vector<Request> waiting = std::exchange(waiting_requests_, {});
  std::deque<Request> now(std::make_move_iterator(waiting.begin()),
                          std::make_move_iterator(waiting.end()));
  while (!now.empty()) {
    Request request = std::move(now.front());
    now.pop_front();
    const PacketId id = NextId();
    if (!id) {
      waiting_requests_.push_back(std::move(request));
    } else if (WriteRequest(id, request)) {
      requests_.emplace(id.value, std::move(request));
    } else if (request.token == 0 && request.subscriptions.size() > 1) {
      // Subscriptions that are made again need not go in one packet.
      for (Request& half : Halves(std::move(request))) now.push_front(std::move(half));
    } else {
      FinishRequest(request, absl::InvalidArgumentError(absl::StrCat(
                                 "the request is larger than the server's Maximum Packet Size of ",
                                 server_packet_size_max_, " bytes")));
    }
  }
}

// The second one first.
std::deque<Session::Request> Session::Halves(Request&& request) {
  const auto middle =
      request.subscriptions.begin() + static_cast<ptrdiff_t>(request.subscriptions.size() / 2);
  Request second{.sequence = request.sequence, .subscription_id = request.subscription_id};
  second.subscriptions.assign(std::make_move_iterator(middle),
                              std::make_move_iterator(request.subscriptions.end()));
  request.subscriptions.erase(middle, request.subscriptions.end());
  std::deque<Request> halves;
  halves.push_back(std::move(second));
  halves.push_back(std::move(request));
  return halves;
}

absl::Status Session::CheckServerTakes(const Message& message) const {
  if (message.qos > server_qos_max_) {  // [MQTT5-3.2.2-11]
    return absl::FailedPreconditionError(
        absl::StrCat("the server takes QoS ", static_cast<int>(server_qos_max_), " at most"));
  }
  if (message.retain && !server_retains_) {  // [MQTT5-3.2.2-14]
    return absl::FailedPreconditionError("the server keeps no retained messages");
  }
  if (BytesOf(message) - sizeof(Message) > server_packet_size_max_) {  // [MQTT5-3.2.2-15]
    return absl::InvalidArgumentError(
        absl::StrCat("the message is larger than the server's Maximum Packet Size of ",
                     server_packet_size_max_, " bytes"));
  }
  return absl::OkStatus();
}

// What was in flight on an earlier connection. If this server cannot take it any more, whoever
// published it is told: it may have arrived before. The identifier of a QoS 2 message stays taken,
// since the server may know it.
void Session::SendAgain(uint16_t id) {
  const auto found = in_flight_.find(id);
  if (found == in_flight_.end()) return;
  InFlight& flight = found->second;
  ++statistics_.resent;
  if (flight.stage == Stage::kAwaitingPubComp) {
    return WriteAck(PacketType::kPubRel, PacketId{id}, mqtt::ReasonCode::kSuccess);
  }
  absl::Status status = CheckServerTakes(flight.message);
  if (status.ok() && WritePublish(flight.message, PacketId{id}, /*dup=*/true)) return;
  FinishPublish(std::exchange(flight.token, 0), flight.message,
                absl::AbortedError(absl::StrCat(
                    "the message was in flight and cannot be sent again: ",
                    status.ok() ? "it is larger than a packet may be" : status.message(),
                    "; whether it arrived is not known")));
  if (flight.stage == Stage::kAwaitingPubRec) return;
  if (store_ != nullptr) Stored(store_->RemoveOutbound(flight.sequence));
  in_flight_.erase(found);
}

bool Session::SendQueued(Queued& queued) {
  Message& message = queued.message;
  const auto fail = [&](absl::Status status) {
    if (queued.stored) Stored(store_->RemoveOutbound(queued.sequence));
    FinishPublish(queued.token, message, std::move(status));
    return true;
  };
  if (absl::Status status = CheckServerTakes(message); !status.ok()) return fail(status);
  if (message.qos == QoS::kAtMostOnce) {
    if (!WritePublish(message, {}, false)) {
      return fail(absl::InvalidArgumentError("the message is larger than a packet may be"));
    }
    FinishPublish(queued.token, message, absl::OkStatus());
    return true;
  }
  const PacketId id = NextId();
  CHECK(id) << "the window is smaller than the number of identifiers";
  if (queued.stored) {
    if (!Stored(store_->MarkSent(queued.sequence, id))) return false;
  } else if (store_ != nullptr) {
    if (absl::Status status = store_->PutOutbound(queued.sequence, id, message); !status.ok()) {
      return fail(std::move(status));
    }
    queued.stored = true;
  }
  if (!WritePublish(message, id, false)) {
    return fail(absl::InvalidArgumentError("the message is larger than a packet may be"));
  }
  InFlight& flight = in_flight_[id.value];
  flight.token = queued.token;
  flight.sequence = queued.sequence;
  flight.stage = message.qos == QoS::kAtLeastOnce ? Stage::kAwaitingPubAck : Stage::kAwaitingPubRec;
  flight.message = std::move(message);
  return true;
}

bool Session::WritePublish(const Message& message, PacketId id, bool dup) {
  mqtt::PublishHead head;
  head.version = options_.version;
  head.dup = dup;
  head.qos = message.qos;
  head.retain = message.retain;
  head.packet_id = id;
  head.topic = message.topic;
  head.payload = message.payload;
  if (options_.version == Version::k5) {
    head.message_expiry_interval = message.message_expiry_s;
    if (HasProperties(message)) {
      properties_scratch_.clear();
      AppendProperties(message, properties_scratch_);
      head.forward_properties = properties_scratch_;
    }
    bool known = false;
    head.topic_alias = AliasFor(message.topic, known);
    if (known) head.topic = {};
    if (!mqtt::Encode(head, output_, server_packet_size_max_)) {
      // The server has not heard of an alias that is new.
      if (!known && head.topic_alias != 0) aliases_out_.erase(message.topic);
      return false;
    }
    return true;
  }
  return mqtt::Encode(head, output_, server_packet_size_max_);
}

// 0: none. A topic keeps its alias for the connection [MQTT5-3.3.2-7]; the first topics get them.
uint16_t Session::AliasFor(std::string_view topic, bool& known) {
  if (aliases_out_max_ == 0) return 0;
  if (const auto found = aliases_out_.find(base::AbslView(topic)); found != aliases_out_.end()) {
    known = true;
    return found->second;
  }
  if (aliases_out_.size() >= aliases_out_max_) return 0;
  const auto alias = static_cast<uint16_t>(aliases_out_.size() + 1);
  aliases_out_.emplace(topic, alias);
  return alias;
}

void Session::WriteAck(PacketType type, PacketId id, mqtt::ReasonCode reason) {
  uint8_t bytes[mqtt::kAckSizeMax];
  const uint8_t* end = mqtt::WriteAck(bytes, type, options_.version, id, reason);
  output_.append(reinterpret_cast<const char*>(bytes), static_cast<size_t>(end - bytes));
}

bool Session::WriteRequest(PacketId id, const Request& request) {
  if (request.subscribe) {
    mqtt::Subscribe packet;
    packet.packet_id = id;
    if (options_.version == Version::k5) {
      packet.subscription_id = request.subscription_id;
      packet.user_properties = Views(request.user_properties);
    }
    for (const Subscription& subscription : request.subscriptions) {
      packet.subscriptions.push_back({subscription.filter, subscription.options});
    }
    return mqtt::Encode(packet, options_.version, output_, server_packet_size_max_);
  }
  mqtt::Unsubscribe packet;
  packet.packet_id = id;
  packet.filters.assign(request.filters.begin(), request.filters.end());
  if (options_.version == Version::k5) packet.user_properties = Views(request.user_properties);
  return mqtt::Encode(packet, options_.version, output_, server_packet_size_max_);
}

// The next identifier that nothing of ours uses [MQTT5-2.2.1-3]; 0 if all are taken.
PacketId Session::NextId() {
  for (uint32_t tries = 0; tries <= UINT16_MAX; ++tries) {
    const uint16_t id = ++last_id_;
    if (id != 0 && !in_flight_.contains(id) && !requests_.contains(id)) return PacketId{id};
  }
  return {};
}

// ---- The connection --------------------------------------------------------------------------

void Session::BeginConnection() {
  CHECK(!begun_) << "EndConnection comes first";
  begun_ = true;
  output_.clear();
  store_status_ = absl::OkStatus();
  mqtt::Connect connect;
  connect.version = options_.version;
  connect.clean_start = options_.clean_start && !was_connected_;
  connect.keep_alive = options_.keep_alive_s;
  connect.client_id = options_.client_id;
  if (options_.user_name.has_value()) connect.user_name = *options_.user_name;
  if (options_.password.has_value()) connect.password = *options_.password;
  std::string will_properties;
  if (options_.will.has_value()) {
    const Message& message = options_.will->message;
    AppendProperties(message, will_properties);
    connect.will = mqtt::Will{.qos = message.qos,
                              .retain = message.retain,
                              .topic = message.topic,
                              .payload = message.payload,
                              .delay_interval = options_.will->delay_s,
                              .message_expiry_interval = message.message_expiry_s,
                              .raw_properties = will_properties};
  }
  if (options_.version == Version::k5) {
    connect.session_expiry_interval = options_.session_expiry_s;
    connect.receive_maximum = options_.receive_maximum;
    if (options_.maximum_packet_size < mqtt::kPacketSizeMax) {
      connect.maximum_packet_size = options_.maximum_packet_size;
    }
    connect.topic_alias_maximum = options_.topic_alias_maximum;
    connect.request_response_information = options_.request_response_information;
    connect.request_problem_information = options_.request_problem_information;
    connect.user_properties = Views(options_.user_properties);
    if (!options_.authentication_method.empty()) {
      connect.authentication_method = options_.authentication_method;
      connect.authentication_data = options_.authentication_data;
    }
  } else {
    // Clean Session 0 is what keeps a 3.1.1 session beyond its connection.
    connect.clean_start = options_.session_expiry_s == 0;
  }
  asked_for_new_session_ = connect.clean_start;
  mqtt::Encode(connect, output_);
}

void Session::SendPing() {
  output_.append(reinterpret_cast<const char*>(mqtt::kPingReqFrame.data()),
                 mqtt::kPingReqFrame.size());
}

void Session::SendAuth(mqtt::ReasonCode reason, std::string_view data) {
  mqtt::Auth packet;
  packet.reason = reason;
  packet.authentication_method = options_.authentication_method;
  if (!data.empty()) packet.authentication_data = data;
  mqtt::Encode(packet, output_);
}

void Session::SendDisconnect(const DisconnectOptions& options) {
  if (last_byte_.has_value()) return;
  mqtt::Disconnect packet;
  if (options_.version == Version::k5) {
    packet.reason = options.reason;
    packet.session_expiry_interval = options.session_expiry_s;
    if (!options.reason_string.empty()) packet.reason_string = options.reason_string;
    packet.user_properties = Views(options.user_properties);
  }
  mqtt::Encode(packet, options_.version, output_, server_packet_size_max_);
  last_byte_ = output_.size();
}

void Session::EndConnection() {
  begun_ = false;
  connected_ = false;
  output_.clear();
  last_byte_.reset();
  to_resend_.clear();
  aliases_out_.clear();
  aliases_in_.clear();
  awaiting_puback_.clear();
  awaiting_pubrec_.clear();
  // Requests have no place in a session's state: they are made anew, in their order.
  for (auto& [id, request] : requests_) {
    if (!request.cancelled) waiting_requests_.push_back(std::move(request));
  }
  requests_.clear();
  std::sort(waiting_requests_.begin(), waiting_requests_.end(),
            [](const Request& a, const Request& b) { return a.sequence < b.sequence; });
}

void Session::Fail(const absl::Status& status) {
  for (const Queued& queued : std::exchange(queue_, {})) {
    if (queued.token != kFromStore) FinishPublish(queued.token, queued.message, status);
  }
  queue_bytes_ = 0;
  for (auto& [id, flight] : in_flight_) {
    const Token token = std::exchange(flight.token, 0);
    if (token != kFromStore) FinishPublish(token, flight.message, status);
  }
  for (auto& [id, request] : requests_) FinishRequest(request, status);
  requests_.clear();
  for (Request& request : std::exchange(waiting_requests_, {})) FinishRequest(request, status);
}

void Session::FinishPublish(Token token, const Message& message, absl::Status status,
                            PublishResult result) {
  if (token == 0) return;
  if (token == kFromStore) {
    events_.push_back(StoredDone{message, std::move(status), std::move(result)});
    return;
  }
  events_.push_back(PublishDone{token, std::move(status), std::move(result)});
}

void Session::FinishRequest(Request& request, const absl::Status& status) {
  if (request.token == 0) return;
  if (request.subscribe) {
    events_.push_back(SubscribeDone{request.token, status, {}});
  } else {
    events_.push_back(UnsubscribeDone{request.token, status, {}});
  }
}

bool Session::Stored(const absl::Status& status) {
  store_status_.Update(status);
  return status.ok();
}

}  // namespace mqttd::client
