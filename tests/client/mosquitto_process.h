// Debian's mosquitto as a process: stopped, started again on the same data.
#ifndef TESTS_CLIENT_MOSQUITTO_PROCESS_H_
#define TESTS_CLIENT_MOSQUITTO_PROCESS_H_

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "tests/support/temp_dir.h"

namespace mqttd::client {

// Keeps its sessions and their messages over `Restart`. The child dies with the test program.
//
// Of more than max_inflight_messages (20) in flight to a client, mosquitto 2.0.11 sends some again
// as PUBLISH after a restart although it has sent their PUBREL, against [MQTT5-4.3.3-6]. No client
// can make up for that, so a test that counts copies keeps below.
class MosquittoProcess {
 public:
  struct Config {
    std::string lines;     // Of mosquitto.conf, above the listeners.
    std::string of_each;   // Settings of each listener.
    bool network = false;  // On TCP and WebSocket too, on ports that are free.
  };

  MosquittoProcess() : MosquittoProcess(Config()) {}
  explicit MosquittoProcess(Config config) : config_(std::move(config)) { Start(); }
  ~MosquittoProcess() { Stop(SIGKILL); }
  MosquittoProcess(const MosquittoProcess&) = delete;
  MosquittoProcess& operator=(const MosquittoProcess&) = delete;

  std::string url() const { return "unix:" + socket(); }
  std::string tcp_url() const { return "mqtt://127.0.0.1:" + std::to_string(tcp_port_); }
  std::string websocket_url() const { return "ws://127.0.0.1:" + std::to_string(ws_port_) + "/"; }
  uint16_t websocket_port() const { return ws_port_; }
  // SIGTERM: it writes its state then. What it has acknowledged before kill -9 it may forget, with
  // autosave_on_changes and an autosave_interval of 1 too (it saves when the answer has left: of
  // 1402 acknowledged messages 16 were gone after seven kills), so that would say nothing of a
  // client.
  void Restart() {
    Stop(SIGTERM);
    Start();
  }

 private:
  static constexpr const char* kProgram = "/usr/sbin/mosquitto";
  static constexpr int kTries = 20;  // For ports that somebody else took meanwhile.

  std::string path(const char* name) const { return std::string(directory_.path()) + "/" + name; }
  std::string socket() const { return path("socket"); }

  static uint16_t FreePort() {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    const int probe = ::socket(AF_INET, SOCK_STREAM, 0);
    EXPECT_EQ(bind(probe, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(getsockname(probe, reinterpret_cast<sockaddr*>(&address), &size), 0);
    close(probe);
    return ntohs(address.sin_port);
  }

  void WriteConfig() const {
    std::ofstream out(path("mosquitto.conf"));
    out << "per_listener_settings false\nallow_anonymous true\nuser root\npersistence true\n"
        << "persistence_location " << directory_.path() << "/\nmax_queued_messages 0\n"
        << "log_dest stderr\nlog_type error\nlog_type information\nconnection_messages false\n"
        << config_.lines << "\nlistener 0 " << socket() << "\n"
        << config_.of_each << "\n";
    if (!config_.network) return;
    out << "listener " << tcp_port_ << " 127.0.0.1\n" << config_.of_each << "\n";
    out << "listener " << ws_port_ << " 127.0.0.1\nprotocol websockets\n"
        << config_.of_each << "\n";
  }

  void Start() {
    for (int i = 0; i < kTries; ++i) {
      if (config_.network && tcp_port_ == 0) {
        tcp_port_ = FreePort();
        ws_port_ = FreePort();
      }
      WriteConfig();
      if (StartProcess()) return;
      Stop(SIGKILL);
      tcp_port_ = 0;
    }
    FAIL() << "mosquitto does not start: " << said_;
  }
  // True when it says that it runs.
  bool StartProcess() {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    const std::string file = path("mosquitto.conf");
    pid_ = fork();
    if (pid_ == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      dup2(ends[1], STDERR_FILENO);
      execl(kProgram, kProgram, "-c", file.c_str(), nullptr);
      _exit(127);
    }
    close(ends[1]);
    log_ = ends[0];
    said_.clear();
    char bytes[4096];
    while (said_.find(" running") == std::string::npos) {
      const ssize_t count = read(log_, bytes, sizeof(bytes));
      if (count <= 0) return false;
      said_.append(bytes, static_cast<size_t>(count));
    }
    return true;
  }
  void Stop(int signal) {
    if (pid_ <= 0) return;
    kill(pid_, signal);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
    close(log_);
    std::filesystem::remove(socket());
  }

  const Config config_;
  const support::TempDir directory_;
  pid_t pid_ = -1;
  int log_ = -1;  // Stays open, for the little that it says later.
  std::string said_;
  uint16_t tcp_port_ = 0;
  uint16_t ws_port_ = 0;
};

}  // namespace mqttd::client

#endif  // TESTS_CLIENT_MOSQUITTO_PROCESS_H_
