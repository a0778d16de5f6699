// Which routes the shards of other nodes know, and what other nodes want to know of this one's.
#ifndef STORAGE_LEADER_ROUTES_ELSEWHERE_H_
#define STORAGE_LEADER_ROUTES_ELSEWHERE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "storage/core/host_message.h"
#include "storage/leader/node.h"

namespace storage {

// Part of the host, used on its thread. Every node tells its own shards what routes come of
// its replicas, and of what it is told of the partitions that it lacks (FedRoutes). Whoever leads
// asks whether they know: one question to each node at a time and for each partition, for all that
// waits by then. One that stays without an answer is asked again every second while the storage of
// this node works: by that a node whose own takes nothing knows that it holds up others, and steps
// aside (storage/leader/aside.h).
class RoutesElsewhere {
 public:
  explicit RoutesElsewhere(Node& node);

  void Hear(NodeId from, Incarnation life, const HostMessage& message);
  // Its link broke, or its life is over.
  void Resync(NodeId node);
  void ForgetNode(const LiveNode& gone);

  // ---- Of the partitions that are led here.
  // All are to know what is applied by now. Returns of which entry that is.
  uint64_t Want(PartitionId id);
  bool AllKnow(PartitionId id, uint64_t index) const;
  void Ask();
  // At the beginning of a turn, before anything waits for the disk: whoever says that it works has
  // not stood still just before.
  void AskAgain();
  // When it has something to ask. Monotonic.
  std::optional<absl::Duration> Next() const;

  // ---- What others ask: `confirm` calls back once this node's shards know all that they were told
  // by then.
  void Answer(const std::function<void(std::function<void()> known)>& confirm);
  // The same before any client is let in here: nobody has to wait until then. What was said so is
  // to be so first (IsSo).
  void AnswerBeforehand();
  bool IsSo() const { return AreTold(beforehand_); }
  // Whether this node's shards have been told what the partitions' entries up to these have made;
  // of one that has stopped nobody is ever told more.
  bool AreTold(const std::vector<uint64_t>& through) const;

 private:
  // What another node is known to know of a partition, and was asked.
  struct Knowledge {
    uint64_t known = 0;
    uint64_t asked = 0;
    uint64_t ticket = 0;  // 0: there is no question under way.
    absl::Duration asked_at;
  };
  using Place = std::pair<PartitionId, NodeId>;
  struct Question : KnowRoutes {
    Incarnation life;  // Of who asks.
  };

  void On(NodeId from, const RoutesKnown& message);
  bool Insists() const;
  bool IsAwaited(const Place& place, const Knowledge& knowledge) const;

  Node& node_;
  std::vector<uint64_t> wanted_;  // By partition: up to which entry.
  std::map<Place, Knowledge> others_;
  std::map<Place, Question> questions_;  // Of others, that wait for entries to be applied.
  std::vector<uint64_t> beforehand_;     // By partition: up to which entry was answered so.
  uint64_t last_ticket_ = 0;
};

}  // namespace storage

#endif  // STORAGE_LEADER_ROUTES_ELSEWHERE_H_
