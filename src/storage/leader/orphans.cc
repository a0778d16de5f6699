// Messages for `$share` groups that no member has: what a session left when it ended, and wills
// until their members are chosen. They stand in the store until the commit that gives them to a
// durable member, or that says that a transient one may have them now.
#include <algorithm>
#include <string>
#include <utility>

#include "base/log.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/keys.h"
#include "storage/leader/host_core.h"

namespace storage {
namespace {

constexpr size_t kOrphansPageMax = 64;
// After a start, members whose sessions ended with the last process come back: so long, and so
// often, what the group had is offered.
constexpr absl::Duration kOrphanPatience = absl::Minutes(1);
constexpr absl::Duration kOrphanRetry = absl::Seconds(2);

}  // namespace

void HostCore::StartOrphans() {
  for (size_t id = 0; id < partitions_.size(); ++id) {
    OrphanScan& scan = orphan_scans_[id];
    scan.wanted = partitions_[id]->orphans() != 0;
    scan.recovered = partitions_[id]->last_orphan();
  }
  orphan_patience_ends_ = now_.monotonic + kOrphanPatience;
}

void HostCore::On(PartitionId partition, Orphaned& /*effect*/) {
  orphan_scans_[partition].wanted = true;
}

// Read a page at a time: a session may leave as many as its queue held. While the server ends they
// stay: members go one after the other, and the last would be nobody's.
void HostCore::PassOnOrphans() {
  if (shutting_down_ || now_.monotonic < pump_again_at_) return;
  if (orphans_again_at_.has_value() && now_.monotonic >= *orphans_again_at_) OfferAgain();
  const size_t stop_at = work_left_ / 2;
  for (size_t id = 0; id < orphan_scans_.size(); ++id) {
    OrphanScan& scan = orphan_scans_[id];
    while (scan.wanted && RoomForBackground() && work_left_ > stop_at) {
      const auto page = partitions_[id]->ReadOrphans(store_.reader(), scan.passed, kOrphansPageMax);
      if (!page.ok()) {
        NoteDamage(page.status());
        base::Log(base::LogLevel::kError, "cannot read shared messages without an owner",
                  {{"error", page.status()}});
        if (absl::IsDataLoss(page.status())) {  // Nobody else waits for what will not pass.
          scan.wanted = false;
          break;
        }
        pump_again_at_ = now_.monotonic + absl::Seconds(1);
        return;
      }
      work_left_ -= std::min(work_left_, page->size() + 1);
      for (const Orphaned& orphan : *page) {
        scan.passed = orphan.orphan;
        PassOnOrphan(static_cast<PartitionId>(id), orphan);
      }
      scan.wanted = page->size() == kOrphansPageMax;
    }
  }
}

// To a durable member with room, in the same commit that forgets it here; or, if there is none or
// it is a will, a shard is asked, which knows all members.
void HostCore::PassOnOrphan(PartitionId partition, const Orphaned& orphan) {
  const OrphanRef ref{partition, orphan.orphan};
  if (orphans_moving_.contains(ref) || orphans_offered_.contains(ref)) return;
  if (orphan.message->has_expired(now_.unix_ms)) {
    ForgetOrphan(ref);
    return growing_->Then(FinishOrphan{.orphan = ref, .expired = true});
  }
  const ShareMembers::Member* const member = ChooseWithRoom(orphan.share_filter, *orphan.message);
  if (member != nullptr) {
    storage::Publish publish;
    publish.message = orphan.message;
    publish.shared_targets.push_back(TargetOf(*member));
    SettleTargets(/*from=*/0, publish);  // Its room is taken.
    ProposeEnqueues(publish);
    ForgetOrphan(ref);
    return growing_->Then(FinishOrphan{ref});
  }
  if (groups_without_.contains(orphan.share_filter)) return KeepOrphan(ref);
  // One shard for a group: what a session left to it stays in order.
  const auto shard = static_cast<ShardId>(StableHash(orphan.share_filter) % shards_);
  OfferOrphan(ref, shard,
              {.message = orphan.message,
               .only_filter = orphan.share_filter,
               .orphan = ref,
               .groups_only = true});
}

void HostCore::OfferOrphan(OrphanRef ref, ShardId shard, RouteMessage route) {
  orphans_offered_[ref] = route.only_filter;
  Send(shard, std::move(route));
}

// The orphan is gone with the group that grows.
void HostCore::ForgetOrphan(OrphanRef ref) {
  orphans_moving_.insert(ref);
  Propose(ref.partition).mutable_forget_orphans()->add_orphans(ref.number);
  growing_->NeedSync();
}

void HostCore::Finish(FinishOrphan& step) {
  orphans_moving_.erase(step.orphan);
  if (step.dropped) metrics_.dropped_no_member.Add();
  if (step.expired) metrics_.dropped_expired.Add();
}

// ---- What the shard says ------------------------------------------------------------------------

// A shard has chosen. False: it was not asked.
bool HostCore::TakeOffered(OrphanRef ref) { return orphans_offered_.erase(ref) != 0; }

// It is passed on again, with all behind it that is not on its way.
void HostCore::ReturnOrphan(OrphanRef ref) {
  orphans_moving_.erase(ref);
  OrphanScan& scan = orphan_scans_[ref.partition];
  scan.passed = std::min(scan.passed, ref.number - 1);
  scan.wanted = true;
}

void HostCore::Handle(ShardId /*from*/, OrphanStays& request) {
  const auto offered = orphans_offered_.find(request.orphan);
  if (offered == orphans_offered_.end()) return;
  const std::string share_filter = std::move(offered->second);
  orphans_offered_.erase(offered);
  const bool recovered = request.orphan.number <= orphan_scans_[request.orphan.partition].recovered;
  const bool waits = request.members_full || (recovered && now_.monotonic < orphan_patience_ends_);
  if (waits || shutting_down_) {
    if (!share_filter.empty()) groups_without_.insert(share_filter);
    return KeepOrphan(request.orphan);
  }
  if (!Refusal(/*stores=*/false).ok()) return ReturnOrphan(request.orphan);
  ForgetOrphan(request.orphan);
  growing_->Then(FinishOrphan{request.orphan, /*dropped=*/true});
}

// Until the next try.
void HostCore::KeepOrphan(OrphanRef ref) {
  orphan_scans_[ref.partition].keeps = true;
  if (!orphans_again_at_.has_value()) orphans_again_at_ = now_.monotonic + kOrphanRetry;
}

void HostCore::OfferAgain() {
  orphans_again_at_.reset();
  groups_without_.clear();
  for (OrphanScan& scan : orphan_scans_) {
    if (!std::exchange(scan.keeps, false)) continue;
    scan.passed = 0;
    scan.wanted = true;
  }
}

}  // namespace storage
