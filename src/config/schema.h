// THE table of keys. Parsing, checks, flags, environment variables, --print-config and
// docs/configuration.md are all made from it.
#ifndef CONFIG_SCHEMA_H_
#define CONFIG_SCHEMA_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "broker/options.h"
#include "config/config.h"
#include "config/key.h"

namespace config {

// A group of keys with a common prefix, for the documentation.
struct Section {
  std::string path;  // "mqtt"; empty: the top level.
  std::string doc;   // One line.
};

// In the order in which they are printed. Built once.
const Keys<Config>& ConfigKeys();
const std::vector<Section>& Sections();

// The keys of an entry of `listeners`. `url` is first. Those that a listener takes over from the
// keys outside when it does not have its own: see InheritedFrom.
const Keys<broker::ListenerSettings>& ListenerKeys();

// The key outside `listeners` that gives a listener's key its default: "cert_file" →
// "tls.cert_file", "mqtt.maximum_qos" → the same. Empty: it has a default of its own.
std::string InheritedFrom(absl::string_view listener_path);

// "mqtt.receive_maximum" → "--mqtt-receive-maximum", "MQTTD_MQTT_RECEIVE_MAXIMUM".
std::string FlagName(absl::string_view path);
std::string VariableName(absl::string_view path);
// For a key's short flag: "--acl-file" → "MQTTD_ACL_FILE". Empty for a key without one.
std::string ShortVariableName(absl::string_view flag);

// "certFile" → "cert_file": keys may be written in either style.
std::string CanonicalName(absl::string_view name);

template <typename Root>
const Key<Root>* FindKey(const Keys<Root>& keys, absl::string_view path) {
  for (const Key<Root>& key : keys) {
    if (key.path == path) return &key;
  }
  return nullptr;
}

// Is some key below `path`?
template <typename Root>
bool IsSection(const Keys<Root>& keys, absl::string_view path) {
  for (const Key<Root>& key : keys) {
    if (key.path.size() > path.size() && key.path[path.size()] == '.' &&
        absl::string_view(key.path).substr(0, path.size()) == path) {
      return true;
    }
  }
  return false;
}

// The whole path of the key (or section) that the unknown `path` probably means; empty if none.
std::string SuggestPath(const std::vector<std::string>& known, absl::string_view path);

}  // namespace config

#endif  // CONFIG_SCHEMA_H_
