// The client's end of an MQTT session, for clients of simulations: which requests of its own are
// not answered to their end, and what comes, packet by packet.
#ifndef TESTS_SUPPORT_CLIENT_SESSION_H_
#define TESTS_SUPPORT_CLIENT_SESSION_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>

#include "tests/support/wire.h"

namespace support {

// Answers what MQTT wants answered: PUBACK and PUBREC to PUBLISH, PUBREL to PUBREC, PUBCOMP to
// PUBREL. What to make of it all is for who derives from it.
class ClientSession {
 protected:
  // A PUBLISH of QoS 1 or 2 that is not acknowledged to its end.
  struct Outgoing {
    uint64_t order = 0;
    std::string payload;
    bool received = false;  // PUBREC came: PUBREL is what is owed.
  };
  // A SUBSCRIBE or UNSUBSCRIBE that is not answered.
  struct Asked {
    bool subscribe = true;
    std::string filter;
  };

  explicit ClientSession(Version version) : protocol_(version) {}
  virtual ~ClientSession() = default;

  // What came over the connection. Stops when that is gone.
  void TakeBytes(std::string_view bytes);
  // What was asked over it is not answered any more.
  void ForgetConnection();
  void ForgetExchanges();
  bool IsInUse(uint16_t packet_id) const {
    return outgoing_.contains(packet_id) || asked_.contains(packet_id);
  }
  void Ask(uint16_t packet_id, Asked asked);
  // On a new connection, in the order of the first time [MQTT-4.4.0-1] [MQTT-4.6.0-1].
  void SendAgain();

  virtual bool has_connection() const = 0;
  virtual void Send(std::string bytes) = 0;
  virtual void SendPublish(uint16_t packet_id, const std::string& payload, bool dup) = 0;

  virtual void OnConnack(const Packet& packet) = 0;
  virtual void OnDisconnect(const Packet& packet) = 0;
  // `repeated`: of QoS 2, and known since before. Answered afterwards.
  virtual void OnPublish(const Packet& packet, bool repeated) = 0;
  // PUBACK, PUBREC or PUBCOMP for that one.
  virtual void OnAcknowledged(const Packet& packet, const Outgoing& outgoing) = 0;
  // SUBACK or UNSUBACK. `is_latest`: nothing has been asked about the filter since.
  virtual void OnAnswered(const Packet& packet, const Asked& asked, bool is_latest) = 0;
  // An answer to nothing, or what no server sends.
  virtual void OnUnexpected(const Packet& packet) = 0;
  virtual void OnUnreadable(const std::string& error, const Packet& packet) = 0;

  std::map<uint16_t, Outgoing> outgoing_;
  std::map<uint16_t, Asked> asked_;

 private:
  void OnPacket(const Packet& packet);
  void TakePublish(const Packet& packet);
  void TakeAcknowledgement(const Packet& packet);
  void TakeAnswer(const Packet& packet);

  const Version protocol_;
  std::string input_;
  std::set<uint16_t> incoming_;                 // QoS 2, until PUBREL.
  std::map<std::string, uint16_t> last_asked_;  // Filter → the latest request that names it.
};

}  // namespace support

#endif  // TESTS_SUPPORT_CLIENT_SESSION_H_
