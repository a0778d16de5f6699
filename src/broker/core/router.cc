#include "broker/core/router.h"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <utility>

#include "base/by_name.h"
#include "base/check.h"
#include "mqtt/topic.h"
#include "storage/core/keys.h"

namespace broker {
namespace {

Wanted WantedBy(const Subscriber& subscriber) {
  return subscriber.options.durable ? Wanted::kQos0 : Wanted::kAll;
}

}  // namespace

// ---- Route

Wanted Route::wanted() const {
  if (first_.session == nullptr) return Wanted::kNothing;
  if (more_ == nullptr) return WantedBy(first_);
  return more_->wanting_all > 0 ? Wanted::kAll : Wanted::kQos0;
}

Subscriber* Route::Find(const Session* session) {
  if (first_.session == session) return &first_;
  if (more_ == nullptr) return nullptr;
  std::vector<Subscriber>& others = more_->others;
  if (!more_->places.empty()) {
    const auto it = more_->places.find(session);
    return it == more_->places.end() ? nullptr : &others[it->second];
  }
  const auto it = std::find_if(others.begin(), others.end(),
                               [&](const Subscriber& each) { return each.session == session; });
  return it == others.end() ? nullptr : &*it;
}

Route::More& Route::more() {
  if (more_ == nullptr) {
    more_ = std::make_unique<More>();
    more_->wanting_all = first_.session != nullptr && WantedBy(first_) == Wanted::kAll ? 1 : 0;
  }
  return *more_;
}

void Route::Add(const Subscriber& subscriber) {
  if (first_.session == nullptr) {
    first_ = subscriber;
  } else {
    More& more = this->more();
    more.others.push_back(subscriber);
    if (!more.places.empty()) {
      more.places[subscriber.session] = static_cast<uint32_t>(more.others.size() - 1);
    } else if (more.others.size() > kSearchedMax) {
      for (size_t i = 0; i < more.others.size(); ++i)
        more.places[more.others[i].session] = static_cast<uint32_t>(i);
    }
  }
  if (more_ != nullptr && WantedBy(subscriber) == Wanted::kAll) ++more_->wanting_all;
}

void Route::Replace(Subscriber& known, const Subscriber& subscriber) {
  if (more_ != nullptr) {
    if (WantedBy(known) == Wanted::kAll) --more_->wanting_all;
    if (WantedBy(subscriber) == Wanted::kAll) ++more_->wanting_all;
  }
  known = subscriber;
}

// Order among subscribers means nothing: the last one fills the gap.
void Route::Remove(Subscriber& known) {
  if (more_ == nullptr) {
    first_ = {};
    return;
  }
  if (WantedBy(known) == Wanted::kAll) --more_->wanting_all;
  std::vector<Subscriber>& others = more_->others;
  if (others.empty()) {
    first_ = {};
    return;
  }
  if (!more_->places.empty()) {
    more_->places.erase(known.session);
    more_->places.erase(others.back().session);
    if (&known != &first_ && &known != &others.back())
      more_->places[others.back().session] = static_cast<uint32_t>(&known - others.data());
  }
  known = others.back();
  others.pop_back();
  if (others.size() * 4 < others.capacity()) others.shrink_to_fit();
  Tidy();
}

void Route::AddTo(Match& match) const {
  if (first_.session != nullptr) match.subscribers.push_back(first_);
  if (more_ == nullptr) return;
  match.subscribers.insert(match.subscribers.end(), more_->others.begin(), more_->others.end());
  match.shards |= more_->shards;
  match.shards_qos0 |= more_->shards_qos0;
  match.nodes |= more_->nodes;
  match.nodes_qos0 |= more_->nodes_qos0;
  match.partitions |= more_->partitions;
  match.groups.insert(match.groups.end(), more_->groups.begin(), more_->groups.end());
}

// ---- Router: changes

Router::Change Router::Add(std::string_view filter, const Subscriber& subscriber) {
  RoutedFilter& node = tree_.Insert(filter);
  Route& route = node.value;
  Change change{.before = route.wanted(), .after = {}, .filter = &node, .former = {}};
  Subscriber* const known = route.Find(subscriber.session);
  if (known != nullptr) change.former = *known;
  if (known == nullptr) {
    route.Add(subscriber);
  } else if (*known != subscriber) {
    route.Replace(*known, subscriber);
  } else {
    change.after = change.before;
    return change;
  }
  change.after = route.wanted();
  Invalidate(filter);
  return change;
}

Router::Change Router::Remove(std::string_view filter, const Session* session) {
  auto* const node = tree_.Find(filter);
  if (node == nullptr) return {};
  Route& route = node->value;
  Change change{.before = route.wanted(), .after = route.wanted(), .former = {}};
  Subscriber* const known = route.Find(session);
  if (known == nullptr) return change;
  change.former = *known;
  Invalidate(filter);
  route.Remove(*known);
  change.after = route.wanted();
  EraseIfEmpty(*node);
  return change;
}

const Subscriber* Router::FindSubscriber(std::string_view filter, const Session* session) {
  auto* const node = tree_.Find(filter);
  return node == nullptr ? nullptr : node->value.Find(session);
}

void Router::ChangeMask(std::string_view filter, HashedRoutes& exact, uint64_t Route::More::*mask,
                        uint32_t bit, bool present) {
  if (!tree_.IsWildcard(filter)) {
    exact.Change(base::HashOfName(filter), bit, present);
    InvalidateTopic(filter);  // Whether or not that changed: another name may have the same hash.
    return;
  }
  ChangeWildcard(filter, mask, bit, present);
}

void Router::ChangeWildcard(std::string_view filter, uint64_t Route::More::*mask, uint32_t bit,
                            bool present) {
  auto* node = tree_.Find(filter);
  if (node == nullptr && !present) return;
  if (node == nullptr) node = &tree_.Insert(filter);
  uint64_t& bits = node->value.more().*mask;
  const uint64_t changed = present ? bits | uint64_t{1} << bit : bits & ~(uint64_t{1} << bit);
  if (bits != changed) Invalidate(filter);
  bits = changed;
  node->value.Tidy();
  EraseIfEmpty(*node);
}

void Router::ChangeShard(std::string_view filter, storage::ShardId shard, Wanted before,
                         Wanted after) {
  const auto change = [&](Wanted wanted, bool present) {
    if (wanted == Wanted::kAll) ChangeMask(filter, shards_, &Route::More::shards, shard, present);
    if (wanted == Wanted::kQos0)
      ChangeMask(filter, shards_qos0_, &Route::More::shards_qos0, shard, present);
  };
  change(after, true);
  change(before, false);
}

FilterOfNode FilterOfNode::Of(std::string_view filter) {
  if (mqtt::FilterTree<Route>::IsWildcard(filter)) return {.wildcard = std::string(filter)};
  return {.hash = storage::StableHash(filter)};
}

void Router::ChangeNode(const FilterOfNode& filter, uint32_t node, Wanted wanted, bool add) {
  const bool all = wanted == Wanted::kAll;
  if (!filter.wildcard.empty()) {
    return ChangeWildcard(filter.wildcard, all ? &Route::More::nodes : &Route::More::nodes_qos0,
                          node, add);
  }
  (all ? nodes_ : nodes_qos0_).Change(filter.hash, node, add);
  InvalidateHash(filter.hash);
}

void Router::ForgetNode(uint32_t node) {
  nodes_.Clear(node);
  nodes_qos0_.Clear(node);
  const NodeMask others = ~(NodeMask{1} << node);
  std::vector<std::string> empty;
  tree_.ForEach([&](RoutedFilter& filter) {
    if (filter.value.MoreIfAny() == nullptr) return;
    Route::More& more = filter.value.more();
    more.nodes &= others;
    more.nodes_qos0 &= others;
    filter.value.Tidy();
    if (filter.value.empty()) empty.emplace_back(filter.name());
  });
  for (const std::string& filter : empty) tree_.Erase(filter);
  ++changes_anywhere_;
}

void Router::SetNodeStale(uint32_t node, bool stale) {
  const NodeMask bit = NodeMask{1} << node;
  if (((stale_nodes_ & bit) != 0) == stale) return;
  stale_nodes_ ^= bit;
  ++changes_anywhere_;
}

void Router::SetPartition(std::string_view filter, storage::PartitionId partition, bool present) {
  if (const auto* const node = tree_.IsWildcard(filter) ? tree_.Find(filter) : nullptr;
      node != nullptr && node->value.MoreIfAny() != nullptr &&
      (node->value.MoreIfAny()->partitions >> partition & 1) != 0) {
    const std::pair<const RoutedFilter*, storage::PartitionId> key{node, partition};
    if (present) {
      ++partition_repeats_[key];
      return;
    }
    if (const auto repeat = partition_repeats_.find(key); repeat != partition_repeats_.end()) {
      if (--repeat->second == 0) partition_repeats_.erase(repeat);
      return;
    }
  }
  ChangeMask(filter, partitions_, &Route::More::partitions, partition, present);
}

namespace {

bool IsToldOf(const ShareMember& member, const ToldOf& whose) {
  if (member.durable) return !whose.has_value();
  return whose.has_value() && member.connection == *whose;
}

}  // namespace

void Router::SetMember(std::string_view filter, ShareMember member) {
  const ToldOf whose = member.durable ? ToldOf() : ToldOf(member.connection);
  ForgetReplaced(filter, member.client_id, member.of_node, whose);
  HeldMember* const held = FindHeld(filter, member.client_id, member.of_node);
  const ShareMember* const known = ToldMember(filter, member.client_id, member.of_node, held);
  if (known != nullptr && !IsToldOf(*known, whose)) {
    auto& replaced = replaced_members_[{std::string(filter), member.client_id, member.of_node}];
    replaced.push_back(*known);
    if (known->durable) replaced.back().local = nullptr;
  }
  if (held == nullptr) return PlaceMember(filter, std::move(member));
  if (member.durable) member.local = nullptr;
  held->told = std::move(member);
}

void Router::RemoveMember(std::string_view filter, std::string_view client_id) {
  RemoveToldOf(filter, client_id, {}, std::nullopt);
}

void Router::RemoveMember(std::string_view filter, std::string_view client_id,
                          const storage::ConnectionRef& connection, storage::NodeId of_node) {
  RemoveToldOf(filter, client_id, of_node, connection);
}

void Router::RemoveToldOf(std::string_view filter, std::string_view client_id,
                          storage::NodeId of_node, const ToldOf& whose) {
  ForgetReplaced(filter, client_id, of_node, whose);
  HeldMember* const held = FindHeld(filter, client_id, of_node);
  const ShareMember* const known = ToldMember(filter, client_id, of_node, held);
  if (known == nullptr || !IsToldOf(*known, whose)) return;
  if (held == nullptr) return GiveBackPlace(filter, client_id, of_node);
  held->told = TakeReplaced(filter, client_id, of_node);
}

Router::HeldMember* Router::FindHeld(std::string_view filter, std::string_view client_id,
                                     storage::NodeId of_node) {
  if (held_members_.empty() || of_node != storage::NodeId()) return nullptr;
  const auto held = held_members_.find(std::pair(std::string(filter), std::string(client_id)));
  return held == held_members_.end() ? nullptr : &held->second;
}

const ShareMember* Router::ToldMember(std::string_view filter, std::string_view client_id,
                                      storage::NodeId of_node, const HeldMember* held) const {
  if (held != nullptr) return held->told.has_value() ? &*held->told : nullptr;
  const ShareGroup* const group = FindGroup(filter);
  return group == nullptr ? nullptr : group->Find(client_id, of_node);
}

void Router::ForgetReplaced(std::string_view filter, std::string_view client_id,
                            storage::NodeId of_node, const ToldOf& whose) {
  if (replaced_members_.empty()) return;
  const auto place = replaced_members_.find({std::string(filter), std::string(client_id), of_node});
  if (place == replaced_members_.end()) return;
  std::erase_if(place->second, [&](const ShareMember& member) { return IsToldOf(member, whose); });
  if (place->second.empty()) replaced_members_.erase(place);
}

std::optional<ShareMember> Router::TakeReplaced(std::string_view filter, std::string_view client_id,
                                                storage::NodeId of_node) {
  if (replaced_members_.empty()) return std::nullopt;
  const auto place = replaced_members_.find({std::string(filter), std::string(client_id), of_node});
  if (place == replaced_members_.end()) return std::nullopt;
  ShareMember member = std::move(place->second.back());
  place->second.pop_back();
  if (place->second.empty()) replaced_members_.erase(place);
  return member;
}

void Router::GiveBackPlace(std::string_view filter, std::string_view client_id,
                           storage::NodeId of_node) {
  DisplaceMember(filter, client_id, of_node);
  std::optional<ShareMember> member = TakeReplaced(filter, client_id, of_node);
  if (member.has_value()) PlaceMember(filter, *std::move(member));
}

void Router::ForgetMembersOf(storage::NodeId node, std::optional<uint32_t> but_of_telling) {
  for (auto place = replaced_members_.begin(); place != replaced_members_.end();) {
    std::erase_if(place->second, [&](const ShareMember& member) {
      return member.of_node == node && member.telling != but_of_telling;
    });
    place = place->second.empty() ? replaced_members_.erase(place) : std::next(place);
  }
  std::vector<std::pair<std::string, std::string>> gone;
  for (const auto& group : groups_) {
    group->ForEachMember([&](const ShareMember& member) {
      if (member.of_node == node && member.telling != but_of_telling)
        gone.emplace_back(group->filter(), member.client_id);
    });
  }
  for (const auto& [filter, client_id] : gone) GiveBackPlace(filter, client_id, node);
}

void Router::HoldMember(std::string_view filter, std::string_view client_id,
                        std::optional<ShareMember> member) {
  HeldMember& held = held_members_[std::pair(std::string(filter), std::string(client_id))];
  if (held.holds++ == 0) {
    ShareGroup* const group = FindGroup(filter);
    const ShareMember* const known = group == nullptr ? nullptr : group->Find(client_id);
    if (known != nullptr) {
      held.told = *known;
      if (known->durable) held.told->local = nullptr;
    }
  }
  if (member.has_value()) return PlaceMember(filter, *std::move(member));
  DisplaceMember(filter, client_id);
}

void Router::LetGoOfMember(std::string_view filter, std::string_view client_id) {
  const auto held = held_members_.find(std::pair(std::string(filter), std::string(client_id)));
  CHECK(held != held_members_.end()) << "a member is let go as often as it is held";
  if (--held->second.holds != 0) return;
  std::optional<ShareMember> told = std::move(held->second.told);
  held_members_.erase(held);
  if (told.has_value()) return PlaceMember(filter, *std::move(told));
  DisplaceMember(filter, client_id);
}

void Router::RenewReaders(RenewReader renew) {
  for (const auto& group : groups_) group->RenewReaders(renew);
  for (auto& [place, held] : held_members_) {
    if (held.told.has_value() && held.told->reader != nullptr)
      held.told->reader = renew(held.told->reader->user);
  }
  for (auto& [place, replaced] : replaced_members_) {
    for (ShareMember& member : replaced) {
      if (member.reader != nullptr) member.reader = renew(member.reader->user);
    }
  }
}

void Router::PlaceMember(std::string_view filter, ShareMember member) {
  if (ShareGroup* const known = FindGroup(filter)) return known->Set(std::move(member));
  const auto shared = mqtt::ParseShared(filter);
  CHECK(shared.has_value()) << "a shared filter is checked when it is subscribed";
  auto made = std::make_unique<ShareGroup>(filter, full_clients_);
  ShareGroup* const group = made.get();
  groups_.insert(std::move(made));
  auto& of_filter = tree_.Insert(shared->filter).value.more().groups;
  group->place_in_route_ = static_cast<uint32_t>(of_filter.size());
  of_filter.push_back(group);
  Invalidate(shared->filter);
  group->Set(std::move(member));
}

void Router::DisplaceMember(std::string_view filter, std::string_view client_id,
                            storage::NodeId of_node) {
  const auto it = groups_.find(filter);
  if (it == groups_.end()) return;
  ShareGroup& group = **it;
  group.Remove(client_id, of_node);
  if (!group.empty()) return;
  const auto shared = mqtt::ParseShared(filter);
  auto* const node = tree_.Find(shared->filter);
  Invalidate(shared->filter);
  auto& of_filter = node->value.more().groups;  // In no order: the last one fills the gap.
  of_filter[group.place_in_route_] = of_filter.back();
  of_filter[group.place_in_route_]->place_in_route_ = group.place_in_route_;
  of_filter.pop_back();
  if (of_filter.size() * 4 < of_filter.capacity()) of_filter.shrink_to_fit();
  groups_.erase(it);
  node->value.Tidy();
  EraseIfEmpty(*node);
}

ShareGroup* Router::FindGroup(std::string_view filter) const {
  const auto it = groups_.find(filter);
  return it == groups_.end() ? nullptr : it->get();
}

size_t Router::GroupsOf(std::string_view filter) const {
  const RoutedFilter* const node = tree_.Find(filter);
  if (node == nullptr || node->value.MoreIfAny() == nullptr) return 0;
  return node->value.MoreIfAny()->groups.size();
}

void Router::EraseIfEmpty(RoutedFilter& node) {
  if (node.value.empty()) tree_.Erase(node.name());
}

// ---- Router: answers

namespace {

// ==, of which the compiler makes a call of some dozen instructions.
bool IsSame(std::string_view a, std::string_view b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size()) == 0);
}

}  // namespace

