// Where time comes from. A core/ gets it as an argument or from a Clock; nothing else reads it.
#ifndef BASE_CLOCK_H_
#define BASE_CLOCK_H_

#include <cstdint>

#include "absl/time/time.h"

namespace base {

// May be used from any thread.
class Clock {
 public:
  virtual ~Clock() = default;

  // Wall clock: for what outlives the process (expiry times in records, certificates, logs).
  // May jump either way.
  virtual absl::Time Now() const = 0;

  // Since an arbitrary fixed moment: for timeouts and latencies. Never goes back.
  virtual absl::Duration Monotonic() const = 0;

  // The same as integers, for what is read with every turn of a loop. The wall clock may be behind
  // by a tick of the kernel's (1 to 10 ms).
  virtual int64_t UnixMs() const { return absl::ToUnixMillis(Now()); }
  virtual int64_t MonotonicNs() const { return absl::ToInt64Nanoseconds(Monotonic()); }
};

// The machine's clocks. One read costs 20 to 50 ns: a shard reads once per turn.
class RealClock final : public Clock {
 public:
  absl::Time Now() const override;
  absl::Duration Monotonic() const override;
  int64_t UnixMs() const override;
  int64_t MonotonicNs() const override;

  // The one instance most programs need.
  static RealClock& Get();
};

}  // namespace base

#endif  // BASE_CLOCK_H_
