#include "tests/support/broker_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "tests/support/patience.h"

#ifndef MQTTD_BIN
#define MQTTD_BIN "mqttd"
#endif

namespace support {
namespace {

// Bounds a wait for something that should come at once; reached only by a failure.
constexpr int kStartTimeoutMs = 60'000;
constexpr int kStopTimeoutMs = 60'000;

std::string Binary() {
  const char* from_environment = std::getenv("MQTTD_BIN");
  return from_environment != nullptr ? from_environment : MQTTD_BIN;
}

// The numbers after the last colon of each comma-separated address in `field=…`.
std::vector<uint16_t> PortsOf(const std::string& line, const std::string& field) {
  std::vector<uint16_t> ports;
  const size_t begin = line.find(field + "=");
  if (begin == std::string::npos) return ports;
  std::istringstream addresses(
      line.substr(begin + field.size() + 1, line.find(' ', begin) - begin - field.size() - 1));
  for (std::string address; std::getline(addresses, address, ',');) {
    const size_t colon = address.rfind(':');
    ports.push_back(colon == std::string::npos ? uint16_t{0}
                                               : static_cast<uint16_t>(std::strtoul(
                                                     address.c_str() + colon + 1, nullptr, 10)));
  }
  return ports;
}

}  // namespace

BrokerProcess::BrokerProcess(BrokerOptions options) : options_(std::move(options)) { Start(); }

BrokerProcess::~BrokerProcess() {
  if (pid_ > 0 && waitpid(pid_, nullptr, WNOHANG) == pid_) {
    std::fprintf(stderr, "mqttd ended by itself:\n%s", Stderr().c_str());
    pid_ = -1;
  }
  if (pid_ > 0) Kill();
}

void BrokerProcess::Start() {
  std::vector<std::string> args = {Binary(),     "--data-dir",  (directory() / "data").string(),
                                   "--http",     "127.0.0.1:0", "--admin",
                                   "127.0.0.1:0"};
  for (const std::string& url : options_.listen) args.insert(args.end(), {"--listen", url});
  if (options_.allow_anonymous) args.emplace_back("--allow-anonymous");
  for (const std::string& setting : options_.set) args.insert(args.end(), {"--set", setting});
  args.insert(args.end(), options_.args.begin(), options_.args.end());
  std::vector<char*> argv;
  for (std::string& arg : args) argv.push_back(arg.data());
  argv.push_back(nullptr);

  int out[2];
  if (pipe2(out, O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  const std::string log = (directory() / "stderr.txt").string();
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int err = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(out[1], STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  close(out[1]);
  if (pid_ < 0) throw std::runtime_error("fork failed");
  stdout_fd_ = out[0];

  const std::string line = ReadReadyLine(stdout_fd_);
  ports_ = PortsOf(line, "listen");
  const std::vector<uint16_t> http = PortsOf(line, "http");
  http_port_ = http.empty() ? uint16_t{0} : http.front();
  if (ports_.size() != options_.listen.size()) {
    Kill();
    throw std::runtime_error("unexpected ready line: " + line + "\n" + Stderr());
  }
}

std::string BrokerProcess::ReadReadyLine(int stdout_fd) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::milliseconds(kStartTimeoutMs * TestSlowdown());
  std::string text;
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd readable{.fd = stdout_fd, .events = POLLIN, .revents = 0};
    char buffer[4096];
    ssize_t count = 0;
    if (left > 0 && poll(&readable, 1, static_cast<int>(left)) == 1)
      count = read(stdout_fd, buffer, sizeof(buffer));
    if (count <= 0) {
      Kill();
      throw std::runtime_error(Binary() + " did not become ready; stdout: " + text +
                               "\nstderr: " + Stderr());
    }
    text.append(buffer, static_cast<size_t>(count));
    const size_t begin = text.find("mqttd ready ");
    const size_t end = begin == std::string::npos ? begin : text.find('\n', begin);
    if (end != std::string::npos) return text.substr(begin, end - begin);
  }
}

std::string BrokerProcess::Stderr() const {
  std::ostringstream text;
  text << std::ifstream(directory() / "stderr.txt").rdbuf();
  return text.str();
}

void BrokerProcess::Signal(int signal) const { kill(pid_, signal); }

void BrokerProcess::Kill() {
  Signal(SIGKILL);
  Wait();
}

std::optional<int> BrokerProcess::Terminate() {
  Signal(SIGTERM);
  return Wait();
}

void BrokerProcess::Restart() {
  Kill();
  Start();
}

std::optional<int> BrokerProcess::Wait() {
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  pollfd ended{.fd = fd, .events = POLLIN, .revents = 0};
  const bool in_time = poll(&ended, 1, kStopTimeoutMs * TestSlowdown()) == 1;
  close(fd);
  if (!in_time) kill(pid_, SIGKILL);
  int status = 0;
  waitpid(pid_, &status, 0);
  close(stdout_fd_);
  pid_ = -1;
  if (!in_time || !WIFEXITED(status)) return std::nullopt;
  return WEXITSTATUS(status);
}

BrokerProcess& SharedBroker() {
  static BrokerProcess broker;
  return broker;
}

}  // namespace support
