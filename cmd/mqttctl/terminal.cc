#include "terminal.h"

#include <unistd.h>

#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

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

// If a line or paragraph separator, or what embeds, overrides or isolates a direction, begins here:
// U+2028 to U+202E, U+2066 to U+2069. Else 0.
uint32_t MarkOfLines(absl::string_view text) {
  if (text.size() < 3) return 0;
  const auto second = static_cast<unsigned char>(text[1]);
  const auto third = static_cast<unsigned char>(text[2]);
  const uint32_t character = 0x2000U | (second & 0x3fU) << 6 | (third & 0x3fU);
  const bool separates = second == 0x80 && third >= 0xa8 && third <= 0xae;
  const bool isolates = second == 0x81 && third >= 0xa6 && third <= 0xa9;
  return separates || isolates ? character : 0;
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

std::string OneLine(absl::string_view text) {
  std::string line;
  line.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const uint32_t mark = c == 0xe2 ? MarkOfLines(text.substr(i)) : 0;
    if (mark != 0) {
      absl::StrAppend(&line, "\\u", absl::Hex(mark));
      i += 2;
    } else if (c == '\n' || c == '\r' || c == '\t') {
      line += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (c < 0x20 || c == 0x7f) {
      absl::StrAppend(&line, absl::StrFormat("\\%03o", c));
    } else {
      line += text[i];
    }
  }
  return Harmless(line);
}

bool PrintsToTerminal() { return isatty(STDOUT_FILENO) != 0; }

}  // namespace mqttctl
