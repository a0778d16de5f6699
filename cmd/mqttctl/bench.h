// mqttctl bench: connects, subscribes, publishes at a rate, and says what that took.
#ifndef CMD_MQTTCTL_BENCH_H_
#define CMD_MQTTCTL_BENCH_H_

#include <cstddef>
#include <string>

#include "arguments.h"

namespace mqttctl {

struct BenchArguments {
  ConnectionArguments connection;
  size_t publishers = 10;
  size_t subscribers = 10;
  size_t connections = 0;
  size_t topics = 0;
  std::string topic = "bench";
  size_t payload_bytes = 64;
  int subscribe_qos = -1;
  double rate = 1000;
  size_t window = 16;
  double seconds = 10;
  double patience_s = 10;
  size_t threads = 1;
  bool json = false;
};

struct HttpBenchArguments {
  std::string url = "http://127.0.0.1:9883/healthz";
  size_t connections = 4;
  double rate = 100;
  double seconds = 10;
  double timeout_s = 10;
  bool json = false;
  bool quiet = false;
};

void AddBenchOptions(CLI::App& command, BenchArguments& arguments);
int Bench(const BenchArguments& arguments);

void AddHttpBenchOptions(CLI::App& command, HttpBenchArguments& arguments);
int HttpBench(const HttpBenchArguments& arguments);

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_BENCH_H_
