// From file, environment and command line to a configuration, and every way in which it can fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "broker/core/limits.h"
#include "config/config.h"
#include "config/schema.h"
#include "mqtt/frame.h"

namespace config {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

// A file that is gone with the test.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& text)
      : path_(std::filesystem::path(testing::TempDir()) /
              ("mqttd-load-test-" + std::to_string(getpid()) + ".yaml")) {
    std::ofstream(path_, std::ios::binary) << text;
  }
  ~TemporaryFile() { std::filesystem::remove(path_); }
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

Config Loads(const std::vector<std::string>& args,
             const std::vector<std::string>& environment = {}) {
  const absl::StatusOr<Loaded> loaded = Load(args, environment);
  EXPECT_TRUE(loaded.ok()) << loaded.status();
  return loaded.ok() ? loaded->config : Config();
}

std::string LoadError(const std::vector<std::string>& args,
                      const std::vector<std::string>& environment = {}) {
  return std::string(Load(args, environment).status().message());
}

Config Parses(absl::string_view yaml) {
  const absl::StatusOr<Config> config = Parse(yaml, "c.yaml");
  EXPECT_TRUE(config.ok()) << config.status();
  return config.ok() ? *config : Config();
}

std::string ParseError(absl::string_view yaml) {
  return std::string(Parse(yaml, "c.yaml").status().message());
}

TEST(Load, WithoutAnythingItListensLocallyAndLetsAnyoneIn) {
  const Config config = Loads({});
  ASSERT_EQ(config.broker.listeners.size(), 1u);
  EXPECT_EQ(config.broker.listeners[0].listener.url.ToString(), "mqtt://127.0.0.1:1883");
  EXPECT_EQ(config.broker.listeners[0].name, "mqtt://127.0.0.1:1883");
  EXPECT_TRUE(config.broker.listeners[0].auth.allow_anonymous);
  EXPECT_EQ(config.storage.data_dir, "mqttd-data");
  EXPECT_EQ(config.http.listen, "127.0.0.1:9883");
  EXPECT_EQ(config.admin.listen, "127.0.0.1:9884");
}

TEST(Load, TheContractOfTheCommandLine) {
  const Config config =
      Loads({"--listen", "mqtt://0.0.0.0:0", "--listen", "unix:/tmp/m.sock", "--data-dir", "/d",
             "--allow-anonymous", "--http", "127.0.0.1:0", "--set", "mqtt.receive_maximum=10"});
  ASSERT_EQ(config.broker.listeners.size(), 2u);
  EXPECT_EQ(config.broker.listeners[0].listener.url.port, 0);
  EXPECT_TRUE(config.broker.listeners[1].listener.url.unix_socket());
  EXPECT_EQ(config.storage.data_dir, "/d");
  EXPECT_TRUE(config.broker.listeners[0].auth.allow_anonymous);
  EXPECT_EQ(config.http.listen, "127.0.0.1:0");
  EXPECT_EQ(config.mqtt.receive_maximum, 10);
  EXPECT_EQ(config.broker.listeners[0].limits.receive_maximum, 10);
}

TEST(Load, ActionsAreRecognised) {
  EXPECT_EQ(Load({{"--version"}}, {})->action, Action::kVersion);
  EXPECT_EQ(Load({{"--help"}}, {})->action, Action::kHelp);
  EXPECT_EQ(Load({{"--help-all"}}, {})->action, Action::kHelpAll);
  EXPECT_EQ(Load({{"--check-config"}}, {})->action, Action::kCheck);
  EXPECT_EQ(Load({{"--print-config"}}, {})->action, Action::kPrint);
  EXPECT_EQ(Load({}, {})->action, Action::kRun);
}

TEST(Load, AFlagWinsOverSetOverEnvironmentOverFile) {
  const TemporaryFile file("mqtt: {receive_maximum: 1, maximum_qos: 1}\nlog: {level: error}\n");
  const std::vector<std::string> environment = {"MQTTD_MQTT_RECEIVE_MAXIMUM=2",
                                                "MQTTD_CONFIG=" + file.path(), "PATH=/bin"};
  const auto value = [](const Config& config) { return config.mqtt.receive_maximum; };
  EXPECT_EQ(value(Loads({"--config", file.path()})), 1);
  EXPECT_EQ(value(Loads({}, environment)), 2);
  EXPECT_EQ(value(Loads({"--set", "mqtt.receive_maximum=3"}, environment)), 3);
  EXPECT_EQ(
      value(Loads({"--mqtt-receive-maximum=4", "--set", "mqtt.receive_maximum=3"}, environment)),
      4);
  EXPECT_EQ(Loads({}, environment).mqtt.maximum_qos, 1) << "the file's other keys stay";
  EXPECT_EQ(Loads({}, environment).log.level, base::LogLevel::kError);
}

TEST(Load, EachValueKnowsWhereItComesFrom) {
  const TemporaryFile file("mqtt:\n  receive_maximum: 1\nlisteners:\n  - url: mqtt://[::1]:7\n");
  const Config config =
      Loads({"-c", file.path(), "--set", "log.level=debug", "--http=off"}, {"MQTTD_DATA_DIR=/x"});
  EXPECT_EQ(config.origins.at("mqtt.receive_maximum").where, file.path() + ":2:3");
  EXPECT_EQ(config.origins.at("listeners.0.url").where, file.path() + ":4:5");
  EXPECT_EQ(config.origins.at("log.level").where, "--set log.level");
  EXPECT_EQ(config.origins.at("http.listen").where, "--http");
  EXPECT_EQ(config.origins.at("data_dir").where, "MQTTD_DATA_DIR");
  // What has a short flag has a short variable too.
  EXPECT_EQ(Loads({}, {"MQTTD_ACL_FILE=/a"}).broker.listeners.at(0).auth.acl_file, "/a");
  EXPECT_EQ(config.origins.at("listeners.0.mqtt.receive_maximum").source, Source::kInherited);
  EXPECT_EQ(config.origins.count("log.format"), 0u);
}

TEST(Load, EveryKeyIsAFlagAVariableAndASetting) {
  const Config defaults;
  for (const Key<Config>& key : ConfigKeys()) {
    const std::string text = FormatValue(key.domain, key.get(defaults));
    const bool of_cluster = key.path.starts_with("cluster.");
    const std::string value = !text.empty() ? text : of_cluster ? "127.0.0.1:1" : "some";
    // The files of the admin API come in pairs; they are looked at only where it listens.
    std::vector<std::string> with = {key.path == "admin.listen" ? "--http=off" : "--admin=off"};
    if (of_cluster) {  // What is needed beside it.
      for (const char* const other : {"cluster.listen", "cluster.seeds", "cluster.cert_file",
                                      "cluster.key_file", "cluster.ca_file"}) {
        if (key.path != other) with.push_back(FlagName(other) + "=127.0.0.1:1");
      }
    }
    const auto source = [&](std::vector<std::string> more,
                            const std::vector<std::string>& environment = {}) {
      more.insert(more.begin(), with.begin(), with.end());
      return Loads(more, environment).origins.at(key.path).source;
    };
    EXPECT_EQ(source({FlagName(key.path) + "=" + value}), Source::kFlag);
    EXPECT_EQ(source({"--set", key.path + "=" + value}), Source::kSet);
    EXPECT_EQ(source({}, {VariableName(key.path) + "=" + value}), Source::kEnvironment);
  }
}

TEST(Load, ListenersOfTheHighestSourceReplaceTheOthers) {
  const TemporaryFile file("listeners: [mqtt://127.0.0.1:1, mqtt://127.0.0.1:2]\n");
  const auto ports = [](const Config& config) {
    std::vector<int> result;
    for (const auto& listener : config.broker.listeners) {
      result.push_back(listener.listener.url.port);
    }
    return result;
  };
  const std::vector<std::string> environment = {
      "MQTTD_LISTENERS=mqtt://127.0.0.1:3,mqtt://127.0.0.1:4"};
  EXPECT_THAT(ports(Loads({"-c", file.path()})), ElementsAre(1, 2));
  EXPECT_THAT(ports(Loads({"-c", file.path()}, environment)), ElementsAre(3, 4));
  EXPECT_THAT(ports(Loads({"-c", file.path(), "--listen=mqtt://127.0.0.1:5"}, environment)),
              ElementsAre(5));
}

TEST(Load, AListenersKeysCanBeGivenByPlace) {
  const Config config =
      Loads({"--listen", "mqtts://127.0.0.1:0", "--listen", "mqtt://127.0.0.1:0", "--set",
             "listeners.0.certFile=c.pem", "--set", "listeners.0.key_file=k.pem", "--set",
             "listeners.1.mqtt.maximum_packet_size=1KiB"},
            {"MQTTD_LISTENERS_1_CONNECTIONS_MAX=7"});
  EXPECT_EQ(config.broker.listeners[0].listener.tls.cert_file, "c.pem");
  EXPECT_EQ(config.broker.listeners[1].limits.maximum_packet_size, 1024u);
  EXPECT_EQ(config.broker.listeners[0].limits.maximum_packet_size, mqtt::kPacketSizeMax);
  EXPECT_EQ(config.broker.listeners[1].listener.connections_max, 7u);
}

TEST(Load, InAClusterAPacketIsNoLargerThanWhatGoesFromNodeToNode) {
  const std::string limit = absl::StrCat(broker::kPacketSizeMaxInCluster);
  const std::vector<std::string> cluster = {"--cluster", "127.0.0.1:9885", "--join",
                                            "b.example:9885"};
  const auto with = [&](const std::string& set) {
    std::vector<std::string> args = cluster;
    args.insert(args.end(), {"--listen", "mqtt://127.0.0.1:0", "--set", set});
    return args;
  };
  Loads(cluster);
  Loads(with("mqtt.maximum_packet_size=" + limit));
  EXPECT_THAT(LoadError(with("mqtt.maximum_packet_size=64MiB")),
              HasSubstr("in a cluster it may be " + limit + " (56MiB) at most"));
  EXPECT_THAT(LoadError(with("listeners.0.mqtt.maximum_packet_size=64MiB")),
              HasSubstr("listeners.0.mqtt.maximum_packet_size: in a cluster"));
  Loads({"--listen", "mqtt://127.0.0.1:0", "--set", "mqtt.maximum_packet_size=64MiB"});
}

TEST(Load, AWholeFile) {
  const Config config = Parses(R"(
data_dir: /var/lib/mqttd
durability: interval
durability_interval: 50ms
auth: {password_file: /p, acl_file: /a}
tls: {certFile: /c, keyFile: /k, caFile: /ca}
listeners:
  - url: mqtt://0.0.0.0:1883
    connections_max: 100
    proxy_protocol: yes
  - url: wss://[::]:8084/mqtt
    client_certificate: required
    use_identity_as_username: cn
    cert_file: /own
    mqtt:
      receive_maximum: 5
      session_expiry_interval_max: never
mqtt:
  receive_maximum: 20
  session_expiry_interval_max: 1h
storage:
  queue_messages_max: unlimited
broker:
  shards: auto
log:
  format: json
)");
  EXPECT_EQ(config.storage.durability, storage::Durability::kInterval);
  EXPECT_EQ(config.storage.durability_interval, absl::Milliseconds(50));
  EXPECT_EQ(config.storage.queue_messages_max, 0u);
  ASSERT_EQ(config.broker.listeners.size(), 2u);
  const broker::ListenerSettings& plain = config.broker.listeners[0];
  EXPECT_EQ(plain.listener.connections_max, 100u);
  EXPECT_TRUE(plain.listener.proxy_protocol);
  EXPECT_EQ(plain.auth.password_file, "/p");
  EXPECT_FALSE(plain.auth.allow_anonymous);
  EXPECT_EQ(plain.limits.receive_maximum, 20);
  EXPECT_EQ(plain.limits.session_expiry_interval_max, 3600u);
  const broker::ListenerSettings& secure = config.broker.listeners[1];
  EXPECT_EQ(secure.listener.tls.cert_file, "/own");
  EXPECT_EQ(secure.listener.tls.key_file, "/k");
  EXPECT_EQ(secure.listener.tls.client_certificate,
            broker::TlsOptions::ClientCertificate::kRequired);
  EXPECT_EQ(secure.auth.use_identity_as_username, auth::CertificateIdentity::kCn);
  EXPECT_EQ(secure.limits.receive_maximum, 5);
  EXPECT_EQ(secure.limits.session_expiry_interval_max, 0xFFFFFFFFu);
  EXPECT_EQ(config.log.format, base::LogFormat::kJson);
}

TEST(Load, AnEmptyFileIsTheDefaults) {
  for (const char* yaml : {"", "\n", "# nothing\n", "---\n", "mqtt:\nlisteners:\n", "mqtt: {}\n"}) {
    EXPECT_EQ(Parses(yaml).broker.listeners.size(), 1u) << yaml;
  }
}

struct Wrong {
  const char* yaml;
  const char* error;
};

class YamlErrors : public testing::TestWithParam<Wrong> {};

TEST_P(YamlErrors, NameThePlaceAndWhatToDo) {
  EXPECT_EQ(ParseError(GetParam().yaml), GetParam().error);
}

INSTANTIATE_TEST_SUITE_P(
    All, YamlErrors,
    testing::Values(
        Wrong{"mqtt:\n  recieve_maximum: 5\n",
              "c.yaml:2:3: mqtt.recieve_maximum: no such key; did you mean mqtt.receive_maximum?"},
        Wrong{"receive_maximum: 5\n",
              "c.yaml:1:1: receive_maximum: no such key; did you mean mqtt.receive_maximum?"},
        Wrong{"broker:\n  receive_maximum: 5\n",
              "c.yaml:2:3: broker.receive_maximum: no such key; did you mean "
              "mqtt.receive_maximum?"},
        Wrong{"mqqt:\n  receive_maximum: 5\n  more: [1]\n",
              "c.yaml:1:1: mqqt: no such key; did you mean mqtt?"},
        Wrong{"listener:\n  - url: x\n",
              "c.yaml:1:1: listener: no such key; did you mean listeners?"},
        Wrong{"zebra: 1\n", "c.yaml:1:1: zebra: no such key"},
        Wrong{"mqtt: {receive_maximum: many}\n",
              "c.yaml:1:8: mqtt.receive_maximum: expects a whole number, not \"many\""},
        Wrong{"mqtt: {receive_maximum: 0}\n",
              "c.yaml:1:8: mqtt.receive_maximum: must be from 1 to 65535, not 0"},
        Wrong{"mqtt:\n  receive_maximum:\n",
              "c.yaml:2:3: mqtt.receive_maximum: has no value; for an empty text write \"\""},
        Wrong{"mqtt: 5\n", "c.yaml:1:1: mqtt: is a section of keys, not a value"},
        Wrong{"mqtt: [5]\n", "c.yaml:1:1: mqtt: is a section of keys, not a list"},
        Wrong{"data_dir: [a]\n", "c.yaml:1:1: data_dir: is a single value, not a list"},
        Wrong{"data_dir: {a: b}\n", "c.yaml:1:1: data_dir: is a single value, not a section"},
        Wrong{"listeners: {url: a}\n",
              "c.yaml:1:1: listeners: is a list: begin each listener with \"- url:\""},
        Wrong{"listeners:\n  - connections_max: 3\n", "c.yaml:2:5: listeners.0: url is missing"},
        Wrong{"listeners:\n  - url: http://x\n    portt: 1\n",
              "c.yaml:3:5: listeners.0.portt: no such key\n"
              "c.yaml:2:5: listeners.0.url: listener URL 'http://x': it begins with mqtt://, "
              "mqtts://, ws://, wss:// or unix:/"},
        Wrong{"listeners:\n  - url: mqtt://127.0.0.1:1\n    cert_fil: x\n",
              "c.yaml:3:5: listeners.0.cert_fil: no such key; did you mean cert_file?"},
        Wrong{"listeners:\n  - url: ws://127.0.0.1:1/\n"
              "    websocket_origins: https://a.example, https://b.example/\n",
              "c.yaml:3:5: listeners.0.websocket_origins: \"https://b.example/\" is no origin such "
              "as https://example.org"},
        Wrong{"listeners:\n  - [a]\n",
              "c.yaml:2:5: listeners.0: a listener is a URL, or keys and values"},
        Wrong{"listeners:\n  -\n",
              "c.yaml:3:1: listeners.0: has no value; for an empty text write \"\""},
        Wrong{"listeners:\n  - url: mqtt://127.0.0.1:5\n  - url: mqtt://127.0.0.1:5\n",
              "c.yaml:3:5: listeners.1.url: another listener has 127.0.0.1 port 5 already"},
        Wrong{"durability: asnyc\n",
              "c.yaml:1:1: durability: must be one of sync, interval, none, not \"asnyc\"; did you "
              "mean sync?"},
        Wrong{"mqtt:\n  maximum_qos: 1\n  maximumQos: 1\n",
              "c.yaml:3:3: mqtt.maximum_qos is given twice"},
        Wrong{"mqtt: {}\nmqtt: {}\n", "c.yaml:2:1: mqtt is given twice"},
        Wrong{"- a\n", "c.yaml:1:1: expects keys and values, not a list"},
        Wrong{"just words\n", "c.yaml:1:1: expects keys and values, such as \"log:\""},
        Wrong{"data_dir: &x d\n",
              "c.yaml:1:11: anchors (&name) are not supported; repeat the value"},
        Wrong{"log: &x\n  level: info\n",
              "c.yaml:1:6: anchors (&name) are not supported; repeat the value"},
        Wrong{"data_dir: *x\n", "c.yaml:1:11: the referenced anchor is not defined"},
        Wrong{"data_dir: !!str d\n", "c.yaml:1:11: tags (!name) are not supported"},
        // What the library reads on over, to the next quote or the end of the file.
        Wrong{"auth:\n  password_file: \"/etc/p\n  acl_file: /etc/acl\n",
              "c.yaml:2:18: the quote that begins here is not closed"},
        Wrong{"auth:\n  acl_file: '/etc/acl\n  password_file: /etc/p\n",
              "c.yaml:2:13: the quote that begins here is not closed"},
        Wrong{"auth:\n  acl_file: \"/etc/acl\nlog: {level: \"info\"}\n",
              "c.yaml:2:13: the quote that begins here is not closed"},
        Wrong{"\"log: {level: info}\n", "c.yaml:1:1: the quote that begins here is not closed"},
        Wrong{"auth:\n  acl_file: /etc/acl\n    password_file\n",
              "c.yaml:2:13: a value goes over several lines; it must stand on one (or is a \":\" "
              "or \"- \" missing in the next?)"},
        Wrong{"auth:\n  acl_file: |\n    /etc/acl\n",
              "c.yaml:2:13: a value goes over several lines; it must stand on one (or is a \":\" "
              "or \"- \" missing in the next?)"},
        Wrong{"log:\n\tlevel: info\n", "c.yaml:2: a tab; indent with spaces"},
        Wrong{"log:\n  \tlevel: info\n", "c.yaml:2: a tab; indent with spaces"},
        Wrong{"data_dir: a\x01z\n", "c.yaml:1: there is a control character in this line"},
        Wrong{"data_dir: \xFF\n", "c.yaml: is not UTF-8 text"},
        Wrong{"%YAML 1.2\n---\nlog: {level: info}\n",
              "c.yaml:1: this line cannot be made sense of"},
        Wrong{"log: {level: info}\n...\ndata_dir: d\n",
              "c.yaml:3:1: a second document; only one is read"},
        Wrong{"? [a]\n: b\n", "c.yaml:1:3: a key must be a word"},
        Wrong{"log: {level: info}\n---\nlog: {level: info}\n",
              "c.yaml:2:1: a second document; only one is read"},
        Wrong{"storage: {partitions: 12}\n",
              "c.yaml:1:11: storage.partitions: must be a power of two, not 12"},
        Wrong{"http: {listen: nowhere}\n",
              "c.yaml:1:8: http.listen: expects ADDRESS:PORT such as 127.0.0.1:9883 or [::1]:9883, "
              "or off, not \"nowhere\""}));

// Nothing that stands in the file is read over.
TEST(Load, TrailingGarbageIsRefused) {
  for (const char* yaml :
       {"log: {level: info}}\n", "log: {level: info} more\n", "log:\n  level: info\n]\n",
        "log:\n  level: info\n garbage\n", "log:\n  level: \"info\" more\n",
        "log: {level: info\ndata_dir: d\n", "listeners: [mqtt://127.0.0.1:1\ndata_dir: d\n",
        "log: {level: info}\n}\n", "data_dir: d\n...\nmore\n", "data_dir: \"d\" \"e\"\n"}) {
    EXPECT_FALSE(Parse(yaml, "c.yaml").ok()) << yaml;
  }
}

TEST(Load, QuotesCommentsAndLineEndsAreReadAsYamlHasThem) {
  EXPECT_EQ(Parses("data_dir: \"a # b\" # c\n").storage.data_dir, "a # b");
  EXPECT_EQ(Parses("data_dir: 'it''s'\n").storage.data_dir, "it's");
  EXPECT_EQ(Parses("\"data_dir\": \"a\\\"b\"\n").storage.data_dir, "a\"b");
  EXPECT_EQ(Parses("{data_dir: \"a\", log: {level: info}}\n").storage.data_dir, "a");
  EXPECT_EQ(Parses("data_dir: \"a\"\r\nlog:\r\n  level: info\r\n").storage.data_dir, "a");
  EXPECT_EQ(Parses("\xEF\xBB\xBF"
                   "data_dir: \"größe\"\n")
                .storage.data_dir,
            "größe");
  EXPECT_EQ(Parses("log:\n  level: info  # \"\n\t# a tab\n \t \ndata_dir: d\n").storage.data_dir,
            "d");
  EXPECT_EQ(Parses("listeners: [\n  mqtt://127.0.0.1:1,\n  mqtt://127.0.0.1:2,\n]\n")
                .broker.listeners.size(),
            2u);
}

TEST(Load, AConfigurationOfMosquittoIsRecognised) {
  EXPECT_EQ(
      ParseError("# mine\nlistener 1883\nallow_anonymous true\npassword_file /etc/pw\n"
                 "plugin /usr/lib/x.so\n"),
      "c.yaml: this is a configuration of mosquitto. That of mqttd is YAML (docs/configuration.md; "
      "mqttd --print-config prints one with all keys). Its settings are here:\n"
      "c.yaml:2: listener: listeners: [mqtt://ADDRESS:PORT] (0.0.0.0 for all addresses)\n"
      "c.yaml:3: allow_anonymous: auth.allow_anonymous\n"
      "c.yaml:4: password_file: auth.password_file; the file itself is taken as it is\n"
      "c.yaml:5: plugin: mqttd has nothing of the kind");
  // A line that only looks like one is YAML with a mistake.
  EXPECT_THAT(ParseError("listener 1883\nlog:\n  level: info\n  format: json\n"),
              StartsWith("c.yaml:"));
}

TEST(Load, ASyntaxErrorNamesItsPlace) {
  EXPECT_THAT(ParseError("mqtt: {receive_maximum: 1\n"), StartsWith("c.yaml:2:1: "));
  EXPECT_THAT(ParseError("mqtt: {\"a\n"), StartsWith("c.yaml:"));
}

TEST(Load, AllErrorsAreReportedAtOnce) {
  EXPECT_EQ(ParseError("mqtt: {maximum_qos: 3}\nlog: {level: loud}\nzebra: 1\n"),
            "c.yaml:3:1: zebra: no such key\n"
            "c.yaml:1:8: mqtt.maximum_qos: must be from 0 to 2, not 3\n"
            "c.yaml:2:7: log.level: must be one of debug, info, warning, error, off, not \"loud\"");
}

TEST(Load, TooManyErrorsAreCounted) {
  std::string yaml;
  for (int i = 0; i < 40; ++i) yaml += "zebra" + std::to_string(i) + ": 1\n";
  EXPECT_THAT(ParseError(yaml), HasSubstr("(and 15 more)"));
}

TEST(Load, DeepNestingIsRefused) {
  EXPECT_THAT(ParseError("listeners: " + std::string(200, '[') + std::string(200, ']')),
              HasSubstr("nested too deeply"));
}

TEST(Load, AMistakeOnTheCommandLineIsExplained) {
  EXPECT_EQ(LoadError({"--lisen", "x"}),
            "--lisen: no such flag; did you mean --listen?\n"
            "command line: unexpected argument x; a configuration "
            "file is given with --config");
  EXPECT_EQ(LoadError({"--mqtt-recieve-maximum=1"}),
            "--mqtt-recieve-maximum: no such flag; did you mean --mqtt-receive-maximum?");
  EXPECT_EQ(LoadError({"--data-dir"}), "--data-dir: needs a value");
  EXPECT_EQ(LoadError({"--version=1"}), "--version: takes no value");
  EXPECT_EQ(LoadError({"--set", "mqtt.receive_maximum"}),
            "--set: expects key=value, not mqtt.receive_maximum");
  EXPECT_EQ(LoadError({"--set", "mqtt.x=1"}), "--set mqtt.x: mqtt.x: no such key");
  EXPECT_EQ(LoadError({"--set", "mqtt=1"}), "--set mqtt: mqtt: is a section of keys, not a value");
  EXPECT_EQ(LoadError({"--set", "listeners.9.url=mqtt://127.0.0.1:1"}),
            "--set listeners.9.url: listeners.9.url: there is no such listener; there are 1, "
            "counted from 0");
  EXPECT_EQ(LoadError({"--set", "listeners.x.url=a"}),
            "--set listeners.x.url: listeners.x.url: a listener is named by its place, counted "
            "from 0: listeners.0.url");
  EXPECT_THAT(LoadError({"--listen", "http://a"}), StartsWith("--listen: "));
  EXPECT_EQ(LoadError({"--listen", " "}), "--listen: names no listener");
  EXPECT_EQ(LoadError({"--mqtt-receive-maximum=0"}),
            "--mqtt-receive-maximum: must be from 1 to 65535, not 0");
  EXPECT_EQ(LoadError({}, {"MQTTD_LOG_LEVEL=loud"}),
            "MQTTD_LOG_LEVEL: must be one of debug, info, warning, error, off, not \"loud\"");
}

TEST(Load, ANodeOfAClusterSaysWhereItListensAndWhereOthersMayBe) {
  const auto loaded =
      Load(std::vector<std::string>{"--cluster", "127.0.0.1:9885", "--join",
                                    "127.0.0.1:9885, b.example:9885", "--expected-size", "3"},
           {});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_TRUE(loaded->config.cluster.on());
  EXPECT_EQ(loaded->config.cluster.seeds, "127.0.0.1:9885, b.example:9885");
  EXPECT_EQ(loaded->config.cluster.expected_size, 3u);

  EXPECT_THAT(LoadError({"--join", "a:1"}), HasSubstr("needs cluster.listen (--cluster)"));
  EXPECT_THAT(LoadError({"--cluster", "127.0.0.1:9885", "--expected-size", "3"}),
              HasSubstr("nothing says where other nodes are"));
  EXPECT_TRUE(Load(std::vector<std::string>{"--cluster", "127.0.0.1:9885"}, {}).ok());
  EXPECT_THAT(LoadError({"--cluster", "nowhere"}), HasSubstr("is no HOST:PORT"));
  EXPECT_THAT(LoadError({"--cluster", "127.0.0.1:1", "--join", "a:1,,b:2"}),
              HasSubstr("nothing between two commas"));
  EXPECT_THAT(
      LoadError({"--cluster", "127.0.0.1:1", "--join", "a:1", "--set", "cluster.key_file=k"}),
      HasSubstr("cert_file, key_file and ca_file together"));
}

TEST(Load, AMissingFileIsAnError) {
  const absl::Status status =
      Load(std::vector<std::string>{"--config", "/nonexistent/mqttd.yaml"}, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nonexistent/mqttd.yaml"));
}

TEST(Load, ADirectoryIsNoConfiguration) {
  const absl::Status status =
      Load(std::vector<std::string>{"--config", testing::TempDir()}, {}).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("Is a directory"));
}

TEST(Load, VariablesThatKubernetesSetsAreNoErrors) {
  const auto loaded =
      Load({}, std::vector<std::string>{"MQTTD_PORT_1883_TCP=tcp://10.0.0.1:1883",
                                        "MQTTD_SERVICE_HOST=10.0.0.1", "MQTTD_LOG_LEVLE=debug"});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(loaded->warnings,
              ElementsAre("environment variable MQTTD_LOG_LEVLE names no key; did you mean "
                          "MQTTD_LOG_LEVEL?"));
}

// Which one held would be chance: what an image sets, and what its user does.
TEST(Load, TwoVariablesOfOneKeyAreAnErrorIfTheyDiffer) {
  EXPECT_EQ(LoadError({}, {"MQTTD_ACL_FILE=/a", "MQTTD_AUTH_ACL_FILE=/b"}),
            "MQTTD_AUTH_ACL_FILE: auth.acl_file has another value by MQTTD_ACL_FILE: set one of "
            "them");
  EXPECT_EQ(LoadError({}, {"MQTTD_AUTH_ACL_FILE=/b", "MQTTD_ACL_FILE=/a"}),
            "MQTTD_ACL_FILE: auth.acl_file has another value by MQTTD_AUTH_ACL_FILE: set one of "
            "them");
  EXPECT_EQ(LoadError({}, {"MQTTD_LISTENERS_0_BACKLOG=1", "MQTTD_LISTENERS_00_BACKLOG=2"}),
            "MQTTD_LISTENERS_00_BACKLOG: listeners.0.backlog has another value by "
            "MQTTD_LISTENERS_0_BACKLOG: set one of them");
  const auto same = Load(
      {}, std::vector<std::string>{"MQTTD_HTTP=off", "MQTTD_ADMIN=off", "MQTTD_HTTP_LISTEN=off"});
  ASSERT_TRUE(same.ok()) << same.status();
  EXPECT_THAT(same->warnings,
              ElementsAre("environment variables MQTTD_HTTP and MQTTD_HTTP_LISTEN are both "
                          "http.listen: one of them is enough"));
}

TEST(Load, AZeroThatForbidsNothingIsWarnedAbout) {
  const TemporaryFile file(
      "mqtt: {user_sessions_max: 0, publish_rate_max: unlimited, user_connections_max: 0}\n"
      "listeners:\n  - url: mqtt://127.0.0.1:0\n    connections_max: 00\n"
      "storage: {queue_bytes_max: 0KiB}\nbroker: {sys_interval: 0}\n");
  const auto loaded =
      Load(std::vector<std::string>{"-c", file.path(), "--set", "mqtt.user_connections_max=3",
                                    "--set", "storage.retained_messages_max=0"},
           {});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  constexpr char kWords[] = ": 0 is no bound at all; if that is meant, write unlimited";
  EXPECT_THAT(loaded->warnings,
              ElementsAre(file.path() + ":4:5: listeners.0.connections_max" + kWords,
                          file.path() + ":1:8: mqtt.user_sessions_max" + kWords,
                          file.path() + ":5:11: storage.queue_bytes_max" + kWords,
                          std::string("--set storage.retained_messages_max: "
                                      "storage.retained_messages_max") +
                              kWords));
  EXPECT_EQ(loaded->config.mqtt.user_sessions_max, 0u);
  EXPECT_THAT(
      Load(std::vector<std::string>{"--set", "mqtt.user_sessions_max=unlimited"}, {})->warnings,
      IsEmpty());
}

// ---- Who may connect.

TEST(Access, AnOpenDoorMustBeWanted) {
  EXPECT_EQ(LoadError({"--listen", "mqtt://0.0.0.0:1883"}),
            "--listen: listeners.0.url: nothing says who may connect to mqtt://0.0.0.0:1883. Set "
            "password_file, or use_identity_as_username with client certificates; or let everyone "
            "in with allow_anonymous: true (--allow-anonymous)");
  EXPECT_TRUE(Loads({"--listen", "mqtt://0.0.0.0:1883", "--allow-anonymous"})
                  .broker.listeners[0]
                  .auth.allow_anonymous);
}

TEST(Access, OneOpenListenerEndsTheExceptionForLocalOnes) {
  const std::string error =
      ParseError("listeners: [mqtt://127.0.0.1:1, {url: mqtt://0.0.0.0:2, password_file: /p}]\n");
  EXPECT_THAT(error, HasSubstr("listeners.0.url: nothing says who may connect"));
  EXPECT_THAT(error, HasSubstr("(and not all listeners are local)"));
}

TEST(Access, ALocalListenerBehindAProxyIsNotLocal) {
  EXPECT_THAT(ParseError("listeners: [{url: mqtt://127.0.0.1:1, proxy_protocol: true}]\n"),
              HasSubstr("nothing says who may connect"));
}

TEST(Access, APasswordFileEndsAnonymity) {
  EXPECT_FALSE(Loads({"--password-file", "/p"}).broker.listeners[0].auth.allow_anonymous);
  EXPECT_TRUE(Loads({"--password-file", "/p", "--allow-anonymous"})
                  .broker.listeners[0]
                  .auth.allow_anonymous);
}

TEST(Access, ClosingTheDoorForAllIsOnlyAWarning) {
  const auto loaded = Load({{"--allow-anonymous=false"}}, {});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_FALSE(loaded->config.broker.listeners[0].auth.allow_anonymous);
  EXPECT_THAT(loaded->warnings, ElementsAre(HasSubstr("nobody can connect")));
}

TEST(Access, TlsNeedsItsFiles) {
  EXPECT_THAT(LoadError({"--listen", "mqtts://127.0.0.1:1"}),
              HasSubstr("needs cert_file and key_file"));
  EXPECT_THAT(ParseError("listeners: [{url: mqtts://127.0.0.1:1, certFile: c, keyFile: k, "
                         "client_certificate: required}]\n"),
              HasSubstr("client_certificate: needs ca_file"));
  EXPECT_THAT(ParseError("listeners: [{url: mqtts://127.0.0.1:1, certFile: c, keyFile: k, "
                         "use_identity_as_username: cn}]\n"),
              HasSubstr("needs client_certificate: required"));
  EXPECT_THAT(ParseError("listeners: [{url: mqtt://127.0.0.1:1, use_identity_as_username: cn}]\n"),
              HasSubstr("has no TLS"));
  // A proxy may have ended the TLS; its header has the common name and nothing else.
  const std::string proxied =
      "listeners: [{url: mqtt://127.0.0.1:1, proxy_protocol: true, use_identity_as_username: ";
  EXPECT_EQ(ParseError(proxied + "cn}]\n"), "");
  EXPECT_THAT(ParseError(proxied + "dn}]\n"), HasSubstr("only the common name"));
}

// ---- Reload.

TEST(Reload, TellsWhatChangedAndWhatWaits) {
  const Config before = Parses("log: {level: info}\nbroker: {shards: 1}\n");
  const Config after = Parses(
      "log: {level: debug}\nbroker: {shards: 2}\nmqtt: {receive_maximum: 9}\n"
      "listeners: [{url: mqtt://127.0.0.1:1883, backlog: 5, mqtt: {maximum_qos: 1}}]\n");
  std::vector<std::string> lines;
  for (const Change& change : Diff(before, after)) {
    lines.push_back(change.path + " " + change.before + " " + change.after +
                    (change.effect == Effect::kReload ? " now" : " later"));
  }
  EXPECT_THAT(lines, ElementsAre("mqtt.receive_maximum 65535 9 now", "broker.shards 1 2 later",
                                 "log.level info debug now", "listeners.0.backlog 4096 5 later",
                                 "listeners.0.mqtt.maximum_qos 2 1 now"));
  const Config running = Reloaded(before, after);
  EXPECT_EQ(running.log.level, base::LogLevel::kDebug);
  EXPECT_EQ(running.broker.shards, 1u);
  EXPECT_EQ(running.broker.listeners[0].limits.receive_maximum, 9);
  EXPECT_EQ(running.broker.listeners[0].limits.maximum_qos, 1);
  EXPECT_EQ(running.broker.listeners[0].listener.backlog, 4096);
  lines.clear();
  for (const Change& change : Diff(running, after)) lines.push_back(change.path);
  EXPECT_THAT(lines, ElementsAre("broker.shards", "listeners.0.backlog")) << "what still waits";
}

TEST(Reload, OtherListenersWaitForARestart) {
  const Config before = Parses("listeners: [mqtt://127.0.0.1:1]\n");
  const Config after = Parses("listeners: [mqtt://127.0.0.1:2, mqtt://127.0.0.1:1]\n");
  const std::vector<Change> changes = Diff(before, after);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].path, "listeners");
  EXPECT_EQ(changes[0].effect, Effect::kRestart);
  EXPECT_EQ(Reloaded(before, after).broker.listeners.size(), 1u);
}

