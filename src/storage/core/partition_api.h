// What a shard asks of the partition host (Request) and what it hears back (Event).
//
// Both travel by value through mailboxes, in batches, first in first out per (shard, host) pair. On
// one node the host is `storage::PartitionHost`; in a cluster the same values go to the partition's
// leader.
#ifndef STORAGE_CORE_PARTITION_API_H_
#define STORAGE_CORE_PARTITION_API_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "absl/container/inlined_vector.h"
#include "absl/status/status.h"
#include "mqtt/message.h"
#include "mqtt/types.h"
#include "storage/core/addresses.h"

namespace storage {

// Chosen by the shard, echoed in the answer. Unique per shard.
using Token = uint64_t;

// Session Expiry Interval (seconds) that means "never" (§3.1.2.11.2).
inline constexpr uint32_t kExpiryNever = 0xFFFFFFFF;

// One subscription as the client made it. `filter` is the whole Topic Filter, `$share/group/…`
// included.
struct SubscriptionRecord {
  std::string filter;
  mqtt::SubscriptionOptions options;
  uint32_t subscription_id = 0;  // 0: the client gave none (§3.8.2.1.2).
};

// What a subscription takes in memory, about: its text in the session, in the partition's index and
// in a shard's routes, and what surrounds it there.
inline constexpr uint64_t kSubscriptionBytes = 512;
inline constexpr uint64_t SubscriptionBytes(std::string_view filter) {
  return kSubscriptionBytes + 3 * filter.size();
}

// ---- Requests: shard → host
// --------------------------------------------------------------------------------------

// Claims a Client Identifier. Answer: SessionOpened, after a former owner has let go (it gets
// TakenOver and must answer with CloseSession{cause = kTakenOver}) and, where anything had to be
// logged, after the commit. Logged when the session is durable (expiry_s > 0), when it has a will,
// or when a stored session must be resumed or discarded; else only the claim is remembered, in
// memory.
struct OpenSession {
  Token token = 0;
  ConnectionRef connection;
  std::string client_id;
  std::string user_name;  // Whose the session is. Empty: nobody's, the next one's who comes.
  std::string listener;  // With the user: whose rules decide what is sent on its behalf (its will).
  bool of_any_user = false;        // May have a session of another user too.
  bool only_known = false;         // Memory is short: only who has a session already is let in.
  uint32_t user_sessions_max = 0;  // Stored sessions of this user; 0: no bound.
  mqtt::Version version = mqtt::Version::k311;
  bool clean_start = false;  // Discard what is stored [MQTT5-3.1.2-4].
  uint32_t expiry_s = 0;     // 0: ends with the connection.
  uint32_t window_messages =
      0;  // In flight at most: min(client's Receive Maximum, inflight_messages_max). ≥ 1.
  uint64_t window_bytes = 0;     // In flight at most, payload and topic; one message always may.
  uint32_t packet_size_max = 0;  // The client's Maximum Packet Size; 0: it gave none.
  mqtt::MessagePtr will;         // Null: no will. Its retain flag is the Will Retain flag.
  uint32_t will_delay_s = 0;
};

enum class CloseCause : uint8_t {
  kNormal,     // DISCONNECT 0x00: the will is deleted [MQTT-3.1.2-10].
  kWithWill,   // DISCONNECT 0x04, a network error, a keep-alive time-out, any close for cause: the
               // will stands.
  kTakenOver,  // Answer to TakenOver. The host decides about the will: it fires at once when its
               // delay is 0 or the new connection starts clean; a new connection before the delay
               // is over deletes it (§3.1.3.2.2).
  kServerShutdown,  // The server ends: sessions stay; the will stands and its delay runs on at the
                    // next start.
};

// The connection is gone (or is being closed): nothing more comes from it. `epoch` 0: it closed
// before it heard SessionOpened; whatever this connection holds or has asked for under `client_id`
// ends (a claim that still waits is dropped without an answer, a granted one is closed by `cause`).
struct CloseSession {
  std::string client_id;
  uint64_t epoch = 0;
  ConnectionRef connection;
  CloseCause cause = CloseCause::kWithWill;
  std::optional<uint32_t> expiry_s;  // From DISCONNECT (§3.14.2.2.2), if given.
  // Of a durable session: the greatest sequence that was written to the connection. What the host
  // has pushed beyond it was never sent. Absent: all that was pushed counts as sent.
  std::optional<uint64_t> sent_through;
};

// Durable sessions only. Answer: SubscribeDone, committed, and after every shard has confirmed the
// routes. What is published after it, as the host hears it, is for the subscription: the shards
// need not wait for the answer before they route to the partition. Retained messages are then
// replayed, a page at a time, per Retain Handling: what the session is owed at QoS 1 or 2 through
// its queue, what at QoS 0 straight to the connection.
struct Subscribe {
  Token token = 0;
  std::string client_id;
  uint64_t epoch = 0;
  std::vector<SubscriptionRecord> subscriptions;
};

// Durable sessions only. Answer: UnsubscribeDone.
struct Unsubscribe {
  Token token = 0;
  std::string client_id;
  uint64_t epoch = 0;
  std::vector<std::string> filters;
};

// The member of a `$share` group that a shard chose.
struct SharedTarget {
  std::string client_id;
  std::string filter;  // The whole `$share/group/filter`.
  mqtt::SubscriptionOptions options;
  uint32_t subscription_id = 0;
  bool last_choice = false;  // As far as the shard knows no member has room.
  // Its session is transient, or takes the message at QoS 0: AcceptInbound and RouteMessage only.
  bool transient = false;
};

// A record of a partition's outbox: something that it is to pass on, numbered by it from 1. Whoever
// gets a message with its number has it once, whoever passes it on and however often.
struct OutboxRef {
  PartitionId partition = 0;
  uint64_t number = 0;     // 0: none.
  uint64_t kept_from = 0;  // What is numbered below is never passed on again.
  explicit operator bool() const { return number != 0; }
};

// A message, or one partition's part of it (CutIntoParts makes them): stores it for every durable
// session of that partition that it is for, and what else is that partition's, as far as it is
// asked. Each part is answered by itself (Published), in whatever order; a publisher has its
// acknowledgement when all are.
//
// The parts of one message follow each other, in the same batch. On one node the first of them is
// decided about for all, so that mostly all are stored or all are refused; but each is stored by
// itself, and a crash may keep one and lose another, of which the publisher has heard nothing.
struct Publish {
  Token token = 0;  // 0: no answer wanted (QoS 0, retained only).
  mqtt::MessagePtr message;
  // QoS 1 and 2: all that get it, whoever is asked. Each matches the message against its own
  // subscriptions, and sends what one of QoS 0 is owed as well.
  PartitionMask partitions = 0;
  // Of this partition: exactly one entry per matching group whose choice is durable.
  std::vector<SharedTarget> shared_targets;
  PartitionId partition = 0;  // Who is asked.
  bool set_retained = false;  // An empty payload removes the retained message.
  OutboxRef outbox;           // What RouteMessage told of.
  // Of the same outbox: a record that this partition was asked to take before, and has not said to
  // have. Without it the part is refused, so that none overtakes another. 0: there is none.
  uint64_t outbox_after = 0;
};

// A PUBLISH of QoS 2 from a durable session. Answer: Published, when the message and its identifier
// are committed to the session's partition. From there it is passed on (RouteMessage), whatever
// becomes of the client, its shard and its node. One with an identifier that is known is a repeat:
// it is answered, and nothing else happens.
struct AcceptInbound {
  Token token = 0;
  std::string client_id;
  uint64_t epoch = 0;
  uint16_t packet_id = 0;
  mqtt::MessagePtr message;
  // Of those with sessions that the message is for, as far as the shard knows. It is refused if one
  // of them cannot take it.
  PartitionMask partitions = 0;
  std::vector<SharedTarget> targets;  // One for each group that it is for.
  bool clears_only = false;           // It is for nobody: see OutboxRecord.
};

// What became of what RouteMessage told of. Answer, if there is a token: Published, when that is
// committed, or cannot be any more.
struct OutboxDone {
  enum class Fate : uint8_t {
    kPassedOn,     // All that it is for have it, transient sessions too.
    kRefused,      // A partition cannot take it now: it is to be told of again.
    kMembersFull,  // What was left to a group: it has members, of which none has room now.
    kNoMember,     // The same: it has none.
    kBehind,       // One before it is to be told of again, and goes first: this one, too.
  };
  Token token = 0;
  PartitionId partition = 0;
  uint64_t number = 0;
  Fate fate = Fate::kPassedOn;
  // MembersTold of the targets that RouteMessage named. If others were chosen since, or another
  // shard has passed it on, it is refused to who waits for the answer to give it to members of its
  // own choice. 0: not said.
  uint32_t members_told = 0;
};

// One more than there are durable members of groups among them.
inline uint32_t MembersTold(const std::vector<SharedTarget>& targets) {
  uint32_t told = 1;
  for (const SharedTarget& target : targets) told += target.transient ? 0 : 1;
  return told;
}

// Durable members of `$share` groups are chosen for what RouteMessage told of. It is told of again,
// with them, when that is committed: if it was passed on before, a crash in between would have
// other members chosen, and they would get it too.
struct OutboxAssign {
  PartitionId partition = 0;
  uint64_t number = 0;
  std::vector<SharedTarget> targets;  // All of them.
};

enum class AckKind : uint8_t {
  kPubAck,  // Also: a PUBREC with a Reason Code ≥ 0x80 (the message is done).
  kPubRec,  // Committed before `ReleaseDue` comes back; only then PUBREL leaves.
  kPubComp,
};

// What a client acknowledged since the last turn. Sequence numbers as in Delivery. Unknown ones are
// ignored.
struct Acknowledge {
  std::string client_id;
  uint64_t epoch = 0;
  struct Entry {
    uint64_t sequence = 0;
    AckKind kind = AckKind::kPubAck;
  };
  absl::InlinedVector<Entry, 4> entries;
};

// PUBREL came from the durable session's client: forget the identifiers. Answer: InboundReleased,
// committed; only then PUBCOMP leaves (or a reused identifier could be taken for a repeat after a
// crash, and a message be lost).
struct ReleaseInbound {
  Token token = 0;
  std::string client_id;
  uint64_t epoch = 0;
  absl::InlinedVector<uint16_t, 4> packet_ids;
};

// Retained messages that match a filter, one page, for a transient session. Answer: RetainedPage.
struct ScanRetained {
  Token token = 0;
  std::string filter;  // Never with `$share`.
  std::string cursor;  // Empty: from the start; else as the last page gave it.
  // If there is nothing (more) of `filter`: what to look for instead, in this order, each from its
  // start. Most subscriptions find nothing, and a request for each would be slower than they come.
  std::vector<std::string> others;
  uint32_t messages_max = 0;
};

// The shard has taken in every RouteChange, and what else is numbered so, up to `number`.
struct ConfirmRoutes {
  uint64_t number = 0;
};

// What a Deliver brought of a replay (Delivery::replay) is on its way to the client, and there is
// room for more: only then the next comes. To each such Deliver, once.
struct ReplayTaken {
  std::string client_id;
  uint64_t epoch = 0;
};

// What a shard's connections hold of a partition, for its new leader: answer to ClaimsWanted. What
// the shard has asked of the partition and does not know to be done follows, in order.
struct Claims {
  struct Held {
    std::string client_id;
    std::string user_name;
    ConnectionRef connection;
    uint64_t epoch = 0;
    // As OpenSession said.
    uint32_t window_messages = 0;
    uint64_t window_bytes = 0;
    uint32_t packet_size_max = 0;
    // Of a durable session: the greatest sequence that was written to the connection, and which of
    // them its client has not acknowledged.
    uint64_t sent_through = 0;
    std::vector<uint64_t> in_flight;
  };
  PartitionId partition = 0;
  uint64_t life = 0;       // As ClaimsWanted said.
  uint64_t kept_from = 1;  // Number of the first request that is not acknowledged.
  uint64_t repeats = 0;    // So many requests follow that may have been asked before.
  std::vector<Held> held;
  NodeId by;  // As ClaimsWanted said: whom the shard asks from here on.
  // Beside what was told before: clients that the shard has let in without asking anybody, while
  // its node had no lease. Some may have been told before. Nothing is asked again behind it.
  bool further = false;
};

using Request = std::variant<OpenSession, CloseSession, Subscribe, Unsubscribe, Publish,
                             AcceptInbound, OutboxDone, OutboxAssign, Acknowledge, ReleaseInbound,
                             ScanRetained, ConfirmRoutes, ReplayTaken, Claims>;

// A request on its way: which of its asker's to that partition it is (RequestStreams numbers them,
// from 1), and from which on the asker keeps copies. What is not numbered is not asked for again.
struct Addressed {
  // One that is not numbered.
  template <typename Kind>
  requires std::is_constructible_v<Request, Kind> Addressed(Kind&& the_request)  // NOLINT: wanted.
      : request(std::forward<Kind>(the_request)) {}

