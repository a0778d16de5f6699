// How work that takes long leaves the disk and the processors to others.
#ifndef STORAGE_PACER_H_
#define STORAGE_PACER_H_

#include <algorithm>

#include "absl/time/time.h"

namespace storage {

// What is done in small pieces rests five times as long as it worked: so it takes a sixth of what
// there is at most, and less where others make its pieces take longer.
class Pacer {
 public:
  static constexpr absl::Duration kWorkMin = absl::Microseconds(500);  // Before a rest pays.
  static constexpr int kRestPerWork = 5;
  static constexpr absl::Duration kRestMax = absl::Milliseconds(200);

  explicit Pacer(absl::Duration now) : works_from_(now) {}  // Of a monotonic clock.

  // A piece is done: how long to rest. Zero: not yet.
  absl::Duration Rest(absl::Duration now) {
    const absl::Duration worked = now - works_from_;
    if (worked < kWorkMin) return absl::ZeroDuration();
    const absl::Duration rest = std::min(worked * kRestPerWork, kRestMax);
    works_from_ = now + rest;
    return rest;
  }

 private:
  absl::Duration works_from_;
};

}  // namespace storage

#endif  // STORAGE_PACER_H_
