// Requests and events with random fields, and what is in them as text.
#ifndef TESTS_CLUSTER_CORE_TRAFFIC_VALUES_H_
#define TESTS_CLUSTER_CORE_TRAFFIC_VALUES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "cluster/core/traffic_fields.h"
#include "mqtt/message.h"
#include "storage/core/message_codec.h"

namespace cluster {

template <typename Value>
inline constexpr bool kIsStrong = requires {
  typename Value::rep;
};

template <typename Value>
inline constexpr bool kIsList = requires(Value value) {
  value.emplace_back();
}
&&!std::is_same_v<Value, std::string>;

// Fills fields; each is left empty now and then.
class Filling {
 public:
  explicit Filling(base::Rng& rng) : rng_(rng) {}

  template <typename Value>
  void operator()(uint32_t /*number*/, Value& value) {
    Fill(value);
  }

 private:
  uint64_t Some() { return rng_.Chance(0.25) ? 0 : rng_() >> rng_.Below(64); }
  std::string Text() {
    std::string text(rng_.Chance(0.2) ? 0 : rng_.Below(300), '\0');
    for (char& c : text) c = static_cast<char>(rng_.Below(256));
    return text;
  }

  void Fill(std::string& text) { text = Text(); }
  void Fill(bool& flag) { flag = rng_.Chance(0.5); }
  void Fill(std::vector<bool>& flags) {
    for (uint64_t i = rng_.Below(4); i > 0; --i) flags.push_back(rng_.Chance(0.5));
  }
  void Fill(mqtt::QoS& qos) { qos = static_cast<mqtt::QoS>(rng_.Below(3)); }
  void Fill(mqtt::Version& version) { version = static_cast<mqtt::Version>(rng_.Below(6)); }
  void Fill(storage::CloseCause& cause) { cause = static_cast<storage::CloseCause>(rng_.Below(4)); }
  void Fill(storage::OutboxDone::Fate& fate) {
    fate = static_cast<storage::OutboxDone::Fate>(rng_.Below(4));
  }
  void Fill(storage::AckKind& kind) { kind = static_cast<storage::AckKind>(rng_.Below(3)); }
  void Fill(storage::OpenRefusal& refusal) {
    refusal = static_cast<storage::OpenRefusal>(rng_.Below(7));
  }
  void Fill(storage::ShareMemberChange::State& state) {
    state = static_cast<storage::ShareMemberChange::State>(rng_.Below(3));
  }
  void Fill(mqtt::SubscriptionOptions& options) {
    options = {.qos = static_cast<mqtt::QoS>(rng_.Below(3)),
               .no_local = rng_.Chance(0.5),
               .retain_as_published = rng_.Chance(0.5),
               .retain_handling = static_cast<mqtt::RetainHandling>(rng_.Below(3))};
  }
  void Fill(absl::Status& status) {
    status = absl::Status(static_cast<absl::StatusCode>(rng_.Below(17)), Text());
  }
  void Fill(mqtt::MessagePtr& message) {
    if (rng_.Chance(0.2)) return;
    const std::string topic = "t" + Text();
    const std::string payload = Text();
    mqtt::MessageParts parts;
    parts.topic = topic;
    parts.payload = payload;
    message = mqtt::Message::Create(parts);
  }
  void Fill(std::shared_ptr<const std::vector<std::string>>& filters) {
    auto some = std::make_shared<std::vector<std::string>>();
    for (uint64_t i = rng_.Below(4); i > 0; --i) some->push_back(Text());
    if (!some->empty()) filters = std::move(some);
  }
  template <typename Value>
  void Fill(std::optional<Value>& value) {
    if (rng_.Chance(0.7)) Fill(value.emplace());
  }
  template <typename Value>
  void Fill(Value& value) {
    if constexpr (std::is_unsigned_v<Value>) {
      value = static_cast<Value>(Some());
    } else if constexpr (kIsStrong<Value>) {
      value = Value(static_cast<typename Value::rep>(Some()));
    } else if constexpr (kIsList<Value>) {
      for (uint64_t i = rng_.Below(4); i > 0; --i) {
        auto& element = value.emplace_back();
        Fill(element);
        if constexpr (std::is_same_v<typename Value::value_type, mqtt::MessagePtr>) {
          while (!element) Fill(element);
        }
      }
    } else {
      traffic::Fields(*this, value);
    }
  }

  base::Rng& rng_;
};

// Everything that is in a value.
class Telling {
 public:
  template <typename Value>
  void operator()(uint32_t number, const Value& value) {
    absl::StrAppend(&text, number, ":");
    Tell(value);
    text += ' ';
  }

  std::string text;

 private:
  void Tell(const std::string& it) { absl::StrAppend(&text, "'", it, "'"); }
  void Tell(const std::vector<bool>& flags) {
    for (const bool flag : flags) text += flag ? '1' : '0';
  }
  void Tell(const mqtt::SubscriptionOptions& options) { absl::StrAppend(&text, options.ToByte()); }
  void Tell(const absl::Status& status) { absl::StrAppend(&text, status.ToString()); }
  void Tell(const mqtt::MessagePtr& message) {
    text += !message ? "none" : storage::EncodeStoredMessage(*message);
  }
  void Tell(const std::shared_ptr<const std::vector<std::string>>& filters) {
    if (filters != nullptr) Tell(*filters);
  }
  template <typename Value>
  void Tell(const std::optional<Value>& value) {
    value.has_value() ? Tell(*value) : void(text += "none");
  }
  template <typename Value>
  void Tell(const Value& value) {
    if constexpr (std::is_unsigned_v<Value> || std::is_enum_v<Value>) {
      absl::StrAppend(&text, static_cast<uint64_t>(value));
    } else if constexpr (kIsStrong<Value>) {
      absl::StrAppend(&text, value.value());
    } else if constexpr (kIsList<Value>) {
      for (const auto& element : value) {
        text += '[';
        Tell(element);
        text += ']';
      }
    } else {
      text += '{';
      traffic::Fields(*this, value);
      text += '}';
    }
  }
};

template <typename Value>
std::string TextOf(const Value& value) {
  Telling telling;
  traffic::Fields(telling, value);
  return telling.text;
}

}  // namespace cluster

#endif  // TESTS_CLUSTER_CORE_TRAFFIC_VALUES_H_