  Request request;
  PartitionId partition = 0;  // Of a numbered one.
  uint64_t sequence = 0;      // 0: not numbered.
  uint64_t kept_from = 0;
  // Among all requests of the shard: those that were kept back are put in order by it.
  uint64_t place = 0;
};

// ---- Events: host → shard
// ----------------------------------------------------------------------------------------

// Why a Client Identifier was not given to who asked for it.
enum class OpenRefusal : uint8_t {
  kNone,
  kStorage,                // It cannot be stored now; `status` says why.
  kOtherUser,              // The session, stored or connected, is another user's.
  kNewWhileMemoryIsShort,  // See OpenSession::only_known.
  kSessionsMax,            // As many sessions are stored as may be, and none gives way.
  kUserSessionsMax,        // As many sessions of its user.
  kIdentifierFight,        // Too many connections want the identifier at once.
};

struct SessionOpened {
  Token token = 0;
  absl::Status status;  // Not OK: nothing is owned; answer CONNACK 0x97 (kResourceExhausted), 0x88
                        // (kUnavailable), or what belongs to `refusal`.
  OpenRefusal refusal = OpenRefusal::kNone;
  bool session_present = false;
  bool durable = false;  // The partition holds its state: use Subscribe, Acknowledge, … on it.
  PartitionId partition = 0;                      // Which one, if it is durable.
  uint64_t epoch = 0;                             // Fences every later request of this connection.
  std::vector<SubscriptionRecord> subscriptions;  // Of a resumed session.
  std::vector<uint16_t> inbound_qos2;             // Identifiers whose PUBREL is still to come.
};

// Another connection claims the identifier: DISCONNECT 0x8E, close, and answer with
// CloseSession{kTakenOver}. Comes after SessionOpened: each claim is answered before it is lost.
struct TakenOver {
  ConnectionRef connection;
  std::string client_id;
  uint64_t epoch = 0;
};

struct SubscribeDone {
  Token token = 0;
  absl::Status status;
};

struct UnsubscribeDone {
  Token token = 0;
  absl::Status status;
  // By filter: reason code 0x00 or 0x11. Empty: it is not known any more, only that it is done.
  std::vector<bool> existed;
};

// To each part of a message; to AcceptInbound; to OutboxDone with a token.
struct Published {
  Token token = 0;
  absl::Status status;
  bool duplicate = false;  // The identifier was known: nothing was stored again.
  PartitionId partition = 0;
};

// One entry of a durable session's queue on its way to the client.
struct Delivery {
  uint64_t sequence =
      0;  // Packet Identifier = sequence % 65535 + 1. 0: QoS 0, nothing is remembered.
  mqtt::MessagePtr message;                // Null when only PUBREL is owed.
  mqtt::QoS qos = mqtt::QoS::kAtMostOnce;  // Already the lesser of both.
  bool retain = false;                     // The flag to send.
  bool dup = false;
  bool replay = false;  // Of QoS 0: retained, for a new subscription. Of others it is not told.
  bool release =
      false;  // PUBREC was received before: send PUBREL with this identifier, no PUBLISH.
  absl::InlinedVector<uint32_t, 1> subscription_ids;
};

struct Deliver {
  ConnectionRef connection;
  uint64_t epoch = 0;
  std::vector<Delivery> entries;
};

// The PUBRECs are committed: send PUBREL for them.
struct ReleaseDue {
  ConnectionRef connection;
  uint64_t epoch = 0;
  absl::InlinedVector<uint64_t, 4> sequences;
};

struct InboundReleased {
  Token token = 0;
  absl::Status status;
};

struct RetainedPage {
  Token token = 0;
  absl::Status status;
  std::vector<mqtt::MessagePtr> messages;  // Not expired, in key order, retain flag set.
  std::string cursor;                      // Empty: that was the last page.
  uint32_t passed = 0;  // Filters that had nothing (more): the page is of `others[passed - 1]`.
};

// A durable session of `partition` made the filter's count go from 0 to 1 or back. To every shard;
// answer ConfirmRoutes.
struct RouteChange {
  uint64_t number = 0;
  bool add = true;
  PartitionId partition = 0;
  std::string filter;  // Plain filters only.
};

// Routes that were stored when the host started, as RouteChanges that add. To every shard, which
// all read the same block: copies for each would not fit into the memory in which they were made.
// Answer ConfirmRoutes; only a few blocks are sent ahead of it.
struct RouteBlock {
  uint64_t number = 0;
  PartitionId partition = 0;
  std::shared_ptr<const std::vector<std::string>> filters;
};

// A durable member of a `$share` group came, changed, or went. To every shard; answer
// ConfirmRoutes.
struct ShareMemberChange {
  enum class State : uint8_t { kConnected, kOffline, kGone };
  uint64_t number = 0;
  State state = State::kGone;
  PartitionId partition = 0;
  std::string client_id;
  std::string user_name;            // Whose it is, as SessionUser has it: unless it is kGone.
  std::string listener;             // The same.
  SubscriptionRecord subscription;  // `filter` is the whole `$share/group/filter`.
  ConnectionRef connection;         // While kConnected.
  uint32_t packet_size_max = 0;     // While kConnected, as OpenSession told; 0: no bound.
};

// The queue of a durable member of `$share` groups has no room, or has room again: every group is
// to pass it over meanwhile, as long as another member has room. It is told to the shard that chose
// it; the end of it to every shard.
struct ShareMemberRoom {
  std::string client_id;
  bool has_room = false;
};

// The session's queue is full, and its policy is to disconnect its client.
struct SessionTooSlow {
  ConnectionRef connection;
  uint64_t epoch = 0;
};

// A record of a partition's outbox: the shard is to pass it on, and says OutboxDone when everyone
// has it. All records of a partition go to one shard, in their order; a new leader may tell of some
// again (OutboxLedger knows). To partitions the message goes as Publish with this number, and to
// transient sessions when those have answered.
struct RouteMessage {
  mqtt::MessagePtr message;
  OutboxRef outbox;
  std::string only_filter;   // Not empty: for this `$share/group/filter` only. Nobody else has it.
  bool groups_only = false;  // The others have had it: a will of an earlier release.
  bool clears_only = false;  // It is for nobody, but for the topic's retained message.
  bool in_order = false;     // Of a publisher: transient sessions get its messages in their order.
  // Chosen already: of these groups nobody else is to have it, but for transient ones that are
  // gone.
  std::vector<SharedTarget> targets;
  PartitionMask without = 0;  // They will not take it as long as this process lives.
};

// Every numbered request of the shard to the partition, up to this one, is applied, or never will
// be. What it was answered stands before this event, but where the answer waits for more than its
// partition: SessionOpened for a former owner, SubscribeDone and UnsubscribeDone for all shards.
// Not sent for its own sake: with what else there is for the shard, or when there are many.
struct StreamAck {
  PartitionId partition = 0;
  uint64_t through = 0;
};

// The partition has a new leader, which knows nothing of who is connected, and has heard nothing of
// what was asked of it lately. Until Claims come it takes no numbered request of the shard.
struct ClaimsWanted {
  PartitionId partition = 0;
  uint64_t life = 0;  // Which of its leaders asks; a later one has a greater.
  NodeId by;          // Where that leader is.
};

// The host cannot write (disk full, I/O error), or can again.
struct StorageState {
  absl::Status status;
};

using Event = std::variant<SessionOpened, TakenOver, SubscribeDone, UnsubscribeDone, Published,
                           Deliver, ReleaseDue, InboundReleased, RetainedPage, RouteChange,
                           RouteBlock, ShareMemberChange, ShareMemberRoom, SessionTooSlow,
                           RouteMessage, StreamAck, ClaimsWanted, StorageState>;

// Whose a session is, connected or not: what the access rules are asked about.
struct SessionUser {
  std::string client_id;
  std::string user_name;  // Empty: anonymous.
  std::string listener;   // Empty: not known.
};

// Implemented above storage: hands a batch of events to a shard, of whatever node. Called on the
// host's thread.
class EventSink {
 public:
  virtual ~EventSink() = default;
  // Whether the access rules of this moment let the user publish there, or have what is published.
  virtual bool MayPublish(const SessionUser& /*author*/, std::string_view /*topic*/) const {
    return true;
  }
  virtual bool MayRead(const SessionUser& /*reader*/, std::string_view /*topic*/) const {
    return true;
  }
  virtual void Post(const ShardAddress& to, std::vector<Event> events) = 0;
};

}  // namespace storage
#endif  // STORAGE_CORE_PARTITION_API_H_
