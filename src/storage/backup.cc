#include "storage/backup.h"

#include <fcntl.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/memtablerep.h>
#include <rocksdb/options.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/clock.h"
#include "base/status_macros.h"
#include "storage/checkpoint.h"
#include "storage/pacer.h"
#include "storage/rocksdb_status.h"

namespace storage {
namespace {

namespace fs = std::filesystem;

// An fsync of the log waits for a piece that is being written, if it comes just then.
constexpr size_t kPieceBytes = 256 << 10;

// Between two pieces of work.
class Rests {
 public:
  explicit Rests(Pace pace) : pace_(pace) {}
  void Rest() {
    if (pace_ == Pace::kFull) return;
    const absl::Duration rest = pacer_.Rest(base::RealClock::Get().Monotonic());
    if (rest > absl::ZeroDuration()) absl::SleepFor(rest);
  }
  bool wanted() const { return pace_ == Pace::kGivesWay; }

 private:
  const Pace pace_;
  Pacer pacer_{base::RealClock::Get().Monotonic()};
};

absl::Status Failed(absl::string_view what, const std::string& path, int error) {
  const std::string words = absl::StrCat("cannot ", what, " ", path, ": ", std::strerror(error));
  if (error == ENOSPC || error == EDQUOT) return absl::ResourceExhaustedError(words);
  if (error == EACCES || error == EPERM || error == EROFS)
    return absl::PermissionDeniedError(words);
  return absl::UnavailableError(words);
}

absl::Status Stopped() { return absl::CancelledError("nobody waits for it any more"); }

absl::Status SyncDirectory(const std::string& path) {
  const int directory = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory < 0) return Failed("open", path, errno);
  const absl::Cleanup close_it = [directory] { close(directory); };
  return fsync(directory) == 0 ? absl::OkStatus() : Failed("sync", path, errno);
}

class TreeCopy {
 public:
  TreeCopy(std::string from, std::string to, Pace pace, const BackupProgress& progress)
      : from_(std::move(from)), to_(std::move(to)), rests_(pace), progress_(progress) {}

  absl::Status Run() {
    RETURN_IF_ERROR(List());
    if (!progress_(0, total_)) return Stopped();
    for (const fs::path& directory : directories_) {
      std::error_code error;
      fs::create_directories(to_ / directory, error);
      if (error) return Failed("make", (to_ / directory).string(), error.value());
      fs::permissions(to_ / directory, fs::perms::owner_all, error);
    }
    for (const fs::path& file : files_) RETURN_IF_ERROR(CopyFile(file));
    for (const fs::path& directory : directories_)
      RETURN_IF_ERROR(SyncDirectory((to_ / directory).string()));
    return absl::OkStatus();
  }

 private:
  absl::Status List() {
    std::error_code error;
    directories_.emplace_back("");
    for (fs::recursive_directory_iterator it(from_, error), end; !error && it != end;
         it.increment(error)) {
      const fs::path relative = it->path().lexically_relative(from_);
      if (it->is_directory(error)) {
        directories_.push_back(relative);
      } else if (relative.filename() == kLengthsFile) {
        if (!ReadLengths(relative)) return Failed("read", it->path().string(), EIO);
      } else if (relative.filename() != "LOCK") {
        files_.push_back(relative);
      }
    }
    for (const fs::path& file : files_) {
      if (error) break;
      total_ += std::min<uint64_t>(fs::file_size(from_ / file, error), LengthOf(file));
    }
    return error ? Failed("read", from_.string(), error.value()) : absl::OkStatus();
  }

  // Of files that somebody goes on writing, what counts. False: that cannot be read, and a copy of
  // all of them would be none of one moment.
  bool ReadLengths(const fs::path& file) {
    std::ifstream lengths(from_ / file);
    std::string name;
    uint64_t length = 0;
    while (lengths >> name) {
      if (!(lengths >> length)) return false;
      lengths_[file.parent_path() / name] = length;
    }
    return lengths.eof();
  }
  uint64_t LengthOf(const fs::path& file) const {
    const auto it = lengths_.find(file);
    return it == lengths_.end() ? std::numeric_limits<uint64_t>::max() : it->second;
  }

