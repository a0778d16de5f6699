// What the programs of this folder share: their arguments, and the figures that they print.
//
// The work: `pairs` publishers, each with a subscriber of its own topic; QoS 1; each publisher has
// `window` messages unacknowledged and publishes the next when one is acknowledged. Counted are
// messages that arrive, and the processor time of this process, in a time that begins when all
// runs.
#ifndef BENCH_CLIENT_PAIRS_H_
#define BENCH_CLIENT_PAIRS_H_

#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace pairs {

struct Arguments {
  int port = 1883;
  int pairs = 50;
  int window = 16;
  int payload_bytes = 64;
  double seconds = 3;
};

// PORT [SECONDS [PAIRS [WINDOW]]]
inline Arguments Parse(int argc, char** argv) {
  Arguments arguments;
  if (argc > 1) arguments.port = std::atoi(argv[1]);
  if (argc > 2) arguments.seconds = std::atof(argv[2]);
  if (argc > 3) arguments.pairs = std::atoi(argv[3]);
  if (argc > 4) arguments.window = std::atoi(argv[4]);
  return arguments;
}

inline std::string TopicOf(int pair) { return "pairs/" + std::to_string(pair); }

using Clock = std::chrono::steady_clock;

inline double ProcessorSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// Begin, then End: prints one line of JSON.
class Measurement {
 public:
  void Arrived() { arrived_.fetch_add(1, std::memory_order_relaxed); }
  uint64_t arrived() const { return arrived_.load(std::memory_order_relaxed); }

  void Begin() {
    arrived_before_ = arrived();
    processor_before_ = ProcessorSeconds();
    begun_ = Clock::now();
  }
  void End(const char* library) const {
    const std::chrono::duration<double> taken = Clock::now() - begun_;
    const double processor = ProcessorSeconds() - processor_before_;
    const auto messages = static_cast<double>(arrived() - arrived_before_);
    std::printf(
        "{\"library\": \"%s\", \"messages\": %.0f, \"messages_per_s\": %.0f, "
        "\"cpu_us_per_message\": %.3f}\n",
        library, messages, messages / taken.count(),
        processor * 1e6 / (messages > 0 ? messages : 1));
    std::fflush(stdout);
  }

 private:
  std::atomic<uint64_t> arrived_{0};
  uint64_t arrived_before_ = 0;
  double processor_before_ = 0;
  Clock::time_point begun_;
};

[[noreturn]] inline void GiveUp(const char* what) {
  std::fprintf(stderr, "%s\n", what);
  std::exit(1);
}

inline constexpr auto kWarmUp = std::chrono::milliseconds(500);

}  // namespace pairs

#endif  // BENCH_CLIENT_PAIRS_H_
