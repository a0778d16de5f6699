#include "cluster/link/frame.h"

#include "storage/core/wire.h"

namespace cluster {
namespace {

namespace wire = storage::wire;

constexpr uint32_t kPing = 2;
constexpr uint32_t kItems = 3;
constexpr uint32_t kPong = 3;
constexpr uint32_t kItemsTaken = 4;
constexpr uint32_t kBytesTaken = 5;

// Calls number(field, value) and bytes(field, view) for each field. False: damaged.
template <typename OnNumber, typename OnBytes>
bool EachField(std::string_view text, OnNumber number, OnBytes bytes) {
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    uint64_t tag = 0;
    uint64_t value = 0;
    if (!wire::TakeVarint(at, end, tag) || tag >> 3 == 0 || tag >> 32 != 0) return false;
    const auto field = static_cast<uint32_t>(tag >> 3);
    size_t skipped = 0;
    switch (tag & 7) {
      case 0:
        if (!wire::TakeVarint(at, end, value)) return false;
        number(field, value);
        continue;
      case 1:
        skipped = 8;
        break;
      case 2:
        if (!wire::TakeVarint(at, end, value) || value > static_cast<uint64_t>(end - at))
          return false;
        bytes(field, std::string_view(at, value));
        skipped = value;
        break;
      case 5:
        skipped = 4;
        break;
      default:
        return false;
    }
    if (skipped > static_cast<size_t>(end - at)) return false;
    at += skipped;
  }
  return true;
}

}  // namespace

void AppendItem(std::string_view item, std::string& frame) {
  wire::Append(frame, wire::ElementSize(item.size()),
               [&](wire::Writer& writer) { writer.Element(kItems, item); });
}

void AppendPing(uint64_t ping, std::string& frame) {
  wire::Append(frame, wire::NumberSize(ping),
               [&](wire::Writer& writer) { writer.Number(kPing, ping); });
}

bool ParseFrame(std::string_view bytes, FrameView& frame) {
  return EachField(
      bytes,
      [&](uint32_t field, uint64_t value) {
        if (field == kPing) frame.ping = value;
      },
      [&](uint32_t field, std::string_view value) {
        if (field == kItems)
          frame.items.push_back({static_cast<size_t>(value.data() - bytes.data()), value.size()});
      });
}

std::string EncodeBackFrame(const BackFrame& frame) {
  std::string bytes;
  wire::Append(bytes,
               wire::NumberSize(frame.pong) + wire::NumberSize(frame.taken.items) +
                   wire::NumberSize(frame.taken.bytes),
               [&](wire::Writer& writer) {
                 writer.Number(kPong, frame.pong);
                 writer.Number(kItemsTaken, frame.taken.items);
                 writer.Number(kBytesTaken, frame.taken.bytes);
               });
  return bytes;
}

bool ParseBackFrame(std::string_view bytes, BackFrame& frame) {
  return EachField(
      bytes,
      [&](uint32_t field, uint64_t value) {
        if (field == kPong) frame.pong = value;
        if (field == kItemsTaken) frame.taken.items = value;
        if (field == kBytesTaken) frame.taken.bytes = value;
      },
      [](uint32_t, std::string_view) {});
}

}  // namespace cluster
