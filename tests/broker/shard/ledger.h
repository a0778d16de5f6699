// What clients of a simulated broker saw, and what must be true of it: the promises of MQTT, kept
// as simply as possible.
#ifndef TESTS_BROKER_SHARD_LEDGER_H_
#define TESTS_BROKER_SHARD_LEDGER_H_

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "mqtt/topic.h"

namespace sim {

inline constexpr int64_t kNotYet = -1;

// A message that a client published, or left as its will. Its payload is its name.
struct Published {
  std::string publisher;
  uint64_t number = 0;  // Ascending, per publisher.
  std::string topic;
  unsigned qos = 0;
  bool retain = false;
  int64_t sent_ns = 0;
  int64_t acknowledged_ns = kNotYet;  // When the publisher heard so.
  bool sent_again = false;  // After a connection of the publisher's broke: also behind later ones.
  bool withdrawn = false;   // A will whose client has said goodbye: nobody gets it.
  std::set<std::string> receivers;
};

// One session of a subscriber, from CONNACK without Session Present until it ends.
struct SubscriberSession {
  std::string client_id;
  std::set<std::string> seen;  // Payloads.
  // By publisher, topic and QoS at which it was published: the latest number.
  std::map<std::tuple<std::string, std::string, unsigned>, uint64_t> latest;
  std::set<std::string> ever_subscribed;  // Filters, from when SUBSCRIBE was sent.
  std::map<std::string, int64_t> gone;    // Filters, since UNSUBACK came.
  // Filters that are granted at QoS 1 or 2, since SUBACK came: what is published from then on and
  // acknowledged must come.
  std::map<std::string, int64_t> sure;
  std::map<std::string, std::string> last_retained;  // Topic → the payload that came last.
};

class Ledger {
 public:
  Published& Add(const std::string& payload, Published message) {
    return messages_[payload] = std::move(message);
  }
  Published* Find(const std::string& payload) {
    const auto found = messages_.find(payload);
    return found == messages_.end() ? nullptr : &found->second;
  }
  const std::map<std::string, Published>& messages() const { return messages_; }
  uint64_t deliveries() const { return deliveries_; }

  static bool IsShared(const std::string& topic) { return topic.starts_with("s/"); }

  // An application message reached a client at `qos`.
  void OnReceived(SubscriberSession& session, const std::string& topic, const std::string& payload,
                  unsigned qos, bool retain, bool dup) {
    ++deliveries_;
    Published* const message = Find(payload);
    ASSERT_NE(message, nullptr) << session.client_id << " got what nobody published: " << payload;
    ASSERT_EQ(message->topic, topic) << payload;
    message->receivers.insert(session.client_id);
    if (message->retain) session.last_retained[topic] = payload;
    bool wanted = false;
    for (const std::string& filter : session.ever_subscribed)
      wanted = wanted || Matches(filter, topic);
    EXPECT_TRUE(wanted) << session.client_id << " never subscribed to " << topic;
    EXPECT_TRUE(MayStillCome(session, *message))
        << session.client_id << " had UNSUBACK before " << payload << " was published";
    // A replay for a new subscription stands beside the live one; a group's member may get what
    // another one left.
    if (retain || IsShared(topic)) return;
    const bool first = session.seen.insert(payload).second;
    if (!first) {
      EXPECT_NE(message->qos, 0u) << payload << " of QoS 0 came twice to " << session.client_id;
      if (message->qos == 2 && (qos == 2 || !dup)) {
        ADD_FAILURE() << payload << " of QoS 2 came twice to " << session.client_id << " at QoS "
                      << qos;
      }
      return;
    }
    if (message->sent_again) return;
    uint64_t& latest = session.latest[{message->publisher, topic, message->qos}];
    EXPECT_GT(message->number, latest)
        << payload << " came to " << session.client_id << " behind a later one";
    latest = message->number;
  }

  // When everything has come to rest: what must have come.
  void CheckDelivered(const SubscriberSession& session) const {
    for (const auto& [filter, since_ns] : session.sure) {
      if (filter.starts_with("$share/")) continue;
      for (const auto& [payload, message] : messages_) {
        if (message.acknowledged_ns == kNotYet || message.qos == 0) continue;
        if (message.sent_ns <= since_ns || !Matches(filter, message.topic)) continue;
        EXPECT_TRUE(session.seen.contains(payload))
            << session.client_id << " has " << filter << " and never got " << payload << " (QoS "
            << message.qos << ", " << message.topic << ")";
      }
    }
  }
  // Of a group that has had a member ever since. QoS 1: what a member at QoS 2 leaves behind when
  // its session ends is for nobody else [MQTT5-4.8.2-5].
  void CheckShared(const std::string& topic, int64_t since_ns) const {
    for (const auto& [payload, message] : messages_) {
      if (message.acknowledged_ns == kNotYet || message.qos != 1 || message.topic != topic)
        continue;
      if (message.sent_ns <= since_ns) continue;
      EXPECT_FALSE(message.receivers.empty()) << "no member of the group ever got " << payload;
    }
  }
  void CheckWithdrawn() const {
    for (const auto& [payload, message] : messages_) {
      if (!message.withdrawn) continue;
      EXPECT_TRUE(message.receivers.empty()) << payload << ": its client had said goodbye";
    }
  }
  // What a retained topic that one client publishes to must at least hold: the last acknowledged.
  // Nothing, if one was sent again: that may come behind it.
  // If it holds one of QoS 2: the last of these, since they go through their publisher's outbox
  // and may come behind what was sent after them at another QoS.
  uint64_t RetainedAtLeast(const std::string& topic, unsigned qos_of_last = 0) const {
    uint64_t number = 0;
    for (const auto& [payload, message] : messages_) {
      if (message.topic != topic) continue;
      if (message.sent_again) return 0;
      if (qos_of_last == 2 && message.qos != 2) continue;
      if (message.acknowledged_ns != kNotYet && message.qos != 0)
        number = std::max(number, message.number);
    }
    return number;
  }

  static bool Matches(const std::string& filter, const std::string& topic) {
    constexpr std::string_view kGroup = "$share/g/";
    if (filter.starts_with(kGroup)) return filter.substr(kGroup.size()) == topic;
    return mqtt::Matches(filter, topic);
  }

 private:
  // Whether some subscription was not over when the message was sent.
  static bool MayStillCome(const SubscriberSession& session, const Published& message) {
    for (const std::string& filter : session.ever_subscribed) {
      if (!Matches(filter, message.topic)) continue;
      const auto gone = session.gone.find(filter);
      if (gone == session.gone.end() || message.sent_ns <= gone->second) return true;
    }
    return false;
  }

  std::map<std::string, Published> messages_;
  uint64_t deliveries_ = 0;
};

}  // namespace sim

#endif  // TESTS_BROKER_SHARD_LEDGER_H_
