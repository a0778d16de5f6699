#include "storage/leader/share_members.h"

#include <algorithm>
#include <utility>

#include "base/by_name.h"

namespace storage {

void ShareMembers::Group::Swap(size_t a, size_t b) {
  if (a == b) return;
  std::swap(members[a], members[b]);
  places[members[a].client_id] = a;
  places[members[b].client_id] = b;
}

// The member is one of the connected: it becomes the first of the others.
void ShareMembers::Group::Disconnect(size_t place) {
  Swap(place, --connected);
  members[connected].connected = false;
}

void ShareMembers::Change(const std::string& client_id, const SubscriptionRecord& subscription,
                          PartitionId partition, ShareMemberChange::State state) {
  using State = ShareMemberChange::State;
  const auto found = groups_.find(subscription.filter);
  if (found == groups_.end() && state == State::kGone) return;
  Group& group = found != groups_.end() ? found->second : groups_[subscription.filter];
  const auto member = group.places.find(client_id);
  if (member != group.places.end()) {
    if (member->second < group.connected) group.Disconnect(member->second);
    group.Swap(member->second, group.members.size() - 1);
    group.members.pop_back();
    group.places.erase(member);
    --subscriptions_;
  }
  if (state == State::kGone) {
    if (!group.members.empty()) return;
    groups_.erase(found);
    return;
  }
  group.places[client_id] = group.members.size();
  group.members.push_back({.partition = partition,
                           .client_id = client_id,
                           .subscription = subscription,
                           .connected = state == State::kConnected});
  ++subscriptions_;
  if (state == State::kConnected) group.Swap(group.members.size() - 1, group.connected++);
}

const ShareMembers::Member* ShareMembers::Choose(std::string_view share_filter,
                                                 absl::FunctionRef<bool(const Member&)> has_room) {
  const auto it = groups_.find(base::AbslView(share_filter));
  if (it == groups_.end()) return nullptr;
  Group& group = it->second;
  const auto choose = [&](size_t begin, size_t end) -> const Member* {
    for (size_t i = 0; i < std::min(end - begin, kAskedMax); ++i) {
      const Member& member = group.members[begin + group.turn++ % (end - begin)];
      if (has_room(member)) return &member;
    }
    return nullptr;
  };
  const Member* const connected = choose(0, group.connected);
  return connected != nullptr ? connected : choose(group.connected, group.members.size());
}

}  // namespace storage
