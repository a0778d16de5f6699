// What a verb prints: one answer in the form that the user asked for.
#ifndef CMD_MQTTCTL_ADMIN_OUTPUT_H_
#define CMD_MQTTCTL_ADMIN_OUTPUT_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
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
  bool wide = false;  // Only in a wide table.
};

// How it is printed.
struct OutputForm {
  enum Kind { kTable, kWide, kJson, kYaml, kJsonPath };
  Kind kind = kTable;
  std::string path;  // Of kJsonPath.

  // For people: words and tables.
  bool table() const { return kind == kTable || kind == kWide; }
};

// "table", "wide", "json", "yaml", "jsonpath=TEMPLATE". Errors: what is wrong with it.
absl::StatusOr<OutputForm> ParseOutputForm(const std::string& text);

// Of a single thing: as a table a line for each field.
std::string Render(const Json& value, const OutputForm& form);
// Of a list: as a table a line for each element.
std::string RenderList(const Json& list, const std::vector<Column>& columns,
                       const OutputForm& form);

}  // namespace mqttctl

#endif  // CMD_MQTTCTL_ADMIN_OUTPUT_H_
