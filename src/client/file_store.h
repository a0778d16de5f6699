// A store in one file: what is unacknowledged survives the process.
#ifndef CLIENT_FILE_STORE_H_
#define CLIENT_FILE_STORE_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/core/store.h"

namespace mqttd::client {

struct FileStoreOptions {
  // fdatasync after each change: it survives a power cut too. Without, it survives the end of the
  // process (kill -9 included), not that of the machine.
  bool sync = false;
  // The file is written anew once it holds so many bytes of what is over, and more of that than of
  // what still counts.
  uint64_t compact_bytes_min = uint64_t{1} << 20;
};

// A journal: each change is one record with a checksum, appended. A record that a crash left half
// written ends the journal; what stands before it counts. The file is locked while the store lives,
// so that two clients cannot share one. Keeps what it holds in memory, too: what the session lets
// wait and be in flight bounds it. Belongs to one thread.
class FileStore final : public Store {
 public:
  // Opens or makes the file (mode 0600). Errors: it cannot be opened, is locked by another process,
  // or is no store of ours.
  static absl::StatusOr<std::unique_ptr<FileStore>> Open(std::string path,
                                                         const FileStoreOptions& options = {});
  ~FileStore() override;
  FileStore(const FileStore&) = delete;
  FileStore& operator=(const FileStore&) = delete;

  absl::StatusOr<Contents> Load() override;
  absl::Status PutOutbound(uint64_t sequence, mqtt::PacketId id, const Message& message) override;
  absl::Status MarkSent(uint64_t sequence, mqtt::PacketId id) override;
  absl::Status MarkReleased(uint64_t sequence) override;
  absl::Status RemoveOutbound(uint64_t sequence) override;
  absl::Status PutInbound(mqtt::PacketId id) override;
  absl::Status RemoveInbound(mqtt::PacketId id) override;
  absl::Status RestartSession(const std::vector<uint64_t>& over) override;

  // How it went when the file was last to be written anew. An error takes no change back: the file
  // goes on as it is, and it is tried again when that has grown by half. If only its name could not
  // be synced, the new file goes on, and the next change fails unless that can be made up for.
  const absl::Status& compaction() const { return compaction_; }

 private:
  struct Live {
    uint16_t id = 0;
    bool released = false;
    std::string body;  // The encoded message.
  };

  FileStore(std::string path, const FileStoreOptions& options, int fd)
      : path_(std::move(path)), options_(options), fd_(fd) {}
  absl::Status ReadJournal();
  // False: the record makes no sense.
  bool Replay(std::string_view record);
  // The records of the journal's first version, which knew messages by their Packet Identifier.
  bool ReplayFirstVersion(std::string_view record);
  void Remove(std::map<uint64_t, Live>::iterator found);
  absl::Status Append(std::string_view record);
  absl::Status SyncName();
  absl::Status CutOff();
  absl::Status Change(const std::string& record);
  void CompactIfWorthIt();
  absl::Status Compact();
  std::string Snapshot() const;

  const std::string path_;
  const FileStoreOptions options_;
  int fd_ = -1;
  uint64_t file_bytes_ = 0;
  uint64_t live_bytes_ = 0;
  bool is_torn_ = false;  // It goes on behind `file_bytes_` with a part of a record.
  bool name_is_synced_ = true;
  absl::Status compaction_;
  uint64_t compact_from_bytes_ = 0;    // After a compaction that failed.
  std::map<uint64_t, Live> outbound_;  // By their sequence.
  absl::flat_hash_set<uint16_t> inbound_;
};

}  // namespace mqttd::client

#endif  // CLIENT_FILE_STORE_H_
