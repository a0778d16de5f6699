// The clients of a benchmark: they connect, subscribe and publish on threads of their own.
#ifndef CMD_MQTTCTL_BENCH_LOAD_H_
#define CMD_MQTTCTL_BENCH_LOAD_H_

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "bench.h"
#include "client/client.h"
#include "histogram.h"

namespace mqttctl {

// What a payload has at least: when it was due, and which it is.
inline constexpr size_t kStampBytes = 24;

// Written by the clients' threads, read by the one that shows it.
struct BenchFigures {
  std::atomic<uint64_t> connected{0};
  std::atomic<uint64_t> subscribed{0};
  std::atomic<uint64_t> published{0};     // Handed to the client.
  std::atomic<uint64_t> acknowledged{0};  // Ended well; at QoS 0: written.
  std::atomic<uint64_t> received{0};      // By their subscribers, each once.
  std::atomic<uint64_t> repeated{0};      // Once more.
  std::atomic<uint64_t> foreign{0};       // That are none of this run.
  std::atomic<uint64_t> expected{0};      // Of the acknowledged messages, by all their subscribers.
  std::atomic<uint64_t> failed{0};        // Operations of any kind.
  Histogram connect;
  Histogram subscribe;
  Histogram publish;   // From when it was due to its acknowledgement.
  Histogram delivery;  // From when it was due to each subscriber.
};

class BenchLoad {
 public:
  BenchLoad(const BenchArguments& arguments, const mqttd::client::Options& options);
  ~BenchLoad();

  // Each begins what it says, on the clients' threads; the figures tell when it is done.
  void Connect();
  void Subscribe();
  void Publish();
  // When it returns nothing more is published.
  void StopPublishing();
  void Close();

  const BenchFigures& figures() const { return figures_; }
  size_t clients() const { return clients_.size(); }
  // What the first operation that failed said. Empty: none has.
  std::string first_failure() const;

 private:
  using Clock = std::chrono::steady_clock;

  struct Thread {
    boost::asio::io_context io{1};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work{
        io.get_executor()};
    std::thread thread;
  };
  struct One {  // A client and what it does; touched on its thread only.
    One(Thread& its_thread, mqttd::client::Options options)
        : thread(&its_thread),
          client(its_thread.io.get_executor(), std::move(options)),
          timer(its_thread.io) {}
    Thread* const thread;
    mqttd::client::Client client;
    boost::asio::steady_timer timer;
    std::string topic;  // Published to, or subscribed to.
    uint64_t subscribers = 0;
    // A publisher's: which it is of those of its topic, and what its next message will be.
    uint32_t index = 0;
    uint64_t next = 0;
    // A subscriber's, of each publisher of its topic: which message is the next one that is new.
    std::vector<uint64_t> expects;
    size_t open = 0;
    Clock::time_point due;
    Clock::duration interval{};
  };

  One& Add(const mqttd::client::Options& options, const std::string& role);
  void ConnectNext(Thread* thread);
  void PublishDue(One& one);
  void PublishOne(One& one, Clock::time_point due);
  void Take(One& one, const mqttd::client::ReceivedMessage& message);
  void Failed(const absl::Status& status);

  const BenchArguments& arguments_;
  const uint32_t run_;  // Which messages are ours: others may publish to the same topics.
  BenchFigures figures_;
  std::deque<Thread> threads_;
  std::vector<std::unique_ptr<One>> clients_;
  std::vector<One*> publishers_;
  std::vector<One*> subscribers_;
  std::atomic<size_t> next_to_connect_{0};
  std::atomic<bool> publishing_{false};
  mutable std::mutex failure_mutex_;
  std::string first_failure_;
};

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_BENCH_LOAD_H_
