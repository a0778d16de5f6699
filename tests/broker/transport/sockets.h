// Both ends of a connection inside one test, without threads: the other end never blocks.
#ifndef TESTS_BROKER_TRANSPORT_SOCKETS_H_
#define TESTS_BROKER_TRANSPORT_SOCKETS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "broker/transport/transport.h"

namespace broker {

// The peer's end: a non-blocking descriptor that is closed in the end.
class Peer {
 public:
  explicit Peer(int fd = -1) : fd_(fd) {}
  ~Peer() { Close(); }
  Peer(Peer&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Peer& operator=(Peer&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }

  // Connects over loopback, or to a unix socket.
  static Peer Connect(uint16_t port);
  static Peer Connect(const std::string& unix_path);

  int fd() const { return fd_; }
  void Close();
  void Send(std::string_view bytes) const;
  void FinishSending() const;
  // All that is there now.
  std::string Receive() const;
  // Waits until `bytes` are there or the stream ends.
  std::string ReceiveExactly(size_t bytes) const;
  // Waits for the end of the stream; what came before is dropped.
  bool ReceivesEnd() const;

 private:
  int fd_;
};

// A connected pair of stream sockets: `first` is to be owned by a transport.
std::pair<int, Peer> MakePair();

// Reads until something other than kOk comes; the bytes and how it ended.
struct ReadAllResult {
  std::string bytes;
  IoState end = IoState::kOk;
};
ReadAllResult ReadAll(Transport& transport);

// Waits until the transport's descriptor is readable, then the same.
ReadAllResult AwaitAndReadAll(Transport& transport);

WriteResult WriteAll(Transport& transport, std::string_view bytes);

// One call of `Read` with that capacity.
ReadAllResult ReadOnce(Transport& transport, size_t capacity);

}  // namespace broker
#endif  // TESTS_BROKER_TRANSPORT_SOCKETS_H_
