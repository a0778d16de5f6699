#include "json_text.h"

#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace mqttctl {
namespace {

using Json = nlohmann::ordered_json;

// Members in their order, with names that may repeat, which a Json object cannot have.
class Object {
 public:
  Object(bool pretty, int depth) : pretty_(pretty), indent_(static_cast<size_t>(depth), '\t') {}

  void Add(std::string_view name, const std::string& value) {
    members_.push_back(absl::StrCat(pretty_ ? indent_ + "\t" : "", JsonString(name),
                                    pretty_ ? ":\t" : ":", value));
  }
  std::string Text() const {
    if (!pretty_) return absl::StrCat("{", absl::StrJoin(members_, ","), "}");
    if (members_.empty()) return "{\n" + indent_ + "}";
    return absl::StrCat("{\n", absl::StrJoin(members_, ",\n"), "\n", indent_, "}");
  }

 private:
  const bool pretty_;
  const std::string indent_;
  std::vector<std::string> members_;
};

// Arrays on one line, objects with a member on each: cJSON's way.
std::string Pretty(const Json& value, int depth) {
  if (value.is_array()) {
    std::vector<std::string> elements;
    for (const Json& element : value) elements.push_back(Pretty(element, depth + 1));
    return absl::StrCat("[", absl::StrJoin(elements, ", "), "]");
  }
  if (!value.is_object()) return value.dump();
  Object object(true, depth);
  for (const auto& [name, member] : value.items()) object.Add(name, Pretty(member, depth + 1));
  return object.Text();
}

void AddProperties(const mqttd::client::ReceivedMessage& message, bool pretty, Object& out) {
  Object properties(pretty, 1);
  bool any = false;
  const auto add = [&](std::string_view name, const std::string& value) {
    properties.Add(name, value);
    any = true;
  };
  if (message.topic_alias != 0) add("topic-alias", absl::StrCat(message.topic_alias));
  if (!message.content_type.empty()) add("content-type", JsonString(message.content_type));
  if (!message.user_properties.empty()) {
    Object user(pretty, 2);
    for (const auto& property : message.user_properties) {
      user.Add(property.name, JsonString(property.value));
    }
    add("user-properties", user.Text());
  }
  for (const uint32_t id : message.subscription_ids) {
    add("subscription-identifier", absl::StrCat(id));
  }
  if (!message.response_topic.empty()) add("response-topic", JsonString(message.response_topic));
  if (!message.correlation_data.empty()) {
    add("correlation-data", JsonString(message.correlation_data));
  }
  if (message.payload_is_utf8) add("payload-format-indicator", "1");
  if (message.message_expiry_s.has_value()) {
    add("message-expiry-interval", absl::StrCat(*message.message_expiry_s));
  }
  if (any) out.Add("properties", properties.Text());
}

}  // namespace

std::string JsonString(std::string_view text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

absl::Status AppendJson(const mqttd::client::ReceivedMessage& message, absl::Time now, bool raw,
                        bool pretty, std::string& out) {
  std::string payload;
  if (!raw) {
    payload = JsonString(message.payload);
  } else {
    const Json value = Json::parse(message.payload, nullptr, false);
    if (value.is_discarded()) {
      return absl::InvalidArgumentError(
          absl::StrCat("the payload on topic ", message.topic, " is not valid JSON"));
    }
    payload = pretty ? Pretty(value, 1) : value.dump();
  }
  Object object(pretty, 0);
  object.Add("tst",
             JsonString(absl::FormatTime("%Y-%m-%dT%H:%M:%E6S%z", now, absl::LocalTimeZone())));
  object.Add("topic", JsonString(message.topic));
  object.Add("qos", absl::StrCat(static_cast<int>(message.qos)));
  object.Add("retain", message.retain ? "1" : "0");
  object.Add("payloadlen", absl::StrCat(message.payload.size()));
  if (message.packet_id) object.Add("mid", absl::StrCat(message.packet_id.value));
  AddProperties(message, pretty, object);
  object.Add("payload", payload);
  out += object.Text();
  return absl::OkStatus();
}

}  // namespace mqttctl
