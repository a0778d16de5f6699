// What another node sends: the first byte says as what it is read. What is read is written again,
// and read as the same.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

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

void TryNodeItem(std::string_view item) {
  const auto read = ParseNodeItem(item);
  if (!read.ok()) return;
  std::string again;
  AppendNodeItem(*read, again);
  const auto second = ParseNodeItem(again);
  CHECK(second.ok()) << second.status();
  CHECK(TextOfAny(*second) == TextOfAny(*read));
}

void TryForwarded(std::string_view item) {
  std::string_view body;
  if (!ParseForwardHead(item, body).ok()) return;
  std::vector<Forwarded> messages;
  if (!ParseForwarded(body, messages).ok()) return;
  std::string again(kForwardHeadRoom, '\0');
  for (const Forwarded& one : messages) {
    if (one.member == nullptr && one.outbox) {
      AppendForwarded(one.message->parts(), one.outbox, again);
    } else if (one.member == nullptr) {
      AppendForwarded(one.message->parts(), again);
    } else {
      AppendForwarded(one.message->parts(), *one.member, again);
    }
  }
  std::vector<Forwarded> second;
  CHECK(ParseForwarded(std::string_view(again).substr(kForwardHeadRoom), second).ok());
  CHECK(second.size() == messages.size());
  for (size_t i = 0; i < second.size(); ++i) {
    CHECK((second[i].member == nullptr) == (messages[i].member == nullptr));
    if (messages[i].outbox) CHECK(TextOf(second[i].outbox) == TextOf(messages[i].outbox));
    if (second[i].member == nullptr) continue;
    CHECK(TextOf(*second[i].member) == TextOf(*messages[i].member));
  }
}

}  // namespace
}  // namespace cluster

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view item(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 4) {
    case 0:
      cluster::TryRequest(item);
      break;
    case 1:
      cluster::TryEvent(item);
      break;
    case 2:
      cluster::TryNodeItem(item);
      break;
    default:
      cluster::TryForwarded(item);
  }
  return 0;
}
