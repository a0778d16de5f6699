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
#include "base/memory_held.h"
#include "mqtt/packets.h"
#include "mqtt/types.h"

namespace broker {

// The client's aliases. Used on the connection's shard.
class InboundTopicAliases {
 public:
  InboundTopicAliases(uint16_t maximum, base::MemoryAccount& account)
      : held_(account, base::MemoryUse::kAliases), maximum_(maximum) {}

  // Sets `topic` to the Topic Name that is meant. A Violation if the alias is above what CONNACK
  // allowed [MQTT5-3.2.2-17], stands for nothing yet (0x82, §3.3.4), or is one whose name would
  // take more than `bytes_max` with the others (0x97).
  std::optional<mqtt::Violation> Resolve(const mqtt::Publish& publish, uint64_t bytes_max,
                                         std::string_view& topic) {
    topic = publish.topic;
    if (publish.topic_alias == 0) return std::nullopt;
    if (publish.topic_alias > maximum_) {
      return mqtt::Violation{mqtt::ReasonCode::kTopicAliasInvalid, "MQTT5-3.2.2-17"};
    }
    if (names_.size() < publish.topic_alias) names_.resize(publish.topic_alias);
    std::string& name = names_[publish.topic_alias - 1u];
    if (!topic.empty()) {
      if (topic.size() > name.size() && names_bytes_ - name.size() + topic.size() > bytes_max)
        return mqtt::Violation{mqtt::ReasonCode::kQuotaExceeded, "MQTT5-3.3.2.3.4"};
      names_bytes_ += topic.size() - name.size();
      if (name.capacity() > 2 * topic.size()) name = std::string();
      name.assign(topic);
      held_.Set(sizeof(*this) + names_.capacity() * sizeof(std::string) + names_bytes_);
      return std::nullopt;
    }
    if (name.empty()) return mqtt::Violation{mqtt::ReasonCode::kProtocolError, "MQTT5-3.3.4"};
    topic = name;
    return std::nullopt;
  }

  size_t held_bytes() const { return held_.bytes(); }

 private:
  std::vector<std::string> names_;  // Index: alias − 1. At most `maximum_`, grown as they come.
  uint64_t names_bytes_ = 0;        // Of all names.
  base::MemoryHeld held_;
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
  OutboundTopicAliases(uint16_t maximum, base::MemoryAccount& account)
      : held_(account, base::MemoryUse::kAliases), maximum_(maximum) {}

  Use For(std::string_view topic) {
    if (maximum_ == 0 || topic.size() < kTopicBytesMin || topic.size() > kTopicBytesMax) return {};
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
      names_bytes_ -= order_.back().topic.size();
      order_.pop_back();
    }
    order_.push_front({std::string(topic), alias});
    names_bytes_ += topic.size();
    held_.Set(sizeof(*this) + order_.size() * kEntryBytes + names_bytes_);
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
    names_bytes_ -= place->topic.size();
    place->topic = std::string();
    order_.splice(order_.end(), order_, place);
  }

  size_t held_bytes() const { return held_.bytes(); }

 private:
  static constexpr size_t kTopicBytesMin = 4;     // An alias costs three bytes.
  static constexpr size_t kTopicBytesMax = 1024;  // Longer names are rare, and dear to keep.
  static constexpr size_t kEntryBytes = 96;       // Its place in the list and in the map, about.
  struct Entry {
    std::string topic;
    uint16_t alias;
  };
  std::list<Entry> order_;  // Used last first.
  absl::flat_hash_map<absl::string_view, std::list<Entry>::iterator>
      places_;  // Views of the entries' topics.
  uint64_t names_bytes_ = 0;
  base::MemoryHeld held_;
  uint16_t maximum_;
};

}  // namespace broker
#endif  // BROKER_CORE_TOPIC_ALIASES_H_
