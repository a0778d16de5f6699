#include "cluster/raft/hand_over.h"

#include <algorithm>

namespace cluster {
namespace {

bool MayTakeOver(const RaftGroup::Status& status, ReplicaId replica) {
  return std::any_of(status.progress.begin(), status.progress.end(),
                     [&](const RaftGroup::Progress& member) {
                       return member.replica == replica && status.MayTakeOver(member);
                     });
}

}  // namespace

void HandOver::Run(RaftLoop& loop, absl::Span<const Wanted> wanted, absl::Duration now) {
  for (const Wanted& one : wanted) {
    Given& given = given_[one.group];
    if (given.life != one.life) given = {.life = one.life};
    const absl::StatusOr<RaftGroup::Status> status = loop.GetStatus(one.group);
    if (!status.ok() || !status->leads_current_term) {
      given.led_since = absl::InfiniteDuration();
      continue;
    }
    given.led_since = std::min(given.led_since, now);
    if (now < given.led_since + kLedMin || now < given.at + given.rest) continue;
    if (!MayTakeOver(*status, one.leader)) continue;
    if (!loop.TransferLeadership(one.group, one.leader).ok()) continue;
    const bool again = now < given.at + 2 * kRestMax;
    given.at = now;
    given.rest = again ? std::min(2 * given.rest, kRestMax) : kRestMin;
  }
}

}  // namespace cluster
