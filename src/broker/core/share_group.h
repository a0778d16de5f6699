// Shared Subscriptions: who of a `$share` group gets a message (§4.8.2).
#ifndef BROKER_CORE_SHARE_GROUP_H_
#define BROKER_CORE_SHARE_GROUP_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/container/inlined_vector.h"
#include "auth/core/permissions.h"
#include "base/by_name.h"
#include "base/rng.h"
#include "base/text.h"
#include "broker/core/limits.h"
#include "mqtt/frame.h"
#include "mqtt/types.h"
#include "storage/core/partition_api.h"

namespace broker {

class Session;
class ShareGroup;

// Whose a durable member's session is, and what the access rules let them have. Replaced, never
// changed.
struct ShareReader {
  storage::SessionUser user;
  std::shared_ptr<const auth::Permissions> permissions;  // Null: no such account any more.
};

// A session's place in a group, as one shard sees it. Every shard knows all members of all groups.
struct ShareMember {
  std::string client_id;
  bool durable = false;
  bool connected = true;
  storage::PartitionId partition = 0;  // Of a durable one.
  // What its client takes [MQTT5-3.1.2-24]; of an offline one nobody knows.
  uint32_t packet_size_max = mqtt::kPacketSizeMax;
  storage::ConnectionRef connection;  // While connected.
  // Of a transient one on another node, which tells of it; else none. Two nodes may tell of one
  // Client Identifier for a moment, in any order: then these are two members.
  storage::NodeId of_node;
  uint32_t telling = 0;      // Of that node's members, in which it was told of last.
  Session* local = nullptr;  // If the connection is on this shard: it knows its rights.
  std::shared_ptr<const ShareReader> reader;  // Of a durable one.
  mqtt::SubscriptionOptions options;
  uint32_t subscription_id = 0;
};

// Clients whose queue has no room, as far as this shard has been told, and the groups that pass
// them over. Part of one shard's router.
class FullClients {
 public:
  bool empty() const { return groups_.empty(); }
  bool Contains(std::string_view client_id) const {
    return !groups_.empty() && groups_.contains(base::AbslView(client_id));
  }
  // The client has no room (any more), or has room again.
  void Add(std::string_view client_id) { groups_.try_emplace(base::AbslView(client_id)); }
  void Remove(std::string_view client_id);

 private:
  friend class ShareGroup;
  absl::flat_hash_map<std::string, absl::flat_hash_set<ShareGroup*>> groups_;
};

// The members of "$share/group/filter". Part of one shard's router, used on its thread.
//
// Members stand in pools, by whether a message can be theirs: connected, away (a durable session
// without a connection), or full. Whoever comes, goes or changes its pool costs O(1), and so does a
// choice: it looks only into the pools that may have somebody.
class ShareGroup {
 public:
  ShareGroup(std::string_view filter, FullClients& full) : filter_(filter), full_(full) {}
  ~ShareGroup();
  ShareGroup(const ShareGroup&) = delete;
  ShareGroup& operator=(const ShareGroup&) = delete;

  std::string_view filter() const { return filter_; }  // "$share/group/filter"
  bool empty() const { return members_.empty(); }
  size_t size() const { return members_.size(); }
  // Null: not a member.
  const ShareMember* Find(std::string_view client_id, storage::NodeId of_node = {}) const;
  template <typename Visit>
  void ForEachMember(Visit&& visit) const {
    for (const auto& member : members_) visit(static_cast<const ShareMember&>(*member));
  }

  // Adds a member or replaces it.
  void Set(ShareMember member);
  void Remove(std::string_view client_id, storage::NodeId of_node = {});
  // Access rules have changed: `renew` says what holds for the reader now.
  template <typename Renew>
  void RenewReaders(Renew&& renew) {
    for (const auto& member : members_) {
      if (member->reader != nullptr) member->reader = renew(member->reader->user);
    }
  }
  // The member's session is on this shard, and stays until Detach.
  void Attach(std::string_view client_id, const storage::ConnectionRef& connection,
              Session* session);
  // The connection is gone from this shard: its member, if it stays, is reached through the host.
  void Detach(std::string_view client_id, const Session* session);

  struct Question {
    ShareStrategy strategy = ShareStrategy::kRoundRobin;
    std::string_view topic;
    std::string_view publisher;
    mqtt::QoS qos = mqtt::QoS::kAtMostOnce;  // QoS 0 is kept for nobody who is away.
  };
  // Whether a candidate takes the message.
  enum class Verdict : uint8_t {
    kTakes,
    kPasses,       // Not this message.
    kWithoutRoom,  // Nor any other: it is full, until FullClients::Remove.
  };
  // How a candidate is asked: first whether it can take the message; and, when nobody can, only
  // whether it may have it.
  enum class Asked : uint8_t { kForRoom, kRegardless };
  struct Choice {
    const ShareMember* member = nullptr;  // Null: there is none.
    bool regardless = false;              // Nobody can take it; this one may have it.
    bool full = false;                    // Some member is without room.
  };
  // One member that `accept(const ShareMember&, Asked)` takes: connected ones before those that are
  // away, and both before those without room. A refused candidate only passes its turn on.
  // Cost: O(1), by hash O(log members), and one more for each candidate that refuses.
  template <typename Accept>
  Choice Choose(const Question& question, base::Rng& rng, Accept&& accept) {
    absl::InlinedVector<Member*, 4> filled;
    const auto ask = [&](Member& member) {
      // Of those on other nodes it is not told.
      const bool full = member.of_node == storage::NodeId() && full_.Contains(member.client_id);
      const Verdict verdict = full ? Verdict::kWithoutRoom : accept(member, Asked::kForRoom);
      if (verdict == Verdict::kWithoutRoom) filled.push_back(&member);
      return verdict == Verdict::kTakes;
    };
    ++round_;
    Member* chosen = ChooseFrom(kConnected, question, rng, ask);
    if (chosen == nullptr && KeptFor(question)) chosen = ChooseFrom(kAway, question, rng, ask);
    for (Member* const member : filled) MoveToFull(*member);
    const bool full = !pools_[kFull].members.empty();
    if (chosen != nullptr) return {chosen, false, full};
    ++round_;
    const auto ask_all = [&](Member& member) {
      if (!member.connected && !KeptFor(question)) return false;
      return accept(member, Asked::kRegardless) == Verdict::kTakes;
    };
    for (const PoolName pool : {kConnected, kFull, kAway}) {
      chosen = ChooseFrom(pool, question, rng, ask_all);
      if (chosen != nullptr) return {chosen, true, full};
    }
    return {};
  }

