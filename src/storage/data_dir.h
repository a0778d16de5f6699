// The data directory: who may use it, whose it is, and in which format.
//
//   DIR/node    what does not change: format version, node identity, number of partitions
//   DIR/lock    held while a process has the store open
//   DIR/time    how late it was when, by which clocks (core/time_record.h)
//   DIR/incarnation  how often the store has been opened
//   DIR/log     RocksDB: entries, synced by the group commit
//   DIR/state   RocksDB: what the entries made, without a log of its own
//
// Messages and the names of clients stand in it in clear. The process's umask (set in main) sees to
// it that directories are made 0700 and files 0600, RocksDB's own included.
#ifndef STORAGE_DATA_DIR_H_
#define STORAGE_DATA_DIR_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "storage/core/addresses.h"
#include "storage/core/time_record.h"

namespace rocksdb {
class Env;
class FileLock;
}  // namespace rocksdb

namespace storage {

// Of what is in the directory. Raised when a program that does not know the new one would do harm.
//   1  as it was before the next
//   2  a partition stops at commands that it does not know. (Before, they were skipped: whoever
//   does
//      that must not open a directory whose log may have some.) Retained messages say of how many
//      partitions their masks are, and partitions have apply levels and digests.
//   3  DIR/log has a Raft group's log for each partition, and no other entries.
inline constexpr uint32_t kFormatVersion = 3;

class DataDir {
 public:
  // Locks the directory and reads its node file; in an empty or missing directory makes one.
  // `partitions` must be what the store was made with. An earlier format is opened, a later one is
  // not.
  static absl::StatusOr<std::unique_ptr<DataDir>> Open(const std::string& path, uint32_t partitions,
                                                       rocksdb::Env& env);
  ~DataDir();
  DataDir(const DataDir&) = delete;
  DataDir& operator=(const DataDir&) = delete;

  const std::string& node_id() const { return node_id_; }
  // The directory is new: the databases may be made, and then FinishCreation called.
  bool created() const { return created_; }
  // Puts the node file in place. Before that, an interrupted creation is just begun again.
  absl::Status FinishCreation();

  // Of what is there. When it is an earlier one, nothing that only this release knows may be
  // written before FinishUpgrade; from then on no earlier release opens the directory.
  uint32_t format() const { return format_; }
  bool needs_upgrade() const { return format_ < kFormatVersion; }
  absl::Status FinishUpgrade();

  // Other users of the machine may enter the directory: it was made so before, and is left as it
  // is.
  bool open_to_others() const { return (mode_ & 077) != 0; }
  uint32_t mode() const { return mode_; }

  // One more than the last; on the disk when it returns. The first is 1, and so is what follows on
  // a directory of an earlier release, which counted none.
  absl::StatusOr<Incarnation> BeginIncarnation();

  // What was recorded last; none: nothing, or nothing that can be read.
  std::optional<TimeRecord> ReadTime() const;
  // In one piece: after a crash there is this one or the last. `sync`: this one, once it returns.
  absl::Status WriteTime(const TimeRecord& record, bool sync);

  // `node` and `time`; not synced.
  absl::Status CopyFilesTo(const std::string& directory) const;

  std::string log_path() const { return path_ + "/log"; }
  std::string log_end_path() const { return path_ + "/log.end"; }
  std::string state_path() const { return path_ + "/state"; }
  const std::string& path() const { return path_; }

 private:
  DataDir(std::string path, rocksdb::Env& env) : path_(std::move(path)), env_(env) {}
  absl::Status Lock();
  void RemoveLeftOver() const;
  absl::Status ReadNode(uint32_t partitions);
  absl::Status BeginCreation(uint32_t partitions);
  absl::Status WriteNewNode() const;
  absl::Status PutNodeInPlace() const;
  absl::Status PutInPlace(const std::string& fresh, const std::string& path) const;

  const std::string path_;
  rocksdb::Env& env_;
  rocksdb::FileLock* lock_ = nullptr;
  std::string node_id_;
  uint32_t partitions_ = 0;
  uint32_t format_ = kFormatVersion;
  uint32_t mode_ = 0;  // Permissions of the directory.
  bool created_ = false;
};

}  // namespace storage

#endif  // STORAGE_DATA_DIR_H_
