#include "admin/api/openapi.h"

#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "admin/api/api_descriptors.h"
#include "base/by_name.h"
#include "base/check.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "nlohmann/json.hpp"

namespace admin {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::DescriptorPool;
using google::protobuf::EnumDescriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::MethodDescriptor;
using google::protobuf::ServiceDescriptor;
using google::protobuf::SourceLocation;
using Json = nlohmann::ordered_json;

constexpr absl::string_view kPackage = "mqttd.admin.v1.";

// The .proto files with their comments, which the generated code has not.
std::unique_ptr<DescriptorPool> DescribedPool() {
  google::protobuf::FileDescriptorSet files;
  CHECK(files.ParseFromArray(kApiDescriptors, static_cast<int>(kApiDescriptorsSize)))
      << "the embedded descriptors are damaged";
  auto pool = std::make_unique<DescriptorPool>();
  for (const auto& file : files.file())
    CHECK(pool->BuildFile(file) != nullptr) << file.name() << " is damaged";
  return pool;
}

// What stands above a thing, or beside it, as paragraphs of one line each.
template <typename Described>
std::string Words(const Described& described) {
  SourceLocation where;
  if (!described.GetSourceLocation(&where)) return "";
  std::string text = where.leading_comments + where.trailing_comments;
  text = absl::StrReplaceAll(text, {{"\n\n", "\f"}});
  text = absl::StrReplaceAll(text, {{"\n ", " "}, {"\n", " "}});
  text = absl::StrReplaceAll(text, {{"\f ", "\n\n"}, {"\f", "\n\n"}});
  return std::string(absl::StripAsciiWhitespace(text));
}

std::string FirstSentence(const std::string& words) {
  const size_t end = words.find(". ");
  return end == std::string::npos ? words : words.substr(0, end + 1);
}

// "ListQueueResponse", "QueuedMessage.State".
template <typename Type>
std::string SchemaName(const Type& type) {
  absl::string_view name = type.full_name();
  absl::ConsumePrefix(&name, kPackage);
  return std::string(name);
}

class Document {
 public:
  void Add(const MethodDescriptor& method) {
    const std::string words = Words(method);
    Json operation;
    operation["tags"] = Json::array({method.service()->name()});
    operation["summary"] = FirstSentence(words);
    operation["description"] = absl::StrCat(
        words, "\n\nRole: ", base::AbslView(RoleName(method.options().GetExtension(pb::role))),
        ".");
    operation["operationId"] = absl::StrCat(method.service()->name(), "_", method.name());
    operation["requestBody"]["content"]["application/json"]["schema"] = Ref(*method.input_type());
    Json answer;
    answer["description"] =
        method.server_streaming() ? "Server-sent events, each with one of these" : "Done";
    answer["content"][method.server_streaming() ? "text/event-stream" : "application/json"]
          ["schema"] = Ref(*method.output_type());
    operation["responses"]["200"] = std::move(answer);
    operation["responses"]["default"]["$ref"] = "#/components/responses/Error";
    paths_[absl::StrCat("/api/v1/", method.service()->name(), "/", method.name())]["post"] =
        std::move(operation);
    if (services_.insert(method.service()->name()).second) {
      Json tag;
      tag["name"] = method.service()->name();
      tag["description"] = Words(*method.service());
      tags_.push_back(std::move(tag));
    }
  }

  std::string Text() {
    while (!wanted_.empty()) {
      const Descriptor* const type = *wanted_.begin();
      wanted_.erase(wanted_.begin());
      schemas_[SchemaName(*type)] = SchemaOf(*type);
    }
    Json document;
    document["openapi"] = "3.0.3";
    document["info"] = {{"title", "mqttd"},
                        {"version", "v1"},
                        {"description", "The admin API of the broker, as JSON over HTTP."}};
    Json token;
    token["token"] = Json::array();
    document["security"] = Json::array();
    document["security"].push_back(std::move(token));
    document["security"].push_back(Json::object());  // On the machine itself.
    document["tags"] = tags_;
    document["paths"] = paths_;
    document["components"]["securitySchemes"]["token"] = {{"type", "http"}, {"scheme", "bearer"}};
    Json& error = document["components"]["responses"]["Error"];
    error["description"] = "Why not, in words";
    error["content"]["application/json"]["schema"] = {
        {"type", "object"},
        {"properties",
         {{"code", {{"type", "string"}, {"example", "NOT_FOUND"}}},
          {"message", {{"type", "string"}}}}}};
    Json& schemas = document["components"]["schemas"];
    for (auto& [name, schema] : schemas_) schemas[name] = std::move(schema);
    return document.dump(1) + "\n";
  }

