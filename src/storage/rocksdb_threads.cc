#include "storage/rocksdb_threads.h"

#include <rocksdb/listener.h>

#include "base/thread_priority.h"

namespace storage {
namespace {

class ThreadPriorityListener final : public rocksdb::EventListener {
 public:
  void OnFlushBegin(rocksdb::DB* /*db*/, const rocksdb::FlushJobInfo& /*info*/) override {
    Prepare();
  }
  void OnCompactionBegin(rocksdb::DB* /*db*/, const rocksdb::CompactionJobInfo& /*info*/) override {
    Prepare();
  }

 private:
  static void Prepare() {
    thread_local const bool prepared = [] {
      base::SetThreadPriority(base::ThreadPriority::kWork);
      return true;
    }();
    (void)prepared;
  }
};

}  // namespace

std::shared_ptr<rocksdb::EventListener> MakeThreadPriorityListener() {
  return std::make_shared<ThreadPriorityListener>();
}

}  // namespace storage
