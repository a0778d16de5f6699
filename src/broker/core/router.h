// Topic Name → where a message goes: sessions on this shard, other shards, partitions, `$share`
// groups.
#ifndef BROKER_CORE_ROUTER_H_
#define BROKER_CORE_ROUTER_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "base/by_name.h"
#include "base/named.h"
#include "broker/core/hashed_routes.h"
#include "broker/core/share_group.h"
#include "mqtt/filter_tree.h"
#include "mqtt/types.h"
#include "storage/core/partition_api.h"

namespace broker {

class Session;
using ShardMask = uint64_t;  // Bit `1 << shard`: at most 64 shards.
inline constexpr uint32_t kShardsMax = 64;
// Other nodes of the cluster, likewise, by the place that each has here: not its NodeId, for these
// are never used again. 0 on a node alone.
using NodeMask = uint64_t;
inline constexpr uint32_t kNodesMax = 64;

// What of a subscription concerns each delivery.
struct DeliveryOptions {
  mqtt::QoS qos = mqtt::QoS::kAtMostOnce;
  bool no_local = false;
  bool retain_as_published = false;
  bool durable = false;  // Of a durable session: messages above QoS 0 its partition delivers.
};

// One subscription of a session that is connected on this shard.
struct Subscriber {
  Session* session = nullptr;
  uint32_t subscription_id = 0;  // 0: none.
  DeliveryOptions options;

  friend bool operator==(const Subscriber& a, const Subscriber& b) {
    return a.session == b.session && a.subscription_id == b.subscription_id &&
           a.options.qos == b.options.qos && a.options.no_local == b.options.no_local &&
           a.options.retain_as_published == b.options.retain_as_published &&
           a.options.durable == b.options.durable;
  }
};
static_assert(sizeof(Subscriber) == 16);

// What a shard must be sent of a filter's messages, for the sessions connected there.
enum class Wanted : uint8_t {
  kNothing,
  kQos0,  // Only durable sessions subscribe: their partitions deliver the rest.
  kAll,
};

// A Topic Filter as other nodes tell of it: one without wildcards by its hash, which is enough to
// send there what may match, else its text.
struct FilterOfNode {
  uint64_t hash = 0;     // storage::StableHash of one without wildcards.
  std::string wildcard;  // Empty: it has none.

  static FilterOfNode Of(std::string_view filter);
};

// Valid until the router is called again: a change or another Find may reuse its place.
struct Match {
  // Of sessions here; those of one session stand together. A message goes to a session once, at the
  // highest QoS among them [MQTT5-3.3.4-2], with the identifiers of all [MQTT5-3.3.4-4]; those with
  // No Local do not count for the session's own.
  std::vector<Subscriber> subscribers;
  std::vector<ShareGroup*> groups;
  ShardMask shards = 0;       // All messages,
  ShardMask shards_qos0 = 0;  // or those of QoS 0.
  NodeMask nodes = 0;
  NodeMask nodes_qos0 = 0;
  NodeMask nodes_stale = 0;  // They may want more than is known, and so get all messages.
  storage::PartitionMask partitions = 0;

  ShardMask ShardsFor(mqtt::QoS qos) const {
    return qos == mqtt::QoS::kAtMostOnce ? shards | shards_qos0 : shards;
  }
  NodeMask NodesFor(mqtt::QoS qos) const {
    return nodes_stale | (qos == mqtt::QoS::kAtMostOnce ? nodes | nodes_qos0 : nodes);
  }
  bool empty() const {
    return subscribers.empty() && groups.empty() && (shards | shards_qos0) == 0 &&
           (nodes | nodes_qos0 | nodes_stale) == 0 && partitions == 0;
  }
};

// One filter's part of the router. Most have one subscriber and nothing else.
class Route {
 public:
  bool empty() const { return first_.session == nullptr && more_ == nullptr; }
  Wanted wanted() const;

  // Null: the session has no such subscription.
  Subscriber* Find(const Session* session);
  void Add(const Subscriber& subscriber);
  void Replace(Subscriber& known, const Subscriber& subscriber);
  void Remove(Subscriber& known);

  // What is not in every route; of a filter with wildcards also what others have.
  struct More {
    std::vector<Subscriber> others;  // Beyond the first one.
    // Of many: position in `others`.
    absl::flat_hash_map<const Session*, uint32_t> places;
    uint32_t wanting_all = 0;  // Of the first and the others.
    ShardMask shards = 0;
    ShardMask shards_qos0 = 0;
    NodeMask nodes = 0;
    NodeMask nodes_qos0 = 0;
    storage::PartitionMask partitions = 0;
    std::vector<ShareGroup*> groups;  // Each knows its place.

    bool empty() const {
      return others.empty() && (shards | shards_qos0 | nodes | nodes_qos0 | partitions) == 0 &&
             groups.empty();
    }
  };
  More& more();  // Made if there is none.
  const More* MoreIfAny() const { return more_.get(); }
  void Tidy() {
    if (more_ != nullptr && more_->empty()) more_.reset();
  }

