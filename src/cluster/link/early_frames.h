// What has come from another node before it can be taken.
#ifndef CLUSTER_LINK_EARLY_FRAMES_H_
#define CLUSTER_LINK_EARLY_FRAMES_H_

#include <deque>
#include <utility>

#include "cluster/link/received_frame.h"

namespace cluster {

// The frames of one node, as long as it is not known that its life is there, or nobody here serves
// yet. They count against what may be on its way by their link, so there is a bound for each; those
// of an earlier link are let go when one of a later link comes: whoever takes that asks for all
// that the node has under way. Used under its owner's lock.
class EarlyFrames {
 public:
  bool empty() const { return frames_.empty(); }
  size_t size() const { return frames_.size(); }

  // Behind those of its link.
  void Add(ReceivedFrame frame) {
    if (!frames_.empty() && frame.link() < frames_.back().link()) return frame.Took();
    if (!frames_.empty() && frame.link() > frames_.back().link()) {
      for (ReceivedFrame& earlier : frames_) earlier.Took();
      frames_.clear();
    }
    frames_.push_back(std::move(frame));
  }
  std::deque<ReceivedFrame> Take() { return std::exchange(frames_, {}); }

 private:
  std::deque<ReceivedFrame> frames_;  // All of one link.
};

}  // namespace cluster

#endif  // CLUSTER_LINK_EARLY_FRAMES_H_