const Match& Router::Find(std::string_view topic) {
  ++finds_;
  if (latest_ != nullptr && IsSame(latest_->name(), topic) &&
      latest_->value.changes == ChangesOf(latest_->value)) {
    latest_->value.used = true;
    return latest_->value.match;
  }
  const size_t hash = base::HashOfName(topic);
  const auto it = cache_.find(topic, hash);
  latest_ = it == cache_.end() ? nullptr : it->get();
  Cached* cached = latest_ == nullptr ? nullptr : &latest_->value;
  if (cached != nullptr && cached->changes == ChangesOf(*cached)) {
    cached->used = true;
    return cached->match;
  }
  ++cache_misses_;
  if (cached == nullptr) {
    cached = ring_.size() < kCachedAtOnce || SeenBefore(hash) ? &Slot(topic) : &passing_;
  }
  cached->used = true;
  cached->match = Match();
  Fill(topic, hash, cached->match);
  cached->changes = ChangesOf(*cached);
  return cached->match;
}

uint64_t Router::ChangesOf(const Cached& cached) const {
  // Each only grows, so the sum is the same only if each is.
  uint64_t sum = changes_anywhere_;
  for (size_t level = 0; level < cached.levels; ++level)
    sum += changes_[level][cached.prefixes[level]];
  return sum;
}

