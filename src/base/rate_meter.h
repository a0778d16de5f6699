// Whether something comes faster than it may: a token bucket in eight bytes.
#ifndef BASE_RATE_METER_H_
#define BASE_RATE_METER_H_

#include <algorithm>
#include <cstdint>
#include <limits>

namespace base {

// As much as BurstNs brings may come at once, and always one; what is not used is not saved for
// longer. Time and rate are arguments: a meter knows neither, so a changed rate holds from the next
// event on.
//
// The state is the moment up to which what came is paid for: each event moves it on by its share of
// a second, and it is never further back than the burst.
template <int64_t BurstNs>
class BurstRateMeter {
 public:
  static constexpr uint64_t kAmountMax = uint64_t{1} << 32;  // Of one event.

  // Nanoseconds until another one is within the rate (> 0); 0: it is now.
  int64_t WaitFor(int64_t now_ns, uint64_t per_second) const {
    return std::max<int64_t>(Paid(now_ns, per_second, 1) - now_ns, 0);
  }

  // Something came, whether or not it should have. Returns for how long, in nanoseconds, nothing
  // more should: 0 within the rate.
  int64_t Take(int64_t now_ns, uint64_t per_second, uint64_t amount = 1) {
    paid_until_ns_ = Paid(now_ns, per_second, amount);
    return std::max<int64_t>(paid_until_ns_ - now_ns, 0);
  }

  // Nothing came for so long that it makes no difference any more.
  bool IsRested(int64_t now_ns) const {
    return paid_until_ns_ <= now_ns - std::max<int64_t>(BurstNs, kSecondNs);
  }

 private:
  static constexpr uint64_t kSecondNs = 1'000'000'000;

  int64_t Paid(int64_t now_ns, uint64_t per_second, uint64_t amount) const {
    const uint64_t cost_ns = std::min(amount, kAmountMax) * kSecondNs / per_second;
    const auto burst_ns = static_cast<int64_t>(std::max<uint64_t>(BurstNs, kSecondNs / per_second));
    return std::max(paid_until_ns_, now_ns - burst_ns) + static_cast<int64_t>(cost_ns);
  }

  int64_t paid_until_ns_ = std::numeric_limits<int64_t>::min();
};

// A second's worth at once: for those who come in bursts, and are turned away or held above.
using RateMeter = BurstRateMeter<1'000'000'000>;

// For what can wait its turn: spread evenly.
using EvenRateMeter = BurstRateMeter<20'000'000>;

}  // namespace base

#endif  // BASE_RATE_METER_H_
