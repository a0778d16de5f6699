// Messages to the service manager that started us (systemd's protocol, without its library).
#ifndef ADMIN_NOTIFY_H_
#define ADMIN_NOTIFY_H_

#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace admin {

// Sends datagrams to the socket named by $NOTIFY_SOCKET. Without one everything is a successful
// no-op. May be used from any thread; each message takes a socket of its own, so nothing is kept.
class ServiceManager {
 public:
  // `socket`: an absolute path, or "@name" for the abstract name space; empty: nobody listens.
  explicit ServiceManager(std::string socket) : socket_(std::move(socket)) {}

  // From $NOTIFY_SOCKET, which is unset so that children do not speak for us.
  static ServiceManager FromEnvironment();

  absl::Status Ready(absl::string_view status_text) const;
  absl::Status Reloading(absl::Duration monotonic) const;  // Then Ready again when done.
  // From here on it is given TimeoutStopSec, whoever began it.
  absl::Status Stopping(absl::string_view status_text) const;
  absl::Status Status(absl::string_view status_text) const;  // What it does, for people.
  absl::Status Watchdog() const;
  // A start, a reload or a watchdog that would time out sooner goes on for so long.
  absl::Status ExtendTimeout(absl::Duration by) const;

  // How long the service manager waits for Watchdog (from $WATCHDOG_USEC, for our pid): call it
  // twice as often. None: it does not watch.
  static std::optional<absl::Duration> WatchdogTimeout();

  bool connected() const { return !socket_.empty(); }

 private:
  // A sign of life that finds no room is left out: the next one follows, and a manager that does
  // not read keeps nobody from working.
  enum class Kind { kNews, kSignOfLife };
  absl::Status Send(const std::string& text, Kind kind = Kind::kNews) const;

  std::string socket_;
};

// As long as there is one, the service manager waits for Ready, and is in want of no Watchdog: a
// store may be large, and a cluster's other nodes may come days later. Its thread says so, since
// the main thread may be at work.
class MoreTime {
 public:
  explicit MoreTime(const ServiceManager& manager);
  ~MoreTime();
  MoreTime(const MoreTime&) = delete;
  MoreTime& operator=(const MoreTime&) = delete;

 private:
  void Run();

  const ServiceManager manager_;
  base::Mutex mutex_;
  base::CondVar wake_;
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace admin

#endif  // ADMIN_NOTIFY_H_
