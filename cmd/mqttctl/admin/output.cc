#include "admin/output.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "absl/time/time.h"
#include "admin/json_path.h"
#include "display_width.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/duration.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "mqtt/utf8.h"
#include "terminal.h"

namespace mqttctl {
namespace {

using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// NODE_STATE_READY of NodeState: "ready". PROTOCOL_VERSION_5_0 of ProtocolVersion: "5.0".
std::string EnumName(const EnumValueDescriptor& value) {
  std::string prefix;
  for (const char c : value.type()->name()) {
    if (absl::ascii_isupper(static_cast<unsigned char>(c)) && !prefix.empty()) prefix += '_';
    prefix += absl::ascii_toupper(static_cast<unsigned char>(c));
  }
  prefix += '_';
  absl::string_view name = value.name();
  if (absl::StartsWith(name, prefix)) name.remove_prefix(prefix.size());
  std::string result = absl::AsciiStrToLower(name);
  const auto digit = [&](size_t i) {
    return absl::ascii_isdigit(static_cast<unsigned char>(result[i]));
  };
  for (size_t i = 1; i + 1 < result.size(); ++i) {
    if (result[i] == '_' && digit(i - 1) && digit(i + 1)) result[i] = '.';
  }
  return result;
}

Json BytesToJson(const std::string& bytes) {
  if (mqtt::IsValidUtf8(bytes)) return bytes;
  return Json{{"base64", absl::Base64Escape(bytes)}};
}

// A whole number without ".0".
Json Number(double value) {
  constexpr double kWholeMax =
      9'007'199'254'740'992;  // Beyond it neighbours are no longer 1 apart.
  if (std::trunc(value) == value && std::abs(value) <= kWholeMax)
    return static_cast<int64_t>(value);
  return value;
}

Json ValueOf(const Message& message, const FieldDescriptor& field, int index);

// By their keys, which are strings.
Json MapToJson(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  const FieldDescriptor& value = *field.message_type()->map_value();
  std::map<std::string, Json> entries;
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    const Message& entry = reflection.GetRepeatedMessage(message, &field, i);
    entries[entry.GetReflection()->GetString(entry, field.message_type()->map_key())] =
        ValueOf(entry, value, 0);
  }
  Json result = Json::object();
  for (auto& [key, each] : entries) result[key] = std::move(each);
  return result;
}

Json ValueOf(const Message& message, const FieldDescriptor& field, int index) {
  const Reflection& r = *message.GetReflection();
  const bool repeated = field.is_repeated();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return repeated ? r.GetRepeatedBool(message, &field, index) : r.GetBool(message, &field);
    case FieldDescriptor::CPPTYPE_INT32:
      return repeated ? r.GetRepeatedInt32(message, &field, index) : r.GetInt32(message, &field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return repeated ? r.GetRepeatedUInt32(message, &field, index) : r.GetUInt32(message, &field);
    case FieldDescriptor::CPPTYPE_INT64:
      return repeated ? r.GetRepeatedInt64(message, &field, index) : r.GetInt64(message, &field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return repeated ? r.GetRepeatedUInt64(message, &field, index) : r.GetUInt64(message, &field);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return Number(repeated ? r.GetRepeatedDouble(message, &field, index)
                             : r.GetDouble(message, &field));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return repeated ? r.GetRepeatedFloat(message, &field, index) : r.GetFloat(message, &field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumName(repeated ? *r.GetRepeatedEnum(message, &field, index)
                               : *r.GetEnum(message, &field));
    case FieldDescriptor::CPPTYPE_STRING: {
      std::string text =
          repeated ? r.GetRepeatedString(message, &field, index) : r.GetString(message, &field);
      if (field.type() == FieldDescriptor::TYPE_BYTES) return BytesToJson(text);
      return text;
    }
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return ToJson(repeated ? r.GetRepeatedMessage(message, &field, index)
                             : r.GetMessage(message, &field));
  }
  return nullptr;
}

std::string Scalar(const Json& value) {
  if (value.is_null()) return "-";
  if (value.is_string()) {
    // A line is a line.
    const std::string text = OneLine(value.get<std::string>());
    return text.empty() ? "-" : text;
  }
  if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
  if (value.is_array()) {
    std::string all;
    for (const Json& each : value) absl::StrAppend(&all, all.empty() ? "" : ",", Scalar(each));
    return all.empty() ? "-" : all;
  }
  return value.dump();
}

const Json* At(const Json& value, const std::string& path) {
  const Json* at = &value;
  for (const absl::string_view name : absl::StrSplit(path, '.')) {
    const auto found = at->find(std::string(name));
    if (found == at->end()) return nullptr;
    at = &*found;
  }
  return at;
}

void AppendFields(const Json& value, const std::string& indent, std::string& out) {
  size_t width = 0;
  for (const auto& [name, field] : value.items()) width = std::max(width, name.size());
  for (const auto& [name, field] : value.items()) {
    const bool nested = field.is_object();
    const bool list = field.is_array() && !field.empty() && field.front().is_object();
    if (!nested && !list) {
      absl::StrAppend(&out, indent, name, std::string(width - name.size() + 2, ' '), Scalar(field),
                      "\n");
      continue;
    }
    absl::StrAppend(&out, indent, name, "\n");
    if (nested) {
      AppendFields(field, indent + "  ", out);
    } else {
      for (size_t i = 0; i < field.size(); ++i) {
        if (i > 0) out += "\n";
        AppendFields(field[i], indent + "  ", out);
      }
    }
  }
}

void AppendYaml(const Json& value, const std::string& indent, std::string& out) {
  if (value.is_object() && !value.empty()) {
    for (const auto& [name, field] : value.items()) {
      const bool block = (field.is_object() || field.is_array()) && !field.empty();
      absl::StrAppend(&out, indent, name, ":", block ? "\n" : " ");
      AppendYaml(field, block ? indent + "  " : "", out);
    }
  } else if (value.is_array() && !value.empty()) {
    for (const Json& element : value) {
      std::string text;
      AppendYaml(element, indent + "  ", text);
      const bool block = (element.is_object() || element.is_array()) && !element.empty();
      absl::StrAppend(
          &out, indent, "- ",
          block ? text.substr(indent.size() + 2)
                : text.substr(absl::StartsWith(text, indent + "  ") ? indent.size() + 2 : 0));
    }
  } else {
    absl::StrAppend(&out, indent, value.dump(), "\n");  // JSON's scalars are YAML's.
  }
}

}  // namespace

Json ToJson(const Message& message) {
  using google::protobuf::Duration;
  using google::protobuf::Timestamp;
  if (message.GetDescriptor() == Timestamp::descriptor()) {
    const auto& time = static_cast<const Timestamp&>(message);
    return absl::FormatTime(
        absl::RFC3339_full,
        absl::FromUnixSeconds(time.seconds()) + absl::Milliseconds(time.nanos() / 1'000'000),
        absl::UTCTimeZone());
  }
  if (message.GetDescriptor() == Duration::descriptor()) {
    const auto& duration = static_cast<const Duration&>(message);
    if (duration.nanos() == 0) return duration.seconds();
    return static_cast<double>(duration.seconds()) + duration.nanos() / 1e9;
  }
  Json result = Json::object();
  const Reflection& reflection = *message.GetReflection();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor& field = *message.GetDescriptor()->field(i);
    if (field.is_map()) {
      result[field.name()] = MapToJson(message, field);
    } else if (field.is_repeated()) {
      Json list = Json::array();
      const int size = reflection.FieldSize(message, &field);
      for (int k = 0; k < size; ++k) list.push_back(ValueOf(message, field, k));
      result[field.name()] = std::move(list);
    } else if (!field.has_presence() || reflection.HasField(message, &field)) {
      result[field.name()] = ValueOf(message, field, 0);
    }
  }
  return result;
}

absl::StatusOr<OutputForm> ParseOutputForm(const std::string& text) {
  absl::string_view rest = text;
  if (absl::ConsumePrefix(&rest, "jsonpath=")) {
    const absl::Status status = CheckJsonPath(std::string(rest));
    if (!status.ok()) return status;
    return OutputForm{OutputForm::kJsonPath, std::string(rest)};
  }
  const std::pair<const char*, OutputForm::Kind> forms[] = {{"table", OutputForm::kTable},
                                                            {"wide", OutputForm::kWide},
                                                            {"json", OutputForm::kJson},
                                                            {"yaml", OutputForm::kYaml}};
  for (const auto& [name, kind] : forms) {
    if (text == name) return OutputForm{kind, ""};
  }
  return absl::InvalidArgumentError(
      absl::StrCat("--output is table, wide, json, yaml or jsonpath=TEMPLATE, not \"", text, "\""));
}

std::string Render(const Json& value, const OutputForm& form) {
  std::string out;
  switch (form.kind) {
    case OutputForm::kJson:
      return value.dump(2) + "\n";
    case OutputForm::kYaml:
      AppendYaml(value, "", out);
      return out;
    case OutputForm::kJsonPath:
      return EvaluateJsonPath(form.path, value) + "\n";
    case OutputForm::kTable:
    case OutputForm::kWide:
      AppendFields(value, "", out);
      return out;
  }
  return out;
}

std::string RenderList(const Json& list, const std::vector<Column>& columns,
                       const OutputForm& form) {
  if (!form.table()) return Render(list, form);
  std::vector<const Column*> shown;
  for (const Column& column : columns) {
    if (!column.wide || form.kind == OutputForm::kWide) shown.push_back(&column);
  }
  std::vector<std::vector<std::string>> rows(1);
  for (const Column* const column : shown) rows[0].push_back(column->head);
  for (const Json& element : list) {
    std::vector<std::string>& row = rows.emplace_back();
    for (const Column* const column : shown) {
      const Json* const value = At(element, column->field);
      row.push_back(value == nullptr ? "-" : Scalar(*value));
    }
  }
  std::vector<size_t> widths(shown.size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  }
  std::string out;
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      const bool last = i + 1 == row.size();
      absl::StrAppend(&out, row[i],
                      last ? "\n" : std::string(widths[i] - DisplayWidth(row[i]) + 2, ' '));
    }
  }
  return out;
}

}  // namespace mqttctl
