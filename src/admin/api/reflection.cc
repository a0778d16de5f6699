#include "admin/api/reflection.h"

#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "grpc/reflection/v1/reflection.pb.h"
#include "grpc/reflection/v1alpha/reflection.pb.h"

namespace admin {
namespace {

using google::protobuf::DescriptorPool;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;

// The file and all that it imports, each once, the file first.
template <typename Response>
void AddFiles(const FileDescriptor& file, Response& response) {
  std::vector<const FileDescriptor*> files = {&file};
  std::set<const FileDescriptor*> known = {&file};
  for (size_t i = 0; i < files.size(); ++i) {
    google::protobuf::FileDescriptorProto proto;
    files[i]->CopyTo(&proto);
    proto.SerializeToString(
        response.mutable_file_descriptor_response()->add_file_descriptor_proto());
    for (int k = 0; k < files[i]->dependency_count(); ++k) {
      if (known.insert(files[i]->dependency(k)).second) files.push_back(files[i]->dependency(k));
    }
  }
}

template <typename Response>
void NotFound(const std::string& what, Response& response) {
  response.mutable_error_response()->set_error_code(static_cast<int>(absl::StatusCode::kNotFound));
  response.mutable_error_response()->set_error_message(absl::StrCat("there is no ", what));
}

template <typename Response>
void AddFilesOr(const FileDescriptor* file, const std::string& what, Response& response) {
  if (file != nullptr) return AddFiles(*file, response);
  NotFound(what, response);
}

template <typename Request, typename Response>
void Answer(const Methods& methods, const Request& request, Response& response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kFileByFilename:
      return AddFilesOr(pool.FindFileByName(request.file_by_filename()), request.file_by_filename(),
                        response);
    case Request::kFileContainingSymbol:
      return AddFilesOr(pool.FindFileContainingSymbol(request.file_containing_symbol()),
                        request.file_containing_symbol(), response);
    case Request::kFileContainingExtension: {
      const auto& asked = request.file_containing_extension();
      const auto* const type = pool.FindMessageTypeByName(asked.containing_type());
      const FieldDescriptor* const field =
          type == nullptr ? nullptr : pool.FindExtensionByNumber(type, asked.extension_number());
      return AddFilesOr(field == nullptr ? nullptr : field->file(), "such extension", response);
    }
    case Request::kAllExtensionNumbersOfType: {
      const std::string& name = request.all_extension_numbers_of_type();
      const auto* const type = pool.FindMessageTypeByName(name);
      if (type == nullptr) return NotFound(name, response);
      auto& numbers = *response.mutable_all_extension_numbers_response();
      numbers.set_base_type_name(name);
      std::vector<const FieldDescriptor*> fields;
      pool.FindAllExtensions(type, &fields);
      for (const FieldDescriptor* const field : fields)
        numbers.add_extension_number(field->number());
      return;
    }
    case Request::kListServices:
      for (const std::string& name : methods.services())
        response.mutable_list_services_response()->add_service()->set_name(name);
      return;
    default:
      response.mutable_error_response()->set_error_code(
          static_cast<int>(absl::StatusCode::kInvalidArgument));
      response.mutable_error_response()->set_error_message("nothing was asked");
  }
}

template <typename Request, typename Response>
void Add(Methods& methods, const std::string& service) {
  methods.AddEach<Request, Response>(service, "ServerReflectionInfo",
                                     [&methods](const Request& request, Response& response) {
                                       Answer(methods, request, response);
                                     });
}

}  // namespace

void AddReflection(Methods& methods) {
  namespace v1 = grpc::reflection::v1;
  namespace v1alpha = grpc::reflection::v1alpha;
  Add<v1::ServerReflectionRequest, v1::ServerReflectionResponse>(
      methods, "grpc.reflection.v1.ServerReflection");
  Add<v1alpha::ServerReflectionRequest, v1alpha::ServerReflectionResponse>(
      methods, "grpc.reflection.v1alpha.ServerReflection");
}

}  // namespace admin
