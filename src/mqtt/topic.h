// Topic Names, Topic Filters and how they match (§4.7), and Shared Subscriptions' filters (§4.8.2).
//
// A Topic Name says what a message is about; a Topic Filter says which Topic Names a subscription
// takes, and only it may have wildcards. Both are compared byte by byte: no normalisation
// [MQTT5-4.7.3-4], case counts, and an empty level is a level ("a//b" has three, "/" has two).
#ifndef MQTT_TOPIC_H_
#define MQTT_TOPIC_H_

#include <cstddef>
#include <optional>
#include <string_view>

#include "mqtt/types.h"

namespace mqtt {

inline constexpr size_t kTopicBytesMax = 65'535;  // [MQTT-4.7.3-3]

// Whether `name` may stand in PUBLISH, in a Will or as a Response Topic. It is not empty
// [MQTT-4.7.3-1], has no U+0000 [MQTT-4.7.3-2], at most 65,535 bytes, and no '+' or '#'
// [MQTT5-4.7.0-1] [MQTT311-4.7.1-1]. That it is UTF-8 is not checked here: see utf8.h.
bool IsValidTopicName(std::string_view name);

// Whether `filter` may stand in SUBSCRIBE or UNSUBSCRIBE: as above, but '#' is allowed as the whole
// last level [MQTT5-4.7.1-1] [MQTT311-4.7.1-2] and '+' as any whole level [MQTT5-4.7.1-2]
// [MQTT311-4.7.1-3]. Not aware of $share: `CheckTopicFilter` is.
bool IsValidTopicFilter(std::string_view filter);

// The same with the broken rule by name. The reason is 0x81: 0x8F and 0x90 are for what is well
// formed and yet not accepted (§3.14.2.1). For 5.0, a filter that begins with "$share/" must also
// be one of a Shared Subscription [MQTT5-4.8.2-1] [MQTT5-4.8.2-2].
std::optional<Violation> CheckTopicName(std::string_view name, Version version);
std::optional<Violation> CheckTopicFilter(std::string_view filter, Version version);

inline bool HasWildcard(std::string_view filter) {
  return filter.find('+') != std::string_view::npos || filter.find('#') != std::string_view::npos;
}

// Whether the Topic Name is among those the (valid, unshared) filter takes. A wildcard in the
// first level does not match a name that begins with '$' [MQTT-4.7.2-1]. "a/#" matches "a"
// (§4.7.1.2). Cost: one pass over both; no allocation.
bool Matches(std::string_view filter, std::string_view name);

// Levels, from left to right, separated by '/' (§4.7.1.1):
//   for (std::string_view level : Levels("a//b"))   // "a", "", "b"
// Always at least one level, so that Levels("") yields one empty one.
class Levels {
 public:
  class Iterator {
   public:
    std::string_view operator*() const { return level_; }
    Iterator& operator++() {
      if (done_after_this_) {
        at_end_ = true;
      } else {
        Take();
      }
      return *this;
    }
    // True on the last level, for '#' and for leaf work.
    bool is_last() const { return done_after_this_; }
    friend bool operator==(const Iterator& a, const Iterator& b) { return a.at_end_ == b.at_end_; }

   private:
    friend class Levels;
    Iterator() : at_end_(true) {}
    explicit Iterator(std::string_view text) : rest_(text) { Take(); }
    void Take() {
      const size_t slash = rest_.find('/');
      level_ = rest_.substr(0, slash);
      done_after_this_ = slash == std::string_view::npos;
      if (!done_after_this_) rest_.remove_prefix(slash + 1);
    }

    std::string_view rest_;
    std::string_view level_;
    bool done_after_this_ = false;
    bool at_end_ = false;
  };

  explicit Levels(std::string_view text) : text_(text) {}
  Iterator begin() const { return Iterator(text_); }
  Iterator end() const { return Iterator(); }

 private:
  std::string_view text_;
};

size_t LevelCount(std::string_view topic);

// What a server may refuse although it is well formed.
struct TopicLimits {
  size_t bytes_max = kTopicBytesMax;
  size_t levels_max = 128;
};
bool IsWithin(const TopicLimits& limits, std::string_view topic);

// "$share/ShareName/filter" (§4.8.2).
struct SharedFilter {
  std::string_view share_name;
  std::string_view filter;

  friend bool operator==(const SharedFilter&, const SharedFilter&) = default;
};

// True if the filter claims to be one of a Shared Subscription: it begins with "$share/".
inline bool IsShared(std::string_view filter) { return filter.substr(0, 7) == "$share/"; }

// The two parts. None if the filter is not shared, the ShareName is empty or has '+' or '#', or the
// filter behind it is empty [MQTT5-4.8.2-1] [MQTT5-4.8.2-2]. The filter's own wildcards are not
// checked. In 3.1.1 such a filter has no special meaning; whether a server gives it one is its
// choice.
std::optional<SharedFilter> ParseShared(std::string_view filter);

}  // namespace mqtt

#endif  // MQTT_TOPIC_H_
