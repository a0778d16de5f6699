#include "broker/transport/tls_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "broker/transport/tls_context.h"
#include "tests/broker/transport/certificates.h"
#include "tests/broker/transport/sockets.h"

namespace broker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

// Making keys takes time, so all cases share them.
struct Files {
  PemDirectory directory;
  Identity authority{{.common_name = "Test CA", .alternative_names = "", .authority = true}};
  Identity stranger_authority{{.common_name = "Other", .alternative_names = "", .authority = true}};
  Identity server{{.common_name = "broker.example", .alternative_names = "DNS:broker.example"},
                  &authority};
  Identity sensor{{.common_name = "sensor-7",
                   .alternative_names =
                       "DNS:s7.example,IP:192.0.2.7,IP:2001:db8::7,email:s@example,URI:urn:s:7",
                   .serial = 7},
                  &authority};
  Identity revoked{{.common_name = "stolen", .alternative_names = "", .serial = 13}, &authority};
  Identity expired{{.common_name = "old", .alternative_names = "", .expired = true}, &authority};
  Identity stranger{{.common_name = "stranger", .alternative_names = ""}, &stranger_authority};

  TlsOptions options;

  Files() {
    options.cert_file = directory.Write("cert.pem", server.CertificatePem());
    options.key_file = directory.Write("key.pem", server.KeyPem());
  }
};

Files& files() {
  static Files files;
  return files;
}

TlsOptions WithClients(TlsOptions::ClientCertificate client_certificate) {
  TlsOptions options = files().options;
  options.client_certificate = client_certificate;
  options.ca_file = files().directory.Write("ca.pem", files().authority.CertificatePem());
  return options;
}

std::shared_ptr<TlsContext> MakeContext(const TlsOptions& options) {
  auto context = TlsContext::Create(options);
  EXPECT_TRUE(context.ok()) << context.status();
  return *context;
}

// Both ends, not yet shaken hands.
struct Pair {
  std::unique_ptr<TlsTransport> server;
  std::unique_ptr<TlsClient> client;

  explicit Pair(const TlsOptions& options, const TlsClient::Options& client_options = {})
      : Pair(*MakeContext(options), client_options) {}
  explicit Pair(const TlsContext& context, const TlsClient::Options& client_options = {}) {
    auto [fd, peer] = MakePair();
    server = std::make_unique<TlsTransport>(fd, context, TlsApplication::kMqtt);
    client = std::make_unique<TlsClient>(std::move(peer), client_options);
  }
};

TEST(TlsTransport, CarriesBytesBothWaysInBothVersions) {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    Pair pair(files().options,
              {.max_version = version, .server_name = "broker.example", .alpn = "mqtt"});
    EXPECT_FALSE(pair.server->HandshakeDone());
    EXPECT_EQ(WriteAll(*pair.server, "early").state, IoState::kAgain);
    ASSERT_EQ(pair.client->Handshake(*pair.server), IoState::kAgain);
    pair.client->Send("connect");
    pair.client->Send("subscribe");
    EXPECT_EQ(ReadAll(*pair.server).bytes, "connectsubscribe");
    const std::string_view ranges[] = {"conn", {}, "ack"};
    EXPECT_EQ(pair.server->Write(ranges, 3).bytes, 7u);
    EXPECT_EQ(pair.client->Receive(), "connack");
    EXPECT_EQ(pair.client->Alpn(), "mqtt");
    const PeerInfo info = pair.server->peer();
    EXPECT_TRUE(info.tls);
    EXPECT_EQ(info.tls_version, version == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2");
    EXPECT_NE(info.cipher, "");
    EXPECT_EQ(info.server_name, "broker.example");
    EXPECT_EQ(info.certificate_subject_cn, "");
  }
}

