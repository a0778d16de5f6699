#include "cluster/discovery/identity_file.h"

#include <google/protobuf/text_format.h>

#include <cstdint>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cluster/discovery/small_file.h"

namespace cluster {
namespace {

using Identity = ::mqttd::cluster::v1::NodeIdentity;
using MembersFile = ::mqttd::cluster::v1::MembersFile;

constexpr size_t kBytesMax = 1 << 20;
constexpr size_t kMembersBytesMax = 16 << 20;

}  // namespace

absl::StatusOr<Identity> ReadIdentity(const std::string& directory) {
  ASSIGN_OR_RETURN(const std::optional<std::string> text,
                   ReadSmallFile(directory, "cluster", kBytesMax));
  if (!text.has_value()) return Identity();
  google::protobuf::TextFormat::Parser parser;
  parser.AllowUnknownField(true);
  Identity identity;
  if (!parser.ParseFromString(*text, &identity) ||
      (!identity.cluster_id().empty() && identity.node() == 0)) {
    return absl::DataLossError(absl::StrCat(
        directory,
        "/cluster is damaged: restore that file alone, or start with an empty data_dir. "
        "Without it the node would belong to no cluster"));
  }
  return identity;
}

absl::Status WriteIdentity(const std::string& directory, const Identity& identity) {
  std::string text;
  if (!google::protobuf::TextFormat::PrintToString(identity, &text))
    return absl::InternalError("a node's identity cannot be written as text");
  return ReplaceSmallFile(directory, "cluster", "# Made by mqttd. Do not edit.\n" + text);
}

absl::StatusOr<MembersFile> ReadMembers(const std::string& directory) {
  ASSIGN_OR_RETURN(const std::optional<std::string> bytes,
                   ReadSmallFile(directory, "members", kMembersBytesMax));
  MembersFile file;
  if (bytes.has_value() && !file.ParseFromString(*bytes)) {
    return absl::DataLossError(
        absl::StrCat(directory,
                     "/members is damaged: start with an empty data_dir, the other nodes have what "
                     "was stored here (docs/operations.md, Backups)"));
  }
  return file;
}

absl::Status WriteMembers(const std::string& directory, const MembersFile& members) {
  return ReplaceSmallFile(directory, "members", members.SerializeAsString());
}

}  // namespace cluster
