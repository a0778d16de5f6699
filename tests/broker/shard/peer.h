// A client of the simulated broker that does what the test says.
#ifndef TESTS_BROKER_SHARD_PEER_H_
#define TESTS_BROKER_SHARD_PEER_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/broker/shard/sim_broker.h"
#include "tests/support/wire.h"

namespace sim {

// A connection that the test writes to, and what has come over it.
struct Peer {
  Peer(Broker& its_broker, size_t shard) : broker(its_broker), line(broker.ConnectTo(shard)) {
    line->on_bytes = [this](std::string_view bytes) {
      input += bytes;
      for (auto size = support::FrameSize(input); size.has_value() && *size <= input.size();
           size = support::FrameSize(input)) {
        packets.push_back(
            support::Parse(support::Version::k5, std::string_view(input).substr(0, *size)).packet);
        came_ns.push_back(broker.agenda().now_ns());
        input.erase(0, *size);
        if (on_packet) on_packet(packets.back().type);
      }
    };
    line->on_end = [this] { ended_ns = broker.agenda().now_ns(); };
  }
  Peer(Broker& its_broker, size_t shard, std::string id, uint16_t keep_alive_s = 0)
      : Peer(its_broker, shard) {
    line->Send(
        support::ConnectPacket{.client_id = std::move(id), .keep_alive_s = keep_alive_s}.Encode());
    broker.RunFor(absl::Milliseconds(100));
    EXPECT_EQ(TakeTypes(), std::vector{support::PacketType::kConnack});
  }

  std::vector<support::PacketType> TakeTypes() {
    std::vector<support::PacketType> types;
    for (const support::Packet& packet : packets) types.push_back(packet.type);
    packets.clear();
    came_ns.clear();
    return types;
  }
  // A client whose session outlives its connections. Whether there was one comes in CONNACK.
  static std::unique_ptr<Peer> Durable(Broker& broker, size_t shard, std::string id) {
    auto peer = std::make_unique<Peer>(broker, shard);
    support::ConnectPacket connect{.client_id = std::move(id), .clean = false};
    connect.properties.Number(support::PropertyId::kSessionExpiryInterval, 3600);
    peer->line->Send(connect.Encode());
    broker.RunFor(absl::Milliseconds(100));
    return peer;
  }

  void Publish(const std::string& topic, const std::string& payload) const {
    line->Send(
        support::PublishPacket{.topic = topic, .payload = payload}.Encode(support::Version::k5));
  }
  void Subscribe(const std::string& topic, unsigned qos = 0) {
    line->Send(support::Subscribe(support::Version::k5, 1, {{topic, qos}}));
    broker.RunFor(absl::Milliseconds(100));
    EXPECT_EQ(TakeTypes(), std::vector{support::PacketType::kSuback});
  }

  Broker& broker;
  std::shared_ptr<Line> line;
  std::function<void(support::PacketType)> on_packet;
  std::string input;
  std::vector<support::Packet> packets;
  std::vector<int64_t> came_ns;
  int64_t ended_ns = 0;
};

}  // namespace sim

#endif  // TESTS_BROKER_SHARD_PEER_H_