TEST(TlsTransport, RecordsReadAheadAreAnnounced) {
  Pair pair(files().options);
  pair.client->Handshake(*pair.server);
  pair.client->Send("first");
  pair.client->Send("second");
  EXPECT_EQ(ReadOnce(*pair.server, 5).bytes, "first");
  EXPECT_TRUE(pair.server->HasBufferedInput());
  EXPECT_EQ(ReadOnce(*pair.server, 100).bytes, "second");
  EXPECT_FALSE(pair.server->HasBufferedInput());
  EXPECT_EQ(ReadOnce(*pair.server, 100).end, IoState::kAgain);
}

TEST(TlsTransport, HalfARecordIsNoReasonToReadAgain) {
  Pair pair(files().options);
  pair.client->Handshake(*pair.server);
  BIO* const memory = BIO_new(BIO_s_mem());  // The client's next record, held back.
  SSL_set0_wbio(pair.client->ssl(), memory);
  pair.client->Send("payload");
  char record[200];
  const int size = BIO_read(memory, record, sizeof(record));
  ASSERT_GT(size, 10);
  for (int i = 0; i < size - 1; ++i) {
    pair.client->peer().Send({record + i, 1});
    ASSERT_EQ(ReadOnce(*pair.server, 100).end, IoState::kAgain);
    ASSERT_FALSE(pair.server->HasBufferedInput());
  }
  pair.client->peer().Send({record + size - 1, 1});
  EXPECT_EQ(ReadOnce(*pair.server, 100).bytes, "payload");
}

TEST(TlsTransport, PartialWritesInAnyCutMakeAWholeStream) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    SCOPED_TRACE(seed);
    base::Rng rng(seed);
    Pair pair(files().options);
    pair.client->Handshake(*pair.server);
    std::string sent(1 + rng.Below(2000000), '\0');
    for (char& byte : sent) byte = static_cast<char>(rng());
    std::string received;
    int blocked = 0;
    for (size_t taken = 0; taken < sent.size();) {
      std::vector<std::string_view> ranges;  // From where it stopped, cut anew.
      for (size_t at = taken; at < sent.size();) {
        const size_t size = std::min<size_t>(sent.size() - at, rng.Below(40000));
        ranges.push_back({sent.data() + at, size});
        at += size;
      }
      const WriteResult written = pair.server->Write(ranges.data(), ranges.size());
      ASSERT_NE(written.state, IoState::kError) << pair.server->error();
      taken += written.bytes;
      blocked += written.state == IoState::kAgain;
      if (blocked % 2 == 0 || written.bytes == 0) received += pair.client->Receive();
    }
    received += pair.client->Receive();
    EXPECT_TRUE(received == sent);
  }
}

TEST(TlsTransport, StartCloseSendsCloseNotifyAndTheEnd) {
  Pair pair(files().options);
  pair.client->Handshake(*pair.server);
  WriteAll(*pair.server, "last");
  pair.server->StartClose();
  EXPECT_EQ(WriteAll(*pair.server, "x").state, IoState::kClosed);
  EXPECT_EQ(pair.client->Receive(), "last");
  EXPECT_TRUE(pair.client->ended());
  pair.client->Send("crossed");
  SSL_shutdown(pair.client->ssl());
  const ReadAllResult all = ReadAll(*pair.server);
  EXPECT_EQ(all.bytes, "crossed");
  EXPECT_EQ(all.end, IoState::kClosed);
}

TEST(TlsTransport, AnEndWithoutCloseNotifyIsAnEnd) {
  Pair pair(files().options);
  pair.client->Handshake(*pair.server);
  pair.client->Send("last");
  pair.client->peer().FinishSending();
  const ReadAllResult all = ReadAll(*pair.server);
  EXPECT_EQ(all.bytes, "last");
  EXPECT_EQ(ReadAll(*pair.server).end, IoState::kClosed);
}

