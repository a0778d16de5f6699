// Whether the broker's threads come to what the API asks of them.
#ifndef ADMIN_API_THREAD_ANSWERS_H_
#define ADMIN_API_THREAD_ANSWERS_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/mutex.h"

namespace admin {

// A thread that has done none of its tasks for so long, though some wait, does not answer.
inline constexpr absl::Duration kSilentAfter = absl::Seconds(5);

// Any thread. The tasks may outlive it.
class ThreadAnswers {
 public:
  // A thread by its name in words: "shard 3".
  explicit ThreadAnswers(const base::Clock* clock) : state_(std::make_shared<State>(clock)) {}

  // The task as that thread is to be given it, which is taken to happen now.
  template <typename Core>
  std::function<void(Core&)> Expect(std::string thread, std::function<void(Core&)> task) const {
    if (state_->clock == nullptr) return task;
    state_->Expect(thread);
    return [state = state_, thread = std::move(thread), task = std::move(task)](Core& core) {
      task(core);
      state->Done(thread);
    };
  }

  // "shard 3 has not answered for 41 s"; empty: all answer.
  std::string Silent() const {
    if (state_->clock == nullptr) return "";
    return state_->Silent();
  }

 private:
  struct Thread {
    uint64_t waiting = 0;
    absl::Duration since;  // When it last did one, or the first that waits came.
  };
  struct State {
    explicit State(const base::Clock* time) : clock(time) {}
    void Expect(const std::string& thread) {
      base::MutexLock lock(mutex);
      Thread& it = threads[thread];
      if (it.waiting++ == 0) it.since = clock->Monotonic();
    }
    void Done(const std::string& thread) {
      base::MutexLock lock(mutex);
      Thread& it = threads[thread];
      --it.waiting;
      it.since = clock->Monotonic();
    }
    std::string Silent();

    const base::Clock* const clock;
    base::Mutex mutex;
    std::map<std::string, Thread> threads ABSL_GUARDED_BY(mutex);
  };
  const std::shared_ptr<State> state_;
};

}  // namespace admin

#endif  // ADMIN_API_THREAD_ANSWERS_H_
