#include "storage/data_dir.h"

#include <rocksdb/env.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <system_error>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/log.h"
#include "base/rng.h"
#include "base/status_macros.h"
#include "storage/backup.h"
#include "storage/rocksdb_status.h"

namespace storage {
namespace {

// A random UUID (version 4) in its usual spelling.
std::string NewNodeId() {
  base::Rng rng = base::Rng::FromEntropy();
  const uint64_t high = (rng() & ~uint64_t{0xF000}) | 0x4000;
  const uint64_t low = (rng() & ~(uint64_t{3} << 62)) | uint64_t{1} << 63;
  return absl::StrFormat("%08x-%04x-%04x-%04x-%012x", high >> 32, high >> 16 & 0xFFFF,
                         high & 0xFFFF, low >> 48, low & 0xFFFF'FFFF'FFFF);
}

// Lines "key: value".
std::map<std::string, std::string> ParseNode(const std::string& text) {
  std::map<std::string, std::string> values;
  for (const absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    const std::pair<std::string, std::string> pair = absl::StrSplit(line, absl::MaxSplits(": ", 1));
    values.insert(pair);
  }
  return values;
}

}  // namespace

absl::StatusOr<std::unique_ptr<DataDir>> DataDir::Open(const std::string& path, uint32_t partitions,
                                                       rocksdb::Env& env) {
  auto dir = std::unique_ptr<DataDir>(new DataDir(path, env));
  RETURN_IF_ERROR(ToStatus(env.CreateDirIfMissing(path),
                           absl::StrCat("creating data_dir ", path, " (does its parent exist?)")));
  struct stat status = {};
  if (stat(path.c_str(), &status) == 0) dir->mode_ = status.st_mode & 07777;
  RETURN_IF_ERROR(dir->Lock());
  dir->RemoveLeftOver();
  const rocksdb::Status found = env.FileExists(path + "/node");
  if (found.ok()) {
    RETURN_IF_ERROR(dir->ReadNode(partitions));
  } else if (found.IsNotFound()) {
    RETURN_IF_ERROR(dir->BeginCreation(partitions));
  } else {
    return ToStatus(found, absl::StrCat("looking for ", path, "/node"));
  }
  return dir;
}

DataDir::~DataDir() {
  if (lock_ != nullptr) env_.UnlockFile(lock_).PermitUncheckedError();
}

absl::Status DataDir::Lock() {
  const rocksdb::Status locked = env_.LockFile(path_ + "/lock", &lock_);
  if (locked.ok()) return absl::OkStatus();
  lock_ = nullptr;
  const absl::Status status = ToStatus(locked, absl::StrCat("locking data_dir ", path_));
  if (status.code() == absl::StatusCode::kPermissionDenied) {
    return absl::PermissionDeniedError(absl::StrCat(
        status.message(), ". The directory must be writable for the user that runs mqttd"));
  }
  if (absl::StrContains(status.message(), "lock hold by current process") ||
      absl::StrContains(status.message(), "temporarily unavailable")) {
    return absl::UnavailableError(absl::StrCat(
        "data_dir ", path_, " is in use by another process; stop that one, or choose another"));
  }
  return status;
}

// Of a backup in the midst of which the process was killed. Its links keep every file on the disk
// that there was then.
void DataDir::RemoveLeftOver() const {
  const std::string checkpoint = CheckpointIn(path_);
  std::error_code error;
  if (!std::filesystem::exists(checkpoint, error)) return;
  RemoveCheckpoint(checkpoint);
  base::Log(base::LogLevel::kInfo, "removed what a backup left that was not finished",
            {{"directory", checkpoint}});
}

absl::Status DataDir::ReadNode(uint32_t partitions) {
  std::string text;
  RETURN_IF_ERROR(ToStatus(rocksdb::ReadFileToString(&env_, path_ + "/node", &text),
                           absl::StrCat("reading ", path_, "/node")));
  auto values = ParseNode(text);
  uint32_t version = 0;
  uint32_t stored_partitions = 0;
  if (!absl::SimpleAtoi(values["format_version"], &version) ||
      !absl::SimpleAtoi(values["partitions"], &stored_partitions) || values["node_id"].empty()) {
    return absl::DataLossError(absl::StrCat(
        path_,
        "/node is damaged: it must have format_version, node_id and partitions. Restore "
        "it, or the whole directory, from a backup"));
  }
  if (version == 0 || version > kFormatVersion) {
    return absl::FailedPreconditionError(absl::StrCat(
        "data_dir ", path_, " has format version ", version,
        ", which a newer release of mqttd wrote; this one knows formats up to ", kFormatVersion,
        ". Nothing was changed. Start the release that wrote it, or a later one, or restore a "
        "backup "
        "from before the upgrade"));
  }
  if (stored_partitions != partitions) {
    return absl::InvalidArgumentError(absl::StrCat(
        "partitions: ", partitions, " is configured, but data_dir ", path_, " was made with ",
        stored_partitions, "; the number is fixed. Set it back, or start with a new directory"));
  }
  node_id_ = values["node_id"];
  partitions_ = partitions;
  format_ = version;
  return absl::OkStatus();
}

absl::Status DataDir::BeginCreation(uint32_t partitions) {
  std::vector<std::string> children;
  RETURN_IF_ERROR(ToStatus(env_.GetChildren(path_, &children), "listing data_dir"));
  const auto has = [&](std::string_view name) {
    return std::find(children.begin(), children.end(), name) != children.end();
  };
  if (has(kUnfinishedCopy)) {
    return absl::FailedPreconditionError(
        absl::StrCat("data_dir ", path_,
                     " has a part of a backup: it was not restored to the end. Run mqttd --restore "
                     "again, or empty the directory"));
  }
  if ((has("log") || has("state")) && !has("node.new")) {
    return absl::DataLossError(absl::StrCat("data_dir ", path_,
                                            " has databases but no node file. Restore that file "
                                            "from a backup, or empty the directory"));
  }
  node_id_ = NewNodeId();
  partitions_ = partitions;
  created_ = true;
  return WriteNewNode();
}

absl::Status DataDir::WriteNewNode() const {
  const std::string text = absl::StrCat("format_version: ", kFormatVersion, "\nnode_id: ", node_id_,
                                        "\npartitions: ", partitions_, "\n");
  return ToStatus(rocksdb::WriteStringToFile(&env_, text, path_ + "/node.new",
                                             /*should_sync=*/true),
                  absl::StrCat("writing ", path_, "/node.new"));
}

absl::Status DataDir::FinishCreation() { return PutNodeInPlace(); }

absl::Status DataDir::FinishUpgrade() {
  RETURN_IF_ERROR(WriteNewNode());
  RETURN_IF_ERROR(PutNodeInPlace());
  format_ = kFormatVersion;
  return absl::OkStatus();
}

absl::Status DataDir::PutNodeInPlace() const {
  return PutInPlace(path_ + "/node.new", path_ + "/node");
}

// What was written and synced, in one piece: after a crash there is this one or the one before.
absl::Status DataDir::PutInPlace(const std::string& fresh, const std::string& path) const {
  RETURN_IF_ERROR(ToStatus(env_.RenameFile(fresh, path), absl::StrCat("renaming ", fresh)));
  std::unique_ptr<rocksdb::Directory> directory;
  RETURN_IF_ERROR(ToStatus(env_.NewDirectory(path_, &directory), "opening data_dir"));
  return ToStatus(directory->Fsync(), "syncing data_dir");
}

absl::Status DataDir::CopyFilesTo(const std::string& directory) const {
  for (const char* const name : {"/node", "/time"}) {
    std::string text;
    RETURN_IF_ERROR(ToStatus(rocksdb::ReadFileToString(&env_, path_ + name, &text),
                             absl::StrCat("reading ", path_, name)));
    RETURN_IF_ERROR(
        ToStatus(rocksdb::WriteStringToFile(&env_, text, directory + name, /*should_sync=*/false),
                 absl::StrCat("writing ", directory, name)));
  }
  return absl::OkStatus();
}

absl::StatusOr<Incarnation> DataDir::BeginIncarnation() {
  const std::string path = path_ + "/incarnation";
  std::string text;
  uint32_t last = 0;
  const rocksdb::Status read = rocksdb::ReadFileToString(&env_, path, &text);
  if (read.ok()) {
    if (!absl::SimpleAtoi(ParseNode(text)["incarnation"], &last)) {
      return absl::DataLossError(absl::StrCat(
          path,
          " is damaged: it must say how often the store was opened (\"incarnation: 7\"). "
          "Restore it from a backup, or write a greater number than it had"));
    }
  } else if (!read.IsNotFound() && !read.IsPathNotFound()) {
    return ToStatus(read, absl::StrCat("reading ", path));
  }
  const std::string fresh = path + ".new";
  const std::string now = absl::StrCat("incarnation: ", last + 1, "\n");
  RETURN_IF_ERROR(ToStatus(rocksdb::WriteStringToFile(&env_, now, fresh, /*should_sync=*/true),
                           absl::StrCat("writing ", fresh)));
  RETURN_IF_ERROR(PutInPlace(fresh, path));
  return Incarnation(last + 1);
}

std::optional<TimeRecord> DataDir::ReadTime() const {
  std::string text;
  if (!rocksdb::ReadFileToString(&env_, path_ + "/time", &text).ok()) return std::nullopt;
  return ParseTimeRecord(text);
}

absl::Status DataDir::WriteTime(const TimeRecord& record, bool sync) {
  const std::string fresh = path_ + "/time.new";
  RETURN_IF_ERROR(ToStatus(rocksdb::WriteStringToFile(&env_, EncodeTimeRecord(record), fresh, sync),
                           absl::StrCat("writing ", fresh)));
  return ToStatus(env_.RenameFile(fresh, path_ + "/time"), absl::StrCat("renaming ", fresh));
}

}  // namespace storage
