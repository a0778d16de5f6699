#include "base/check.h"

#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace base::check_internal {

Failure::Failure(const char* file, int line, const char* condition)
    : stream_(new std::ostringstream) {
  *stream_ << file << ':' << line << ": CHECK(" << condition << ") failed: ";
}

Failure::~Failure() {
  const std::string words = static_cast<std::ostringstream*>(stream_)->str();
  std::fprintf(stderr, "%s\n", words.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace base::check_internal
