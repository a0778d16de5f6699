// Messages for `$share` groups that no member has: what a session left when it ended, and wills
// until their members are chosen. They stand in the store until the commit that gives them to a
// durable member, or that says that a transient one may have them now.
#include <algorithm>
#include <string>
#include <utility>

#include "base/log.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/keys.h"
#include "storage/leader/leader.h"
#include "storage/leader/publishing.h"

namespace storage {
namespace {

constexpr size_t kOrphansPageMax = 64;
// After a start, members whose sessions ended with the last process come back: so long, and so
// often, what the group had is offered.
constexpr absl::Duration kOrphanPatience = absl::Minutes(1);
constexpr absl::Duration kOrphanRetry = absl::Seconds(2);

}  // namespace

void Leader::StartOrphans() {
  orphan_scan_.wanted = partition().orphans() != 0;
  orphan_scan_.recovered = partition().last_orphan();
  orphan_patience_ends_ = node_.now.monotonic + kOrphanPatience;
}

void Leader::On(Orphaned& /*effect*/) { orphan_scan_.wanted = true; }

// Read a page at a time: a session may leave as many as its queue held. While the server ends they
// stay: members go one after the other, and the last would be nobody's.
void Leader::PassOnOrphans() {
  if (node_.shutting_down || node_.now.monotonic < read_again_at_) return;
  if (orphans_again_at_.has_value() && node_.now.monotonic >= *orphans_again_at_) OfferAgain();
  OrphanScan& scan = orphan_scan_;
  while (scan.wanted && node_.RoomForBackground() && node_.work_left > node_.shared_work_until) {
    const auto page = partition().ReadOrphans(node_.reader, scan.passed, kOrphansPageMax);
    if (!page.ok()) {
      node_.NoteDamage(page.status());
      base::Log(base::LogLevel::kError, "cannot read shared messages without an owner",
                {{"error", page.status()}});
      if (absl::IsDataLoss(page.status())) {  // Nobody else waits for what will not pass.
        scan.wanted = false;
      } else {
        read_again_at_ = node_.now.monotonic + absl::Seconds(1);
      }
      return;
    }
    node_.work_left -= std::min(node_.work_left, page->size() + 1);
    for (const Orphaned& orphan : *page) {
      scan.passed = orphan.orphan;
      PassOnOrphan(orphan);
    }
    scan.wanted = page->size() == kOrphansPageMax;
  }
}

// To a durable member with room, in the same commit that forgets it here; or, if there is none or
// it is a will, a shard is asked, which knows all members.
void Leader::PassOnOrphan(const Orphaned& orphan) {
  const uint64_t number = orphan.orphan;
  if (orphans_moving_.contains(number) || orphans_offered_.contains(number)) return;
  if (orphan.message->has_expired(node_.now.unix_ms)) {
    ForgetOrphan(number);
    return Then(FinishOrphan{.orphan = number, .expired = true});
  }
  if (node_.publishing->StoreForMember(orphan.share_filter, orphan.message)) {
    ForgetOrphan(number);
    return Then(FinishOrphan{.orphan = number});
  }
  if (groups_without_.contains(orphan.share_filter)) return KeepOrphan();
  // One shard for a group: what a session left to it stays in order.
  const auto shard = static_cast<ShardId>(StableHash(orphan.share_filter) % node_.shards);
  Offer(number, shard,
        {.message = orphan.message,
         .only_filter = orphan.share_filter,
         .orphan = {id_, number},
         .groups_only = true});
}

void Leader::Offer(uint64_t orphan, ShardId shard, RouteMessage route) {
  if (orphans_offered_.insert_or_assign(orphan, route.only_filter).second) ++node_.orphans_offered;
  node_.Send(shard, std::move(route));
}

// It is gone with what is proposed now, here and wherever it goes.
void Leader::ForgetOrphan(uint64_t orphan) {
  orphans_moving_.insert(orphan);
  Propose().mutable_forget_orphans()->add_orphans(orphan);
  NeedSync();
}

void Leader::Finish(FinishOrphan& step) {
  orphans_moving_.erase(step.orphan);
  if (step.dropped) node_.metrics.dropped_no_member.Add();
  if (step.expired) node_.metrics.dropped_expired.Add();
}

// ---- What the shard says ------------------------------------------------------------------------

// A shard has chosen. False: it was not asked.
bool Leader::TakeOffered(uint64_t orphan) {
  if (orphans_offered_.erase(orphan) == 0) return false;
  --node_.orphans_offered;
  return true;
}

// It is passed on again, with all behind it that is not on its way.
void Leader::ReturnOrphan(uint64_t orphan) {
  orphans_moving_.erase(orphan);
  orphan_scan_.passed = std::min(orphan_scan_.passed, orphan - 1);
  orphan_scan_.wanted = true;
}

void Leader::Handle(ShardId /*from*/, OrphanStays& request) {
  const uint64_t orphan = request.orphan.number;
  const auto offered = orphans_offered_.find(orphan);
  if (offered == orphans_offered_.end()) return;
  const std::string share_filter = std::move(offered->second);
  orphans_offered_.erase(offered);
  --node_.orphans_offered;
  const bool recovered = orphan <= orphan_scan_.recovered;
  const bool waits =
      request.members_full || (recovered && node_.now.monotonic < orphan_patience_ends_);
  if (waits || node_.shutting_down) {
    if (!share_filter.empty()) groups_without_.insert(share_filter);
    return KeepOrphan();
  }
  if (!Refusal(/*stores=*/false).ok()) return ReturnOrphan(orphan);
  ForgetOrphan(orphan);
  Then(FinishOrphan{.orphan = orphan, .dropped = true});
}

// Until the next try.
void Leader::KeepOrphan() {
  orphan_scan_.keeps = true;
  if (!orphans_again_at_.has_value()) orphans_again_at_ = node_.now.monotonic + kOrphanRetry;
}

void Leader::OfferSoon() {
  if (orphans_again_at_.has_value()) orphans_again_at_ = node_.now.monotonic;
}

void Leader::OfferAgain() {
  orphans_again_at_.reset();
  groups_without_.clear();
  if (!std::exchange(orphan_scan_.keeps, false)) return;
  orphan_scan_.passed = 0;
  orphan_scan_.wanted = true;
}

}  // namespace storage
