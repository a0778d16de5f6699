#include "base/rng.h"

#include <bit>
#include <random>

#include "base/check.h"

namespace base {

Rng::Rng(uint64_t seed) {
  for (uint64_t& word : state_) {  // splitmix64: never leaves all four words zero.
    seed += 0x9e3779b97f4a7c15;
    uint64_t mixed = seed;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    word = mixed ^ (mixed >> 31);
  }
}

Rng Rng::FromEntropy() {
  std::random_device device;
  return Rng((uint64_t{device()} << 32) | device());
}

uint64_t Rng::operator()() {
  const uint64_t result = std::rotl(state_[0] + state_[3], 23) + state_[0];
  const uint64_t shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return result;
}

uint64_t Rng::Below(uint64_t bound) {
  DCHECK(bound > 0) << "nothing is below zero";
  const uint64_t unfair = (max() - bound + 1) % bound;  // 2^64 mod bound.
  for (;;) {
    const uint64_t drawn = (*this)();
    if (drawn >= unfair) return drawn % bound;
  }
}

int64_t Rng::Between(int64_t low, int64_t high) {
  DCHECK(low <= high) << low << " > " << high;
  const uint64_t span = static_cast<uint64_t>(high) - static_cast<uint64_t>(low) + 1;
  const uint64_t offset = span == 0 ? (*this)() : Below(span);
  return static_cast<int64_t>(static_cast<uint64_t>(low) + offset);
}

double Rng::Unit() { return static_cast<double>((*this)() >> 11) * 0x1.0p-53; }

}  // namespace base
