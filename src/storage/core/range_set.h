// A set of sequence numbers that lie in few runs: what is done beyond the head of a queue, what of
// an origin's requests was passed over.
#ifndef STORAGE_CORE_RANGE_SET_H_
#define STORAGE_CORE_RANGE_SET_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace storage {

// Sorted disjoint runs [first, last], never adjacent. Empty costs no heap.
class RangeSet {
 public:
  struct Run {
    uint64_t first = 0;
    uint64_t last = 0;
    friend bool operator==(const Run&, const Run&) = default;
  };

  bool contains(uint64_t value) const;
  // Whether it was new. Cost: O(log runs) to find, O(runs) to make room.
  bool insert(uint64_t value);
  // The greatest below `value`; 0: there is none. Cost: O(log runs).
  uint64_t LastBelow(uint64_t value) const;
  // Removes the first run if it begins at `first`, and returns its end; 0 if it does not.
  uint64_t TakeRunAt(uint64_t first);

  // Whether it was there. Cost: as insert.
  bool erase(uint64_t value);
  // Removes all below `value`.
  void EraseBelow(uint64_t value);

  // Numbers in the set, and how many of them are ≤ `value`.
  uint64_t size() const { return size_; }
  uint64_t CountThrough(uint64_t value) const;
  bool empty() const { return runs_.empty(); }
  const std::vector<Run>& runs() const { return runs_; }

  // `run` lies behind all there are, not adjacent. False if it does not.
  bool Append(Run run);
  friend bool operator==(const RangeSet&, const RangeSet&) = default;

 private:
  std::vector<Run> runs_;
  uint64_t size_ = 0;
};

}  // namespace storage

#endif  // STORAGE_CORE_RANGE_SET_H_
