// docs/configuration.md and --help, from the table.
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "config/config.h"
#include "config/schema.h"

namespace config {
namespace {

constexpr absl::string_view kIntroduction = R"(# Configuration

<!-- Made from the table in src/config/keys.cc by MQTTD_UPDATE_DOCS=1 ./dev test config_print_test: do not edit. -->

`mqttd` needs no configuration: it then listens on 127.0.0.1:1883, for this machine only, and keeps
its data in `./mqttd-data`. Everything else is said in one YAML file:

```yaml
# mqttd --config /etc/mqttd/mqttd.yaml
data_dir: /var/lib/mqttd
auth:
  password_file: /etc/mqttd/passwords
  acl_file: /etc/mqttd/acl
tls:
  cert_file: /etc/mqttd/server.pem
  key_file: /etc/mqttd/server.key
listeners:
  - url: mqtt://127.0.0.1:1883
    allow_anonymous: true
  - url: mqtts://0.0.0.0:8883
    connections_max: 50000
  - url: wss://0.0.0.0:8084/mqtt
    mqtt:
      maximum_packet_size: 64KiB
```

- `mqttd --check-config` says what is wrong, with line and column, and ends with 2 if anything is.
- `mqttd --print-config` prints the configuration in force as a file, with a comment on each key and
  on where its value comes from.
- SIGHUP (`systemctl reload mqttd`) reads the file again, and certificates, passwords and access
  rules. Only clients whose user is gone are disconnected. The log names what changed, and what waits for a restart.

## Other ways to give a value

Every key is also a flag and an environment variable, and `--set` takes any key:

| for `mqtt.receive_maximum` | write |
| --- | --- |
| a flag | `--mqtt-receive-maximum=10` |
| any key | `--set mqtt.receive_maximum=10` |
| an environment variable | `MQTTD_MQTT_RECEIVE_MAXIMUM=10` |
| a listener's own | `--set listeners.0.mqtt.receive_maximum=10`, `MQTTD_LISTENERS_0_MQTT_RECEIVE_MAXIMUM=10` |

Of several, a flag wins over `--set`, that over the environment, that over the file. Listeners are
given by `--listen URL` (once for each), or `MQTTD_LISTENERS` (separated by commas); then the
file's are not used. `--config` may be given as `MQTTD_CONFIG`. Short flags for frequent keys
(`--acl-file` is `MQTTD_ACL_FILE` too; if `MQTTD_AUTH_ACL_FILE` says something else that is an error):
)";

constexpr absl::string_view kForms = R"(
## How values are written

- Sizes: `65536`, `64KiB`, `1MiB`, `2GiB`; `KB`, `MB`, `GB` are powers of 1000.
- Durations: `30s`, `5m`, `12h`, `7d`, `1h30m`, or a number of seconds. Those that are shorter by
  nature (`durability_interval`): `50ms`, `2s`, or a number of milliseconds.
- `unlimited`, where a key has no bound of its own: there `0` is the same, and forbids nothing. Write the word:
  mqttd warns of the number, at the start and by `--check-config`.
- `true` and `false`, also `yes`, `no`, `on`, `off`.
- Names of keys also in the other style: `certFile` is `cert_file`.
- Relative paths are seen from the directory in which mqttd was started.

## Who may connect

Clients without user name are let in only if `allow_anonymous` says so. One exception: as long as
every listener is local to the machine (a loopback address or a unix socket, and no PROXY protocol)
and has no password file, anonymous clients may connect, so that a first try needs no file. A listener
that others can reach, and for which nothing says who may come in, is an error.
)";

std::string Cell(absl::string_view text) { return absl::StrReplaceAll(text, {{"|", "\\|"}}); }

void TableHead(std::string& out) {
  out += "\n| key | values | default | changes at | what for |\n| --- | --- | --- | --- | --- |\n";
}

void TableRow(std::string& out, const KeyInfo& key, absl::string_view standard) {
  absl::StrAppend(&out, "| `", key.path, "` | ", Cell(DescribeDomain(key.domain)), " | ",
                  standard.empty() ? "" : absl::StrCat("`", standard, "`"), " | ",
                  key.effect == Effect::kReload ? "reload" : "restart", " | ", Cell(key.doc),
                  " |\n");
}

