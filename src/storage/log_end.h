// How far the log reached: a record beside it, so that a start notices when its end is missing.
#ifndef STORAGE_LOG_END_H_
#define STORAGE_LOG_END_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "storage/core/options.h"
#include "storage/core/partition_api.h"

namespace storage {

// A log file that was cut short or deleted looks like one to which nothing was written: RocksDB
// keeps no account of the file that it is writing. This one does, for each partition, in a small
// file that is overwritten in place and not synced: kill -9 leaves it as it was, and a power cut
// leaves an earlier one, which claims less. Where it is to claim less than it did, since another
// leader has replaced the end of the log, that is synced before it is done.
//
// What it claims must survive what the claim survives. With `synced`, the caller notes appended
// entries as they come and claims them once they are synced. Without, it claims what is
// written some times a second, and the claim counts for this boot of the machine only.
//
// Belongs to one thread at a time. Errors are not reported: without the file nothing is claimed.
class LogEnd {
 public:
  LogEnd(const std::string& path, uint32_t partitions, bool synced);
  ~LogEnd();
  LogEnd(const LogEnd&) = delete;
  LogEnd& operator=(const LogEnd&) = delete;

  // What the file said when it was opened; 0: nothing is known.
  uint64_t claimed(PartitionId partition) const { return claimed_[partition]; }

  // It says more than there is, which is up to `last`. kStrict: the error with which a start ends.
  // Else it is told and forgotten.
  absl::Status Missing(PartitionId partition, uint64_t last, LogRecovery recovery) const;

  uint64_t noted(PartitionId partition) const { return noted_[partition]; }
  void Note(PartitionId partition, uint64_t index) { noted_[partition] = index; }
  // All that was noted. Cost: a write into the kernel's memory.
  void Claim();
  // The same, and it is on the disk.
  absl::Status ClaimOnDisk();

 private:
  std::string Encode() const;
  void Read();

  const std::string path_;
  const bool synced_;
  const uint64_t boot_;
  int fd_ = -1;
  std::vector<uint64_t> claimed_;
  std::vector<uint64_t> noted_;
};

}  // namespace storage

#endif  // STORAGE_LOG_END_H_
