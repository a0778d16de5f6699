#include "storage/core/apply_context.h"

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "storage/core/after_damage.h"

namespace storage {

void ApplyContext::StopAtUnknown() {
  stops = true;
  status = absl::FailedPreconditionError(absl::StrCat(
      "entry ", index, " in the log of partition ", partition,
      " was written by a newer release of mqttd, and this one does not know what it means. Nothing "
      "is lost: start the release that wrote it, or a later one"));
}

void ApplyContext::StopAtUnreadable(std::string_view what) {
  stops = true;
  status = absl::DataLossError(absl::StrCat(
      "entry ", index, " in the log of partition ", partition, " cannot be read (",
      base::AbslView(what),
      "): a newer release of mqttd wrote it, or it is damaged. Nothing was changed. Start the "
      "newest release that ran on this data_dir. If that cannot read it either: ",
      kRestoreDataDir));
}

void ApplyContext::StopAsDifferent() {
  stops = true;
  status = absl::DataLossError(absl::StrCat(
      "partition ", partition,
      " is not what the other replicas have made of the same log, as entry ", index,
      " says: this is a fault of mqttd. It stops here, before anybody is served "
      "by it; report this, with the log of mqttd, and have this replica made again from another"));
}

}  // namespace storage
