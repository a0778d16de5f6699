// Who is connected, when a partition has a new leader: what its state says, and what shards tell.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/session.h"
#include "storage/leader/leader.h"
#include "storage/leader/sessions.h"

namespace storage {
namespace {

// Of a node that this one has not heard of, but whoever led before has: until it hears of it.
constexpr absl::Duration kStrangersKept = absl::Seconds(10);

}  // namespace

void Sessions::Withdraw() {
  for (const auto& claim : claims_) {
    if (claim->state == Claim::State::kOpen && claim->stored) {
      node_.metrics.sessions_connected.Add(-1);
    }
  }
}

void Sessions::Restore(const std::vector<std::optional<Claims>>& claims) {
  partition().ForEachSession([this](const Session& session) {
    if (session.connected) RestoreStored(session);
  });
  for (const std::optional<Claims>& shard : claims) {
    if (!shard.has_value()) continue;
    for (const Claims::Held& held : shard->held) RestoreHeld(held);
  }
}

// Its owner's shard is to confirm it: by what it holds, or by what it asks again.
void Sessions::RestoreStored(const Session& session) {
  auto claim = std::make_unique<Claim>(session.client_id, Claim::State::kOpen);
  claim->connection = session.owner;
  claim->owner = OwnerHash(session.user_name);
  claim->epoch = session.epoch;
  claim->stored = true;
  claim->feed = std::make_unique<Claim::Feed>();
  claim->feed->window_messages = session.window_messages;
  claim->feed->slot = session.slot;
  claim->feed->confirmed = false;
  claim->feed->behind = true;  // Nothing is sent before.
  Attach(*claim);
  node_.metrics.sessions_connected.Add();
  claims_.insert(std::move(claim));
}

void Sessions::RestoreHeld(const Claims::Held& held) {
  Claim* const claim = FindClaim(held.client_id);
  if (claim != nullptr && claim->connection == held.connection && claim->epoch == held.epoch) {
    if (claim->stored) Confirm(*claim, held);  // Else it was told before.
    return;
  }
  const bool stored = partition().Find(held.client_id) != nullptr;
  // Others wait for it, since somebody could have it: this one has.
  if (claim != nullptr && !stored && unknown_.erase(held.client_id) != 0) {
    claim->state = Claim::State::kOpen;
    claim->connection = held.connection;
    claim->owner = OwnerHash(held.user_name);
    claim->epoch = held.epoch;
    if (claim->waited_for()) {
      node_.Send(held.connection.address(), TakenOver{held.connection, held.client_id, held.epoch});
    }
    return;
  }
  if (claim != nullptr || stored) {  // Another's by now.
    node_.Send(held.connection.address(), TakenOver{held.connection, held.client_id, held.epoch});
    return;
  }
  auto transient = std::make_unique<Claim>(held.client_id, Claim::State::kOpen);
  transient->connection = held.connection;
  transient->owner = OwnerHash(held.user_name);
  transient->epoch = held.epoch;
  claims_.insert(std::move(transient));
}

// What was sent is not sent again on the same connection [MQTT5-4.4.0-1]. Deliveries go on behind
// it.
void Sessions::Confirm(Claim& claim, const Claims::Held& held) {
  Claim::Feed& feed = *claim.feed;
  feed.confirmed = true;
  feed.window_messages = held.window_messages;
  feed.window_bytes = held.window_bytes;
  feed.packet_size_max = held.packet_size_max;
  const Session& session = partition().session(feed.slot);
  const SessionQueue& queue = session.queue;
  std::vector<uint64_t> in_flight = held.in_flight;  // By Packet Identifier until now.
  std::sort(in_flight.begin(), in_flight.end());
  std::vector<uint64_t> open;
  for (uint64_t sequence = queue.NextOpen(queue.head());
       sequence <= std::min(held.sent_through, queue.tail());
       sequence = queue.NextOpen(sequence + 1)) {
    open.push_back(sequence);
    if (!std::binary_search(in_flight.begin(), in_flight.end(), sequence)) {
      feed.passed_over.push_back(sequence);
    }
  }
  feed.window = DeliveryWindow(feed.window_messages, feed.window_bytes, queue.head());
  feed.window.Resume(held.sent_through, open);
  feed.behind = queue.NextOpen(std::max(feed.window.next(), queue.head())) <= queue.tail();
  leader_.deliveries().ListForPump(claim);
  HoldReplays(claim, session);
}

// Nothing is known of the identifier, but a shard that has not told may have it.
void Sessions::AwaitAllClaims(OpenSession request) {
  Occupy(request.client_id);
  Claim& claim = *FindClaim(request.client_id);
  unknown_.insert(request.client_id);
  claim.opening_state().waiting.push_back(std::move(request));
}

void Sessions::GrantUnknown() {
  for (const std::string& client_id : std::exchange(unknown_, {})) PassOn(client_id);
}

// An open that is asked for again, and is in the state: its answer was lost.
bool Sessions::AnswerRepeat(Claim& claim, const OpenSession& request) {
  if (claim.state != Claim::State::kOpen || !claim.stored) return false;
  if (claim.connection != request.connection) return false;
  const Session& session = partition().session(claim.feed->slot);
  claim.feed->window_messages = request.window_messages;
  claim.feed->window_bytes = request.window_bytes;
  claim.feed->packet_size_max = request.packet_size_max;
  claim.opening_state().token = request.token;
  Outcome outcome;
  outcome.slot = session.slot;
  outcome.epoch = session.epoch;
  outcome.session_present = session.resumed;
  outcome.durable = session.resumed || session.expiry_s > 0;
  node_.metrics.sessions_connected.Add(-1);  // AnswerOpened counts it.
  AnswerOpened(claim, outcome);
  if (!claim.waited_for()) {
    claim.opening.reset();
  } else {
    node_.Send(claim.connection.address(),
               TakenOver{claim.connection, std::string(claim.client_id), claim.epoch});
  }
  return true;
}

void Sessions::CloseUnclaimed() {
  std::vector<Claim*> stored;
  for (const auto& claim : claims_) {
    if (claim->state == Claim::State::kOpen && claim->stored) stored.push_back(claim.get());
  }
  // What is proposed does not depend on memory.
  std::sort(stored.begin(), stored.end(), [](const Claim* a, const Claim* b) {
    return a->client_id.view() < b->client_id.view();
  });
  for (Claim* const claim : stored) {
    if (claim->feed->confirmed) {
      DropPassedOver(*claim);
      continue;
    }
    if (!leader_.knows_all()) continue;  // Its shard may still tell.
    if (IsStranger(claim->connection)) {
      strangers_until_ = node_.now.monotonic + kStrangersKept;
      continue;
    }
    CloseSession lost;
    lost.client_id = claim->client_id.view();
    lost.epoch = claim->epoch;
    // Its client was never told that it is connected: of whoever was, its shard asks for the end,
    // or its node's life is over. Who was refused, because nobody answered, leaves no will.
    lost.cause = CloseCause::kNormal;
    ProposeClose(*claim, lost);
  }
}

// Or the queue's head would stay there for ever.
void Sessions::DropPassedOver(Claim& claim) {
  std::vector<uint64_t> dropped;
  for (const uint64_t sequence : std::exchange(claim.feed->passed_over, {})) {
    // What the shard has said to be acknowledged is not in flight any more.
    if (!claim.feed->window.IsInFlight(sequence)) continue;
    claim.feed->window.Acknowledge(sequence, AckKind::kPubAck);
    dropped.push_back(sequence);
  }
  if (dropped.empty()) return;
  pb::DropQueued& drop = *Propose().mutable_drop_queued();
  drop.set_client_id(std::string(claim.client_id));
  drop.set_epoch(claim.epoch);
  for (const uint64_t sequence : dropped) drop.add_sequences(sequence);
}

}  // namespace storage