namespace {

// FNV-1a: which topics share a count is the same in every run.
uint8_t PrefixNumber(std::string_view prefix) {
  uint32_t hash = 2166136261u;
  for (const char c : prefix) hash = (hash ^ static_cast<uint8_t>(c)) * 16777619u;
  return static_cast<uint8_t>(hash ^ hash >> 8 ^ hash >> 16 ^ hash >> 24);
}

// Calls visit(level number, its name, the text up to and with it) for the first levels, as long as
// it says so.
template <typename Visit>
void ForEachPrefix(std::string_view text, size_t levels_max, Visit&& visit) {
  size_t begin = 0;
  for (size_t level = 0; level < levels_max; ++level) {
    const size_t end = std::min(text.find('/', begin), text.size());
    if (!visit(level, text.substr(begin, end - begin), text.substr(0, end))) return;
    if (end == text.size()) return;
    begin = end + 1;
  }
}

}  // namespace

void Router::NotePrefixes(std::string_view topic, Cached& cached) const {
  cached.levels = 0;
  ForEachPrefix(topic, kPrefixLevels, [&](size_t level, std::string_view, std::string_view prefix) {
    cached.prefixes[level] = PrefixNumber(prefix);
    ++cached.levels;
    return true;
  });
  if (clustered_)
    cached.prefixes[cached.levels++] = static_cast<uint8_t>(storage::StableHash(topic));
}

