// The retained messages that follow a SUBACK: of transient sessions, and $SYS for all.
#include <algorithm>
#include <memory>
#include <utility>

#include "base/by_name.h"
#include "base/log.h"
#include "broker/shard/subscribe_flow.h"
#include "mqtt/topic.h"

namespace broker {
namespace {

// Retained messages are asked for in pages of this many, and the next page only when the last one
// is on its way out.
constexpr uint32_t kPageMessages = 64;
// Of as many filters at once, as long as there is nothing retained for them: a client with many
// thousands is done soon, and what they wait with does not pile up.
constexpr size_t kFiltersAskedMax = 64;

}  // namespace

void SubscribeFlow::ContinueThoseOf(Session& session) {
  if (session.replay_came && HasRoomForRetained(session)) {
    session.replay_came = false;
    if (session.replays != nullptr)  // For the next page it is remembered as long as for the last.
      session.replays->forget_at_tick = context_.now_tick + kLiveTopicsKeptTicks;
    context_.Ask(storage::ReplayTaken{std::string(session.client_id.view()), session.epoch});
  }
  if (session.replays == nullptr) return;
  while (!session.replays->waiting.empty()) {
    if (session.replays->waiting.front().subscription.filter.empty()) {  // Unsubscribed meanwhile.
      FinishReplay(*session.replays);
      continue;
    }
    RetainedReplay& replay = session.replays->first;
    if (replay.asked) return;
    SendPage(session);
    // The rest, and then the next page, when there is room in the window and on the wire.
    if (!replay.page.empty() || !HasRoomForRetained(session)) return;
    if (!replay.last) {
      AskForPage(session);
      return;
    }
    FinishReplay(*session.replays);
  }
  if (session.replays->subacks != 0 || session.replay_came) return;
  if (!session.durable || session.replays->forget_at_tick <= context_.now_tick)
    session.replays.reset();
}

void SubscribeFlow::AskForPage(const Session& session) {
  Session::Replays& replays = *session.replays;
  storage::ScanRetained scan;
  scan.token = context_.NextToken();
  scan.filter = replays.waiting.front().subscription.filter;
  scan.cursor = replays.first.cursor;
  scan.messages_max = kPageMessages;
  const size_t filters = std::min(replays.filters_asked, replays.waiting.size());
  for (size_t i = 1; i < filters; ++i) {
    const std::string& filter = replays.waiting[i].subscription.filter;
    if (filter.empty()) break;
    scan.others.push_back(filter);
  }
  replays.first.asked = true;
  replays.first.token = scan.token;
  pages_[scan.token] = session.connection.ref.connection;
  context_.Ask(std::move(scan));
}

void SubscribeFlow::FinishReplay(Session::Replays& replays) {
  replays.first = {};
  replays.waiting.pop_front();
}

bool SubscribeFlow::HasRoomForRetained(const Session& session) const {
  return session.outbound.queue_empty() &&
         session.connection.output.bytes() < context_.InMemory(session.limits.output_bytes_max);
}

// As much of the first replay's page as there is room for: QoS 0 would be dropped beyond.
void SubscribeFlow::SendPage(Session& session) {
  // ToSession remembers topics as live: not those of the replay itself.
  std::unique_ptr<Session::Replays> replays = std::move(session.replays);
  RetainedReplay& replay = replays->first;
  const storage::SubscriptionRecord& record = replays->waiting.front().subscription;
  const uint32_t ids[] = {record.subscription_id};
  while (!replay.page.empty() && HasRoomForRetained(session)) {
    const mqtt::MessagePtr message = std::move(replay.page.front());
    replay.page.pop_front();
    if (replays->live_topics.Find(message->topic()) > replays->waiting.front().made_at) continue;
    Outgoing outgoing(message);
    if (record.options.no_local && outgoing.IsFrom(session)) continue;
    deliverer_.NextMessage();
    deliverer_.ToSession(
        session, outgoing,
        {.qos = mqtt::Min(outgoing.parts().qos, record.options.qos),
         .retain = true,
         .subscription_ids = absl::MakeConstSpan(ids, record.subscription_id == 0 ? 0 : 1)});
  }
  session.replays = std::move(replays);
}

void SubscribeFlow::OnRetainedPage(storage::RetainedPage event) {
  const auto page = pages_.find(event.token);
  if (page == pages_.end()) return;
  Connection* const connection = context_.Find(page->second);
  pages_.erase(page);
  if (connection == nullptr || connection->session == nullptr) return;
  Session& session = *connection->session;
  if (session.replays == nullptr || session.replays->waiting.empty() ||
      session.replays->first.token != event.token) {
    return;  // Unsubscribed meanwhile.
  }
  Session::Replays& replays = *session.replays;
  replays.filters_asked =
      event.messages.empty() ? std::min(replays.filters_asked * 2, kFiltersAskedMax) : 1;
  for (uint32_t i = 0; i < event.passed; ++i) FinishReplay(replays);
  RetainedReplay& replay = replays.first;
  replay.asked = false;
  replay.cursor = std::move(event.cursor);
  replay.last = replay.cursor.empty() || !event.status.ok();
  replay.page.assign(event.messages.begin(), event.messages.end());
  if (!event.status.ok()) {
    base::LogLimited(base::LogLevel::kError, "retained messages cannot be read",
                     "the store has an error",
                     {{"client", base::Shortened(base::AbslView(session.client_id.view()))},
                      {"filter", base::Shortened(replays.waiting.front().subscription.filter)},
                      {"error", event.status}});
  }
  ContinueReplays(session);
}

void SubscribeFlow::ForgetReplays(Session::Replays& replays, std::string_view filter) {
  if (replays.waiting.empty()) return;
  if (replays.waiting.front().subscription.filter == filter)
    replays.first = {};  // Its page finds nobody.
  // The others keep their places: the page that is on its way counts them.
  for (Session::Replays::Waiting& waiting : replays.waiting) {
    if (waiting.subscription.filter == filter) waiting.subscription.filter.clear();
  }
}

void SubscribeFlow::OnSysTopics(const SysTopics& topics) {
  for (const auto& [topic, value] : *topics.values) {
    mqtt::MessageParts parts;
    parts.topic = topic;
    parts.payload = value;
    parts.retain = true;
    parts.created_at_unix_ms = context_.now_unix_ms;
    sys_topics_[topic] = mqtt::Message::Create(parts);
  }
}

void SubscribeFlow::SendSysTopics(Session& session, const storage::SubscriptionRecord& record) {
  for (const auto& [topic, message] : sys_topics_) {
    if (!mqtt::Matches(record.filter, topic)) continue;
    Outgoing outgoing(message);
    const uint32_t ids[] = {record.subscription_id};
    deliverer_.NextMessage();
    deliverer_.ToSession(
        session, outgoing,
        {.qos = mqtt::QoS::kAtMostOnce,
         .retain = true,
         .subscription_ids = absl::MakeConstSpan(ids, record.subscription_id == 0 ? 0 : 1)});
  }
}

}  // namespace broker
