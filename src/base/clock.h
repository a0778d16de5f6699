// Where time comes from. A core/ gets it as an argument or from a Clock; nothing else reads it.
#ifndef BASE_CLOCK_H_
#define BASE_CLOCK_H_

#include <cstdint>
#include <string>

#include "absl/time/time.h"

namespace base {

// May be used from any thread.
class Clock {
 public:
  virtual ~Clock() = default;

  // Wall clock: for people and certificates. May jump either way, so nothing waits by it: what
  // outlives the process is timed by base::Timeline.
  virtual absl::Time Now() const = 0;

  // Since an arbitrary fixed moment: for timeouts and latencies. Never goes back.
  virtual absl::Duration Monotonic() const = 0;

  // The same as an integer, for what is read with every turn of a loop.
  virtual int64_t MonotonicNs() const { return absl::ToInt64Nanoseconds(Monotonic()); }

  // Since the machine was started, what it slept included; and which start that was: a text that is
  // never used again, empty if it is not known.
  virtual absl::Duration SinceBoot() const { return Monotonic(); }
  virtual std::string BootId() const { return {}; }
};

// The machine's clocks. One read costs 20 to 50 ns: a shard reads once per turn.
class RealClock final : public Clock {
 public:
  absl::Time Now() const override;
  absl::Duration Monotonic() const override;
  int64_t MonotonicNs() const override;
  absl::Duration SinceBoot() const override;
  std::string BootId() const override;

  // The one instance most programs need.
  static RealClock& Get();
};

}  // namespace base

#endif  // BASE_CLOCK_H_
