// Between a client and a real server: hears every packet, and can hold some back, change them, add
// to them, or break the connection.
#ifndef TESTS_CLIENT_STATEMENTS_WIRETAP_H_
#define TESTS_CLIENT_STATEMENTS_WIRETAP_H_

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "client/stream.h"
#include "mqtt/frame.h"
#include "mqtt/packets.h"

namespace mqttd::client {

// A packet that went by.
struct Heard {
  size_t connection = 0;  // The first is 1.
  mqtt::PacketType type = mqtt::PacketType::kReserved;
  uint8_t flags = 0;
  std::string frame;  // All of it.
  std::string body;   // What follows the fixed header.
};

// One client's connections, one after the other. Used on one thread.
class Wiretap {
 public:
  using Packets = std::deque<Heard>;  // References to packets stay valid.

  explicit Wiretap(mqtt::Version version) : version_(version) {}

  Dialer MakeDialer();

  const Packets& sent() const { return sent_; }  // By the client, in order.
  const Packets& received() const { return received_; }
  std::vector<const Heard*> Sent(mqtt::PacketType type) const { return Of(sent_, type); }
  std::vector<const Heard*> Received(mqtt::PacketType type) const { return Of(received_, type); }
  size_t connections() const { return connections_; }
  // Ends that the client made, not `HangUp` and not the server.
  size_t closed_by_client() const { return closed_by_client_; }

  // What the server sends of this type is heard, and does not come to the client.
  void Hold(mqtt::PacketType type) { held_.insert(type); }
  void StopHolding() { held_.clear(); }
  // Called for each packet from the server; what it leaves in `frame` comes to the client.
  void Change(std::function<void(const Heard&, std::string& frame)> change) {
    change_ = std::move(change);
  }
  // Comes to the client before the server's next packet.
  void AddBeforeNext(std::string bytes) { added_ += bytes; }
  void HangUp() {
    if (stream_ != nullptr) stream_->Close();
  }

 private:
  class Tap;

  static std::vector<const Heard*> Of(const Packets& packets, mqtt::PacketType type) {
    std::vector<const Heard*> found;
    for (const Heard& heard : packets) {
      if (heard.type == type) found.push_back(&heard);
    }
    return found;
  }
  // Takes whole packets off the front of `bytes`.
  void Hear(std::string& bytes, Packets& into, const std::function<void(const Heard&)>& each) {
    for (;;) {
      const mqtt::FrameResult frame =
          mqtt::PeekFrame(mqtt::AsBytes(bytes), mqtt::kPacketSizeMax, version_);
      if (frame.kind != mqtt::FrameResult::Kind::kComplete) return;
      const size_t size = frame.header.frame_size();
      into.push_back(
          {connections_, frame.header.type, frame.header.flags, bytes.substr(0, size),
           std::string(mqtt::AsText(mqtt::FrameBody(frame.header, mqtt::AsBytes(bytes))))});
      bytes.erase(0, size);
      each(into.back());
    }
  }
  void Pass(const Heard& heard, std::string& out) {
    out += std::exchange(added_, {});
    if (held_.contains(heard.type)) return;
    std::string frame = heard.frame;
    if (change_ != nullptr) change_(heard, frame);
    out += frame;
  }

  const mqtt::Version version_;
  Packets sent_;
  Packets received_;
  size_t connections_ = 0;
  size_t closed_by_client_ = 0;
  std::set<mqtt::PacketType> held_;
  std::function<void(const Heard&, std::string&)> change_;
  std::string added_;
  Stream* stream_ = nullptr;  // The server's end of the connection that stands.
};

class Wiretap::Tap final : public Stream {
 public:
  Tap(Wiretap& tap, std::unique_ptr<Stream> server) : tap_(tap), server_(std::move(server)) {
    ++tap_.connections_;
    tap_.stream_ = server_.get();
  }
  ~Tap() override { Forget(); }

  boost::asio::awaitable<size_t> Read(boost::asio::mutable_buffer buffer,
                                      boost::system::error_code& error) override {
    while (for_client_.empty()) {
      char bytes[16 << 10];
      const size_t count = co_await server_->Read(boost::asio::buffer(bytes), error);
      if (error) co_return 0;
      from_server_.append(bytes, count);
      tap_.Hear(from_server_, tap_.received_,
                [&](const Heard& heard) { tap_.Pass(heard, for_client_); });
    }
    const size_t count = std::min(buffer.size(), for_client_.size());
    std::memcpy(buffer.data(), for_client_.data(), count);
    for_client_.erase(0, count);
    co_return count;
  }
  boost::asio::awaitable<void> Write(boost::asio::const_buffer buffer,
                                     boost::system::error_code& error) override {
    from_client_.append(static_cast<const char*>(buffer.data()), buffer.size());
    tap_.Hear(from_client_, tap_.sent_, [](const Heard&) {});
    co_await server_->Write(buffer, error);
  }
  void Close() override {
    if (std::exchange(closed_, true)) return;
    ++tap_.closed_by_client_;
    Forget();
    server_->Close();
  }

 private:
  void Forget() {
    if (tap_.stream_ == server_.get()) tap_.stream_ = nullptr;
  }

  Wiretap& tap_;
  const std::unique_ptr<Stream> server_;
  std::string from_server_;
  std::string for_client_;
  std::string from_client_;
  bool closed_ = false;
};

inline Dialer Wiretap::MakeDialer() {
  return [this](const Endpoint& endpoint)
             -> boost::asio::awaitable<absl::StatusOr<std::unique_ptr<Stream>>> {
    const TlsOptions tls;  // GCC 12 frees temporaries of such calls twice.
    const std::string anywhere;
    absl::StatusOr<std::unique_ptr<Stream>> stream = co_await Dial(endpoint, tls, anywhere);
    if (!stream.ok()) co_return stream.status();
    co_return std::make_unique<Tap>(*this, *std::move(stream));
  };
}

}  // namespace mqttd::client

#endif  // TESTS_CLIENT_STATEMENTS_WIRETAP_H_
