// Inside src/mqtt: eight bytes at a time over text that is nearly always ASCII.
#ifndef MQTT_ASCII_SCAN_H_
#define MQTT_ASCII_SCAN_H_

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace mqtt {

inline constexpr uint64_t kEachByte = 0x0101'0101'0101'0101;  // Times n: n in all eight bytes.
inline constexpr uint64_t kHighBits = 0x80 * kEachByte;

inline uint64_t LoadWord(const char* p) {
  uint64_t word;
  std::memcpy(&word, p, sizeof(word));
  return word;
}

// Not zero if a byte is 0x00 or, possibly, if one is 0x80 or above. Exact for ASCII.
constexpr uint64_t ZeroBytes(uint64_t word) { return (word - kEachByte) & kHighBits; }

// Whether all eight bytes are in 0x01..0x7F.
constexpr bool IsPlainWord(uint64_t word) { return ((word & kHighBits) | ZeroBytes(word)) == 0; }

// The same, and none is a wildcard.
constexpr bool IsPlainNameWord(uint64_t word) {
  return ((word & kHighBits) | ZeroBytes(word) | ZeroBytes(word ^ ('+' * kEachByte)) |
          ZeroBytes(word ^ ('#' * kEachByte))) == 0;
}

// Whether `accept` holds for all of the text, eight bytes at a time. The last word overlaps the one
// before it; a text of less than eight bytes is filled up with bytes that are always accepted.
template <typename Accept>
inline bool AllWords(std::string_view text, Accept accept) {
  const char* p = text.data();
  size_t left = text.size();
  if (left < sizeof(uint64_t)) {
    uint64_t word = 'x' * kEachByte;
    if (left > 0) std::memcpy(&word, p, left);
    return accept(word);
  }
  for (; left > sizeof(uint64_t); p += sizeof(uint64_t), left -= sizeof(uint64_t)) {
    if (!accept(LoadWord(p))) return false;
  }
  return accept(LoadWord(p + left - sizeof(uint64_t)));
}

// Whether the text is ASCII without U+0000: valid in every MQTT string.
inline bool IsPlainText(std::string_view text) { return AllWords(text, IsPlainWord); }

// Whether it is that and has no wildcard: valid as a Topic Name, if it is not empty.
inline bool IsPlainName(std::string_view text) { return AllWords(text, IsPlainNameWord); }

}  // namespace mqtt

#endif  // MQTT_ASCII_SCAN_H_
