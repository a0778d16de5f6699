// Whether this node steps aside, because its storage takes nothing and others have to wait for it.
#ifndef STORAGE_LEADER_ASIDE_H_
#define STORAGE_LEADER_ASIDE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "storage/core/host_message.h"

namespace storage {

// A SUBACK waits until every node's shards know the route (RoutesElsewhere), and they learn it from
// the node's own replica. One that applies nothing, since its disk fails or hangs, would hold up
// all SUBACKs. But a node without clients need not know routes: nobody publishes there. So it
// closes its clients and lets none in, and from then on it is as one that starts: it says of every
// route that it is known, and takes clients again when that has become true.
//
//   kServes -> kClosing    a leader has asked for the same thing for 5 s, and for as long this
//                          node's storage takes nothing. Whoever asks again works itself, and is
//                          not aside: so they never are all, and a node alone never is
//   kClosing -> kAside     no shard has a client any more. Questions are answered beforehand
//   kAside -> kReturning   storage has worked for 10 s. Questions are answered when it is so
//   kReturning -> kServes  the shards know all that was answered beforehand
//
// What decides must not hang with the disk: questions are heard on the thread on which they come
// in, and of the host's thread it is known since when it has been in a turn. So more than one
// thread uses it, under a lock. Times are monotonic.
class Aside {
 public:
  static constexpr absl::Duration kPatience = absl::Seconds(5);
  static constexpr absl::Duration kWorksFor = absl::Seconds(10);

  explicit Aside(uint32_t partitions) : beforehand_(partitions, 0) {}

  // `log_since`: that write of the log has been under way; infinitely late: there is none.
  struct Moment {
    absl::Duration now;
    absl::Duration log_since = absl::InfiniteDuration();
    // Whoever asks others meanwhile would rather be asked.
    bool log_is_late() const { return log_since + absl::Seconds(1) <= now; }
  };

  // ---- Where questions come in.
  enum class Then : uint8_t {
    kPassOn,     // The host answers.
    kStepAside,  // Likewise; clients are to be closed, and then Closed is to be called.
    kAnswer,     // They are known: it is to be said now, and the host need not hear of it.
  };
  Then Hear(NodeId from, const KnowRoutes& question, const Moment& moment);
  void Closed();
  // It is not kServes.
  bool is_aside() const { return state_ != State::kServes; }
  // In words, why it steps aside. Empty: it does not.
  std::string why() const { return is_aside() ? why_ : ""; }

  // ---- The host's thread: around whatever may wait for the disk. `standing`: Node::Standing.
  void BeginTurn(absl::Duration now);
  void EndTurn(const absl::Status& standing, const Moment& moment);
  // Between turns. Not 0: all that was answered beforehand has been told to the shards, and
  // when they confirm it Return is to be called with this. `told`: RoutesElsewhere::AreTold.
  uint64_t MayReturn(absl::Duration now,
                     absl::FunctionRef<bool(const std::vector<uint64_t>& through)> told);
  // True: clients are to be let in.
  bool Return(uint64_t attempt);

 private:
  enum class State : uint8_t { kServes, kClosing, kAside, kReturning };
  struct Asked {
    uint64_t ticket = 0;
    absl::Duration since;
  };

  void Set(State state);
  std::string WhyItStands(const Moment& moment) const;

  State state_ = State::kServes;
  std::string why_;
  // What leaders wait for, by partition and node.
  std::map<std::pair<PartitionId, NodeId>, Asked> asked_;
  // By partition: up to which entry it was said beforehand that all is known.
  std::vector<uint64_t> beforehand_;
  uint64_t attempts_ = 0;  // To return.
  bool shards_are_asked_ = false;

  // Of the host's thread: since when it has been in a turn; since when it says that nothing is
  // applied, and why; since when everything has worked.
  std::optional<absl::Duration> turns_since_;
  std::optional<absl::Duration> stands_since_;
  absl::Status standing_;
  std::optional<absl::Duration> works_since_;
};

}  // namespace storage

#endif  // STORAGE_LEADER_ASIDE_H_