void ListenerChapter(std::string& out) {
  static const broker::ListenerSettings kDefaults;
  absl::StrAppend(&out,
                  "\n## `listeners`\n\nWhere clients connect. Default: one, "
                  "`mqtt://127.0.0.1:1883`. An entry is a URL alone, or:\n");
  TableHead(out);
  for (const Key<broker::ListenerSettings>& key : ListenerKeys()) {
    if (!InheritedFrom(key.path).empty()) continue;
    const bool has_default = key.path != "url";
    TableRow(out, key, has_default ? FormatValue(key.domain, key.get(kDefaults)) : "");
  }
  out += "\nand own values of these, which otherwise are those outside:\n\n";
  std::string limits;
  for (const Key<broker::ListenerSettings>& key : ListenerKeys()) {
    const std::string from = InheritedFrom(key.path);
    if (from.empty()) continue;
    if (absl::StartsWith(key.path, "mqtt.")) continue;
    absl::StrAppend(&out, "- `", key.path, "`: see `", from, "`\n");
  }
  out += "- `mqtt`: a section with any of the keys of [`mqtt`](#mqtt)\n";
}

void AppendFlag(std::string& out, absl::string_view flag, absl::string_view doc) {
  constexpr size_t kColumn = 30;
  absl::StrAppendFormat(&out, "  %-*s", static_cast<int>(kColumn - 2), flag);
  if (flag.size() + 3 > kColumn) absl::StrAppend(&out, "\n", std::string(kColumn, ' '));
  constexpr size_t kColumns = 100;
  size_t room = kColumns - kColumn;
  while (doc.size() > room) {
    const size_t end = doc.rfind(' ', room);
    if (end == absl::string_view::npos) break;
    absl::StrAppend(&out, doc.substr(0, end), "\n", std::string(kColumn, ' '));
    doc.remove_prefix(end + 1);
  }
  absl::StrAppend(&out, doc, "\n");
}

}  // namespace

std::string Documentation() {
  static const Config kDefaults;
  std::string out(kIntroduction);
  out += "\n| flag | key |\n| --- | --- |\n";
  for (const Key<Config>& key : ConfigKeys()) {
    if (!key.flag.empty()) absl::StrAppend(&out, "| `", key.flag, "` | `", key.path, "` |\n");
  }
  absl::StrAppend(&out, kForms);
  ListenerChapter(out);
  for (const Section& section : Sections()) {
    absl::StrAppend(&out, "\n## ",
                    section.path.empty() ? "Top level" : absl::StrCat("`", section.path, "`"),
                    "\n\n", section.doc, "\n");
    TableHead(out);
    for (const Key<Config>& key : ConfigKeys()) {
      const bool mine = section.path.empty() ? !absl::StrContains(key.path, '.')
                                             : absl::StartsWith(key.path, section.path + ".");
      if (mine) TableRow(out, key, FormatValue(key.domain, key.get(kDefaults)));
    }
  }
  return out;
}

std::string Usage(Action action) {
  std::string out = "mqttd: an MQTT 3.1, 3.1.1 and 5.0 broker\n\nmqttd [--config FILE] [FLAGS]\n\n";
  AppendFlag(out, "--config FILE", "Read this YAML file; also MQTTD_CONFIG.");
  AppendFlag(out, "--listen URL",
             "Listen there: mqtt://HOST:PORT, mqtts://, ws://, wss:// or "
             "unix:/PATH. May be given several times.");
  for (const Key<Config>& key : ConfigKeys()) {
    if (!key.flag.empty() || key.path == "data_dir") {
      const bool flag_only = key.domain.type == Type::kBool;
      AppendFlag(
          out,
          absl::StrCat(key.flag.empty() ? FlagName(key.path) : key.flag, flag_only ? "" : " VALUE"),
          key.doc);
    }
  }
  AppendFlag(out, "--set KEY=VALUE",
             "Any key of the file, such as mqtt.receive_maximum=10 or "
             "listeners.0.cert_file=server.pem.");
  AppendFlag(out, "--check-config", "Check the configuration and the files it names, and end.");
  AppendFlag(out, "--print-config", "Print the configuration in force, and end.");
  AppendFlag(out, "--restore DIR",
             "Make the data directory, which must be empty or missing, from a backup, and end.");
  AppendFlag(out, "--version", "Print the version, and end.");
  AppendFlag(out, "--help, --help-all", "Print this text; with the flags of all keys.");
  if (action == Action::kHelpAll) {
    out += "\nEvery key as a flag (and as a variable: --log-level is MQTTD_LOG_LEVEL):\n\n";
    for (const Key<Config>& key : ConfigKeys()) {
      AppendFlag(out, FlagName(key.path),
                 absl::StrCat(key.doc, " (", DescribeDomain(key.domain), ")"));
    }
  }
  return out;
}

}  // namespace config
