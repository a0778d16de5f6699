// Retained messages of a new subscription of a durable session, a page at a time.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/by_name.h"
#include "base/log.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/message_codec.h"
#include "storage/core/retained.h"
#include "storage/core/session.h"
#include "storage/leader/leader.h"
#include "storage/leader/retained_scans.h"

namespace storage {
namespace {

constexpr size_t kReplayPageMax = 100;
// Replays that find nothing end together, so many in a commit: most do, and a client may have made
// many thousands of subscriptions.
constexpr size_t kReplaysOverMax = 64;
constexpr size_t kReplayBytesMax = 256 << 10;  // Part of what a connection's output may hold.

Claim::ReplayTopics& TopicsOf(Claim::Feed& feed) {
  if (feed.replay_topics == nullptr) feed.replay_topics = std::make_unique<Claim::ReplayTopics>();
  return *feed.replay_topics;
}

// How far the replay has come, and which ones before it are over.
void WriteDown(const Claim& claim, uint64_t replay, const std::vector<uint64_t>& over,
               const std::string& cursor, pb::EnqueueRetainedPage& queued) {
  queued.set_client_id(std::string(claim.client_id));
  queued.set_epoch(claim.epoch);
  queued.set_replay(replay);
  for (const uint64_t number : over) queued.add_over(number);
  queued.set_next_cursor(cursor);
  queued.set_last(cursor.empty());
}

}  // namespace

void Deliveries::On(ReplayPending& effect) {
  Claim* const claim = leader_.sessions().AtSlot(effect.slot);
  if (claim != nullptr) ListForPump(*claim);
}

// Every shard had the routes of a subscription, and what is retained and did not come live is
// applied.
void Deliveries::StartReplays(const std::string& client_id, uint64_t epoch) {
  Claim* const claim = leader_.sessions().OwnerOf(client_id, epoch);
  if (claim == nullptr) return;
  --claim->feed->replays_held;
  ListForPump(*claim);
}

// A message that its topic retains has come live, or with a page.
void Deliveries::NoteLive(Claim& claim, const Delivery& delivery) {
  Claim::Feed& feed = *claim.feed;
  if (!node_.shards.in_cluster()) return;  // Orders tell.
  if (partition().session(feed.slot).replays.empty()) return;
  Claim::ReplayTopics& topics = TopicsOf(feed);
  const std::string topic(delivery.message->topic());
  if (delivery.retain && topics.page.erase(topic) > 0) return;
  if (topics.live.size() < Claim::ReplayTopics::kLiveMax) topics.live.insert(topic);
}

// What is retained now is that, or older, or something that comes live as well.
void Deliveries::DropWhatCameLive(const Claim& claim,
                                  std::vector<mqtt::MessagePtr>& messages) const {
  const Claim::ReplayTopics* const topics = claim.feed->replay_topics.get();
  if (topics == nullptr || topics->live.empty()) return;
  std::erase_if(messages, [&](const mqtt::MessagePtr& message) {
    return topics->live.contains(base::AbslView(message->topic()));
  });
}

// Where there is no replica here that can be read another node is asked, and the replay goes on
// when it answers.
absl::StatusOr<RetainedScans::Page> Deliveries::ReadPage(Claim& claim, const RetainedReplay& replay,
                                                         const RetainedScanOptions& options) {
  Claim::Feed& feed = *claim.feed;
  if (const auto asked = std::exchange(feed.asked_page, nullptr);
      asked != nullptr && asked->replay == replay.number) {
    return RetainedScans::Page{std::move(asked->messages), std::move(asked->cursor)};
  }
  const bool scanned = feed.scanned_replay == replay.number;
  absl::StatusOr<RetainedScans::Page> page =
      node_.scans->Scan(replay.filter, scanned ? feed.scanned_to : replay.cursor, options);
  if (!page.ok() || !page->messages.empty() || page->cursor.empty() ||
      node_.scans->Reads(static_cast<uint8_t>(page->cursor[0]))) {
    return page;
  }
  ++feed.replays_held;
  node_.scans->Ask(std::string(replay.filter), page->cursor, options,
                   [&node = node_, id = id_, life = leader_.life(), number = replay.number,
                    client_id = std::string(claim.client_id), epoch = claim.epoch](auto answer) {
                     Leader& leader = *node.leaders[id];
                     if (leader.life() == life)
                       leader.deliveries().TakePage(client_id, epoch, number, std::move(answer));
                   });
  return page;
}

void Deliveries::TakePage(const std::string& client_id, uint64_t epoch, uint64_t replay,
                          absl::StatusOr<RetainedScans::Page> page) {
  Claim* const claim = leader_.sessions().OwnerOf(client_id, epoch);
  if (claim == nullptr || claim->feed == nullptr) return;
  --claim->feed->replays_held;
  if (!page.ok()) return CannotRead(*claim, page.status());
  claim->feed->asked_page = std::make_unique<Claim::AskedPage>(
      Claim::AskedPage{replay, std::move(page->messages), std::move(page->cursor)});
  ListForPump(*claim);
}

// What is damaged is not tried again for as long as this connection lasts.
void Deliveries::CannotRead(Claim& claim, const absl::Status& why) {
  node_.NoteDamage(why);
  base::Log(base::LogLevel::kError, "cannot read retained messages",
            {{"client_id", std::string(claim.client_id)}, {"error", why}});
  if (absl::IsDataLoss(why)) {
    ++claim.feed->replays_held;
    return;
  }
  read_again_at_ = node_.now.monotonic + absl::Seconds(1);
  ListForPump(claim);
}

// With queue_full: refuse nothing of a page is dropped: it holds what the queue has room for beside
// what is on its way, and it waits if that is nothing.
bool Deliveries::FitPage(Claim& claim, RetainedScanOptions& options) {
  options.messages_max = std::clamp<size_t>(claim.feed->window_messages, 1, kReplayPageMax);
  options.bytes_max = kReplayBytesMax;
  options.live_partition = id_;
  if (node_.options.queue_full != QueueFull::kRefuse) return true;
  const auto left = leader_.room().LeftFor(partition().session(claim.feed->slot));
  if (left.messages == 0 && WaitForRoom(claim)) return false;
  // A message takes more than a scan counts.
  const bool narrow = left.bytes < 4 * kReplayBytesMax;
  options.messages_max = narrow ? 1 : std::clamp<size_t>(left.messages, 1, options.messages_max);
  return true;
}

// True: an acknowledgement wakes it, or that what is on its way is applied. False: the queue is
// empty, and what has all of its room stands in outboxes and waits itself if there is none.
bool Deliveries::WaitForRoom(Claim& claim) {
  if (partition().session(claim.feed->slot).queue.messages() != 0) return true;
  if (proposals_.idle()) return false;
  ++claim.feed->replays_held;
  node_.After(BitOf(id_), [&node = node_, id = id_, life = leader_.life(),
                           client_id = std::string(claim.client_id), epoch = claim.epoch] {
    Leader& leader = *node.leaders[id];
    if (leader.life() == life) leader.deliveries().StartReplays(client_id, epoch);
  });
  return true;
}

// Of what goes through the queue, with queue_full: refuse; else what is too much is dropped.
std::vector<QueueReservation> Deliveries::RoomsOfPage(
    const Session& session, const SubscriptionRecord& subscription,
    const std::vector<mqtt::MessagePtr>& messages) const {
  std::vector<QueueReservation> rooms;
  if (node_.options.queue_full != QueueFull::kRefuse) return rooms;
  for (const mqtt::MessagePtr& found : messages) {
    const mqtt::MessagePtr message = ToReplay(found);
    if (!message) continue;
    if (mqtt::Min(message->qos(), subscription.options.qos) == mqtt::QoS::kAtMostOnce) continue;
    rooms.push_back({.slot = session.slot, .bytes = EntrySizeAtMost(*message)});
  }
  return rooms;
}

// Retained messages of a new subscription, a page at a time. At QoS 1 or 2 they go through the
// queue while it is shorter than the window. At QoS 0 nothing is promised, so nothing is written:
// they go to the shard at once, and the next page when that has room again. How far that came is
// written down with the next page that is, or at the end; a connection that is lost before gets
// those again.
void Deliveries::ReplayPage(Claim& claim) {
  const Session& session = partition().session(claim.feed->slot);
  const RetainedReplay* replay = &session.replays.front();
  RetainedScanOptions options;
  if (!FitPage(claim, options)) return;
  std::vector<uint64_t> over;
  absl::StatusOr<RetainedScans::Page> page;
  while (true) {
    // Several leaders count their orders each by itself.
    if (!node_.shards.in_cluster()) options.since_order = replay->since_order;
    page = ReadPage(claim, *replay, options);
    if (claim.feed->replays_held != 0) return;
    const bool found_nothing = page.ok() && page->messages.empty() && page->cursor.empty();
    const RetainedReplay* const next = session.replays.After(replay->number);
    if (!found_nothing || next == nullptr || over.size() == kReplaysOverMax ||
        node_.work_left == 0) {
      break;
    }
    over.push_back(replay->number);
    replay = next;
  }
  if (!page.ok()) return CannotRead(claim, page.status());
  DropWhatCameLive(claim, page->messages);
  const SubscriptionRecord& subscription = session.FindSubscription(replay->filter)->record;
  const std::vector<QueueReservation> rooms = RoomsOfPage(session, subscription, page->messages);
  if (!leader_.room().HasRoomFor(session, rooms) && WaitForRoom(claim)) return;
  pb::EnqueueRetainedPage queued;
  for (const mqtt::MessagePtr& found : page->messages) {
    mqtt::MessagePtr message = ToReplay(found);
    if (!message) continue;
    if (mqtt::Min(message->qos(), subscription.options.qos) == mqtt::QoS::kAtMostOnce) {
      SendReplayed(claim, subscription, std::move(message));
    } else {
      queued.add_messages(EncodeStoredMessage(*message));
      if (node_.shards.in_cluster()) TopicsOf(*claim.feed).page.emplace(message->topic());
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
  WriteDown(claim, replay->number, over, page->cursor, queued);
  const bool promises = !queued.messages().empty();
  *Propose().mutable_enqueue_retained_page() = std::move(queued);
  leader_.room().PromiseToLast(rooms);
  claim.feed->replaying = true;
  if (promises) {
    NeedSync();  // It gives out sequences.
  } else {
    Hurry();
  }
  Then(std::move(step));
}

// Where another is on its way to replace it, that one stands before the page in the log. It comes
// live, and nothing older may follow it (then: null); or, if it does not go through the queue, it
// is given now.
mqtt::MessagePtr Deliveries::ToReplay(const mqtt::MessagePtr& message) const {
  const Leader& home = node_.HomeOf(message->topic());
  const RetainedSet* const newer = home.expiry().retained_pending().Find(message->topic());
  if (newer == nullptr) return message;
  const bool comes_live = (newer->partitions >> id_ & 1) != 0;
  return comes_live || newer->removes() ? mqtt::MessagePtr() : newer->message;
}

void Deliveries::SendReplayed(Claim& claim, const SubscriptionRecord& subscription,
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

void Deliveries::Handle(const Asker& /*from*/, ReplayTaken& request) {
  Claim* const claim = leader_.sessions().OwnerOf(request.client_id, request.epoch);
  if (claim == nullptr) return;
  claim->feed->replay_sent = false;
  ListForPump(*claim);
}

void Deliveries::Finish(FinishReplay& step) {
  Claim* const claim = leader_.sessions().FindClaim(step.client_id);
  if (claim == nullptr || claim->feed == nullptr) return;
  claim->feed->replaying = false;
  if (claim->state != Claim::State::kOpen || !claim->stored) return;  // Another connection's.
  if (partition().session(claim->feed->slot).replays.empty()) {
    claim->feed->replay_topics.reset();
  } else if (claim->feed->replay_topics != nullptr) {
    claim->feed->replay_topics->page.clear();
  }
  ListForPump(*claim);
}

}  // namespace storage
