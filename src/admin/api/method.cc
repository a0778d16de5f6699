#include "admin/api/method.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "base/check.h"
#include "base/log.h"
#include "google/protobuf/text_format.h"

namespace admin {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr size_t kValueBytesMax = 64;
constexpr size_t kWordsBytesMax = 400;

// Requests are shallow: their depth is that of the .proto, not of what came.
constexpr int kDepthMax = 16;

void Censor(Message& message, int depth) {
  const Reflection& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* const field : fields) {
    if (field->options().GetExtension(pb::secret) || depth == kDepthMax ||
        field->message_type() == pb::UserProperty::descriptor()) {
      reflection.ClearField(&message, field);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (!field->is_repeated()) {
        Censor(*reflection.MutableMessage(&message, field), depth + 1);
        continue;
      }
      for (int i = 0; i < reflection.FieldSize(message, field); ++i)
        Censor(*reflection.MutableRepeatedMessage(&message, field, i), depth + 1);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING && !field->is_repeated()) {
      const std::string value = reflection.GetString(message, field);
      // What messages carry is as private in the log as in the data directory.
      if (field->type() == FieldDescriptor::TYPE_BYTES || value.size() > kValueBytesMax)
        reflection.SetString(&message, field, absl::StrCat("(", value.size(), " bytes)"));
    }
  }
}

}  // namespace

std::string Method::name() const {
  return absl::StrCat(descriptor->service()->name(), "/", descriptor->name());
}

Method& Methods::Insert(std::string_view service, std::string_view method, const Message& request,
                        const Message& response) {
  const auto* const found =
      DescriptorPool::generated_pool()->FindServiceByName(std::string(service));
  CHECK(found != nullptr) << "no service " << service;
  const auto* const descriptor = found->FindMethodByName(std::string(method));
  CHECK(descriptor != nullptr) << service << " has no method " << method;
  CHECK(descriptor->input_type() == request.GetDescriptor() &&
        descriptor->output_type() == response.GetDescriptor())
      << "other types than those of " << service << "/" << method;
  Method& added = methods_[absl::StrCat("/", base::AbslView(service), "/", base::AbslView(method))];
  CHECK(added.descriptor == nullptr) << "twice: " << service << "/" << method;
  added.descriptor = descriptor;
  added.request = &request;
  added.response = &response;
  added.role = descriptor->options().GetExtension(pb::role);
  return added;
}

const Method* Methods::Find(std::string_view path) const {
  const auto found = methods_.find(path);
  return found == methods_.end() ? nullptr : &found->second;
}

std::vector<std::string> Methods::services() const {
  std::set<std::string> names;
  for (const auto& [path, method] : methods_) {
    const auto* const service = method.descriptor->service();
    if (!names.insert(service->full_name()).second) continue;
    for (int i = 0; i < service->method_count(); ++i) {
      CHECK(Find(absl::StrCat("/", service->full_name(), "/", service->method(i)->name())) !=
            nullptr)
          << service->method(i)->full_name() << " is not served";
    }
  }
  return {names.begin(), names.end()};
}

std::string RequestInWords(const Message& request) {
  const std::unique_ptr<Message> copy(request.New());
  copy->CopyFrom(request);
  Censor(*copy, 0);
  google::protobuf::TextFormat::Printer printer;
  printer.SetSingleLineMode(true);
  std::string words;
  printer.PrintToString(*copy, &words);
  while (!words.empty() && words.back() == ' ') words.pop_back();
  if (words.size() > kWordsBytesMax) words = absl::StrCat(words.substr(0, kWordsBytesMax), " …");
  return words;
}

void Audit(const Method& method, const Caller& caller, const Message* request,
           const absl::Status& outcome) {
  const std::string outcome_words =
      outcome.ok() ? std::string("done") : std::string(outcome.message());
  base::Log(base::LogLevel::kInfo, "admin",
            {{"who", caller.name},
             {"role", base::AbslView(RoleName(caller.role))},
             {"from", caller.address},
             {"what", method.name()},
             {"request", request == nullptr ? std::string() : RequestInWords(*request)},
             {"outcome", outcome_words}});
}

absl::Status CheckRole(const Method& method, const Caller& caller) {
  if (caller.role >= method.role) return absl::OkStatus();
  return absl::PermissionDeniedError(
      absl::StrCat(caller.name, " is ", base::AbslView(RoleName(caller.role)), "; ", method.name(),
                   " needs ", base::AbslView(RoleName(method.role))));
}

std::string_view RoleName(pb::Role role) {
  switch (role) {
    case pb::ROLE_VIEWER:
      return "viewer";
    case pb::ROLE_OPERATOR:
      return "operator";
    case pb::ROLE_ADMIN:
      return "admin";
    default:
      return "nobody";
  }
}

}  // namespace admin
