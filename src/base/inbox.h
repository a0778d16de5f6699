// A mailbox for a thread that has nothing to wait for but what comes in, and time.
#ifndef BASE_INBOX_H_
#define BASE_INBOX_H_

#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mailbox.h"
#include "base/mutex.h"

namespace base {

// Any thread posts; one takes, and sleeps in between:
//   do { for (Input& input : inbox.Take()) …; } while (inbox.Sleep(turn));
// Owned by a shared_ptr where answers that are under way may outlive the thread. As unbounded as a
// Mailbox.
template <typename Input>
class Inbox {
 public:
  Inbox() : mailbox_([this] { Ring(); }) {}

  // Any thread.
  void Post(Input input) { mailbox_.PostOne(std::move(input)); }
  // The thread is to end. Any thread.
  void Stop() {
    MutexLock lock(mutex_);
    stopped_ = rung_ = true;
    wake_.SignalAll();
  }

  // ---- The one that takes.
  // All that has come, the oldest first.
  std::vector<Input> Take() {
    std::vector<Input> all;
    mailbox_.TakeAll([&](Input&& input) { all.push_back(std::move(input)); });
    return all;
  }
  // Until something comes, or that time is over; perhaps for less. False: it was stopped.
  bool Sleep(absl::Duration time) {
    MutexLock lock(mutex_);
    if (mailbox_.Sleep() && !rung_) wake_.WaitFor(mutex_, time);
    mailbox_.Awake();
    rung_ = stopped_;
    return !stopped_;
  }

 private:
  void Ring() {
    MutexLock lock(mutex_);
    rung_ = true;
    wake_.SignalAll();
  }

  Mailbox<Input> mailbox_;
  Mutex mutex_;
  CondVar wake_;
  bool rung_ ABSL_GUARDED_BY(mutex_) = false;
  bool stopped_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace base

#endif  // BASE_INBOX_H_
