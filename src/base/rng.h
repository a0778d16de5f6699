// Chance from a seed: the same seed gives the same run, on every machine.
#ifndef BASE_RNG_H_
#define BASE_RNG_H_

#include <cstdint>
#include <limits>

namespace base {

// xoshiro256++ seeded through splitmix64. A UniformRandomBitGenerator, so it fits std::shuffle and
// absl::Uniform; use the members where a replay must not depend on a library. Not for secrets:
// those come from OpenSSL. Belongs to one thread.
class Rng {
 public:
  using result_type = uint64_t;

  explicit Rng(uint64_t seed);

  // A generator nobody can predict the run of, seeded by the system.
  static Rng FromEntropy();

  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return std::numeric_limits<uint64_t>::max(); }
  uint64_t operator()();

  // Uniform in [0, bound); bound > 0.
  uint64_t Below(uint64_t bound);
  // Uniform in [low, high].
  int64_t Between(int64_t low, int64_t high);
  // Uniform in [0, 1).
  double Unit();
  // True with the given probability.
  bool Chance(double probability) { return Unit() < probability; }

  // A generator of its own for a part, so that what one part draws does not shift another.
  Rng Fork() { return Rng((*this)()); }

 private:
  uint64_t state_[4];
};

}  // namespace base

#endif  // BASE_RNG_H_
