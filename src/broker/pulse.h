// Whether a thread still takes what is put into its mailbox.
#ifndef BROKER_PULSE_H_
#define BROKER_PULSE_H_

#include <atomic>
#include <cstdint>

namespace broker {

// Of one thread. A watcher asks every second; the thread answers when it comes to it. What is
// counted are seconds in which the watcher itself ran, so a process that was stopped, or a machine
// that slept, is not taken for one that is stuck.
class Pulse {
 public:
  // The watcher's, once a second. True: the last beat was answered, send the next.
  bool Ask() {
    if (waiting_.load(std::memory_order_acquire)) {
      missed_.fetch_add(1, std::memory_order_relaxed);
      return false;
    }
    missed_.store(0, std::memory_order_relaxed);
    waiting_.store(true, std::memory_order_relaxed);
    return true;
  }

  // The thread's.
  void Answer() { waiting_.store(false, std::memory_order_release); }

  // Any thread: how long the beat on its way has gone without an answer.
  uint32_t stalled_s() const {
    return waiting_.load(std::memory_order_relaxed) ? missed_.load(std::memory_order_relaxed) : 0;
  }

 private:
  std::atomic<bool> waiting_{false};
  std::atomic<uint32_t> missed_{0};
};

}  // namespace broker
#endif  // BROKER_PULSE_H_
