// A file that takes the place of another one once all of it is on the disk.
#ifndef CMD_MQTTCTL_NEW_FILE_H_
#define CMD_MQTTCTL_NEW_FILE_H_

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace mqttctl {

// Written as PATH.new. What is at PATH stays as it is until `Finish`, and for good if that is never
// called. A pipe or a device at PATH is written to as it is.
class NewFile {
 public:
  enum class Mode {
    kPrivate,           // For its owner alone.
    kEarlierOrPrivate,  // Owner and mode of the file that is there, if there is one.
    kEarlierOrUsual,    // Likewise; else what the umask says.
  };

  // Errors, here and below (kInvalidArgument): it cannot be written.
  static absl::StatusOr<NewFile> Create(const std::string& path, Mode mode);
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  absl::Status Write(absl::string_view text);
  absl::Status Finish();

 private:
  explicit NewFile(std::string path) : path_(std::move(path)) {}
  absl::Status Open(Mode mode);
  absl::Status Flush();

  std::string path_;
  std::string next_;  // Empty: it is written in its place.
  int file_ = -1;
  std::string waiting_;
};

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_NEW_FILE_H_
