// A Session as its shard holds it while its client is connected.
#ifndef BROKER_CORE_SESSION_H_
#define BROKER_CORE_SESSION_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "auth/core/identity.h"
#include "auth/core/permissions.h"
#include "base/text.h"
#include "broker/core/inbound_flow.h"
#include "broker/core/limits.h"
#include "broker/core/live_topics.h"
#include "broker/core/outbound_flow.h"
#include "broker/core/subscription_set.h"
#include "broker/core/topic_aliases.h"
#include "mqtt/frame.h"
#include "mqtt/message.h"
#include "mqtt/types.h"
#include "storage/core/partition_api.h"

namespace broker {

class Connection;

// How far the retained messages are that go to a transient session for one new subscription. (A
// durable session's are replayed by its partition.)
struct RetainedReplay {
  std::string cursor;
  bool asked = false;  // A page is on its way.
  bool last = false;   // There is none after this one.
  storage::Token token = 0;
  std::deque<mqtt::MessagePtr> page;  // Waits for room on the wire: at most one page.
};

// Owned by its Connection, used on its shard's thread. A transient session is all here and ends
// with the connection. Of a durable one the partition has the truth; this is what the connection
// needs at hand.
class Session {
 public:
  Session(Connection& owner, std::string_view id, mqtt::Version protocol, const Limits& bounds,
          uint16_t outbound_window)
      : connection(owner),
        limits(bounds),
        client_id(id),
        version(protocol),
        inbound(bounds.receive_maximum),
        outbound(outbound_window) {}
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  Connection& connection;
  const Limits& limits;  // Its listener's.
  const base::Text client_id;
  uint64_t epoch = 0;  // Of the claim on the Client Identifier, see storage::SessionOpened.
  uint32_t session_expiry_s = 0;                    // As CONNACK told.
  uint32_t packet_size_max = mqtt::kPacketSizeMax;  // What the client takes [MQTT5-3.1.2-24].
  const mqtt::Version version;
  bool durable = false;
  bool had_will = false;
  bool problem_information = true;  // §3.1.2.11.7
  // A 3.1 or 3.1.1 bridge of another broker. It cannot ask for subscription options, so each of its
  // subscriptions has No Local (or messages would go round in circles) and Retain As Published (or
  // what is retained here would not be there), as with mosquitto.
  bool bridge = false;
  bool replay_came = false;  // Of a durable session, and storage::ReplayTaken is due for it.
  storage::PartitionId partition = 0;  // Of a durable one.

  InboundFlow inbound;
  OutboundFlow outbound;
  std::unique_ptr<InboundTopicAliases> aliases_in;    // Made when first used.
  std::unique_ptr<OutboundTopicAliases> aliases_out;  // Null: the client allows none.

  // Who the client proved to be. Null: anonymous, without a certificate.
  struct User {
    std::string name;
    std::shared_ptr<const auth::CertificateFields> certificate;
  };
  std::unique_ptr<const User> user;
  std::string_view user_name() const { return user == nullptr ? std::string_view() : user->name; }
  // The whole of it, put together: for the rare moments when access rules change.
  auth::Identity IdentityOn(std::string_view listener) const {
    return {.user_name = std::string(user_name()),
            .client_id = std::string(client_id),
            .listener = std::string(listener),
            .anonymous = user_name().empty(),
            .certificate = user == nullptr ? nullptr : user->certificate};
  }
  void SetIdentity(auth::Identity identity) {
    if (identity.anonymous && identity.certificate == nullptr) return user.reset();
    user = std::make_unique<const User>(
        User{std::move(identity.user_name), std::move(identity.certificate)});
  }
  std::shared_ptr<const auth::Permissions> permissions;

  SubscriptionSet subscriptions;

  // Retained messages on their way, from SUBSCRIBE on. While there are any it is remembered of
  // which topics one was delivered live, and when: a subscription that was there by then gets no
  // other, neither that one again nor an older one after it.
  struct Replays {
    Replays(base::MemoryAccount& account, uint64_t key) : live_topics(account, key) {}

    struct Waiting {
      storage::SubscriptionRecord subscription;  // Its filter is empty once it is unsubscribed.
      uint64_t made_at = 0;                      // `now` when it was made.
    };
    std::deque<Waiting> waiting;  // One after the other, in their order.
    RetainedReplay first;         // How far that of waiting.front() is.
    size_t filters_asked = 1;     // At once; twice as many each time that nothing was found.
    size_t subacks = 0;           // Still to come, before more of them wait.
    uint64_t now = 0;             // Counts live messages.
    LiveTopics live_topics;
    // Of a durable session, behind its last SUBACK and what its partition has replayed since: when
    // they need not be remembered any longer.
    uint32_t forget_at_tick = 0;

    // Whether live topics are to be remembered. Of a durable session, whose partition replays, only
    // QoS 0 until SUBACK: what its shard delivers before the partition has read the SUBSCRIBE.
    bool collects() const { return subacks != 0 || !waiting.empty(); }
  };
  std::unique_ptr<Replays> replays;

  // Acknowledgements of a durable session since the turn began; sent to its partition at the end of
  // it.
  std::unique_ptr<storage::Acknowledge> acknowledgements;
};

// A budget: docs/performance.md counts what an idle connection costs.
static_assert(sizeof(Session) <= 208);

}  // namespace broker
#endif  // BROKER_CORE_SESSION_H_
