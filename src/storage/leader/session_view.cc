#include "storage/leader/session_view.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "base/glob.h"
#include "base/status_macros.h"
#include "storage/core/partition.h"
#include "storage/core/session.h"
#include "storage/leader/claim.h"
#include "storage/leader/leader.h"

namespace storage {
namespace {

bool TextMatches(const std::string& pattern, std::string_view text) {
  return pattern.empty() || base::GlobMatches(pattern, text);
}

bool Matches(const SessionQuery& query, const Session& session, int64_t now_unix_ms) {
  if (!TextMatches(query.client_id, session.client_id)) return false;
  if (!TextMatches(query.user_name, session.user_name)) return false;
  if (query.connected.has_value() && session.connected != *query.connected) return false;
  if (session.queue.messages() < query.queued_messages_min) return false;
  if (query.away_ms_min == 0) return true;
  return !session.connected && now_unix_ms - session.disconnected_at_unix_ms >= query.away_ms_min;
}

SessionView ViewOf(PartitionId partition, const Session& session) {
  SessionView view;
  view.partition = partition;
  view.client_id = session.client_id;
  view.user_name = session.user_name;
  view.listener = session.listener;
  view.version = session.version;
  view.connected = session.connected;
  view.expiry_s = session.expiry_s;
  view.created_at_unix_ms = session.created_at_unix_ms;
  view.disconnected_at_unix_ms = session.connected ? 0 : session.disconnected_at_unix_ms;
  view.ends_at_unix_ms = session.ends_at_unix_ms;
  view.subscriptions = session.subscriptions.size();
  view.queued_messages = session.queue.messages();
  view.queued_bytes = session.queue.bytes();
  view.dropped = session.dropped;
  view.window_messages = session.window_messages;
  view.inbound_qos2 = session.queue.inbound();
  view.will = session.will.message;
  view.will_delay_s = session.will.delay_s;
  view.will_due_at_unix_ms = session.will.due_at_unix_ms;
  return view;
}

// A transient session with a will is stored too, for the will's sake: to an operator it is
// transient.
bool IsDurable(const Session& session) { return session.expiry_s != 0; }

const Session* FindStored(const Node& node, std::string_view client_id) {
  return node.LeaderOf(client_id).partition().Find(client_id);
}

}  // namespace

SessionPage LookAtSessions(const Node& node, const SessionQuery& query, const SessionPlace& from,
                           size_t sessions_max, size_t looked_max) {
  SessionPage page;
  SessionPlace place = from;
  const size_t end = query.one_partition ? from.partition + size_t{1} : node.leaders.size();
  for (; place.partition < std::min(end, node.leaders.size()); ++place.partition, place.slot = 0) {
    if (query.led && !node.leaders[place.partition]->serving()) continue;
    const Partition& partition = node.leaders[place.partition]->partition();
    for (; place.slot < partition.slots(); ++place.slot) {
      if (looked_max-- == 0 || page.sessions.size() == std::min(sessions_max, kSessionsFoundMax)) {
        page.next = place;
        return page;
      }
      const Session* const session = partition.FindSlot(place.slot);
      if (session != nullptr && IsDurable(*session) && Matches(query, *session, node.now.unix_ms))
        page.sessions.push_back(ViewOf(place.partition, *session));
    }
  }
  return page;
}

std::optional<SessionPlace> VisitSubscriptions(
    const Node& node, const SessionPlace& from,
    absl::FunctionRef<void(PartitionId partition, std::string_view filter)> visit) {
  constexpr size_t kSubscriptionsAtOnce = 4096;
  size_t looked = 0;
  size_t visited = 0;
  SessionPlace place = from;
  for (; place.partition < node.leaders.size(); ++place.partition, place.slot = 0) {
    if (!node.leaders[place.partition]->serving()) continue;
    const Partition& partition = node.leaders[place.partition]->partition();
    for (; place.slot < partition.slots(); ++place.slot) {
      if (looked++ == kSessionsLookedMax || visited >= kSubscriptionsAtOnce) return place;
      const Session* const session = partition.FindSlot(place.slot);
      if (session == nullptr || !IsDurable(*session)) continue;
      visited += session->subscriptions.size();
      for (const auto& [filter, subscription] : session->subscriptions)
        visit(place.partition, filter);
    }
  }
  return std::nullopt;
}

IdentifierView LookAtIdentifier(const Node& node, std::string_view client_id) {
  IdentifierView view;
  const Leader& leader = node.LeaderOf(client_id);
  if (const Claim* const claim = leader.sessions().ClaimOf(client_id)) {
    view.changing = claim->state != Claim::State::kOpen || claim->waited_for();
    if (claim->state == Claim::State::kOpen) {
      // Here another client's connection may have the same number.
      if (node.shards.IsOwn(node.shards.SlotOf(claim->connection.address()))) {
        view.connection = claim->connection;
      } else {
        view.elsewhere = claim->connection;
      }
    }
  }
  // Who has not been heard of yet may be connected where nobody has told of it.
  const bool heard_of = view.connection.has_value() || view.elsewhere.has_value();
  view.led = leader.serving() && (leader.knows_all() || heard_of);
  const Session* const session = leader.partition().Find(client_id);
  if (session != nullptr && IsDurable(*session)) view.stored = ViewOf(leader.id(), *session);
  return view;
}

std::vector<SubscriptionRecord> LookAtSubscriptions(const Node& node, std::string_view client_id,
                                                    std::string_view after, size_t count_max) {
  std::vector<SubscriptionRecord> records;
  const Session* const session = FindStored(node, client_id);
  if (session == nullptr) return records;
  auto it = session->subscriptions.upper_bound(after);
  if (after.empty()) it = session->subscriptions.begin();
  for (; it != session->subscriptions.end() && records.size() < count_max; ++it)
    records.push_back(it->second->record);
  return records;
}

absl::StatusOr<QueueView> LookAtQueue(Node& node, std::string_view client_id, uint64_t from,
                                      size_t messages_max) {
  const Session* const session = FindStored(node, client_id);
  if (session == nullptr) return absl::NotFoundError("there is no stored session of this client");
  Leader& leader = node.LeaderOf(client_id);
  RETURN_IF_ERROR(leader.replica().status());
  if (node.stalled)
    return absl::UnavailableError("the queue is being written to the disk: ask again in a moment");
  QueueReadLimits limits;
  limits.messages_max = messages_max;
  auto read = leader.replica().partition().ReadQueue(node.reader, session->slot, from, limits,
                                                     node.now.unix_ms);
  if (!read.ok()) return read.status();
  QueueView view;
  view.next = read->next;
  view.end = read->end;
  view.queued_messages = session->queue.messages();
  view.queued_bytes = session->queue.bytes();
  view.now_unix_ms = node.now.unix_ms;
  const uint64_t sent = leader.sessions().SentThrough(*session);
  for (Delivery& entry : read->entries) {
    view.messages.push_back({.sequence = entry.sequence,
                             .message = std::move(entry.message),
                             .qos = entry.qos,
                             .sent = entry.sequence <= sent,
                             .released = entry.release});
  }
  for (const uint64_t sequence : read->expired)
    view.messages.push_back({.sequence = sequence, .expired = true});
  std::sort(view.messages.begin(), view.messages.end(),
            [](const auto& a, const auto& b) { return a.sequence < b.sequence; });
  return view;
}

bool EndStoredSession(Node& node, std::string_view client_id, std::function<void()> done) {
  const Session* const session = FindStored(node, client_id);
  if (session == nullptr) return false;
  Leader& leader = node.LeaderOf(client_id);
  const SessionSlot slot = session->slot;
  if (!leader.sessions().IsAway(slot, session->epoch)) return false;
  leader.sessions().EndAway(slot, Sessions::Why::kAsked);
  node.After(BitOf(leader.id()), std::move(done));
  return true;
}

void AfterPending(Node& node, std::string_view client_id, std::function<void()> done) {
  node.After(BitOf(node.LeaderOf(client_id).id()), std::move(done));
}

}  // namespace storage
