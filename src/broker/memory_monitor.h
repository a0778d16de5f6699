// Looks at how much memory the process uses, and tells when that is too much.
#ifndef BROKER_MEMORY_MONITOR_H_
#define BROKER_MEMORY_MONITOR_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <iosfwd>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "broker/core/memory_gate.h"

namespace broker {

// Resident memory of this process, in bytes; 0 if the system does not say.
uint64_t ResidentBytes();

// Files that may limit this process's memory, given the text of /proc/self/cgroup: in a container
// the limit stands at the root of what it sees, under systemd in the service's own group or one
// above.
std::vector<std::string> MemoryLimitFiles(std::istream& own_cgroups);

// What this process may use: the machine's memory, or its cgroup's limit where that is less.
uint64_t UsableMemoryBytes();

// A thread of its own, for what it does when memory is short (returning free memory to the system)
// takes its time. Any thread may read the numbers.
class MemoryMonitor {
 public:
  static constexpr absl::Duration kInterval = absl::Milliseconds(250);

  // `used_bytes` and `on_change(high)` are called on that thread, between `Start` and `Stop`.
  MemoryMonitor(uint64_t high_bytes, std::function<uint64_t()> used_bytes,
                std::function<void(bool)> on_change);
  ~MemoryMonitor();
  MemoryMonitor(const MemoryMonitor&) = delete;
  MemoryMonitor& operator=(const MemoryMonitor&) = delete;

  void Start();
  void Stop();  // Idempotent.

  uint64_t high_bytes() const { return high_bytes_; }
  uint64_t used_bytes() const { return used_.load(std::memory_order_relaxed); }
  bool high() const { return high_.load(std::memory_order_acquire); }  // `on_change` was called.
  uint64_t rises() const { return rises_.load(std::memory_order_relaxed); }

 private:
  void Run();
  void Look();

  const uint64_t high_bytes_;
  const std::function<uint64_t()> read_used_;
  const std::function<void(bool)> on_change_;
  MemoryGate gate_;        // The thread's.
  int looks_to_trim_ = 0;  // Likewise.
  std::atomic<uint64_t> used_{0};
  std::atomic<bool> high_{false};
  std::atomic<uint64_t> rises_{0};
  base::Mutex mutex_;
  base::CondVar stopped_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace broker
#endif  // BROKER_MEMORY_MONITOR_H_
