// What permission changes: §3.1.4 authentication, the refusals of PUBLISH and SUBSCRIBE, and what
// the process connects to.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "tests/spec/spec_test.h"

namespace spec {
namespace {

using enum PropertyId;
using enum PacketType;

// A broker with one user, "ann", whose password is "correct horse" and who may use only topics
// under open/.
class Guarded {
 public:
  Guarded() : broker_({.allow_anonymous = false, .set = Settings()}) {}
  ~Guarded() { std::filesystem::remove_all(Directory()); }
  uint16_t port() const { return broker_.port(); }

 private:
  static std::filesystem::path Directory() {
    return std::filesystem::temp_directory_path() / ("mqttd-access-" + std::to_string(getpid()));
  }
  static std::vector<std::string> Settings() {
    std::filesystem::create_directories(Directory());
    // PBKDF2 with SHA-512, 101 rounds: mosquitto's form.
    std::ofstream(Directory() / "passwords")
        << "ann:$7$101$MDEyMzQ1Njc4OWFi$bGJdXfn6P9jmSY0ZCpIaCSkQ1XayfQBMBwplxxuT8e+"
           "N6cR6JaUl22kyOezT4vgFZzRNUODVbwJMCRIfFS1o8A==\n";
    std::ofstream(Directory() / "acl") << "user ann\ntopic readwrite open/#\n";
    std::filesystem::permissions(Directory() / "passwords", std::filesystem::perms(0600));
    std::filesystem::permissions(Directory() / "acl", std::filesystem::perms(0600));
    return {"auth.password_file=" + (Directory() / "passwords").string(),
            "auth.acl_file=" + (Directory() / "acl").string()};
  }
  support::BrokerProcess broker_;
};

uint16_t GuardedPort() {
  static Guarded guarded;
  return guarded.port();
}

ConnectPacket Ann(Version version, std::string_view name) {
  ConnectPacket connect = Transient(version, name);
  connect.user_name = "ann";
  connect.password = "correct horse";
  return connect;
}

RawClient JoinAsAnn(Version version, std::string_view name, Where where = Where::current()) {
  return RawClient(GuardedPort(), Ann(version, name), where);
}

void ExpectRefused(const ConnectPacket& connect, unsigned code) {
  RawClient client(GuardedPort(), connect.version);
  client.Send(connect.Encode());
  client.ExpectConnack(code);
  client.ExpectClosed();
}

TEST(Spec, MQTT5_3_1_4_2) {
  JoinAsAnn(kV5, "client").ExpectNothing();
  ConnectPacket wrong = Ann(kV5, "client");
  wrong.password = "battery staple";
  ExpectRefused(wrong, 0x86);
  wrong = Ann(kV5, "client");
  wrong.user_name = "bob";
  ExpectRefused(wrong, 0x86);
  ExpectRefused(Transient(kV5, "client"), 0x87);
}

// The password is read from behind the user name, and both from behind the will.
void ReadsCredentialsInOrder(Version version) {
  ConnectPacket connect = Ann(version, "client");
  connect.will = Will{.topic = "open/" + Unique("t"), .payload = "correct horse"};
  RawClient(GuardedPort(), connect).ExpectNothing();
  connect.password = "ann";
  connect.user_name = "correct horse";
  ExpectRefused(connect, version == kV5 ? 0x86 : 0x04);
}
TEST(Spec, MQTT5_3_1_2_17) { ReadsCredentialsInOrder(kV5); }
TEST(Spec, MQTT5_3_1_2_19) { ReadsCredentialsInOrder(kV5); }
TEST(Spec, MQTT311_3_1_2_19) { ReadsCredentialsInOrder(kV311); }
TEST(Spec, MQTT311_3_1_2_21) { ReadsCredentialsInOrder(kV311); }

// 3.1.1 cannot say no to a PUBLISH: it is acknowledged, or the connection ends; delivered it is
// not.
TEST(Spec, MQTT311_3_3_5_2) {
  RawClient watcher = JoinAsAnn(kV311, "watcher");
  watcher.Subscribe({{"open/" + Unique("t"), 0}});
  for (const unsigned qos : {1U, 2U}) {
    RawClient client = JoinAsAnn(kV311, "client");
    client.Send(PublishPacket{
        .topic = "closed/" + Unique("t"), .payload = "no", .qos = qos, .packet_id = 5});
    const std::optional<Packet> answer = client.Read();
    if (!answer) continue;
    EXPECT_EQ(answer->type, qos == 1 ? kPuback : kPubrec);
    EXPECT_EQ(answer->packet_id, 5);
  }
  RawClient publisher = JoinAsAnn(kV311, "publisher");
  publisher.Publish({.topic = "closed/" + Unique("t"), .payload = "no"});
  ExpectEnd(publisher, watcher, "open/" + Unique("t"), 0);
}

// A PUBREC that refuses ends the exchange: the next PUBLISH with that identifier is a new message.
TEST(Spec, MQTT5_4_3_3_9) {
  const std::string topic = "open/" + Unique("t");
  RawClient subscriber = JoinAsAnn(kV5, "subscriber");
  subscriber.Subscribe({{topic, 2}});
  RawClient publisher = JoinAsAnn(kV5, "publisher");
  for (int i = 0; i < 2; ++i) {
    publisher.Send(
        PublishPacket{.topic = "closed/" + Unique("t"), .payload = "no", .qos = 2, .packet_id = 5});
    publisher.ExpectAck(kPubrec, 5, 0x87);
    publisher.Send(PublishPacket{.topic = topic, .payload = "yes", .qos = 2, .packet_id = 5});
    publisher.ExpectAck(kPubrec, 5);
    publisher.Send(Ack(kPubrel, 5));
    publisher.ExpectAck(kPubcomp, 5);
    subscriber.Acknowledge(subscriber.ExpectPublish(topic, "yes"));
  }
}

// Codes of refusals and of acceptance, each of its own packet's set.
TEST(Spec, MQTT5_3_4_2_1) {
  RawClient client = JoinAsAnn(kV5, "client");
  const std::set<unsigned> codes = {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99};
  for (const std::string topic : {"open/", "closed/"}) {
    client.Send(PublishPacket{.topic = topic + Unique("t"), .qos = 1, .packet_id = 5});
    const Packet puback = client.Expect(kPuback);
    EXPECT_TRUE(codes.contains(puback.reason)) << puback.ToString();
    EXPECT_EQ(puback.reason == 0x87, topic == "closed/");
  }
}
TEST(Spec, MQTT5_3_5_2_1) {
  RawClient client = JoinAsAnn(kV5, "client");
  const std::set<unsigned> codes = {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99};
  for (const std::string topic : {"open/", "closed/"}) {
    client.Send(PublishPacket{.topic = topic + Unique("t"),
                              .qos = 2,
                              .packet_id = topic == "open/" ? uint16_t{5} : uint16_t{6}});
    const Packet pubrec = client.Expect(kPubrec);
    EXPECT_TRUE(codes.contains(pubrec.reason)) << pubrec.ToString();
    EXPECT_EQ(pubrec.reason == 0x87, topic == "closed/");
  }
}
TEST(Spec, MQTT5_3_6_2_1) {
  RawClient client = Join(kV5, "client");
  client.Send(Ack(kPubrec, 99));  // Nothing is open under it.
  client.ExpectAck(kPubrel, 99, 0x92);
  client.Subscribe({{Unique("t"), 2}});
  client.Publish({.topic = Unique("t"), .qos = 2});
  client.Acknowledge(client.Expect(kPublish));  // PUBREL 0x00.
}
TEST(Spec, MQTT5_3_7_2_1) {
  RawClient client = Join(kV5, "client");
  client.Send(Ack(kPubrel, 99));
  client.ExpectAck(kPubcomp, 99, 0x92);
  client.Publish({.topic = Unique("t"), .qos = 2});  // PUBCOMP 0x00.
}

// Beside the statements: what SUBSCRIBE to a closed topic is told, in both versions, in its place.
TEST(Access, SubackSaysWhichFilterIsClosed) {
  for (const Version version : {kV5, kV311}) {
    RawClient client = JoinAsAnn(version, "client");
    client.Send(support::Subscribe(
        version, 1, {{"open/" + Unique("t"), 1}, {"closed/" + Unique("t"), 1}, {"open/#", 0}}));
    EXPECT_THAT(client.ExpectAck(kSuback, 1).reasons,
                testing::ElementsAre(1, version == kV5 ? 0x87 : 0x80, 0));
  }
}

// A server that also connects to others must be a conforming client: this one connects to nobody.
// Every TCP connection the process has, while it carries traffic, belongs to one of its listeners.
TEST(Spec, MQTT311_7_0_0_1) {
  support::BrokerProcess& broker = SharedBroker();
  RawClient client = Join(kV311, "client");
  client.Subscribe({{Unique("t"), 1}});
  client.Publish({.topic = Unique("t"), .payload = "x", .qos = 1});
  client.ExpectPublish(Unique("t"), "x");

  std::set<std::string> sockets;
  const std::string process = "/proc/" + std::to_string(broker.pid());
  for (const auto& entry : std::filesystem::directory_iterator(process + "/fd")) {
    std::error_code gone;
    const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
    if (target.starts_with("socket:[")) sockets.insert(target.substr(8, target.size() - 9));
  }
  int connections = 0;
  for (const char* table : {"/net/tcp", "/net/tcp6"}) {
    std::ifstream lines(process + table);
    std::string line;
    std::getline(lines, line);  // The heading.
    while (std::getline(lines, line)) {
      std::istringstream fields(line);
      std::string slot, local, remote, state, skip, inode;
      fields >> slot >> local >> remote >> state >> skip >> skip >> skip >> skip >> skip >> inode;
      if (state == "0A" || !sockets.contains(inode)) continue;  // 0A: it listens.
      ++connections;
      const auto port =
          static_cast<uint16_t>(std::stoul(local.substr(local.rfind(':') + 1), nullptr, 16));
      EXPECT_TRUE(port == broker.port() || port == broker.http_port()) << line;
    }
  }
  EXPECT_GE(connections, 1) << "our own connection was not found";
}

}  // namespace
}  // namespace spec
