#include "auth/core/text.h"

#include "absl/strings/str_cat.h"

namespace auth {
namespace {

constexpr std::string_view kBlanks = " \t\r\v\f";

std::string_view Trim(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

}  // namespace

bool LineReader::Next() {
  while (!rest_.empty()) {
    const size_t newline = rest_.find('\n');
    line_ = Trim(rest_.substr(0, newline));
    rest_ = newline == std::string_view::npos ? std::string_view() : rest_.substr(newline + 1);
    ++number_;
    if (!line_.empty() && line_.front() != '#') return true;
  }
  return false;
}

void FileErrors::Add(const absl::Status& mistake) {
  if (++count_ > kLinesMax) return;
  absl::StrAppend(&text_, text_.empty() ? "" : "\n", mistake.message());
}

absl::Status FileErrors::ToStatus() const {
  if (count_ == 0) return absl::OkStatus();
  if (count_ <= kLinesMax) return absl::InvalidArgumentError(text_);
  return absl::InvalidArgumentError(
      absl::StrCat(text_, "\n(and ", count_ - kLinesMax, " more in this file)"));
}

std::string_view TakeWord(std::string_view& rest) {
  rest = Trim(rest);
  const size_t blank = rest.find_first_of(kBlanks);
  const std::string_view word = rest.substr(0, blank);
  rest = blank == std::string_view::npos ? std::string_view() : Trim(rest.substr(blank));
  return word;
}

}  // namespace auth
