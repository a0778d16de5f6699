// Hooks at their edges: wills, what becomes of a changed message, replies that are kept, executors
// and handlers that misbehave, and extended authentication.
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "client/blocking_client.h"
#include "embed/scram.h"
#include "tests/embed/embedded.h"

namespace mqttd {
namespace {

using mqtt::ReasonCode;
using support::PublishPacket;
using support::RawClient;
using enum support::PacketType;

class DecisionsTest : public EmbeddedTest {
 protected:
  void UseAccessRules(const std::string& rules) {
    const std::filesystem::path file = std::filesystem::path(directory_.path()) / "acl";
    std::ofstream(file) << rules;
    std::filesystem::permissions(file, std::filesystem::perms(0600));
    options_.settings["auth.acl_file"] = file.string();
  }
  // A client with this will, let in or not.
  RawClient Mortal(const std::string& topic, const std::string& payload) {
    RawClient client(port_);
    client.Send(support::ConnectPacket{.client_id = "mortal",
                                       .will = support::Will{.topic = topic, .payload = payload}}
                    .Encode());
    return client;
  }
  static unsigned Publish(RawClient& client, const PublishPacket& packet) {
    client.Send(packet);
    return client.Expect(kPuback).reason;
  }
};

TEST_F(DecisionsTest, AWillIsShownWhenItsClientConnects) {
  Inbox<std::string> shown;
  hooks_.on_publish = [&](const ConnectionPtr& from, const Message& message, const auto& reply) {
    shown.Put(from->client_id() + " " + message.topic);
    if (message.topic == "refused") return reply(PublishDecision::Refuse());
    if (message.topic == "banned") return reply(PublishDecision::Disconnect(ReasonCode::kBanned));
    if (message.topic == "left") return reply(PublishDecision::Pass());
    Message changed = message;
    changed.topic = "changed";
    changed.payload += "!";
    reply(PublishDecision::Change(changed));
  };
  Start();
  RawClient reader = Join("reader");
  reader.Subscribe({{"#", 0}});
  RawClient left = Mortal("left", "gone");
  left.ExpectConnack(0);
  EXPECT_EQ(shown.Take(), "mortal left");
  left.socket().Close();
  reader.ExpectPublish("left", "gone");
  RawClient other = Mortal("other", "gone");
  other.ExpectConnack(0);
  other.socket().Close();
  reader.ExpectPublish("changed", "gone!");
  Mortal("refused", "x").ExpectConnack(0x87);
  Mortal("banned", "x").ExpectConnack(0x8A);
  EXPECT_EQ(shown.Take(), "mortal other");
}

TEST_F(DecisionsTest, AHookThatDoesNotSpeakOfAWillRefusesItsClient) {
  Inbox<Reply<PublishDecision>> held;
  hooks_.on_publish = [&](const ConnectionPtr&, const Message&, const auto& reply) {
    held.Put(reply);
  };
  hooks_.timeout = absl::Seconds(1);
  Start();
  Mortal("will", "x").ExpectConnack(0x89);
  EXPECT_EQ(server_->GetStatistics().hook_timeouts, 1u);
  held.Take()(PublishDecision::Pass());  // Nobody is there any more.
}

// The client may write below open/ only. What the hook makes of its message is one of these.
TEST_F(DecisionsTest, AChangedMessageIsOneThatTheClientMaySend) {
  UseAccessRules("topic readwrite open/#\ntopic read #\n");
  options_.settings["mqtt.retain_available"] = "false";
  options_.settings["mqtt.maximum_packet_size"] = "1000";
  options_.settings["mqtt.topic_levels_max"] = "3";
  hooks_.on_publish = [](const ConnectionPtr&, const Message& message, const auto& reply) {
    Message changed = message;
    if (message.payload == "elsewhere") changed.topic = "closed/t";
    if (message.payload == "system") changed.topic = "$SYS/broker/uptime";
    if (message.payload == "deep") changed.topic = "open/a/b/c";
    if (message.payload == "large") changed.payload = std::string(2000, 'x');
    if (message.payload == "kept") changed.retain = true;
    if (message.payload == "text") {
      changed.payload = "\xFF";
      changed.payload_is_utf8 = true;
    }
    if (message.payload == "allowed") changed.topic = "open/other";
    reply(PublishDecision::Change(changed));
  };
  Start();
  RawClient reader = Join("reader");
  reader.Subscribe({{"#", 0}});
  RawClient writer = Join("writer");
  uint16_t id = 0;
  const auto say = [&](const std::string& payload) {
    return Publish(writer, {.topic = "open/t", .payload = payload, .qos = 1, .packet_id = ++id});
  };
  EXPECT_EQ(say("elsewhere"), 0x87u);
  EXPECT_EQ(say("system"), 0x87u);
  EXPECT_EQ(say("deep"), 0x90u);
  EXPECT_EQ(say("large"), 0x97u);
  EXPECT_EQ(say("kept"), 0x83u);
  EXPECT_EQ(say("text"), 0x99u);
  EXPECT_EQ(say("allowed"), 0u);
  reader.ExpectPublish("open/other", "allowed");
}

// Below $SYS a client that may write there may remove what is retained, and do nothing else.
TEST_F(DecisionsTest, ARightToRemoveIsNoRightToPublish) {
  hooks_.on_publish = [](const ConnectionPtr&, const Message& message, const auto& reply) {
    Message changed = message;
    changed.topic = "$SYS/broker/connection/gone/state";
    reply(PublishDecision::Change(changed));
  };
  Start();
  RawClient writer = Join("writer");
  EXPECT_EQ(Publish(writer, {.topic = "t", .payload = "x", .qos = 1, .packet_id = 1}), 0x87u);
  PublishPacket removal{.topic = "t", .payload = "", .qos = 1, .packet_id = 2, .retain = true};
  EXPECT_NE(Publish(writer, removal), 0x87u);
}

TEST_F(DecisionsTest, AKeptReplyKeepsNoPlace) {
  Inbox<Reply<PublishDecision>> held;
  hooks_.calls_max = 1;
  hooks_.timeout = absl::Seconds(1);
  hooks_.on_publish = [&](const ConnectionPtr&, const Message&, const auto& reply) {
    held.Put(reply);
  };
  Start();
  RawClient slow = Join("slow");
  slow.Send(PublishPacket{.topic = "t", .qos = 1, .packet_id = 1});
  const auto kept = held.Take();
  slow.ExpectDisconnect(0x89);
  EXPECT_EQ(server_->GetStatistics().hook_calls_waiting, 0u);
  RawClient leaves = Join("leaves");  // There is a place.
  leaves.Send(PublishPacket{.topic = "t", .qos = 1, .packet_id = 1});
  const auto kept_too = held.Take();
  leaves.socket().Close();
  Inbox<int> gone;
  while (server_->GetStatistics().connections != 0) std::this_thread::yield();
  EXPECT_EQ(server_->GetStatistics().hook_calls_waiting, 0u);
  kept(PublishDecision::Pass());
  kept_too(PublishDecision::Pass());
  EXPECT_EQ(server_->GetStatistics().hook_calls_waiting, 0u);
}

TEST_F(DecisionsTest, AnExecutorThatThrowsEndsItsClientOnly) {
  std::atomic<bool> broken{false};
  options_.executor = [&](const std::function<void()>& task) {
    if (broken) throw std::runtime_error("the pool is full");
    task();
  };
  hooks_.on_publish = [](const ConnectionPtr&, const Message&, const auto& reply) {
    reply(PublishDecision::Pass());
  };
  hooks_.on_disconnect = [](const ConnectionPtr&, const std::string&) {};
  hooks_.authenticate = [](const ConnectionPtr&, const Login&, const auto& reply) {
    reply(LoginDecision::Allow());
  };
  Start();
  RawClient client = Join("client");
  broken = true;
  client.Send(PublishPacket{.topic = "t", .qos = 1, .packet_id = 1});
  client.ExpectDisconnect(0x83);
  RawClient late(port_);
  late.Send(support::ConnectPacket{.client_id = "late"}.Encode());
  late.ExpectConnack(0x89);
  broken = false;
  RawClient other = Join("other");
  EXPECT_EQ(Publish(other, {.topic = "t", .qos = 1, .packet_id = 1}), 0x10u);
  EXPECT_GE(server_->GetStatistics().hook_failures, 2u);
}

TEST_F(DecisionsTest, AHandlerMayEndTheServerThatCallsIt) {
  Start();
  Inbox<absl::Status> ended;
  server_->Subscribe(
      {"stop", {.qos = mqtt::QoS::kAtMostOnce}},
      [&](const client::ReceivedMessage&) { ended.Put(server_->Shutdown(absl::Seconds(10))); },
      [&](const absl::Status& status) { ended.Put(status); });
  EXPECT_EQ(ended.Take(), absl::OkStatus());
  server_->Publish({.topic = "stop", .payload = {}});
  EXPECT_EQ(ended.Take(), absl::OkStatus());
  EXPECT_TRUE(IsServerClosed(server_->Wait()));
}

// ---- Extended authentication

class ScramTest : public DecisionsTest {
 protected:
  ScramTest() {
    options_.settings["auth.allow_anonymous"] = "false";
    hooks_.authentication_methods["SCRAM-SHA-256"] =
        ScramSha256Method([](const std::string& user) -> std::optional<client::ScramKeys> {
          if (user == "ann") return client::DeriveScramKeys("pencil", "some salt");
          if (user == "a=b,c") return client::DeriveScramKeys("pen", "other salt", 5000);
          return std::nullopt;
        });
  }
  client::Options As(const std::string& user, const std::string& password) {
    client::Options options;
    options.servers = {"mqtt://127.0.0.1:" + std::to_string(port_)};
    options.authenticator = std::make_shared<client::ScramSha256>(user, password);
    return options;
  }
};

TEST_F(ScramTest, WhoKnowsThePasswordIsLetIn) {
  Inbox<std::string> users;
  hooks_.on_connect = [&](const ConnectionPtr& connection, bool) {
    users.Put(connection->user_name());
  };
  Start();
  client::BlockingClient ann(As("ann", "pencil"));
  const auto connected = ann.Connect();
  ASSERT_TRUE(connected.ok() && connected->ok()) << connected.status();
  EXPECT_EQ(users.Take(), "ann");
  EXPECT_EQ(ann.Reauthenticate(), absl::OkStatus());
  client::BlockingClient other(As("a=b,c", "pen"));
  ASSERT_TRUE(other.Connect()->ok());
  EXPECT_EQ(users.Take(), "a=b,c");
}

TEST_F(ScramTest, WhoDoesNotIsNot) {
  Start();
  for (const auto& [user, password] :
       std::vector<std::pair<std::string, std::string>>{{"ann", "pencils"}, {"nobody", "pencil"}}) {
    client::BlockingClient client(As(user, password));
    const auto connected = client.Connect();
    ASSERT_TRUE(connected.ok()) << connected.status();
    EXPECT_EQ(connected->reason, ReasonCode::kBadUserNameOrPassword);
  }
  client::BlockingClient anonymous({.servers = As("", "").servers});
  EXPECT_FALSE(anonymous.Connect()->ok());
}

TEST_F(ScramTest, ANameThatIsNoUsersIsAskedLikeAUsers) {
  const auto find = [](const std::string& user) -> std::optional<client::ScramKeys> {
    if (user != "ann") return std::nullopt;
    return client::DeriveScramKeys("pencil", "a salt of twenty-two", 10'000);
  };
  const auto ask = [](const AuthMethod& method, const std::string& user) {
    const std::string challenge = method({})->Next("n,,n=" + user + ",r=abc").data;
    return std::pair(std::string(client::ScramPart(challenge, 's')),
                     std::string(client::ScramPart(challenge, 'i')));
  };
  const AuthMethod learns = ScramSha256Method(find);
  const auto [ann_salt, ann_iterations] = ask(learns, "ann");
  const auto [bob_salt, bob_iterations] = ask(learns, "bob");
  EXPECT_EQ(bob_iterations, ann_iterations);
  EXPECT_EQ(bob_salt.size(), ann_salt.size());
  EXPECT_NE(bob_salt, ask(learns, "carol").first);
  // At every start of the program, and before anybody has logged in.
  const ScramOfNobody nobody{.iterations = 10'000, .salt_bytes = 20, .secret = "kept"};
  const auto first = ask(ScramSha256Method(find, nobody), "bob");
  EXPECT_EQ(first.second, "10000");
  EXPECT_EQ(first.first.size(), ann_salt.size());
  EXPECT_EQ(ask(ScramSha256Method(find, nobody), "bob"), first);
}

TEST_F(ScramTest, AServerThatKnowsOnlyTheNameIsLeft) {
  hooks_.authentication_methods["SCRAM-SHA-256"] = [](const Login&) {
    struct Pretends final : AuthExchange {
      Step Next(std::string_view data) override {
        if (!data.starts_with("n,,"))
          return {.kind = Step::Kind::kAllow, .data = "v=bm8=", .user_name = "ann"};
        return {
            .kind = Step::Kind::kContinue,
            .data = "r=" + std::string(client::ScramPart(data, 'r')) + "more,s=c2FsdA==,i=4096"};
      }
    };
    return std::make_unique<Pretends>();
  };
  Start();
  client::BlockingClient ann(As("ann", "pencil"));
  EXPECT_EQ(ann.Connect().status().code(), absl::StatusCode::kUnauthenticated);
}

TEST_F(ScramTest, AnExchangeThatThrowsRefusesItsClient) {
  hooks_.authentication_methods["SCRAM-SHA-256"] =
      [](const Login&) -> std::unique_ptr<AuthExchange> { throw std::runtime_error("oh"); };
  Start();
  client::BlockingClient ann(As("ann", "pencil"));
  EXPECT_EQ(ann.Connect()->reason, ReasonCode::kServerBusy);
}

}  // namespace
}  // namespace mqttd
