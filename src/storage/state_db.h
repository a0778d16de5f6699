// The state of all partitions: one RocksDB instance without a write-ahead log, for the entries are
// its log.
#ifndef STORAGE_STATE_DB_H_
#define STORAGE_STATE_DB_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "storage/core/kv.h"
#include "storage/core/state_store.h"

namespace rocksdb {
class DB;
class Env;
class WriteBatch;
struct Options;
}  // namespace rocksdb

namespace storage {

struct StorageOptions;

// What partitions write while one iteration's entries are applied.
class RocksBatch final : public StateBatch {
 public:
  RocksBatch();
  ~RocksBatch() override;
  void Put(std::string_view key, std::string_view value) override;
  void Delete(std::string_view key) override;
  void DeleteRange(std::string_view lower, std::string_view upper) override;
  void Clear();

 private:
  friend class StateDb;
  std::unique_ptr<rocksdb::WriteBatch> batch_;
};

// Belongs to the host's thread, but for Checkpoint.
class StateDb final : public StateReader, public StateStore {
 public:
  // Called on threads of RocksDB's own.
  struct Listener {
    std::function<void()> flushed;  // Something was written out.
    // Something could not be: Repair. kDataLoss: a file does not read back as it was written.
    std::function<void(absl::Status)> failed;
  };
  static absl::StatusOr<std::unique_ptr<StateDb>> Open(const std::string& path,
                                                       const StorageOptions& options,
                                                       rocksdb::Env& env, bool create,
                                                       Listener listener);
  ~StateDb() override;

  absl::StatusOr<bool> Get(std::string_view key, std::string& value) const override;
  std::unique_ptr<StateIterator> NewIterator(std::string_view lower,
                                             std::string_view upper) const override;

  const StateReader& reader() const override { return *this; }
  StateBatch& batch() override { return batch_; }
  absl::Status Write() override;
  void Discard() override { batch_.Clear(); }
  absl::StatusOr<Repaired> Repair() override;
  // Whether Write waits for room in memory instead of kAborted: at the start and at the end.
  void SetPatient(bool patient) { patient_ = patient; }

  // Like Get, but only what would survive kill -9 at this moment.
  absl::StatusOr<bool> GetFlushed(std::string_view key, std::string& value) const;

  // See CheckpointOf. Any thread; Repair and Close wait for its end.
  absl::Status Checkpoint(const std::string& directory);

  // Has what is in memory written out some time soon; `flushed` tells when.
  absl::Status BeginFlush();
  // Writes everything out. Blocks.
  absl::Status Flush();
  absl::Status Close();

 private:
  StateDb(std::string path, const StorageOptions& options, rocksdb::Env& env, bool create,
          Listener listener);
  absl::Status OpenDb();

  const std::string path_;
  std::atomic<bool> damaged_{false};  // Set on a thread of RocksDB's.
  const std::unique_ptr<rocksdb::Options> options_;
  base::Mutex copying_;              // Held where `db_` is changed or closed, and by a Checkpoint.
  std::unique_ptr<rocksdb::DB> db_;  // Null: it could not be opened again yet.
  RocksBatch batch_;
  bool patient_ = true;
};

}  // namespace storage

#endif  // STORAGE_STATE_DB_H_