std::vector<std::string> Lines(const Config& before, const Config& after) {
  std::vector<std::string> lines;
  for (const Change& change : Diff(before, after))
    lines.push_back(absl::StrCat(change.path, " ", change.before, " ", change.after));
  return lines;
}

// Whatever else changes in the list: in both they are the same listener.
TEST(Reload, ListenersAreKnownByTheirUrls) {
  const Config before = Parses(
      "auth: {allow_anonymous: true}\n"
      "listeners: [{url: mqtt://127.0.0.1:1, mqtt: {maximum_qos: 2}}, mqtt://127.0.0.1:2]\n");
  const Config after = Parses(
      "auth: {allow_anonymous: false, password_file: /p}\n"
      "mqtt: {receive_maximum: 9}\n"
      "listeners: [mqtt://127.0.0.1:3, mqtt://127.0.0.1:2,\n"
      "            {url: mqtt://127.0.0.1:1, backlog: 5, mqtt: {maximum_qos: 1}}]\n");
  EXPECT_THAT(Lines(before, after),
              ElementsAre("auth.allow_anonymous true false", "auth.password_file  /p",
                          "mqtt.receive_maximum 65535 9",
                          "listeners mqtt://127.0.0.1:1, mqtt://127.0.0.1:2 "
                          "mqtt://127.0.0.1:3, mqtt://127.0.0.1:2, mqtt://127.0.0.1:1",
                          "listeners.2.backlog 4096 5", "listeners.2.mqtt.maximum_qos 2 1"));
  const Config running = Reloaded(before, after);
  ASSERT_EQ(running.broker.listeners.size(), 2u);
  for (const broker::ListenerSettings& listener : running.broker.listeners) {
    EXPECT_FALSE(listener.auth.allow_anonymous) << listener.name;
    EXPECT_EQ(listener.auth.password_file, "/p");
    EXPECT_EQ(listener.limits.receive_maximum, 9);
  }
  EXPECT_EQ(running.broker.listeners[0].limits.maximum_qos, 1);
  EXPECT_EQ(running.broker.listeners[0].listener.backlog, 4096);
  EXPECT_EQ(running.broker.listeners[1].limits.maximum_qos, 2);
  EXPECT_THAT(Lines(running, after),
              ElementsAre(StartsWith("listeners mqtt"), "listeners.2.backlog 4096 5"))
      << "what still waits";
  EXPECT_EQ(running.origins.at("listeners.0.mqtt.maximum_qos").where, "c.yaml:4:58");
}

