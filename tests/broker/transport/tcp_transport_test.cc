#include "broker/transport/tcp_transport.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <vector>

#include "tests/broker/transport/sockets.h"

namespace broker {
namespace {

TEST(TcpTransport, ReadsWhatIsThereAndSaysWhetherMoreMayBe) {
  auto [fd, peer] = MakePair();
  TcpTransport transport(fd);
  EXPECT_TRUE(transport.HandshakeDone());
  EXPECT_EQ(ReadOnce(transport, 8).end, IoState::kAgain);
  peer.Send("0123456789");
  EXPECT_EQ(ReadOnce(transport, 8).bytes, "01234567");
  EXPECT_TRUE(transport.HasBufferedInput());
  EXPECT_EQ(ReadOnce(transport, 8).bytes, "89");
  EXPECT_FALSE(transport.HasBufferedInput());
  peer.Close();
  EXPECT_EQ(ReadOnce(transport, 8).end, IoState::kClosed);
}

TEST(TcpTransport, APartialWriteGoesOnWhereItStopped) {
  auto [fd, peer] = MakePair();
  TcpTransport transport(fd);
  std::string sent;
  for (int i = 0; i < 4000000; ++i) sent += static_cast<char>(i * 7 + i / 251);
  std::string received;
  size_t taken = 0;
  int blocked = 0;
  while (taken < sent.size()) {
    std::vector<std::string_view> ranges;  // More than one sendmsg takes.
    for (size_t at = taken; at < sent.size(); at += 1000) {
      ranges.push_back({sent.data() + at, std::min<size_t>(1000, sent.size() - at)});
    }
    const WriteResult written = transport.Write(ranges.data(), ranges.size());
    ASSERT_NE(written.state, IoState::kError);
    taken += written.bytes;
    EXPECT_EQ(written.state == IoState::kOk, taken == sent.size());
    blocked += written.state == IoState::kAgain;
    received += peer.Receive();
  }
  EXPECT_GT(blocked, 0);
  EXPECT_EQ(received + peer.Receive(), sent);
}

TEST(TcpTransport, EmptyWritesAreDone) {
  auto [fd, peer] = MakePair();
  TcpTransport transport(fd);
  const std::string_view empty;
  EXPECT_EQ(transport.Write(nullptr, 0).state, IoState::kOk);
  EXPECT_EQ(transport.Write(&empty, 1).state, IoState::kOk);
  EXPECT_EQ(peer.Receive(), "");
}

TEST(TcpTransport, AGonePeerIsAnErrorInWordsAndNoSignal) {
  auto [fd, peer] = MakePair();
  TcpTransport transport(fd);
  EXPECT_EQ(transport.error(), "");
  peer.Close();
  EXPECT_EQ(WriteAll(transport, "x").state, IoState::kError);
  EXPECT_EQ(transport.error(), "Broken pipe");
}

TEST(TcpTransport, StartCloseEndsOurDirectionOnly) {
  auto [fd, peer] = MakePair();
  TcpTransport transport(fd);
  EXPECT_EQ(WriteAll(transport, "last").state, IoState::kOk);
  transport.StartClose();
  EXPECT_EQ(WriteAll(transport, "x").state, IoState::kClosed);
  EXPECT_EQ(peer.ReceiveExactly(4), "last");
  EXPECT_TRUE(peer.ReceivesEnd());
  peer.Send("still");
  EXPECT_EQ(ReadAll(transport).bytes, "still");
}

TEST(ConnectionSlot, IsGivenBackWithTheTransport) {
  auto counters = std::make_shared<ListenerCounters>();
  auto [fd, peer] = MakePair();
  auto transport = std::make_unique<TcpTransport>(fd, ConnectionSlot::Take(counters, 1));
  EXPECT_EQ(counters->connections, 1u);
  EXPECT_TRUE(ConnectionSlot::Take(counters, 1).empty());
  EXPECT_EQ(counters->connections, 1u);
  EXPECT_FALSE(ConnectionSlot::Take(counters, 0).empty());
  EXPECT_EQ(counters->connections, 1u);
  transport.reset();
  EXPECT_EQ(counters->connections, 0u);
}

}  // namespace
}  // namespace broker
