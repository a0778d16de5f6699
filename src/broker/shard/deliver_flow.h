// What partitions push to durable sessions, and what clients acknowledge of what they were sent.
#ifndef BROKER_SHARD_DELIVER_FLOW_H_
#define BROKER_SHARD_DELIVER_FLOW_H_

#include <cstdint>

#include "broker/shard/deliverer.h"
#include "broker/shard/shard_context.h"
#include "broker/shard/subscribe_flow.h"
#include "mqtt/packets.h"
#include "storage/core/partition_api.h"

namespace broker {

// Part of one shard, used on its thread. Deliverer writes the packets.
class DeliverFlow {
 public:
  DeliverFlow(ShardContext& context, Deliverer& deliverer, SubscribeFlow& subscribing)
      : context_(context), deliverer_(deliverer), subscribing_(subscribing) {}

  // PUBACK, PUBREC or PUBCOMP.
  void OnAck(Session& session, const mqtt::Ack& packet);

  // The partition host's.
  void OnDeliver(storage::Deliver event);
  void OnReleaseDue(const storage::ReleaseDue& event);
  void OnTooSlow(const storage::SessionTooSlow& event);

 private:
  void OnDone(Session& session, const mqtt::Ack& packet);
  void OnPubRec(Session& session, const mqtt::Ack& packet);
  void OnRoom(Session& session, uint64_t sequence, storage::AckKind kind);
  void NoteAcknowledged(Session& session, uint64_t sequence, storage::AckKind kind);
  bool IsLive(const storage::ConnectionRef& ref, uint64_t epoch, Connection*& connection) const;

  ShardContext& context_;
  Deliverer& deliverer_;
  SubscribeFlow& subscribing_;
};

}  // namespace broker
#endif  // BROKER_SHARD_DELIVER_FLOW_H_
