// Where in a group's log how many bytes lie.
#ifndef CLUSTER_RAFT_LOG_MARKS_H_
#define CLUSTER_RAFT_LOG_MARKS_H_

#include <algorithm>
#include <cstdint>
#include <deque>

namespace cluster {

// About: every so many bytes an entry is marked, and a log is cut at marks only. Memory: one mark
// for each. What is written over counts until the log is cut behind it.
class LogMarks {
 public:
  struct Mark {
    uint64_t index = 0;
    uint64_t bytes = 0;  // Of the entries up to it, since the group was added.
  };

  explicit LogMarks(uint64_t bytes_apart) : bytes_apart_(bytes_apart) {}

  // Entries (begin, last] are in the log since before the start, as if all alike.
  void AddStored(uint64_t begin, uint64_t last, uint64_t bytes) {
    constexpr uint64_t kMarksMax = 256;
    const uint64_t entries = last - begin;
    const uint64_t marks = std::min({entries, bytes / bytes_apart_ + 1, kMarksMax});
    begin_ = {.index = begin};
    for (uint64_t mark = 1; mark < marks; ++mark)
      marks_.push_back({.index = begin + entries * mark / marks, .bytes = bytes * mark / marks});
    marks_.push_back({.index = last, .bytes = bytes});
    bytes_ = bytes;
  }

  // Entries from `first` to `last` are written; what was there from `first` on is no more.
  void Append(uint64_t first, uint64_t last, uint64_t bytes) {
    while (!marks_.empty() && marks_.back().index >= first) marks_.pop_back();
    bytes_ += bytes;
    if (marks_.empty() || bytes_ - marks_.back().bytes >= bytes_apart_)
      marks_.push_back({.index = last, .bytes = bytes_});
  }

  // The log is empty, and goes on behind that entry.
  void Restart(uint64_t index) {
    begin_ = {.index = index, .bytes = bytes_};
    marks_.assign({begin_});
  }

  // The last marked entry up to `limit`; where the log begins if there is none.
  Mark LastUpTo(uint64_t limit) const {
    Mark last = begin_;
    for (const Mark& mark : marks_) {
      if (mark.index > limit) break;
      last = mark;
    }
    return last;
  }
  // The last marked entry behind which that many bytes lie. Likewise.
  Mark LastWithBehind(uint64_t bytes) const {
    Mark last = begin_;
    for (const Mark& mark : marks_) {
      if (bytes_ - mark.bytes < bytes) break;
      last = mark;
    }
    return last;
  }

  // The log begins behind that entry now.
  void Cut(const Mark& mark) {
    begin_ = mark;
    while (!marks_.empty() && marks_.front().index <= mark.index) marks_.pop_front();
  }

  uint64_t bytes() const { return bytes_ - begin_.bytes; }  // In the log.
  uint64_t BytesUpTo(const Mark& mark) const { return mark.bytes - begin_.bytes; }

 private:
  const uint64_t bytes_apart_;
  uint64_t bytes_ = 0;
  Mark begin_;
  std::deque<Mark> marks_;
};

}  // namespace cluster

#endif  // CLUSTER_RAFT_LOG_MARKS_H_
