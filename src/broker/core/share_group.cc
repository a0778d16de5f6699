#include "broker/core/share_group.h"

#include <algorithm>
#include <utility>

#include "absl/hash/hash.h"
#include "broker/core/session.h"

namespace broker {
namespace {

size_t Hash(std::string_view text) {
  // FNV-1a: every shard and every process must choose alike, and absl's hash is seeded per process.
  uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211u;
  return static_cast<size_t>(hash ^ hash >> 32);
}

uint64_t Load(const ShareMember& member) {
  if (member.local == nullptr) return member.chosen;
  return member.local->outbound.in_flight() + member.local->outbound.queued_messages();
}

}  // namespace

std::vector<ShareMember>::iterator ShareGroup::PlaceOf(std::string_view client_id) {
  return std::lower_bound(
      members_.begin(), members_.end(), client_id,
      [](const ShareMember& member, std::string_view id) { return member.client_id < id; });
}

void ShareGroup::Set(ShareMember member) {
  const auto it = PlaceOf(member.client_id);
  if (it != members_.end() && it->client_id == member.client_id) {
    member.chosen = it->chosen;
    *it = std::move(member);
    return;
  }
  // Whoever is next, or is stuck to, stays so.
  if (static_cast<size_t>(it - members_.begin()) <= next_) ++next_;
  members_.insert(it, std::move(member));
  // Counts begin anew, or a newcomer would get everything until it had caught up.
  for (ShareMember& each : members_) each.chosen = 0;
}

void ShareGroup::Remove(std::string_view client_id) {
  const auto it = PlaceOf(client_id);
  if (it == members_.end() || it->client_id != client_id) return;
  if (static_cast<size_t>(it - members_.begin()) < next_) --next_;
  members_.erase(it);
}

void ShareGroup::Attach(std::string_view client_id, const storage::ConnectionRef& connection,
                        Session* session) {
  const auto it = PlaceOf(client_id);
  if (it == members_.end() || it->client_id != client_id || it->connection != connection) return;
  it->local = session;
  it->connected = true;
}

void ShareGroup::Detach(const Session* session) {
  for (ShareMember& member : members_) {
    if (member.local != session) continue;
    member.local = nullptr;
    member.connected = false;
  }
}

size_t ShareGroup::First(const Question& question, base::Rng& rng) const {
  if (members_.empty()) return 0;
  switch (question.strategy) {
    case ShareStrategy::kRoundRobin:
    case ShareStrategy::kSticky:
      return next_ % members_.size();
    case ShareStrategy::kRandom:
      return rng.Below(members_.size());
    case ShareStrategy::kHashClient:
      return Hash(question.publisher) % members_.size();
    case ShareStrategy::kHashTopic:
      return Hash(question.topic) % members_.size();
    case ShareStrategy::kLeastInFlight: {
      size_t best = members_.size();
      for (size_t i = 0; i < members_.size(); ++i) {
        const size_t index = (next_ + i) % members_.size();  // Ties go round.
        if (!members_[index].connected) continue;
        if (best == members_.size() || Load(members_[index]) < Load(members_[best])) best = index;
      }
      return best == members_.size() ? 0 : best;
    }
  }
  return 0;
}

void ShareGroup::Took(ShareStrategy strategy, size_t index) {
  ++members_[index].chosen;
  next_ = strategy == ShareStrategy::kSticky ? index : index + 1;
}

}  // namespace broker
