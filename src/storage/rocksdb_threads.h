// RocksDB's own threads, which write files while the group commit and the devices behind it wait.
#ifndef STORAGE_ROCKSDB_THREADS_H_
#define STORAGE_ROCKSDB_THREADS_H_

#include <memory>

namespace rocksdb {
class EventListener;
}

namespace storage {

// For Options::listeners: a thread that flushes or compacts lets the shards go first, from the
// first time on. RocksDB's own setting knows nothing between the process's usual priority and the
// least there is; with that, on a machine whose processors are all taken, memory tables would fill
// faster than they are written.
std::shared_ptr<rocksdb::EventListener> MakeThreadPriorityListener();

}  // namespace storage
#endif  // STORAGE_ROCKSDB_THREADS_H_
