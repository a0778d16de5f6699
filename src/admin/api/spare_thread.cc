#include "admin/api/spare_thread.h"

#include <pthread.h>

#include <utility>

#include "absl/time/time.h"
#include "base/thread_priority.h"

namespace admin {

void SpareThread::Run(std::function<void()> task) {
  {
    base::MutexLock lock(mutex_);
    if (!stopped_) {
      if (!thread_.joinable()) thread_ = std::thread([this] { Serve(); });
      return inbox_.Post(std::move(task));
    }
  }
  task();
}

void SpareThread::Stop() {
  std::thread thread;
  {
    base::MutexLock lock(mutex_);
    stopped_ = true;
    thread = std::move(thread_);
  }
  inbox_.Stop();
  if (thread.joinable()) thread.join();
}

void SpareThread::Serve() {
  pthread_setname_np(pthread_self(), "admin-spare");
  base::SetThreadPriority(base::ThreadPriority::kSpare);
  do {
    for (const Task& task : inbox_.Take()) task();
  } while (inbox_.Sleep(absl::Hours(1)));
  for (const Task& task : inbox_.Take()) task();
}

}  // namespace admin
