// Backups: a copy of a data directory's store on any file system, whole or not there.
//
//   DIR/node, DIR/time, DIR/log, DIR/state   as in the data directory (data_dir.h)
//   DIR/admin                                what the admin API had set
#ifndef STORAGE_BACKUP_H_
#define STORAGE_BACKUP_H_

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace storage {

// Called some times a second with the bytes that are done of all; false: stop, with kCancelled.
using BackupProgress = std::function<bool(uint64_t bytes, uint64_t bytes_total)>;

// Beside a broker at work, or alone. A large write or much computing would make clients wait whose
// messages go to the same disk: then it is done in small pieces, with rests between them.
enum class Pace { kGivesWay, kFull };

// In an empty directory to which something is copied, until all of it is: with this and without
// `node` it is no store, and may be begun again.
inline constexpr char kUnfinishedCopy[] = ".mqttd-unfinished-copy";
// In that: what is moved out of it, a name in each line. Beside these nothing is the copy's own.
inline constexpr char kNamesOfCopy[] = ".names";

// Copies a checkpoint (PartitionHost::Checkpoint) to `to`, synced. `to` is there, or if it is an
// empty directory has `node`, once all of it is. What a copy has left there that did not come to
// its end is removed first. kAlreadyExists: something is there; kFailedPrecondition: also something
// that no copy has put there. Blocks.
absl::Status CopyBackup(const std::string& checkpoint, const std::string& to, Pace pace,
                        const BackupProgress& progress);

// Asked before each piece; false: stop, with kCancelled.
using GoesOn = std::function<bool()>;

// Reads all of a backup and compares the checksums. kDataLoss: it is damaged. Returns its bytes.
// Blocks.
absl::StatusOr<uint64_t> VerifyBackup(const std::string& backup, Pace pace, const GoesOn& goes_on);

// Verifies it, then makes it the data directory, which must be empty or missing. Blocks.
absl::Status RestoreBackup(const std::string& backup, const std::string& data_dir,
                           const BackupProgress& progress);

// Where a broker has its checkpoint while a backup is made of it: links, to be on the same disk.
std::string CheckpointIn(const std::string& data_dir);

// With all that is in it. What does not work is left.
void RemoveCheckpoint(const std::string& directory);

}  // namespace storage

#endif  // STORAGE_BACKUP_H_
