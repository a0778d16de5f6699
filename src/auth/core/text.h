// Reading the line-based files of access control.
#ifndef AUTH_CORE_TEXT_H_
#define AUTH_CORE_TEXT_H_

#include <cstddef>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace auth {

// Yields the lines that say something: blank ones and comments (first non-blank character #) are
// skipped, blanks around a line and the CR of a CRLF are removed.
class LineReader {
 public:
  explicit LineReader(std::string_view text) : rest_(text) {}

  // Moves to the next line; false at the end of the text.
  bool Next();
  std::string_view line() const { return line_; }
  size_t number() const { return number_; }  // From 1, counting every line of the file.

 private:
  std::string_view rest_;
  std::string_view line_;
  size_t number_ = 0;
};

// The mistakes of one file: a line each. Of many only the first are kept, and the rest counted.
class FileErrors {
 public:
  void Add(const absl::Status& mistake);  // With its place in its words.
  absl::Status ToStatus() const;          // kOk, or kInvalidArgument.

 private:
  static constexpr size_t kLinesMax = 25;
  std::string text_;
  size_t count_ = 0;
};

// Removes the first word of `rest`, and the blanks around it, and returns it.
std::string_view TakeWord(std::string_view& rest);

}  // namespace auth

#endif  // AUTH_CORE_TEXT_H_
