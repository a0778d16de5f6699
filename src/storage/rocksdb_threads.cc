#include "storage/rocksdb_threads.h"

#include <rocksdb/listener.h>

#include "base/thread_priority.h"

namespace storage {
namespace {

class ThreadPriorityListener final : public rocksdb::EventListener {
 public:
  // Both on the thread that does it. That it is told again each time is nothing beside the file.
  void OnFlushBegin(rocksdb::DB* /*db*/, const rocksdb::FlushJobInfo& /*info*/) override {
    base::SetThreadPriority(base::ThreadPriority::kWork);
  }
  void OnCompactionBegin(rocksdb::DB* /*db*/, const rocksdb::CompactionJobInfo& /*info*/) override {
    base::SetThreadPriority(base::ThreadPriority::kWork);
  }
};

}  // namespace

std::shared_ptr<rocksdb::EventListener> MakeThreadPriorityListener() {
  return std::make_shared<ThreadPriorityListener>();
}

}  // namespace storage
