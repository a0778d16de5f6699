// Durable members of `$share` groups: for a message whose member has no room.
#ifndef STORAGE_LEADER_SHARE_MEMBERS_H_
#define STORAGE_LEADER_SHARE_MEMBERS_H_

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "storage/core/partition_api.h"
#include "storage/core/session.h"

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

  size_t subscriptions() const { return subscriptions_; }

 private:
  // Connected members stand first.
  struct Group {
    std::vector<Member> members;
    absl::flat_hash_map<std::string, size_t> places;  // In `members`, by Client Identifier.
    size_t connected = 0;
    size_t turn = 0;

    void Swap(size_t a, size_t b);
    void Disconnect(size_t place);
  };

  absl::flat_hash_map<std::string, Group> groups_;
  size_t subscriptions_ = 0;
};

}  // namespace storage

#endif  // STORAGE_LEADER_SHARE_MEMBERS_H_
