// New connections take turns: their handshakes and CONNECTs are dear, and those who are connected
// must not wait for all of a storm of them.
#ifndef BROKER_CORE_ARRIVALS_H_
#define BROKER_CORE_ARRIVALS_H_

#include <cstddef>
#include <cstdint>
#include <deque>

namespace broker {

// Connections before CONNECT that have something to be read, first come, first served. Part of one
// shard, used on its thread.
class Arrivals {
 public:
  struct Bounds {
    int64_t round_ns = 0;    // Given to them before the others have their turn again.
    size_t waiting_max = 0;  // Above, nothing is accepted until half of them are served.
    size_t answers_max = 0;  // CONNECTs that others work on; as many as that: the next waits.
  };

  explicit Arrivals(const Bounds& bounds) : bounds_(bounds) {}

  void Push(uint64_t connection) { waiting_.push_back(connection); }
  size_t waiting() const { return waiting_.size(); }

  // Whether the next one may go on, with so many answers outstanding.
  bool Ready(size_t answers) const { return !waiting_.empty() && answers < bounds_.answers_max; }

  // Calls serve(connection) for one after the other, at least one, until a round's time is over by
  // `now_ns()`, or too many of them wait for an answer by `answers()`.
  template <typename Now, typename Answers, typename Serve>
  void ServeRound(Now&& now_ns, Answers&& answers, Serve&& serve) {
    if (!Ready(answers())) return;
    const int64_t end_ns = now_ns() + bounds_.round_ns;
    do {
      const uint64_t connection = waiting_.front();
      waiting_.pop_front();
      serve(connection);
    } while (Ready(answers()) && now_ns() < end_ns);
  }

  enum class Door { kAsBefore, kClose, kOpen };
  // What is to become of accepting: closed when too many wait, open when half of them are gone.
  Door Decide() {
    if (!closed_ && waiting_.size() >= bounds_.waiting_max) {
      closed_ = true;
      return Door::kClose;
    }
    if (closed_ && waiting_.size() <= bounds_.waiting_max / 2) {
      closed_ = false;
      return Door::kOpen;
    }
    return Door::kAsBefore;
  }

 private:
  const Bounds bounds_;
  std::deque<uint64_t> waiting_;
  bool closed_ = false;
};

}  // namespace broker
#endif  // BROKER_CORE_ARRIVALS_H_
