// Durable members of `$share` groups: for messages that the host itself publishes.
#ifndef STORAGE_LEADER_SHARE_MEMBERS_H_
#define STORAGE_LEADER_SHARE_MEMBERS_H_

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "storage/core/partition_api.h"
#include "storage/core/session.h"
#include "storage/core/subscription_index.h"

namespace storage {

class ShareMembers {
 public:
  struct Member {
    PartitionId partition = 0;
    std::string client_id;
    SubscriptionRecord subscription;
    bool connected = false;
  };

  // As told by a partition; the state of a member replaces its former one. Cost: O(1), however many
  // members the group has.
  void Change(const std::string& client_id, const SubscriptionRecord& subscription,
              PartitionId partition, ShareMemberChange::State state);

  // One member of the group that `has_room`: in turn, connected ones first. Null: none of those
  // asked, which are not more than kAskedMax of each kind; a shard knows all.
  static constexpr size_t kAskedMax = 16;
  const Member* Choose(std::string_view share_filter,
                       absl::FunctionRef<bool(const Member&)> has_room);

  // Whether there is a group that takes the topic.
  bool AnyFor(std::string_view topic) const;

  size_t subscriptions() const { return subscriptions_; }

 private:
  // Connected members stand first.
  struct Group {
    SessionSubscription in_index;  // Under the filter behind "$share/group/".
    std::vector<Member> members;
    absl::flat_hash_map<std::string, size_t> places;  // In `members`, by Client Identifier.
    size_t connected = 0;
    size_t turn = 0;

    void Swap(size_t a, size_t b);
    void Disconnect(size_t place);
  };
  Group& AddGroup(const std::string& share_filter);

  absl::flat_hash_map<std::string, std::unique_ptr<Group>> groups_;
  SubscriptionIndex index_;
  size_t subscriptions_ = 0;
};

}  // namespace storage

#endif  // STORAGE_LEADER_SHARE_MEMBERS_H_
