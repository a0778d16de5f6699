#include "storage/leader/delivery.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/by_name.h"
#include "base/log.h"
#include "mqttd/storage/v1/command.pb.h"
#include "mqttd/storage/v1/records.pb.h"
#include "storage/core/keys.h"
#include "storage/core/session.h"
#include "storage/leader/leader.h"

namespace storage {
namespace {

constexpr size_t kPumpMessagesMax = 256;
constexpr size_t kPumpBytesMax = 1 << 20;

size_t SizeOf(const Delivery& delivery) {
  return delivery.message ? delivery.message->topic().size() + delivery.message->payload().size()
                          : 0;
}

}  // namespace

// ---- To the connection --------------------------------------------------------------------------

void Deliveries::On(Enqueued& effect) {
  Claim* const claim = leader_.sessions().AtSlot(effect.slot);
  if (claim == nullptr) return;  // Opening or closing: it is read from the queue in its time.
  if (effect.delivery.message->retain() && !effect.delivery.replay)
    NoteLive(*claim, effect.delivery);
  if (effect.delivery.sequence == 0) {
    if (!claim->feed->confirmed) return;
    DeliverFor(*claim).entries.push_back(std::move(effect.delivery));
    return;
  }
  const Session& session = partition().session(effect.slot);
  const bool in_span = effect.delivery.sequence < session.queue.head() + kSequenceSpan;
  if (claim->feed->behind || !claim->feed->window.HasRoom() || !in_span ||
      effect.delivery.message->has_expired(Now())) {
    claim->feed->behind = true;
    ListForPump(*claim);
    return;
  }
  Push(*claim, std::move(effect.delivery));
}

Deliver& Deliveries::DeliverFor(Claim& claim) {
  std::vector<Event>& events = node_.EventsFor(claim.connection.address());
  if (claim.feed->deliver_round != node_.outbox_round) {
    claim.feed->deliver_round = node_.outbox_round;
    claim.feed->deliver_index = events.size();
    Deliver deliver;
    deliver.connection = claim.connection;
    deliver.epoch = claim.epoch;
    events.push_back(std::move(deliver));
  }
  return std::get<Deliver>(events[claim.feed->deliver_index]);
}

void Deliveries::Push(Claim& claim, Delivery delivery) {
  claim.feed->window.Sent(delivery.sequence, SizeOf(delivery));
  DeliverFor(claim).entries.push_back(std::move(delivery));
}

void Deliveries::ListForPump(Claim& claim) {
  if (claim.state != Claim::State::kOpen || !claim.stored || claim.feed->in_pump) return;
  if (claim.feed->damaged || !claim.feed->confirmed) return;
  claim.feed->in_pump = true;
  pump_list_.emplace_back(claim.client_id);
}

void Deliveries::Pump() {
  if (node_.now.monotonic < read_again_at_) return;
  std::deque<std::string> again;
  for (; node_.sessions_left > 0 && node_.work_left > 0 && !pump_list_.empty();
       --node_.sessions_left) {
    const std::string client_id = std::move(pump_list_.front());
    pump_list_.pop_front();
    Claim* const claim = leader_.sessions().FindClaim(client_id);
    if (claim == nullptr || claim->feed == nullptr || !claim->feed->in_pump) continue;
    claim->feed->in_pump = false;
    if (claim->state != Claim::State::kOpen || !claim->stored) continue;
    if (PumpOne(*claim)) {
      claim->feed->in_pump = true;
      again.push_back(client_id);
    }
  }
  for (std::string& client_id : again) pump_list_.push_back(std::move(client_id));
}

// True: there is more to do for it soon.
bool Deliveries::PumpOne(Claim& claim) {
  const bool more = claim.feed->behind && claim.feed->window.HasRoom() && PumpPage(claim);
  if (claim.feed->behind && claim.feed->window.WaitsForCommit()) Hurry();
  const Session& session = partition().session(claim.feed->slot);
  const bool replays = !session.replays.empty() && !claim.feed->replaying &&
                       !claim.feed->replay_sent && claim.feed->replays_held == 0;
  if (replays && session.queue.messages() < std::max<uint64_t>(claim.feed->window_messages, 1)) {
    ReplayPage(claim);
  }
  return more;
}

bool Deliveries::PumpPage(Claim& claim) {
  QueueReadLimits limits;
  limits.messages_max = std::min(claim.feed->window.RoomMessages(), kPumpMessagesMax);
  limits.bytes_max = std::clamp<size_t>(claim.feed->window.RoomBytes(), 1, kPumpBytesMax);
  const uint64_t head = partition().session(claim.feed->slot).queue.head();
  const uint64_t from = std::max(claim.feed->window.next(), head);
  auto page = replica_.partition().ReadQueue(node_.reader, claim.feed->slot, from, limits, Now());
  if (!page.ok()) {
    node_.NoteDamage(page.status());
    base::Log(base::LogLevel::kError, "cannot read a session's queue",
              {{"client_id", std::string(claim.client_id)}, {"error", page.status()}});
    // Nobody else waits for what will not pass.
    claim.feed->damaged = absl::IsDataLoss(page.status());
    if (claim.feed->damaged) return false;
    read_again_at_ = node_.now.monotonic + absl::Seconds(1);
    return true;
  }
  node_.work_left -= std::min(node_.work_left, page->entries.size() + page->expired.size() + 1);
  const bool complete = SendPage(claim, *page, head);
  return complete && claim.feed->behind && claim.feed->window.HasRoom();
}

// What is on the page, as far as the window goes: whether all of it did. Expired messages count
// like acknowledged ones until their drop is committed: were more sent behind them than kRunAhead
// says, then after a crash nobody would know that it had been.
bool Deliveries::SendPage(Claim& claim, QueuePage& page, uint64_t head) {
  size_t dropped = 0;
  const auto drop_before = [&](uint64_t sequence) {
    const size_t before = dropped;
    while (dropped < page.expired.size() && page.expired[dropped] < sequence) ++dropped;
    claim.feed->window.Dropped(dropped - before);
  };
  bool complete = true;
  for (Delivery& delivery : page.entries) {
    drop_before(delivery.sequence);
    complete = claim.feed->window.RoomMessages() > 0 && delivery.sequence < head + kSequenceSpan;
    if (!complete) break;  // The rest when the head has moved.
    Push(claim, std::move(delivery));
  }
  if (complete) {
    drop_before(page.next);
    claim.feed->window.SkipTo(page.next);
    claim.feed->behind = !page.end;
  } else if (dropped != 0) {
    claim.feed->window.SkipTo(page.expired[dropped - 1] + 1);
  }
  if (dropped == 0) return complete;
  pb::DropQueued& drop = *Propose().mutable_drop_queued();
  drop.set_client_id(std::string(claim.client_id));
  drop.set_epoch(claim.epoch);
  for (size_t i = 0; i < dropped; ++i) drop.add_sequences(page.expired[i]);
  return complete;
}

// ---- Acknowledged -------------------------------------------------------------------------------

// What its client acknowledged is a fact: it is written down also when storage fails.
void Deliveries::Handle(const Asker& from, Acknowledge& request) {
  Claim* const claim = leader_.sessions().OwnerOf(request.client_id, request.epoch);
  if (claim == nullptr) return;  // It comes from a connection that is gone: sent again later.
  AcknowledgeView acknowledge{.client_id = request.client_id, .epoch = request.epoch};
  for (const Acknowledge::Entry& entry : request.entries) {
    if (!claim->feed->window.Acknowledge(entry.sequence, entry.kind)) continue;
    switch (entry.kind) {
      case AckKind::kPubAck:
        acknowledge.puback.push_back(entry.sequence);
        break;
      case AckKind::kPubRec:
        acknowledge.pubrec.push_back(entry.sequence);
        break;
      case AckKind::kPubComp:
        acknowledge.pubcomp.push_back(entry.sequence);
        break;
    }
  }
  const bool none =
      acknowledge.puback.empty() && acknowledge.pubrec.empty() && acknowledge.pubcomp.empty();
  if (none) return;
  CommandStamp stamp;
  std::string& entry = proposals_.ProposeTo({}, stamp, &from);
  AppendAcknowledge(stamp, acknowledge, entry);
  if (!acknowledge.pubrec.empty()) NeedSync();  // PUBREL waits for it.
  if (claim->feed->behind && claim->feed->window.WaitsForCommit()) Hurry();
  ListForPump(*claim);
}

// What became of it is in the queue. PUBREL waits for what the shard was to hear of its PUBRECs.
void Deliveries::Repeat(const Asker& from, Acknowledge& request) {
  const Claim* const claim = leader_.sessions().OwnerOf(request.client_id, request.epoch);
  if (claim == nullptr) return;
  ReleaseDue due;
  due.connection = claim->connection;
  due.epoch = claim->epoch;
  const SessionQueue& queue = partition().session(claim->feed->slot).queue;
  for (const Acknowledge::Entry& entry : request.entries) {
    if (entry.kind == AckKind::kPubRec && queue.IsReleased(entry.sequence)) {
      due.sequences.push_back(entry.sequence);
    }
  }
  if (!due.sequences.empty()) node_.Send(from.shard, std::move(due));
}

void Deliveries::On(Acknowledged& effect) {
  node_.metrics.messages_delivered.Add(effect.done);
  leader_.room().LookForRoom(effect.slot);
  Claim* const claim = leader_.sessions().AtSlot(effect.slot);
  if (claim == nullptr) return;
  claim->feed->window.Committed(effect.done + effect.dropped);
  ListForPump(*claim);
}

void Deliveries::On(Released& effect) {
  const Claim* const claim = leader_.sessions().AtSlot(effect.slot);
  if (claim == nullptr) return;
  ReleaseDue due;
  due.connection = claim->connection;
  due.epoch = claim->epoch;
  due.sequences.assign(effect.sequences.begin(), effect.sequences.end());
  node_.Send(claim->connection.address(), std::move(due));
}

// ---- What an operator hears ---------------------------------------------------------------------

void Deliveries::On(QueueCrowded& effect) {
  const Session* const session = partition().FindSlot(effect.slot);
  if (!effect.crowded || session == nullptr) return;
  base::LogLimited(base::LogLevel::kWarning, "queue nearly full", "above 80 % of its bound",
                   {{"client", base::Shortened(session->client_id)},
                    {"queued_messages", session->queue.messages()},
                    {"queue_messages_max", node_.options.queue_messages_max},
                    {"queued_bytes", session->queue.bytes()},
                    {"queue_bytes_max", node_.options.queue_bytes_max},
                    {"connected", session->connected}});
}

void Deliveries::On(QueueOverflowed& effect) {
  const Session* const session = partition().FindSlot(effect.slot);
  if (session == nullptr) return;
  if (node_.options.queue_full == QueueFull::kDisconnect) {
    if (const Claim* const claim = leader_.sessions().AtSlot(effect.slot)) {
      node_.Send(claim->connection.address(), SessionTooSlow{claim->connection, claim->epoch});
    }
  }
  base::LogLimited(base::LogLevel::kWarning, "message dropped", "the queue is full",
                   {{"client", base::Shortened(session->client_id)},
                    {"dropped_of_this_client", session->dropped},
                    {"queued_messages", session->queue.messages()},
                    {"queued_bytes", session->queue.bytes()},
                    {"connected", session->connected}});
}

}  // namespace storage
