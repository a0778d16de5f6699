// A file system that fails when told to, and that forgets what was not synced.
#ifndef TESTS_STORAGE_FAULTY_DISK_H_
#define TESTS_STORAGE_FAULTY_DISK_H_

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "base/mutex.h"

namespace storage {

class FaultyDisk final : public rocksdb::FileSystemWrapper {
 public:
  enum class Fault { kNone, kNoSpace, kSyncFails, kPowerOff };

  FaultyDisk() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "FaultyDisk"; }

  // From now on, in every file whose path has `part` in it.
  void Set(Fault fault, std::string part = {}) {
    base::MutexLock lock(mutex_);
    part_ = std::move(part);
    fault_.store(fault);
  }
  // From the write on that has `text` in it: not from whatever is written just before it.
  void SetFrom(std::string text, Fault fault) {
    base::MutexLock lock(mutex_);
    part_.clear();
    awaited_text_ = std::move(text);
    awaited_fault_ = fault;
  }

  // After power came back: every file is as long as its last sync left it.
  void Forget() {
    base::MutexLock lock(mutex_);
    for (const auto& [path, synced] : synced_) {
      std::error_code ignored;  // Files that are gone need no cutting.
      if (std::filesystem::file_size(path, ignored) > synced && !ignored) {
        std::filesystem::resize_file(path, synced, ignored);
      }
    }
    synced_.clear();
    fault_.store(Fault::kNone);
  }

  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override {
    const Fault fault = FaultOf(path);
    if (fault == Fault::kNoSpace) return rocksdb::IOStatus::NoSpace("No space left on device");
    if (fault == Fault::kPowerOff) return rocksdb::IOStatus::IOError("power is off");
    std::unique_ptr<rocksdb::FSWritableFile> file;
    const rocksdb::IOStatus made = target()->NewWritableFile(path, options, &file, debug);
    if (!made.ok()) return made;
    NoteSynced(path, 0);
    *result = std::make_unique<File>(*this, path, std::move(file));
    return made;
  }

  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override {
    if (fault_.load() == Fault::kPowerOff) return rocksdb::IOStatus::IOError("power is off");
    {
      base::MutexLock lock(mutex_);
      const auto it = synced_.find(from);
      if (it != synced_.end()) {
        synced_[to] = it->second;
        synced_.erase(from);
      }
    }
    return target()->RenameFile(from, to, options, debug);
  }

  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override {
    if (fault_.load() == Fault::kPowerOff) return rocksdb::IOStatus::IOError("power is off");
    return target()->DeleteFile(path, options, debug);
  }

 private:
  class File final : public rocksdb::FSWritableFileOwnerWrapper {
   public:
    File(FaultyDisk& disk, std::string path, std::unique_ptr<rocksdb::FSWritableFile>&& file)
        : FSWritableFileOwnerWrapper(std::move(file)), disk_(disk), path_(std::move(path)) {}

    using FSWritableFileOwnerWrapper::Append;
    rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* debug) override {
      disk_.BeginIfAwaited(data.ToStringView());
      const Fault fault = disk_.FaultOf(path_);
      if (fault == Fault::kPowerOff) return rocksdb::IOStatus::IOError("power is off");
      if (fault == Fault::kNoSpace) {
        // As disks do: a part still fits.
        const rocksdb::Slice part(data.data(), data.size() / 2);
        written_ += part.size();
        const rocksdb::IOStatus torn = FSWritableFileOwnerWrapper::Append(part, options, debug);
        return torn.ok() ? rocksdb::IOStatus::NoSpace("No space left on device") : torn;
      }
      written_ += data.size();
      return FSWritableFileOwnerWrapper::Append(data, options, debug);
    }
    rocksdb::IOStatus Append(const rocksdb::Slice& data, const rocksdb::IOOptions& options,
                             const rocksdb::DataVerificationInfo& /*info*/,
                             rocksdb::IODebugContext* debug) override {
      return Append(data, options, debug);
    }
    rocksdb::IOStatus Sync(const rocksdb::IOOptions& options,
                           rocksdb::IODebugContext* debug) override {
      const Fault fault = disk_.FaultOf(path_);
      if (fault == Fault::kPowerOff) return rocksdb::IOStatus::IOError("power is off");
      if (fault == Fault::kSyncFails) return rocksdb::IOStatus::IOError("Input/output error");
      const rocksdb::IOStatus synced = FSWritableFileOwnerWrapper::Sync(options, debug);
      if (synced.ok()) disk_.NoteSynced(path_, written_);
      return synced;
    }
    rocksdb::IOStatus Fsync(const rocksdb::IOOptions& options,
                            rocksdb::IODebugContext* debug) override {
      return Sync(options, debug);
    }

   private:
    FaultyDisk& disk_;
    const std::string path_;
    uint64_t written_ = 0;
  };

  Fault FaultOf(const std::string& path) {
    const Fault fault = fault_.load();
    if (fault == Fault::kNone) return fault;
    base::MutexLock lock(mutex_);
    return path.find(part_) == std::string::npos ? Fault::kNone : fault;
  }

  void BeginIfAwaited(std::string_view written) {
    base::MutexLock lock(mutex_);
    if (awaited_text_.empty() || written.find(awaited_text_) == std::string_view::npos) return;
    awaited_text_.clear();
    fault_.store(awaited_fault_);
  }

  void NoteSynced(const std::string& path, uint64_t bytes) {
    base::MutexLock lock(mutex_);
    synced_[path] = bytes;
  }

  std::atomic<Fault> fault_{Fault::kNone};
  base::Mutex mutex_;
  std::string part_ ABSL_GUARDED_BY(mutex_);
  std::string awaited_text_ ABSL_GUARDED_BY(mutex_);
  Fault awaited_fault_ ABSL_GUARDED_BY(mutex_) = Fault::kNone;
  std::map<std::string, uint64_t> synced_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace storage

#endif  // TESTS_STORAGE_FAULTY_DISK_H_
