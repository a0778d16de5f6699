// The file that the log is written to.
#ifndef BASE_LOG_FILE_H_
#define BASE_LOG_FILE_H_

#include <string>

#include "absl/status/status.h"

namespace base {

// Whether `file` could be opened for the log now; the error says what is in the way and what to do.
// Makes nothing.
absl::Status CheckLogFile(const std::string& file);

}  // namespace base

#endif  // BASE_LOG_FILE_H_
