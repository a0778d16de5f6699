#include "storage/rocksdb_status.h"

#include <rocksdb/db.h>
#include <rocksdb/status.h>

#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace storage {

absl::Status ToStatus(const rocksdb::Status& status, absl::string_view doing) {
  if (status.ok()) return absl::OkStatus();
  const std::string text = absl::StrCat(doing, ": ", status.ToString());
  if (status.IsNotFound()) return absl::NotFoundError(text);
  if (status.IsNoSpace() || absl::StrContains(text, "No space left") ||
      absl::StrContains(text, "Disk quota exceeded")) {
    return absl::ResourceExhaustedError(text);
  }
  if (status.IsCorruption()) return absl::DataLossError(text);
  // RocksDB has no code of its own for these: the text is strerror's.
  if (absl::StrContains(text, "Permission denied") ||
      absl::StrContains(text, "Read-only file system") ||
      absl::StrContains(text, "Operation not permitted")) {
    return absl::PermissionDeniedError(text);
  }
  if (status.IsInvalidArgument()) return absl::InvalidArgumentError(text);
  return absl::UnavailableError(text);
}

}  // namespace storage
