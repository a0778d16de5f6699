// What an operator can do about damage on the disk, in words for the end of a message.
#ifndef STORAGE_CORE_AFTER_DAMAGE_H_
#define STORAGE_CORE_AFTER_DAMAGE_H_

#include "absl/strings/string_view.h"

namespace storage {

// A member of a cluster that has forgotten what it acknowledged to the others must not come back.
inline constexpr absl::string_view kRestoreDataDir =
    "Restore data_dir from a backup. A node of a cluster has none: start it with an empty "
    "data_dir, the other nodes have what was stored here";

// Of the log alone.
inline constexpr absl::string_view kRestoreOrSalvage =
    "Restore data_dir from a backup. If there is none, log_recovery: salvage starts with what can "
    "be read and loses the rest. A node of a cluster has neither: start it with an empty data_dir, "
    "the other nodes have what was stored here";

}  // namespace storage

#endif  // STORAGE_CORE_AFTER_DAMAGE_H_
