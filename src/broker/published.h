// A value that one thread replaces now and then while others read it without a lock.
#ifndef BROKER_PUBLISHED_H_
#define BROKER_PUBLISHED_H_

#include <atomic>
#include <memory>
#include <utility>
#include <vector>

namespace broker {

// Every version lives as long as this: for what changes by hand, a few times in a process's life.
template <typename Value>
class Published {
 public:
  Published() { Set(Value()); }

  const Value& Get() const { return *now_.load(std::memory_order_acquire); }
  // One thread at a time.
  void Set(Value value) {
    versions_.push_back(std::make_unique<const Value>(std::move(value)));
    now_.store(versions_.back().get(), std::memory_order_release);
  }

 private:
  std::vector<std::unique_ptr<const Value>> versions_;
  std::atomic<const Value*> now_{nullptr};
};

}  // namespace broker
#endif  // BROKER_PUBLISHED_H_
