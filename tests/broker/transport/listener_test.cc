#include "broker/transport/listener.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/transport/poller.h"
#include "tests/broker/transport/certificates.h"
#include "tests/broker/transport/descriptor_limit.h"
#include "tests/broker/transport/sockets.h"
#include "tests/broker/transport/websocket_client.h"

namespace broker {
namespace {

using testing::HasSubstr;

ListenerOptions Options(const std::string& url) {
  ListenerOptions options;
  options.url = *ParseListenerUrl(url);
  return options;
}

std::shared_ptr<Listener> Listen(const ListenerOptions& options, int shards = 1) {
  auto listener = Listener::Create(options, shards);
  EXPECT_TRUE(listener.ok()) << listener.status();
  return *listener;
}

// There are acceptors only.
struct NoConnections final : Poller::Handler {
  void OnTurn() override {}
  void OnEvents(void*, uint32_t) override { ADD_FAILURE(); }
  bool OnEndOfRound() override { return false; }
  bool OnSleep() override { return true; }
};

// Acceptors of one listener in one poller, and what they accepted.
struct Accepting {
  explicit Accepting(std::shared_ptr<Listener> of, int shards = 1) : listener(std::move(of)) {
    by_shard.resize(static_cast<size_t>(shards));
    for (int shard = 0; shard < shards; ++shard) {
      acceptors.push_back(std::make_unique<Acceptor>(
          *poller, listener, shard, [this, shard](std::unique_ptr<Transport> transport) {
            ++by_shard[static_cast<size_t>(shard)];
            transports.push_back(std::move(transport));
          }));
    }
  }

  uint16_t port() const { return listener->url().port; }
  // Runs until so many connections are open here.
  Transport& Await(size_t connections) {
    while (transports.size() < connections) poller->RunOne(true);
    return *transports.back();
  }

  // Runs all that is ready, and the second look at Asio.
  void Settle() {
    for (int idle = 0; idle < 2; idle = poller->RunOne(false) ? 0 : idle + 1) {
    }
  }

