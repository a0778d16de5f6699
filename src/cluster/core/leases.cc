#include "cluster/core/leases.h"

#include <algorithm>
#include <utility>

namespace cluster {
namespace {

// There may be no leader of the meta group just then.
constexpr absl::Duration kEndSaidEvery = absl::Milliseconds(100);

}  // namespace

void NodeLease::Begin(NodeLife life) {
  life_ = life;
  gone_ = false;
  asked_.clear();
  until_ = -absl::InfiniteDuration();
  AskAtOnce();
}

void NodeLease::End() {
  ending_ = true;
  until_ = -absl::InfiniteDuration();
  AskAtOnce();
}

std::optional<LeaseRequest> NodeLease::Ask(absl::Duration now) {
  if (life_.node == NodeId() || gone_ || now < next_ask_) return std::nullopt;
  next_ask_ = now + (ending_ ? kEndSaidEvery : options_.renewed_every);
  if (asked_.size() == kAskedMax) asked_.pop_front();
  asked_.push_back({++last_number_, now});
  return LeaseRequest{life_, last_number_, ending_};
}

bool NodeLease::OnAnswer(const LeaseAnswer& answer) {
  if (answer.life != life_) return false;
  const auto it = std::find_if(asked_.begin(), asked_.end(),
                               [&](const Asked& asked) { return asked.number == answer.number; });
  if (it == asked_.end()) return false;
  if (answer.kind == LeaseAnswer::Kind::kGone) {
    OnGone(life_.incarnation);
    return true;
  }
  // All replicas were asked under that number: who leads has yet to answer.
  if (answer.kind == LeaseAnswer::Kind::kNotLeader) return true;
  if (ending_) {
    asked_.erase(it);
    return true;
  }
  until_ = std::max(until_, it->at + options_.AsHeld());
  asked_.erase(asked_.begin(), it + 1);
  return true;
}

void NodeLease::OnGone(Incarnation through) {
  if (life_.node == NodeId() || life_.incarnation > through) return;
  // If a lease is left of it, somebody has started with a copy of this node's directory.
  gone_ = true;
  until_ = -absl::InfiniteDuration();
  asked_.clear();
}

NodeLease::State NodeLease::StateAt(absl::Duration now) const {
  if (now >= until_) return State::kNone;
  return now >= until_ - options_.fencing ? State::kFencing : State::kHeld;
}

absl::Duration NodeLease::ChangesAt(absl::Duration now) const {
  switch (StateAt(now)) {
    case State::kHeld:
      return until_ - options_.fencing;
    case State::kFencing:
      return until_;
    case State::kNone:
      break;
  }
  return absl::InfiniteDuration();
}

LeaseGranter::LeaseGranter(LeaseOptions options, absl::Duration now,
                           const std::vector<NodeLife>& live)
    : options_(options), last_look_(now) {
  // Whom the former leader granted what is not known: nothing that outlasts this.
  for (const NodeLife& life : live)
    entries_[life.node] = {life.incarnation, now + options_.AsAwaited()};
}

LeaseGranter::Entry* LeaseGranter::Find(NodeLife life) {
  const auto it = entries_.find(life.node);
  return it != entries_.end() && it->second.incarnation == life.incarnation ? &it->second : nullptr;
}

const LeaseGranter::Entry* LeaseGranter::Find(NodeLife life) const {
  const auto it = entries_.find(life.node);
  return it != entries_.end() && it->second.incarnation == life.incarnation ? &it->second : nullptr;
}

void LeaseGranter::OnAdmitted(NodeLife life, absl::Duration now) {
  Entry& entry = entries_[life.node];
  if (entry.incarnation >= life.incarnation) return;
  entry = {life.incarnation, now + options_.AsAwaited()};
}

void LeaseGranter::OnGone(NodeLife life) {
  const auto it = entries_.find(life.node);
  if (it != entries_.end() && it->second.incarnation <= life.incarnation) entries_.erase(it);
}

void LeaseGranter::OnRequest(const LeaseRequest& request, absl::Duration now) {
  Entry* const entry = Find(request.life);
  if (entry == nullptr) return OnRequestOfUnknown(request, now);
  if (entry->phase == Phase::kProposed) return;  // What becomes of it the log decides.
  if (request.ends) {  // Nobody has to wait until its lease would have ended.
    *entry = {request.life.incarnation, -absl::InfiniteDuration(), Phase::kEnding};
    gathering_.erase(request.life.node);
    return;
  }
  if (entry->phase != Phase::kGranting) return;
  gathering_[request.life.node] = {request, now};
}

// Whoever is deposed, and has not heard of it, lacks lives that a later leader has admitted: that
// one is gone he says behind a barrier only. A later life of the node has ended it in any case.
void LeaseGranter::OnRequestOfUnknown(const LeaseRequest& request, absl::Duration now) {
  const auto known = entries_.find(request.life.node);
  if (known != entries_.end() && known->second.incarnation > request.life.incarnation) {
    answers_.push_back({request.life, request.number, LeaseAnswer::Kind::kGone});
    return;
  }
  gathering_[request.life.node] = {request, now};
}

std::optional<uint64_t> LeaseGranter::WantsBarrier() {
  if (barrier_under_way_ || gathering_.empty()) return std::nullopt;
  barrier_under_way_ = true;
  in_barrier_ = std::exchange(gathering_, {});
  return ++last_ticket_;
}

std::vector<LeaseAnswer> LeaseGranter::OnBarrier(uint64_t ticket, bool readable) {
  std::vector<LeaseAnswer> answers;
  if (!barrier_under_way_ || ticket != last_ticket_) return answers;
  barrier_under_way_ = false;
  for (const auto& [node, waiting] : std::exchange(in_barrier_, {})) {
    const LeaseRequest& request = waiting.request;
    if (!readable) {
      answers.push_back({request.life, request.number, LeaseAnswer::Kind::kNotLeader});
      continue;
    }
    Entry* const entry = Find(request.life);
    if (entry == nullptr) {
      answers.push_back({request.life, request.number, LeaseAnswer::Kind::kGone});
      continue;
    }
    if (entry->phase != Phase::kGranting) continue;
    entry->until = std::max(entry->until, waiting.received + options_.AsAwaited());
    answers.push_back({request.life, request.number, LeaseAnswer::Kind::kGranted});
  }
  return answers;
}

std::vector<LeaseAnswer> LeaseGranter::TakeAnswers() { return std::exchange(answers_, {}); }

std::vector<NodeLife> LeaseGranter::TakeExpired(absl::Duration now) {
  std::vector<NodeLife> expired;
  if (now - last_look_ > 2 * options_.renewed_every) {
    for (auto& [node, entry] : entries_) {
      if (entry.until == -absl::InfiniteDuration()) continue;  // It said itself that it is over.
      entry.until = std::max(entry.until, now + options_.AsAwaited());
    }
  }
  last_look_ = now;
  for (auto& [node, entry] : entries_) {
    if (entry.phase == Phase::kProposed || now < entry.until) continue;
    // It lives: its request waits, here, for a barrier.
    const auto asks = [&](const std::map<NodeId, Waiting>& requests) {
      const auto it = requests.find(node);
      return it != requests.end() && it->second.request.life.incarnation == entry.incarnation;
    };
    if (entry.phase == Phase::kGranting && (asks(gathering_) || asks(in_barrier_))) continue;
    entry.phase = Phase::kProposed;
    expired.push_back({node, entry.incarnation});
  }
  return expired;
}

bool LeaseGranter::Declare(NodeLife life) {
  Entry* const entry = Find(life);
  if (entry == nullptr || entry->phase != Phase::kGranting) return false;
  entry->phase = Phase::kEnding;
  return true;
}

void LeaseGranter::OnNotCommitted(NodeLife life) {
  if (Entry* const entry = Find(life)) {
    if (entry->phase == Phase::kProposed) entry->phase = Phase::kEnding;
  }
}

absl::Duration LeaseGranter::NextExpiry() const {
  absl::Duration next = absl::InfiniteDuration();
  for (const auto& [node, entry] : entries_) {
    if (entry.phase != Phase::kProposed) next = std::min(next, entry.until);
  }
  return next;
}

bool LeaseGranter::is_granting(NodeLife life) const {
  const Entry* const entry = Find(life);
  return entry != nullptr && entry->phase == Phase::kGranting;
}

}  // namespace cluster
