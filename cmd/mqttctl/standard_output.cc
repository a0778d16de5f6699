#include "standard_output.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace mqttctl {
namespace {

// Of the first time that it could not be written; 0: nobody knows.
int first_error = 0;

}  // namespace

bool PrintOut(absl::string_view text) {
  const bool written =
      std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  if (!written && first_error == 0) first_error = errno;
  return written;
}

bool AllIsPrinted() {
  if (std::fflush(stdout) != 0 && first_error == 0) first_error = errno;
  if (std::ferror(stdout) == 0) return true;
  std::fprintf(stderr, "Error: cannot write the output%s%s\n", first_error == 0 ? "" : ": ",
               first_error == 0 ? "" : std::strerror(first_error));
  return false;
}

}  // namespace mqttctl
