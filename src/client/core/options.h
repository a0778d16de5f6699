// What a client's session is told at its start, and what it counts.
#ifndef CLIENT_CORE_OPTIONS_H_
#define CLIENT_CORE_OPTIONS_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "client/core/message.h"
#include "mqtt/types.h"

namespace mqttd::client {

// The largest packet that MQTT has (§2.1.4).
inline constexpr uint32_t kPacketBytesMax = 268'435'460;

// What happens to a message in flight when the server turns out to have lost the session
// (CONNACK without Session Present), so that it cannot be said whether the message arrived.
enum class OnSessionLoss : uint8_t {
  kPublishAgain,  // As a new message: it may arrive twice.
  kFail,          // The publish ends with kAborted: it may have arrived, or not.
};

struct SessionOptions {
  mqtt::Version version = mqtt::Version::k5;  // k31, k311 or k5.
  std::string client_id;                      // Empty: the server assigns one.
  bool clean_start = true;
  uint32_t session_expiry_s = 0;  // 3.1.1: not 0 means Clean Session 0.
  uint16_t keep_alive_s = 60;     // 0: none.
  std::optional<std::string> user_name;
  std::optional<std::string> password;
  struct Will {
    Message message;
    uint32_t delay_s = 0;
  };
  std::optional<Will> will;
  std::vector<UserProperty> user_properties;
  std::string authentication_method;  // Empty: none (§4.12).
  std::string authentication_data;
  bool request_response_information = false;
  bool request_problem_information = true;  // False: reasons in words come with few packets only.

  // What the server may have on its way to us: QoS 1 and 2 messages, and bytes of one packet.
  uint16_t receive_maximum = 1024;
  uint32_t maximum_packet_size = kPacketBytesMax;
  uint16_t topic_alias_maximum = 64;  // Inbound; 0: the server may use none.

  // QoS 1 and 2 messages that wait for their acknowledgement at once; the server's Receive Maximum
  // bounds it too.
  uint16_t inflight_messages_max = 1024;
  // Messages that wait for room or for a connection; beyond, Publish is refused.
  size_t queue_messages_max = 100'000;
  size_t queue_bytes_max = size_t{64} << 20;
  // Encoded and not yet taken by the transport: beyond, messages stay in the queue.
  size_t output_bytes_max = size_t{256} << 10;
  // SUBSCRIBE and UNSUBSCRIBE that the application asked for and that are not answered; beyond,
  // they are refused.
  size_t requests_max = 1000;
  // Topics that are sent as an alias, if the server takes aliases (§3.3.2.3.4).
  uint16_t topic_aliases_max = 64;
  // The application says when a message of QoS 1 or 2 is acknowledged: `Session::Acknowledge`.
  bool manual_acknowledgement = false;
  OnSessionLoss qos1_on_session_loss = OnSessionLoss::kPublishAgain;
  OnSessionLoss qos2_on_session_loss = OnSessionLoss::kFail;
};

// Counted since the session was made.
struct SessionStatistics {
  uint64_t published = 0;     // Handed over by the application.
  uint64_t acknowledged = 0;  // Of QoS 1 and 2, by the server.
  uint64_t resent = 0;
  uint64_t received = 0;
  uint64_t duplicates = 0;  // QoS 2 PUBLISH that had been received before.
};

// How long `AsyncServe` waits between tries to connect: doubles from `first` to `most`, and each
// wait is drawn from its upper half.
struct BackoffOptions {
  absl::Duration first = absl::Milliseconds(500);
  absl::Duration most = absl::Seconds(30);
};

// Chosen by the caller, echoed when the request ends. 0: nobody waits for it.
using Token = uint64_t;

}  // namespace mqttd::client

#endif  // CLIENT_CORE_OPTIONS_H_
