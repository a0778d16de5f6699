// What another node sends: a request if the first byte is even, else an event. What is read is
// written again, and read as the same.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/check.h"
#include "cluster/core/traffic_codec.h"
#include "tests/cluster/core/traffic_values.h"

namespace cluster {
namespace {

template <typename Variant>
std::string TextOfAny(const Variant& value) {
  return std::visit([](const auto& it) { return TextOf(it); }, value);
}

void TryRequest(std::string_view item) {
  const auto read = ParseRequest(item);
  if (!read.ok()) return;
  std::string again;
  AppendRequest(read->from, read->asked, again);
  const auto second = ParseRequest(again);
  CHECK(second.ok()) << second.status();
  CHECK(TextOfAny(second->asked.request) == TextOfAny(read->asked.request));
}

void TryEvent(std::string_view item) {
  const auto read = ParseEvent(item);
  if (!read.ok()) return;
  std::string again;
  AppendEvent(read->to, read->event, again);
  const auto second = ParseEvent(again);
  CHECK(second.ok()) << second.status();
  CHECK(TextOfAny(second->event) == TextOfAny(read->event));
}

}  // namespace
}  // namespace cluster

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view item(reinterpret_cast<const char*>(data) + 1, size - 1);
  data[0] % 2 == 0 ? cluster::TryRequest(item) : cluster::TryEvent(item);
  return 0;
}
