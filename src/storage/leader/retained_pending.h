// Retained messages that are on their way into the store.
#ifndef STORAGE_LEADER_RETAINED_PENDING_H_
#define STORAGE_LEADER_RETAINED_PENDING_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "base/by_name.h"
#include "mqtt/message.h"
#include "storage/core/partition_api.h"

namespace storage {

// A retained message that was proposed. No payload: it removes.
struct RetainedSet {
  uint64_t bytes = 0;
  PartitionMask partitions = 0;  // That get the same message into their queues.
  mqtt::MessagePtr message;

  bool removes() const { return message->payload().empty(); }
};

// Of all that was proposed and is not applied. Bounded by what publishers may have unanswered.
class RetainedPending {
 public:
  struct Room {
    uint64_t messages = 0;
    uint64_t bytes = 0;
  };

  void Add(const RetainedSet& set) {
    Topic& topic = topics_[base::AbslView(set.message->topic())];
    ++topic.sets;
    topic.last = set;
    if (set.removes()) return;
    ++taken_.messages;
    taken_.bytes += set.bytes;
  }

  // It is applied, or never will be.
  void Remove(const RetainedSet& set) {
    const auto found = topics_.find(base::AbslView(set.message->topic()));
    if (--found->second.sets == 0) topics_.erase(found);
    if (set.removes()) return;
    --taken_.messages;
    taken_.bytes -= set.bytes;
  }

  bool empty() const { return topics_.empty(); }

  // What will be retained for the topic; null: nothing is on its way.
  const RetainedSet* Find(std::string_view topic) const {
    const auto found = topics_.find(base::AbslView(topic));
    return found == topics_.end() ? nullptr : &found->second.last;
  }

  // What the partitions may need beyond what they have. Each counts in full, also where it replaces
  // another: so whatever is removed meanwhile, there is room for all that was promised it.
  const Room& taken() const { return taken_; }

 private:
  struct Topic {
    uint32_t sets = 0;
    RetainedSet last;
  };
  absl::flat_hash_map<std::string, Topic> topics_;
  Room taken_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_RETAINED_PENDING_H_