 private:
  friend class FullClients;
  friend class Router;

  enum PoolName : uint8_t {
    kConnected,
    kAway,
    kFull,
    kPools,
    kNoPool,  // Away, and granted QoS 0: nothing is kept for it.
  };
  struct Member : ShareMember {
    explicit Member(ShareMember&& member) : ShareMember(std::move(member)) {}
    PoolName pool = kNoPool;
    uint32_t place = 0;  // In the pool.
    uint32_t asked = 0;  // The last round in which it was.
    // How often this shard chose it since the last member came, which `counted_since` tells: what
    // it can know of a remote member's load.
    uint32_t counted_since = 0;
    uint64_t chosen = 0;
  };
  // In no order; those before `next` have had their turn in this round, those behind it not.
  struct Pool {
    std::vector<Member*> members;
    uint32_t next = 0;

    void Add(Member& member);
    void Remove(const Member& member);
    void Put(Member* member, size_t place);
    void HadItsTurn(const Member& member);
  };
  // For choices by hash. Each member stands at several points of a circle, the same in every shard
  // and process: whoever comes or goes takes or leaves only what was its own.
  using Circle = absl::btree_multimap<uint64_t, Member*>;

  struct MemberKey {
    std::string_view client_id;
    storage::NodeId of_node;
    friend bool operator==(const MemberKey&, const MemberKey&) = default;
  };
  static MemberKey KeyOf(const MemberKey& key) { return key; }
  static MemberKey KeyOf(const std::unique_ptr<Member>& member) {
    return {member->client_id, member->of_node};
  }
  struct HashOfMember {
    using is_transparent = void;
    template <typename Key>
    size_t operator()(const Key& key) const {
      return base::HashOfName(KeyOf(key).client_id);
    }
  };
  struct IsSameMember {
    using is_transparent = void;
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return KeyOf(a) == KeyOf(b);
    }
  };

  static bool KeptFor(const Question& question) { return question.qos != mqtt::QoS::kAtMostOnce; }
  static bool IsByHash(ShareStrategy strategy) {
    return strategy == ShareStrategy::kHashClient || strategy == ShareStrategy::kHashTopic;
  }

  template <typename Ask>
  Member* ChooseFrom(PoolName name, const Question& question, base::Rng& rng, Ask&& ask) {
    Pool& pool = pools_[name];
    const size_t size = pool.members.size();
    if (size == 0) return nullptr;
    if (IsByHash(question.strategy)) return ChooseByHash(name, question, ask);
    const size_t first = First(pool, question, rng);
    for (size_t i = 0; i < size; ++i) {
      Member& member = *pool.members[(first + i) % size];
      if (!ask(member)) continue;
      Took(question.strategy, member);
      return &member;
    }
    return nullptr;
  }
  template <typename Ask>
  Member* ChooseByHash(PoolName name, const Question& question, Ask&& ask) {
    const Circle& circle = CircleOf(name);
    auto it = circle.lower_bound(HashOf(question));
    for (size_t i = 0; i < circle.size(); ++i, ++it) {
      if (it == circle.end()) it = circle.begin();
      Member& member = *it->second;
      if (std::exchange(member.asked, round_) != round_ && ask(member)) return &member;
    }
    return nullptr;
  }

  Member* FindMember(std::string_view client_id, storage::NodeId of_node = {}) const;
  PoolName PoolOf(const Member& member) const;
  void Move(Member& member, PoolName to);
  void MoveToFull(Member& member);
  // The client has room again.
  void Readmit(std::string_view client_id);
  size_t First(const Pool& pool, const Question& question, base::Rng& rng) const;
  uint64_t Load(const Member& member) const;
  void Took(ShareStrategy strategy, Member& member);
  static uint64_t HashOf(const Question& question);
  const Circle& CircleOf(PoolName name);
  static void AddTo(Circle& circle, Member& member);
  static void RemoveFrom(Circle& circle, const Member& member);

  const base::Text filter_;
  FullClients& full_;
  absl::flat_hash_set<std::unique_ptr<Member>, HashOfMember, IsSameMember> members_;
  std::array<Pool, kPools> pools_;
  std::unique_ptr<std::array<Circle, kPools>> circles_;  // Null: nobody has asked by hash.
  const Member* stuck_to_ = nullptr;                     // Sticky's present one.
  uint32_t round_ = 0;                                   // Of choices.
  uint32_t last_joined_ = 0;                             // Counts members that came.
  uint32_t place_in_route_ = 0;                          // The router's.
};

}  // namespace broker
#endif  // BROKER_CORE_SHARE_GROUP_H_
