// What the main thread waits for: signals, and a word from other threads.
#ifndef CMD_MQTTD_CONTROL_H_
#define CMD_MQTTD_CONTROL_H_

#include <optional>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace mqttd {

// Made on the main thread before any other thread, so that all of them leave SIGTERM, SIGINT,
// SIGHUP and SIGUSR1 to it. SIGPIPE is ignored: a closed socket is an error code.
class Control {
 public:
  enum class Event {
    kReady,
    kDrained,
    kWork,    // NotifyWork
    kReload,  // SIGHUP
    kDrain,   // SIGUSR1
    kStop,    // SIGTERM, SIGINT
    kTimeout
  };

  static absl::StatusOr<Control> Create();
  ~Control();
  Control(Control&& other) noexcept;
  Control& operator=(Control&&) = delete;

  // Any thread, each once.
  void NotifyReady();
  void NotifyDrained();
  // As often as there is something.
  void NotifyWork();

  // Blocks until something happens, or for so long.
  Event Wait(std::optional<absl::Duration> timeout);

 private:
  Control(int signals, int ready, int drained, int work)
      : signals_(signals), ready_(ready), drained_(drained), work_(work) {}

  int signals_;  // A signalfd.
  int ready_;    // Eventfds.
  int drained_;
  int work_;
};

// When there is no memory left the process ends with one last line that says so. Nothing that was
// acknowledged is lost by that.
void EndClearlyWithoutMemory();

// As many descriptors as the system lets us have; each connection takes one.
void RaiseDescriptorLimit();

// Has the kernel make the process's table of descriptors as large as it will be needed, as long as
// there is one thread. With several, each time that it grows the thread that accepts stands still
// for an RCU grace period: 10 to 30 ms in which it serves nobody.
void GrowDescriptorTable();

}  // namespace mqttd

#endif  // CMD_MQTTD_CONTROL_H_
