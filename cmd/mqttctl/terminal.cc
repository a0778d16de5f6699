#include "terminal.h"

#include <unistd.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace mqttctl {

std::string Harmless(absl::string_view text) {
  std::string harmless;
  harmless.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    if (c == 0xc2 && next >= 0x80 && next < 0xa0) {  // U+0080 to U+009F in UTF-8.
      absl::StrAppend(&harmless, "\\u00", absl::Hex(next, absl::kZeroPad2));
      ++i;
    } else if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f) {
      absl::StrAppend(&harmless, "\\x", absl::Hex(c, absl::kZeroPad2));
    } else {
      harmless += text[i];
    }
  }
  return harmless;
}

std::string OneLine(absl::string_view text) { return Harmless(absl::Utf8SafeCEscape(text)); }

bool PrintsToTerminal() { return isatty(STDOUT_FILENO) != 0; }

}  // namespace mqttctl
