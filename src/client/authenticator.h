// Extended authentication (§4.12, 5.0 only), such as SCRAM or Kerberos.
#ifndef CLIENT_AUTHENTICATOR_H_
#define CLIENT_AUTHENTICATOR_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mqttd::client {

// The client's side of one method. Called on the client's executor, one exchange at a time: Begin,
// then Continue for each challenge, then Finish. A connection that is made again begins again, as
// does `AsyncReauthenticate`. An error ends the connection.
class Authenticator {
 public:
  virtual ~Authenticator() = default;

  // Authentication Method of CONNECT: "SCRAM-SHA-256".
  virtual std::string method() const = 0;
  // The data that begins an exchange, in CONNECT or in AUTH 0x19 (Re-authenticate). May be empty.
  virtual absl::StatusOr<std::string> Begin() = 0;
  // AUTH 0x18 (Continue authentication) has come: what to answer [MQTT5-4.12.0-3].
  virtual absl::StatusOr<std::string> Continue(std::string_view server_data) = 0;
  // The server is satisfied (CONNACK, or AUTH 0x00): its last data, by which it may have to prove
  // itself. An error: it did not.
  virtual absl::Status Finish(std::string_view server_data) = 0;
};

}  // namespace mqttd::client

#endif  // CLIENT_AUTHENTICATOR_H_
