// Clients that take one Client Identifier from each other again and again.
#ifndef STORAGE_LEADER_IDENTIFIER_FIGHTS_H_
#define STORAGE_LEADER_IDENTIFIER_FIGHTS_H_

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace storage {

// One that comes back after its network was gone takes its identifier over once. Two devices with
// the same identifier do it for ever, each time at the cost of some commits: such a fight is
// noticed, and each next one has to wait longer before it is let in.
// Part of the host, used on its thread. Times are monotonic.
class IdentifierFights {
 public:
  // So many takeovers are free in so long.
  static constexpr double kFreeTakeovers = 5;
  static constexpr absl::Duration kWindow = absl::Seconds(10);
  static constexpr absl::Duration kFirstPause = absl::Milliseconds(50);
  // Fights that are followed at a time; those of other identifiers are not noticed.
  static constexpr size_t kFightsMax = 10'000;
  // Of all fights, in a window; what is above is only counted.
  static constexpr uint32_t kReportsMax = 10;

  // Nobody waits longer than `pause_max` for one before it; zero: nobody waits.
  explicit IdentifierFights(absl::Duration pause_max) : pause_max_(pause_max) {}

  struct Report {
    uint64_t takeovers = 0;  // Of this identifier since the last report; 0: nothing to be said.
    uint64_t left_out = 0;   // Reports of other identifiers that were not made.
  };

  // The identifier is taken from somebody, or from somebody who waits for it.
  // Cost: one lookup, however many fights there are.
  Report OnTakeover(std::string_view client_id, absl::Duration now) {
    if (fights_.size() >= kFightsMax) Prune(now);
    const absl::string_view key(client_id.data(), client_id.size());
    auto it = fights_.find(key);
    if (it == fights_.end()) {
      if (fights_.size() >= kFightsMax) return {};
      it = fights_.emplace(std::string(client_id), Fight{.level = 0, .at = now}).first;
    }
    Fight& fight = it->second;
    // Not higher than a minute of peace takes down.
    fight.level = std::min(LevelOf(fight, now) + 1, 6 * kFreeTakeovers);
    fight.at = now;
    ++fight.unreported;
    if (fight.level <= kFreeTakeovers || now < fight.report_at) return {};
    fight.report_at = now + kWindow;
    if (now >= reports_until_) {
      reports_until_ = now + kWindow;
      reports_ = 0;
    }
    if (++reports_ > kReportsMax) {
      ++left_out_;
      return {};
    }
    return {std::exchange(fight.unreported, 0), std::exchange(left_out_, 0)};
  }

  // How long the next one is to wait.
  absl::Duration PauseOf(std::string_view client_id, absl::Duration now) const {
    const auto it = fights_.find(absl::string_view(client_id.data(), client_id.size()));
    if (it == fights_.end()) return absl::ZeroDuration();
    const double above = LevelOf(it->second, now) - kFreeTakeovers;
    if (above <= 0) return absl::ZeroDuration();
    // Twice as long with each takeover too many.
    return std::min(kFirstPause * std::exp2(std::min(above, 20.0)), pause_max_);
  }

  size_t size() const { return fights_.size(); }

 private:
  struct Fight {
    double level = 0;  // Takeovers, less what time has taken down since.
    absl::Duration at;
    absl::Duration report_at = -absl::InfiniteDuration();
    uint64_t unreported = 0;
  };

  static double LevelOf(const Fight& fight, absl::Duration now) {
    return std::max(fight.level - kFreeTakeovers * absl::FDivDuration(now - fight.at, kWindow),
                    0.0);
  }
  // Forgets those that are over. Not again at once: they may all go on.
  void Prune(absl::Duration now) {
    if (now < prune_at_) return;
    prune_at_ = now + absl::Seconds(1);
    absl::erase_if(fights_, [&](const auto& it) { return LevelOf(it.second, now) == 0; });
  }

  const absl::Duration pause_max_;
  absl::flat_hash_map<std::string, Fight> fights_;
  absl::Duration prune_at_ = -absl::InfiniteDuration();
  absl::Duration reports_until_ = -absl::InfiniteDuration();
  uint32_t reports_ = 0;
  uint64_t left_out_ = 0;
};

}  // namespace storage
#endif  // STORAGE_LEADER_IDENTIFIER_FIGHTS_H_
