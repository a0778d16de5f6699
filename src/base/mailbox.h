// How threads talk: batches of values, many producers, one consumer, one wake-up per sleep.
#ifndef BASE_MAILBOX_H_
#define BASE_MAILBOX_H_

#include <atomic>
#include <functional>
#include <memory>
#include <utility>
#include <vector>

namespace base {

// Values that travel together. A producer keeps one per consumer during its turn and posts it at
// the turn's end: one allocation and one atomic operation for all of it.
template <typename T>
struct Batch {
  std::vector<T> items;
  Batch* next = nullptr;  // The mailbox's own link.
};

// An unbounded queue of batches. FIFO per producer. Any thread posts; exactly one takes. Bounds
// belong to whoever produces (windows, quotas): a mailbox that could be full would have to block or
// drop.
//
// The wake-up costs a system call at least, so it happens only if the consumer sleeps:
//   consumer:  while (mailbox.Sleep()) block until woken;  mailbox.Awake();  mailbox.TakeAll(…)
//   producer:  Post = push, then wake if `sleeping` was set (and clear it: one producer wakes).
// Both sides write their own flag and then read the other's, sequentially consistent, so one of
// them sees the other: no wake-up is lost. A wake-up may come late, after the batch was taken; a
// consumer accepts an empty TakeAll.
template <typename T>
class Mailbox {
 public:
  using BatchPtr = std::unique_ptr<Batch<T>>;

  // `wake` makes the consumer's thread leave its wait. Called on the producer's thread; it must be
  // safe there (writing an eventfd is).
  explicit Mailbox(std::function<void()> wake) : wake_(std::move(wake)) {}
  ~Mailbox() { FreeList(head_.load(std::memory_order_acquire)); }
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  // Any thread. An empty batch is dropped.
  void Post(BatchPtr batch) {
    if (batch == nullptr || batch->items.empty()) return;
    Batch<T>* const node = batch.release();
    Batch<T>* head = head_.load(std::memory_order_relaxed);
    do {
      node->next = head;
    } while (!head_.compare_exchange_weak(head, node, std::memory_order_seq_cst,
                                          std::memory_order_relaxed));
    // The first batch wakes for those after it: they find the list not empty.
    if (head == nullptr && sleeping_.load(std::memory_order_seq_cst) &&
        sleeping_.exchange(false, std::memory_order_seq_cst)) {
      wake_();
    }
  }

  // The same for a single value: for control messages, not for the fast path.
  void PostOne(T item) {
    auto batch = std::make_unique<Batch<T>>();
    batch->items.push_back(std::move(item));
    Post(std::move(batch));
  }

  // Consumer only. Calls `take(T&&)` for all that was posted, oldest first; returns how many.
  template <typename Take>
  size_t TakeAll(Take&& take) {
    if (head_.load(std::memory_order_relaxed) == nullptr) return 0;  // `Sleep` looks again.
    size_t count = 0;
    BatchPtr batch(Reverse(head_.exchange(nullptr, std::memory_order_seq_cst)));
    while (batch != nullptr) {
      for (T& item : batch->items) take(std::move(item));
      count += batch->items.size();
      batch.reset(std::exchange(batch->next, nullptr));
    }
    return count;
  }

  // Consumer only, before it blocks. True: nothing is there, block, and whoever posts wakes you.
  // False: something came meanwhile, take it first.
  bool Sleep() {
    sleeping_.store(true, std::memory_order_seq_cst);
    if (head_.load(std::memory_order_seq_cst) == nullptr) return true;
    sleeping_.store(false, std::memory_order_relaxed);
    return false;
  }

  // Consumer only, after it blocked, for whatever reason it returned.
  void Awake() { sleeping_.store(false, std::memory_order_relaxed); }

  bool empty() const { return head_.load(std::memory_order_acquire) == nullptr; }

 private:
  static Batch<T>* Reverse(Batch<T>* node) {
    Batch<T>* reversed = nullptr;
    while (node != nullptr) reversed = std::exchange(node, std::exchange(node->next, reversed));
    return reversed;
  }

  static void FreeList(Batch<T>* node) {
    while (node != nullptr) delete std::exchange(node, node->next);
  }

  const std::function<void()> wake_;
  // Apart, so that producers that push do not slow the consumer's reads of its flag.
  alignas(64) std::atomic<Batch<T>*> head_{nullptr};
  alignas(64) std::atomic<bool> sleeping_{false};
};

}  // namespace base

#endif  // BASE_MAILBOX_H_
