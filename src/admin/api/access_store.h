// What the admin API sets about access, kept in the data directory: DATA_DIR/admin/access.
#ifndef ADMIN_API_ACCESS_STORE_H_
#define ADMIN_API_ACCESS_STORE_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "admin/api/access_changes.h"
#include "admin/api/method.h"
#include "admin/run_time_files.h"
#include "auth/run_time_access.h"
#include "base/clock.h"
#include "base/mutex.h"
#include "mqttd/access/v1/access.pb.h"

namespace admin {

// A log of changes, each a line of JSON (proto/mqttd/access/v1): one change costs one write and one
// fsync, however much there is. When most of its lines say nothing any more it is written anew.
// Any thread; its callers are not those of the broker. What is made here is on the disk before it
// holds; what other nodes have made holds at once, whatever the disk does, and is kept after that.
class AccessStore {
 public:
  // Whether other nodes hear of what it has, and it of theirs (AccessSpread): then it is known of
  // what was removed as well, that it was.
  enum class Spreads : bool { kNot, kOverNodes };
  // So much of what was removed is known at least. What is forgotten comes back from a node that
  // was away since it was removed.
  static constexpr size_t kRemovedMax = 10'000;

  // All outlive it.
  AccessStore(const std::string& data_dir, const base::Clock& clock, auth::RunTimeAccess& access,
              Spreads spreads = Spreads::kNot)
      : files_(data_dir),
        clock_(clock),
        access_(access),
        spreads_(spreads == Spreads::kOverNodes) {}

  // Before clients are let in. A last line that is not whole was never acknowledged and is passed
  // over; the next change takes its place. Errors: the file cannot be read, or another line is
  // damaged.
  absl::Status Load() ABSL_LOCKS_EXCLUDED(file_mutex_, mutex_);

  // One change: `make` fills it in, or refuses, while nobody else changes anything. On the disk
  // first: what holds now holds after a crash, too, unless another node's change of the same that
  // is later came meanwhile. Returns it, with who made it and when. Errors: those of `make`;
  // kInvalidArgument: a start could not read it; kResourceExhausted, kUnavailable: it cannot be
  // written, and nothing has changed.
  absl::StatusOr<Kept> Change(const Caller& caller, const std::function<absl::Status(Kept&)>& make)
      ABSL_LOCKS_EXCLUDED(file_mutex_, mutex_);

  // Of changes that another node has made or heard of, those that are later than what is known here
  // of the same; the others do nothing, and nor does one that only a later release understands.
  // Returns the former. They hold from here on, and are to be kept: it waits for no disk.
  std::vector<Kept> Take(const google::protobuf::RepeatedPtrField<Kept>& changes)
      ABSL_LOCKS_EXCLUDED(mutex_);
  // Writes what was taken and is not on the disk yet. Errors: kResourceExhausted, kUnavailable: it
  // is still to be kept.
  absl::Status Keep() ABSL_LOCKS_EXCLUDED(file_mutex_, mutex_);
  bool unkept() const ABSL_LOCKS_EXCLUDED(mutex_);
  // Of all that it has, by kind: equal for stores that have the same.
  std::array<uint64_t, kChangeKinds> digests() const ABSL_LOCKS_EXCLUDED(mutex_);
  // What it has, as changes, in the order of their keys, from the one behind `after` on. Errors:
  // `after` is none.
  absl::StatusOr<std::vector<Kept>> List(ChangeKind kind, const std::optional<Kept>& after,
                                         size_t count) const ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  // What is to be written, and how much of what was taken is written with it.
  struct Lines {
    std::string text;
    uint64_t count = 0;
    uint64_t taken = 0;
  };
  Lines Unkept() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void BoundUnkept() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Append(const Lines& lines, const std::string& change)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(file_mutex_) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status WriteAnew() ABSL_EXCLUSIVE_LOCKS_REQUIRED(file_mutex_) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status KeepTaken() ABSL_EXCLUSIVE_LOCKS_REQUIRED(file_mutex_) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Prepare(const Caller& caller, const std::function<absl::Status(Kept&)>& make,
                       Kept& change, ChangeKey& key, Lines& lines) ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status Replay(absl::string_view text) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Hold(const Kept& change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  std::optional<Kept> Current(const ChangeKey& key) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  uint64_t& DigestFor(const Kept& change) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return digests_[static_cast<size_t>(ListedAs(change))];
  }
  void ForgetRemoved() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void ForgetEndedBans() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Compact() ABSL_EXCLUSIVE_LOCKS_REQUIRED(file_mutex_) ABSL_LOCKS_EXCLUDED(mutex_);

  const RunTimeFiles files_;
  const base::Clock& clock_;
  auth::RunTimeAccess& access_;
  const bool spreads_;
  // Held while the file is written, which may take as long as the disk likes; before the other.
  base::Mutex file_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  mutable base::Mutex mutex_;
  uint64_t revision_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t lines_ ABSL_GUARDED_BY(mutex_) = 0;
  // What was taken and is not in the file, and so much of what was taken ever; so much of it is
  // kept.
  Lines unkept_ ABSL_GUARDED_BY(mutex_);
  uint64_t kept_ ABSL_GUARDED_BY(mutex_) = 0;
  // The file lacks something that `unkept_` has not, either.
  bool write_anew_ ABSL_GUARDED_BY(mutex_) = false;
  // On its way to the disk: it does not hold yet.
  std::optional<std::pair<ChangeKey, Kept>> being_made_ ABSL_GUARDED_BY(mutex_);
  // The default, once it was set; and what was removed, if it is to be known.
  std::map<ChangeKey, Kept> rest_ ABSL_GUARDED_BY(mutex_);
  std::array<uint64_t, kChangeKinds> digests_ ABSL_GUARDED_BY(mutex_) = {};
};

}  // namespace admin

#endif  // ADMIN_API_ACCESS_STORE_H_
