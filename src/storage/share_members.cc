#include "storage/share_members.h"

#include <algorithm>
#include <utility>

#include "storage/core/absl_view.h"

namespace storage {

void ShareMembers::Change(const std::string& client_id, const SubscriptionRecord& subscription,
                          PartitionId partition, ShareMemberChange::State state) {
  Group& group = groups_[subscription.filter];
  const auto it = std::find_if(group.members.begin(), group.members.end(),
                               [&](const Member& member) { return member.client_id == client_id; });
  if (state != ShareMemberChange::State::kGone) {
    Member member{.partition = partition,
                  .client_id = client_id,
                  .subscription = subscription,
                  .connected = state == ShareMemberChange::State::kConnected};
    if (it == group.members.end()) {
      group.members.push_back(std::move(member));
      ++subscriptions_;
    } else {
      *it = std::move(member);
    }
    return;
  }
  if (it != group.members.end()) {
    group.members.erase(it);
    --subscriptions_;
  }
  if (group.members.empty()) groups_.erase(subscription.filter);
}

const ShareMembers::Member* ShareMembers::Choose(std::string_view share_filter) {
  const auto it = groups_.find(AbslView(share_filter));
  if (it == groups_.end()) return nullptr;
  Group& group = it->second;
  const size_t count = group.members.size();
  const size_t first = group.turn++ % count;
  for (size_t i = 0; i < count; ++i) {
    const Member& member = group.members[(first + i) % count];
    if (member.connected) return &member;
  }
  return &group.members[first];
}

}  // namespace storage
