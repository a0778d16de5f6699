// The configuration: one YAML file, environment variables and flags become the option structs of
// the layers below. One table (schema.h) is behind all of it.
#ifndef CONFIG_CONFIG_H_
#define CONFIG_CONFIG_H_

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "auth/options.h"
#include "base/log.h"
#include "broker/options.h"
#include "broker/transport/tls_context.h"
#include "config/key.h"
#include "storage/core/options.h"

namespace config {

// The endpoint for metrics and health checks.
struct HttpOptions {
  std::string listen = "127.0.0.1:9883";  // ADDRESS:PORT, [IPv6]:PORT; "off": no endpoint.
  uint32_t connections_max = 64;          // Further ones are closed at once.
  uint32_t request_timeout_s = 10;        // For a whole request, and for its answer.
  bool api = true;                        // The admin API as JSON, below /api/v1.
};

// The admin API.
struct AdminOptions {
  std::string listen = "127.0.0.1:9884";  // ADDRESS:PORT, [IPv6]:PORT; "off": not served.
  std::string access_file;                // Who may, with a token or a certificate.
  std::string cert_file;                  // TLS, with `key_file`. Empty: none.
  std::string key_file;
  std::string ca_file;        // Who signs callers' certificates. Empty: nobody is asked for one.
  uint32_t calls_max = 64;    // At the same time, by gRPC and HTTP together.
  uint32_t streams_max = 32;  // Likewise.
};

// The node as a member of a cluster.
struct ClusterOptions {
  std::string listen;          // ADDRESS:PORT for other nodes. Empty: a node alone.
  std::string advertise;       // Where others reach it: HOST:PORT. Empty: `listen`.
  std::string seeds;           // HOST:PORT,…: where other nodes may be.
  std::string dns;             // A name for the same: HOST:PORT, or an SRV record.
  uint32_t expected_size = 0;  // How many nodes found the cluster together. 0: this one joins.
  uint32_t replicas = 3;       // Of everything that is stored.
  bool serve_without_quorum = true;
  std::string zone;
  std::string cert_file;  // TLS, with the two others. Empty: none.
  std::string key_file;
  std::string ca_file;
  bool allow_plaintext = false;  // Also beyond loopback.

  bool on() const { return !listen.empty(); }
};

// Where a value comes from. Of two sources the later one in this list wins.
enum class Source : uint8_t { kDefault, kInherited, kFile, kEnvironment, kSet, kFlag, kRunTime };

struct Origin {
  Source source = Source::kDefault;
  std::string where;  // "mqttd.yaml:3:5", "MQTTD_LOG_LEVEL", "--set", "--http", "mqttctl log".
};

// Everything mqttd starts with. Plain values, checked.
struct Config {
  Config() { storage.data_dir = "mqttd-data"; }

  storage::StorageOptions storage;
  broker::BrokerOptions broker;  // `listeners` have their limits, auth and TLS settings in force.
  broker::Limits mqtt;           // What listeners start from.
  auth::AuthOptions auth;        // Likewise.
  broker::TlsOptions tls;        // Likewise.
  HttpOptions http;
  AdminOptions admin;
  ClusterOptions cluster;
  base::LogOptions log;

  std::string file;                       // Empty: none was given.
  std::map<std::string, Origin> origins;  // By path, "listeners.0.url" too; absent: the default.
};

// What the command line asks for beside values.
enum class Action : uint8_t { kRun, kCheck, kPrint, kRestore, kVersion, kHelp, kHelpAll };

struct Loaded {
  Action action = Action::kRun;
  Config config;
  std::vector<std::string> warnings;  // Of values that are allowed but probably not meant.
  std::string backup;                 // Of kRestore: what is to be restored.
};

// Reads the command line (without the program's name), the environment ("NAME=value"; only
// MQTTD_… is looked at) and the file that they name.
// Errors: kInvalidArgument, kNotFound (the file); one line for each thing that is wrong, each
// beginning with where: "mqttd.yaml:3:5: mqtt.recieve_maximum: no such key; did you mean
// mqtt.receive_maximum?"
absl::StatusOr<Loaded> Load(absl::Span<const std::string> args,
                            absl::Span<const std::string> environment);

// The same with the text of a file at hand, called `file_name` in errors.
absl::StatusOr<Config> Parse(absl::string_view yaml, absl::string_view file_name);

// The configuration in force, as YAML that Load reads back to the same values. Comments say what
// each key is for, what it may be, its default, and where its value comes from.
std::string Print(const Config& config);

// The same key by key, those of listeners with their place: "listeners.0.url".
struct Entry {
  std::string path;
  std::string value;
  std::string standard;  // Its default. Of a listener's key that has it from outside: no matter.
  Origin origin;
  Effect effect = Effect::kRestart;
};
std::vector<Entry> Entries(const Config& config);

// docs/configuration.md, whole.
std::string Documentation();

// For --help: the usual flags; for --help-all: every key's.
std::string Usage(Action action);

// One key that differs between two configurations.
struct Change {
  std::string path;
  std::string before;
  std::string after;
  Effect effect = Effect::kRestart;
};

// What differs. Listeners that came, went or moved are one change of "listeners", for a restart.
// Those that are in both, by their URL, are compared key by key; the paths are those of `after`.
std::vector<Change> Diff(const Config& before, const Config& after);

// `running` with those values of `wanted` that take effect at a reload. Its listeners stay: those
// that `wanted` has too, by their URL, get their values of there; others, which serve until the
// restart, those that they have from the keys outside `listeners`.
Config Reloaded(const Config& running, const Config& wanted);

// Listeners of `wanted` that are not in `running`.
std::vector<broker::ListenerSettings> FurtherListeners(const Config& running, const Config& wanted);

}  // namespace config

#endif  // CONFIG_CONFIG_H_
