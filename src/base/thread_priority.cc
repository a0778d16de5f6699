#include "base/thread_priority.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <optional>

namespace base {
namespace {

// A tenth of what a thread of kTurns gets when both want all of a processor: enough to come forward
// all the same, for the others may wait for what it does or holds.
constexpr int kWorkNice = 10;
// The lowest. Not SCHED_IDLE: that gets nothing at all for as long as others want everything, and
// whoever waits for a lock that it holds would wait with it.
constexpr int kSpareNice = 19;

// sched_setattr(2). glibc has it from 2.41 on.
struct SchedAttr {
  uint32_t size = sizeof(SchedAttr);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0;  // Of an ordinary thread: its slice.
  uint64_t deadline = 0;
  uint64_t period = 0;
  uint32_t util_min = 0;
  uint32_t util_max = 0;
};
static_assert(sizeof(SchedAttr) == 56);

constexpr uint64_t kKeepPolicy = 0x08;  // SCHED_FLAG_KEEP_POLICY

// Of one thread, on Linux: the process's is that of its first thread.
std::optional<int> Nice(pid_t thread) {
  errno = 0;
  const int nice = getpriority(PRIO_PROCESS, static_cast<id_t>(thread));
  return errno == 0 ? std::optional(nice) : std::nullopt;
}

void Lower(int levels) {
  const std::optional<int> started_with = Nice(getpid());
  if (started_with.has_value()) (void)setpriority(PRIO_PROCESS, 0, *started_with + levels);
}

void SetSlice(long slice_ns) {
  const std::optional<int> nice = Nice(0);
  if (!nice.has_value()) return;
  SchedAttr wanted;
  wanted.flags = kKeepPolicy;
  wanted.nice = *nice;
  wanted.runtime = static_cast<uint64_t>(slice_ns);
  (void)syscall(SYS_sched_setattr, 0, &wanted, 0);
}

}  // namespace

void SetThreadPriority(ThreadPriority priority) {
  switch (priority) {
    case ThreadPriority::kTurns:
      return SetSlice(kShortSliceNs);
    case ThreadPriority::kWork:
      return Lower(kWorkNice);
    case ThreadPriority::kSpare:
      Lower(kSpareNice);
      return SetSlice(kLongSliceNs);
  }
}

}  // namespace base
