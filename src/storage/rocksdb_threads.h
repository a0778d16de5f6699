// RocksDB's own threads, which write files while the group commit and the devices behind it wait.
#ifndef STORAGE_ROCKSDB_THREADS_H_
#define STORAGE_ROCKSDB_THREADS_H_

#include <rocksdb/listener.h>

#include <memory>

namespace storage {

// For Options::listeners: threads that flush or compact let the shards go first. RocksDB's own
// setting knows only the least priority there is; with that, on a machine whose processors are all
// taken, memory tables would fill faster than they are written.
std::shared_ptr<rocksdb::EventListener> MakeThreadPriorityListener();

}  // namespace storage
#endif  // STORAGE_ROCKSDB_THREADS_H_
