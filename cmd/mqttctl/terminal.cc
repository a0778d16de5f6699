#include "terminal.h"

#include <unistd.h>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace mqttctl {
namespace {

// Of one in UTF-8 that takes several bytes; else 1.
size_t LengthOfCharacter(absl::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const size_t length = byte(0) < 0xc2 ? 1 : byte(0) < 0xe0 ? 2 : byte(0) < 0xf0 ? 3 : 4;
  if (length > text.size() || byte(0) > 0xf4) return 1;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 1;
  }
  return length;
}

}  // namespace

std::string Harmless(absl::string_view text) {
  std::string harmless;
  harmless.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    if (c == 0xc2 && next >= 0x80 && next < 0xa0) {  // U+0080 to U+009F in UTF-8.
      absl::StrAppend(&harmless, "\\u00", absl::Hex(next, absl::kZeroPad2));
      ++i;
    } else if (const size_t length = LengthOfCharacter(text.substr(i)); length > 1) {
      absl::StrAppend(&harmless, text.substr(i, length));
      i += length - 1;
    } else if ((c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7f && c < 0xa0)) {
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