  absl::Status CopyFile(const fs::path& file) {
    const std::string source = (from_ / file).string();
    const std::string target = (to_ / file).string();
    const int in = open(source.c_str(), O_RDONLY | O_CLOEXEC);
    if (in < 0) return Failed("read", source, errno);
    const absl::Cleanup close_in = [in] { close(in); };
    const int out = open(target.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0) return Failed("write", target, errno);
    const absl::Cleanup close_out = [out] { close(out); };
    std::vector<char> piece(kPieceBytes);
    uint64_t left = LengthOf(file);
    for (off_t at = 0; left > 0;) {
      const ssize_t count = read(in, piece.data(), std::min<uint64_t>(piece.size(), left));
      if (count < 0) return Failed("read", source, errno);
      if (count == 0) break;
      for (ssize_t done = 0; done < count;) {
        const ssize_t wrote = write(out, piece.data() + done, static_cast<size_t>(count - done));
        if (wrote < 0) return Failed("write", target, errno);
        done += wrote;
      }
      if (rests_.wanted()) WriteOut(out, at, count);
      at += count;
      left -= static_cast<uint64_t>(count);
      bytes_ += static_cast<uint64_t>(count);
      if (!progress_(bytes_, total_)) return Stopped();
      rests_.Rest();
    }
    return fsync(out) == 0 ? absl::OkStatus() : Failed("sync", target, errno);
  }

  // Else all of it would be written at the end, and the log's fsync would wait for it. Where that
  // cannot be had, or fails, the sync at the end says so.
  static void WriteOut(int file, off_t at, ssize_t count) {
    constexpr unsigned kAll =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    (void)sync_file_range(file, at, count, kAll);
  }

  const fs::path from_;
  const fs::path to_;
  Rests rests_;
  const BackupProgress& progress_;
  std::map<fs::path, uint64_t> lengths_;
  std::vector<fs::path> directories_;  // Below, with the root itself as "".
  std::vector<fs::path> files_;
  uint64_t bytes_ = 0;
  uint64_t total_ = 0;
};

// Files that are read in pieces, by one thread at a time, as long as that is wanted.
class PacedFiles final : public rocksdb::FileSystemWrapper {
 public:
  PacedFiles(Pace pace, const GoesOn& goes_on)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), before_piece_{Rests(pace), goes_on} {}
  const char* Name() const override { return "PacedFiles"; }

  rocksdb::IOStatus NewSequentialFile(const std::string& path, const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSSequentialFile>* result,
                                      rocksdb::IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSSequentialFile> file;
    rocksdb::IOStatus opened = target()->NewSequentialFile(path, options, &file, debug);
    if (opened.ok()) *result = std::make_unique<Sequential>(before_piece_, std::move(file));
    return opened;
  }
  rocksdb::IOStatus NewRandomAccessFile(const std::string& path,
                                        const rocksdb::FileOptions& options,
                                        std::unique_ptr<rocksdb::FSRandomAccessFile>* result,
                                        rocksdb::IODebugContext* debug) override {
    std::unique_ptr<rocksdb::FSRandomAccessFile> file;
    rocksdb::IOStatus opened = target()->NewRandomAccessFile(path, options, &file, debug);
    if (opened.ok()) *result = std::make_unique<RandomAccess>(before_piece_, std::move(file));
    return opened;
  }

 private:
  struct BeforePiece {
    Rests rests;
    const GoesOn& goes_on;

    rocksdb::IOStatus operator()() {
      if (!goes_on()) return rocksdb::IOStatus::Aborted(std::string(Stopped().message()));
      rests.Rest();
      return rocksdb::IOStatus::OK();
    }
  };

  class Sequential final : public rocksdb::FSSequentialFileOwnerWrapper {
   public:
    Sequential(BeforePiece& before_piece, std::unique_ptr<rocksdb::FSSequentialFile>&& file)
        : FSSequentialFileOwnerWrapper(std::move(file)), before_piece_(before_piece) {}
    rocksdb::IOStatus Read(size_t bytes, const rocksdb::IOOptions& options, rocksdb::Slice* result,
                           char* room, rocksdb::IODebugContext* debug) override {
      rocksdb::IOStatus status = before_piece_();
      if (!status.ok()) return status;
      return FSSequentialFileOwnerWrapper::Read(bytes, options, result, room, debug);
    }

   private:
    BeforePiece& before_piece_;
  };
  class RandomAccess final : public rocksdb::FSRandomAccessFileOwnerWrapper {
   public:
    RandomAccess(BeforePiece& before_piece, std::unique_ptr<rocksdb::FSRandomAccessFile>&& file)
        : FSRandomAccessFileOwnerWrapper(std::move(file)), before_piece_(before_piece) {}
    rocksdb::IOStatus Read(uint64_t offset, size_t bytes, const rocksdb::IOOptions& options,
                           rocksdb::Slice* result, char* room,
                           rocksdb::IODebugContext* debug) const override {
      rocksdb::IOStatus status = before_piece_();
      if (!status.ok()) return status;
      return FSRandomAccessFileOwnerWrapper::Read(offset, bytes, options, result, room, debug);
    }

   private:
    BeforePiece& before_piece_;
  };

  BeforePiece before_piece_;
};