TEST(TlsTransport, APeerThatLeavesDuringTheHandshakeIsGone) {
  Pair pair(files().options);
  SSL_do_handshake(pair.client->ssl());
  pair.client->peer().FinishSending();
  EXPECT_EQ(ReadAll(*pair.server).end, IoState::kAgain);
  EXPECT_EQ(ReadAll(*pair.server).end, IoState::kClosed);
}

TEST(TlsTransport, PlainTextIsAnErrorInWords) {
  for (const std::string& bytes : {std::string("\x10\x0F\0\4MQTT\4\2\0\x3C\0\3abc", 17),
                                   std::string("GET / HTTP/1.1\r\n\r\n")}) {
    Pair pair(files().options);
    pair.client->peer().Send(bytes);
    EXPECT_EQ(ReadAll(*pair.server).end, IoState::kError);
    EXPECT_THAT(std::string(pair.server->error()), StartsWith("TLS handshake: "));
    EXPECT_EQ(ReadAll(*pair.server).end, IoState::kError);
    EXPECT_EQ(WriteAll(*pair.server, "x").state, IoState::kError);
  }
}

TEST(TlsTransport, GarbageAfterTheHandshakeIsAnError) {
  Pair pair(files().options);
  pair.client->Handshake(*pair.server);
  pair.client->Send("good");
  pair.client->peer().Send("not a record");
  const ReadAllResult all = ReadAll(*pair.server);
  EXPECT_EQ(all.bytes, "good");
  EXPECT_EQ(all.end, IoState::kError);
  EXPECT_THAT(std::string(pair.server->error()), StartsWith("TLS read: "));
}

TEST(TlsTransport, UnknownApplicationProtocolsAreServedWithout) {
  Pair pair(files().options, {.alpn = "x-amzn-mqtt-ca"});
  EXPECT_EQ(pair.client->Handshake(*pair.server), IoState::kAgain);
  EXPECT_TRUE(pair.server->HandshakeDone());
  EXPECT_EQ(pair.client->Alpn(), "");
}

TEST(TlsTransport, OldVersionsAreRefused) {
  Pair old(files().options, {.max_version = TLS1_1_VERSION});
  EXPECT_EQ(old.client->Handshake(*old.server), IoState::kError);
  TlsOptions only_13 = files().options;
  only_13.min_version = TlsOptions::MinVersion::kTls13;
  Pair tls12(only_13, {.max_version = TLS1_2_VERSION});
  EXPECT_EQ(tls12.client->Handshake(*tls12.server), IoState::kError);
  EXPECT_EQ(tls12.server->error(), "TLS handshake: unsupported protocol");
}

TEST(TlsTransport, TellsWhoTheClientIs) {
  for (const auto mode :
       {TlsOptions::ClientCertificate::kOptional, TlsOptions::ClientCertificate::kRequired}) {
    Pair pair(WithClients(mode), {.identity = &files().sensor});
    ASSERT_EQ(pair.client->Handshake(*pair.server), IoState::kAgain) << pair.server->error();
    const PeerInfo info = pair.server->peer();
    EXPECT_EQ(info.certificate_subject_cn, "sensor-7");
    EXPECT_EQ(info.certificate_subject_dn, "CN=sensor-7,O=Example");
    EXPECT_THAT(info.certificate_sans,
                ElementsAre("DNS:s7.example", "IP:192.0.2.7", "IP:2001:db8::7", "email:s@example",
                            "URI:urn:s:7"));
  }
}

TEST(TlsTransport, AClientWithoutCertificateIsServedOnlyWhereItIsOptional) {
  Pair optional(WithClients(TlsOptions::ClientCertificate::kOptional));
  EXPECT_EQ(optional.client->Handshake(*optional.server), IoState::kAgain);
  EXPECT_EQ(optional.server->peer().certificate_subject_dn, "");
  Pair required(WithClients(TlsOptions::ClientCertificate::kRequired));
  EXPECT_EQ(required.client->Handshake(*required.server), IoState::kError);
  EXPECT_EQ(required.server->error(), "TLS handshake: peer did not return a certificate");
}

