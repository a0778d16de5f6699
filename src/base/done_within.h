// What may wait for a disk that never answers, and must hold up nobody for longer than a moment.
#ifndef BASE_DONE_WITHIN_H_
#define BASE_DONE_WITHIN_H_

#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace base {

// Does it on a thread of its own, and waits for that no longer than `patience`. The task owns what
// it uses: it may outlive its caller. False: it is still under way.
inline bool DoneWithin(absl::Duration patience, std::function<void()> task) {
  struct State {
    Mutex mutex;
    CondVar done;
    bool is_done ABSL_GUARDED_BY(mutex) = false;
  };
  const auto state = std::make_shared<State>();
  std::thread([state, task = std::move(task)]() mutable {
    task();
    task = nullptr;
    MutexLock lock(state->mutex);
    state->is_done = true;
    state->done.SignalAll();
  }).detach();
  MutexLock lock(state->mutex);
  while (!state->is_done) {
    if (!state->done.WaitFor(state->mutex, patience)) return state->is_done;
  }
  return true;
}

}  // namespace base

#endif  // BASE_DONE_WITHIN_H_
