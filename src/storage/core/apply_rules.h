// The numbers by which applying a command decides, by apply level.
#ifndef STORAGE_CORE_APPLY_RULES_H_
#define STORAGE_CORE_APPLY_RULES_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "absl/types/span.h"

namespace storage {

// Replicas that apply the same entries must decide alike, also while two releases run side by side.
// So a number that changes what a command makes of the state stands here, under the level that it
// came with, and is never edited: a release that wants another one adds a level at the end. A
// partition is at the level that its state says, and is raised by the command RaiseLevel, which is
// in the log like any other. A command that only some level knows says so (Command.level).
struct ApplyRules {
  // After a connection that ended without CloseSession, the first run_ahead × window_messages
  // messages of the queue count as sent: DUP = 1 although they may not have been. So many may
  // really have been, when a sender does not wait for the commit of an acknowledgement before it
  // sends the next.
  uint64_t run_ahead = 0;
  // A message that is larger, and for several queues, is stored once …
  size_t shared_bytes_min = 0;
  // … or if its copies in this partition would have more than this together.
  size_t copies_bytes_max = 0;
  // How many messages of a full queue are looked at, in search of some that have expired, before it
  // takes no more. Those that wait longest are mostly the first to expire; the host finds the
  // others.
  size_t expired_looked_at_max = 0;
  // What Checksum compares is noted at each entry whose index is a multiple.
  uint64_t digest_noted_every = 1;
  // A will that nobody has fired before its session is opened anew goes into the outbox. (Before
  // that, whoever led when it was opened had to remember it.)
  bool wills_in_outbox = false;
};

// The level from which on commands about the outbox are known; and wills are put into it.
inline constexpr uint32_t kLevelOfOutbox = 1;
// Every release that can be in a cluster knows this one.
inline constexpr uint32_t kLevelInClusters = 1;

inline constexpr ApplyRules kApplyRules[] = {
    // Level 0
    {.run_ahead = 2,
     .shared_bytes_min = 1024,
     .copies_bytes_max = 64 * 1024,
     .expired_looked_at_max = 64,
     .digest_noted_every = 1024},
    // Level 1
    {.run_ahead = 2,
     .shared_bytes_min = 1024,
     .copies_bytes_max = 64 * 1024,
     .expired_looked_at_max = 64,
     .digest_noted_every = 1024,
     .wills_in_outbox = true},
};

// The greatest level among them.
constexpr uint32_t GreatestLevel(absl::Span<const ApplyRules> rules) {
  return static_cast<uint32_t>(rules.size() - 1);
}

// What a sender may count on, whatever level its partition is at, or is raised to.
inline constexpr uint64_t kRunAhead =
    std::min_element(
        std::begin(kApplyRules), std::end(kApplyRules),
        [](const ApplyRules& a, const ApplyRules& b) { return a.run_ahead < b.run_ahead; })
        ->run_ahead;

}  // namespace storage

#endif  // STORAGE_CORE_APPLY_RULES_H_