// The tables' checksums, and those of the log's newest part, which opening reads.
absl::Status VerifyDatabase(const std::string& path, Pace pace, const GoesOn& goes_on) {
  const std::unique_ptr<rocksdb::Env> env =
      rocksdb::NewCompositeEnv(std::make_shared<PacedFiles>(pace, goes_on));
  rocksdb::DB* opened = nullptr;
  rocksdb::Options options;
  options.env = env.get();
  options.max_file_opening_threads = 1;
  // Nobody looks anything up: what the log has need not be in order.
  options.memtable_factory = std::make_shared<rocksdb::VectorRepFactory>();
  options.allow_concurrent_memtable_write = false;
  options.wal_recovery_mode = rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  options.max_open_files = 64;
  const absl::Status open = ToStatus(rocksdb::DB::OpenForReadOnly(options, path, &opened),
                                     absl::StrCat("opening ", path));
  const std::unique_ptr<rocksdb::DB> db(opened);
  if (!goes_on()) return Stopped();
  if (!open.ok()) return absl::DataLossError(absl::StrCat("it is damaged: ", open.message()));
  const absl::Status read = ToStatus(db->VerifyChecksum(), absl::StrCat("reading ", path));
  return goes_on() ? read : Stopped();
}

absl::StatusOr<uint64_t> BytesOf(const std::string& path) {
  std::error_code error;
  uint64_t bytes = 0;
  for (fs::recursive_directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    if (it->is_regular_file(error)) bytes += it->file_size(error);
  }
  if (error) return Failed("read", path, error.value());
  return bytes;
}

// "dir/" is "dir".
std::string WithoutSlashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// What is in a directory and is somebody's. Who makes a file system of its own for it finds
// lost+found there.
absl::StatusOr<std::vector<fs::path>> ContentOf(const std::string& directory) {
  std::error_code error;
  std::vector<fs::path> content;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (it->path().filename() != "lost+found") content.push_back(it->path());
  }
  if (error && error != std::errc::no_such_file_or_directory)
    return Failed("read", directory, error.value());
  return content;
}

// What is there was put there by a copy that did not come to its end.
bool IsUnfinished(const std::string& directory) {
  std::error_code error;
  return fs::exists(directory + "/" + kUnfinishedCopy, error) &&
         !fs::exists(directory + "/node", error);
}

// What such a copy has put there, beside kUnfinishedCopy. Errors: somebody else has put something
// there.
absl::StatusOr<std::vector<fs::path>> LeftByCopy(const std::string& directory) {
  std::ifstream file(directory + "/" + kUnfinishedCopy + "/" + kNamesOfCopy);
  std::set<std::string> names;
  for (std::string name; std::getline(file, name);) names.insert(name);
  ASSIGN_OR_RETURN(const std::vector<fs::path> content, ContentOf(directory));
  std::vector<fs::path> left;
  for (const fs::path& path : content) {
    const std::string name = path.filename().string();
    if (names.contains(name)) {
      left.push_back(path);
    } else if (name != kUnfinishedCopy && name != "lock") {  // A start has made the latter.
      return absl::FailedPreconditionError(
          absl::StrCat(directory, " has a part of a backup that was not copied to the end, and ",
                       name, ", which no copy has put there; move that away, or choose another"));
    }
  }
  return left;
}

absl::StatusOr<bool> HasSomething(const std::string& directory) {
  if (IsUnfinished(directory)) {
    RETURN_IF_ERROR(LeftByCopy(directory).status());
    return false;
  }
  ASSIGN_OR_RETURN(const std::vector<fs::path> content, ContentOf(directory));
  return !content.empty();
}

// What a copy has left under the name that it has until all of it is there. Errors: it is
// somebody's.
absl::Status RemovePartial(const std::string& partial) {
  constexpr std::string_view kOfStore[] = {"admin", "log", "node", "state", "time"};
  ASSIGN_OR_RETURN(const std::vector<fs::path> content, ContentOf(partial));
  for (const fs::path& path : content) {
    if (std::count(std::begin(kOfStore), std::end(kOfStore), path.filename().string()) == 0) {
      return absl::FailedPreconditionError(absl::StrCat(
          path.string(), " is not of a backup; move it away, or choose another directory"));
    }
  }
  std::error_code error;
  fs::remove_all(partial, error);
  return error ? Failed("remove", partial, error.value()) : absl::OkStatus();
}

// It comes to its place by a rename, so it is there once all of it is.
absl::Status CopyToNewDirectory(const std::string& from, const std::string& to, Pace pace,
                                const BackupProgress& progress) {
  const std::string partial = to + ".partial";
  RETURN_IF_ERROR(RemovePartial(partial));
  std::error_code error;
  absl::Cleanup clean_up = [&] { fs::remove_all(partial, error); };
  RETURN_IF_ERROR(TreeCopy(from, partial, pace, progress).Run());
  fs::rename(partial, to, error);
  if (error) return Failed("make", to, error.value());
  std::move(clean_up).Cancel();
  const fs::path parent = fs::path(to).parent_path();
  return SyncDirectory(parent.empty() ? "." : parent.string());
}

