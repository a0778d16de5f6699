// A client of the simulation, on the wire: it writes packets and reads packets, with the tests' own
// codec, and keeps its own end of a session as MQTT wants it.
#ifndef TESTS_BROKER_SHARD_SIM_CLIENT_H_
#define TESTS_BROKER_SHARD_SIM_CLIENT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "tests/broker/shard/ledger.h"
#include "tests/broker/shard/sim_broker.h"
#include "tests/support/client_session.h"
#include "tests/support/wire.h"

namespace sim {

// Publishes, subscribes, breaks its connection, falls silent and comes back, as chance says; what
// it sees goes into the ledger. Does nothing by itself once it is told to calm down.
class Client : private support::ClientSession {
 public:
  struct Options {
    std::string id;
    support::Version version = support::Version::k5;
    bool durable = false;
    bool steady = false;  // It subscribes to everything and keeps its connection.
    uint16_t keep_alive_s = 0;
  };

  Client(Broker& broker, Ledger& ledger, Options options);

  void Start();
  void CalmDown();
  // After it: whether everything that was asked for is answered.
  void CheckAtRest() const;

  const SubscriberSession& session() const { return session_; }
  const std::string& id() const { return options_.id; }
  bool durable() const { return options_.durable; }
  bool connected() const { return connected_; }

 private:
  int64_t now_ns() const { return broker_.agenda().now_ns(); }
  void Act();
  void ActConnected();
  void Connect();
  void LoseConnection();
  void Break(bool silently);
  void SayGoodbye();
  void Ping();
  void Publish();
  void Subscribe(const std::string& filter, unsigned qos);
  void Unsubscribe();
  uint16_t NextId();
  std::string SomeFilter();
  std::string SomeTopic();
  void WillIsDue();
  void EndSession();

  void OnEnd();

  bool has_connection() const override { return line_ != nullptr; }
  void Send(std::string bytes) override { line_->Send(std::move(bytes)); }
  void SendPublish(uint16_t packet_id, const std::string& payload, bool dup) override;
  void OnConnack(const support::Packet& packet) override;
  void OnDisconnect(const support::Packet& packet) override { OnUnexpected(packet); }
  void OnPublish(const support::Packet& packet, bool repeated) override;
  void OnAcknowledged(const support::Packet& packet, const Outgoing& outgoing) override;
  void OnAnswered(const support::Packet& packet, const Asked& asked, bool is_latest) override;
  void OnUnexpected(const support::Packet& packet) override;
  void OnUnreadable(const std::string& error, const support::Packet& packet) override;

  Broker& broker_;
  Ledger& ledger_;
  const Options options_;
  base::Rng rng_;
  std::shared_ptr<Line> line_;
  std::vector<std::shared_ptr<Line>> left_;  // Silent connections that the broker is to end.
  bool connected_ = false;
  bool was_connected_ = false;  // Once at least.
  bool calm_ = false;
  bool stalled_ = false;
  bool taken_over_ = false;  // It has two connections: either may be told to go.
  uint64_t connection_ = 0;  // Its number.
  int64_t back_at_ns_ = 0;
  std::string will_;  // The payload of this connection's.
  uint64_t published_ = 0;

  // Its part of the session.
  uint16_t last_id_ = 0;
  SubscriberSession session_;
};

}  // namespace sim

#endif  // TESTS_BROKER_SHARD_SIM_CLIENT_H_
