#include "storage/leader/orphans.h"

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

void Orphans::Start() {
  scan_.wanted = partition().orphans() != 0;
  scan_.recovered = partition().last_orphan();
  patience_ends_ = node_.now.monotonic + kOrphanPatience;
}

void Orphans::On(Orphaned& /*effect*/) { scan_.wanted = true; }

// Read a page at a time: a session may leave as many as its queue held. While the server ends they
// stay: members go one after the other, and the last would be nobody's.
void Orphans::Run() {
  if (node_.shutting_down || node_.now.monotonic < read_again_at_) return;
  if (again_at_.has_value() && node_.now.monotonic >= *again_at_) OfferAgain();
  Scan& scan = scan_;
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
      PassOn(orphan);
    }
    scan.wanted = page->size() == kOrphansPageMax;
  }
}

// To a durable member with room, in the same commit that forgets it here; or, if there is none or
// it is a will, a shard is asked, which knows all members.
void Orphans::PassOn(const Orphaned& orphan) {
  const uint64_t number = orphan.orphan;
  if (moving_.contains(number) || offered_.contains(number)) return;
  if (orphan.message->has_expired(Now())) {
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

void Orphans::Offer(uint64_t orphan, ShardId shard, RouteMessage route) {
  if (offered_.insert_or_assign(orphan, route.only_filter).second) ++node_.orphans_offered;
  node_.Send(shard, std::move(route));
}

// It is gone with what is proposed now, here and wherever it goes.
void Orphans::ForgetOrphan(uint64_t orphan, const Asker& asker) {
  moving_.insert(orphan);
  ProposeFor(asker).mutable_forget_orphans()->add_orphans(orphan);
  NeedSync();
}

void Orphans::Finish(FinishOrphan& step) {
  moving_.erase(step.orphan);
  if (step.dropped) node_.metrics.dropped_no_member.Add();
  if (step.expired) node_.metrics.dropped_expired.Add();
}

// ---- What the shard says ------------------------------------------------------------------------

// A shard has chosen. False: it was not asked.
bool Orphans::TakeOffered(uint64_t orphan) {
  if (offered_.erase(orphan) == 0) return false;
  --node_.orphans_offered;
  return true;
}

// It is passed on again, with all behind it that is not on its way.
void Orphans::ReturnOrphan(uint64_t orphan) {
  moving_.erase(orphan);
  scan_.passed = std::min(scan_.passed, orphan - 1);
  scan_.wanted = true;
}

void Orphans::Handle(const Asker& /*from*/, OrphanStays& request) {
  const uint64_t orphan = request.orphan.number;
  const auto offered = offered_.find(orphan);
  if (offered == offered_.end()) return;
  const std::string share_filter = std::move(offered->second);
  offered_.erase(offered);
  --node_.orphans_offered;
  const bool recovered = orphan <= scan_.recovered;
  const bool waits = request.members_full || (recovered && node_.now.monotonic < patience_ends_);
  if (waits || node_.shutting_down) {
    if (!share_filter.empty()) groups_without_.insert(share_filter);
    return KeepOrphan();
  }
  if (!Refusal(/*stores=*/false).ok()) return ReturnOrphan(orphan);
  ForgetOrphan(orphan);
  Then(FinishOrphan{.orphan = orphan, .dropped = true});
}

// Until the next try.
void Orphans::KeepOrphan() {
  scan_.keeps = true;
  if (!again_at_.has_value()) again_at_ = node_.now.monotonic + kOrphanRetry;
}

void Orphans::Withdraw() {
  node_.orphans_offered -= offered_.size();
  offered_.clear();
}

void Orphans::OfferSoon() {
  if (again_at_.has_value()) again_at_ = node_.now.monotonic;
}

std::optional<absl::Duration> Orphans::Next() const {
  std::optional<absl::Duration> next;
  if (scan_.wanted) next = std::max(node_.now.monotonic, read_again_at_);
  if (!again_at_.has_value()) return next;
  const absl::Duration again = std::max(*again_at_, read_again_at_);
  return std::min(next.value_or(again), again);
}

void Orphans::OfferAgain() {
  again_at_.reset();
  groups_without_.clear();
  if (!std::exchange(scan_.keeps, false)) return;
  scan_.passed = 0;
  scan_.wanted = true;
}

}  // namespace storage
