#include "storage/core/range_set.h"

#include <algorithm>
#include <iterator>

namespace storage {
namespace {

// The first run that ends at or behind `value`.
template <typename Runs>
auto RunAtOrAfter(Runs& runs, uint64_t value) {
  return std::lower_bound(runs.begin(), runs.end(), value,
                          [](const RangeSet::Run& run, uint64_t v) { return run.last < v; });
}

}  // namespace

bool RangeSet::contains(uint64_t value) const {
  const auto run = RunAtOrAfter(runs_, value);
  return run != runs_.end() && run->first <= value;
}

bool RangeSet::insert(uint64_t value) {
  const auto next = RunAtOrAfter(runs_, value);
  if (next != runs_.end() && next->first <= value) return false;
  const bool joins_next = next != runs_.end() && next->first == value + 1;
  const bool joins_before = next != runs_.begin() && std::prev(next)->last + 1 == value;
  if (joins_before && joins_next) {
    std::prev(next)->last = next->last;
    runs_.erase(next);
  } else if (joins_before) {
    std::prev(next)->last = value;
  } else if (joins_next) {
    next->first = value;
  } else {
    runs_.insert(next, {value, value});
  }
  ++size_;
  return true;
}

bool RangeSet::erase(uint64_t value) {
  const auto run = RunAtOrAfter(runs_, value);
  if (run == runs_.end() || run->first > value) return false;
  --size_;
  if (run->first == run->last) {
    runs_.erase(run);
  } else if (run->first == value) {
    ++run->first;
  } else if (run->last == value) {
    --run->last;
  } else {
    const Run rest{value + 1, run->last};
    run->last = value - 1;
    runs_.insert(std::next(run), rest);
  }
  return true;
}

void RangeSet::EraseBelow(uint64_t value) {
  if (value == 0) return;
  size_ -= CountThrough(value - 1);
  const auto kept = RunAtOrAfter(runs_, value);
  if (kept != runs_.end() && kept->first < value) kept->first = value;
  runs_.erase(runs_.begin(), kept);
}

uint64_t RangeSet::LastBelow(uint64_t value) const {
  const auto run = RunAtOrAfter(runs_, value);
  if (run != runs_.end() && run->first < value) return value - 1;
  return run == runs_.begin() ? 0 : std::prev(run)->last;
}

uint64_t RangeSet::TakeRunAt(uint64_t first) {
  if (runs_.empty() || runs_.front().first != first) return 0;
  const uint64_t last = runs_.front().last;
  size_ -= last - first + 1;
  runs_.erase(runs_.begin());
  return last;
}

uint64_t RangeSet::CountThrough(uint64_t value) const {
  uint64_t count = 0;
  for (const Run& run : runs_) {
    if (run.first > value) break;
    count += std::min(run.last, value) - run.first + 1;
  }
  return count;
}

bool RangeSet::Append(Run run) {
  if (run.last < run.first) return false;
  if (!runs_.empty() && run.first <= runs_.back().last + 1) return false;
  runs_.push_back(run);
  size_ += run.last - run.first + 1;
  return true;
}

}  // namespace storage
