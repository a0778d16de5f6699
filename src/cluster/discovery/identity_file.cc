#include "cluster/discovery/identity_file.h"

#include <fcntl.h>
#include <google/protobuf/text_format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace cluster {
namespace {

using Identity = ::mqttd::cluster::v1::NodeIdentity;

constexpr size_t kBytesMax = 1 << 20;

// Closed at the end, whatever happens.
class File {
 public:
  File(const std::string& path, int flags) : fd_(open(path.c_str(), flags | O_CLOEXEC, 0600)) {}
  ~File() {
    if (fd_ >= 0) close(fd_);
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  const int fd_;
};

absl::Status Failed(const std::string& what) { return absl::ErrnoToStatus(errno, what); }

absl::Status WriteAll(const std::string& path, const std::string& text) {
  const File file(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (file.fd() < 0) return Failed(absl::StrCat("making ", path));
  for (size_t at = 0; at < text.size();) {
    const ssize_t written = write(file.fd(), text.data() + at, text.size() - at);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return Failed(absl::StrCat("writing ", path));
    at += static_cast<size_t>(written);
  }
  if (fsync(file.fd()) != 0) return Failed(absl::StrCat("syncing ", path));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Identity> ReadIdentity(const std::string& directory) {
  const std::string path = directory + "/cluster";
  const File file(path, O_RDONLY);
  if (file.fd() < 0) {
    if (errno == ENOENT) return Identity();
    return Failed(absl::StrCat("reading ", path));
  }
  std::string text;
  char buffer[4096];
  while (text.size() <= kBytesMax) {
    const ssize_t got = read(file.fd(), buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failed(absl::StrCat("reading ", path));
    if (got == 0) break;
    text.append(buffer, static_cast<size_t>(got));
  }
  google::protobuf::TextFormat::Parser parser;
  parser.AllowUnknownField(true);
  Identity identity;
  if (!parser.ParseFromString(text, &identity) ||
      (!identity.cluster_id().empty() && identity.node() == 0)) {
    return absl::DataLossError(absl::StrCat(
        path, " is damaged: restore it. Without it the node would belong to no cluster"));
  }
  return identity;
}

absl::Status WriteIdentity(const std::string& directory, const Identity& identity) {
  std::string text;
  if (!google::protobuf::TextFormat::PrintToString(identity, &text))
    return absl::InternalError("a node's identity cannot be written as text");
  const std::string path = directory + "/cluster";
  RETURN_IF_ERROR(WriteAll(path + ".new", "# Made by mqttd. Do not edit.\n" + text));
  if (rename((path + ".new").c_str(), path.c_str()) != 0)
    return Failed(absl::StrCat("renaming ", path, ".new"));
  const File folder(directory, O_RDONLY | O_DIRECTORY);
  if (folder.fd() < 0 || fsync(folder.fd()) != 0)
    return Failed(absl::StrCat("syncing ", directory));
  return absl::OkStatus();
}

}  // namespace cluster
