#include "broker/transport/tcp_transport.h"

#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "broker/transport/socket_address.h"

namespace broker {
namespace {

// Of one sendmsg.
constexpr size_t kRangesMax = 64;

size_t TotalBytes(const std::string_view* ranges, size_t count) {
  size_t total = 0;
  for (size_t i = 0; i < count; ++i) total += ranges[i].size();
  return total;
}

ssize_t SendRanges(int fd, const std::string_view* ranges, size_t count) {
  if (count == 1) return send(fd, ranges->data(), ranges->size(), MSG_NOSIGNAL);
  std::array<iovec, kRangesMax> vectors;
  for (size_t i = 0; i < count; ++i) {  // sendmsg only reads them.
    vectors[i] = {const_cast<char*>(ranges[i].data()), ranges[i].size()};
  }
  msghdr message{};
  message.msg_iov = vectors.data();
  message.msg_iovlen = count;
  return sendmsg(fd, &message, MSG_NOSIGNAL);
}

}  // namespace

TcpTransport::TcpTransport(int fd, ConnectionSlot slot, std::unique_ptr<ProxyStage> proxy)
    : fd_(fd), proxy_(std::move(proxy)), slot_(std::move(slot)) {}

TcpTransport::~TcpTransport() { close(fd_); }

ReadResult TcpTransport::Read(char* buffer, size_t capacity) {
  filled_ = false;
  if (!HandshakeDone()) {
    const IoState state = proxy_->Drive(fd_);
    if (state != IoState::kOk) return {state, 0};
  }
  for (;;) {
    const ssize_t received = recv(fd_, buffer, capacity, 0);
    if (received > 0) {
      const size_t bytes = static_cast<size_t>(received);
      filled_ = bytes == capacity;
      return {IoState::kOk, bytes};
    }
    if (received == 0) return {IoState::kClosed, 0};
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return {IoState::kAgain, 0};
    errno_ = errno;
    return {IoState::kError, 0};
  }
}

WriteResult TcpTransport::Write(const std::string_view* ranges, size_t count) {
  if (closing_) return {IoState::kClosed, 0};
  if (!HandshakeDone()) return {IoState::kAgain, 0};
  size_t total = 0;
  while (count > 0) {
    const size_t now = std::min(count, kRangesMax);
    const size_t offered = TotalBytes(ranges, now);
    if (offered > 0) {
      const ssize_t sent = SendRanges(fd_, ranges, now);
      if (sent < 0) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) return {IoState::kAgain, total};
        errno_ = errno;
        return {IoState::kError, total};
      }
      total += static_cast<size_t>(sent);
      // A short send means that the kernel's buffer is full, and that an edge follows.
      if (static_cast<size_t>(sent) < offered) return {IoState::kAgain, total};
    }
    ranges += now;
    count -= now;
  }
  return {IoState::kOk, total};
}

void TcpTransport::StartClose() {
  closing_ = true;
  shutdown(fd_, SHUT_WR);
}

PeerInfo TcpTransport::peer() const {
  PeerInfo info;
  ReadSocketAddresses(fd_, info);
  if (proxy_ != nullptr) proxy_->Apply(info);
  return info;
}

std::string_view TcpTransport::error() const {
  if (errno_ != 0) return strerrordesc_np(errno_);
  return proxy_ != nullptr ? proxy_->error() : std::string_view();
}

}  // namespace broker
