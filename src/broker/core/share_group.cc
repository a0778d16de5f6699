#include "broker/core/share_group.h"

#include <algorithm>
#include <utility>

#include "broker/core/session.h"

namespace broker {
namespace {

// So many connected members are compared for the least load at most, in turn.
constexpr size_t kComparedMax = 16;
// Points of one member on a circle: its part is then within a fifth or so of everyone else's.
constexpr uint64_t kPoints = 32;

uint64_t Mix(uint64_t bits) {
  bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9u;
  bits = (bits ^ bits >> 27) * 0x94d049bb133111ebu;
  return bits ^ bits >> 31;
}

uint64_t Hash(std::string_view text) {
  // FNV-1a: every shard and every process must choose alike, and absl's hash is seeded per process.
  uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211u;
  return Mix(hash);
}

}  // namespace

void FullClients::Remove(std::string_view client_id) {
  const auto it = groups_.find(base::AbslView(client_id));
  if (it == groups_.end()) return;
  const auto groups = std::move(it->second);
  groups_.erase(it);
  for (ShareGroup* const group : groups) group->Readmit(client_id);
}

// ---- Pools

void ShareGroup::Pool::Put(Member* member, size_t place) {
  members[place] = member;
  member->place = static_cast<uint32_t>(place);
}

// Its turn is still to come.
void ShareGroup::Pool::Add(Member& member) {
  members.push_back(nullptr);
  Put(&member, members.size() - 1);
}

// Everyone else has had its turn, or not, as before.
void ShareGroup::Pool::Remove(const Member& member) {
  size_t gap = member.place;
  if (gap < next) {
    --next;
    Put(members[next], gap);
    gap = next;
  }
  if (gap != members.size() - 1) Put(members.back(), gap);
  members.pop_back();
  if (members.size() * 4 < members.capacity()) members.shrink_to_fit();
}

void ShareGroup::Pool::HadItsTurn(const Member& member) {
  if (next >= members.size()) next = 0;
  const size_t place = member.place;
  if (place < next) return;
  Member* const chosen = members[place];
  Put(members[next], place);
  Put(chosen, next);
  ++next;
}

// ---- Members

ShareGroup::~ShareGroup() {
  for (const Member* const member : pools_[kFull].members) {
    const auto it = full_.groups_.find(member->client_id);
    if (it != full_.groups_.end()) it->second.erase(this);
  }
}

ShareGroup::Member* ShareGroup::FindMember(std::string_view client_id,
                                           storage::NodeId of_node) const {
  const auto it = members_.find(MemberKey{client_id, of_node});
  return it == members_.end() ? nullptr : it->get();
}

const ShareMember* ShareGroup::Find(std::string_view client_id, storage::NodeId of_node) const {
  return FindMember(client_id, of_node);
}

ShareGroup::PoolName ShareGroup::PoolOf(const Member& member) const {
  if (!member.connected && member.options.qos == mqtt::QoS::kAtMostOnce) return kNoPool;
  return member.connected ? kConnected : kAway;
}

void ShareGroup::Move(Member& member, PoolName to) {
  const PoolName from = member.pool;
  if (from == to) return;
  if (from != kNoPool) {
    pools_[from].Remove(member);
    if (circles_ != nullptr) RemoveFrom((*circles_)[from], member);
  }
  if (from == kFull) {
    const auto it = full_.groups_.find(member.client_id);
    if (it != full_.groups_.end()) it->second.erase(this);
  }
  member.pool = to;
  if (to == kNoPool) return;
  pools_[to].Add(member);
  if (circles_ != nullptr) AddTo((*circles_)[to], member);
}

void ShareGroup::MoveToFull(Member& member) {
  Move(member, kFull);
  full_.groups_[member.client_id].insert(this);
}

void ShareGroup::Readmit(std::string_view client_id) {
  Member* const member = FindMember(client_id);
  if (member != nullptr && member->pool == kFull) Move(*member, PoolOf(*member));
}

void ShareGroup::Set(ShareMember member) {
  if (Member* const known = FindMember(member.client_id, member.of_node)) {
    static_cast<ShareMember&>(*known) = std::move(member);
    if (known->pool != kFull || PoolOf(*known) == kNoPool) Move(*known, PoolOf(*known));
    return;
  }
  auto made = std::make_unique<Member>(std::move(member));
  Member& added = *made;
  members_.insert(std::move(made));
  Move(added, PoolOf(added));
  // Counts begin anew, or a newcomer would get everything until it had caught up.
  ++last_joined_;
}

void ShareGroup::Remove(std::string_view client_id, storage::NodeId of_node) {
  const auto it = members_.find(MemberKey{client_id, of_node});
  if (it == members_.end()) return;
  Move(**it, kNoPool);
  if (stuck_to_ == it->get()) stuck_to_ = nullptr;
  members_.erase(it);
}

void ShareGroup::Attach(std::string_view client_id, const storage::ConnectionRef& connection,
                        Session* session) {
  Member* const member = FindMember(client_id);
  if (member == nullptr || member->connection != connection) return;
  member->local = session;
  member->connected = true;
  if (member->pool != kFull) Move(*member, kConnected);
}

void ShareGroup::Detach(std::string_view client_id, const Session* session) {
  Member* const member = FindMember(client_id);
  if (member == nullptr || member->local != session) return;
  member->local = nullptr;
  member->connected = false;
  if (member->pool != kFull || PoolOf(*member) == kNoPool) Move(*member, PoolOf(*member));
}

// ---- Choices

uint64_t ShareGroup::Load(const Member& member) const {
  if (member.local != nullptr)
    return member.local->outbound.in_flight() + member.local->outbound.queued_messages();
  return member.counted_since == last_joined_ ? member.chosen : 0;
}

size_t ShareGroup::First(const Pool& pool, const Question& question, base::Rng& rng) const {
  const size_t size = pool.members.size();
  const size_t next = pool.next % size;
  switch (question.strategy) {
    case ShareStrategy::kRandom:
      return rng.Below(size);
    case ShareStrategy::kSticky:
      if (stuck_to_ != nullptr && pool.members[stuck_to_->place % size] == stuck_to_)
        return stuck_to_->place;
      return next;
    case ShareStrategy::kLeastInFlight: {
      size_t best = next;  // Ties go round.
      for (size_t i = 1; i < std::min(size, kComparedMax); ++i) {
        const size_t place = (next + i) % size;
        if (Load(*pool.members[place]) < Load(*pool.members[best])) best = place;
      }
      return best;
    }
    default:
      return next;
  }
}

void ShareGroup::Took(ShareStrategy strategy, Member& member) {
  if (member.counted_since != last_joined_) member.chosen = 0;
  member.counted_since = last_joined_;
  ++member.chosen;
  if (strategy == ShareStrategy::kSticky) {
    stuck_to_ = &member;
  } else {
    pools_[member.pool].HadItsTurn(member);
  }
}

uint64_t ShareGroup::HashOf(const Question& question) {
  return Hash(question.strategy == ShareStrategy::kHashClient ? question.publisher
                                                              : question.topic);
}

const ShareGroup::Circle& ShareGroup::CircleOf(PoolName name) {
  if (circles_ == nullptr) {
    circles_ = std::make_unique<std::array<Circle, kPools>>();
    for (size_t pool = 0; pool < kPools; ++pool) {
      for (Member* const member : pools_[pool].members) AddTo((*circles_)[pool], *member);
    }
  }
  return (*circles_)[name];
}

void ShareGroup::AddTo(Circle& circle, Member& member) {
  const uint64_t hash = Hash(member.client_id);
  for (uint64_t i = 1; i <= kPoints; ++i)
    circle.emplace(Mix(hash + i * 0x9e3779b97f4a7c15u), &member);
}

void ShareGroup::RemoveFrom(Circle& circle, const Member& member) {
  const uint64_t hash = Hash(member.client_id);
  for (uint64_t i = 1; i <= kPoints; ++i) {
    auto [it, end] = circle.equal_range(Mix(hash + i * 0x9e3779b97f4a7c15u));
    while (it != end && it->second != &member) ++it;
    if (it != end) circle.erase(it);
  }
}

}  // namespace broker
