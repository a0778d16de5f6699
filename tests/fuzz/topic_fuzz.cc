// A filter and a name with a line break between them: checking, splitting and matching agree with
// the definitions and with each other.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "mqtt/topic.h"
#include "mqtt/utf8.h"
#include "tests/mqtt/reference_match.h"

namespace mqtt {
namespace {

void CheckLevels(std::string_view topic) {
  std::string joined;
  size_t count = 0;
  for (auto level = Levels(topic).begin(); level != Levels(topic).end(); ++level) {
    joined.append(*level);
    if (!level.is_last()) joined.push_back('/');
    ++count;
  }
  CHECK(joined == topic) << joined;
  CHECK(count == LevelCount(topic)) << count;
}

void CheckFilter(std::string_view filter) {
  const bool valid = IsValidTopicFilter(filter);
  CHECK(valid == !CheckTopicFilter(filter, Version::k311).has_value());
  const auto shared = ParseShared(filter);
  const bool valid_in_5 = !CheckTopicFilter(filter, Version::k5).has_value();
  CHECK(valid_in_5 == (valid && (!IsShared(filter) || shared.has_value())));
  if (!shared.has_value()) return;
  CHECK("$share/" + std::string(shared->share_name) + "/" + std::string(shared->filter) == filter);
  CHECK(!valid_in_5 || IsValidTopicFilter(shared->filter));
}

void CheckUtf8Policies(std::string_view text) {
  const Utf8Result required = CheckUtf8(text);
  const Utf8Result recommended = CheckUtf8(text, Utf8Policy::kRecommended);
  CHECK(required != Utf8Result::kNotRecommended);
  CHECK(required == recommended || recommended == Utf8Result::kNotRecommended);
  CHECK((required == Utf8Result::kNull) <= (text.find('\0') != std::string_view::npos));
}

}  // namespace
}  // namespace mqtt

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t line_break = input.find('\n');
  const std::string_view filter = input.substr(0, line_break);
  const std::string_view name =
      line_break == std::string_view::npos ? std::string_view() : input.substr(line_break + 1);
  mqtt::CheckLevels(filter);
  mqtt::CheckFilter(filter);
  mqtt::CheckUtf8Policies(filter);
  CHECK(mqtt::IsValidTopicName(name) ==
        (mqtt::IsValidTopicFilter(name) && !mqtt::HasWildcard(name)));
  if (mqtt::IsValidTopicFilter(filter) && mqtt::IsValidTopicName(name)) {
    CHECK(mqtt::Matches(filter, name) ==
          mqtt::ReferenceMatch(std::string(filter), std::string(name)));
    CHECK(mqtt::Matches(name, name));
  } else {
    (void)mqtt::Matches(filter, name);
  }
  return 0;
}
