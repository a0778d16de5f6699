#include "admin/notify.h"

#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace admin {
namespace {

std::string Environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? std::string() : std::string(value);
}

// A line of the protocol ends at a line feed.
std::string OneLine(absl::string_view text) { return absl::StrReplaceAll(text, {{"\n", " "}}); }

}  // namespace

ServiceManager ServiceManager::FromEnvironment() {
  ServiceManager manager(Environment("NOTIFY_SOCKET"));
  unsetenv("NOTIFY_SOCKET");
  return manager;
}

absl::Status ServiceManager::Ready(absl::string_view status_text) const {
  return Send(absl::StrCat("READY=1\nSTATUS=", OneLine(status_text), "\n"));
}

absl::Status ServiceManager::Reloading(absl::Duration monotonic) const {
  return Send(
      absl::StrCat("RELOADING=1\nMONOTONIC_USEC=", absl::ToInt64Microseconds(monotonic), "\n"));
}

absl::Status ServiceManager::Stopping(absl::string_view status_text) const {
  return Send(absl::StrCat("STOPPING=1\nSTATUS=", OneLine(status_text), "\n"));
}

absl::Status ServiceManager::Status(absl::string_view status_text) const {
  return Send(absl::StrCat("STATUS=", OneLine(status_text), "\n"));
}

absl::Status ServiceManager::ExtendTimeout(absl::Duration by) const {
  return Send(absl::StrCat("EXTEND_TIMEOUT_USEC=", absl::ToInt64Microseconds(by), "\n"),
              Kind::kSignOfLife);
}

absl::Status ServiceManager::Watchdog() const { return Send("WATCHDOG=1\n", Kind::kSignOfLife); }

std::optional<absl::Duration> ServiceManager::WatchdogTimeout() {
  const std::string pid = Environment("WATCHDOG_PID");
  int64_t microseconds = 0;
  if (!pid.empty() && pid != absl::StrCat(getpid())) return std::nullopt;
  if (!absl::SimpleAtoi(Environment("WATCHDOG_USEC"), &microseconds) || microseconds <= 0) {
    return std::nullopt;
  }
  return absl::Microseconds(microseconds);
}

absl::Status ServiceManager::Send(const std::string& text, Kind kind) const {
  if (socket_.empty()) return absl::OkStatus();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError("NOTIFY_SOCKET is too long");
  }
  std::memcpy(address.sun_path, socket_.data(), socket_.size());
  if (socket_[0] == '@') address.sun_path[0] = '\0';
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());

  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return absl::ErrnoToStatus(errno, "NOTIFY_SOCKET");
  const int flags = MSG_NOSIGNAL | (kind == Kind::kSignOfLife ? MSG_DONTWAIT : 0);
  const ssize_t sent = sendto(fd, text.data(), text.size(), flags,
                              reinterpret_cast<const sockaddr*>(&address), size);
  const int error = errno;
  close(fd);
  if (sent < 0 && error == EAGAIN && kind == Kind::kSignOfLife) return absl::OkStatus();
  return sent < 0 ? absl::ErrnoToStatus(error, "NOTIFY_SOCKET") : absl::OkStatus();
}

MoreTime::MoreTime(const ServiceManager& manager) : manager_(manager) {
  if (!manager_.connected()) return;
  thread_ = std::thread([this] {
    pthread_setname_np(pthread_self(), "more-time");
    Run();
  });
}

MoreTime::~MoreTime() {
  {
    base::MutexLock lock(mutex_);
    over_ = true;
  }
  wake_.SignalOne();
  if (thread_.joinable()) thread_.join();
}

void MoreTime::Run() {
  constexpr absl::Duration kMore = absl::Seconds(60);
  base::MutexLock lock(mutex_);
  // Whoever is told to stop and cannot yet is to be killed when its time is over.
  const auto is_told_to_stop = [] {
    sigset_t pending;
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1);
  };
  while (!over_ && !is_told_to_stop()) {
    (void)manager_.ExtendTimeout(kMore);  // Whoever cannot be told is not told the rest either.
    wake_.WaitFor(mutex_, kMore / 4);
  }
}

}  // namespace admin
