// Queues to connections: what fits the window leaves at once, the rest is read when there is room.
#include <algorithm>
#include <utility>

#include "base/log.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/message_codec.h"
#include "storage/core/session.h"
#include "storage/leader/host_core.h"

namespace storage {
namespace {

// Sessions served in one round: so that a crowd that reconnects does not hold up everyone else.
constexpr size_t kPumpSessionsMax = 256;
constexpr size_t kPumpMessagesMax = 256;
constexpr size_t kPumpBytesMax = 1 << 20;
constexpr size_t kReplayPageMax = 100;
// Replays that find nothing end together, so many in a commit: most do, and a client may have made
// many thousands of subscriptions.
constexpr size_t kReplaysOverMax = 64;
constexpr size_t kReplayBytesMax = 256 << 10;  // Part of what a connection's output may hold.

size_t SizeOf(const Delivery& delivery) {
  return delivery.message ? delivery.message->topic().size() + delivery.message->payload().size()
                          : 0;
}

}  // namespace

Deliver& HostCore::DeliverFor(Claim& claim) {
  std::vector<Event>& events = outbox_[claim.connection.shard];
  if (claim.feed->deliver_round != outbox_round_) {
    claim.feed->deliver_round = outbox_round_;
    claim.feed->deliver_index = events.size();
    Deliver deliver;
    deliver.connection = claim.connection;
    deliver.epoch = claim.epoch;
    events.push_back(std::move(deliver));
  }
  return std::get<Deliver>(events[claim.feed->deliver_index]);
}

void HostCore::Push(Claim& claim, Delivery delivery) {
  claim.feed->window.Sent(delivery.sequence, SizeOf(delivery));
  DeliverFor(claim).entries.push_back(std::move(delivery));
}

void HostCore::ListForPump(Claim& claim) {
  if (claim.state != Claim::State::kOpen || !claim.stored || claim.feed->in_pump) return;
  if (claim.feed->damaged) return;
  claim.feed->in_pump = true;
  pump_list_.emplace_back(claim.client_id);
}

void HostCore::Pump() {
  if (now_.monotonic < pump_again_at_) return;
  std::deque<std::string> again;
  for (size_t i = 0; i < kPumpSessionsMax && work_left_ > 0 && !pump_list_.empty(); ++i) {
    const std::string client_id = std::move(pump_list_.front());
    pump_list_.pop_front();
    Claim* const claim = FindClaim(client_id);
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
bool HostCore::PumpOne(Claim& claim) {
  const bool more = claim.feed->behind && claim.feed->window.HasRoom() && PumpPage(claim);
  if (claim.feed->behind && claim.feed->window.WaitsForCommit()) growing_->Hurry();
  const Session& session = partitions_[claim.partition]->session(claim.feed->slot);
  const bool replays = !session.replays.empty() && !claim.feed->replaying &&
                       !claim.feed->replay_sent && claim.feed->replays_held == 0;
  if (replays && session.queue.messages() < std::max<uint64_t>(claim.feed->window_messages, 1)) {
    ReplayPage(claim);
  }
  return more;
}

bool HostCore::PumpPage(Claim& claim) {
  Partition& partition = *partitions_[claim.partition];
  QueueReadLimits limits;
  limits.messages_max = std::min(claim.feed->window.RoomMessages(), kPumpMessagesMax);
  limits.bytes_max = std::clamp<size_t>(claim.feed->window.RoomBytes(), 1, kPumpBytesMax);
  const uint64_t head = partition.session(claim.feed->slot).queue.head();
  const uint64_t from = std::max(claim.feed->window.next(), head);
  auto page = partition.ReadQueue(store_.reader(), claim.feed->slot, from, limits, now_.unix_ms);
  if (!page.ok()) {
    NoteDamage(page.status());
    base::Log(base::LogLevel::kError, "cannot read a session's queue",
              {{"client_id", std::string(claim.client_id)}, {"error", page.status()}});
    // Nobody else waits for what will not pass.
    claim.feed->damaged = absl::IsDataLoss(page.status());
    if (claim.feed->damaged) return false;
    pump_again_at_ = now_.monotonic + absl::Seconds(1);
    return true;
  }
  work_left_ -= std::min(work_left_, page->entries.size() + page->expired.size() + 1);
  const bool complete = SendPage(claim, *page, head);
  return complete && claim.feed->behind && claim.feed->window.HasRoom();
}

// What is on the page, as far as the window goes: whether all of it did. Expired messages count
// like acknowledged ones until their drop is committed: were more sent behind them than kRunAhead
// says, then after a crash nobody would know that it had been.
bool HostCore::SendPage(Claim& claim, QueuePage& page, uint64_t head) {
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
  pb::DropQueued& drop = *Propose(claim.partition).mutable_drop_queued();
  drop.set_client_id(std::string(claim.client_id));
  drop.set_epoch(claim.epoch);
  for (size_t i = 0; i < dropped; ++i) drop.add_sequences(page.expired[i]);
  return complete;
}

// Retained messages of a new subscription, a page at a time. At QoS 1 or 2 they go through the
// queue while it is shorter than the window. At QoS 0 nothing is promised, so nothing is written:
// they go to the shard at once, and the next page when that has room again. How far that came is
// written down with the next page that is, or at the end; a connection that is lost before gets
// those again.
void HostCore::ReplayPage(Claim& claim) {
  const Session& session = partitions_[claim.partition]->session(claim.feed->slot);
  const RetainedReplay* replay = &session.replays.front();
  RetainedScanOptions options;
  options.messages_max = std::clamp<size_t>(claim.feed->window_messages, 1, kReplayPageMax);
  options.bytes_max = kReplayBytesMax;
  options.live_partition = claim.partition;
  std::vector<uint64_t> over;
  absl::StatusOr<ScanPage> page;
  while (true) {
    options.since_order = replay->since_order;
    const bool scanned = claim.feed->scanned_replay == replay->number;
    page = Scan(replay->filter, scanned ? claim.feed->scanned_to : replay->cursor, options);
    const bool found_nothing = page.ok() && page->messages.empty() && page->cursor.empty();
    const RetainedReplay* const next = session.replays.After(replay->number);
    if (!found_nothing || next == nullptr || over.size() == kReplaysOverMax || work_left_ == 0) {
      break;
    }
    over.push_back(replay->number);
    replay = next;
  }
  if (!page.ok()) {
    NoteDamage(page.status());
    base::Log(base::LogLevel::kError, "cannot read retained messages",
              {{"client_id", std::string(claim.client_id)}, {"error", page.status()}});
    if (absl::IsDataLoss(page.status())) {
      ++claim.feed->replays_held;  // For as long as this connection lasts.
      return;
    }
    pump_again_at_ = now_.monotonic + absl::Seconds(1);
    ListForPump(claim);
    return;
  }
  const SubscriptionRecord& subscription = session.FindSubscription(replay->filter)->record;
  pb::EnqueueRetainedPage queued;
  for (const mqtt::MessagePtr& found : page->messages) {
    mqtt::MessagePtr message = ToReplay(claim, found);
    if (!message) continue;
    if (mqtt::Min(message->qos(), subscription.options.qos) == mqtt::QoS::kAtMostOnce) {
      SendReplayed(claim, subscription, std::move(message));
    } else {
      queued.add_messages(EncodeStoredMessage(*message));
    }
  }
  claim.feed->scanned_replay = 0;
  if (over.empty() && queued.messages().empty() && !page->cursor.empty()) {
    claim.feed->scanned_replay = replay->number;  // Nothing to write down yet.
    claim.feed->scanned_to = std::move(page->cursor);
    return ListForPump(claim);
  }
  FinishReplay step;
  step.client_id = claim.client_id.view();
  queued.set_client_id(std::string(claim.client_id));
  queued.set_epoch(claim.epoch);
  queued.set_replay(replay->number);
  for (const uint64_t number : over) queued.add_over(number);
  queued.set_next_cursor(page->cursor);
  queued.set_last(page->cursor.empty());
  const bool promises = !queued.messages().empty();
  *Propose(claim.partition, {}, &step.page).mutable_enqueue_retained_page() = std::move(queued);
  claim.feed->replaying = true;
  if (promises) {
    growing_->NeedSync();  // It gives out sequences.
  } else {
    growing_->Hurry();
  }
  growing_->Then(std::move(step));
}

// Where another is on its way to replace it, that one stands before the page in the log. It comes
// live, and nothing older may follow it (then: null); or, if it does not go through the queue, it
// is given now.
mqtt::MessagePtr HostCore::ToReplay(const Claim& claim, const mqtt::MessagePtr& message) const {
  const RetainedSet* const newer = retained_pending_.Find(message->topic());
  if (newer == nullptr) return message;
  const bool comes_live = (newer->partitions >> claim.partition & 1) != 0;
  return comes_live || newer->removes() ? mqtt::MessagePtr() : newer->message;
}

void HostCore::SendReplayed(Claim& claim, const SubscriptionRecord& subscription,
                            mqtt::MessagePtr message) {
  if (subscription.options.no_local && message->publisher() == claim.client_id.view()) return;
  Delivery delivery;
  delivery.message = std::move(message);
  delivery.retain = true;  // [MQTT311-3.3.1-8]
  delivery.replay = true;
  if (subscription.subscription_id != 0) {
    delivery.subscription_ids.push_back(subscription.subscription_id);
  }
  DeliverFor(claim).entries.push_back(std::move(delivery));
  claim.feed->replay_sent = true;
}

void HostCore::Handle(ShardId /*from*/, ReplayTaken& request) {
  Claim* const claim = OwnerOf(request.client_id, request.epoch);
  if (claim == nullptr) return;
  claim->feed->replay_sent = false;
  ListForPump(*claim);
}

void HostCore::Finish(StartReplays& step) {
  Claim* const claim = OwnerOf(step.client_id, step.epoch);
  if (claim == nullptr) return;
  --claim->feed->replays_held;
  ListForPump(*claim);
}

void HostCore::Finish(FinishReplay& step) {
  Claim* const claim = FindClaim(step.client_id);
  if (claim == nullptr || claim->feed == nullptr) return;
  claim->feed->replaying = false;
  ListForPump(*claim);
}

}  // namespace storage
