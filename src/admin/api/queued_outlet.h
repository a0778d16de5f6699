// The answers of a stream that wait for their reader, and its end.
#ifndef ADMIN_API_QUEUED_OUTLET_H_
#define ADMIN_API_QUEUED_OUTLET_H_

#include <deque>
#include <functional>
#include <utility>

#include "absl/status/status.h"
#include "admin/api/method.h"
#include "base/mutex.h"

namespace admin {

// What is common to all protocols: at most so many answers and bytes wait, one is written at a
// time, and when nothing is left to be written of a stream that has ended, it is finished. `Item`
// is an answer as it waits.
template <typename Item>
class QueuedOutlet : public Outlet {
 public:
  bool Send(const Message& message) final {
    base::MutexLock lock(mutex_);
    if (finished_ || ending_) return false;
    if (waiting_.size() >= kWaitingMax || waiting_bytes_ >= kWaitingBytesMax) {
      full_ = true;
      return false;
    }
    waiting_.push_back(Encode(message));
    waiting_bytes_ += SizeOf(waiting_.back());
    Write();
    return true;
  }

  void End(absl::Status status) final {
    std::function<void()> gone;
    {
      base::MutexLock lock(mutex_);
      if (finished_ || ending_) return;
      ending_ = true;
      status_ = std::move(status);
      gone = std::move(gone_);
      Write();
    }
    if (gone) gone();
  }

  void OnGone(std::function<void()> gone) final {
    {
      base::MutexLock lock(mutex_);
      if (!finished_ && !ending_) {
        gone_ = std::move(gone);
        return;
      }
    }
    gone();
  }

  void OnRoom(std::function<void()> room) final {
    {
      base::MutexLock lock(mutex_);
      if (finished_ || ending_) return;
      if (full_) {
        room_ = std::move(room);
        return;
      }
    }
    room();
  }

  // ---- Of who carries it.
  // What Start was called for is done; false: the reader has gone.
  void OnWritten(bool ok) {
    std::function<void()> room;
    std::function<void()> gone;
    {
      base::MutexLock lock(mutex_);
      writing_ = false;
      if (!ok) gone = Lose();
      if (waiting_.size() <= kWaitingMax / 2 && waiting_bytes_ <= kWaitingBytesMax / 2) {
        full_ = false;
        room = std::move(room_);
      }
      Write();
    }
    if (room) room();
    if (gone) gone();
  }
  void OnCancel() {
    std::function<void()> gone;
    {
      base::MutexLock lock(mutex_);
      gone = Lose();
      Write();
    }
    if (gone) gone();
  }

 protected:
  // All under the lock. After Start `OnWritten` comes; after Finish nothing is called any more.
  virtual Item Encode(const Message& message) = 0;
  virtual size_t SizeOf(const Item& item) = 0;
  virtual void Start(Item item) = 0;
  virtual void Finish(const absl::Status& status) = 0;

 private:
  static constexpr size_t kWaitingMax = 1024;
  static constexpr size_t kWaitingBytesMax = 16 << 20;

  std::function<void()> Lose() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    waiting_.clear();
    waiting_bytes_ = 0;
    if (!ending_) status_ = absl::CancelledError("the caller has gone");
    ending_ = true;
    return std::move(gone_);
  }
  void Write() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (writing_ || finished_) return;
    if (!waiting_.empty()) {
      Item item = std::move(waiting_.front());
      waiting_.pop_front();
      waiting_bytes_ -= SizeOf(item);
      writing_ = true;
      return Start(std::move(item));
    }
    if (!ending_) return;
    finished_ = true;
    Finish(status_);
  }

  base::Mutex mutex_;
  std::deque<Item> waiting_ ABSL_GUARDED_BY(mutex_);
  size_t waiting_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool full_ ABSL_GUARDED_BY(mutex_) = false;
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> gone_ ABSL_GUARDED_BY(mutex_);
  std::function<void()> room_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace admin

#endif  // ADMIN_API_QUEUED_OUTLET_H_
