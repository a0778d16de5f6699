// Listeners that are closed, and opened again, while those who came in there stay.
#include <fstream>
#include <future>
#include <string>
#include <vector>

#include "tests/broker/fake_host.h"
#include "tests/support/temp_dir.h"

namespace broker {
namespace {

const std::vector<uint8_t> kNotAuthorized = {0x87};

class ClosedListenersTest : public ServerTest {
 protected:
  void Close() {
    ASSERT_EQ(server_->CloseListener(server_->urls().at(0)), absl::OkStatus());
    ASSERT_TRUE(server_->urls().empty());
  }
  void Open() {
    const auto url = server_->AddListener(options_.listeners[0]);
    ASSERT_TRUE(url.ok()) << url.status();
    port_ = static_cast<uint16_t>(std::stoi(url->substr(url->rfind(':') + 1)));
  }
  void Reload() {
    ASSERT_EQ(server_->Reload(options_, [] { return absl::OkStatus(); }), absl::OkStatus());
    std::promise<void> looked_at;  // By the shard, at everybody who is connected.
    server_->RunOnShard(0, [&looked_at](ShardCore&) { looked_at.set_value(); });
    looked_at.get_future().wait();
  }
  auth::AuthOptions& access() { return options_.listeners[0].auth; }
};

TEST_F(ClosedListenersTest, AReloadReachesWhoCameInBeforeOneWasClosed) {
  Start();
  Client client = Join(Transient("client"));
  Close();
  access().allow_anonymous = false;
  Reload();
  client.wire.ExpectDisconnect(0x87);
}

TEST_F(ClosedListenersTest, AReloadReachesWhoCameInBeforeOneWasClosedAndOpenedAgain) {
  Start();
  Client before = Join(Transient("before"));
  Close();
  Open();
  Client after = Join(Transient("after"));
  access().allow_anonymous = false;
  Reload();
  before.wire.ExpectDisconnect(0x87);
  after.wire.ExpectDisconnect(0x87);
}

TEST_F(ClosedListenersTest, WhatOneIsOpenedAgainWithConcernsWhoIsThereToo) {
  Start();
  Client client = Join(Transient("client"));
  Close();
  access().allow_anonymous = false;
  Open();
  client.wire.ExpectDisconnect(0x87);
}

// One that cannot be opened changes nothing.
TEST_F(ClosedListenersTest, WhatOneIsNotOpenedWithConcernsNobody) {
  Start();
  Client client = Join(Transient("client"));
  Close();
  ListenerSettings settings = options_.listeners[0];
  settings.auth.allow_anonymous = false;
  settings.listener.url = ParseListenerUrl("unix:/nonexistent/socket").value();
  EXPECT_FALSE(server_->AddListener(settings).ok());
  Reload();
  client.wire.ExpectNothing();
}

// A program that embeds the server need not name it any more; its files are read all the same.
TEST_F(ClosedListenersTest, AReloadReadsTheFilesOfOneThatIsClosedForGood) {
  const support::TempDir directory;
  access().acl_file = directory.path() + "/acl";
  std::ofstream(access().acl_file) << "topic read t\n";
  Start();
  Client client = Join(Transient("client"));
  Close();
  std::ofstream(access().acl_file) << "topic read other\n";
  options_.listeners.clear();
  Reload();
  client.wire.Send(support::Subscribe(support::Version::k5, 1, {{"t", 0}}));
  EXPECT_EQ(client.wire.Expect(support::PacketType::kSuback).reasons, kNotAuthorized);
  std::ofstream(directory.path() + "/acl") << "this is no rule\n";
  Reload();
  client.wire.Send(support::Subscribe(support::Version::k5, 2, {{"t", 0}}));
  EXPECT_EQ(client.wire.Expect(support::PacketType::kSuback).reasons, kNotAuthorized);
}

TEST_F(ClosedListenersTest, AMistakeInTheFilesOfOneThatIsClosedRefusesTheReload) {
  Start();
  Close();
  access().acl_file = "/nonexistent/acl";
  EXPECT_FALSE(server_->Reload(options_, [] { return absl::OkStatus(); }).ok());
}

TEST_F(ClosedListenersTest, WhoIsThereIsCountedOn) {
  options_.listeners[0].listener.connections_max = 2;
  options_.listeners[0].listener.address_connections_max = 1;
  Start();
  Client first = Join(Transient("first"));
  EXPECT_FALSE(server_->metrics().listeners.at(0).stopped);
  Close();
  EXPECT_TRUE(server_->metrics().listeners.at(0).stopped);
  EXPECT_EQ(server_->metrics().listeners.at(0).connections, 1u);
  Open();
  ASSERT_EQ(server_->metrics().listeners.size(), 1u);
  EXPECT_EQ(server_->metrics().listeners[0].connections, 1u);
  support::RawClient of_its_address(port_, support::Version::k5);
  of_its_address.ExpectClosed();
  EXPECT_EQ(server_->metrics().listeners[0].refused_address_max, 1u);

  Close();
  options_.listeners[0].listener.connections_max = 1;
  options_.listeners[0].listener.address_connections_max = 0;
  Open();
  support::RawClient too_many(port_, support::Version::k5);
  too_many.ExpectClosed();
  EXPECT_EQ(server_->metrics().listeners[0].refused_connections_max, 1u);
  EXPECT_EQ(server_->metrics().listeners[0].accepted, 1u);
}

}  // namespace
}  // namespace broker
