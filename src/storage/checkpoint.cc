#include "storage/checkpoint.h"

#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/metadata.h>
#include <rocksdb/options.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "storage/rocksdb_status.h"

namespace storage {
namespace {

constexpr size_t kPieceBytes = 256 << 10;

absl::Status CopyBytes(rocksdb::Env& env, const std::string& from, const std::string& to,
                       uint64_t bytes) {
  std::unique_ptr<rocksdb::SequentialFile> in;
  std::unique_ptr<rocksdb::WritableFile> out;
  RETURN_IF_ERROR(ToStatus(env.NewSequentialFile(from, &in, rocksdb::EnvOptions()),
                           absl::StrCat("reading ", from)));
  RETURN_IF_ERROR(
      ToStatus(env.NewWritableFile(to, &out, rocksdb::EnvOptions()), absl::StrCat("writing ", to)));
  std::vector<char> piece(std::min<uint64_t>(kPieceBytes, bytes));
  while (bytes > 0) {
    rocksdb::Slice read;
    RETURN_IF_ERROR(ToStatus(in->Read(std::min<uint64_t>(piece.size(), bytes), &read, piece.data()),
                             absl::StrCat("reading ", from)));
    if (read.empty()) return absl::DataLossError(absl::StrCat(from, " is shorter than it was"));
    RETURN_IF_ERROR(ToStatus(out->Append(read), absl::StrCat("writing ", to)));
    bytes -= read.size();
  }
  return ToStatus(out->Close(), absl::StrCat("writing ", to));
}

}  // namespace

absl::Status CheckpointOf(rocksdb::DB& db, const std::string& directory) {
  rocksdb::Env& env = *db.GetEnv();
  RETURN_IF_ERROR(ToStatus(db.DisableFileDeletions(), "preparing a copy"));
  const absl::Cleanup enable = [&db] {
    db.EnableFileDeletions(/*force=*/false).PermitUncheckedError();
  };
  rocksdb::LiveFilesStorageInfoOptions as_they_are;
  as_they_are.wal_size_for_flush = std::numeric_limits<uint64_t>::max();
  std::vector<rocksdb::LiveFileStorageInfo> files;
  RETURN_IF_ERROR(ToStatus(db.GetLiveFilesStorageInfo(as_they_are, &files), "preparing a copy"));
  RETURN_IF_ERROR(ToStatus(env.CreateDir(directory), absl::StrCat("making ", directory)));
  std::string lengths;
  for (const rocksdb::LiveFileStorageInfo& file : files) {
    const std::string from = absl::StrCat(file.directory, "/", file.relative_filename);
    const std::string to = absl::StrCat(directory, "/", file.relative_filename);
    if (!file.replacement_contents.empty()) {
      RETURN_IF_ERROR(ToStatus(rocksdb::WriteStringToFile(&env, file.replacement_contents, to),
                               absl::StrCat("writing ", to)));
    } else if (!env.LinkFile(from, to).ok()) {  // There are file systems without links.
      RETURN_IF_ERROR(CopyBytes(env, from, to, file.size));
    } else if (file.trim_to_size) {
      absl::StrAppend(&lengths, file.relative_filename, " ", file.size, "\n");
    }
  }
  const std::string path = absl::StrCat(directory, "/", kLengthsFile);
  return ToStatus(rocksdb::WriteStringToFile(&env, lengths, path), absl::StrCat("writing ", path));
}

}  // namespace storage
