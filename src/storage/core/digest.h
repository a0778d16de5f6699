// A number by which replicas that have applied the same entries know that they are equal.
#ifndef STORAGE_CORE_DIGEST_H_
#define STORAGE_CORE_DIGEST_H_

#include <cstdint>

namespace storage {

// What was changed. Values are in digests, which replicas of different releases compare: they stay.
enum class Change : uint8_t {
  kOutcome = 1,
  kLimits = 2,
  kLevel = 3,
  kOpened = 4,
  kClosed = 5,
  kEnded = 6,
  kSubscribed = 7,
  kUnsubscribed = 8,
  kReplayed = 9,
  kAppended = 10,
  kReleased = 11,
  kDone = 12,
  kInbound = 13,
  kInboundReleased = 14,
  kRetained = 15,
  kRetainedRemoved = 16,
  kOutboxAdded = 17,
  kOutboxDone = 18,
  kOutboxAssigned = 19,
};

// Each change is mixed into a number, and the digest is the sum of all there were: so the order in
// which one entry goes through several sessions, which memory decides, does not count. Cost: three
// multiplications. It finds replicas that decided differently; against a liar it is no help.
class Digest {
 public:
  explicit Digest(uint64_t value = 0) : value_(value) {}
  uint64_t value() const { return value_; }

  void Add(Change what, uint64_t a, uint64_t b = 0, uint64_t c = 0) {
    uint64_t mixed = (a ^ uint64_t{static_cast<uint8_t>(what)} << 56) * 0x9E3779B97F4A7C15;
    mixed = (mixed ^ mixed >> 32 ^ b) * 0xD6E8FEB86659FD93;
    mixed = (mixed ^ mixed >> 32 ^ c) * 0xD6E8FEB86659FD93;
    value_ += mixed ^ mixed >> 32;
  }

 private:
  uint64_t value_;
};

}  // namespace storage

#endif  // STORAGE_CORE_DIGEST_H_
