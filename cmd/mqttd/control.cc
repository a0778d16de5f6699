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
#include <iterator>
#include <new>
#include <utility>

#include "base/log.h"

namespace mqttd {
namespace {

constexpr int kExitWithoutMemory = 1;

void Notify(int eventfd) {
  const uint64_t one = 1;
  // Cannot fail: the counter has room for one.
  [[maybe_unused]] const ssize_t written = write(eventfd, &one, sizeof(one));
}

bool Took(int eventfd) {
  uint64_t value = 0;
  return read(eventfd, &value, sizeof(value)) == sizeof(value);
}

Control::Event EventOf(uint32_t signal) {
  if (signal == SIGHUP) return Control::Event::kReload;
  return signal == SIGUSR1 ? Control::Event::kDrain : Control::Event::kStop;
}

}  // namespace

absl::StatusOr<Control> Control::Create() {
  signal(SIGPIPE, SIG_IGN);
  sigset_t mask;
  sigemptyset(&mask);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) sigaddset(&mask, number);
  const int error = pthread_sigmask(SIG_BLOCK, &mask, nullptr);
  if (error != 0) return absl::ErrnoToStatus(error, "pthread_sigmask");
  Control control(signalfd(-1, &mask, SFD_CLOEXEC), eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                  eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (control.signals_ < 0 || control.ready_ < 0 || control.drained_ < 0 || control.work_ < 0) {
    return absl::ErrnoToStatus(errno, "signalfd, eventfd");
  }
  return control;
}

Control::~Control() {
  for (const int fd : {signals_, ready_, drained_, work_}) {
    if (fd >= 0) close(fd);
  }
}

Control::Control(Control&& other) noexcept
    : signals_(std::exchange(other.signals_, -1)),
      ready_(std::exchange(other.ready_, -1)),
      drained_(std::exchange(other.drained_, -1)),
      work_(std::exchange(other.work_, -1)) {}

void Control::NotifyReady() { Notify(ready_); }

void Control::NotifyDrained() { Notify(drained_); }

void Control::NotifyWork() { Notify(work_); }

Control::Event Control::Wait(std::optional<absl::Duration> timeout) {
  pollfd fds[] = {
      {signals_, POLLIN, 0}, {ready_, POLLIN, 0}, {drained_, POLLIN, 0}, {work_, POLLIN, 0}};
  const int timeout_ms =
      timeout.has_value() ? static_cast<int>(absl::ToInt64Milliseconds(*timeout)) : -1;
  int count = 0;
  do {
    count = poll(fds, std::size(fds), timeout_ms);
  } while (count < 0 && errno == EINTR);
  if ((fds[0].revents & POLLIN) != 0) {
    signalfd_siginfo info{};
    if (read(signals_, &info, sizeof(info)) == sizeof(info)) return EventOf(info.ssi_signo);
  }
  if ((fds[1].revents & POLLIN) != 0 && Took(ready_)) return Event::kReady;
  if ((fds[2].revents & POLLIN) != 0 && Took(drained_)) return Event::kDrained;
  if ((fds[3].revents & POLLIN) != 0 && Took(work_)) return Event::kWork;
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
