// --print-config and the generated documentation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/schema.h"

namespace config {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

Config Parses(absl::string_view yaml) {
  const absl::StatusOr<Config> config = Parse(yaml, "c.yaml");
  EXPECT_TRUE(config.ok()) << config.status() << "\n" << yaml;
  return config.ok() ? *config : Config();
}

std::vector<std::string> Differences(const Config& a, const Config& b) {
  std::vector<std::string> lines;
  for (const Change& change : Diff(a, b)) {
    lines.push_back(change.path + ": " + change.before + " -> " + change.after);
  }
  return lines;
}

TEST(Print, ReadsBackToTheSameConfiguration) {
  for (const char* yaml :
       {"", "listeners: [unix:/tmp/a_b.sock, 'ws://127.0.0.1:0/mqtt']\n",
        "listeners:\n  - url: mqtts://*:8883\n    cert_file: 'a\"b\\c'\n    key_file: "
        "\"ü\\n\\t#\"\n"
        "    name: \"null\"\n    password_file: '-'\n    mqtt: {maximum_qos: 0, queue_full: "
        "disconnect}\nauth: {allow_anonymous: yes}\n",
        "mqtt: {session_expiry_interval_max: never, keep_alive_max: 1h30m}\n"
        "tls: {min_version: 1.3, ciphers: 'ECDHE+AESGCM:!aNULL'}\nhttp: {listen: '[::1]:0'}\n"
        "durability: none\nlog: {file: /var/log/mqttd.log}\n"}) {
    const Config config = Parses(yaml);
    const Config again = Parses(Print(config));
    EXPECT_THAT(Differences(config, again), IsEmpty()) << Print(config);
    for (size_t i = 0; i < config.broker.listeners.size(); ++i) {
      for (const auto& key : ListenerKeys()) {
        EXPECT_EQ(key.get(config.broker.listeners[i]), key.get(again.broker.listeners[i]))
            << key.path;
      }
    }
  }
}

TEST(Print, SaysWhereEachValueComesFrom) {
  const std::string text = Print(
      Parses("mqtt:\n  maximum_qos: 1\nlisteners:\n  - url: mqtt://127.0.0.1:5\n    mqtt:\n      "
             "maximum_qos: 2\n"));
  EXPECT_THAT(text, HasSubstr("  maximum_qos: 1  # from c.yaml:2:3\n"));
  EXPECT_THAT(text, HasSubstr("  retain_available: true  # default\n"));
  EXPECT_THAT(text, HasSubstr("  - url: mqtt://127.0.0.1:5  # from c.yaml:4:5\n"));
  EXPECT_THAT(text, HasSubstr("    mqtt:\n      maximum_qos: 2  # from c.yaml:6:7\n"));
}

TEST(Print, NoLineIsLongerThanAScreenUnlessAValueIs) {
  std::istringstream lines(Print(Config()));
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100u) << line;
}

TEST(Schema, EveryKeyIsDescribedAndUnique) {
  std::set<std::string> flags = {"--config", "--set", "--listen", "--help", "--version"};
  for (const Key<Config>& key : ConfigKeys()) {
    EXPECT_FALSE(key.doc.empty()) << key.path;
    EXPECT_EQ(key.doc.find('\n'), std::string::npos) << key.path;
    EXPECT_TRUE(flags.insert(FlagName(key.path)).second) << key.path;
    if (!key.flag.empty()) {
      EXPECT_TRUE(flags.insert(key.flag).second) << key.path;
    }
    EXPECT_EQ(CanonicalName(key.path), key.path);
  }
}

TEST(Schema, EveryDefaultIsAllowed) {
  const Config defaults;
  for (const Key<Config>& key : ConfigKeys()) {
    const std::string text = FormatValue(key.domain, key.get(defaults));
    const absl::StatusOr<Value> value = ParseValue(key.domain, text);
    ASSERT_TRUE(value.ok()) << key.path << ": " << value.status();
    EXPECT_EQ(*value, key.get(defaults)) << key.path;
  }
}

TEST(Schema, SettingAKeyChangesThatKeyOnly) {
  const Config defaults;
  for (const Key<Config>& key : ConfigKeys()) {
    Config config;
    Value other = std::string("other");
    const Value before = key.get(config);
    if (const bool* flag = std::get_if<bool>(&before)) other = !*flag;
    if (const int64_t* number = std::get_if<int64_t>(&before)) {
      other = *number == key.domain.min ? *number + 1 : *number - 1;
    }
    for (const std::string& choice : key.domain.choices) {
      if (Value(choice) != before) other = choice;
    }
    key.set(config, other);
    const std::vector<Change> changes = Diff(defaults, config);
    ASSERT_EQ(changes.size(), 1u) << key.path;
    EXPECT_EQ(changes[0].path, key.path);
  }
}

TEST(Schema, AListenersInheritedKeysExistOutside) {
  size_t inherited = 0;
  for (const auto& key : ListenerKeys()) {
    if (!InheritedFrom(key.path).empty()) ++inherited;
  }
  EXPECT_GT(inherited, 20u);
  EXPECT_EQ(InheritedFrom("cert_file"), "tls.cert_file");
  EXPECT_EQ(InheritedFrom("acl_file"), "auth.acl_file");
  EXPECT_EQ(InheritedFrom("mqtt.maximum_qos"), "mqtt.maximum_qos");
  EXPECT_EQ(InheritedFrom("url"), "");
}

// With MQTTD_UPDATE_DOCS set it writes the file instead; the diff is the review.
TEST(Documentation, IsUpToDate) {
  const std::string path = MQTTD_SOURCE_DIR "/docs/configuration.md";
  if (std::getenv("MQTTD_UPDATE_DOCS") != nullptr) std::ofstream(path) << Documentation();
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  EXPECT_EQ(text.str(), Documentation()) << "run: MQTTD_UPDATE_DOCS=1 ./dev test config_print_test";
}

TEST(Documentation, NamesEveryKey) {
  const std::string text = Documentation();
  for (const Key<Config>& key : ConfigKeys()) EXPECT_THAT(text, HasSubstr("`" + key.path + "`"));
}

TEST(Usage, NamesTheUsualFlagsAndAllOfThemIfAsked) {
  for (const char* flag : {"--config", "--listen", "--data-dir", "--allow-anonymous", "--http",
                           "--set", "--check-config", "--print-config", "--version"}) {
    EXPECT_THAT(Usage(Action::kHelp), HasSubstr(flag));
  }
  for (const Key<Config>& key : ConfigKeys()) {
    EXPECT_THAT(Usage(Action::kHelpAll), HasSubstr(FlagName(key.path)));
  }
}

}  // namespace
}  // namespace config
