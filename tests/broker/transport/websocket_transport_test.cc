#include "broker/transport/websocket_transport.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "broker/transport/tcp_transport.h"
#include "tests/broker/transport/fake_transport.h"
#include "tests/broker/transport/sockets.h"
#include "tests/broker/transport/websocket_client.h"

namespace broker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

const ServerFrame kNormalClose = {kFin | kClose, "\x03\xE8"};

class WebSocket : public testing::Test {
 protected:
  // Asks for the upgrade and reads the answer off `state_.output`.
  void Upgrade() {
    state_.input = UpgradeRequest();
    ASSERT_EQ(ReadAll(*transport_).end, IoState::kAgain);
    ASSERT_TRUE(transport_->HandshakeDone());
    ASSERT_THAT(state_.output, StartsWith("HTTP/1.1 101 "));
    state_.output.clear();
  }

  std::vector<ServerFrame> Sent() { return TakeServerFrames(state_.output); }

  FakeTransport::State state_;
  std::unique_ptr<WebSocketTransport> transport_ = std::make_unique<WebSocketTransport>(
      std::make_unique<FakeTransport>(state_), std::make_shared<const std::string>("/mqtt"));
};

TEST_F(WebSocket, APageOfAnotherOriginIsRefusedAndCounted) {
  const auto door = std::make_shared<WebSocketTransport::Door>();
  door->origins = "https://a.example";
  door->counters = std::make_shared<ListenerCounters>();
  const auto answer = [&](const std::string& origin) {
    FakeTransport::State state;
    WebSocketTransport transport(std::make_unique<FakeTransport>(state),
                                 std::make_shared<const std::string>("/mqtt"), door);
    std::string request = UpgradeRequest();
    state.input = request.insert(request.find("Host:"), "Origin: " + origin + "\r\n");
    ReadAll(transport);
    return state.output;
  };
  EXPECT_THAT(answer("https://a.example"), StartsWith("HTTP/1.1 101 "));
  EXPECT_EQ(door->counters->refused_origins, 0u);
  EXPECT_THAT(answer("https://evil.example"), StartsWith("HTTP/1.1 403 "));
  EXPECT_EQ(door->counters->refused_origins, 1u);
}

TEST_F(WebSocket, FramesThatComeWithTheRequestAreNotLost) {
  for (const size_t limit : {1, 7, 65536}) {
    FakeTransport::State state;
    WebSocketTransport transport(std::make_unique<FakeTransport>(state),
                                 std::make_shared<const std::string>("/mqtt"));
    state.input_limit = limit;
    state.input = UpgradeRequest() + ClientFrame(kFin | kBinary, "connect");
    EXPECT_FALSE(transport.HandshakeDone());
    EXPECT_EQ(WriteAll(transport, "x").state, IoState::kAgain);
    EXPECT_EQ(ReadAll(transport).bytes, "connect");
    EXPECT_TRUE(transport.HandshakeDone());
    EXPECT_EQ(transport.peer().websocket_path, "/mqtt");
  }
}

TEST_F(WebSocket, ASmallBufferGetsAllInPieces) {
  state_.input = UpgradeRequest() + ClientFrame(kFin | kBinary, "connect") +
                 ClientFrame(kFin | kBinary, "subscribe");
  std::string bytes;
  for (int i = 0; i < 1000 && bytes.size() < 16; ++i) bytes += ReadOnce(*transport_, 3).bytes;
  EXPECT_EQ(bytes, "connectsubscribe");
}

TEST_F(WebSocket, TheAnswerWaitsForRoom) {
  state_.output_room = 10;
  state_.input = UpgradeRequest() + ClientFrame(kFin | kBinary, "connect");
  EXPECT_EQ(ReadAll(*transport_).end, IoState::kAgain);
  EXPECT_TRUE(transport_->WantsWrite());
  EXPECT_FALSE(transport_->HandshakeDone());
  state_.output_room = SIZE_MAX;
  EXPECT_EQ(ReadAll(*transport_).bytes, "connect");
  EXPECT_FALSE(transport_->WantsWrite());
}

TEST_F(WebSocket, ARefusedRequestIsAnsweredInHttp) {
  state_.input = UpgradeRequest("/other");
  EXPECT_EQ(ReadAll(*transport_).end, IoState::kError);
  EXPECT_THAT(state_.output, StartsWith("HTTP/1.1 404 Not Found\r\n"));
  EXPECT_TRUE(state_.closing);
  EXPECT_EQ(transport_->error(), "HTTP: nothing is served at this path");
  EXPECT_EQ(ReadAll(*transport_).end, IoState::kError);
  EXPECT_EQ(WriteAll(*transport_, "x").state, IoState::kError);
}

