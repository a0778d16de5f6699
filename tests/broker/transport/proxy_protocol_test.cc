#include "broker/transport/proxy_protocol.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "broker/transport/tcp_transport.h"
#include "tests/broker/transport/sockets.h"

namespace broker {
namespace {

using Family = ProxyHeader::Family;
using State = ProxyParseResult::State;
using namespace std::string_literals;

const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

std::string Length16(size_t length) {
  return {static_cast<char>(length >> 8), static_cast<char>(length)};
}

std::string Field(int type, const std::string& value) {
  return std::string(1, static_cast<char>(type)) + Length16(value.size()) + value;
}

std::string Binary(int version_command, int family, const std::string& block) {
  return kSignature + static_cast<char>(version_command) + static_cast<char>(family) +
         Length16(block.size()) + block;
}

const std::string kAddresses4 = "\xC0\x00\x02\x01\xC6\x33\x64\x02\x30\x39\x07\x5B"s;

ProxyHeader Expected4() {
  ProxyHeader header;
  header.family = Family::kInternet;
  header.source_address = "192.0.2.1";
  header.destination_address = "198.51.100.2";
  header.source_port = 12345;
  header.destination_port = 1883;
  return header;
}

// Checks the whole, that every proper prefix needs more, and that what follows is left alone.
void ExpectParses(const std::string& bytes, const ProxyHeader& expected) {
  ProxyHeader header;
  for (size_t size = 0; size < bytes.size(); ++size) {
    ASSERT_EQ(ParseProxyHeader(bytes.substr(0, size), header).state, State::kNeedMore) << size;
  }
  for (const std::string& follows : {""s, "\x10"s, "\r\n"s, std::string(9000, 'x')}) {
    const ProxyParseResult result = ParseProxyHeader(bytes + follows, header);
    ASSERT_EQ(result.state, State::kDone) << result.error;
    EXPECT_EQ(result.bytes, bytes.size());
    EXPECT_EQ(header, expected);
  }
}

TEST(ProxyHeader, ReadsVersion1) {
  ExpectParses("PROXY TCP4 192.0.2.1 198.51.100.2 12345 1883\r\n", Expected4());
  ProxyHeader ipv6 = Expected4();
  ipv6.source_address = "2001:db8::1";
  ipv6.destination_address = "::1";
  ipv6.source_port = 0;
  ipv6.destination_port = 65535;
  ExpectParses("PROXY TCP6 2001:DB8:0::1 ::1 0 65535\r\n", ipv6);
  ExpectParses("PROXY UNKNOWN\r\n", ProxyHeader());
  ExpectParses("PROXY UNKNOWN ff:: 1 any thing\r\n", ProxyHeader());
}

TEST(ProxyHeader, ReadsVersion2) {
  ExpectParses(Binary(0x21, 0x11, kAddresses4), Expected4());
  ExpectParses(Binary(0x20, 0x00, ""), ProxyHeader());
  ExpectParses(Binary(0x20, 0x11, kAddresses4 + "garbage"), ProxyHeader());
  ExpectParses(Binary(0x21, 0x00, ""), ProxyHeader());

  ProxyHeader ipv6 = Expected4();
  ipv6.source_address = "2001:db8::1";
  ipv6.destination_address = "::1";
  ExpectParses(Binary(0x21, 0x21,
                      "\x20\x01\x0D\xB8"s + std::string(11, '\0') + "\1" + std::string(15, '\0') +
                          "\1" + "\x30\x39\x07\x5B"),
               ipv6);

  ProxyHeader local;
  local.family = Family::kUnix;
  local.source_address = "/run/client";
  local.destination_address = std::string(108, 'd');
  ExpectParses(Binary(0x21, 0x31, "/run/client"s + std::string(97, '\0') + std::string(108, 'd')),
               local);
}

TEST(ProxyHeader, ReadsFieldsOfVersion2) {
  ProxyHeader expected = Expected4();
  expected.authority = "broker.example";
  expected.tls = true;
  expected.tls_version = "TLSv1.3";
  expected.cipher = "TLS_AES_128_GCM_SHA256";
  expected.certificate_subject_cn = "sensor-7";
  const std::string inner =
      Field(0x21, "TLSv1.3") + Field(0x22, "sensor-7") + Field(0x23, "TLS_AES_128_GCM_SHA256");
  const std::string known = Field(0x04, "padding") + Field(0x02, "broker.example") +
                            Field(0x20, "\x07\0\0\0\0"s + inner) + Field(0xE0, "own");
  ExpectParses(Binary(0x21, 0x11, kAddresses4 + known), expected);

  // A certificate that the proxy did not verify, or none, names nobody.
  expected.certificate_subject_cn.clear();
  for (const std::string& start : {"\x07\0\0\0\1"s, "\x01\0\0\0\0"s}) {
    ExpectParses(Binary(0x21, 0x11,
                        kAddresses4 + Field(0x02, "broker.example") + Field(0x20, start + inner)),
                 expected);
  }
}

TEST(ProxyHeader, ChecksTheChecksumOfVersion2) {
  ProxyHeader header;
  const std::string wrong = Binary(0x21, 0x11, kAddresses4 + Field(0x03, "\0\0\0\1"s));
  EXPECT_EQ(ParseProxyHeader(wrong, header).state, State::kInvalid);
  // Computed by an independent implementation.
  const std::string good = Binary(0x21, 0x11, kAddresses4 + Field(0x03, "\xD8\x93\xF4\x2A"s));
  ExpectParses(good, Expected4());
}

TEST(ProxyHeader, RefusesWhatIsNone) {
  const std::vector<std::string> rows = {
      "\x10\x0C"s,  // MQTT's CONNECT.
      "GET / HTTP/1.1\r\n",
      "\x16\x03\x01"s,  // TLS.
      "PROXY4",
      "PROXY \r\n",
      "PROXY TCP5 1.2.3.4 1.2.3.4 1 1\r\n",
      "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
      "PROXY TCP4 1.2.3.4 1.2.3.4 1 1 \r\n",
      "PROXY TCP4 1.2.3.4 1.2.3.4 01 1\r\n",
      "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
      "PROXY TCP4  1.2.3.4 1.2.3.4 1 1\r\n",
      "PROXY TCP4 1.2.3 1.2.3.4 1 1\r\n",
      "PROXY TCP4 ::1 ::1 1 1\r\n",
      "PROXY TCP6 1.2.3.4 1.2.3.4 1 1\r\n",
      "PROXY TCP4 1.2.3.4\0 1.2.3.4 1 1\r\n"s,
      "PROXY UNKNOWN" + std::string(93, 'x') + "\r\n",
      "\r\n\r\n\r"s,
      Binary(0x11, 0x11, kAddresses4),
      Binary(0x22, 0x11, kAddresses4),
      Binary(0x21, 0x12, kAddresses4),
      Binary(0x21, 0x41, kAddresses4),
      Binary(0x21, 0x11, kAddresses4.substr(1)),
      Binary(0x21, 0x21, std::string(35, 'x')),
      Binary(0x21, 0x31, std::string(215, 'x')),
      Binary(0x21, 0x11, kAddresses4 + "\x04"),
      Binary(0x21, 0x11, kAddresses4 + "\x04\x00\x01"s),
      Binary(0x21, 0x11, kAddresses4 + Field(0x20, "\x01\0\0\0"s)),
      Binary(0x21, 0x11, kAddresses4 + Field(0x20, "\x01\0\0\0\0\x21"s)),
      Binary(0x21, 0x11, kAddresses4 + std::string(4096 - 16 - 12 + 1, 'x')),
  };
  for (const std::string& bytes : rows) {
    ProxyHeader header;
    const ProxyParseResult result = ParseProxyHeader(bytes, header);
    EXPECT_EQ(result.state, State::kInvalid) << testing::PrintToString(bytes);
    EXPECT_EQ(result.error.substr(0, 13), "PROXY header:");
  }
}

TEST(ProxyStage, TakesTheHeaderAndNotAByteMore) {
  for (const std::string& bytes : {"PROXY TCP4 192.0.2.1 198.51.100.2 12345 1883\r\n"s,
                                   Binary(0x21, 0x11, kAddresses4 + Field(0x02, "a.example"))}) {
    auto [fd, peer] = MakePair();
    TcpTransport transport(fd, {}, std::make_unique<ProxyStage>());
    for (const char byte : bytes) {
      EXPECT_FALSE(transport.HandshakeDone());
      EXPECT_EQ(ReadAll(transport).end, IoState::kAgain);
      EXPECT_EQ(WriteAll(transport, "early").state, IoState::kAgain);
      peer.Send({&byte, 1});
    }
    EXPECT_EQ(ReadAll(transport).end, IoState::kAgain);
    EXPECT_TRUE(transport.HandshakeDone());
    const PeerInfo info = transport.peer();
    EXPECT_TRUE(info.proxied);
    EXPECT_EQ(info.address, "192.0.2.1");
    EXPECT_EQ(info.port, 12345);
    EXPECT_EQ(info.local_address, "198.51.100.2");
    EXPECT_EQ(info.local_port, 1883);
    peer.Send("mqtt");
    EXPECT_EQ(ReadAll(transport).bytes, "mqtt");
  }
}

TEST(ProxyStage, BytesBehindTheHeaderComeInTheSameRead) {
  auto [fd, peer] = MakePair();
  TcpTransport transport(fd, {}, std::make_unique<ProxyStage>());
  peer.Send("PROXY UNKNOWN\r\nmqtt");
  EXPECT_EQ(ReadOnce(transport, 100).bytes, "mqtt");
  EXPECT_FALSE(transport.peer().proxied);
  EXPECT_EQ(transport.peer().address, "unix");
}

TEST(ProxyStage, FailsInWordsWithoutAHeader) {
  auto [fd, peer] = MakePair();
  TcpTransport transport(fd, {}, std::make_unique<ProxyStage>());
  peer.Send("\x10\x0C");
  EXPECT_EQ(ReadAll(transport).end, IoState::kError);
  EXPECT_EQ(transport.error(), "PROXY header: the connection does not begin with one");
  EXPECT_EQ(ReadAll(transport).end, IoState::kError);
}

TEST(ProxyStage, APeerThatLeavesInTheMiddleIsGone) {
  auto [fd, peer] = MakePair();
  TcpTransport transport(fd, {}, std::make_unique<ProxyStage>());
  peer.Send("PROXY TCP4 192.");
  peer.Close();
  EXPECT_EQ(ReadAll(transport).end, IoState::kClosed);
}

}  // namespace
}  // namespace broker
