// mqttd as a process: started on free ports, killed, started again on the same data.
#ifndef TESTS_SUPPORT_BROKER_PROCESS_H_
#define TESTS_SUPPORT_BROKER_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/temp_dir.h"

namespace support {

struct BrokerOptions {
  std::vector<std::string> listen = {"mqtt://127.0.0.1:0"};
  bool allow_anonymous = true;
  std::vector<std::string> set = {};   // key=value, each for one --set.
  std::vector<std::string> args = {};  // Further arguments.
};

// Owns a child process and its data directory; both are gone when it is destroyed. The program is
// the environment's MQTTD_BIN, else the one that was built with the tests. Failing to start throws
// std::runtime_error, with the broker's stderr in the text. The child dies with the test program.
class BrokerProcess {
 public:
  explicit BrokerProcess(BrokerOptions options = {});
  ~BrokerProcess();
  BrokerProcess(const BrokerProcess&) = delete;
  BrokerProcess& operator=(const BrokerProcess&) = delete;

  // Port of the listener at that place in `listen`.
  uint16_t port(size_t listener = 0) const { return ports_.at(listener); }
  uint16_t http_port() const { return http_port_; }
  pid_t pid() const { return pid_; }
  std::filesystem::path directory() const { return directory_.path(); }
  std::string Stderr() const;

  void Signal(int signal) const;
  // Waits for its end: the exit code, nullopt when a signal ended it or it did not end.
  std::optional<int> Wait();
  // kill -9, and waits.
  void Kill();
  // SIGTERM, and waits.
  std::optional<int> Terminate();
  // Starts it after Kill or Terminate, on the same data directory; the ports are new.
  void Start();
  void Restart();

 private:
  std::string ReadReadyLine(int stdout_fd);

  BrokerOptions options_;
  const TempDir directory_;
  pid_t pid_ = -1;
  int stdout_fd_ = -1;
  std::vector<uint16_t> ports_;
  uint16_t http_port_ = 0;
};

// The broker that the cases of one test program share: default options, started at the first use.
BrokerProcess& SharedBroker();

}  // namespace support
#endif  // TESTS_SUPPORT_BROKER_PROCESS_H_
