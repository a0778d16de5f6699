#include "broker/core/router.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "mqtt/topic.h"

namespace broker {
namespace {

template <typename Mask>
Mask With(Mask mask, unsigned bit, bool present) {
  return present ? mask | Mask{1} << bit : mask & ~(Mask{1} << bit);
}

}  // namespace

Router::Change Router::Add(std::string_view filter, const Subscriber& subscriber) {
  Entry& entry = tree_.Insert(filter).value;
  Invalidate(filter);
  for (Subscriber& known : entry.subscribers) {
    if (known.session != subscriber.session) continue;
    known = subscriber;
    return Change::kNone;
  }
  entry.subscribers.push_back(subscriber);
  return entry.subscribers.size() == 1 ? Change::kFirst : Change::kNone;
}

Router::Change Router::Remove(std::string_view filter, const Session* session) {
  auto* const node = tree_.Find(filter);
  if (node == nullptr) return Change::kNone;
  auto& subscribers = node->value.subscribers;
  const auto it = std::find_if(subscribers.begin(), subscribers.end(),
                               [&](const Subscriber& known) { return known.session == session; });
  if (it == subscribers.end()) return Change::kNone;
  Invalidate(filter);
  // Order among subscribers means nothing: fill the gap with the last one.
  *it = subscribers.back();
  subscribers.pop_back();
  const Change change = subscribers.empty() ? Change::kLast : Change::kNone;
  EraseIfEmpty(filter, node->value);
  return change;
}

void Router::SetShard(std::string_view filter, storage::ShardId shard, bool present) {
  Entry& entry = tree_.Insert(filter).value;
  entry.shards = With(entry.shards, shard, present);
  Invalidate(filter);
  EraseIfEmpty(filter, entry);
}

void Router::SetNode(std::string_view filter, uint32_t node, bool present) {
  Entry& entry = tree_.Insert(filter).value;
  entry.nodes = With(entry.nodes, node, present);
  Invalidate(filter);
  EraseIfEmpty(filter, entry);
}

void Router::SetPartition(std::string_view filter, storage::PartitionId partition, bool present) {
  Entry& entry = tree_.Insert(filter).value;
  entry.partitions = With(entry.partitions, partition, present);
  Invalidate(filter);
  EraseIfEmpty(filter, entry);
}

void Router::SetMember(std::string_view filter, ShareMember member) {
  const auto shared = mqtt::ParseShared(filter);
  CHECK(shared.has_value()) << "a shared filter is checked when it is subscribed";
  Entry& entry = tree_.Insert(shared->filter).value;
  Invalidate(shared->filter);
  for (const auto& group : entry.groups) {
    if (group->filter() == filter) return group->Set(std::move(member));
  }
  entry.groups.push_back(std::make_unique<ShareGroup>(std::string(filter)));
  entry.groups.back()->Set(std::move(member));
}

void Router::RemoveMember(std::string_view filter, std::string_view client_id) {
  const auto shared = mqtt::ParseShared(filter);
  auto* const node = shared.has_value() ? tree_.Find(shared->filter) : nullptr;
  if (node == nullptr) return;
  Invalidate(shared->filter);
  std::erase_if(node->value.groups, [&](const std::unique_ptr<ShareGroup>& group) {
    if (group->filter() != filter) return false;
    group->Remove(client_id);
    return group->empty();
  });
  EraseIfEmpty(shared->filter, node->value);
}

ShareGroup* Router::FindGroup(std::string_view filter) {
  const auto shared = mqtt::ParseShared(filter);
  auto* const node = shared.has_value() ? tree_.Find(shared->filter) : nullptr;
  if (node == nullptr) return nullptr;
  for (const auto& group : node->value.groups) {
    if (group->filter() == filter) return group.get();
  }
  return nullptr;
}

const Match& Router::Find(std::string_view topic) {
  Cached& cached = Slot(topic);
  cached.used = true;
  ++finds_;
  if (cached.epoch == epoch_) return cached.match;
  ++cache_misses_;
  cached.match = Match();
  Fill(topic, cached.match);
  cached.epoch = epoch_;
  return cached.match;
}

Router::Cached& Router::Slot(std::string_view topic) {
  if (const auto it = cache_.find(AbslView(topic)); it != cache_.end()) return *ring_[it->second];
  size_t place = ring_.size();
  if (place < cached_topics_max_ || ring_.empty()) {
    ring_.push_back(std::make_unique<Cached>());
  } else {
    while (ring_[hand_]->used) {
      ring_[hand_]->used = false;
      hand_ = (hand_ + 1) % ring_.size();
    }
    place = hand_;
    hand_ = (hand_ + 1) % ring_.size();
    cache_.erase(absl::string_view(ring_[place]->topic));
  }
  Cached& cached = *ring_[place];
  cached.topic.assign(topic);
  cached.epoch = 0;
  cache_.emplace(absl::string_view(cached.topic), place);
  return cached;
}

void Router::Invalidate(std::string_view filter) {
  if (FilterTree<Entry>::IsWildcard(filter)) {
    ++epoch_;
    return;
  }
  if (const auto it = cache_.find(AbslView(filter)); it != cache_.end())
    ring_[it->second]->epoch = 0;
}

void Router::EraseIfEmpty(std::string_view filter, const Entry& entry) {
  if (entry.empty()) tree_.Erase(std::string(filter));  // A copy: `filter` may view the node.
}

void Router::Fill(std::string_view topic, Match& match) const {
  absl::flat_hash_map<const Session*, size_t> places;
  size_t filters = 0;
  tree_.ForEachMatch(topic, [&](FilterTree<Entry>::Node& node) {
    const Entry& entry = node.value;
    match.shards |= entry.shards;
    match.nodes |= entry.nodes;
    match.partitions |= entry.partitions;
    for (const auto& group : entry.groups) match.groups.push_back(group.get());
    // Sessions meet again only from the second filter on.
    const bool may_repeat = filters++ > 0;
    if (may_repeat && places.empty()) {
      for (size_t i = 0; i < match.targets.size(); ++i) places.emplace(match.targets[i].session, i);
    }
    for (const Subscriber& subscriber : entry.subscribers) {
      if (may_repeat) {
        const auto [it, is_new] = places.emplace(subscriber.session, match.targets.size());
        if (!is_new) {
          match.targets[it->second].subscriptions.push_back(subscriber);
          continue;
        }
      }
      match.targets.push_back({subscriber.session, {subscriber}});
    }
  });
}

}  // namespace broker
