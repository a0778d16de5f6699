// Who looks at what a shard does: traces and streams of events.
#ifndef BROKER_SHARD_OBSERVER_H_
#define BROKER_SHARD_OBSERVER_H_

#include <cstddef>
#include <string_view>

#include "broker/core/router.h"
#include "broker/shard/shard_metrics.h"
#include "mqtt/frame.h"
#include "mqtt/message.h"
#include "mqtt/types.h"

namespace broker {

class Connection;
class Session;

// Called on the shard's thread, in the middle of its work: quick, and changes nothing. While nobody
// looks there is none, which costs one look at a pointer for each packet.
class Observer {
 public:
  virtual ~Observer() = default;

  // CONNACK with success was sent.
  virtual void OnConnected(const Connection& connection, bool session_present) = 0;
  // Also of those that never were connected.
  virtual void OnClosed(const Connection& connection, CloseCause cause) = 0;

  virtual void OnReceived(const Connection& connection, const mqtt::FrameHeader& header,
                          mqtt::Bytes body) = 0;
  // Any packet but PUBLISH.
  virtual void OnSent(const Connection& connection, mqtt::PacketType type, size_t bytes) = 0;
  virtual void OnDelivered(const Session& session, const mqtt::MessageParts& parts, mqtt::QoS qos,
                           size_t bytes) = 0;
  // A message of a client of this shard, and where it goes from here.
  virtual void OnRouted(const Connection& connection, const mqtt::MessageParts& parts,
                        const Match& match) = 0;
  virtual void OnPublishRefused(const Connection& connection, std::string_view topic,
                                mqtt::ReasonCode reason) = 0;
  virtual void OnDropped(const Session& session, std::string_view topic, DropCause cause) = 0;
};

}  // namespace broker

#endif  // BROKER_SHARD_OBSERVER_H_
