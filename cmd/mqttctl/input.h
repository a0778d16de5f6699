// What the user has us read: by system calls, for the streams of the standard library throw where a
// directory is read, and take what cannot be read for the end.
#ifndef CMD_MQTTCTL_INPUT_H_
#define CMD_MQTTCTL_INPUT_H_

#include <cstddef>
#include <string>

#include "absl/status/statusor.h"

namespace mqttctl {

// All of a file, or a pipe. Errors (kInvalidArgument): it cannot be read, or has more than the
// 256 MiB that a packet of MQTT may have.
absl::StatusOr<std::string> ReadFile(const std::string& path);
absl::StatusOr<std::string> ReadStandardInput();

// The lines of a file, one after the other, without their ends. One thread.
class LineReader {
 public:
  // Of a file, or a pipe. Errors (kInvalidArgument): it cannot be opened.
  static absl::StatusOr<LineReader> Open(const std::string& path);
  static LineReader OfStandardInput();

  LineReader(LineReader&& other) noexcept;
  LineReader& operator=(LineReader&&) = delete;
  ~LineReader();

  // False: there is none left. Errors (kInvalidArgument): it cannot be read, whatever came before.
  absl::StatusOr<bool> Next(std::string& line);

 private:
  LineReader(int file, bool owned, std::string name);

  int file_;
  bool owned_;
  std::string name_;
  std::string buffer_;
  size_t from_ = 0;  // What is before it was taken.
  bool ended_ = false;
};

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_INPUT_H_