TEST(Reload, ListenersAtAnyPortAreKnownByTheirNamesOrTheirOrder) {
  const Config before = Parses(
      "listeners: [{url: mqtt://127.0.0.1:0, name: a}, {url: mqtt://127.0.0.1:0, name: b},\n"
      "            mqtt://127.0.0.1:0]\n");
  const Config after = Parses(
      "listeners: [{url: mqtt://127.0.0.1:0, backlog: 3}, {url: mqtt://127.0.0.1:0, name: b,\n"
      "            backlog: 2}, {url: mqtt://127.0.0.1:0, name: a, backlog: 1}]\n");
  EXPECT_THAT(Lines(before, after),
              ElementsAre("listeners.2.backlog 4096 1", "listeners.1.backlog 4096 2",
                          "listeners.0.backlog 4096 3"));
}

// It serves on until the restart, and what the log calls changed holds there too.
TEST(Reload, AListenerThatIsGoneFromTheFileFollowsTheKeysOutside) {
  const std::string tls = "tls: {cert_file: /c, key_file: /k}\n";
  const Config before =
      Parses(tls +
             "auth: {allow_anonymous: true}\n"
             "listeners: [mqtt://127.0.0.1:1, {url: mqtt://127.0.0.1:2, allow_anonymous: true},\n"
             "            mqtts://127.0.0.1:3]\n");
  const Config after = Parses(
      "tls: {cert_file: /new, key_file: /k, ca_file: /ca, client_certificate: required}\n"
      "auth: {allow_anonymous: false, password_file: /p}\nmqtt: {maximum_qos: 1}\n"
      "listeners: [mqtt://127.0.0.1:4]\n");
  const Config running = Reloaded(before, after);
  ASSERT_EQ(running.broker.listeners.size(), 3u);
  EXPECT_FALSE(running.broker.listeners[0].auth.allow_anonymous);
  EXPECT_TRUE(running.broker.listeners[1].auth.allow_anonymous) << "its own word";
  for (const broker::ListenerSettings& listener : running.broker.listeners) {
    EXPECT_EQ(listener.auth.password_file, "/p");
    EXPECT_EQ(listener.limits.maximum_qos, 1);
  }
  EXPECT_EQ(running.broker.listeners[2].listener.tls.cert_file, "/new");
  EXPECT_EQ(running.broker.listeners[2].listener.tls.client_certificate,
            broker::TlsOptions::ClientCertificate::kRequired);
  const Config without = Reloaded(before, Parses("listeners: [mqtt://127.0.0.1:4]\n"));
  EXPECT_EQ(without.broker.listeners[2].listener.tls.cert_file, "/c") << "or it could not serve";
}