TEST_F(WebSocket, EachWriteIsOneBinaryFrame) {
  Upgrade();
  const std::string large(70000, 'x');
  const std::string_view ranges[] = {"one ", {}, "two"};
  EXPECT_EQ(transport_->Write(ranges, 3).bytes, 7u);
  EXPECT_EQ(WriteAll(*transport_, large).bytes, large.size());
  EXPECT_EQ(transport_->Write(nullptr, 0).state, IoState::kOk);
  EXPECT_THAT(Sent(), ElementsAre(ServerFrame{kFin | kBinary, "one two"},
                                  ServerFrame{kFin | kBinary, large}));
}

TEST_F(WebSocket, PartialWritesAndPingsMakeAWholeStream) {
  for (uint64_t seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(seed);
    base::Rng rng(seed);
    state_ = {};
    transport_ = std::make_unique<WebSocketTransport>(std::make_unique<FakeTransport>(state_),
                                                      std::make_shared<const std::string>(""));
    Upgrade();
    std::string sent;     // What the layer above has produced,
    std::string pending;  // and what of it was not taken yet.
    std::vector<std::string> pings;
    for (int turn = 0; turn < 60; ++turn) {
      state_.output_room = rng.Below(40);
      if (rng.Chance(0.3)) {
        pings.push_back("ping " + std::to_string(turn));
        state_.input += ClientFrame(kFin | kPing, pings.back());
        EXPECT_EQ(ReadAll(*transport_).end, IoState::kAgain);
      }
      for (uint64_t size = rng.Below(30); size > 0; --size) {
        pending += static_cast<char>('a' + sent.size() % 26);
        sent += pending.back();
      }
      // Cut anew each time: only the bytes must be the same.
      const size_t cut = pending.empty() ? 0 : rng.Below(pending.size());
      const std::string_view ranges[] = {std::string_view(pending).substr(0, cut),
                                         std::string_view(pending).substr(cut)};
      const WriteResult written = transport_->Write(ranges, 2);
      EXPECT_EQ(written.state == IoState::kOk, written.bytes == pending.size());
      pending.erase(0, written.bytes);
    }
    state_.output_room = SIZE_MAX;
    EXPECT_EQ(WriteAll(*transport_, pending).state, IoState::kOk);
    EXPECT_FALSE(transport_->WantsWrite());
    std::string received;
    size_t last_pong = 0;
    for (const ServerFrame& frame : Sent()) {
      if (frame.first == (kFin | kBinary)) received += frame.payload;
      if (frame.first == (kFin | kPong)) {  // In order, some left out, never the last.
        const auto found = std::find(pings.begin(), pings.end(), frame.payload);
        ASSERT_NE(found, pings.end());
        ASSERT_LE(last_pong, static_cast<size_t>(found - pings.begin()));
        last_pong = static_cast<size_t>(found - pings.begin()) + 1;
      }
    }
    EXPECT_TRUE(state_.output.empty()) << "half a frame";
    EXPECT_EQ(received, sent);
    EXPECT_EQ(last_pong, pings.size());
  }
}

TEST_F(WebSocket, NothingButPingsIsBoundedPerRead) {
  Upgrade();
  state_.input_limit = 6;
  for (int i = 0; i < 20; ++i) state_.input += ClientFrame(kFin | kPing, "");
  const size_t before = state_.input.size();
  EXPECT_EQ(ReadOnce(*transport_, 65536).end, IoState::kAgain);
  EXPECT_TRUE(transport_->HasBufferedInput());
  EXPECT_GE(state_.input.size(), before - 24);
  EXPECT_EQ(ReadAll(*transport_).end, IoState::kAgain);
  EXPECT_FALSE(transport_->HasBufferedInput());
  EXPECT_EQ(Sent().size(), 20u);
}

TEST_F(WebSocket, AnswersThePeersCloseAndEnds) {
  Upgrade();
  state_.input = ClientFrame(kFin | kBinary, "last") + ClientFrame(kFin | kClose, "\x03\xE9") +
                 ClientFrame(kFin | kBinary, "after");
  const ReadAllResult all = ReadAll(*transport_);
  EXPECT_EQ(all.bytes, "last");
  EXPECT_EQ(all.end, IoState::kClosed);
  EXPECT_THAT(Sent(), ElementsAre(ServerFrame{kFin | kClose, "\x03\xE9"}));
  EXPECT_TRUE(state_.closing);
  EXPECT_EQ(WriteAll(*transport_, "x").state, IoState::kClosed);
}