void Router::Invalidate(std::string_view filter) {
  if (!tree_.IsWildcard(filter)) return InvalidateTopic(filter);
  uint64_t* changes = &changes_anywhere_;
  ForEachPrefix(filter, kPrefixLevels,
                [&](size_t level, std::string_view name, std::string_view prefix) {
                  if (name == "+" || name == "#") return false;
                  changes = &changes_[level][PrefixNumber(prefix)];
                  return true;
                });
  ++*changes;
}

void Router::InvalidateTopic(std::string_view topic) {
  if (const auto it = cache_.find(topic); it != cache_.end()) (*it)->value.changes = 0;
}

// Whichever place the hash has among the prefixes of a topic.
void Router::InvalidateHash(uint64_t stable_hash) {
  for (auto& level : changes_) ++level[static_cast<uint8_t>(stable_hash)];
}

bool Router::SeenBefore(size_t hash) {
  if (seen_.empty()) seen_.resize(cached_topics_max_);
  uint16_t& place = seen_[hash % seen_.size()];
  return std::exchange(place, static_cast<uint16_t>(hash >> 48)) == place;
}

Router::Cached& Router::Slot(std::string_view topic) {
  size_t place = ring_.size();
  if (place < cached_topics_max_ || ring_.empty()) {
    ring_.push_back(nullptr);
  } else {
    while (ring_[hand_]->value.used) {
      ring_[hand_]->value.used = false;
      hand_ = (hand_ + 1) % ring_.size();
    }
    place = hand_;
    hand_ = (hand_ + 1) % ring_.size();
    cache_.erase(cache_.find(ring_[place]->name()));
  }
  auto made = base::Named<Cached>::Create(topic);
  ring_[place] = made.get();
  NotePrefixes(topic, made->value);
  cache_.insert(std::move(made));
  return ring_[place]->value;
}

void Router::Fill(std::string_view topic, size_t hash, Match& match) const {
  match.shards = shards_.Find(hash);
  match.shards_qos0 = shards_qos0_.Find(hash);
  match.nodes_stale = stale_nodes_;
  if (!nodes_.empty() || !nodes_qos0_.empty()) {
    const uint64_t stable_hash = storage::StableHash(topic);
    match.nodes = nodes_.Find(stable_hash);
    match.nodes_qos0 = nodes_qos0_.Find(stable_hash);
  }
  match.partitions = partitions_.Find(hash);
  size_t filters = 0;
  tree_.ForEachMatch(topic, hash, [&](RoutedFilter& node) {
    node.value.AddTo(match);
    ++filters;
  });
  if (filters < 2) return;  // A session meets itself only by a second filter.
  std::sort(match.subscribers.begin(), match.subscribers.end(),
            [](const Subscriber& a, const Subscriber& b) {
              return std::less<const Session*>()(a.session, b.session);
            });
}

}  // namespace broker