TEST(TlsTransport, BadCertificatesAreRefusedInWordsEvenWhereOptional) {
  TlsOptions options = WithClients(TlsOptions::ClientCertificate::kOptional);
  options.crl_file = files().directory.Write("crl.pem", files().authority.RevocationListPem({13}));
  const std::vector<std::pair<const Identity*, std::string>> rows = {
      {&files().expired, "certificate has expired"},
      {&files().stranger, "unable to get local issuer certificate"},
      {&files().revoked, "certificate revoked"}};
  for (const auto& [identity, words] : rows) {
    for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
      Pair pair(options, {.identity = identity, .max_version = version});
      EXPECT_EQ(pair.client->Handshake(*pair.server), IoState::kError);
      EXPECT_EQ(pair.server->error(), "TLS handshake: client certificate refused: " + words);
    }
  }
  Pair good(options, {.identity = &files().sensor});
  EXPECT_EQ(good.client->Handshake(*good.server), IoState::kAgain) << good.server->error();
}

TEST(TlsTransport, SessionsAreResumedWithinOneContextOnly) {
  const TlsOptions options = WithClients(TlsOptions::ClientCertificate::kRequired);
  const auto context = MakeContext(options);
  const auto reloaded = MakeContext(options);
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsClient::Options client = {.identity = &files().sensor, .max_version = version};
    Pair first(*context, client);
    ASSERT_EQ(first.client->Handshake(*first.server), IoState::kAgain);
    const auto session = first.client->Session();
    client.session = session.get();

    Pair second(*context, client);
    ASSERT_EQ(second.client->Handshake(*second.server), IoState::kAgain) << second.server->error();
    EXPECT_TRUE(SSL_session_reused(second.client->ssl()));
    EXPECT_EQ(second.server->peer().certificate_subject_cn, "sensor-7");

    Pair third(*reloaded, client);
    ASSERT_EQ(third.client->Handshake(*third.server), IoState::kAgain) << third.server->error();
    EXPECT_FALSE(SSL_session_reused(third.client->ssl()));
  }
}

TEST(TlsTransport, AConnectionOutlivesItsContext) {
  auto context = MakeContext(files().options);
  Pair pair(*context);
  context.reset();
  EXPECT_EQ(pair.client->Handshake(*pair.server), IoState::kAgain);
  pair.client->Send("still here");
  EXPECT_EQ(ReadAll(*pair.server).bytes, "still here");
}

TEST(TlsTransport, TheProxyHeaderComesBeforeTls) {
  auto [fd, peer] = MakePair();
  TlsTransport server(fd, *MakeContext(files().options), TlsApplication::kMqtt, {},
                      std::make_unique<ProxyStage>());
  peer.Send("PROXY TCP4 192.0.2.1 198.51.100.2 12345 8883\r\n");
  TlsClient client(std::move(peer));
  EXPECT_EQ(client.Handshake(server), IoState::kAgain);
  client.Send("connect");
  EXPECT_EQ(ReadAll(server).bytes, "connect");
  EXPECT_EQ(server.peer().address, "192.0.2.1");
  EXPECT_TRUE(server.peer().tls);

  auto [fd2, peer2] = MakePair();
  TlsTransport refused(fd2, *MakeContext(files().options), TlsApplication::kMqtt, {},
                       std::make_unique<ProxyStage>());
  TlsClient direct(std::move(peer2));
  EXPECT_EQ(direct.Handshake(refused), IoState::kError);
  EXPECT_EQ(refused.error(), "PROXY header: the connection does not begin with one");
}