  void AddTo(Match& match) const;

 private:
  static constexpr size_t kSearchedMax = 32;  // Of `others`; above, `places` says where one is.

  Subscriber first_;
  std::unique_ptr<More> more_;
};
// A filter: stays at its address while the router has it.
using RoutedFilter = base::Named<Route>;

// A budget: there is one for each exact subscription, and its text.
static_assert(sizeof(Route) == 24);

// Who of several with one Client Identifier: the durable session (none), or the transient one of
// this connection.
using ToldOf = std::optional<storage::ConnectionRef>;

// One shard's view. The shard is the only writer of its own subscriptions; what other shards and
// the partitions have is aggregated: a bit per filter, told by their announcements. Used on the
// shard's thread.
class Router {
 public:
  // `clustered`: there may be other nodes.
  explicit Router(size_t cached_topics_max, bool clustered = false)
      : cached_topics_max_(cached_topics_max), clustered_(clustered) {}
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  // What the shard wants of a filter's messages, before and after a change: the others are told.
  struct Change {
    Wanted before = Wanted::kNothing;
    Wanted after = Wanted::kNothing;
    const RoutedFilter* filter = nullptr;  // Of Add; stays there until it is removed.
    Subscriber former;                     // What the session had until now. No session: nothing.
    bool any() const { return before != after; }
  };

  // A plain filter of a session here. A second one of the same session replaces the first
  // [MQTT5-3.8.4-3] [MQTT311-3.8.4-3].
  Change Add(std::string_view filter, const Subscriber& subscriber);
  Change Remove(std::string_view filter, const Session* session);
  // Null: the session has no such subscription. Until the next change.
  const Subscriber* FindSubscriber(std::string_view filter, const Session* session);

  // What other shards and partitions have: each call is a change, they come in order. Those of
  // partitions are counted: a partition tells of its first subscription to a filter and of its
  // last, and beside it somebody may answer for one that is still being committed.
  void ChangeShard(std::string_view filter, storage::ShardId shard, Wanted before, Wanted after);
  void SetPartition(std::string_view filter, storage::PartitionId partition, bool present);

  // What other nodes of a cluster want, of all messages or (`wanted` is kQos0) only of those of QoS
  // 0: a set of filters for each, of which every change is told once. Cost of a change: a hash
  // look-up, and a sixtieth of the cached topics is looked up anew.
  void ChangeNode(const FilterOfNode& filter, uint32_t node, Wanted wanted, bool add);
  // It wants nothing. Cost: the number of filters that others have.
  void ForgetNode(uint32_t node);
  // What it wants is not known: it is sent everything.
  void SetNodeStale(uint32_t node, bool stale);

  // Members of `$share` groups, wherever they are. `filter` is "$share/group/filter". A durable
  // session and each connection of a transient one are members of their own, of which one has the
  // place that their Client Identifier gives: who came last. When it goes, who had the place before
  // has it again. Several have one identifier when clients are let in without a lease.
  void SetMember(std::string_view filter, ShareMember member);
  // A durable one.
  void RemoveMember(std::string_view filter, std::string_view client_id);
  // A transient one of this connection, as this node tells of it, or (`of_node`) another one.
  void RemoveMember(std::string_view filter, std::string_view client_id,
                    const storage::ConnectionRef& connection, storage::NodeId of_node = {});
  // Those that this node told of, but for those of its present telling. Cost: the number of members
  // that there are.
  void ForgetMembersOf(storage::NodeId node, std::optional<uint32_t> but_of_telling);
  // Cost: O(1), however many groups the filter has, and members the group.
  ShareGroup* FindGroup(std::string_view filter) const;
  // How many there are of the filter behind "$share/group/".
  size_t GroupsOf(std::string_view filter) const;
  // Access rules have changed: `renew` says what holds for a durable member's reader now.
  using RenewReader =
      absl::FunctionRef<std::shared_ptr<const ShareReader>(const storage::SessionUser&)>;
  void RenewReaders(RenewReader renew);
  // Members that every group passes over while another has room.
  FullClients& full_clients() { return full_clients_; }

  // A durable session's place in a group is being changed: until LetGoOfMember was called as often,
  // it is `member` (none: it has no place), whatever is told by SetMember and RemoveMember. What
  // they told last is true then, of a durable one without its `local`.
  void HoldMember(std::string_view filter, std::string_view client_id,
                  std::optional<ShareMember> member);
  void LetGoOfMember(std::string_view filter, std::string_view client_id);

  // Cost: a hash look-up if the topic was asked for since the last change that concerns it.
  const Match& Find(std::string_view topic);

  size_t filters() const { return tree_.size(); }  // Those that somebody here subscribes to.
  size_t routes_of_others() const {
    return shards_.size() + shards_qos0_.size() + nodes_.size() + nodes_qos0_.size() +
           partitions_.size();
  }
  uint64_t finds() const { return finds_; }
  uint64_t cache_misses() const { return cache_misses_; }