  NoConnections handler;
  std::unique_ptr<Poller> poller = *Poller::Create(handler);
  std::shared_ptr<Listener> listener;
  std::vector<std::unique_ptr<Acceptor>> acceptors;
  std::vector<std::unique_ptr<Transport>> transports;
  std::vector<int> by_shard;
};

TEST(Listener, PortZeroIsChosenByTheKernelAndTold) {
  Accepting accepting(Listen(Options("mqtt://127.0.0.1:0")));
  ASSERT_NE(accepting.port(), 0);
  EXPECT_EQ(accepting.listener->url().ToString(),
            "mqtt://127.0.0.1:" + std::to_string(accepting.port()));
  const Peer peer = Peer::Connect(accepting.port());
  Transport& transport = accepting.Await(1);
  peer.Send("connect");
  EXPECT_EQ(AwaitAndReadAll(transport).bytes, "connect");
  const PeerInfo info = transport.peer();
  EXPECT_EQ(info.address, "127.0.0.1");
  EXPECT_NE(info.port, 0);
  EXPECT_EQ(info.local_address, "127.0.0.1");
  EXPECT_EQ(info.local_port, accepting.port());
  EXPECT_FALSE(info.tls);
}

TEST(Listener, AcceptedSocketsAreReadyForTheShard) {
  Accepting accepting(Listen(Options("mqtt://127.0.0.1:0")));
  const Peer peer = Peer::Connect(accepting.port());
  const int fd = accepting.Await(1).fd();
  EXPECT_NE(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
  EXPECT_NE(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
  int no_delay = 0;
  socklen_t length = sizeof(no_delay);
  getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &no_delay, &length);
  EXPECT_EQ(no_delay, 1);
}

TEST(Listener, AllAddressesAreReachedOverIpv4) {
  Accepting accepting(Listen(Options("mqtt://*:0")));
  const Peer peer = Peer::Connect(accepting.port());
  EXPECT_EQ(accepting.Await(1).peer().address, "127.0.0.1");  // Not ::ffff:127.0.0.1.
}

TEST(Listener, ConnectionsAreSpreadOverTheShards) {
  Accepting accepting(Listen(Options("mqtt://127.0.0.1:0"), 3), 3);
  std::vector<Peer> peers;
  for (int i = 0; i < 60; ++i) peers.push_back(Peer::Connect(accepting.port()));
  accepting.Await(60);
  // Each shard misses all of 60 with a chance of 3e-11.
  for (const int accepted : accepting.by_shard) EXPECT_GT(accepted, 0);
  EXPECT_EQ(accepting.listener->counters().accepted, 60u);
  EXPECT_EQ(accepting.listener->counters().connections, 60u);
}

TEST(Listener, AnAddressInUseIsAnErrorEvenBetweenBrokersOfSeveralShards) {
  for (const int shards : {1, 2}) {
    const auto first = Listen(Options("mqtt://127.0.0.1:0"), shards);
    for (const int others : {1, 2}) {
      const auto second = Listener::Create(Options(first->url().ToString()), others);
      ASSERT_FALSE(second.ok());
      EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
      EXPECT_EQ(std::string(second.status().message()),
                "address in use: " + first->url().ToString() + ": another process listens there");
    }
  }
}

TEST(Listener, ItsAddressIsFreeAgainAfterIt) {
  std::string url;
  {
    Accepting accepting(Listen(Options("mqtt://127.0.0.1:0"), 2), 2);
    url = accepting.listener->url().ToString();
    const Peer peer = Peer::Connect(accepting.port());
    accepting.Await(1);
    accepting.transports.clear();  // We close first: the connection stays in TIME_WAIT.
  }
  EXPECT_TRUE(Listener::Create(Options(url), 2).ok());
}

TEST(Listener, AnAddressThatIsNotOursIsAnError) {
  const auto listener = Listener::Create(Options("mqtt://192.0.2.1:0"), 1);
  ASSERT_FALSE(listener.ok());
  EXPECT_THAT(std::string(listener.status().message()), HasSubstr("no such address"));
}

TEST(Listener, ConnectionsMaxIsKeptOverAllShardsAndGivenBack) {
  ListenerOptions options = Options("mqtt://127.0.0.1:0");
  options.connections_max = 2;
  Accepting accepting(Listen(options, 2), 2);
  const Peer first = Peer::Connect(accepting.port());
  const Peer second = Peer::Connect(accepting.port());
  accepting.Await(2);
  const Peer third = Peer::Connect(accepting.port());
  while (accepting.listener->counters().refused_connections_max == 0)
    accepting.poller->RunOne(true);
  EXPECT_TRUE(third.ReceivesEnd());
  EXPECT_EQ(accepting.listener->counters().connections, 2u);

  accepting.transports.pop_back();
  const Peer fourth = Peer::Connect(accepting.port());
  accepting.Await(2);
  EXPECT_EQ(accepting.listener->counters().accepted, 3u);
}

// It waits for time to pass, as the peers do, who are not turned away.
TEST(Listener, ConnectionsAboveTheRateWaitTheirTurn) {
  ListenerOptions options = Options("mqtt://127.0.0.1:0");
  options.connection_rate_max = 20;
  Accepting accepting(Listen(options));
  std::vector<Peer> peers;
  for (int i = 0; i < 4; ++i) peers.push_back(Peer::Connect(accepting.port()));
  accepting.Await(1);
  EXPECT_EQ(accepting.listener->counters().accepted, 1u);
  accepting.Await(4);
  EXPECT_GE(accepting.listener->counters().rate_waits, 1u);
  EXPECT_EQ(accepting.listener->counters().connections, 4u);
}

TEST(Listener, WhileTheRateMakesThemWaitNobodyWakesIt) {
  ListenerOptions options = Options("mqtt://127.0.0.1:0");
  options.connection_rate_max = 1;
  Accepting accepting(Listen(options));
  const Peer first = Peer::Connect(accepting.port());
  accepting.Await(1);
  accepting.Settle();
  const Peer second = Peer::Connect(accepting.port());
  EXPECT_FALSE(accepting.poller->RunOne(false)) << "it looks at what it does not take";
  accepting.Await(2);
}

TEST(Listener, AnAddressHasItsOwnLimitsWhichAReloadChanges) {
  ListenerOptions options = Options("mqtt://127.0.0.1:0");
  options.address_connections_max = 1;
  Accepting accepting(Listen(options));
  const Peer first = Peer::Connect(accepting.port());
  accepting.Await(1);
  const Peer second = Peer::Connect(accepting.port());
  while (accepting.listener->counters().refused_address_max == 0) accepting.poller->RunOne(true);
  EXPECT_TRUE(second.ReceivesEnd());
  EXPECT_EQ(accepting.listener->counters().connections, 1u);
  accepting.transports.clear();
  const Peer third = Peer::Connect(accepting.port());
  accepting.Await(1);

  options.address_connections_max = 0;
  options.address_connection_rate_max = 1;
  accepting.listener->UseBounds(options);
  const Peer fourth = Peer::Connect(accepting.port());
  accepting.Await(2);
  const Peer fifth = Peer::Connect(accepting.port());
  while (accepting.listener->counters().refused_address_rate == 0) accepting.poller->RunOne(true);
  EXPECT_TRUE(fifth.ReceivesEnd());
}

TEST(Listener, WithoutDescriptorsAPeerIsTurnedAwayAndLaterOnesAreServed) {
  Accepting accepting(Listen(Options("mqtt://127.0.0.1:0")));
  const Peer turned_away = Peer::Connect(accepting.port());
  {
    const int lowest_free = dup(turned_away.fd());
    close(lowest_free);
    const DescriptorLimit limit(static_cast<rlim_t>(lowest_free));
    while (accepting.listener->counters().refused_descriptors == 0) accepting.poller->RunOne(true);
    EXPECT_TRUE(turned_away.ReceivesEnd());
  }
  const Peer served = Peer::Connect(accepting.port());
  accepting.Await(1);
  EXPECT_EQ(accepting.listener->counters().pauses, 0u);
}

TEST(Listener, WithoutEvenTheReserveItPausesAndNeverSpins) {
  Accepting accepting(Listen(Options("mqtt://127.0.0.1:0")));
  const Peer peer = Peer::Connect(accepting.port());
  {
    const DescriptorLimit limit(3);
    while (accepting.listener->counters().pauses == 0) accepting.poller->RunOne(true);
    EXPECT_FALSE(accepting.poller->RunOne(false)) << "it goes on although nothing can be done";
  }
  accepting.Await(1);
  EXPECT_EQ(accepting.listener->counters().refused_descriptors, 0u);
}

TEST(Listener, StopAcceptingClosesTheDoorOnly) {
  Accepting accepting(Listen(Options("mqtt://127.0.0.1:0"), 2), 2);
  const Peer peer = Peer::Connect(accepting.port());
  Transport& transport = accepting.Await(1);
  for (auto& acceptor : accepting.acceptors) {
    acceptor->StopAccepting();
    acceptor->StopAccepting();
  }
  accepting.Settle();
  EXPECT_EQ(Peer::Connect(accepting.port()).fd(), -1);
  peer.Send("still");
  EXPECT_EQ(AwaitAndReadAll(transport).bytes, "still");
}

TEST(Listener, WhileItHoldsConnectionsWait) {
  Accepting accepting(Listen(Options("mqtt://127.0.0.1:0")));
  accepting.acceptors[0]->Hold();
  const Peer peer = Peer::Connect(accepting.port());
  accepting.Settle();
  const Peer another = Peer::Connect(accepting.port());
  EXPECT_FALSE(accepting.poller->RunOne(false)) << "it looks at what it does not take";
  EXPECT_EQ(accepting.listener->counters().accepted, 0u);
  accepting.acceptors[0]->GoOn();
  accepting.acceptors[0]->GoOn();
  peer.Send("connect");
  accepting.Await(2);
  EXPECT_EQ(AwaitAndReadAll(*accepting.transports.front()).bytes, "connect");
}

TEST(Listener, AnAcceptFunctionMayStopItsAcceptor) {
  NoConnections handler;
  const std::unique_ptr<Poller> poller = *Poller::Create(handler);
  const auto listener = Listen(Options("mqtt://127.0.0.1:0"));
  std::unique_ptr<Acceptor> acceptor;
  int accepted = 0;
  acceptor = std::make_unique<Acceptor>(*poller, listener, 0, [&](std::unique_ptr<Transport>) {
    ++accepted;
    acceptor.reset();
  });
  const Peer first = Peer::Connect(listener->url().port);
  const Peer second = Peer::Connect(listener->url().port);
  while (accepted == 0) poller->RunOne(true);
  while (poller->RunOne(false)) {
  }
  EXPECT_EQ(accepted, 1);
}

TEST(UnixListener, AcceptsOnShardZeroWithThePermissionsAskedFor) {
  const PemDirectory directory;
  const std::string path = directory.File("mqttd.sock");
  ListenerOptions options = Options("unix:" + path);
  options.unix_mode = 0606;
  {
    Accepting accepting(Listen(options, 3), 3);
    EXPECT_TRUE(accepting.listener->shares_one_socket());
    struct stat status;
    ASSERT_EQ(stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0606u);
    const Peer peer = Peer::Connect(path);
    Transport& transport = accepting.Await(1);
    EXPECT_EQ(accepting.by_shard, (std::vector<int>{1, 0, 0}));
    EXPECT_EQ(transport.peer().address, "unix");
    EXPECT_EQ(transport.peer().local_address, path);
    peer.Send("connect");
    EXPECT_EQ(ReadAll(transport).bytes, "connect");
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(UnixListener, ReplacesWhatADeadProcessLeftButNothingElse) {
  const PemDirectory directory;
  const std::string path = directory.File("mqttd.sock");
  const ListenerOptions options = Options("unix:" + path);
  {
    const auto living = Listen(options);
    const auto second = Listener::Create(options, 1);
    EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
    EXPECT_TRUE(std::filesystem::exists(path));
    std::filesystem::rename(path, path + ".old");  // Its owner will not find it.
  }
  std::filesystem::rename(path + ".old", path);  // A socket with nobody behind.
  EXPECT_NE(Peer::Connect(path).fd(), 0);
  { const auto replaced = Listen(options); }

  directory.Write("mqttd.sock", "precious");
  const auto refused = Listener::Create(options, 1);
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("is not a socket"));
  EXPECT_TRUE(std::filesystem::exists(path));

  const auto nowhere = Listener::Create(Options("unix:" + directory.File("no/x.sock")), 1);
  EXPECT_EQ(nowhere.status().code(), absl::StatusCode::kNotFound) << nowhere.status();
}

TEST(TlsListener, ReloadedCertificatesAreForNewConnectionsOnly) {
  const PemDirectory directory;
  const Identity first({.common_name = "first", .alternative_names = ""});
  const Identity second({.common_name = "second", .alternative_names = ""});
  ListenerOptions options = Options("mqtts://127.0.0.1:0");
  options.tls.cert_file = directory.Write("cert.pem", first.CertificatePem());
  options.tls.key_file = directory.Write("key.pem", first.KeyPem());
  Accepting accepting(Listen(options));

  TlsClient old_client(Peer::Connect(accepting.port()));
  Transport& old_server = accepting.Await(1);
  ASSERT_EQ(old_client.Handshake(old_server), IoState::kAgain);
  EXPECT_EQ(old_client.ServerCommonName(), "first");

  directory.Write("cert.pem", second.CertificatePem());
  const absl::Status mismatch = accepting.listener->ReloadTls(options.tls);
  EXPECT_THAT(std::string(mismatch.message()), HasSubstr("does not belong to the certificate"));
  EXPECT_THAT(std::string(mismatch.message()), HasSubstr(accepting.listener->url().ToString()));
  directory.Write("key.pem", second.KeyPem());
  EXPECT_TRUE(accepting.listener->ReloadTls(options.tls).ok());

  TlsClient new_client(Peer::Connect(accepting.port()));
  Transport& new_server = accepting.Await(2);
  ASSERT_EQ(new_client.Handshake(new_server), IoState::kAgain);
  EXPECT_EQ(new_client.ServerCommonName(), "second");
  old_client.Send("still here");
  EXPECT_EQ(AwaitAndReadAll(old_server).bytes, "still here");
}

TEST(TlsListener, WithoutFilesItIsNotMade) {
  const auto listener = Listener::Create(Options("mqtts://127.0.0.1:0"), 1);
  EXPECT_EQ(listener.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(listener.status().message()), HasSubstr("listener mqtts://127.0.0.1:0"));
}

TEST(TlsListener, EveryLayerAtOnce) {
  const PemDirectory directory;
  const Identity server({.common_name = "broker", .alternative_names = ""});
  ListenerOptions options = Options("wss://127.0.0.1:0/mqtt");
  options.tls.cert_file = directory.Write("cert.pem", server.CertificatePem());
  options.tls.key_file = directory.Write("key.pem", server.KeyPem());
  options.proxy_protocol = true;
  Accepting accepting(Listen(options));

  Peer peer = Peer::Connect(accepting.port());
  Transport& transport = accepting.Await(1);
  peer.Send("PROXY TCP6 2001:db8::1 ::1 4711 443\r\n");
  TlsClient client(std::move(peer), {.alpn = "http/1.1"});
  EXPECT_FALSE(transport.HandshakeDone());
  // The inner handshake is done when the request is awaited.
  for (int turn = 0; turn < 100000 && SSL_do_handshake(client.ssl()) != 1; ++turn) {
    ASSERT_EQ(ReadOnce(transport, 65536).end, IoState::kAgain) << transport.error();
  }
  EXPECT_EQ(client.Alpn(), "http/1.1");
  client.Send(UpgradeRequest() + ClientFrame(kFin | kBinary, "connect"));
  ReadAllResult read;
  while (read.bytes.empty() && read.end != IoState::kError) read = AwaitAndReadAll(transport);
  EXPECT_EQ(read.bytes, "connect") << transport.error();
  const PeerInfo info = transport.peer();
  EXPECT_EQ(info.address, "2001:db8::1");
  EXPECT_EQ(info.port, 4711);
  EXPECT_TRUE(info.tls);
  EXPECT_EQ(info.websocket_path, "/mqtt");
}

}  // namespace
}  // namespace broker
