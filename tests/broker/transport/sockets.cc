#include "tests/broker/transport/sockets.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace broker {
namespace {

// Only a failure waits as long as this.
constexpr int kDeadlineMs = 20000;

void SetNonBlocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

bool AwaitReadable(int fd) {
  pollfd watched = {fd, POLLIN, 0};
  return poll(&watched, 1, kDeadlineMs) == 1;
}

// False at the end of the stream, reset included.
bool ReceiveSome(int fd, std::string& bytes) {
  char buffer[65536];
  const ssize_t received = recv(fd, buffer, sizeof(buffer), 0);
  if (received > 0) bytes.append(buffer, static_cast<size_t>(received));
  return received > 0 || (received < 0 && errno == EAGAIN);
}

}  // namespace

Peer Peer::Connect(uint16_t port) {
  Peer peer(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(peer.fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    return Peer();
  }
  SetNonBlocking(peer.fd_);
  return peer;
}

Peer Peer::Connect(const std::string& unix_path) {
  Peer peer(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  unix_path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  if (connect(peer.fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    return Peer();
  }
  SetNonBlocking(peer.fd_);
  return peer;
}

void Peer::Close() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

void Peer::Send(std::string_view bytes) const {
  EXPECT_EQ(send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL),
            static_cast<ssize_t>(bytes.size()));
}

void Peer::FinishSending() const { shutdown(fd_, SHUT_WR); }

std::string Peer::Receive() const {
  std::string bytes;
  size_t before;
  do {
    before = bytes.size();
    ReceiveSome(fd_, bytes);
  } while (bytes.size() > before);
  return bytes;
}

std::string Peer::ReceiveExactly(size_t count) const {
  std::string bytes;
  while (bytes.size() < count && AwaitReadable(fd_) && ReceiveSome(fd_, bytes)) {
  }
  return bytes;
}

bool Peer::ReceivesEnd() const {
  std::string dropped;
  while (AwaitReadable(fd_)) {
    if (!ReceiveSome(fd_, dropped)) return true;
  }
  return false;
}

std::pair<int, Peer> MakePair() {
  int fds[2];
  EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
  return {fds[0], Peer(fds[1])};
}

ReadAllResult ReadOnce(Transport& transport, size_t capacity) {
  std::vector<char> buffer(capacity);
  const ReadResult read = transport.Read(buffer.data(), buffer.size());
  EXPECT_EQ(read.bytes > 0, read.state == IoState::kOk);
  return {std::string(buffer.data(), read.bytes), read.state};
}

ReadAllResult ReadAll(Transport& transport) {
  ReadAllResult all;
  for (;;) {
    const ReadAllResult some = ReadOnce(transport, 65536);
    all.bytes += some.bytes;
    all.end = some.end;
    if (some.end != IoState::kOk && !(some.end == IoState::kAgain && transport.HasBufferedInput()))
      return all;
  }
}

ReadAllResult AwaitAndReadAll(Transport& transport) {
  EXPECT_TRUE(AwaitReadable(transport.fd()));
  return ReadAll(transport);
}

WriteResult WriteAll(Transport& transport, std::string_view bytes) {
  return transport.Write(&bytes, 1);
}

}  // namespace broker
