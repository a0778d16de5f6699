#include "storage/leader/routes_elsewhere.h"

#include <algorithm>
#include <variant>

#include "storage/leader/leader.h"
#include "storage/leader/routes.h"

namespace storage {
namespace {

constexpr absl::Duration kAskedAgainEvery = absl::Seconds(1);

}  // namespace

RoutesElsewhere::RoutesElsewhere(Node& node)
    : node_(node), wanted_(node.options.partitions, 0), beforehand_(node.options.partitions, 0) {}

void RoutesElsewhere::Hear(NodeId from, Incarnation life, const HostMessage& message) {
  // One that this node has not heard of yet is answered as well: it does not ask twice.
  if (node_.shards.FateOf(from, life) == ShardTable::Fate::kOver) return;
  if (const auto* const known = std::get_if<RoutesKnown>(&message)) return On(from, *known);
  const auto* const question = std::get_if<KnowRoutes>(&message);
  if (question == nullptr || question->partition >= wanted_.size()) return;
  questions_[{question->partition, from}] = {*question, life};
}

void RoutesElsewhere::Resync(NodeId node) {
  for (auto& [place, knowledge] : others_) {
    if (place.second == node) knowledge.ticket = 0;
  }
}

void RoutesElsewhere::ForgetNode(const LiveNode& gone) {
  std::erase_if(others_, [&](const auto& one) { return one.first.second == gone.node; });
  std::erase_if(questions_, [&](const auto& one) {
    return one.first.second == gone.node && one.second.life <= gone.incarnation;
  });
}

// ---- Asking -------------------------------------------------------------------------------------

uint64_t RoutesElsewhere::Want(PartitionId id) {
  const uint64_t applied = node_.leaders[id]->partition().applied_index();
  if (!node_.shards.others().empty()) wanted_[id] = std::max(wanted_[id], applied);
  return applied;
}

bool RoutesElsewhere::AllKnow(PartitionId id, uint64_t index) const {
  const auto& others = node_.shards.others();
  return index == 0 ||
         std::all_of(others.begin(), others.end(), [&](const ShardTable::Other& other) {
           const auto found = others_.find({id, other.life.node});
           return found != others_.end() && found->second.known >= index;
         });
}

void RoutesElsewhere::Ask() {
  if (node_.shards.others().empty() || node_.send == nullptr) return;
  for (PartitionId id = 0; id < wanted_.size(); ++id) {
    if (wanted_[id] == 0 || !node_.leaders[id]->serving()) continue;
    bool asks = false;
    for (const ShardTable::Other& other : node_.shards.others()) {
      Knowledge& knowledge = others_[{id, other.life.node}];
      if (knowledge.known >= wanted_[id] || knowledge.ticket != 0) continue;
      // An answer to an earlier life of this node is none to this one.
      knowledge.ticket = uint64_t{node_.shards.self().incarnation.value()} << 32 | ++last_ticket_;
      knowledge.asked = wanted_[id];
      knowledge.asked_at = node_.now.monotonic;
      node_.routes->feeds().TellThrough(id, other.life.node);
      node_.send(other.life.node,
                 KnowRoutes{.partition = id, .index = wanted_[id], .ticket = knowledge.ticket});
      asks = true;
    }
    if (asks) node_.tell_committed(id);
  }
}

void RoutesElsewhere::AskAgain() {
  const std::optional<absl::Duration> next = Next();
  if (!next.has_value() || *next > node_.now.monotonic || node_.send == nullptr) return;
  for (auto& [place, knowledge] : others_) {
    if (!IsAwaited(place, knowledge)) continue;
    if (node_.now.monotonic < knowledge.asked_at + kAskedAgainEvery) continue;
    knowledge.asked_at = node_.now.monotonic;
    node_.send(
        place.second,
        KnowRoutes{.partition = place.first, .index = knowledge.asked, .ticket = knowledge.ticket});
  }
}

bool RoutesElsewhere::IsAwaited(const Place& place, const Knowledge& knowledge) const {
  return knowledge.ticket != 0 && knowledge.known < wanted_[place.first] &&
         node_.leaders[place.first]->serving();
}

// Whose own storage takes nothing does not push others: so never all of them step aside.
bool RoutesElsewhere::Insists() const {
  return !node_.aside && !node_.log_is_late && node_.Standing().ok();
}

std::optional<absl::Duration> RoutesElsewhere::Next() const {
  std::optional<absl::Duration> next;
  for (const auto& [place, knowledge] : others_) {
    if (!IsAwaited(place, knowledge)) continue;
    const absl::Duration at = knowledge.asked_at + kAskedAgainEvery;
    next = std::min(next.value_or(at), at);
  }
  if (next.has_value() && !Insists()) return std::nullopt;
  return next;
}

void RoutesElsewhere::On(NodeId from, const RoutesKnown& message) {
  const auto found = others_.find({message.partition, from});
  if (found == others_.end() || found->second.ticket != message.ticket) return;
  found->second.known = std::max(found->second.known, found->second.asked);
  found->second.ticket = 0;
}

// ---- Answering ----------------------------------------------------------------------------------

void RoutesElsewhere::AnswerBeforehand() {
  if (node_.send == nullptr) return;
  for (auto it = questions_.begin(); it != questions_.end();) {
    const auto& [place, question] = *it;
    if (node_.leaders[place.first]->replica().stopped()) {  // It never will be so.
      ++it;
      continue;
    }
    beforehand_[place.first] = std::max(beforehand_[place.first], question.index);
    node_.send(place.second, RoutesKnown{.partition = place.first, .ticket = question.ticket});
    it = questions_.erase(it);
  }
}

bool RoutesElsewhere::AreTold(const std::vector<uint64_t>& through) const {
  for (PartitionId id = 0; id < through.size(); ++id) {
    const bool stopped = node_.Holds(id) && node_.leaders[id]->replica().stopped();
    if (!stopped && node_.RoutesToldThrough(id) < through[id]) return false;
  }
  return true;
}

void RoutesElsewhere::Answer(const std::function<void(std::function<void()> known)>& confirm) {
  for (auto it = questions_.begin(); it != questions_.end();) {
    const auto& [place, question] = *it;
    if (node_.RoutesToldThrough(place.first) < question.index) {
      ++it;
      continue;
    }
    confirm([this, to = place.second,
             known = RoutesKnown{.partition = place.first, .ticket = question.ticket}] {
      if (node_.send != nullptr) node_.send(to, known);
    });
    it = questions_.erase(it);
  }
}

}  // namespace storage
