// The protobuf encoding, as much as the records need that are written on every message.
//
// Generated classes would copy each body into an object of its own; these write into a string and
// read views. Fields of value zero are left out, as proto3 does.
#ifndef STORAGE_CORE_WIRE_H_
#define STORAGE_CORE_WIRE_H_

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

namespace storage::wire {

constexpr size_t VarintSize(uint64_t value) {
  size_t size = 1;
  while (value >= 0x80) {
    value >>= 7;
    ++size;
  }
  return size;
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

inline void AppendVarint(std::string& out, uint64_t value) {
  char buffer[kVarintMax];
  out.append(buffer, static_cast<size_t>(WriteVarint(buffer, value) - buffer));
}

// Takes a number off the front. False if there is none.
inline bool TakeVarint(std::string_view& bytes, uint64_t& value) {
  value = 0;
  for (unsigned shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<uint8_t>(bytes.front());
    bytes.remove_prefix(1);
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return true;
  }
  return false;
}

// Field numbers here are below 16: a tag is one byte.
inline void AppendNumber(std::string& out, uint32_t field, uint64_t value) {
  if (value == 0) return;
  char buffer[1 + kVarintMax];
  buffer[0] = static_cast<char>(field << 3);
  out.append(buffer, static_cast<size_t>(WriteVarint(buffer + 1, value) - buffer));
}

// What comes before the bytes of a field.
inline void AppendHeader(std::string& out, uint32_t field, size_t bytes) {
  char buffer[1 + kVarintMax];
  buffer[0] = static_cast<char>(field << 3 | 2);
  out.append(buffer, static_cast<size_t>(WriteVarint(buffer + 1, bytes) - buffer));
}

// Of a field of so many bytes, its header included; also when empty.
constexpr size_t ElementSize(size_t bytes) { return 1 + VarintSize(bytes) + bytes; }

constexpr size_t NumberSize(uint64_t value) { return value == 0 ? 0 : 1 + VarintSize(value); }

// Also when empty, so that it can stand for an element of a repeated field.
inline void AppendElement(std::string& out, uint32_t field, std::string_view bytes) {
  AppendHeader(out, field, bytes.size());
  out.append(bytes);
}

inline void AppendBytes(std::string& out, uint32_t field, std::string_view bytes) {
  if (!bytes.empty()) AppendElement(out, field, bytes);
}

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

template <typename Numbers>
void AppendPacked(std::string& out, uint32_t field, const Numbers& numbers) {
  if (numbers.empty()) return;
  size_t bytes = 0;
  for (const auto number : numbers) bytes += VarintSize(number);
  AppendHeader(out, field, bytes);
  for (const auto number : numbers) AppendVarint(out, number);
}

// False: they are not whole, or too large for what takes them.
template <typename Numbers>
bool ParsePacked(std::string_view packed, Numbers& numbers) {
  using Number = typename Numbers::value_type;
  while (!packed.empty()) {
    uint64_t number = 0;
    if (!TakeVarint(packed, number) || number > std::numeric_limits<Number>::max()) return false;
    numbers.push_back(static_cast<Number>(number));
  }
  return true;
}

// Walks the fields of a message:
//   Reader reader(bytes);
//   while (reader.Next()) switch (reader.field()) { case 1: x = reader.number(); … }
//   if (!reader.ok()) …
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  bool Next() {
    if (rest_.empty()) return false;
    uint64_t tag = 0;
    if (!TakeVarint(rest_, tag) || tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF) return Fail();
    field_ = static_cast<uint32_t>(tag >> 3);
    number_ = 0;
    bytes_ = {};
    switch (tag & 7) {
      case 0:
        return TakeVarint(rest_, number_) || Fail();
      case 1:
        return TakeBytes(8) || Fail();
      case 2: {
        uint64_t size = 0;
        return (TakeVarint(rest_, size) && TakeBytes(size)) || Fail();
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
  std::string_view rest() const { return rest_; }    // Behind the field.

 private:
  bool Fail() {
    ok_ = false;
    return false;
  }
  bool TakeBytes(uint64_t size) {
    if (size > rest_.size()) return false;
    bytes_ = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return true;
  }

  std::string_view rest_;
  std::string_view bytes_;
  uint64_t number_ = 0;
  uint32_t field_ = 0;
  bool ok_ = true;
};

}  // namespace storage::wire

#endif  // STORAGE_CORE_WIRE_H_
