// Debian's mosquitto as a process on a unix socket: stopped, started again on the same data.
#ifndef TESTS_CLIENT_MOSQUITTO_PROCESS_H_
#define TESTS_CLIENT_MOSQUITTO_PROCESS_H_

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/temp_dir.h"

namespace mqttd::client {

// Keeps its sessions and their messages over `Restart`. The child dies with the test program. Not
// ready at once: clients try until it is.
//
// Of more than max_inflight_messages (20) in flight to a client, mosquitto 2.0.11 sends some again
// as PUBLISH after a restart although it has sent their PUBREL, against [MQTT5-4.3.3-6]. No client
// can make up for that, so a test that counts copies keeps below.
class MosquittoProcess {
 public:
  static bool IsInstalled() { return access(kProgram, X_OK) == 0; }

  MosquittoProcess() {
    std::ofstream(config()) << "listener 0 " << socket() << "\n"
                            << "allow_anonymous true\nuser root\npersistence true\n"
                            << "max_queued_messages 0\nlog_dest file " << path("log") << "\n"
                            << "persistence_location " << directory_.path() << "/\n";
    Start();
  }
  ~MosquittoProcess() { Stop(SIGKILL); }
  MosquittoProcess(const MosquittoProcess&) = delete;
  MosquittoProcess& operator=(const MosquittoProcess&) = delete;

  std::string url() const { return "unix:" + socket(); }
  // SIGTERM: it writes its state then. What it has acknowledged before kill -9 it may forget, so
  // that would say nothing of a client.
  void Restart() {
    Stop(SIGTERM);
    Start();
  }

 private:
  static constexpr const char* kProgram = "/usr/sbin/mosquitto";

  std::string path(const char* name) const { return std::string(directory_.path()) + "/" + name; }
  std::string socket() const { return path("socket"); }
  std::string config() const { return path("mosquitto.conf"); }

  void Start() {
    const std::string file = config();
    pid_ = fork();
    if (pid_ != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDERR_FILENO);
    execl(kProgram, kProgram, "-c", file.c_str(), nullptr);
    _exit(127);
  }
  void Stop(int signal) {
    if (pid_ <= 0) return;
    kill(pid_, signal);
    waitpid(pid_, nullptr, 0);
    pid_ = -1;
    std::filesystem::remove(socket());
  }

  const support::TempDir directory_;
  pid_t pid_ = -1;
};

}  // namespace mqttd::client

#endif  // TESTS_CLIENT_MOSQUITTO_PROCESS_H_
