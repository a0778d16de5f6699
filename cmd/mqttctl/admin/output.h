// What a verb prints: one answer in the form that the user asked for.
#ifndef CMD_MQTTCTL_ADMIN_OUTPUT_H_
#define CMD_MQTTCTL_ADMIN_OUTPUT_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/message.h"
#include "nlohmann/json.hpp"

namespace mqttctl {

using Json = nlohmann::ordered_json;

// A message as JSON, stable: all fields that are set and all that have a default, by the names of
// the .proto; numbers as numbers; times as RFC 3339, intervals as seconds; enums in small letters
// without their prefix ("ready"); bytes as text if they are UTF-8, else {"base64": …}.
Json ToJson(const google::protobuf::Message& message);

// One column of a table: its head, and where its value is: "client_id", "page.next".
struct Column {
  std::string head;
  std::string field;
};

enum class OutputForm { kTable, kJson, kYaml };

// "table", "json", "yaml".
bool ParseOutputForm(const std::string& text, OutputForm& form);

// Of a single thing: as a table a line for each field.
std::string Render(const Json& value, OutputForm form);
// Of a list: as a table a line for each element.
std::string RenderList(const Json& list, const std::vector<Column>& columns, OutputForm form);

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_ADMIN_OUTPUT_H_
