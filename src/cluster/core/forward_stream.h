// Messages on their way from one node to another: numbered, kept until they are there, and known
// there if they come again.
//
// A stream goes from one life of a node to one life of another, over whatever links there are in
// between. It is bounded by what the other node has not taken: who publishes there waits.
#ifndef CLUSTER_CORE_FORWARD_STREAM_H_
#define CLUSTER_CORE_FORWARD_STREAM_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/types/span.h"
#include "cluster/core/node_item.h"
#include "cluster/core/traffic_codec.h"
#include "storage/core/addresses.h"

namespace cluster {

// On their way to one node, as they are encoded, until its shards have taken them. About the same
// on all nodes: what is taken is told in parts of it.
struct ForwardLimits {
  uint64_t messages = 16 * 1024;
  uint64_t bytes = 64 << 20;
};

// Messages of one shard, as AppendForwarded wrote them behind kForwardHeadRoom.
struct ForwardBlock {
  storage::ShardId from = 0;
  uint32_t messages = 0;
  uint64_t receipt = 0;  // The greatest of them: see broker::Forwarding. 0: nobody waits for one.
  std::string bytes;
};

// The end that sends. Used by one thread at a time.
class ForwardSender {
 public:
  // `to`: whose stream it is. 0: nobody's.
  explicit ForwardSender(ForwardLimits limits, storage::Incarnation to = storage::Incarnation())
      : limits_(limits), to_(to) {}

  // Whatever the limits: who forwards asks IsFull first, and what it has by then may go.
  void Add(ForwardBlock block);
  // The next item for the link, until Sent is called. None: all of them are on their way.
  std::optional<std::string_view> Next() const;
  void Sent() {
    kept_[on_link_++].sent = true;
    begun_ = false;
  }
  // A part of it has gone, and the rest has to follow, whatever is taken meanwhile.
  void Begun() { begun_ = true; }
  // What is not known to be there, in order, as items; `sent`: it was given to a link, once at
  // least, and may be there all the same.
  void ForEachKept(absl::FunctionRef<void(std::string_view item, bool sent)> visit) const {
    for (size_t i = 0; i < kept_.size(); ++i)
      visit(std::string_view(kept_[i].bytes).substr(kept_[i].item), kept_[i].sent);
  }
  // The link has ended, and with it the part: nothing has to follow.
  void Interrupted() { begun_ = false; }
  // Another link begins: what is not known to be there goes again, in the same order.
  void Resend() {
    on_link_ = 0;
    begun_ = false;
  }
  // `receipt`: of each block that is there now, if its shard waits for one. False: more is said to
  // be taken than was sent, so the node is not to be believed.
  using Receipt = absl::FunctionRef<void(storage::ShardId from, uint64_t receipt)>;
  [[nodiscard]] bool OnTaken(const ForwardsTaken& taken, Receipt receipt);

  bool IsFull() const { return Reaches(1); }
  // Far enough for those who wait to go on.
  bool HasRoom() const { return !Reaches(2); }
  uint64_t kept_bytes() const { return kept_bytes_; }
  size_t kept() const { return kept_.size(); }  // Blocks.

 private:
  struct Kept {
    uint64_t last = 0;  // Number of its last message.
    storage::ShardId from = 0;
    uint64_t receipt = 0;
    size_t item = 0;  // Where in the block the item begins.
    std::string bytes;
    bool sent = false;
  };
  bool Reaches(uint64_t part) const {
    return added_.messages - taken_.messages >= std::max<uint64_t>(limits_.messages / part, 1) ||
           added_.bytes - taken_.bytes >= std::max<uint64_t>(limits_.bytes / part, 1);
  }

  ForwardLimits limits_;
  storage::Incarnation to_;
  std::deque<Kept> kept_;
  size_t on_link_ = 0;  // The first so many of them were given to the link.
  bool begun_ = false;  // And a part of the one behind these.
  uint64_t kept_bytes_ = 0;
  ForwardsTaken added_;  // All that there ever was, the last number and the sums.
  ForwardsTaken taken_;  // As the other node said last.
};

// The end that receives, of all lives of the sender. Used by one thread at a time.
class ForwardReceiver {
 public:
  ForwardReceiver(ForwardLimits limits, storage::ShardId shards)
      : limits_(limits), on_shards_(shards) {}

  // Another life of the sender: it counts anew.
  void Begin();

  enum class Fate : uint8_t {
    kNew,
    kRepeat,  // It has come before.
    kGap,     // Messages in front of it have not come, which a link does not do. It is taken.
  };
  // A block has come. Of its messages so many could be read; unless it is a repeat they are put
  // into the mailboxes of those shards here. Each shard stands there once, and one does at least.
  struct ForShard {
    storage::ShardId shard = 0;
    uint32_t readable = 0;
  };
  Fate OnBlock(const ForwardHead& head, uint64_t bytes, absl::Span<const ForShard> to);
  // The shard has taken so many in, of this sender's, in their order.
  void Took(storage::ShardId shard, uint64_t messages);

  const ForwardsTaken& taken() const { return taken_; }
  // It is time to say so.
  bool HasNews() const;
  void Told() { told_ = taken_; }

 private:
  struct OnShard {
    uint64_t life = 0;  // Of which of the sender's lives, counted.
    uint32_t messages = 0;
    uint32_t readable = 0;
    uint64_t bytes = 0;
  };

  const ForwardLimits limits_;
  // What lies in the mailbox of each shard, first in first out.
  std::vector<std::deque<OnShard>> on_shards_;
  std::vector<uint64_t> part_taken_ = std::vector<uint64_t>(on_shards_.size());  // Of the first.
  uint64_t life_ = 0;
  ForwardsTaken taken_;
  ForwardsTaken told_;
};

}  // namespace cluster

#endif  // CLUSTER_CORE_FORWARD_STREAM_H_
