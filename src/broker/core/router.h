// Topic Name → where a message goes: sessions on this shard, other shards, partitions, `$share`
// groups.
#ifndef BROKER_CORE_ROUTER_H_
#define BROKER_CORE_ROUTER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "broker/core/filter_tree.h"
#include "broker/core/share_group.h"
#include "mqtt/types.h"
#include "storage/core/partition_api.h"

namespace broker {

class Session;
using ShardMask = uint64_t;  // Bit `1 << shard`: at most 64 shards.
inline constexpr uint32_t kShardsMax = 64;
using NodeMask = uint64_t;  // Other nodes of the cluster, likewise; 0 on a node alone.

// One subscription of a session that is connected on this shard.
struct Subscriber {
  Session* session = nullptr;
  uint32_t subscription_id = 0;  // 0: none.
  mqtt::SubscriptionOptions options;
};

// All subscriptions of one session that match a topic. A message goes to the session once, at the
// highest QoS among them [MQTT5-3.3.4-2], with the identifiers of all [MQTT5-3.3.4-4]; those with
// No Local do not count for the session's own.
struct Target {
  Session* session = nullptr;
  absl::InlinedVector<Subscriber, 1> subscriptions;
};

// Valid until the router is called again: a change or another Find may reuse its place.
struct Match {
  std::vector<Target> targets;
  std::vector<ShareGroup*> groups;
  ShardMask shards = 0;
  NodeMask nodes = 0;
  storage::PartitionMask partitions = 0;

  bool empty() const {
    return targets.empty() && groups.empty() && shards == 0 && nodes == 0 && partitions == 0;
  }
};

// One shard's view. The shard is the only writer of its own subscriptions; what other shards and
// the partitions have is aggregated: a bit per filter, told by RouteChange. Used on the shard's
// thread.
class Router {
 public:
  explicit Router(size_t cached_topics_max) : cached_topics_max_(cached_topics_max) {}
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  enum class Change : uint8_t { kNone, kFirst, kLast };

  // A plain filter of a session here. kFirst: the shard had no such filter, tell the others. A
  // second one of the same session replaces the first [MQTT5-3.8.4-3] [MQTT311-3.8.4-3].
  Change Add(std::string_view filter, const Subscriber& subscriber);
  // kLast: the shard has no such filter any more.
  Change Remove(std::string_view filter, const Session* session);

  // What other shards and partitions have.
  void SetShard(std::string_view filter, storage::ShardId shard, bool present);
  void SetNode(std::string_view filter, uint32_t node, bool present);
  void SetPartition(std::string_view filter, storage::PartitionId partition, bool present);

  // Members of `$share` groups, wherever they are. `filter` is "$share/group/filter".
  void SetMember(std::string_view filter, ShareMember member);
  void RemoveMember(std::string_view filter, std::string_view client_id);
  ShareGroup* FindGroup(std::string_view filter);

  // Cost: a hash look-up if the topic was asked for since the last change that concerns it.
  const Match& Find(std::string_view topic);

  size_t filters() const { return tree_.size(); }
  uint64_t finds() const { return finds_; }
  uint64_t cache_misses() const { return cache_misses_; }

 private:
  struct Entry {
    absl::InlinedVector<Subscriber, 1> subscribers;
    ShardMask shards = 0;
    NodeMask nodes = 0;
    storage::PartitionMask partitions = 0;
    std::vector<std::unique_ptr<ShareGroup>> groups;
    bool empty() const {
      return subscribers.empty() && shards == 0 && nodes == 0 && partitions == 0 && groups.empty();
    }
  };
  struct Cached {
    std::string topic;
    Match match;
    uint64_t epoch = 0;
    bool used = false;
  };

  // Answers from before are wrong where the filter matches.
  void Invalidate(std::string_view filter);
  void EraseIfEmpty(std::string_view filter, const Entry& entry);
  void Fill(std::string_view topic, Match& match) const;
  Cached& Slot(std::string_view topic);

  FilterTree<Entry> tree_;
  const size_t cached_topics_max_;
  absl::flat_hash_map<absl::string_view, size_t>
      cache_;  // Topic (a view of Cached::topic) → place in the ring.
  std::vector<std::unique_ptr<Cached>> ring_;  // Clock eviction.
  size_t hand_ = 0;
  uint64_t epoch_ = 1;  // Counts changes of wildcards; an exact filter spoils one topic only.
  uint64_t finds_ = 0;
  uint64_t cache_misses_ = 0;
};

}  // namespace broker
#endif  // BROKER_CORE_ROUTER_H_
