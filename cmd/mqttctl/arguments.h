// What `pub`, `sub` and `bench` have in common: where the broker is, who we are, MQTT 5 properties.
#ifndef CMD_MQTTCTL_ARGUMENTS_H_
#define CMD_MQTTCTL_ARGUMENTS_H_

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"

namespace mqttctl {

// Exit statuses, as mosquitto's clients have them; a refused CONNECT ends with its code.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailure = 1;
inline constexpr int kExitTimedOut = 27;

// -D COMMAND NAME VALUE, or -D COMMAND user-property NAME VALUE.
struct PropertyArgument {
  std::string command;
  std::string name;
  std::vector<std::string> values;
};

// Takes the -D options out of the arguments of `command`, so that CLI11 need not know that their
// number of values varies.
absl::StatusOr<std::vector<PropertyArgument>> TakeProperties(const CLI::App& command,
                                                             std::vector<std::string>& arguments);

struct ConnectionArguments {
  std::string host = "localhost";
  std::optional<uint16_t> port;
  std::string unix_socket;
  std::string url;
  bool websocket = false;
  std::string websocket_path = "/mqtt";
  std::string bind_address;
  bool nodelay = true;  // Whatever is said.
  std::optional<std::string> user_name;
  std::optional<std::string> password;
  std::string client_id;
  std::string client_id_prefix;
  bool keep_session = false;
  std::string session_expiry;
  std::optional<int> keep_alive_s;
  std::string version;
  int qos = 0;
  uint16_t inflight_messages_max = 20;

  std::optional<std::string> will_topic;
  std::optional<std::string> will_payload;
  int will_qos = 0;
  bool will_retain = false;

  mqttd::client::TlsOptions tls;
  std::string tls_version;
  bool use_system_certificates = false;
  bool insecure = false;

  bool debug = false;
  bool quiet = false;
  std::vector<PropertyArgument> properties;
};

void AddConnectionOptions(CLI::App& command, ConnectionArguments& arguments);

// What the arguments make of a client; of a URL the topic too. Errors in words for the user.
struct Prepared {
  mqttd::client::Options options;
  std::string topic;  // Of -L. Empty: none.
  // For PUBLISH, SUBSCRIBE, UNSUBSCRIBE and DISCONNECT.
  mqttd::client::Message message;
  mqttd::client::SubscribeOptions subscribe;
  std::vector<mqttd::client::UserProperty> unsubscribe;
  mqttd::client::DisconnectOptions disconnect;
};
absl::StatusOr<Prepared> Prepare(const ConnectionArguments& arguments);

// The exit status for a CONNACK that refuses.
int ExitStatusOf(mqtt::ReasonCode reason, mqtt::Version version);

// "Error: …" on stderr, unless --quiet.
void PrintError(const ConnectionArguments& arguments, const absl::Status& status);
void PrintError(const ConnectionArguments& arguments, const std::string& words);

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_ARGUMENTS_H_
