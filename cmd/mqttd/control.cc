#include "control.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <new>
#include <utility>

#include "base/log.h"

namespace mqttd {
namespace {

constexpr int kExitWithoutMemory = 1;

}  // namespace

absl::StatusOr<Control> Control::Create() {
  signal(SIGPIPE, SIG_IGN);
  sigset_t mask;
  sigemptyset(&mask);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&mask, number);
  const int error = pthread_sigmask(SIG_BLOCK, &mask, nullptr);
  if (error != 0) return absl::ErrnoToStatus(error, "pthread_sigmask");
  const int signals = signalfd(-1, &mask, SFD_CLOEXEC);
  if (signals < 0) return absl::ErrnoToStatus(errno, "signalfd");
  const int ready = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (ready < 0) {
    const int eventfd_error = errno;
    close(signals);
    return absl::ErrnoToStatus(eventfd_error, "eventfd");
  }
  return Control(signals, ready);
}

Control::~Control() {
  if (signals_ >= 0) close(signals_);
  if (ready_ >= 0) close(ready_);
}

Control::Control(Control&& other) noexcept
    : signals_(std::exchange(other.signals_, -1)), ready_(std::exchange(other.ready_, -1)) {}

void Control::NotifyReady() {
  const uint64_t one = 1;
  // Cannot fail: the counter has room for one.
  [[maybe_unused]] const ssize_t written = write(ready_, &one, sizeof(one));
}

Control::Event Control::Wait(std::optional<absl::Duration> timeout) {
  pollfd fds[] = {{signals_, POLLIN, 0}, {ready_, POLLIN, 0}};
  const int timeout_ms =
      timeout.has_value() ? static_cast<int>(absl::ToInt64Milliseconds(*timeout)) : -1;
  int count = 0;
  do {
    count = poll(fds, 2, timeout_ms);
  } while (count < 0 && errno == EINTR);
  if ((fds[0].revents & POLLIN) != 0) {
    signalfd_siginfo info{};
    if (read(signals_, &info, sizeof(info)) == sizeof(info)) {
      return info.ssi_signo == SIGHUP ? Event::kReload : Event::kStop;
    }
  }
  uint64_t value = 0;
  if ((fds[1].revents & POLLIN) != 0 && read(ready_, &value, sizeof(value)) == sizeof(value)) {
    return Event::kReady;
  }
  return Event::kTimeout;
}

void EndClearlyWithoutMemory() {
  std::set_new_handler([] {
    // Nothing here may allocate.
    static constexpr char kLine[] =
        "mqttd: out of memory: an allocation failed, so this process ends; what was acknowledged "
        "is "
        "stored. Give it more memory, or lower broker.memory_high_bytes or the bounds of "
        "docs/operations.md\n";
    [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, kLine, sizeof(kLine) - 1);
    _exit(kExitWithoutMemory);
  });
}

void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  const rlim_t before = limit.rlim_cur;
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
    base::Log(base::LogLevel::kWarning, "descriptor limit stays",
              {{"limit", before}, {"error", absl::ErrnoToStatus(errno, "setrlimit")}});
  }
}

void GrowDescriptorTable() {
  constexpr rlim_t kDescriptorsMax = 65'536;  // Half a megabyte of the kernel's memory.
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == 0) return;
  const auto highest = static_cast<int>(std::min(limit.rlim_cur, kDescriptorsMax) - 1);
  const int copy = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, highest);
  if (copy >= 0) close(copy);
}

}  // namespace mqttd