TEST(TlsContext, SaysWhichFileAndWhatToDo) {
  const auto& directory = files().directory;
  const std::string garbage = directory.Write("garbage.pem", "no PEM here\n");
  const std::string other_key = directory.Write("other.pem", files().sensor.KeyPem());
  const std::string locked_key = directory.Write("locked.pem", files().server.KeyPem("secret"));
  using Code = absl::StatusCode;
  struct Row {
    std::function<void(TlsOptions&)> change;
    Code code;
    std::vector<std::string> words;
  };
  const std::string missing = directory.File("missing.pem");
  const std::vector<Row> rows = {
      {[](TlsOptions& o) { o.cert_file.clear(); }, Code::kInvalidArgument, {"a certificate file"}},
      {[&](TlsOptions& o) { o.cert_file = missing; },
       Code::kNotFound,
       {"TLS certificate file '" + missing + "'", "No such file"}},
      {[&](TlsOptions& o) { o.key_file = missing; }, Code::kNotFound, {"TLS key file", missing}},
      {[&](TlsOptions& o) { o.cert_file = garbage; },
       Code::kInvalidArgument,
       {garbage, "must be PEM"}},
      {[&](TlsOptions& o) { o.key_file = garbage; },
       Code::kInvalidArgument,
       {garbage, "PEM private key"}},
      {[&](TlsOptions& o) { o.key_file = locked_key; },
       Code::kInvalidArgument,
       {locked_key, "without passphrase"}},
      {[&](TlsOptions& o) { o.key_file = other_key; },
       Code::kInvalidArgument,
       {"TLS key file '" + other_key + "' does not belong to the certificate",
        files().options.cert_file}},
      {[](TlsOptions& o) { o.ca_file.clear(); }, Code::kInvalidArgument, {"need a CA file"}},
      {[&](TlsOptions& o) { o.ca_file = missing; }, Code::kNotFound, {"TLS CA file", missing}},
      {[&](TlsOptions& o) { o.ca_file = garbage; }, Code::kInvalidArgument, {"CA file", garbage}},
      {[&](TlsOptions& o) { o.crl_file = garbage; },
       Code::kInvalidArgument,
       {"revocation list", garbage}},
      {[](TlsOptions& o) { o.ciphers = "NOSUCH"; }, Code::kInvalidArgument, {"NOSUCH"}},
      {[](TlsOptions& o) { o.ciphersuites = "NOSUCH"; }, Code::kInvalidArgument, {"NOSUCH"}},
  };
  for (const Row& row : rows) {
    TlsOptions options = WithClients(TlsOptions::ClientCertificate::kOptional);
    row.change(options);
    const auto context = TlsContext::Create(options);
    ASSERT_FALSE(context.ok());
    EXPECT_EQ(context.status().code(), row.code) << context.status();
    for (const std::string& words : row.words) {
      EXPECT_THAT(std::string(context.status().message()), HasSubstr(words));
    }
  }
}

TEST(TlsContext, CiphersAreLimitedToThoseAskedFor) {
  TlsOptions options = files().options;
  options.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384";
  options.ciphersuites = "TLS_CHACHA20_POLY1305_SHA256";
  for (const auto& [version, cipher] :
       {std::pair(TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384"),
        std::pair(TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256")}) {
    Pair pair(options, {.max_version = version});
    ASSERT_EQ(pair.client->Handshake(*pair.server), IoState::kAgain);
    EXPECT_EQ(pair.server->peer().cipher, cipher);
  }
}

TEST(CertificateWarning, CountsTheDaysThatAreLeft) {
  constexpr int64_t kDay = 86400, kNow = 1'700'000'000;
  EXPECT_EQ(CertificateWarning(kNow + 15 * kDay, kNow), "");
  EXPECT_EQ(CertificateWarning(kNow + 2 * kDay, kNow), "the certificate runs out in 2 days");
  EXPECT_EQ(CertificateWarning(kNow + 2 * kDay - 1, kNow), "the certificate runs out in 1 day");
  EXPECT_EQ(CertificateWarning(kNow + kDay - 1, kNow),
            "the certificate runs out in less than a day");
  EXPECT_THAT(CertificateWarning(kNow, kNow), HasSubstr("has run out"));
}

}  // namespace
}  // namespace broker
