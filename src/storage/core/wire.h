// The protobuf encoding, as much as the records need that are written on every message.
//
// Generated classes would copy each body into an object of its own; these write into a string and
// read views. Fields of value zero are left out, as proto3 does.
#ifndef STORAGE_CORE_WIRE_H_
#define STORAGE_CORE_WIRE_H_

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include "base/check.h"

namespace storage::wire {

// Seven bits to a byte: (bits + 6) / 7, written without a division. Exact for 1 to 64 bits.
constexpr size_t VarintSize(uint64_t value) {
  return static_cast<size_t>(std::bit_width(value | 1) * 9 + 64) / 64;
}

// Of a number of 64 bits.
inline constexpr size_t kVarintMax = 10;

// Writes at `to`, and returns where it ends.
inline char* WriteVarint(char* to, uint64_t value) {
  while (value >= 0x80) {
    *to++ = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  *to++ = static_cast<char>(value);
  return to;
}

// Takes a number off the front. False if there is none.
inline bool TakeVarint(const char*& at, const char* end, uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 64 && at != end; shift += 7) {
    const auto byte = static_cast<uint8_t>(*at++);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

// Of a field of so many bytes, its header included; also when empty.
constexpr size_t ElementSize(size_t bytes) { return 1 + VarintSize(bytes) + bytes; }

constexpr size_t NumberSize(uint64_t value) { return value == 0 ? 0 : 1 + VarintSize(value); }

// The same for fields from 16 to 2047, whose tags are two bytes.
constexpr size_t HighNumberSize(uint64_t value) { return value == 0 ? 0 : 2 + VarintSize(value); }

constexpr size_t BytesSize(std::string_view bytes) {
  return bytes.empty() ? 0 : 1 + VarintSize(bytes.size()) + bytes.size();
}

// A repeated field of numbers, packed. Nothing if there are none.
template <typename Numbers>
size_t PackedSize(const Numbers& numbers) {
  size_t bytes = 0;
  for (const auto number : numbers) bytes += VarintSize(number);
  return numbers.empty() ? 0 : ElementSize(bytes);
}

// False: they are not whole, or too large for what takes them.
template <typename Numbers>
bool ParsePacked(std::string_view packed, Numbers& numbers) {
  using Number = typename Numbers::value_type;
  const char* at = packed.data();
  const char* const end = at + packed.size();
  while (at != end) {
    uint64_t number = 0;
    if (!TakeVarint(at, end, number) || number > std::numeric_limits<Number>::max()) return false;
    numbers.push_back(static_cast<Number>(number));
  }
  return true;
}

// Writes fields, one after the other, into memory that has room for them: the functions above say
// how much. A field number is below 16, so that a tag is one byte.
class Writer {
 public:
  explicit Writer(char* to) : to_(to) {}

  void Number(uint32_t field, uint64_t value) {
    if (value != 0) PresentNumber(field, value);
  }
  // Also zero: for a field that says whether it is there.
  void PresentNumber(uint32_t field, uint64_t value) {
    *to_++ = static_cast<char>(field << 3);
    to_ = WriteVarint(to_, value);
  }
  // The same for fields from 16 to 2047.
  void HighNumber(uint32_t field, uint64_t value) {
    if (value == 0) return;
    *to_++ = static_cast<char>((field << 3 & 0x7F) | 0x80);
    *to_++ = static_cast<char>(field >> 4);
    to_ = WriteVarint(to_, value);
  }
  // What comes before the bytes of a field.
  void Header(uint32_t field, size_t bytes) {
    *to_++ = static_cast<char>(field << 3 | 2);
    to_ = WriteVarint(to_, bytes);
  }
  // Also when empty, so that it can stand for an element of a repeated field.
  void Element(uint32_t field, std::string_view bytes) {
    Header(field, bytes.size());
    Raw(bytes);
  }
  void Bytes(uint32_t field, std::string_view bytes) {
    if (!bytes.empty()) Element(field, bytes);
  }
  // A repeated field of numbers, packed. Nothing if there are none.
  template <typename Numbers>
  void Packed(uint32_t field, const Numbers& numbers) {
    if (numbers.empty()) return;
    size_t bytes = 0;
    for (const auto number : numbers) bytes += VarintSize(number);
    Header(field, bytes);
    for (const auto number : numbers) to_ = WriteVarint(to_, number);
  }
  // A message that is encoded already.
  void Raw(std::string_view bytes) { to_ = std::copy(bytes.begin(), bytes.end(), to_); }

  const char* at() const { return to_; }

 private:
  char* to_;
};

// Adds `size` bytes to `out`, which `write(Writer&)` fills: exactly so many.
template <typename Write>
void Append(std::string& out, size_t size, Write write) {
  const size_t before = out.size();
  out.resize(before + size);
  Writer writer(out.data() + before);
  write(writer);
  CHECK(writer.at() == out.data() + out.size()) << "a record has another size than was said";
}

// Walks the fields of a message:
//   Reader reader(bytes);
//   while (reader.Next()) switch (reader.field()) { case 1: x = reader.number(); … }
//   if (!reader.ok()) …
class Reader {
 public:
  explicit Reader(std::string_view bytes) : at_(bytes.data()), end_(at_ + bytes.size()) {}

  bool Next() {
    if (at_ == end_) return false;
    uint64_t tag = 0;
    if (!TakeVarint(at_, end_, tag) || tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF) return Fail();
    field_ = static_cast<uint32_t>(tag >> 3);
    number_ = 0;
    bytes_ = {};
    switch (tag & 7) {
      case 0:
        return TakeVarint(at_, end_, number_) || Fail();
      case 1:
        return TakeBytes(8) || Fail();
      case 2: {
        uint64_t size = 0;
        return (TakeVarint(at_, end_, size) && TakeBytes(size)) || Fail();
      }
      case 5:
        return TakeBytes(4) || Fail();
      default:
        return Fail();
    }
  }

  bool ok() const { return ok_; }
  uint32_t field() const { return field_; }
  uint64_t number() const { return number_; }        // Zero if the field is none.
  std::string_view bytes() const { return bytes_; }  // Empty if the field is a number.
  std::string_view rest() const {                    // Behind the field.
    return {at_, static_cast<size_t>(end_ - at_)};
  }

 private:
  bool Fail() {
    ok_ = false;
    return false;
  }
  bool TakeBytes(uint64_t size) {
    if (size > static_cast<uint64_t>(end_ - at_)) return false;
    bytes_ = {at_, static_cast<size_t>(size)};
    at_ += size;
    return true;
  }

  const char* at_;
  const char* end_;
  std::string_view bytes_;
  uint64_t number_ = 0;
  uint32_t field_ = 0;
  bool ok_ = true;
};

}  // namespace storage::wire

#endif  // STORAGE_CORE_WIRE_H_
