// Messages for `$share` groups that no member has: what a session left when it ended, and wills
// until their members are chosen. They stand in the store until the commit that gives them to a
// durable member, or that says that a transient one may have them now.
#ifndef STORAGE_LEADER_ORPHANS_H_
#define STORAGE_LEADER_ORPHANS_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"
#include "storage/core/effects.h"
#include "storage/core/partition_api.h"
#include "storage/leader/part.h"

namespace storage {

class Orphans : public LeaderPart {
 public:
  explicit Orphans(Leader& leader) : LeaderPart(leader) {}

  void Start();
  // Passes on those that are not passed on yet.
  void Run();
  std::optional<absl::Duration> Next() const;
  void On(Orphaned& effect);
  void Finish(FinishOrphan& step);

  // Asks a shard who is to have it: TakeOffered, or OrphanStays.
  void Offer(uint64_t orphan, ShardId shard, RouteMessage route);
  void Handle(const Asker& from, OrphanStays& request);
  bool TakeOffered(uint64_t orphan);
  void ForgetOrphan(uint64_t orphan, const Asker& asker = {});  // With what is proposed now.
  void Moved(uint64_t orphan) { moving_.erase(orphan); }        // That is applied,
  void ReturnOrphan(uint64_t orphan);                           // or never will be.
  void KeepOrphan();  // It stays where it is, for a while.
  void Withdraw();    // There is a new leader.
  void OfferSoon();   // A member has room again.

 private:
  void PassOn(const Orphaned& orphan);
  void OfferAgain();

  struct Scan {
    uint64_t passed = 0;     // Those up to here have been passed on, or kept.
    bool wanted = false;     // There are more.
    bool keeps = false;      // Some of those passed wait for the next try.
    uint64_t recovered = 0;  // Those up to here were there at the start.
  };
  Scan scan_;
  // At a shard, which is to answer; with their filters. No more are offered than may be.
  absl::flat_hash_map<uint64_t, std::string> offered_;
  absl::flat_hash_set<uint64_t> moving_;             // In a proposal that is not applied.
  absl::flat_hash_set<std::string> groups_without_;  // Members, as a shard said since the last try.
  std::optional<absl::Duration> again_at_;           // Monotonic.
  absl::Duration patience_ends_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_ORPHANS_H_
