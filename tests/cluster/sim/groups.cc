#include "tests/cluster/sim/groups.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_cat.h"
#include "mqtt/topic.h"
#include "tests/cluster/sim/history.h"

namespace simulator {
namespace {

// For so long after it was acknowledged a message may be on its way to a member without a kept
// session: links that are blocked, leases of those that are gone.
constexpr int64_t kOnItsWayNs = 10'000'000'000;
// For so long a node that has died is taken for one that lives.
constexpr int64_t kUnnoticedNs = 4'000'000'000;

}  // namespace

const SharedFilter* FindShared(std::string_view filter) {
  const auto* const found =
      std::find_if(std::begin(kSharedFilters), std::end(kSharedFilters),
                   [&](const SharedFilter& each) { return each.filter == filter; });
  return found == std::end(kSharedFilters) ? nullptr : found;
}

const SharedFilter* FindShared(uint32_t subscription_id) {
  const auto* const found = std::find_if(
      std::begin(kSharedFilters), std::end(kSharedFilters),
      [&](const SharedFilter& each) { return each.subscription_id == subscription_id; });
  return found == std::end(kSharedFilters) ? nullptr : found;
}

size_t Groups::Changes(const SharedFilter& shared, Change what, int64_t from_ns,
                       int64_t through_ns) {
  std::vector<Changing>& changes = groups_[shared.filter].changes;
  changes.push_back({what, from_ns, through_ns});
  return changes.size() - 1;
}

void Groups::OnReceived(const SubscriberSession& session, const SharedFilter& shared,
                        const std::string& payload, unsigned qos, bool retain, bool dup,
                        int64_t now_ns) {
  const Published& message = *history_.Find(payload);
  if (!session.ever_subscribed.contains(shared.filter) ||
      !mqtt::Matches(shared.topics, message.topic)) {
    return history_.Fail("nothing comes unasked",
                         absl::StrCat(session.client_id, " got ", Describe(message, payload),
                                      " through ", shared.filter));
  }
  if (retain) {
    history_.Fail("a group gets nothing that is retained",
                  absl::StrCat(session.client_id, " got ", Describe(message, payload), " through ",
                               shared.filter));
  }
  Group& group = groups_[shared.filter];
  std::vector<Copy>& copies = group.copies[payload];
  const bool is_new = std::none_of(copies.begin(), copies.end(),
                                   [&](const Copy& copy) { return copy.member == session.name; });
  copies.push_back({session.name, session.durable, qos, dup});
  if (copies.size() > 1) CheckCopies(shared, message, payload, copies, now_ns);
  if (is_new) CheckOrder(group, shared, session, message, payload, qos, now_ns);
}

// Who has a session that is kept keeps what was chosen for it. What one without left at QoS 1 is
// another one's, who had nothing of it; at QoS 2 only if it was not sent yet [MQTT5-4.8.2-5].
void Groups::CheckCopies(const SharedFilter& shared, const Published& message,
                         const std::string& payload, const std::vector<Copy>& copies,
                         int64_t now_ns) {
  const Copy& last = copies.back();
  for (size_t i = 0; i + 1 < copies.size(); ++i) {
    const Copy& other = copies[i];
    const bool same = other.member == last.member;
    const bool at_qos_2 = other.qos == 2 && last.qos == 2;
    bool wrong = message.qos == 0;
    if (message.qos == 2) {
      wrong = same ? last.qos == 2 || !last.dup : at_qos_2 || (other.durable && last.durable);
    } else if (message.qos == 1 && !message.sent_again()) {
      wrong = same ? last.durable && !last.dup && !other.dup : other.durable && last.durable;
    }
    if (!wrong) continue;
    // It was on its way to a member without a kept session, and nobody knows whether that had it.
    if (message.qos == 1 && !shared.durable_only &&
        history_.WasTrouble(message.sent_ns - kUnnoticedNs, now_ns)) {
      return history_.NoteKnown("QoS 1 twice to a group, where a node died with a member");
    }
    return history_.Fail(
        message.is_will ? "a will at most once" : "one member of a group, once",
        absl::StrCat(Describe(message, payload), " came through ", shared.filter, " to ",
                     other.member, " at QoS ", other.qos, " and to ", last.member, " at QoS ",
                     last.qos, last.dup ? " with DUP" : ""));
  }
}

// What is handed on comes late, and what is sent again may be another member's: MQTT promises an
// order to subscriptions alone that are not shared [MQTT5-4.6.0-6].
void Groups::CheckOrder(Group& group, const SharedFilter& shared, const SubscriberSession& session,
                        const Published& message, const std::string& payload, unsigned qos,
                        int64_t now_ns) {
  if (message.is_will || message.sent_again()) return;
  const bool handed_on =
      std::any_of(group.changes.begin(), group.changes.end(), [&](const Changing& change) {
        if (change.from_ns > now_ns) return false;
        if (message.qos == 0) return change.through_ns >= message.sent_ns - kOnItsWayNs;
        return change.what != Change::kConnection && change.through_ns >= message.sent_ns;
      });
  const bool of_session = message.qos != 0 && session.durable;
  const std::string whose = of_session ? message.session
                                       : absl::StrCat(message.publisher, " ", message.connection,
                                                      " to ", session.connection);
  uint64_t& latest = group.latest[{session.name, whose, message.topic, message.qos, qos}];
  if (message.number > latest) {
    latest = message.number;
  } else if (history_.MayBeRefused(message)) {
    history_.NoteKnown(
        "order: refused or held up where a disk failed, behind what was taken meanwhile");
  } else if (!handed_on) {
    history_.Fail("order", absl::StrCat(Describe(message, payload), " came through ", shared.filter,
                                        " to ", session.name, " behind number ", latest));
  }
}

void Groups::CheckDelivered(const std::vector<const SubscriberSession*>& durable_members) {
  for (const SharedFilter& shared : kSharedFilters) {
    int64_t since_ns = std::numeric_limits<int64_t>::max();
    for (const SubscriberSession* const member : durable_members) {
      const auto sure = member->sure.find(shared.filter);
      if (sure != member->sure.end()) since_ns = std::min(since_ns, sure->second);
    }
    const Group& group = groups_[shared.filter];
    for (const auto& [payload, message] : history_.messages()) {
      if (message.acknowledged_ns == kNever || message.qos == 0) continue;
      if (message.sent_ns <= since_ns || !mqtt::Matches(shared.topics, message.topic)) continue;
      if (!group.copies.contains(payload)) CheckLost(group, shared, message, payload);
    }
  }
}

// A member without a kept session has what was chosen for it in its node's memory, and what it has
// been sent at QoS 2 goes to nobody else.
void Groups::CheckLost(const Group& group, const SharedFilter& shared, const Published& message,
                       const std::string& payload) {
  const int64_t end_ns = message.acknowledged_ns + kOnItsWayNs;
  const bool member_went =
      std::any_of(group.changes.begin(), group.changes.end(), [&](const Changing& change) {
        return change.what == Change::kSessionEnds && change.from_ns <= end_ns &&
               change.through_ns >= message.sent_ns;
      });
  if (member_went && message.qos == 2)
    return history_.NoteKnown("QoS 2 lost with a group's member that has no kept session");
  if (member_went && history_.WasTrouble(message.sent_ns - kUnnoticedNs, end_ns))
    return history_.NoteKnown("QoS 1 lost with a node and a group's member without a kept session");
  history_.Fail(
      message.is_will ? "a will is fired" : "what is acknowledged is delivered to a group",
      absl::StrCat(shared.filter, " never got ", Describe(message, payload)));
}

}  // namespace simulator
