// "Only its thread touches it", checked in debug builds.
#ifndef BASE_THREAD_AFFINITY_H_
#define BASE_THREAD_AFFINITY_H_

#include <thread>

#include "base/check.h"

namespace base {

// A member of what belongs to one thread; its functions begin with `affinity_.Check()`. Bound to
// the first thread that checks, or to the one that calls Bind, so that an object may be made by
// main and handed to its thread. Costs nothing in release builds.
class ThreadAffinity {
 public:
#ifdef NDEBUG
  void Check() const {}
  void Bind() {}
  void Release() {}
#else
  void Check() const {
    if (owner_ == std::thread::id()) owner_ = std::this_thread::get_id();
    CHECK(owner_ == std::this_thread::get_id()) << "used on a thread that does not own it";
  }
  void Bind() { owner_ = std::this_thread::get_id(); }
  // The next thread that checks becomes the owner.
  void Release() { owner_ = std::thread::id(); }

 private:
  mutable std::thread::id owner_;
#endif
};

}  // namespace base

#endif  // BASE_THREAD_AFFINITY_H_