TEST_F(WebSocket, StartCloseSaysGoodbyeOnceAndWaitsForTheAnswer) {
  Upgrade();
  transport_->StartClose();
  transport_->StartClose();
  EXPECT_THAT(Sent(), ElementsAre(kNormalClose));
  EXPECT_TRUE(state_.closing);
  state_.input = ClientFrame(kFin | kBinary, "crossed") + ClientFrame(kFin | kPing, "x");
  EXPECT_EQ(ReadAll(*transport_).end, IoState::kAgain);
  state_.input = ClientFrame(kFin | kClose, "\x03\xE8");
  EXPECT_EQ(ReadAll(*transport_).end, IoState::kClosed);
  EXPECT_TRUE(Sent().empty());
}

TEST_F(WebSocket, AGoodbyeWithoutRoomWaitsForIt) {
  Upgrade();
  state_.output_room = 1;
  transport_->StartClose();
  EXPECT_TRUE(transport_->WantsWrite());
  EXPECT_FALSE(state_.closing);
  state_.output_room = SIZE_MAX;
  EXPECT_EQ(ReadAll(*transport_).end, IoState::kAgain);
  EXPECT_FALSE(transport_->WantsWrite());
  EXPECT_TRUE(state_.closing);
  EXPECT_THAT(Sent(), ElementsAre(kNormalClose));
}

TEST_F(WebSocket, NoGoodbyeInTheMiddleOfAFrame) {
  Upgrade();
  state_.output_room = 5;
  EXPECT_EQ(WriteAll(*transport_, "half a frame").bytes, 3u);
  state_.output_room = SIZE_MAX;
  transport_->StartClose();
  EXPECT_TRUE(state_.closing);
  EXPECT_EQ(state_.output.size(), 5u);
}

TEST_F(WebSocket, ViolationsAreAnsweredAfterWhatCameBefore) {
  struct Row {
    std::string bytes;
    const char* close;
  };
  for (const Row& row : {Row{ClientFrame(kFin | kText, "hi"), "\x03\xEB"},
                         Row{std::string("\x82\x02hi"), "\x03\xEA"}}) {
    SetUp();
    state_ = {};
    transport_ = std::make_unique<WebSocketTransport>(std::make_unique<FakeTransport>(state_),
                                                      std::make_shared<const std::string>(""));
    Upgrade();
    state_.input = ClientFrame(kFin | kBinary, "good") + row.bytes;
    const ReadAllResult all = ReadAll(*transport_);
    EXPECT_EQ(all.bytes, "good");
    EXPECT_EQ(all.end, IoState::kError);
    EXPECT_THAT(std::string(transport_->error()), StartsWith("WebSocket: "));
    EXPECT_THAT(Sent(), ElementsAre(ServerFrame{kFin | kClose, row.close}));
    EXPECT_TRUE(state_.closing);
  }
}

TEST_F(WebSocket, EndOfStreamAndErrorsOfTheInnerTransportPassThrough) {
  Upgrade();
  state_.input_end = IoState::kError;
  EXPECT_EQ(ReadAll(*transport_).end, IoState::kError);
  EXPECT_EQ(transport_->error(), "fake");
  state_.input_end = IoState::kClosed;
  EXPECT_EQ(ReadAll(*transport_).end, IoState::kClosed);
  EXPECT_EQ(ReadAll(*transport_).end, IoState::kClosed);
}

TEST(WebSocketOverTcp, WholeConversation) {
  auto [fd, peer] = MakePair();
  WebSocketTransport transport(std::make_unique<TcpTransport>(fd),
                               std::make_shared<const std::string>(""));
  peer.Send(UpgradeRequest("/any"));
  EXPECT_EQ(ReadAll(transport).end, IoState::kAgain);
  EXPECT_THAT(peer.Receive(), HasSubstr("101 Switching Protocols"));
  peer.Send(ClientFrame(kBinary, "con") + ClientFrame(kFin | kContinuation, "nect"));
  EXPECT_EQ(ReadAll(transport).bytes, "connect");
  EXPECT_EQ(WriteAll(transport, "connack").state, IoState::kOk);
  transport.StartClose();
  std::string received = peer.Receive();
  EXPECT_THAT(TakeServerFrames(received),
              ElementsAre(ServerFrame{kFin | kBinary, "connack"}, kNormalClose));
  EXPECT_TRUE(peer.ReceivesEnd());
  peer.Close();
  EXPECT_EQ(ReadAll(transport).end, IoState::kClosed);
}

TEST(WebSocketOverTcp, ThePeerReadsTheLastWordsThoughItSentMore) {
  auto [fd, peer] = MakePair();
  {
    WebSocketTransport transport(std::make_unique<TcpTransport>(fd),
                                 std::make_shared<const std::string>(""));
    peer.Send("POST / HTTP/1.1\r\nHost: x\r\n\r\n" + std::string(20000, 'x'));
    EXPECT_EQ(ReadAll(transport).end, IoState::kError);
  }
  EXPECT_THAT(peer.ReceiveExactly(12), StartsWith("HTTP/1.1 405"));
}

}  // namespace
}  // namespace broker
