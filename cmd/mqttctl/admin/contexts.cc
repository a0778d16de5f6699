#include "admin/contexts.h"

#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "input.h"
#include "new_file.h"
#include "nlohmann/json.hpp"

namespace mqttctl {
namespace {

using Json = nlohmann::ordered_json;

std::string Variable(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string FileName() {
  if (std::string file = Variable("MQTTCTL_CONTEXTS"); !file.empty()) return file;
  std::string base = Variable("XDG_CONFIG_HOME");
  if (base.empty()) base = Variable("HOME") + "/.config";
  return base + "/mqttctl/contexts.json";
}

}  // namespace

absl::StatusOr<Contexts> Contexts::Load() {
  Contexts contexts;
  contexts.file_ = FileName();
  struct stat status {};
  if (lstat(contexts.file_.c_str(), &status) != 0) return contexts;
  ASSIGN_OR_RETURN(const std::string text, ReadFile(contexts.file_));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto damaged = [&] {
    return absl::InvalidArgumentError(
        absl::StrCat(contexts.file_, ": not a file of contexts; mend or remove it"));
  };
  if (!json.is_object() || !json.contains("contexts") || !json["contexts"].is_object())
    return damaged();
  if (json.contains("current") && json["current"].is_string()) contexts.current = json["current"];
  for (const auto& [name, options] : json["contexts"].items()) {
    if (!options.is_object()) return damaged();
    ContextOptions& known = contexts.by_name[name];
    for (const auto& [option, value] : options.items()) {
      if (!value.is_string()) return damaged();
      known[option] = value;
    }
  }
  return contexts;
}

absl::Status Contexts::Save() const {
  Json json;
  json["current"] = current;
  json["contexts"] = Json::object();
  for (const auto& [name, options] : by_name) json["contexts"][name] = options;
  std::error_code ignored;
  std::filesystem::create_directories(std::filesystem::path(file_).parent_path(), ignored);
  ASSIGN_OR_RETURN(NewFile file, NewFile::Create(file_, NewFile::Mode::kPrivate));
  RETURN_IF_ERROR(file.Write(json.dump(2) + "\n"));
  return file.Finish();
}

}  // namespace mqttctl