 private:
  // An answer is still right if no wildcard filter that might match its topic has changed: changes
  // are counted by the filter's first levels, as far as they are no wildcards.
  static constexpr size_t kPrefixLevels = 3;
  static constexpr size_t kPrefixes = 256;
  struct Cached {
    Match match;
    uint64_t changes = 0;  // As of when it was found; 0: to be found anew.
    // As far as `levels` goes; in a cluster the last one is a bit of the topic's hash, because an
    // exact filter of another node is known by its hash only.
    std::array<uint8_t, kPrefixLevels + 1> prefixes{};
    uint8_t levels = 0;
    bool used = false;
  };

  // Answers from before are wrong where the filter matches.
  void Invalidate(std::string_view filter);
  void InvalidateTopic(std::string_view topic);
  void InvalidateHash(uint64_t stable_hash);
  uint64_t ChangesOf(const Cached& cached) const;
  void NotePrefixes(std::string_view topic, Cached& cached) const;
  // Whether the topic was asked for not long ago.
  bool SeenBefore(size_t hash);
  Cached& Slot(std::string_view topic);

  // Of an exact filter: by hash. Of one with wildcards: in its route.
  void ChangeMask(std::string_view filter, HashedRoutes& exact, uint64_t Route::More::*mask,
                  uint32_t bit, bool present);
  void ChangeWildcard(std::string_view filter, uint64_t Route::More::*mask, uint32_t bit,
                      bool present);
  void PlaceMember(std::string_view filter, ShareMember member);
  void DisplaceMember(std::string_view filter, std::string_view client_id,
                      storage::NodeId of_node = {});
  struct HeldMember {
    uint32_t holds = 0;
    std::optional<ShareMember> told;
  };
  void RemoveToldOf(std::string_view filter, std::string_view client_id, storage::NodeId of_node,
                    const ToldOf& whose);
  // Null: it is not held.
  HeldMember* FindHeld(std::string_view filter, std::string_view client_id,
                       storage::NodeId of_node);
  // Who has the place by what was told. Null: nobody.
  const ShareMember* ToldMember(std::string_view filter, std::string_view client_id,
                                storage::NodeId of_node, const HeldMember* held) const;
  void ForgetReplaced(std::string_view filter, std::string_view client_id, storage::NodeId of_node,
                      const ToldOf& whose);
  // Who had the place before the present one, and waits for it no more.
  std::optional<ShareMember> TakeReplaced(std::string_view filter, std::string_view client_id,
                                          storage::NodeId of_node);
  // The member goes: who had its place before has it again.
  void GiveBackPlace(std::string_view filter, std::string_view client_id,
                     storage::NodeId of_node = {});
  void EraseIfEmpty(RoutedFilter& node);
  void Fill(std::string_view topic, size_t hash, Match& match) const;

  struct FilterOfGroup {
    std::string_view operator()(const std::unique_ptr<ShareGroup>& group) const {
      return group->filter();
    }
  };

  mqtt::FilterTree<Route> tree_;
  FullClients full_clients_;
  absl::flat_hash_set<std::unique_ptr<ShareGroup>, base::HashByName<FilterOfGroup>,
                      base::EqualByName<FilterOfGroup>>
      groups_;
  HashedRoutes shards_;
  HashedRoutes shards_qos0_;
  HashedRoutes nodes_;  // By StableHash, and so is the next.
  HashedRoutes nodes_qos0_;
  NodeMask stale_nodes_ = 0;
  HashedRoutes partitions_;
  // Of filters with wildcards: how much oftener than once the partition stands in the route.
  absl::flat_hash_map<std::pair<const RoutedFilter*, storage::PartitionId>, uint32_t>
      partition_repeats_;
  // By filter and Client Identifier.
  absl::flat_hash_map<std::pair<std::string, std::string>, HeldMember> held_members_;
  // Members whose place another one with their Client Identifier has taken, in that order; by
  // filter, Client Identifier and node. A transient one goes with its connection. A durable one,
  // which is without its `local` here, is one at most for each place.
  using PlaceOfMember = std::tuple<std::string, std::string, storage::NodeId>;
  std::map<PlaceOfMember, std::vector<ShareMember>> replaced_members_;

  // Topics pass into the cache when they are asked for a second time, once there are this many.
  static constexpr size_t kCachedAtOnce = 1024;
  const size_t cached_topics_max_;
  const bool clustered_;
  base::NamedSet<Cached> cache_;
  std::vector<base::Named<Cached>*> ring_;  // Clock eviction.
  size_t hand_ = 0;
  // The one asked for last, if it is in the cache: messages to a topic come several in a row.
  base::Named<Cached>* latest_ = nullptr;
  std::vector<uint16_t> seen_;  // A bit of the hash of topics asked for last, by another bit.
  Cached passing_;              // The answer for a topic that is not cached.
  uint64_t changes_anywhere_ = 1;
  std::array<std::array<uint64_t, kPrefixes>, kPrefixLevels + 1> changes_{};
  uint64_t finds_ = 0;
  uint64_t cache_misses_ = 0;
};

}  // namespace broker
#endif  // BROKER_CORE_ROUTER_H_
