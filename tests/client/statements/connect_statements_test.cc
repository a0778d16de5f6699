// What binds clients about CONNECT, CONNACK and the end of a connection.
#include "tests/client/statements/statements_test.h"
#include "tests/support/wire.h"

namespace mqttd::client {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class ConnectStatements : public ClientStatements {
 protected:
  void ConnectIsFirst(Version version);
  void ANewSessionIsNew(Version version);
  void AWillIsWholeAndUsed(Version version);
  void NoWillNoFlags(Version version);
  void AWillHasAQosThatThereIs(Version version);
  void FlagsTellOfNameAndPassword(Version version);
  void PayloadIsInOrder(Version version);
  void TheIdentifierNamesTheSession(Version version);
  void TextOfConnectIsText(Version version, const std::function<void(Options&, std::string)>& put);
  void PingsWithinKeepAlive(Version version);
  void TheServersKeepAliveIsUsed();
  void ASessionIsKept(Version version);
  void DisconnectIsTheLast(Version version);
  void ClosesAfterDisconnect(Version version);
};
MQTTD_AGAINST_BOTH_SERVERS(ConnectStatements);

constexpr uint8_t kCleanStart = 0x02, kWill = 0x04, kWillQos = 0x18, kWillRetain = 0x20,
                  kPassword = 0x40, kUserName = 0x80;

void ConnectStatements::ConnectIsFirst(Version version) {
  Subject& subject = Join(version, Kept);
  Publish(subject, "x", QoS::kAtLeastOnce);
  Break(subject);
  Publish(subject, "y", QoS::kAtLeastOnce);
  size_t connection = 0;
  for (const Heard& heard : subject.tap.sent()) {
    const bool first = heard.connection != connection;
    connection = heard.connection;
    EXPECT_EQ(heard.type == PacketType::kConnect, first) << "once, and before all others";
  }
  EXPECT_EQ(connection, 2u);
}
TEST_P(ConnectStatements, MQTT5_3_1_0_1) { ConnectIsFirst(Version::k5); }
TEST_P(ConnectStatements, MQTT311_3_1_0_1) { ConnectIsFirst(Version::k311); }

// With a session at the server: who asks for a new one says so, and takes up nothing of the old.
void ConnectStatements::ANewSessionIsNew(Version version) {
  Subject& before = Join(version, Kept);
  Subscribe(before, Own("t"), QoS::kAtLeastOnce);
  ASSERT_TRUE(Disconnect(before).ok());
  Subject& after = Make(version);
  const auto connected = Connect(after);
  ASSERT_TRUE(connected.ok() && connected->ok()) << connected.status();
  EXPECT_FALSE(connected->session_present);
  EXPECT_EQ(ConnectFlags(*after.tap.Sent(PacketType::kConnect)[0]) & kCleanStart, kCleanStart);
  Publish(Talker(), "for the old one", QoS::kAtLeastOnce);
  Ping(after);
  EXPECT_THAT(after.got, IsEmpty());
}
TEST_P(ConnectStatements, MQTT5_3_1_2_4) { ANewSessionIsNew(Version::k5); }
TEST_P(ConnectStatements, MQTT311_3_1_2_6) { ANewSessionIsNew(Version::k311); }

void ConnectStatements::AWillIsWholeAndUsed(Version version) {
  Subject& listener = Listener(Own("will"));
  Subject& mortal = Make(version, [&](Options& options) {
    options.session.will = {.message = At(Own("will"), "gone", QoS::kAtLeastOnce)};
    options.session.will->message.retain = true;
    options.session.will->message.content_type = "text/plain";
  });
  ASSERT_TRUE(Connect(mortal).ok());
  const mqtt::Connect connect = ConnectOf(mortal);
  ASSERT_TRUE(connect.will.has_value());
  EXPECT_EQ(connect.will->topic, Own("will"));
  EXPECT_EQ(connect.will->payload, "gone");
  EXPECT_EQ(connect.will->qos, QoS::kAtLeastOnce);
  EXPECT_TRUE(connect.will->retain);
  mortal.tap.HangUp();
  Until([&] { return listener.got.size() == 1; });
  EXPECT_EQ(listener.got[0].payload, "gone");
  EXPECT_EQ(listener.got[0].qos, QoS::kAtLeastOnce);
  if (version == Version::k5) {
    EXPECT_EQ(listener.got[0].content_type, "text/plain");
  }
  Message none = At(Own("will"), "", QoS::kAtLeastOnce);
  none.retain = true;
  EXPECT_TRUE(Publish(listener, none).ok());
}
TEST_P(ConnectStatements, MQTT5_3_1_2_9) { AWillIsWholeAndUsed(Version::k5); }
TEST_P(ConnectStatements, MQTT311_3_1_2_9) { AWillIsWholeAndUsed(Version::k311); }

void ConnectStatements::NoWillNoFlags(Version version) {
  Subject& subject = Make(version);
  const auto connected = Connect(subject);
  ASSERT_TRUE(connected.ok() && connected->ok());
  const Heard& heard = *subject.tap.Sent(PacketType::kConnect)[0];
  EXPECT_EQ(ConnectFlags(heard) & (kWill | kWillQos | kWillRetain), 0);
  EXPECT_FALSE(ConnectOf(subject).will.has_value());
  EXPECT_TRUE(heard.body.ends_with(support::Text(Own("device")))) << "nothing follows it";
}
TEST_P(ConnectStatements, MQTT5_3_1_2_11) { NoWillNoFlags(Version::k5); }
TEST_P(ConnectStatements, MQTT5_3_1_2_13) { NoWillNoFlags(Version::k5); }
TEST_P(ConnectStatements, MQTT311_3_1_2_11) { NoWillNoFlags(Version::k311); }
TEST_P(ConnectStatements, MQTT311_3_1_2_13) { NoWillNoFlags(Version::k311); }
TEST_P(ConnectStatements, MQTT311_3_1_2_15) { NoWillNoFlags(Version::k311); }

void ConnectStatements::AWillHasAQosThatThereIs(Version version) {
  for (int qos = 0; qos <= 3; ++qos) {
    Subject& subject = Make(version, [&](Options& options) {
      options.session.will = {.message = At(Own("will"), "gone", static_cast<QoS>(qos))};
    });
    const auto connected = Connect(subject);
    if (qos == 3) {
      EXPECT_EQ(connected.status().code(), absl::StatusCode::kInvalidArgument);
      EXPECT_THAT(subject.tap.sent(), IsEmpty());
      break;
    }
    ASSERT_TRUE(connected.ok() && connected->ok()) << connected.status();
    const uint8_t flags = ConnectFlags(*subject.tap.Sent(PacketType::kConnect)[0]);
    EXPECT_EQ((flags & kWillQos) >> 3, qos);
    ASSERT_TRUE(Disconnect(subject).ok());
  }
}
TEST_P(ConnectStatements, MQTT5_3_1_2_12) { AWillHasAQosThatThereIs(Version::k5); }
TEST_P(ConnectStatements, MQTT311_3_1_2_14) { AWillHasAQosThatThereIs(Version::k311); }

// Whether the server lets them in is not the question.
void ConnectStatements::FlagsTellOfNameAndPassword(Version version) {
  for (const bool name : {false, true}) {
    for (const bool password : {false, true}) {
      if (password && !name && version != Version::k5) continue;
      Subject& subject = Make(version, [&](Options& options) {
        if (name) options.session.user_name = "ann";
        if (password) options.session.password = std::string("\0\xFF", 2);
      });
      ASSERT_TRUE(Connect(subject).ok());
      const Heard& heard = *subject.tap.Sent(PacketType::kConnect)[0];
      EXPECT_EQ(ConnectFlags(heard) & (kUserName | kPassword),
                (name ? kUserName : 0) | (password ? kPassword : 0));
      std::string end = support::Text(Own("device"));
      if (name) end += support::Text("ann");
      if (password) end += support::Text(std::string("\0\xFF", 2));
      EXPECT_TRUE(heard.body.ends_with(end)) << name << password;
      subject.client.Close();
    }
  }
}
TEST_P(ConnectStatements, MQTT5_3_1_2_16) { FlagsTellOfNameAndPassword(Version::k5); }
TEST_P(ConnectStatements, MQTT5_3_1_2_17) { FlagsTellOfNameAndPassword(Version::k5); }
TEST_P(ConnectStatements, MQTT5_3_1_2_18) { FlagsTellOfNameAndPassword(Version::k5); }
TEST_P(ConnectStatements, MQTT5_3_1_2_19) { FlagsTellOfNameAndPassword(Version::k5); }
TEST_P(ConnectStatements, MQTT311_3_1_2_18) { FlagsTellOfNameAndPassword(Version::k311); }
TEST_P(ConnectStatements, MQTT311_3_1_2_19) { FlagsTellOfNameAndPassword(Version::k311); }
TEST_P(ConnectStatements, MQTT311_3_1_2_20) { FlagsTellOfNameAndPassword(Version::k311); }
TEST_P(ConnectStatements, MQTT311_3_1_2_21) { FlagsTellOfNameAndPassword(Version::k311); }

TEST_P(ConnectStatements, MQTT311_3_1_2_22) {
  Subject& subject =
      Make(Version::k311, [](Options& options) { options.session.password = "secret"; });
  const auto connected = Connect(subject);
  EXPECT_EQ(connected.status().code(), absl::StatusCode::kInvalidArgument) << connected.status();
  EXPECT_THAT(subject.tap.sent(), IsEmpty());
}

void ConnectStatements::PayloadIsInOrder(Version version) {
  Subject& subject = Make(version, [&](Options& options) {
    options.session.will = {.message = At(Own("will"), "gone", QoS::kAtMostOnce)};
    options.session.user_name = "ann";
    options.session.password = "secret";
  });
  ASSERT_TRUE(Connect(subject).ok());
  const std::string will_properties = version == Version::k5 ? std::string(1, '\0') : "";
  EXPECT_TRUE(subject.tap.Sent(PacketType::kConnect)[0]->body.ends_with(
      support::Text(Own("device")) + will_properties + support::Text(Own("will")) +
      support::Text("gone") + support::Text("ann") + support::Text("secret")));
}
TEST_P(ConnectStatements, MQTT5_3_1_3_1) { PayloadIsInOrder(Version::k5); }
TEST_P(ConnectStatements, MQTT311_3_1_3_1) { PayloadIsInOrder(Version::k311); }

// One identifier, one session, whatever client object uses it; another identifier, another one.
void ConnectStatements::TheIdentifierNamesTheSession(Version version) {
  Subject& first = Join(version, Kept, "first");
  ASSERT_TRUE(Disconnect(first).ok());
  Subject& other = Make(version, Kept, "second");
  Subject& same = Make(version, Kept, "first");
  EXPECT_FALSE(Connect(other)->session_present);
  EXPECT_TRUE(Connect(same)->session_present);
  for (const Subject* subject : {&first, &same}) {
    EXPECT_EQ(ConnectOf(*subject).client_id, Own("first"));
  }
  const std::string& body = same.tap.Sent(PacketType::kConnect)[0]->body;
  EXPECT_TRUE(body.ends_with(support::Text(Own("first")))) << "the first of the payload, and all";
}
TEST_P(ConnectStatements, MQTT5_3_1_3_2) { TheIdentifierNamesTheSession(Version::k5); }
TEST_P(ConnectStatements, MQTT5_3_1_3_3) { TheIdentifierNamesTheSession(Version::k5); }
TEST_P(ConnectStatements, MQTT311_3_1_3_2) { TheIdentifierNamesTheSession(Version::k311); }
TEST_P(ConnectStatements, MQTT311_3_1_3_3) { TheIdentifierNamesTheSession(Version::k311); }

// What is no text is refused before anything is sent; what is leaves as it is.
void ConnectStatements::TextOfConnectIsText(Version version,
                                            const std::function<void(Options&, std::string)>& put) {
  for (const std::string& text :
       {std::string("\xFF"), std::string("\xED\xA0\x80"), std::string("a\0b", 3)}) {
    Subject& subject = Make(version, [&](Options& options) { put(options, text); });
    EXPECT_EQ(Connect(subject).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(subject.tap.sent(), IsEmpty());
  }
  const std::string umlauts = Own("gr\xC3\xBC\xC3\x9F") + "\xEF\xBB\xBF";
  Subject& subject = Make(version, [&](Options& options) { put(options, umlauts); });
  ASSERT_TRUE(Connect(subject).ok());
  EXPECT_THAT(subject.tap.Sent(PacketType::kConnect)[0]->body, HasSubstr(support::Text(umlauts)));
}

void PutIdentifier(Options& options, std::string text) {
  options.session.client_id = std::move(text);
}
void PutUserName(Options& options, std::string text) {
  options.session.user_name = std::move(text);
}
void PutWillTopic(Options& options, std::string text) {
  options.session.will = SessionOptions::Will();
  options.session.will->message.topic = std::move(text);
}
TEST_P(ConnectStatements, MQTT5_3_1_3_4) { TextOfConnectIsText(Version::k5, PutIdentifier); }
TEST_P(ConnectStatements, MQTT5_3_1_3_11) { TextOfConnectIsText(Version::k5, PutWillTopic); }
TEST_P(ConnectStatements, MQTT5_3_1_3_12) { TextOfConnectIsText(Version::k5, PutUserName); }
TEST_P(ConnectStatements, MQTT311_3_1_3_4) { TextOfConnectIsText(Version::k311, PutIdentifier); }
TEST_P(ConnectStatements, MQTT311_3_1_3_10) { TextOfConnectIsText(Version::k311, PutWillTopic); }
TEST_P(ConnectStatements, MQTT311_3_1_3_11) { TextOfConnectIsText(Version::k311, PutUserName); }

TEST_P(ConnectStatements, MQTT311_3_1_3_7) {
  const auto nameless = [](Options& options) { options.session.client_id.clear(); };
  Subject& subject = Make(Version::k311, nameless);
  const auto connected = Connect(subject);
  ASSERT_TRUE(connected.ok() && connected->ok()) << connected.status();
  EXPECT_EQ(ConnectFlags(*subject.tap.Sent(PacketType::kConnect)[0]) & kCleanStart, kCleanStart);
  Subject& kept = Make(Version::k311, [&](Options& options) {
    nameless(options);
    Kept(options);
  });
  EXPECT_EQ(Connect(kept).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(kept.tap.sent(), IsEmpty());
}

// ---- Keep Alive

void ConnectStatements::PingsWithinKeepAlive(Version version) {
  Subject& subject = Join(version, [](Options& options) { options.session.keep_alive_s = 3; });
  UntilHeard(subject, PacketType::kPingResp, 2);
  EXPECT_EQ(subject.tap.connections(), 1u) << "a server ends it after four and a half seconds";
}
TEST_P(ConnectStatements, MQTT5_3_1_2_20) { PingsWithinKeepAlive(Version::k5); }
TEST_P(ConnectStatements, MQTT311_3_1_2_23) { PingsWithinKeepAlive(Version::k311); }

// The client would say nothing for an hour; the server ends who is silent for fifteen seconds.
void ConnectStatements::TheServersKeepAliveIsUsed() {
  Limit({.keep_alive_s = 10});
  Subject& subject =
      Make(Version::k5, [](Options& options) { options.session.keep_alive_s = 3600; });
  const auto connected = Connect(subject);
  ASSERT_TRUE(connected.ok()) << connected.status();
  EXPECT_EQ(connected->keep_alive_s, 10);
  UntilHeard(subject, PacketType::kPingResp, 1);
  EXPECT_EQ(subject.tap.connections(), 1u);
}
TEST_P(ConnectStatements, MQTT5_3_1_2_21) { TheServersKeepAliveIsUsed(); }
TEST_P(ConnectStatements, MQTT5_3_2_2_21) { TheServersKeepAliveIsUsed(); }

// ---- The session

// On both sides: what the server keeps is asked for, and what the client has open is gone on with.
void ConnectStatements::ASessionIsKept(Version version) {
  Subject& subject = Join(version, Kept);
  Subscribe(subject, Own("t"), QoS::kAtLeastOnce);
  subject.tap.Hold(PacketType::kPubAck);
  const auto published = StartPublish(subject, "open", QoS::kAtLeastOnce);
  UntilHeard(subject, PacketType::kPubAck, 1);
  subject.tap.StopHolding();
  Break(subject);
  EXPECT_TRUE(Await(published).ok());
  EXPECT_EQ(ConnectFlags(*subject.tap.Sent(PacketType::kConnect)[1]) & kCleanStart, 0);
  EXPECT_THAT(subject.tap.Sent(PacketType::kPublish), SizeIs(2));
  EXPECT_THAT(subject.tap.Sent(PacketType::kSubscribe), SizeIs(1)) << "the server has it still";
  Publish(Talker(), "comes", QoS::kAtLeastOnce);
  Until([&] { return subject.got.back().payload == "comes"; });
}
TEST_P(ConnectStatements, MQTT5_3_1_2_23) { ASessionIsKept(Version::k5); }
TEST_P(ConnectStatements, MQTT5_4_1_0_1) { ASessionIsKept(Version::k5); }
TEST_P(ConnectStatements, MQTT311_3_1_2_4) { ASessionIsKept(Version::k311); }
TEST_P(ConnectStatements, MQTT311_4_1_0_1) { ASessionIsKept(Version::k311); }

// The wiretap says that there is one.
TEST_P(ConnectStatements, MQTT5_3_2_2_4) {
  Subject& subject = Make(Version::k5);
  subject.tap.Change([](const Heard& heard, std::string& frame) {
    if (heard.type == PacketType::kConnAck) frame[2] = 1;
  });
  EXPECT_FALSE(Connect(subject).ok());
  EXPECT_EQ(subject.tap.closed_by_client(), 1u);
}

// Somebody else has ended the session meanwhile.
TEST_P(ConnectStatements, MQTT5_3_2_2_5) {
  Subject& subject = Make(Version::k5, Kept);
  ASSERT_TRUE(Connect(subject).ok());
  subject.tap.Hold(PacketType::kPubAck);
  subject.tap.Hold(PacketType::kPubRec);
  const auto once = StartPublish(subject, "at least once", QoS::kAtLeastOnce);
  const auto exactly = StartPublish(subject, "exactly once", QoS::kExactlyOnce);
  UntilHeard(subject, PacketType::kPubRec, 1);
  subject.tap.StopHolding();
  subject.tap.HangUp();
  Until([&] { return subject.state == State::kDisconnected; });
  ASSERT_TRUE(Disconnect(Join(Version::k5)).ok());  // Clean Start, the same identifier.
  ASSERT_FALSE(Connect(subject)->session_present);
  EXPECT_TRUE(Await(once).ok());
  EXPECT_EQ(Await(exactly).status().code(), absl::StatusCode::kAborted);
  const auto publishes = PublishesOf(subject);
  ASSERT_EQ(publishes.size(), 3u);
  EXPECT_EQ(publishes[2].payload, "at least once");
  EXPECT_FALSE(publishes[2].dup) << "a new message of a new session";
}

// ---- The end

void ConnectStatements::DisconnectIsTheLast(Version version) {
  Subject& subject = Join(version);
  Subscribe(subject, Own("t"), QoS::kAtLeastOnce);
  // While DISCONNECT waits to be written, from a handler, more is asked for.
  bool left = false;
  subject.client.OnMessage([&](const ReceivedMessage&) {
    subject.client.AsyncDisconnect([&](absl::StatusOr<Client::Done>) { left = true; });
    StartPublish(subject, "late", QoS::kAtLeastOnce);
    StartPublish(subject, "late", QoS::kAtMostOnce);
    StartSubscribe(subject, {{Own("late"), {}}});
  });
  Publish(Talker(), "leave", QoS::kAtLeastOnce);
  Until([&] { return left; });
  EXPECT_EQ(subject.tap.sent().back().type, PacketType::kDisconnect);
  EXPECT_THAT(subject.tap.Sent(PacketType::kDisconnect), SizeIs(1));
  EXPECT_THAT(subject.tap.Sent(PacketType::kPublish), IsEmpty());
}
TEST_P(ConnectStatements, MQTT5_3_14_4_1) { DisconnectIsTheLast(Version::k5); }
TEST_P(ConnectStatements, MQTT311_3_14_4_2) { DisconnectIsTheLast(Version::k311); }

void ConnectStatements::ClosesAfterDisconnect(Version version) {
  Subject& subject = Join(version);
  ASSERT_TRUE(Disconnect(subject).ok());
  EXPECT_EQ(subject.tap.sent().back().type, PacketType::kDisconnect);
  EXPECT_EQ(subject.tap.closed_by_client(), 1u);
  EXPECT_EQ(subject.state, State::kClosed);
}
TEST_P(ConnectStatements, MQTT5_3_14_4_2) { ClosesAfterDisconnect(Version::k5); }
TEST_P(ConnectStatements, MQTT311_3_14_4_1) { ClosesAfterDisconnect(Version::k311); }

TEST_P(ConnectStatements, MQTT5_3_14_1_1) {
  Subject& subject = Join(Version::k5);
  ASSERT_TRUE(Disconnect(subject).ok());
  EXPECT_EQ(subject.tap.Sent(PacketType::kDisconnect)[0]->flags, 0);
}

// Codes that only servers have are refused, and the connection stands.
TEST_P(ConnectStatements, MQTT5_3_14_2_1) {
  Subject& subject = Join(Version::k5);
  for (const ReasonCode reason : {ReasonCode::kSessionTakenOver, ReasonCode::kServerShuttingDown,
                                  ReasonCode::kNotAuthorized, ReasonCode::kGrantedQos1}) {
    EXPECT_EQ(Disconnect(subject, {.reason = reason}).code(), absl::StatusCode::kInvalidArgument);
  }
  Ping(subject);
  ASSERT_TRUE(Disconnect(subject, {.reason = ReasonCode::kDisconnectWithWill}).ok());
  EXPECT_EQ(subject.tap.Sent(PacketType::kDisconnect)[0]->body[0], 0x04);
}

// One word too many for the server: it is left out, first the User Properties.
TEST_P(ConnectStatements, MQTT5_3_14_2_3) {
  Limit({.packet_size_max = 200});
  Subject& subject = Join(Version::k5);
  ASSERT_TRUE(Disconnect(subject, {.reason_string = std::string(300, 'w')}).ok());
  EXPECT_LE(subject.tap.sent().back().frame.size(), 200u);
  EXPECT_THAT(subject.tap.sent().back().frame, testing::Not(HasSubstr("www")));
}
TEST_P(ConnectStatements, MQTT5_3_14_2_4) {
  Limit({.packet_size_max = 200});
  Subject& subject = Join(Version::k5);
  DisconnectOptions options{.reason_string = "in words"};
  options.user_properties = {{"name", std::string(300, 'w')}};
  ASSERT_TRUE(Disconnect(subject, options).ok());
  EXPECT_THAT(subject.tap.sent().back().frame, HasSubstr("in words"));
  EXPECT_THAT(subject.tap.sent().back().frame, testing::Not(HasSubstr("www")));
}

}  // namespace
}  // namespace mqttd::client
