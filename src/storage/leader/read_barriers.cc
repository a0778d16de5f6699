#include "storage/leader/read_barriers.h"

#include <algorithm>

#include "storage/leader/leader.h"
#include "storage/leader/log_ledger.h"

namespace storage {
namespace {

// The partition has no leader, or this node no replica that could know.
constexpr absl::Duration kAskAgain = absl::Milliseconds(100);
// Fewer are not worth looking for those that have gone.
constexpr size_t kListedMin = 64;
// Who lacks no more has caught up: a leader has one or two entries under way, and a follower that
// is well lacks about as many.
constexpr uint64_t kLackedMax = 64;
// So long a node that has what there was when it came waits until it has what came since.
constexpr absl::Duration kNewsWithin = absl::Minutes(1);

}  // namespace

ReadBarriers::ReadBarriers(Node& node) : node_(node), partitions_(node.options.partitions) {}

void ReadBarriers::Wait(PartitionMask reads, absl::Duration within, std::function<void()> then) {
  PartitionMask applies = 0;  // Of one that has stopped nothing more is, of none never was.
  for (const auto& leader : node_.leaders) {
    const bool held = node_.Holds(leader->id());
    if (held && !leader->replica().stopped()) applies |= BitOf(leader->id());
  }
  reads &= applies;
  if (reads == 0 || !node_.shards.in_cluster() || ask_ == nullptr) return then();
  const WaiterId id{node_.now.monotonic + within, ++last_};
  waiters_.emplace(id, Waiter{reads, std::move(then)});
  for (PartitionId partition = 0; partition < partitions_.size(); ++partition) {
    if ((reads & BitOf(partition)) != 0) partitions_[partition].to_ask.push_back(id);
  }
}

void ReadBarriers::CatchUp(std::function<void()> then) {
  CatchUpBy(absl::InfiniteDuration(), std::move(then));
}

// Each time less is lacking, unless more is written than this node can take.
void ReadBarriers::CatchUpBy(absl::Duration by, std::function<void()> then) {
  lacked_ = 0;
  Wait(~PartitionMask{0}, by - node_.now.monotonic, [this, by, then = std::move(then)] {
    const absl::Duration now = node_.now.monotonic;
    if (lacked_ <= kLackedMax || now >= by) return then();
    CatchUpBy(std::min(by, now + kNewsWithin), then);
  });
}

PartitionMask ReadBarriers::waited_for() const {
  PartitionMask all = 0;
  for (const auto& [id, waiter] : waiters_) all |= waiter.left;
  return all;
}

void ReadBarriers::Hear(const Readable& readable) {
  OfPartition& partition = partitions_[readable.partition];
  if (partition.ticket != readable.ticket) return;
  partition.ticket = 0;
  const uint64_t done = node_.log->done(readable.partition);
  lacked_ = std::max(lacked_, readable.index - std::min(readable.index, done));
  partition.answered.push_back({readable.index, std::exchange(partition.asked, {})});
  partition.answered_waiters += partition.answered.back().waiters.size();
}

void ReadBarriers::Hear(const NotReadable& refused) {
  OfPartition& partition = partitions_[refused.partition];
  if (partition.ticket != refused.ticket) return;
  partition.ticket = 0;
  partition.ask_at = node_.now.monotonic + kAskAgain;
  partition.to_ask.insert(partition.to_ask.begin(), partition.asked.begin(), partition.asked.end());
  partition.asked.clear();
}

void ReadBarriers::Run() {
  if (waiters_.empty()) return;
  for (PartitionId id = 0; id < partitions_.size(); ++id) {
    OfPartition& partition = partitions_[id];
    Leader& leader = *node_.leaders[id];
    const uint64_t done = node_.log->done(id);
    const bool stopped = leader.replica().stopped();  // Then nothing more is applied.
    while (!partition.answered.empty() && (stopped || partition.answered.front().index <= done)) {
      const Answered passed = std::move(partition.answered.front());
      partition.answered.pop_front();
      partition.answered_waiters -= passed.waiters.size();
      Pass(passed.waiters, id);
    }
    ForgetGone(partition);
    if (partition.ticket != 0 || partition.to_ask.empty()) continue;
    if (node_.now.monotonic < partition.ask_at) continue;
    ForgetGone(partition.to_ask);
    if (partition.to_ask.empty()) continue;
    partition.asked = std::exchange(partition.to_ask, {});
    partition.ticket = ++last_;
    ask_(id, partition.ticket);
  }
  while (!waiters_.empty() && waiters_.begin()->first.first <= node_.now.monotonic) {
    const std::function<void()> then = std::move(waiters_.begin()->second.then);
    waiters_.erase(waiters_.begin());
    then();
  }
}

void ReadBarriers::ForgetGone(std::vector<WaiterId>& waiters) const {
  std::erase_if(waiters, [this](const WaiterId& one) { return !waiters_.contains(one); });
}

// Those that have waited for as long as they would. Now and then: each is looked at once or twice.
void ReadBarriers::ForgetGone(OfPartition& partition) const {
  const size_t listed = partition.to_ask.size() + partition.answered_waiters;
  if (listed <= 2 * waiters_.size() + kListedMin) return;
  ForgetGone(partition.to_ask);
  partition.answered_waiters = 0;
  for (Answered& answered : partition.answered) {
    ForgetGone(answered.waiters);
    partition.answered_waiters += answered.waiters.size();
  }
  std::erase_if(partition.answered,
                [](const Answered& answered) { return answered.waiters.empty(); });
}

void ReadBarriers::Pass(const std::vector<WaiterId>& waiters, PartitionId partition) {
  for (const WaiterId& id : waiters) {
    const auto found = waiters_.find(id);
    if (found == waiters_.end()) continue;  // It has not waited for so long.
    found->second.left &= ~BitOf(partition);
    if (found->second.left != 0) continue;
    const std::function<void()> then = std::move(found->second.then);
    waiters_.erase(found);
    then();
  }
}

size_t ReadBarriers::listed() const {
  size_t listed = 0;
  for (const OfPartition& partition : partitions_) {
    listed += partition.asked.size() + partition.to_ask.size() + partition.answered_waiters;
  }
  return listed;
}

std::optional<absl::Duration> ReadBarriers::Next() const {
  if (waiters_.empty()) return std::nullopt;
  absl::Duration next = waiters_.begin()->first.first;
  for (const OfPartition& partition : partitions_) {
    if (partition.ticket == 0 && !partition.to_ask.empty()) next = std::min(next, partition.ask_at);
  }
  if (next == absl::InfiniteDuration()) return std::nullopt;
  return std::max(next, node_.now.monotonic);
}

}  // namespace storage
