#include "arguments.h"

#include <unistd.h>

#include <CLI/Option.hpp>
#include <cstdio>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "base/status_macros.h"
#include "mqtt/topic.h"
#include "properties.h"

namespace mqttctl {
namespace {

using absl::InvalidArgumentError;

bool TakesValue(const CLI::App& command, const std::string& name) {
  const CLI::Option* option = command.get_option_no_throw(name);
  return option != nullptr && option->get_items_expected_min() > 0;
}

// "5", "311", "31", or with "mqttv" before it, as mosquitto has them.
absl::StatusOr<mqtt::Version> ParseVersion(const ConnectionArguments& arguments) {
  std::string text = arguments.version;
  if (text.rfind("mqttv", 0) == 0) text.erase(0, 5);
  const bool needs_5 = !arguments.properties.empty() || !arguments.session_expiry.empty();
  if (text.empty()) return needs_5 ? mqtt::Version::k5 : mqtt::Version::k311;
  if (text == "5") return mqtt::Version::k5;
  if (!arguments.properties.empty()) return mqtt::Version::k5;  // As mosquitto: -D wins.
  if (text == "311") return mqtt::Version::k311;
  if (text == "31") return mqtt::Version::k31;
  return InvalidArgumentError(
      absl::StrCat("-V ", arguments.version, ": the versions are 5, 311 and 31"));
}

absl::StatusOr<uint32_t> ParseExpiry(const std::string& text) {
  if (text == "-1" || text == "∞") return std::numeric_limits<uint32_t>::max();
  uint32_t seconds = 0;
  if (!absl::SimpleAtoi(text, &seconds)) {
    return InvalidArgumentError(
        absl::StrCat("-x ", text, ": a number of seconds, or -1 for a session that never ends"));
  }
  return seconds;
}

bool WantsTls(const ConnectionArguments& arguments) {
  return !arguments.tls.ca_file.empty() || !arguments.tls.ca_path.empty() ||
         !arguments.tls.cert_file.empty() || arguments.use_system_certificates ||
         arguments.port.value_or(0) == 8883;
}

// mqtt(s)://[user[:password]@]host[:port]/topic; with ws(s):// there is no topic, but a path.
absl::Status ApplyUrl(std::string url, Prepared& prepared) {
  const size_t mark = url.find("://");
  if (mark == std::string::npos) {
    return InvalidArgumentError(absl::StrCat(
        "-L ", url, ": a URL such as mqtt://user:password@host:1883/topic, or mqtts://…"));
  }
  std::string scheme = url.substr(0, mark);
  std::string rest = url.substr(mark + 3);
  const size_t slash = rest.find('/');
  std::string authority = rest.substr(0, slash);
  std::string path = slash == std::string::npos ? "" : rest.substr(slash);
  if (const size_t at = authority.rfind('@'); at != std::string::npos) {
    const std::string who = authority.substr(0, at);
    authority.erase(0, at + 1);
    const size_t colon = who.find(':');
    prepared.options.session.user_name = who.substr(0, colon);
    if (colon != std::string::npos) prepared.options.session.password = who.substr(colon + 1);
  }
  const bool websocket = scheme == "ws" || scheme == "wss";
  if (!websocket && path.size() > 1) prepared.topic = path.substr(1);
  prepared.options.servers = {absl::StrCat(scheme, "://", authority, websocket ? path : "")};
  return absl::OkStatus();
}

absl::Status ApplyServer(const ConnectionArguments& arguments, Prepared& prepared) {
  if (!arguments.url.empty()) return ApplyUrl(arguments.url, prepared);
  if (!arguments.unix_socket.empty()) {
    prepared.options.servers = {absl::StrCat("unix:", arguments.unix_socket)};
    return absl::OkStatus();
  }
  if (arguments.port.has_value() && *arguments.port == 0) {
    return InvalidArgumentError("-p 0: a port is a number from 1 to 65535");
  }
  const bool tls = WantsTls(arguments);
  const bool v6 = arguments.host.find(':') != std::string::npos;
  const char* scheme = arguments.websocket ? (tls ? "wss" : "ws") : (tls ? "mqtts" : "mqtt");
  std::string url = absl::StrCat(scheme, "://", v6 ? "[" : "", arguments.host, v6 ? "]" : "");
  if (arguments.port.has_value()) absl::StrAppend(&url, ":", *arguments.port);
  if (arguments.websocket) absl::StrAppend(&url, arguments.websocket_path);
  prepared.options.servers = {std::move(url)};
  return absl::OkStatus();
}

absl::Status ApplyTls(const ConnectionArguments& arguments, mqttd::client::TlsOptions& tls) {
  tls = arguments.tls;
  tls.check_name = !arguments.insecure;
  if (tls.cert_file.empty() != tls.key_file.empty()) {
    return InvalidArgumentError("--cert and --key go together");
  }
  if (arguments.tls_version.empty()) return absl::OkStatus();
  const std::string version =
      arguments.tls_version.rfind("tlsv", 0) == 0 ? arguments.tls_version.substr(4) : "";
  if (version != "1.2" && version != "1.3") {
    return InvalidArgumentError(
        absl::StrCat("--tls-version ", arguments.tls_version, ": tlsv1.2 or tlsv1.3"));
  }
  tls.version_min = version;
  tls.version_max = version;
  return absl::OkStatus();
}

absl::Status ApplySession(const ConnectionArguments& arguments,
                          mqttd::client::SessionOptions& session) {
  if (!arguments.client_id.empty() && !arguments.client_id_prefix.empty()) {
    return InvalidArgumentError("-i and -I cannot be used together");
  }
  session.client_id = arguments.client_id;
  if (!arguments.client_id_prefix.empty()) {
    session.client_id = absl::StrCat(arguments.client_id_prefix, getpid());
  } else if (session.client_id.empty() && session.version == mqtt::Version::k31) {
    session.client_id = absl::StrCat("mqttctl-", getpid());  // 3.1 wants one.
  }
  if (arguments.keep_session && arguments.client_id.empty() && arguments.client_id_prefix.empty()) {
    return InvalidArgumentError("a session that is kept (-c) needs a client identifier (-i)");
  }
  session.clean_start = !arguments.keep_session;
  session.session_expiry_s = arguments.keep_session ? std::numeric_limits<uint32_t>::max() : 0;
  if (!arguments.session_expiry.empty()) {
    ASSIGN_OR_RETURN(session.session_expiry_s, ParseExpiry(arguments.session_expiry));
    if (session.version != mqtt::Version::k5) {
      return InvalidArgumentError("-x needs MQTT 5 (-V 5)");
    }
  }
  const int keep_alive = arguments.keep_alive_s.value_or(60);
  if (keep_alive != 0 && (keep_alive < 5 || keep_alive > 65'535)) {
    return InvalidArgumentError(
        absl::StrCat("-k ", keep_alive, ": 0 for none, or from 5 to 65535 seconds"));
  }
  session.keep_alive_s = static_cast<uint16_t>(keep_alive);
  if (arguments.user_name.has_value()) session.user_name = arguments.user_name;
  if (arguments.password.has_value()) session.password = arguments.password;
  if (session.password.has_value() && !session.user_name.has_value() &&
      session.version != mqtt::Version::k5) {
    return InvalidArgumentError("a password (-P) needs a user name (-u) before MQTT 5");
  }
  // The largest message has room, whatever waits.
  session.queue_bytes_max += session.maximum_packet_size;
  session.inflight_messages_max = std::max<uint16_t>(1, arguments.inflight_messages_max);
  return absl::OkStatus();
}

absl::Status ApplyWill(const ConnectionArguments& arguments,
                       mqttd::client::SessionOptions& session) {
  if (!arguments.will_topic.has_value()) {
    if (arguments.will_payload.has_value() || arguments.will_qos != 0 || arguments.will_retain) {
      return InvalidArgumentError("the --will options need --will-topic");
    }
    return absl::OkStatus();
  }
  if (!mqtt::IsValidTopicName(*arguments.will_topic)) {
    return InvalidArgumentError(
        absl::StrCat("--will-topic ", *arguments.will_topic, ": no topic, or one with + or #"));
  }
  session.will.emplace();
  session.will->message.topic = *arguments.will_topic;
  session.will->message.payload = arguments.will_payload.value_or("");
  session.will->message.qos = static_cast<mqtt::QoS>(arguments.will_qos);
  session.will->message.retain = arguments.will_retain;
  return absl::OkStatus();
}

void AddServerOptions(CLI::App& command, ConnectionArguments& arguments) {
  const auto where = "Where the broker is";
  command.add_option("-h,--host", arguments.host, "Host name or address (localhost)")->group(where);
  command.add_option("-p,--port", arguments.port, "Port (1883; with TLS 8883)")->group(where);
  command.add_option("--unix", arguments.unix_socket, "Unix socket, in place of host and port")
      ->group(where);
  command
      .add_option("-L,--url", arguments.url,
                  "All at once: mqtt(s)://[user[:password]@]host[:port]/topic, or ws(s)://…/path")
      ->group(where);
  command.add_flag("--ws", arguments.websocket, "Over WebSocket")->group(where);
  command.add_option("--ws-path", arguments.websocket_path, "Path of the WebSocket (/mqtt)")
      ->group(where);
  command.add_option("-A", arguments.bind_address, "Address of this machine to connect from")
      ->group(where);
  command.add_flag("--nodelay", arguments.nodelay, "Accepted; small packets are never held back")
      ->group(where);
}

void AddClientOptions(CLI::App& command, ConnectionArguments& arguments) {
  const auto who = "Who we are";
  command.add_option("-u,--username", arguments.user_name, "User name")->group(who);
  command.add_option("-P,--pw", arguments.password, "Password")->group(who);
  command.add_option("-i,--id", arguments.client_id, "Client identifier (the broker makes one)")
      ->group(who);
  command
      .add_option("-I,--id-prefix", arguments.client_id_prefix,
                  "Client identifier: this and the process id")
      ->group(who);
  command
      .add_flag("-c,--disable-clean-session", arguments.keep_session,
                "Go on with the session of this identifier, and keep it afterwards")
      ->group(who);
  command
      .add_option("-x,--session-expiry-interval", arguments.session_expiry,
                  "Seconds for which the session is kept afterwards; -1: for ever (MQTT 5)")
      ->group(who);
  command
      .add_option("-k,--keepalive", arguments.keep_alive_s, "Keep Alive in seconds (60); 0: none")
      ->group(who);
  command.add_option("-V,--protocol-version", arguments.version, "5, 311 (default) or 31")
      ->group(who);
  command.add_option("-D,--property")
      ->group(who)
      ->description(
          "MQTT 5 property: COMMAND NAME VALUE, or COMMAND user-property NAME VALUE; "
          "may be repeated")
      ->type_name("…");
}

void AddWillOptions(CLI::App& command, ConnectionArguments& arguments) {
  const auto will = "Will: what the broker publishes if we are lost";
  command.add_option("--will-topic", arguments.will_topic, "Its topic")->group(will);
  command.add_option("--will-payload", arguments.will_payload, "Its payload (empty)")->group(will);
  command.add_option("--will-qos", arguments.will_qos, "Its QoS (0)")
      ->check(CLI::Range(0, 2))
      ->group(will);
  command.add_flag("--will-retain", arguments.will_retain, "It is to be retained")->group(will);
}

void AddTlsOptions(CLI::App& command, ConnectionArguments& arguments) {
  const auto tls = "TLS: used when one of the first four is given, or port 8883";
  command.add_option("--cafile", arguments.tls.ca_file, "Authorities to trust, a PEM file")
      ->group(tls);
  command.add_option("--capath", arguments.tls.ca_path, "Authorities to trust, a directory")
      ->group(tls);
  command
      .add_flag("--tls-use-os-certs", arguments.use_system_certificates,
                "Trust the system's authorities")
      ->group(tls);
  command.add_option("--cert", arguments.tls.cert_file, "Our certificate, PEM")->group(tls);
  command.add_option("--key", arguments.tls.key_file, "Its key, PEM")->group(tls);
  command.add_option("--ciphers", arguments.tls.ciphers, "OpenSSL's list of ciphers (TLS 1.2)")
      ->group(tls);
  command.add_option("--tls-version", arguments.tls_version, "tlsv1.2 or tlsv1.3, and no other")
      ->group(tls);
  command.add_option("--tls-alpn", arguments.tls.alpn, "Protocol to ask for (ALPN)")
      ->type_size(1)
      ->allow_extra_args(false)
      ->group(tls);
  command
      .add_flag("--insecure", arguments.insecure,
                "Any name in the broker's certificate will do. For experiments only")
      ->group(tls);
}

}  // namespace

absl::StatusOr<std::vector<PropertyArgument>> TakeProperties(const CLI::App& command,
                                                             std::vector<std::string>& arguments) {
  std::vector<PropertyArgument> properties;
  std::vector<std::string> others;
  for (size_t i = 0; i < arguments.size(); ++i) {
    if (arguments[i] != "-D" && arguments[i] != "--property") {
      others.push_back(arguments[i]);
      if (TakesValue(command, arguments[i]) && i + 1 < arguments.size()) {
        others.push_back(arguments[++i]);
      }
      continue;
    }
    const bool pair = i + 2 < arguments.size() && arguments[i + 2] == "user-property";
    const size_t values = pair ? 2 : 1;
    if (i + 2 + values >= arguments.size()) {
      return InvalidArgumentError(
          "-D COMMAND NAME VALUE, or -D COMMAND user-property NAME VALUE: something is missing");
    }
    properties.push_back({arguments[i + 1], arguments[i + 2], {}});
    for (size_t value = 0; value < values; ++value) {
      properties.back().values.push_back(arguments[i + 3 + value]);
    }
    i += 2 + values;
  }
  arguments = std::move(others);
  return properties;
}

void AddConnectionOptions(CLI::App& command, ConnectionArguments& arguments) {
  AddServerOptions(command, arguments);
  AddClientOptions(command, arguments);
  AddWillOptions(command, arguments);
  AddTlsOptions(command, arguments);
  command.add_flag("-d,--debug", arguments.debug, "Print each packet");
  command.add_flag("--quiet", arguments.quiet, "Print no errors");
}

absl::StatusOr<Prepared> Prepare(const ConnectionArguments& arguments) {
  Prepared prepared;
  mqttd::client::SessionOptions& session = prepared.options.session;
  ASSIGN_OR_RETURN(session.version, ParseVersion(arguments));
  RETURN_IF_ERROR(ApplyServer(arguments, prepared));
  RETURN_IF_ERROR(ApplyTls(arguments, prepared.options.tls));
  RETURN_IF_ERROR(ApplySession(arguments, session));
  RETURN_IF_ERROR(ApplyWill(arguments, session));
  for (const PropertyArgument& property : arguments.properties) {
    RETURN_IF_ERROR(ApplyProperty(property, prepared));
  }
  prepared.options.local_address = arguments.bind_address;
  if (arguments.debug) {
    prepared.options.trace = [](mqtt::Sender sender, std::string_view packet) {
      std::printf("%s %.*s\n", sender == mqtt::Sender::kClient ? "sending" : "received",
                  static_cast<int>(packet.size()), packet.data());
      std::fflush(stdout);
    };
  }
  return prepared;
}

int ExitStatusOf(mqtt::ReasonCode reason, mqtt::Version version) {
  if (version == mqtt::Version::k5) return static_cast<int>(reason);
  const auto code = mqtt::ToConnectReturnCode(reason);
  return code.has_value() ? static_cast<int>(*code) : kExitFailure;
}

void PrintError(const ConnectionArguments& arguments, const std::string& words) {
  if (!arguments.quiet) std::fprintf(stderr, "Error: %s\n", words.c_str());
}

void PrintError(const ConnectionArguments& arguments, const absl::Status& status) {
  PrintError(arguments, std::string(status.message()));
}

}  // namespace mqttctl
