// Whether the application's handlers may still be called, and whether one is running.
#ifndef CLIENT_HANDLER_GATE_H_
#define CLIENT_HANDLER_GATE_H_

#include <atomic>

#include "base/mutex.h"

namespace mqttd::client {

// Handlers are called one at a time, where their client's work runs; the client is destroyed on any
// thread.
class HandlerGate {
 public:
  // Stands while handlers are called; may be nested.
  class Passage {
   public:
    explicit Passage(HandlerGate& gate) ABSL_NO_THREAD_SAFETY_ANALYSIS : gate_(gate) {
      if (gate_.inside_++ == 0) gate_.passing_.Lock();
    }
    ~Passage() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      if (--gate_.inside_ == 0) gate_.passing_.Unlock();
    }
    Passage(const Passage&) = delete;
    Passage& operator=(const Passage&) = delete;

   private:
    HandlerGate& gate_;
  };

  bool closed() const { return closed_; }
  // No handler is to be called any more; when this returns none runs on another thread.
  // `by_handler`: it is one of them that does this.
  void Close(bool by_handler) {
    closed_ = true;
    if (by_handler) return;
    const base::MutexLock none_passes(passing_);
  }

 private:
  base::Mutex passing_;
  int inside_ = 0;  // Of those who call handlers only.
  std::atomic<bool> closed_{false};
};

}  // namespace mqttd::client

#endif  // CLIENT_HANDLER_GATE_H_
