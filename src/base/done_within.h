// What may wait for a disk that never answers, and must hold up nobody for longer than a moment.
#ifndef BASE_DONE_WITHIN_H_
#define BASE_DONE_WITHIN_H_

#include <functional>
#include <future>
#include <memory>
#include <thread>
#include <utility>

#include "absl/time/time.h"

namespace base {

// Does it on a thread of its own, and waits for that no longer than `patience`. The task owns what
// it uses: it may outlive its caller. False: it is still under way.
inline bool DoneWithin(absl::Duration patience, std::function<void()> task) {
  const auto done = std::make_shared<std::promise<void>>();
  const std::future<void> is_done = done->get_future();
  std::thread([done, task = std::move(task)]() mutable {
    task();
    task = nullptr;
    done->set_value();
  }).detach();
  return is_done.wait_for(absl::ToChronoNanoseconds(patience)) == std::future_status::ready;
}

}  // namespace base

#endif  // BASE_DONE_WITHIN_H_
