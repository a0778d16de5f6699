// Shared Subscriptions: who of a `$share` group gets a message (§4.8.2).
#ifndef BROKER_CORE_SHARE_GROUP_H_
#define BROKER_CORE_SHARE_GROUP_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "broker/core/limits.h"
#include "mqtt/types.h"
#include "storage/core/partition_api.h"

namespace broker {

class Session;

// A session's place in a group, as one shard sees it. Every shard knows all members of all groups.
struct ShareMember {
  std::string client_id;
  bool durable = false;
  bool connected = true;
  storage::PartitionId partition = 0;  // Of a durable one.
  storage::ConnectionRef connection;   // While connected.
  Session* local = nullptr;            // If the connection is on this shard.
  mqtt::SubscriptionOptions options;
  uint32_t subscription_id = 0;
  // How often this shard chose it since a member was added: what it can know of a remote member's
  // load.
  uint64_t chosen = 0;
};

// The members of "$share/group/filter". Part of one shard's router, used on its thread.
class ShareGroup {
 public:
  explicit ShareGroup(std::string filter) : filter_(std::move(filter)) {}

  const std::string& filter() const { return filter_; }  // "$share/group/filter"
  bool empty() const { return members_.empty(); }
  const std::vector<ShareMember>& members() const { return members_; }

  // Adds a member or replaces it.
  void Set(ShareMember member);
  void Remove(std::string_view client_id);
  // The member's session is on this shard, and stays until Detach.
  void Attach(std::string_view client_id, const storage::ConnectionRef& connection,
              Session* session);
  // The connection is gone from this shard: its member, if it stays, is reached through the host.
  void Detach(const Session* session);

  struct Question {
    ShareStrategy strategy = ShareStrategy::kRoundRobin;
    std::string_view topic;
    std::string_view publisher;
  };
  // One member that `accept(const ShareMember&)` takes, connected ones before offline ones; null if
  // there is none. A refused candidate only passes its turn on. Cost: O(members) in the worst case.
  template <typename Accept>
  ShareMember* Choose(const Question& question, base::Rng& rng, Accept&& accept) {
    for (const bool connected : {true, false}) {
      const size_t first = First(question, rng);
      for (size_t i = 0; i < members_.size(); ++i) {
        ShareMember& member = members_[(first + i) % members_.size()];
        if (member.connected != connected || !accept(static_cast<const ShareMember&>(member)))
          continue;
        Took(question.strategy, (first + i) % members_.size());
        return &member;
      }
    }
    return nullptr;
  }

 private:
  // Where the member is, or would be.
  std::vector<ShareMember>::iterator PlaceOf(std::string_view client_id);
  size_t First(const Question& question, base::Rng& rng) const;
  void Took(ShareStrategy strategy, size_t index);

  std::string filter_;
  std::vector<ShareMember>
      members_;      // By Client Identifier, so that all shards agree about hashes.
  size_t next_ = 0;  // Round robin's next, sticky's present.
};

}  // namespace broker
#endif  // BROKER_CORE_SHARE_GROUP_H_