absl::Status WriteNames(const std::string& partial, const std::vector<fs::path>& content) {
  const std::string path = partial + "/" + kNamesOfCopy;
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return Failed("write", path, errno);
  const absl::Cleanup close_it = [file] { close(file); };
  std::string names;
  for (const fs::path& each : content) absl::StrAppend(&names, each.filename().string(), "\n");
  const ssize_t wrote = write(file, names.data(), names.size());
  if (wrote < 0) return Failed("write", path, errno);
  if (static_cast<size_t>(wrote) != names.size()) return Failed("write", path, ENOSPC);
  if (fsync(file) != 0) return Failed("sync", path, errno);
  return SyncDirectory(partial);
}

// A directory that is there may be where a volume is mounted: nothing can be renamed to it, and
// what is beside it is on another disk, or not writable.
absl::Status CopyIntoDirectory(const std::string& from, const std::string& to, Pace pace,
                               const BackupProgress& progress) {
  std::error_code error;
  const auto empty_it = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(const std::vector<fs::path> left, LeftByCopy(to));
    for (const fs::path& path : left) {
      fs::remove_all(path, error);
      if (error) return Failed("remove", path.string(), error.value());
    }
    fs::remove_all(to + "/" + kUnfinishedCopy, error);  // As long as it is there it is unfinished.
    return error ? Failed("remove", to + "/" + kUnfinishedCopy, error.value()) : absl::OkStatus();
  };
  RETURN_IF_ERROR(empty_it());
  absl::Cleanup clean_up = [&] { empty_it().IgnoreError(); };
  const std::string partial = to + "/" + kUnfinishedCopy;
  RETURN_IF_ERROR(TreeCopy(from, partial, pace, progress).Run());
  ASSIGN_OR_RETURN(const std::vector<fs::path> content, ContentOf(partial));
  RETURN_IF_ERROR(WriteNames(partial, content));
  const auto move = [&](const fs::path& path) {
    fs::rename(path, to / path.filename(), error);
    return error ? Failed("make", (to / path.filename()).string(), error.value())
                 : absl::OkStatus();
  };
  for (const fs::path& path : content) {
    if (path.filename() != "node") RETURN_IF_ERROR(move(path));
  }
  RETURN_IF_ERROR(SyncDirectory(to));
  RETURN_IF_ERROR(move(fs::path(partial) / "node"));
  std::move(clean_up).Cancel();
  fs::remove_all(partial, error);
  return SyncDirectory(to);
}

}  // namespace

absl::Status CopyBackup(const std::string& checkpoint, const std::string& path, Pace pace,
                        const BackupProgress& progress) {
  const std::string to = WithoutSlashes(path);
  ASSIGN_OR_RETURN(const bool has_something, HasSomething(to));
  if (has_something) return absl::AlreadyExistsError(absl::StrCat(to, " is there already"));
  std::error_code error;
  return fs::exists(to, error) ? CopyIntoDirectory(checkpoint, to, pace, progress)
                               : CopyToNewDirectory(checkpoint, to, pace, progress);
}

absl::StatusOr<uint64_t> VerifyBackup(const std::string& backup, Pace pace, const GoesOn& goes_on) {
  std::error_code error;
  if (!fs::exists(backup + "/node", error) || !fs::exists(backup + "/state/CURRENT", error) ||
      !fs::exists(backup + "/log/CURRENT", error)) {
    return absl::NotFoundError(
        absl::StrCat(backup, " is no backup: it must have node, log and state"));
  }
  RETURN_IF_ERROR(VerifyDatabase(backup + "/state", pace, goes_on));
  RETURN_IF_ERROR(VerifyDatabase(backup + "/log", pace, goes_on));
  return BytesOf(backup);
}

absl::Status RestoreBackup(const std::string& backup, const std::string& data_dir,
                           const BackupProgress& progress) {
  ASSIGN_OR_RETURN(const bool has_something, HasSomething(data_dir));
  if (has_something) {
    return absl::FailedPreconditionError(absl::StrCat(
        "data_dir ", data_dir, " is not empty; choose another, or move what is in it away"));
  }
  RETURN_IF_ERROR(VerifyBackup(backup, Pace::kFull, [] { return true; }).status());
  return CopyBackup(backup, data_dir, Pace::kFull, progress);
}

std::string CheckpointIn(const std::string& data_dir) { return data_dir + "/checkpoint"; }

void RemoveCheckpoint(const std::string& directory) {
  std::error_code ignored;
  fs::remove_all(directory, ignored);
}

}  // namespace storage