TEST(Reload, NobodyIsLetInWithoutAWordOnceThereAreUsers) {
  const Config before = Parses("listeners: [mqtt://127.0.0.1:1]\n");
  EXPECT_TRUE(before.broker.listeners[0].auth.allow_anonymous);
  const auto after = [&](const std::string& auth) {
    return Reloaded(before, Parses(auth + "listeners: [mqtt://127.0.0.1:2]\n"))
        .broker.listeners[0]
        .auth.allow_anonymous;
  };
  EXPECT_FALSE(after("auth: {password_file: /p}\n"));
  EXPECT_FALSE(after("auth: {allow_anonymous: false}\n"));
  EXPECT_TRUE(after("auth: {allow_anonymous: true, password_file: /p}\n"));
  EXPECT_TRUE(after(""));
}

TEST(Reload, FurtherListenersAreThoseThatDoNotRun) {
  const Config running = Parses("listeners: [mqtt://127.0.0.1:1, mqtt://127.0.0.1:0]\n");
  const Config wanted = Parses(
      "listeners: [mqtt://127.0.0.1:2, mqtt://127.0.0.1:0, mqtt://127.0.0.1:1,\n"
      "            {url: mqtt://127.0.0.1:0, name: another}]\n");
  std::vector<std::string> names;
  for (const auto& listener : FurtherListeners(running, wanted)) names.push_back(listener.name);
  EXPECT_THAT(names, ElementsAre("mqtt://127.0.0.1:2", "another"));
}

TEST(Reload, NothingChangedIsNothing) {
  const Config config = Parses("log: {level: info}\n");
  EXPECT_THAT(Diff(config, config), IsEmpty());
}

}  // namespace
}  // namespace config
