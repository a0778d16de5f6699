#include "mqtt/utf8.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>

namespace mqtt {
namespace {

using namespace std::string_view_literals;

std::string Encode(uint32_t c) {
  const auto byte = [](uint32_t value) { return static_cast<char>(value); };
  if (c < 0x80) return {byte(c)};
  if (c < 0x800) return {byte(0xC0 | c >> 6), byte(0x80 | (c & 0x3F))};
  if (c < 0x10000) {
    return {byte(0xE0 | c >> 12), byte(0x80 | (c >> 6 & 0x3F)), byte(0x80 | (c & 0x3F))};
  }
  return {byte(0xF0 | c >> 18), byte(0x80 | (c >> 12 & 0x3F)), byte(0x80 | (c >> 6 & 0x3F)),
          byte(0x80 | (c & 0x3F))};
}

// Slow and plain: takes one character off the front by arithmetic, as RFC 3629 defines it.
std::optional<uint32_t> TakeCharacter(std::string_view& text) {
  const auto at = [&text](size_t i) {
    return static_cast<uint32_t>(static_cast<uint8_t>(text[i]));
  };
  size_t size = 1;
  uint32_t code_point = at(0);
  if (code_point >= 0xF8) return std::nullopt;
  if (code_point >= 0xF0) {
    size = 4, code_point &= 0x07;
  } else if (code_point >= 0xE0) {
    size = 3, code_point &= 0x0F;
  } else if (code_point >= 0xC0) {
    size = 2, code_point &= 0x1F;
  } else if (code_point >= 0x80) {
    return std::nullopt;
  }
  if (text.size() < size) return std::nullopt;
  for (size_t i = 1; i < size; ++i) {
    if ((at(i) & 0xC0) != 0x80) return std::nullopt;
    code_point = code_point << 6 | (at(i) & 0x3F);
  }
  if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point <= 0xDFFF)) return std::nullopt;
  if (Encode(code_point).size() != size) return std::nullopt;  // Overlong.
  text.remove_prefix(size);
  return code_point;
}

Utf8Result Slow(std::string_view text) {
  while (!text.empty()) {
    const std::optional<uint32_t> character = TakeCharacter(text);
    if (!character.has_value()) return Utf8Result::kIllFormed;
    if (*character == 0) return Utf8Result::kNull;
  }
  return Utf8Result::kValid;
}

TEST(Utf8, EveryCodePoint_MQTT5_1_5_4_1_MQTT311_1_5_3_1) {
  for (uint32_t c = 0; c <= 0x120000; ++c) {
    const bool surrogate = c >= 0xD800 && c <= 0xDFFF;
    const Utf8Result expected = c == 0                      ? Utf8Result::kNull
                                : surrogate || c > 0x10FFFF ? Utf8Result::kIllFormed
                                                            : Utf8Result::kValid;
    ASSERT_EQ(CheckUtf8(Encode(c)), expected) << std::hex << c;
  }
}

TEST(Utf8, EveryTwoAndThreeBytes) {
  for (uint32_t word = 0; word <= 0xFFFFFF; word += word < 0xC0'0000 ? 0x101 : 1) {
    const std::string three = {static_cast<char>(word >> 16), static_cast<char>(word >> 8),
                               static_cast<char>(word)};
    ASSERT_EQ(CheckUtf8(three), Slow(three)) << std::hex << word;
  }
  for (uint32_t word = 0; word <= 0xFFFF; ++word) {
    const std::string two = {static_cast<char>(word >> 8), static_cast<char>(word)};
    ASSERT_EQ(CheckUtf8(two), Slow(two)) << std::hex << word;
  }
}

TEST(Utf8, FourBytesAtEveryEdge) {
  constexpr uint8_t kEdges[] = {0x00, 0x01, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0,
                                0xBF, 0xC0, 0xC2, 0xE0, 0xED, 0xF0, 0xF4, 0xFF};
  for (uint32_t lead = 0xE0; lead <= 0xFF; ++lead) {
    for (uint32_t second = 0; second <= 0xFF; ++second) {
      for (const uint8_t third : kEdges) {
        for (const uint8_t fourth : kEdges) {
          const std::string text = {static_cast<char>(lead), static_cast<char>(second),
                                    static_cast<char>(third), static_cast<char>(fourth)};
          ASSERT_EQ(CheckUtf8(text), Slow(text));
        }
      }
    }
  }
}

TEST(Utf8, AFaultIsFoundWhereverItStandsInALongText) {
  for (size_t size = 1; size <= 40; ++size) {
    for (size_t at = 0; at < size; ++at) {
      std::string text(size, 'x');
      ASSERT_TRUE(IsValidUtf8(text));
      text[at] = '\0';
      ASSERT_EQ(CheckUtf8(text), Utf8Result::kNull) << size << " " << at;
      text[at] = '\x80';
      ASSERT_EQ(CheckUtf8(text), Utf8Result::kIllFormed) << size << " " << at;
      text[at] = '\xE2';
      ASSERT_EQ(CheckUtf8(text), Utf8Result::kIllFormed) << size << " " << at;
    }
  }
}

TEST(Utf8, MayNotHoldNull_MQTT5_1_5_4_2_MQTT311_1_5_3_2) {
  EXPECT_EQ(CheckUtf8("\0"sv), Utf8Result::kNull);
  EXPECT_EQ(CheckUtf8("abc\0def"sv), Utf8Result::kNull);
  EXPECT_EQ(CheckUtf8("\xC0\x80"), Utf8Result::kIllFormed);  // The overlong form of it.
}

TEST(Utf8, KeepsTheByteOrderMark_MQTT5_1_5_4_3_MQTT311_1_5_3_3) {
  EXPECT_TRUE(IsValidUtf8("\xEF\xBB\xBF"));
  EXPECT_TRUE(IsValidUtf8("a\xEF\xBB\xBFz"));
}

TEST(Utf8, EmptyIsValid) { EXPECT_TRUE(IsValidUtf8("")); }

TEST(Utf8, ControlAndNonCharactersAreRefusedOnlyWhenAskedFor) {
  for (const uint32_t c : {0x01u, 0x1Fu, 0x7Fu, 0x80u, 0x9Fu, 0xFDD0u, 0xFDEFu, 0xFFFEu, 0xFFFFu,
                           0x1FFFEu, 0x10FFFFu}) {
    EXPECT_EQ(CheckUtf8(Encode(c), Utf8Policy::kRequired), Utf8Result::kValid) << c;
    EXPECT_EQ(CheckUtf8(Encode(c), Utf8Policy::kRecommended), Utf8Result::kNotRecommended) << c;
  }
  for (const uint32_t c :
       {0x20u, 0x7Eu, 0xA0u, 0xFDCFu, 0xFDF0u, 0xFFFDu, 0xFEFFu, 0x10000u, 0x10FFFDu}) {
    EXPECT_EQ(CheckUtf8(Encode(c), Utf8Policy::kRecommended), Utf8Result::kValid) << c;
  }
}

}  // namespace
}  // namespace mqtt
