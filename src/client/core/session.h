// The client's end of an MQTT session: what it remembers, what it may send, what a packet means.
#ifndef CLIENT_CORE_SESSION_H_
#define CLIENT_CORE_SESSION_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "client/core/message.h"
#include "client/core/options.h"
#include "client/core/store.h"
#include "mqtt/frame.h"
#include "mqtt/packets.h"
#include "mqtt/types.h"

namespace mqttd::client {

struct PublishDone {
  Token token = 0;
  absl::Status status;  // Not OK: why there is no result.
  PublishResult result;
};
// A message that the store brought from an earlier session has ended.
struct StoredDone {
  Message message;
  absl::Status status;
  PublishResult result;
};
struct SubscribeDone {
  Token token = 0;
  absl::Status status;
  SubscribeResult result;
};
struct UnsubscribeDone {
  Token token = 0;
  absl::Status status;
  UnsubscribeResult result;
};
struct Connected {  // CONNACK, a refusal included: see `result.ok()`.
  ConnectResult result;
};
struct Arrived {
  ReceivedMessage message;
};
struct Pong {};
struct AuthWanted {  // AUTH: answer with SendAuth, or close.
  mqtt::ReasonCode reason = mqtt::ReasonCode::kContinueAuthentication;
  std::string data;
};
struct Disconnected {
  ServerDisconnect disconnect;
};
using Event = std::variant<PublishDone, StoredDone, SubscribeDone, UnsubscribeDone, Connected,
                           Arrived, Pong, AuthWanted, Disconnected>;

// What a waiting message counts against queue_bytes_max.
inline size_t BytesOf(const Message& message) {
  return sizeof(Message) + message.topic.size() + message.payload.size();
}

// No I/O, no clock, no thread: bytes of packets in, bytes and events out. Lives across connections;
// the owner says when one begins (`BeginConnection`) and ends (`EndConnection`). Belongs to one
// thread.
//
//   session.BeginConnection();             CONNECT is in the output
//   session.TakeOutput(buffer)             to the transport
//   session.OnFrame(header, body)          for each packet that comes
//   session.TakeEvents()                   what the application is to be told
class Session {
 public:
  // `store` may be null; else it outlives the session.
  Session(SessionOptions options, Store* store);

  // Takes in what the store has: each message ends with a StoredDone event. Before the first
  // connection.
  absl::Status Load();

  // ---- What the application asks. An error means that nothing was taken; else one Done event
  // follows in the end, at the latest from `Fail`.
  absl::Status Publish(Token token, Message message);
  absl::Status Subscribe(Token token, std::vector<Subscription> subscriptions,
                         SubscribeOptions options = {});
  absl::Status Unsubscribe(Token token, std::vector<std::string> filters,
                           std::vector<UserProperty> user_properties = {});
  // Nobody waits for it any more: its event says kCancelled. A publish that was not sent is not
  // sent; one in flight goes on to its end. False: it is over.
  bool CancelPublish(Token token);
  // The same for Subscribe and Unsubscribe; what was sent is not sent again.
  bool CancelRequest(Token token);
  // With `manual_acknowledgement`: PUBACK or PUBREC for it, on this connection only. It leaves when
  // those that came before at the same QoS are acknowledged too [MQTT-4.6.0-2] [MQTT-4.6.0-3].
  void Acknowledge(const ReceivedMessage& message);

  // ---- The connection.
  // Of an extended authentication, for the CONNECT packets from now on (§3.1.2.11.10).
  void SetAuthenticationData(std::string data) { options_.authentication_data = std::move(data); }
  void BeginConnection();
  // A packet came. A Violation: the server broke the protocol; the output then ends with a
  // DISCONNECT that says so (5.0), and the connection must be closed.
  std::optional<mqtt::Violation> OnFrame(const mqtt::FrameHeader& header, mqtt::Bytes body);
  void SendPing();
  void SendAuth(mqtt::ReasonCode reason, std::string_view data);
  // The last that the connection says [MQTT5-3.14.4-1]: what comes after it waits for the next one.
  void SendDisconnect(const DisconnectOptions& options);
  // Messages in flight and queued wait for the next connection; requests to subscribe or
  // unsubscribe that were sent are sent again then.
  void EndConnection();
  // The application gives up: all that waits ends with `status`. If there is a store, messages of
  // QoS 1 and 2 stay in it, those that it brought without an event.
  void Fail(const absl::Status& status);

  // Swaps the encoded bytes into `out`, which must be empty; more is encoded from the queue.
  void TakeOutput(std::string& out);
  bool HasOutput() const { return last_byte_.has_value() ? *last_byte_ > 0 : !output_.empty(); }
  std::vector<Event> TakeEvents() { return std::exchange(events_, {}); }
  bool HasEvents() const { return !events_.empty(); }

  // The first error of the store since the connection began. Not OK: the connection must be closed;
  // the exchange that it concerns goes on with the next one.
  const absl::Status& store_status() const { return store_status_; }
  // A CONNACK with success has come on this connection.
  bool is_connected() const { return connected_; }
  const SessionOptions& options() const { return options_; }
  const std::string& client_id() const { return options_.client_id; }
  uint16_t keep_alive_s() const { return keep_alive_s_; }
  size_t in_flight() const { return in_flight_.size(); }
  size_t queued() const { return queue_.size(); }
  size_t queued_bytes() const { return queue_bytes_; }
  const SessionStatistics& statistics() const { return statistics_; }

 private:
  // Of messages that the store brought.
  static constexpr Token kFromStore = UINT64_MAX;

