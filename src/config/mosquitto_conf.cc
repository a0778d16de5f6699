#include "config/mosquitto_conf.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace config {
namespace {

struct Setting {
  absl::string_view name;
  absl::string_view instead;  // Empty: nothing.
};

// What a mosquitto.conf is likely to have. No name here is one of mqttd's sections or keys followed
// by a blank, so a YAML file never matches.
constexpr Setting kSettings[] = {
    {"listener", "listeners: [mqtt://ADDRESS:PORT] (0.0.0.0 for all addresses)"},
    {"port", "listeners: [mqtt://0.0.0.0:PORT]"},
    {"bind_address", "the address in listeners: [mqtt://ADDRESS:PORT]"},
    {"protocol", "the URL of the listener: mqtt, mqtts, ws or wss"},
    {"socket_domain", "the address in the URL of the listener"},
    {"max_connections", "connections_max of the listener"},
    {"per_listener_settings", "nothing: each listener may have its own password_file and acl_file"},
    {"allow_anonymous", "auth.allow_anonymous"},
    {"password_file", "auth.password_file; the file itself is taken as it is"},
    {"acl_file", "auth.acl_file; the file itself is taken as it is"},
    {"cafile", "tls.ca_file"},
    {"capath", "tls.ca_file, with all authorities in one file"},
    {"certfile", "tls.cert_file"},
    {"keyfile", "tls.key_file"},
    {"crlfile", "tls.crl_file"},
    {"ciphers", "tls.ciphers"},
    {"tls_version", "tls.min_version"},
    {"require_certificate", "tls.client_certificate: required"},
    {"use_identity_as_username", "use_identity_as_username: cn, in the listener"},
    {"use_subject_as_username", "use_identity_as_username: dn, in the listener"},
    {"use_username_as_clientid", {}},
    {"persistence", "nothing: sessions and retained messages are always kept, in data_dir"},
    {"persistence_location", "data_dir"},
    {"persistence_file", "data_dir"},
    {"autosave_interval", "nothing: what is acknowledged is stored before (storage.durability)"},
    {"autosave_on_changes", "nothing: what is acknowledged is stored before (storage.durability)"},
    {"persistent_client_expiration", "mqtt.session_expiry_interval_max"},
    {"log_dest", "log.file; without it the log goes to standard error"},
    {"log_type", "log.level"},
    {"log_timestamp", "nothing: each line has its time"},
    {"log_timestamp_format", "nothing: each line has its time"},
    {"connection_messages", "log.level: debug"},
    {"max_inflight_messages", "mqtt.inflight_messages_max"},
    {"max_queued_messages", "mqtt.queue_messages_max, storage.queue_messages_max"},
    {"max_queued_bytes", "mqtt.queue_bytes_max, storage.queue_bytes_max"},
    {"max_packet_size", "mqtt.maximum_packet_size"},
    {"message_size_limit", "mqtt.maximum_packet_size"},
    {"max_keepalive", "mqtt.keep_alive_max"},
    {"max_qos", "mqtt.maximum_qos"},
    {"max_topic_alias", "mqtt.topic_alias_maximum"},
    {"retain_available", "mqtt.retain_available"},
    {"memory_limit", "broker.memory_high_bytes"},
    {"sys_interval", "broker.sys_interval"},
    {"pid_file", "nothing: a service manager knows the process, and the ready line names it"},
    {"user", "nothing: start mqttd as the user that it is to run as"},
    {"set_tcp_nodelay", "nothing: it is always on"},
    {"include_dir", "nothing: there is one file"},
    {"plugin", {}},
    {"auth_plugin", {}},
    {"psk_file", {}},
    {"connection", "nothing: mqttd is no bridge; keep mosquitto as the one that bridges to it"},
    {"address", "nothing: see connection"},
    {"topic", "nothing: see connection"},
    {"remote_username", "nothing: see connection"},
    {"remote_password", "nothing: see connection"},
    {"remote_clientid", "nothing: see connection"},
    {"bridge_protocol_version", "nothing: see connection"},
};

// The setting that begins the line, as mosquitto writes it: the name, a blank, the value.
const Setting* SettingOf(absl::string_view line) {
  const size_t blank = line.find_first_of(" \t");
  if (blank == absl::string_view::npos) return nullptr;
  const absl::string_view name = line.substr(0, blank);
  for (const Setting& setting : kSettings) {
    if (setting.name == name) return &setting;
  }
  return nullptr;
}

}  // namespace

bool RefuseMosquittoConf(absl::string_view text, absl::string_view file_name, Errors& errors) {
  std::vector<std::pair<size_t, const Setting*>> found;
  size_t number = 0;
  size_t lines = 0;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    ++number;
    line = absl::StripAsciiWhitespace(line);
    if (line.empty() || line.front() == '#') continue;
    ++lines;
    if (const Setting* const setting = SettingOf(line)) found.emplace_back(number, setting);
  }
  if (found.empty() || found.size() * 2 < lines) return false;
  errors.Add(file_name,
             "this is a configuration of mosquitto. That of mqttd is YAML (docs/configuration.md; "
             "mqttd --print-config prints one with all keys). Its settings are here:");
  for (const auto& [line, setting] : found) {
    errors.Add(absl::StrCat(file_name, ":", line),
               absl::StrCat(
                   setting->name, ": ",
                   setting->instead.empty() ? "mqttd has nothing of the kind" : setting->instead));
  }
  return true;
}

}  // namespace config
