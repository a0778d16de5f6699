// A machine of the simulated cluster: what is there whether mqttd runs on it or not.
#ifndef TESTS_CLUSTER_SIM_MACHINE_H_
#define TESTS_CLUSTER_SIM_MACHINE_H_

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "cluster/core/members.h"
#include "cluster/core/node_life.h"
#include "cluster/raft/types.h"
#include "storage/core/time_record.h"
#include "tests/broker/shard/agenda.h"
#include "tests/cluster/memory_entry_store.h"
#include "tests/storage/forgetful_disk.h"

namespace simulator {

// Runs a little too fast or too slow; its wall clock is set now and then.
class MachineClock final : public base::Clock {
 public:
  MachineClock(const sim::Agenda& agenda, int64_t parts_per_million, absl::Duration wall_skew)
      : agenda_(agenda), parts_per_million_(parts_per_million), wall_skew_(wall_skew) {}

  absl::Time Now() const override {
    return absl::FromUnixSeconds(1'700'000'000) + Monotonic() + wall_skew_;
  }
  absl::Duration Monotonic() const override { return absl::Nanoseconds(MonotonicNs()); }
  int64_t MonotonicNs() const override {
    const int64_t now = agenda_.now_ns();
    return now + now / 1000 * parts_per_million_ / 1000;
  }
  absl::Duration SinceBoot() const override { return Monotonic() - booted_; }
  std::string BootId() const override { return absl::StrCat("boot ", boots_); }

  // How long it is, in the simulation's time, until this clock shows so much.
  absl::Duration Until(int64_t monotonic_ns) const {
    const int64_t left = std::max<int64_t>(monotonic_ns - MonotonicNs(), 0);
    return absl::Nanoseconds(left - left / 1000 * parts_per_million_ / 1000 + 1000);
  }
  void SetWall(absl::Duration by) { wall_skew_ += by; }
  void Reboot() {
    ++boots_;
    booted_ = Monotonic();
  }

 private:
  const sim::Agenda& agenda_;
  const int64_t parts_per_million_;
  absl::Duration wall_skew_;
  absl::Duration booted_;
  int boots_ = 1;
};

inline constexpr uint64_t kDiskBytes = uint64_t{1} << 30;

// How its disk is just now.
struct DiskState {
  absl::Duration sync_least = absl::Microseconds(50);
  absl::Duration sync_most = absl::Milliseconds(3);
  bool fails = false;
  bool low = false;   // Hardly anything more fits.
  bool full = false;  // Nothing more fits.
};

struct Machine {
  Machine(const sim::Agenda& agenda, cluster::NodeId its_id, int64_t parts_per_million,
          absl::Duration wall_skew)
      : id(its_id), clock(agenda, parts_per_million, wall_skew) {}

  void Fill() {
    disk.full = disk.low = true;
    state.FailWith(absl::ResourceExhaustedError("no space left on device"));
  }
  void MendDisk() {
    ++mended;
    disk = {};
    state.FailWith(absl::OkStatus());
  }
  // The power fails: what was not synced may be gone.
  void LosePower(base::Rng& rng) {
    state.Crash();
    log.Crash(rng);
    clock.Reboot();
    if (disk.full) Fill();
  }
  // The process dies alone. What it had given to the system is there; but the state has no log of
  // its own.
  void LoseProcess() {
    state.Crash();
    if (disk.full) Fill();
  }

  const cluster::NodeId id;
  MachineClock clock;
  DiskState disk;
  uint64_t mended = 0;  // So many times its disk was.

  // ---- On the disk.
  storage::MemoryState state;
  cluster::MemoryEntryStore log;
  bool founds = true;  // Else it joins.
  bool was_member = false;
  uint32_t incarnation = 0;  // The last that was begun.
  std::optional<cluster::Members> members;
  cluster::Place members_place;
  std::optional<storage::TimeRecord> time;

  int64_t stopped_until_ns = 0;  // Its process stands still, as after SIGSTOP.
};

// What one process has planned: nothing of it happens once the process is dead, and all of it later
// while the process stands still.
class Life {
 public:
  Life(sim::Agenda& agenda, const Machine& machine) : agenda_(agenda), machine_(machine) {}

  void After(absl::Duration delay, std::function<void()> act) {
    agenda_.After(delay, [this, alive = std::weak_ptr<bool>(alive_), act = std::move(act)] {
      if (!alive.expired()) Act(std::move(act));
    });
  }
  const MachineClock& clock() const { return machine_.clock; }
  bool stands_still() const { return machine_.stopped_until_ns > agenda_.now_ns(); }

 private:
  void Act(std::function<void()> act) {
    const int64_t stopped = machine_.stopped_until_ns - agenda_.now_ns();
    if (stopped <= 0) return act();
    After(absl::Nanoseconds(stopped), std::move(act));
  }

  sim::Agenda& agenda_;
  const Machine& machine_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace simulator

#endif  // TESTS_CLUSTER_SIM_MACHINE_H_
