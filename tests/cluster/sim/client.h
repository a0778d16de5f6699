// A client of the simulated cluster, on the wire: it writes packets and reads packets, with the
// tests' own codec, connects to any node, and keeps its own end of a session as MQTT wants it.
#ifndef TESTS_CLUSTER_SIM_CLIENT_H_
#define TESTS_CLUSTER_SIM_CLIENT_H_

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "tests/broker/shard/agenda.h"
#include "tests/broker/shard/sim_line.h"
#include "tests/cluster/sim/history.h"
#include "tests/cluster/sim/journal.h"
#include "tests/support/client_session.h"
#include "tests/support/wire.h"

namespace simulator {

// Where clients connect to.
class Doors {
 public:
  struct Door {
    std::shared_ptr<sim::Line> line;  // Null: nobody listens there.
    uint64_t life = 0;                // Of the node.
    uint16_t node = 0;
  };
  virtual ~Doors() = default;
  virtual Door Connect() = 0;  // To some node.
};

// Publishes, subscribes, breaks its connection and comes back elsewhere, as chance says; what it
// sees goes into the history. Does nothing by itself once it is told to calm down.
class Client : private support::ClientSession {
 public:
  struct Options {
    std::string id;
    support::Version version = support::Version::k5;
    bool durable = false;
    uint32_t expiry_s = 300;  // Of its session, in version 5. Longer than it is ever away.
    bool steady = false;      // It subscribes to everything and keeps its connection.
    bool publishes = true;
    bool has_wills = false;
    double pace = 1.0;
  };

  Client(sim::Agenda& agenda, Doors& doors, History& history, const Journal& journal, base::Rng rng,
         Options options);

  void Start();
  void CalmDown();
  // After it: whether everything that was asked for is answered.
  void CheckAtRest();
  // The node that it is connected to has lost its power: nothing comes any more.
  void OnSilence(uint64_t life);

  const SubscriberSession& session() const { return session_; }
  const std::string& id() const { return options_.id; }
  bool durable() const { return options_.durable; }
  // When it is calm it goes, and its session with it.
  bool is_brief() const { return options_.expiry_s < 60; }
  bool connected() const { return connected_; }

 private:
  int64_t now_ns() const { return agenda_.now_ns(); }
  template <typename... Words>
  void Say(const Words&... words) const {
    journal_.Say(options_.id, " ", words...);
  }
  void Act();
  void ActConnected();
  void Connect();
  void LoseConnection();
  void Break();
  void TakeOver();
  void SayGoodbye();
  void Publish();
  void Subscribe(const std::string& filter, unsigned qos);
  void Unsubscribe();
  uint16_t NextId() const;
  std::string SomeFilter();
  std::string SomeTopic();
  std::string SessionName() const;
  void NoteAsked(const std::string& filter);
  void NoteAnswered(const std::string& filter, int64_t through_ns);
  void NoteConnectionLost();
  void NoteMemberGoes();  // Of the groups that it has joined.
  void WillIsDue();
  void EndSession();
  void AddWill(support::ConnectPacket& connect);

  void OnEnd();

  bool has_connection() const override { return line_ != nullptr; }
  void Send(std::string bytes) override { line_->Send(std::move(bytes)); }
  void SendPublish(uint16_t packet_id, const std::string& payload, bool dup) override;
  void OnConnack(const support::Packet& packet) override;
  void OnDisconnect(const support::Packet& packet) override;
  void OnPublish(const support::Packet& packet, bool repeated) override;
  void OnAcknowledged(const support::Packet& packet, const Outgoing& outgoing) override;
  void OnAnswered(const support::Packet& packet, const Asked& asked, bool is_latest) override;
  void OnUnexpected(const support::Packet& packet) override;
  void OnUnreadable(const std::string& error, const support::Packet& packet) override;

  sim::Agenda& agenda_;
  Doors& doors_;
  History& history_;
  const Journal& journal_;
  base::Rng rng_;
  const Options options_;
  std::shared_ptr<sim::Line> line_;
  uint64_t life_ = 0;  // Of the node that it is connected to.
  bool connected_ = false;
  bool was_connected_ = false;  // Once at least.
  bool calm_ = false;
  uint64_t connection_ = 0;  // Its number.
  int64_t back_at_ns_ = 0;
  std::string will_;  // The payload of this connection's.
  uint64_t published_ = 0;
  std::set<std::pair<uint16_t, std::string>> came_;  // Over this connection, with an identifier.
  std::map<std::string, size_t> changing_;           // Groups that it asks to join or leave.
  SubscriberSession session_;
};

}  // namespace simulator

#endif  // TESTS_CLUSTER_SIM_CLIENT_H_
