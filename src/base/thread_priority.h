// Which of this process's threads goes first where processors are fewer than threads that could
// run.
#ifndef BASE_THREAD_PRIORITY_H_
#define BASE_THREAD_PRIORITY_H_

namespace base {

enum class ThreadPriority {
  // A client waits for each of its turns, and the turns are short. It is scheduled at once and
  // often rather than for long: a time slice of kShortSliceNs, which Linux knows from 6.12 on.
  kTurns,
  // What it does takes its time, on disk or in computing, and is mostly for many clients at once.
  kWork,
  // No client waits for it: an operator's lists, a backup that is verified. It has what the others
  // leave, and a long time slice, for on Linux from 6.12 on whoever has a shorter one need not wait
  // until its slice is over.
  kSpare,
};

inline constexpr long kShortSliceNs = 100'000;     // The least that Linux grants,
inline constexpr long kLongSliceNs = 100'000'000;  // and the most.

// Of the calling thread. Relative to the priority that the process was started with, so `nice`,
// systemd's Nice= and the like hold for all of them. What the system refuses stays as it is: the
// threads then share alike. Costs nothing where processors are free.
void SetThreadPriority(ThreadPriority priority);

}  // namespace base
#endif  // BASE_THREAD_PRIORITY_H_
