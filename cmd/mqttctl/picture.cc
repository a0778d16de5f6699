#include "picture.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"

namespace mqttctl {

Picture::Picture(bool quiet) : quiet_(quiet), terminal_(isatty(STDERR_FILENO) != 0) {}

void Picture::Show(const std::vector<std::string>& lines) {
  if (quiet_) return;
  if (!terminal_) {
    std::fprintf(stderr, "%s\n", absl::StrJoin(lines, "  ").c_str());
    return;
  }
  std::string text;
  if (shown_ > 0) absl::StrAppend(&text, "\x1B[", shown_, "A");
  for (const std::string& line : lines) absl::StrAppend(&text, "\x1B[2K", line, "\n");
  shown_ = std::max(shown_, lines.size());
  std::fputs(text.c_str(), stderr);
}

void Picture::Clear() {
  if (shown_ == 0) return;
  std::fprintf(stderr, "\x1B[%zuA\x1B[J", shown_);
  shown_ = 0;
}

std::string Picture::Bar(double share) {
  constexpr int kWidth = 30;
  const double part = std::clamp(share, 0.0, 1.0);
  const auto full = static_cast<size_t>(std::lround(part * kWidth));
  return absl::StrFormat("[%s%s] %3.0f %%", std::string(full, '#'), std::string(kWidth - full, '-'),
                         part * 100);
}

std::string Grouped(double number) {
  const std::string digits = absl::StrFormat("%.0f", number);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text.push_back(',');
    text.push_back(digits[i]);
  }
  return text;
}

std::string Milliseconds(double ms) { return absl::StrFormat("%.3g ms", ms); }

}  // namespace mqttctl
