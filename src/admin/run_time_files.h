// What was set by the admin API, kept in the data directory: DATA_DIR/admin/NAME.
#ifndef ADMIN_RUN_TIME_FILES_H_
#define ADMIN_RUN_TIME_FILES_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace admin {

// Whole files, small. Any thread; who changes one sees to it that nobody else does.
class RunTimeFiles {
 public:
  explicit RunTimeFiles(std::string data_dir) : directory_(std::move(data_dir) + "/admin") {}

  // Empty: there is none. Errors: it cannot be read.
  absl::StatusOr<std::string> Read(absl::string_view name) const;
  // In one piece and on the disk: after a crash there is this one or the last. Empty: removes it.
  // Errors: kResourceExhausted, kUnavailable, in words.
  absl::Status Write(absl::string_view name, absl::string_view text) const;
  // Whole lines at the end of a file, which is made if there is none; on the disk. After an error
  // or a crash a piece of them may stand at its end: behind the last whole line, where the next
  // ones take its place.
  absl::Status Append(absl::string_view name, absl::string_view text) const;

  std::string PathOf(absl::string_view name) const;

 private:
  const std::string directory_;
};

}  // namespace admin

#endif  // ADMIN_RUN_TIME_FILES_H_
