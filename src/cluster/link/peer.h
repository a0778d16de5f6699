// Another node, as the links' own thread sees it: when to connect to it, and when to give it up.
#ifndef CLUSTER_LINK_PEER_H_
#define CLUSTER_LINK_PEER_H_

#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>

#include "absl/time/time.h"
#include "base/rng.h"
#include "cluster/core/node_life.h"
#include "cluster/link/options.h"

namespace cluster {

// Plain state, without streams: those are made when it says so, and dropped when it says so. `now`
// is monotonic.
class PeerState {
 public:
  enum class Phase { kDown, kConnecting, kUp };
  enum class Wish {
    kNothing,
    kConnect,
    kPing,
    kGiveUp,  // `why` says it.
  };

  PeerState(const LinkOptions& options, base::Rng rng)
      : options_(options), rng_(rng), retry_(options.retry_first) {}

  // What is to be done now. After kConnect it is connecting, after kGiveUp it is down.
  Wish Look(absl::Duration now) {
    switch (phase_) {
      case Phase::kDown:
        if (now < next_try_) return Wish::kNothing;
        phase_ = Phase::kConnecting;
        give_up_at_ = now + options_.connect_within;
        welcomes_ = 0;
        return Wish::kConnect;
      case Phase::kConnecting:
        if (now < give_up_at_) return Wish::kNothing;
        Lose(now, "there is no answer");
        return Wish::kGiveUp;
      case Phase::kUp:
        if (now >= heard_ + options_.silence_max) {
          Lose(now, "the node does not answer any more");
          return Wish::kGiveUp;
        }
        if (now < next_ping_) return Wish::kNothing;
        next_ping_ = now + options_.heartbeat;
        return Wish::kPing;
    }
    return Wish::kNothing;
  }
  // When to look again, if nothing comes.
  absl::Duration next_look() const {
    switch (phase_) {
      case Phase::kDown:
        return next_try_;
      case Phase::kConnecting:
        return give_up_at_;
      case Phase::kUp:
        break;
    }
    return std::min(next_ping_, heard_ + options_.silence_max);
  }

  // One of its streams is welcome. True: with this all are, and it is up.
  bool OnWelcome(NodeLife life, absl::Duration now) {
    if (phase_ != Phase::kConnecting || ++welcomes_ < kLinkClasses) return false;
    phase_ = Phase::kUp;
    called_ = false;
    life_ = life;
    heard_ = up_since_ = next_ping_ = now;
    round_trip_ = absl::ZeroDuration();
    why_.clear();
    return true;
  }
  void OnPong(absl::Duration sent, absl::Duration now) {
    heard_ = now;
    round_trip_ = now - sent;
  }
  // It is down, and is tried again: soon, if it stood for a while, else later each time.
  void Lose(absl::Duration now, std::string why) {
    if (phase_ == Phase::kUp && now - up_since_ > options_.retry_most)
      retry_ = options_.retry_first;
    next_try_ = now + retry_ * (0.5 + 0.5 * rng_.Unit());
    retry_ = std::min(retry_ * 2, options_.retry_most);
    if (std::exchange(called_, false)) TryAtOnce();
    phase_ = Phase::kDown;
    life_ = {};
    why_ = std::move(why);
  }
  // It has connected to us, so it is there; what is being tried may have come too early, or go
  // where it was before.
  void OnCalled() {
    if (phase_ == Phase::kDown) TryAtOnce();
    called_ = phase_ == Phase::kConnecting;
  }
  // It is elsewhere, or so are we: at once.
  void TryAtOnce() {
    retry_ = options_.retry_first;
    next_try_ = -absl::InfiniteDuration();
  }

  Phase phase() const { return phase_; }
  NodeLife life() const { return life_; }
  absl::Duration round_trip() const { return round_trip_; }
  const std::string& why() const { return why_; }

 private:
  const LinkOptions& options_;
  base::Rng rng_;
  Phase phase_ = Phase::kDown;
  absl::Duration next_try_ = -absl::InfiniteDuration();
  absl::Duration retry_;
  absl::Duration give_up_at_;
  size_t welcomes_ = 0;
  bool called_ = false;  // While it was being connected to.
  NodeLife life_;
  absl::Duration up_since_;
  absl::Duration heard_;
  absl::Duration next_ping_;
  absl::Duration round_trip_;
  std::string why_ = "it was not tried yet";
};

}  // namespace cluster

#endif  // CLUSTER_LINK_PEER_H_
