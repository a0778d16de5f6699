// The logs of all Raft groups of a node in one RocksDB: one write and one sync for all of them.
#ifndef CLUSTER_LOG_STORE_H_
#define CLUSTER_LOG_STORE_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cluster/raft/entry_store.h"
#include "cluster/raft/types.h"

namespace rocksdb {
class Env;
}

namespace storage {
class LogDb;
struct StorageOptions;
}  // namespace storage

namespace cluster {

// Keys: 'e' group index -> term, kind, data of an entry; 'h', 'b', 'c': see
// proto/mqttd/cluster/v1/log.proto. ('l', 't' and 'r' are of the logs of earlier releases.)
//
// Write and Repair belong to one thread at a time; the reads may go on beside Write.
class LogStore final : public EntryStore {
 public:
  static absl::StatusOr<std::unique_ptr<LogStore>> Open(std::string path,
                                                        const storage::StorageOptions& options,
                                                        rocksdb::Env& env, bool create);
  ~LogStore() override;

  std::unique_ptr<EntryBatch> NewBatch() override;
  absl::Status Write(EntryBatch& batch, Sync sync) override;
  absl::StatusOr<Group> Load(GroupId group) override;
  absl::Status Read(GroupId group, uint64_t low, uint64_t high, uint64_t bytes_max,
                    absl::FunctionRef<void(const EntryView&)> take) override;

  // The entries behind that one, as they were when it is called: beside Write, which may cut what
  // is before it, or take others in place of what was not committed. No log of that group: none.
  absl::Status ReadAfter(GroupId group, uint64_t after,
                         absl::FunctionRef<absl::Status(const EntryView&)> visit);

  // kDataLoss: what the state lacks was cut.
  static absl::Status BeginsBehind(GroupId group, uint64_t begin, uint64_t applied);

  // See storage::CheckpointOf.
  absl::Status Checkpoint(const std::string& directory) const;
  // Makes durable what was written without a sync.
  absl::Status SyncWritten();
  // After an error of Write, before the same batch is written again.
  absl::Status Repair();
  // The destructor closes too but cannot report.
  absl::Status Close();

 private:
  class Batch;
  explicit LogStore(std::unique_ptr<storage::LogDb> db);

  const std::unique_ptr<storage::LogDb> db_;
};

}  // namespace cluster

#endif  // CLUSTER_LOG_STORE_H_
