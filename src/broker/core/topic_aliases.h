// Topic Aliases, both ways (§3.3.2.3.4). They live as long as the Network Connection
// [MQTT5-3.3.2-7].
#ifndef BROKER_CORE_TOPIC_ALIASES_H_
#define BROKER_CORE_TOPIC_ALIASES_H_

#include <cstdint>
#include <list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "mqtt/packets.h"
#include "mqtt/types.h"

namespace broker {

// The client's aliases. Used on the connection's shard.
class InboundTopicAliases {
 public:
  explicit InboundTopicAliases(uint16_t maximum) : maximum_(maximum) {}

  // Sets `topic` to the Topic Name that is meant. A Violation if the alias is above what CONNACK
  // allowed [MQTT5-3.2.2-17] or stands for nothing yet (0x82, §3.3.4).
  std::optional<mqtt::Violation> Resolve(const mqtt::Publish& publish, std::string_view& topic) {
    topic = publish.topic;
    if (publish.topic_alias == 0) return std::nullopt;
    if (publish.topic_alias > maximum_) {
      return mqtt::Violation{mqtt::ReasonCode::kTopicAliasInvalid, "MQTT5-3.2.2-17"};
    }
    if (names_.size() < publish.topic_alias) names_.resize(publish.topic_alias);
    std::string& name = names_[publish.topic_alias - 1u];
    if (!topic.empty()) {
      name.assign(topic);
      return std::nullopt;
    }
    if (name.empty()) return mqtt::Violation{mqtt::ReasonCode::kProtocolError, "MQTT5-3.3.4"};
    topic = name;
    return std::nullopt;
  }

 private:
  std::vector<std::string> names_;  // Index: alias − 1. At most `maximum_`, grown as they come.
  uint16_t maximum_;
};

// Ours towards one client: the topics sent last have an alias, the one unused for longest gives its
// alias up.
class OutboundTopicAliases {
 public:
  struct Use {
    uint16_t alias = 0;     // 0: send the topic without one.
    bool send_name = true;  // False: the client knows it, the alias alone will do.
  };

  // Never above the client's Topic Alias Maximum [MQTT5-3.1.2-26]; 0: none at all [MQTT5-3.1.2-27].
  explicit OutboundTopicAliases(uint16_t maximum) : maximum_(maximum) {}

  Use For(std::string_view topic) {
    if (maximum_ == 0 || topic.size() < kTopicBytesMin) return {};
    if (const auto it = places_.find(absl::string_view(topic.data(), topic.size()));
        it != places_.end()) {
      order_.splice(order_.begin(), order_, it->second);
      return {it->second->alias, false};
    }
    uint16_t alias;
    if (order_.size() < maximum_) {
      alias = static_cast<uint16_t>(order_.size() + 1);
    } else {
      alias = order_.back().alias;
      places_.erase(absl::string_view(order_.back().topic));
      order_.pop_back();
    }
    order_.push_front({std::string(topic), alias});
    places_.emplace(absl::string_view(order_.front().topic), order_.begin());
    return {alias, true};
  }

  // The packet with the name was not sent after all: the client does not know the alias.
  void Forget(std::string_view topic) {
    const auto it = places_.find(absl::string_view(topic.data(), topic.size()));
    if (it == places_.end()) return;
    // Keep the alias number in use by an entry nobody looks up, so that numbers stay dense.
    const auto place = it->second;
    places_.erase(it);
    place->topic.clear();
    order_.splice(order_.end(), order_, place);
  }

 private:
  static constexpr size_t kTopicBytesMin = 4;  // An alias costs three bytes.
  struct Entry {
    std::string topic;
    uint16_t alias;
  };
  std::list<Entry> order_;  // Used last first.
  absl::flat_hash_map<absl::string_view, std::list<Entry>::iterator>
      places_;  // Views of the entries' topics.
  uint16_t maximum_;
};

}  // namespace broker
#endif  // BROKER_CORE_TOPIC_ALIASES_H_