 private:
  Json Ref(const Descriptor& type) {
    if (known_.insert(type.full_name()).second) wanted_.insert(&type);
    return {{"$ref", absl::StrCat("#/components/schemas/", SchemaName(type))}};
  }

  Json SchemaOf(const Descriptor& type) {
    Json schema;
    schema["type"] = "object";
    if (const std::string words = Words(type); !words.empty()) schema["description"] = words;
    for (int i = 0; i < type.field_count(); ++i) {
      const FieldDescriptor& field = *type.field(i);
      Json value;
      if (field.is_map()) {
        value = {{"type", "object"},
                 {"additionalProperties", ValueOf(*field.message_type()->map_value())}};
      } else {
        value = ValueOf(field);
        if (field.is_repeated()) value = {{"type", "array"}, {"items", std::move(value)}};
      }
      std::string words = Words(field);
      if (field.real_containing_oneof() != nullptr) {
        absl::StrAppend(&words, words.empty() ? "" : " ", "One of those of \"",
                        field.real_containing_oneof()->name(), "\".");
      }
      // Beside a reference nothing may stand.
      if (!words.empty() && value.contains("$ref")) value = {{"allOf", Json::array({value})}};
      if (!words.empty()) value["description"] = std::move(words);
      schema["properties"][field.json_name()] = std::move(value);
    }
    return schema;
  }

  Json ValueOf(const FieldDescriptor& field) {
    switch (field.type()) {
      case FieldDescriptor::TYPE_BOOL:
        return {{"type", "boolean"}};
      case FieldDescriptor::TYPE_STRING:
        return {{"type", "string"}};
      case FieldDescriptor::TYPE_BYTES:
        return {{"type", "string"}, {"format", "byte"}};
      case FieldDescriptor::TYPE_DOUBLE:
        return {{"type", "number"}};
      case FieldDescriptor::TYPE_UINT32:
        return {{"type", "integer"}, {"format", "int64"}, {"minimum", 0}};
      case FieldDescriptor::TYPE_UINT64:
        return {{"type", "string"}, {"format", "uint64"}};
      case FieldDescriptor::TYPE_INT64:
        return {{"type", "string"}, {"format", "int64"}};
      case FieldDescriptor::TYPE_ENUM:
        return EnumOf(*field.enum_type());
      case FieldDescriptor::TYPE_MESSAGE:
        if (field.message_type()->full_name() == "google.protobuf.Timestamp")
          return {{"type", "string"}, {"format", "date-time"}};
        if (field.message_type()->full_name() == "google.protobuf.Duration")
          return {{"type", "string"}, {"example", "3.5s"}};
        return Ref(*field.message_type());
      default:
        CHECK(false) << field.full_name() << " has a type that no other field has";
        return {};
    }
  }

  static Json EnumOf(const EnumDescriptor& type) {
    Json names = Json::array();
    for (int i = 0; i < type.value_count(); ++i) names.push_back(type.value(i)->name());
    return {{"type", "string"}, {"enum", std::move(names)}};
  }

  std::set<std::string> services_;
  std::set<std::string> known_;
  std::set<const Descriptor*> wanted_;
  std::map<std::string, Json> schemas_;
  Json tags_ = Json::array();
  Json paths_ = Json::object();
};

}  // namespace

std::string OpenApi(const Methods& methods) {
  const std::unique_ptr<DescriptorPool> pool = DescribedPool();
  Document document;
  for (const std::string& name : methods.services()) {
    if (!absl::StartsWith(name, kPackage)) continue;
    const ServiceDescriptor* const service = pool->FindServiceByName(name);
    CHECK(service != nullptr) << name << " is not among the embedded descriptors";
    for (int i = 0; i < service->method_count(); ++i) document.Add(*service->method(i));
  }
  return document.Text();
}

}  // namespace admin
