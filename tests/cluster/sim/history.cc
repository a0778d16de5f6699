#include "tests/cluster/sim/history.h"

#include <algorithm>
#include <utility>

#include "mqtt/topic.h"

namespace simulator {

std::string Describe(const Published& message, const std::string& payload) {
  return absl::StrCat("\"", payload, "\" (", message.topic, ", QoS ", message.qos,
                      message.sent_again() ? ", sent again)" : ")");
}

bool History::CheckReal(const SubscriberSession& session, const std::string& topic,
                        const std::string& payload) {
  ++deliveries_;
  Published* const message = Find(payload);
  if (message != nullptr && message->topic == topic) {
    message->received = true;
    CheckRefused(*message, payload);
    return true;
  }
  Fail("nothing is invented", absl::StrCat(session.client_id, " got \"", payload, "\" of ", topic));
  return false;
}

void History::OnRefused(const std::string& payload) {
  Published& message = *Find(payload);
  message.refused = true;
  CheckRefused(message, payload);
}

// Of others one partition may have had its part, and who has no kept session has it already.
void History::CheckRefused(const Published& message, const std::string& payload) {
  if (message.accepts_once && message.refused && message.received)
    Fail("what is refused nobody gets", Describe(message, payload));
}

void History::OnReceived(SubscriberSession& session, const std::string& topic,
                         const std::string& payload, unsigned qos, bool retain, bool dup) {
  const Published* const message = Find(payload);
  if (message->retain) session.last_retained[topic] = payload;
  const bool wanted =
      std::any_of(session.ever_subscribed.begin(), session.ever_subscribed.end(),
                  [&](const std::string& filter) { return mqtt::Matches(filter, topic); });
  if (!wanted) {
    Fail("nothing comes unasked", absl::StrCat(session.client_id, " never subscribed to what ",
                                               Describe(*message, payload), " is of"));
  }
  if (retain) return;  // A replay for a new subscription stands beside what comes live.
  SubscriberSession::Copies& copies = session.seen[payload];
  ++copies.all;
  if (!dup) ++copies.first_hand;
  const uint64_t before = std::exchange(copies.connection, session.connection);
  if (copies.all > 1) {
    if (message->qos == 0 && before != session.connection)
      return NoteKnown("QoS 0 twice to a session that moved between nodes");
    return CheckCopies(session, *message, payload, qos, dup, copies);
  }
  CheckOrder(session, *message, payload, qos);
}

// What was sent before it was subscribed to may be routed again, behind what was sent later. And
// what a transient session gets from other nodes, or anybody at QoS 0, has no order but that of the
// publisher's connection.
void History::CheckOrder(SubscriberSession& session, const Published& message,
                         const std::string& payload, unsigned qos) {
  if (message.is_will) return;
  std::string ordered = message.session;
  if (message.qos == 0) {
    ordered = absl::StrCat(message.publisher, " ", message.connection, " to ", session.connection);
  } else if (!IsSure(session, message)) {
    return;
  } else if (!session.durable) {
    if (message.sent_again()) return;
    ordered = absl::StrCat(message.publisher, " ", message.connection);
  }
  uint64_t& latest = session.latest[{ordered, message.topic, message.qos, qos}];
  if (message.number > latest) {
    latest = message.number;
  } else if (MayBeRefused(message)) {
    NoteKnown("order: refused or held up where a disk failed, behind what was taken meanwhile");
  } else {
    Fail("order", absl::StrCat(Describe(message, payload), " came to ", session.client_id,
                               " behind number ", latest));
  }
}

bool History::MayBeRefused(const Published& message) const {
  const auto failed_at = [&](int64_t sent_ns) {
    return std::any_of(failing_.begin(), failing_.end(), [sent_ns](const auto& each) {
      return sent_ns >= each.first && sent_ns <= each.second;
    });
  };
  return failed_at(message.sent_ns) ||
         std::any_of(message.sent_again_ns.begin(), message.sent_again_ns.end(), failed_at);
}

bool History::WasTrouble(int64_t from_ns, int64_t to_ns) const {
  return std::any_of(node_failures_.begin(), node_failures_.end(),
                     [&](int64_t at_ns) { return at_ns >= from_ns && at_ns <= to_ns; }) ||
         std::any_of(failing_.begin(), failing_.end(), [&](const auto& each) {
           return each.second >= from_ns && each.first <= to_ns;
         });
}

// Whether it was subscribed to, at QoS 1 or 2, before it was sent for the first time.
bool History::IsSure(const SubscriberSession& session, const Published& message) {
  return std::any_of(session.sure.begin(), session.sure.end(), [&](const auto& each) {
    return each.second < message.sent_ns && mqtt::Matches(each.first, message.topic);
  });
}

void History::CheckCopies(const SubscriberSession& session, const Published& message,
                          const std::string& payload, unsigned qos, bool dup,
                          const SubscriberSession::Copies& copies) {
  const std::string words =
      absl::StrCat(Describe(message, payload), " came to ", session.client_id, " at QoS ", qos, " ",
                   copies.all, " times, ", copies.first_hand, " of them without DUP");
  if (message.qos == 0) return Fail("QoS 0 at most once", words);
  if (message.qos == 2 && (qos == 2 || !dup)) {
    return Fail(message.is_will ? "a will at most once" : "QoS 2 exactly once", words);
  }
  if (message.qos != 1 || !session.durable || message.sent_again() || copies.first_hand < 2) return;
  Fail(message.is_will ? "a will at most once" : "once, unless it was sent again", words);
}

bool History::Was(const Spells& spells, uint64_t life, int64_t from_ns, int64_t to_ns) {
  const auto of_life = spells.find(life);
  if (of_life == spells.end()) return false;
  bool was = false;
  for (const auto& [at_ns, is] : of_life->second) {
    if (at_ns > to_ns) break;
    if (at_ns <= from_ns) was = false;  // What was before does not count.
    was = was || is;
  }
  return was;
}

void History::CheckDelivered(const SubscriberSession& session) {
  for (const auto& [filter, since_ns] : session.sure) {
    for (const auto& [payload, message] : messages_) {
      if (message.acknowledged_ns == kNever || message.qos == 0) continue;
      if (message.sent_ns <= since_ns || !mqtt::Matches(filter, message.topic)) continue;
      if (session.seen.contains(payload)) continue;
      const auto was_degraded = [&](uint64_t life) {
        return Was(degraded_, life, message.last_sent_ns(), message.acknowledged_ns);
      };
      if (!session.durable && was_degraded(message.acknowledged_by)) {
        NoteKnown("acknowledged without most nodes, and lost to a transient session elsewhere");
        continue;
      }
      if (!session.durable && was_degraded(session.node_life)) {
        NoteKnown("acknowledged by most nodes, and lost to a transient session without them");
        continue;
      }
      if (!session.durable && Was(degraded_, session.node_life, since_ns, since_ns) &&
          Was(unaware_, session.node_life, message.sent_ns, message.acknowledged_ns)) {
        NoteKnown("subscribed to without most nodes, and lost while some had yet to hear of it");
        continue;
      }
      Fail(message.is_will ? "a will is fired" : "what is acknowledged is delivered",
           absl::StrCat(session.client_id, " has ", filter, " and never got ",
                        Describe(message, payload)));
    }
  }
}

// One that is there, although another one was sent when it had been acknowledged and is
// acknowledged too, is one too old. QoS 2 goes through its publisher's outbox, so it may come
// behind what was sent later at another QoS; and of what was sent again a copy may come late.
void History::CheckRetained(const std::string& topic, const std::string& retained) {
  const Published* const last = Find(retained);
  if (last != nullptr && last->sent_again()) return;
  for (const auto& [payload, message] : messages_) {
    if (message.topic != topic || message.qos == 0 || message.acknowledged_ns == kNever) continue;
    if (last != nullptr) {
      const bool before =
          last->qos == 0
              ? last->session == message.session && last->connection == message.connection &&
                    last->number < message.number
              : last->acknowledged_ns != kNever && last->acknowledged_ns < message.sent_ns;
      if (!before || (last->qos == 2 && message.qos != 2)) continue;
      if (last->qos == 0 && message.qos == 2) continue;
    }
    return Fail(
        "what is retained is the last",
        absl::StrCat(topic, " has \"", retained, "\", and not ", Describe(message, payload)));
  }
}

uint64_t History::acknowledged() const {
  return static_cast<uint64_t>(
      std::count_if(messages_.begin(), messages_.end(),
                    [](const auto& each) { return each.second.acknowledged_ns != kNever; }));
}

uint64_t History::Digest() const {
  uint64_t digest = deliveries_;
  const auto add = [&digest](uint64_t value) {
    digest = (digest ^ value) * 0x9E3779B97F4A7C15;
    digest ^= digest >> 29;
  };
  for (const auto& [payload, message] : messages_) {
    add(static_cast<uint64_t>(message.sent_ns));
    add(static_cast<uint64_t>(message.acknowledged_ns));
  }
  return digest;
}

}  // namespace simulator
