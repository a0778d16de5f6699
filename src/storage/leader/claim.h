// Who owns a Client Identifier.
#ifndef STORAGE_LEADER_CLAIM_H_
#define STORAGE_LEADER_CLAIM_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "base/by_name.h"
#include "base/text.h"
#include "storage/core/effects.h"
#include "storage/core/partition_api.h"
#include "storage/leader/delivery_window.h"

namespace storage {

// One for each Client Identifier that is connected, or whose record is just being changed: what the
// log is told about one identifier goes one step at a time, so a decision always sees the outcome
// of the one before. Most are of connected transient sessions: those are nothing but this.
struct Claim {
  enum class State : uint8_t {
    kOpening,  // OpenSession is being committed.
    kOpen,     // SessionOpened was answered.
    kBusy,     // Nobody owns it: a close, an expiry or a will is being committed, or whoever waits
               // for it is made to wait a little longer.
  };

  // While somebody waits for an answer.
  struct Opening {
    Token token = 0;  // kOpening: of the OpenSession that is being committed.
    std::optional<CloseSession> closed_early;  // kOpening: its connection went.
    std::string user_name;                     // kOpening: whose it will be.
    bool counted = false;                      // kOpening: among the sessions of that user already.
    // Those that want it, first come, first served: each gets it, and loses it to the next.
    std::vector<OpenSession> waiting;
  };

  // While retained messages are to follow for new subscriptions.
  struct ReplayTopics {
    // Of what has come live since: nothing older may follow it. Bounded: of more than these some
    // come twice.
    static constexpr size_t kLiveMax = 4096;
    absl::flat_hash_set<std::string> live;
    // Of the page that is being committed.
    absl::flat_hash_set<std::string> page;
  };

  // What another node has read for a replay, where there is no replica here.
  struct AskedPage {
    uint64_t replay = 0;
    std::vector<mqtt::MessagePtr> messages;
    std::string cursor;
  };

  // How the queue of its record goes to the connection.
  struct Feed {
    uint32_t window_messages = 0;  // As OpenSession asked.
    uint64_t window_bytes = 0;
    uint32_t packet_size_max = 0;

    // kOpen and stored.
    SessionSlot slot = kNoSlot;
    DeliveryWindow window;
    bool confirmed = true;      // The shard has said that the connection is there.
    bool behind = false;        // The queue has messages at or after window.next().
    bool in_pump = false;       // Listed for the pump.
    bool damaged = false;       // The queue cannot be read from window.next() on: it ends there.
    bool replaying = false;     // A page of retained messages is being committed.
    bool replay_sent = false;   // What of it has QoS 0 is at the shard: ReplayTaken is to come.
    uint32_t replays_held = 0;  // Until so many subscriptions are known everywhere.
    // How far a replay has been read beyond what its record says, without anything to write down.
    uint64_t scanned_replay = 0;
    std::string scanned_to;

    std::unique_ptr<ReplayTopics> replay_topics;  // Null: none.
    std::unique_ptr<AskedPage> asked_page;        // Null: none.

    // Under a new leader: what was sent to the connection, as it seems, and is not in flight there.
    // The shard is about to say that it is acknowledged; or it was passed over, since it had
    // expired.
    std::vector<uint64_t> passed_over;

    // Where this round's Deliver stands in the outbox.
    uint64_t deliver_round = 0;
    size_t deliver_index = 0;
  };

  Claim(std::string_view id, State s) : client_id(id), state(s) {}

  bool waited_for() const { return opening != nullptr && !opening->waiting.empty(); }
  Opening& opening_state() {
    if (opening == nullptr) opening = std::make_unique<Opening>();
    return *opening;
  }

  const base::Text client_id;
  ConnectionRef connection;
  uint64_t epoch = 0;
  std::unique_ptr<Opening> opening;  // Never null in kOpening.
  std::unique_ptr<Feed> feed;        // Null: it has no record, and asked for none.
  uint32_t owner = 0;                // Whose it is: a keyed hash of the user name; 0: nobody's.
  State state;
  bool stored = false;  // The partition has a record of it.
};

// A budget: there is one for each connection.
static_assert(sizeof(Claim) <= 56);

// What a request is answered with that does not come from the owner.
inline absl::Status NotOwner() {
  return absl::FailedPreconditionError("the session is not this connection's any more");
}

// By Client Identifier, which is nowhere but in the claim itself.
struct ClientIdOfClaim {
  std::string_view operator()(const std::unique_ptr<Claim>& claim) const {
    return claim->client_id;
  }
};
using ClaimSet = absl::flat_hash_set<std::unique_ptr<Claim>, base::HashByName<ClientIdOfClaim>,
                                     base::EqualByName<ClientIdOfClaim>>;

}  // namespace storage

#endif  // STORAGE_LEADER_CLAIM_H_
