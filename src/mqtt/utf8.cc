#include "mqtt/utf8.h"

#include <cstddef>

#include "mqtt/ascii_scan.h"

namespace mqtt {
namespace {

bool IsNotRecommended(uint32_t code_point) {
  return code_point < 0x20 || (code_point >= 0x7F && code_point <= 0x9F) ||
         (code_point >= 0xFDD0 && code_point <= 0xFDEF) || (code_point & 0xFFFE) == 0xFFFE;
}

// One character of two to four bytes at the front of [p, end). Its size, or 0 if it is ill-formed.
// The bounds of the second byte are those of RFC 3629, section 4: they keep out overlong forms,
// surrogates and all above U+10FFFF.
size_t Multibyte(const uint8_t* p, const uint8_t* end, uint32_t& code_point) {
  const uint8_t lead = p[0];
  const size_t size = lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
  if (size == 0 || static_cast<size_t>(end - p) < size) return 0;
  const uint8_t second_min = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
  const uint8_t second_max = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
  if (p[1] < second_min || p[1] > second_max) return 0;
  code_point = lead & (0x7Fu >> size);
  code_point = code_point << 6 | (p[1] & 0x3Fu);
  for (size_t i = 2; i < size; ++i) {
    if ((p[i] & 0xC0) != 0x80) return 0;
    code_point = code_point << 6 | (p[i] & 0x3Fu);
  }
  return size;
}

}  // namespace

Utf8Result CheckUtf8(std::string_view text, Utf8Policy policy) {
  const bool strict = policy == Utf8Policy::kRecommended;
  if (!strict && IsPlainText(text)) return Utf8Result::kValid;
  const auto* p = reinterpret_cast<const uint8_t*>(text.data());
  const uint8_t* const end = p + text.size();
  while (p < end) {
    uint32_t code_point = *p;
    if (code_point == 0) return Utf8Result::kNull;
    size_t size = 1;
    if (code_point >= 0x80) {
      size = Multibyte(p, end, code_point);
      if (size == 0) return Utf8Result::kIllFormed;
    }
    if (strict && IsNotRecommended(code_point)) return Utf8Result::kNotRecommended;
    p += size;
  }
  return Utf8Result::kValid;
}

}  // namespace mqtt