  enum class Stage : uint8_t { kAwaitingPubAck, kAwaitingPubRec, kAwaitingPubComp };
  struct InFlight {
    Token token = 0;
    uint64_t sequence = 0;
    Stage stage = Stage::kAwaitingPubAck;
    mqtt::ReasonCode reason = mqtt::ReasonCode::kSuccess;  // PUBREC's.
    Message message;
  };
  struct Queued {
    Token token = 0;
    uint64_t sequence = 0;
    bool stored = false;
    Message message;
  };
  struct Request {  // SUBSCRIBE or UNSUBSCRIBE that is not answered.
    Token token = 0;
    uint64_t sequence = 0;
    bool subscribe = true;
    std::vector<Subscription> subscriptions;
    std::vector<std::string> filters;
    uint32_t subscription_id = 0;
    std::vector<UserProperty> user_properties;
    bool cancelled = false;  // By whoever asked: what is sent is not sent again.
  };
  struct Active {  // A subscription that was granted: made again if the server lost the session.
    mqtt::SubscriptionOptions options;
    uint32_t subscription_id = 0;
  };
  struct Unacknowledged {  // By the application, which is to say when.
    mqtt::PacketId id;
    bool done = false;
  };

  // session.cc: requests, output, the connection's life.
  absl::Status CheckRoom(const Message& message) const;
  absl::Status CheckRoomForRequest() const;
  // Not OK: the server that answered cannot take the message.
  absl::Status CheckServerTakes(const Message& message) const;
  void Pump();
  // Whether the window and the output have room for a message.
  bool MaySend(mqtt::QoS qos) const;
  // False: the store does not let it; `queued` is as it was then.
  bool SendQueued(Queued& queued);
  void SendAgain(uint16_t id);
  void PumpRequests();
  // False: the packet would be larger than the server takes, and nothing was written.
  bool WritePublish(const Message& message, mqtt::PacketId id, bool dup);
  bool WriteRequest(mqtt::PacketId id, const Request& request);
  void WriteAck(mqtt::PacketType type, mqtt::PacketId id, mqtt::ReasonCode reason);
  static std::deque<Request> Halves(Request&& request);
  uint16_t AliasFor(std::string_view topic, bool& known);
  mqtt::PacketId NextId();
  // `message`: told of if the store brought it.
  void FinishPublish(Token token, const Message& message, absl::Status status,
                     PublishResult result = {});
  void FinishRequest(Request& request, const absl::Status& status);

  // session_packets.cc: what a packet from the server means.
  std::optional<mqtt::Violation> Dispatch(const mqtt::FrameHeader& header, mqtt::Bytes body);
  std::optional<mqtt::Violation> OnConnAck(uint8_t flags, mqtt::Bytes body);
  void ResumeSession();
  void RestartSession();
  std::optional<mqtt::Violation> OnPublish(uint8_t flags, mqtt::Bytes body);
  std::optional<mqtt::Violation> ResolveAlias(const mqtt::Publish& packet, std::string& topic);
  std::optional<mqtt::Violation> Receive(const mqtt::Publish& packet, std::string topic);
  std::optional<mqtt::Violation> OnAck(mqtt::PacketType type, uint8_t flags, mqtt::Bytes body);
  void OnPubAck(const mqtt::Ack& ack);
  void OnPubRec(const mqtt::Ack& ack);
  void OnPubRel(const mqtt::Ack& ack);
  void OnPubComp(const mqtt::Ack& ack);
  std::optional<mqtt::Violation> OnSubAck(uint8_t flags, mqtt::Bytes body);
  std::optional<mqtt::Violation> OnUnsubAck(uint8_t flags, mqtt::Bytes body);
  std::optional<mqtt::Violation> OnAuth(uint8_t flags, mqtt::Bytes body);
  // Whether the store did what it was told to.
  bool Stored(const absl::Status& status);

  SessionOptions options_;
  Store* const store_;

  std::deque<Queued> queue_;
  size_t queue_bytes_ = 0;
  absl::flat_hash_map<uint16_t, InFlight> in_flight_;
  absl::flat_hash_map<uint16_t, Request> requests_;
  std::vector<Request> waiting_requests_;  // For a connection.
  std::map<std::string, Active> active_;
  absl::flat_hash_set<uint16_t> inbound_;  // QoS 2 identifiers between PUBLISH and PUBREL.
  bool session_lost_ = false;              // By the server, and the store does not know it yet.
  uint16_t last_id_ = 0;
  uint64_t last_sequence_ = 0;

  bool was_connected_ =
      false;  // On any connection: from then on Clean Start would lose our own session.

  // Of this connection.
  bool begun_ = false;
  bool asked_for_new_session_ = false;  // Clean Start 1.
  bool connected_ = false;
  uint16_t keep_alive_s_ = 0;
  uint16_t window_ = 0;
  std::deque<uint16_t>
      to_resend_;  // Identifiers in flight that this connection has yet to hear of.
  std::deque<Unacknowledged> awaiting_puback_;  // In the order in which they came.
  std::deque<Unacknowledged> awaiting_pubrec_;
  // Where the output ends, once DISCONNECT is in it.
  std::optional<size_t> last_byte_;
  uint32_t server_packet_size_max_ = mqtt::kPacketSizeMax;
  mqtt::QoS server_qos_max_ = mqtt::QoS::kExactlyOnce;
  bool server_retains_ = true;
  absl::flat_hash_map<std::string, uint16_t> aliases_out_;
  uint16_t aliases_out_max_ = 0;
  std::vector<std::string> aliases_in_;

  absl::Status store_status_;
  std::string output_;
  std::string properties_scratch_;
  mqtt::Publish publish_;  // Kept for its memory.
  std::vector<Event> events_;
  SessionStatistics statistics_;
};

}  // namespace mqttd::client

#endif  // CLIENT_CORE_SESSION_H_
