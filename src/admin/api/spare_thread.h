// What the admin API computes and no client of the broker waits for.
#ifndef ADMIN_API_SPARE_THREAD_H_
#define ADMIN_API_SPARE_THREAD_H_

#include <functional>
#include <thread>

#include "base/inbox.h"
#include "base/mutex.h"

namespace admin {

// A thread that has what all others of the process leave of the processors. Its bound is that of
// calls under way: each has one task here at a time.
class SpareThread {
 public:
  SpareThread() = default;
  ~SpareThread() { Stop(); }
  SpareThread(const SpareThread&) = delete;
  SpareThread& operator=(const SpareThread&) = delete;

  // Runs it there, one after the other in the order of the calls; on the caller's, once it has
  // stopped. Any thread.
  void Run(std::function<void()> task);
  // Once all that it was given is done. One thread calls it, and none of the tasks.
  void Stop();

 private:
  using Task = std::function<void()>;
  void Serve();

  base::Inbox<Task> inbox_;
  base::Mutex mutex_;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_ ABSL_GUARDED_BY(mutex_);  // From the first task on.
};

}  // namespace admin

#endif  // ADMIN_API_SPARE_THREAD_H_
