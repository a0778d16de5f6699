#include "client/file_store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/crc.hpp>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/by_name.h"
#include "base/status_macros.h"

namespace mqttd::client {
namespace {

constexpr std::string_view kMagic = "mqttcs2\n";
constexpr std::string_view kMagicOfFirstVersion = "mqttcs1\n";
constexpr size_t kFrameBytes = 8;  // Before each record: its length, its checksum.
constexpr size_t kRecordBytesMax = size_t{512} << 20;

enum class Kind : char {
  kPutOutbound = 'A',     // Sequence, identifier, message.
  kMarkSent = 'S',        // Sequence, identifier.
  kMarkReleased = 'B',    // Sequence.
  kRemoveOutbound = 'E',  // Sequence.
  kPutInbound = 'I',      // Identifier.
  kRemoveInbound = 'F',   // Identifier.
  kRestart = 'L',         // The sequences of what is over.

  // Of the first version.
  kPutOutboundById = 'P',
  kMarkReleasedById = 'R',
  kRemoveOutboundById = 'D',
  kClear = 'C',
};

absl::Status Failed(std::string_view path, std::string_view what, int error) {
  return absl::InternalError(absl::StrCat("store ", base::AbslView(path), ": cannot ",
                                          base::AbslView(what), ": ", std::strerror(error)));
}

uint32_t Checksum(std::string_view bytes) {
  boost::crc_32_type crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

// Integers are little-endian.
void PutInt(uint64_t value, size_t bytes, std::string& out) {
  for (size_t i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

void PutText(std::string_view text, std::string& out) {
  PutInt(text.size(), 4, out);
  out.append(text);
}

// Reads what the Put functions wrote. After a fault everything reads as empty.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}
  uint64_t Int(size_t bytes) {
    uint64_t value = 0;
    const std::string_view taken = Take(bytes);
    for (size_t i = 0; i < taken.size(); ++i) {
      value |= uint64_t{static_cast<uint8_t>(taken[i])} << (8 * i);
    }
    return value;
  }
  std::string_view Text() { return Take(Int(4)); }
  std::string_view Rest() { return Take(rest_.size()); }
  bool at_end() const { return ok_ && rest_.empty(); }
  bool ok() const { return ok_; }

 private:
  std::string_view Take(size_t bytes) {
    if (!ok_ || bytes > rest_.size()) {
      ok_ = false;
      return {};
    }
    const std::string_view taken = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return taken;
  }

  std::string_view rest_;
  bool ok_ = true;
};

std::string EncodeMessage(const Message& message) {
  std::string out;
  PutInt(static_cast<uint64_t>(message.qos) | (message.retain ? 4u : 0u) |
             (message.payload_is_utf8 ? 8u : 0u) |
             (message.message_expiry_s.has_value() ? 16u : 0u),
         1, out);
  PutInt(message.message_expiry_s.value_or(0), 4, out);
  PutText(message.topic, out);
  PutText(message.payload, out);
  PutText(message.content_type, out);
  PutText(message.response_topic, out);
  PutText(message.correlation_data, out);
  PutInt(message.user_properties.size(), 4, out);
  for (const UserProperty& property : message.user_properties) {
    PutText(property.name, out);
    PutText(property.value, out);
  }
  return out;
}

bool DecodeMessage(std::string_view bytes, Message& message) {
  Reader reader(bytes);
  const uint64_t flags = reader.Int(1);
  if ((flags & 3) > 2) return false;
  message.qos = static_cast<mqtt::QoS>(flags & 3);
  message.retain = (flags & 4) != 0;
  message.payload_is_utf8 = (flags & 8) != 0;
  const auto expiry = static_cast<uint32_t>(reader.Int(4));
  if ((flags & 16) != 0) message.message_expiry_s = expiry;
  message.topic = reader.Text();
  message.payload = reader.Text();
  message.content_type = reader.Text();
  message.response_topic = reader.Text();
  message.correlation_data = reader.Text();
  for (uint64_t left = reader.Int(4); left > 0 && reader.ok(); --left) {
    UserProperty property;
    property.name = reader.Text();
    property.value = reader.Text();
    message.user_properties.push_back(std::move(property));
  }
  return reader.at_end();
}

std::string RecordOf(Kind kind, mqtt::PacketId id) {
  std::string record(1, static_cast<char>(kind));
  PutInt(id.value, 2, record);
  return record;
}

std::string RecordOf(Kind kind, uint64_t sequence) {
  std::string record(1, static_cast<char>(kind));
  PutInt(sequence, 8, record);
  return record;
}

std::string PutRecord(uint64_t sequence, mqtt::PacketId id, std::string_view body) {
  std::string record = RecordOf(Kind::kPutOutbound, sequence);
  PutInt(id.value, 2, record);
  record.append(body);
  return record;
}

void AppendFramed(std::string_view record, std::string& out) {
  PutInt(record.size(), 4, out);
  PutInt(Checksum(record), 4, out);
  out.append(record);
}

absl::Status WriteAll(const std::string& path, int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return Failed(path, "write", errno);
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

absl::Status ReadAll(const std::string& path, int fd, std::string& bytes) {
  std::vector<char> chunk(size_t{1} << 16);
  for (;;) {
    const ssize_t got = ::read(fd, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return Failed(path, "read", errno);
    if (got == 0) return absl::OkStatus();
    bytes.append(chunk.data(), static_cast<size_t>(got));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<FileStore>> FileStore::Open(std::string path,
                                                           const FileStoreOptions& options) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND, 0600);
  if (fd < 0) return Failed(path, "open", errno);
  std::unique_ptr<FileStore> store(new FileStore(std::move(path), options, fd));
  if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    return absl::FailedPreconditionError(
        absl::StrCat("store ", store->path_, " is in use by another client"));
  }
  RETURN_IF_ERROR(store->ReadJournal());
  return store;
}

FileStore::~FileStore() { ::close(fd_); }

absl::Status FileStore::ReadJournal() {
  std::string bytes;
  RETURN_IF_ERROR(ReadAll(path_, fd_, bytes));
  if (bytes.empty()) {
    RETURN_IF_ERROR(WriteAll(path_, fd_, kMagic));
    file_bytes_ = kMagic.size();
    name_is_synced_ = false;
    return SyncName();
  }
  const std::string_view magic = std::string_view(bytes).substr(0, kMagic.size());
  const bool first_version = magic == kMagicOfFirstVersion;
  if (magic != kMagic && !first_version) {
    return absl::DataLossError(absl::StrCat("store ", path_, ": this is no store of a client"));
  }
  size_t at = kMagic.size();
  while (bytes.size() - at >= kFrameBytes) {
    Reader frame(std::string_view(bytes).substr(at, kFrameBytes));
    const uint64_t size = frame.Int(4);
    const uint64_t checksum = frame.Int(4);
    if (size > bytes.size() - at - kFrameBytes) break;
    const std::string_view record = std::string_view(bytes).substr(at + kFrameBytes, size);
    if (Checksum(record) != checksum) break;
    if (first_version ? !ReplayFirstVersion(record) : !Replay(record)) break;
    at += kFrameBytes + size;
  }
  if (at < bytes.size() && ::ftruncate(fd_, static_cast<off_t>(at)) != 0) {
    return Failed(path_, "cut off the half-written end", errno);
  }
  file_bytes_ = at;
  return first_version ? Compact() : absl::OkStatus();
}

void FileStore::Remove(std::map<uint64_t, Live>::iterator found) {
  live_bytes_ -= found->second.body.size();
  outbound_.erase(found);
}

bool FileStore::Replay(std::string_view record) {
  Reader reader(record);
  const auto kind = static_cast<Kind>(reader.Int(1));
  if (kind == Kind::kPutInbound || kind == Kind::kRemoveInbound) {
    const auto id = static_cast<uint16_t>(reader.Int(2));
    if (!reader.at_end()) return false;
    if (kind == Kind::kPutInbound) {
      inbound_.insert(id);
    } else {
      inbound_.erase(id);
    }
    return true;
  }
  if (kind == Kind::kRestart) {
    while (reader.ok() && !reader.at_end()) {
      if (const auto found = outbound_.find(reader.Int(8)); found != outbound_.end()) Remove(found);
    }
    for (auto& [sequence, live] : outbound_) live.id = 0;
    inbound_.clear();
    return reader.at_end();
  }
  const uint64_t sequence = reader.Int(8);
  if (kind == Kind::kPutOutbound) {
    Live live{.id = static_cast<uint16_t>(reader.Int(2)), .body = std::string(reader.Rest())};
    if (!reader.ok()) return false;
    live_bytes_ += live.body.size();
    outbound_.insert_or_assign(sequence, std::move(live));
    return true;
  }
  const auto id = static_cast<uint16_t>(kind == Kind::kMarkSent ? reader.Int(2) : 0);
  if (!reader.at_end()) return false;
  // If the message is not there, it was removed before: nothing is left to do.
  const auto found = outbound_.find(sequence);
  const bool known = found != outbound_.end();
  switch (kind) {
    case Kind::kMarkSent:
      if (known) found->second.id = id;
      return true;
    case Kind::kMarkReleased:
      if (known) found->second.released = true;
      return true;
    case Kind::kRemoveOutbound:
      if (known) Remove(found);
      return true;
    default:
      return false;
  }
}

bool FileStore::ReplayFirstVersion(std::string_view record) {
  Reader reader(record);
  const auto kind = static_cast<Kind>(reader.Int(1));
  const auto id = static_cast<uint16_t>(reader.Int(2));
  const auto found = std::find_if(outbound_.begin(), outbound_.end(),
                                  [id](const auto& one) { return one.second.id == id; });
  switch (kind) {
    case Kind::kPutOutboundById: {
      if (found != outbound_.end()) Remove(found);
      const uint64_t sequence = reader.Int(8);
      Live live{.id = id, .body = std::string(reader.Rest())};
      if (!reader.ok()) return false;
      live_bytes_ += live.body.size();
      outbound_.insert_or_assign(sequence, std::move(live));
      return true;
    }
    case Kind::kMarkReleasedById:
      if (found != outbound_.end()) found->second.released = true;
      return reader.at_end();
    case Kind::kRemoveOutboundById:
      if (found != outbound_.end()) Remove(found);
      return reader.at_end();
    case Kind::kClear:
      outbound_.clear();
      inbound_.clear();
      live_bytes_ = 0;
      return reader.at_end();
    default:
      return Replay(record);
  }
}

absl::StatusOr<Store::Contents> FileStore::Load() {
  Contents contents;
  for (const auto& [sequence, live] : outbound_) {
    Outbound outbound{sequence, mqtt::PacketId{live.id}, live.released, {}};
    // The first version kept no message that was released.
    if (!live.body.empty() && !DecodeMessage(live.body, outbound.message)) {
      return absl::DataLossError(
          absl::StrCat("store ", path_, ": message ", sequence, " cannot be read"));
    }
    contents.outbound.push_back(std::move(outbound));
  }
  for (const uint16_t id : inbound_) contents.inbound.push_back(mqtt::PacketId{id});
  std::sort(contents.inbound.begin(), contents.inbound.end());
  return contents;
}

absl::Status FileStore::PutOutbound(uint64_t sequence, mqtt::PacketId id, const Message& message) {
  const std::string body = EncodeMessage(message);
  if (body.size() > kRecordBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("store ", path_, ": the message is too large"));
  }
  return Change(PutRecord(sequence, id, body));
}

absl::Status FileStore::MarkSent(uint64_t sequence, mqtt::PacketId id) {
  std::string record = RecordOf(Kind::kMarkSent, sequence);
  PutInt(id.value, 2, record);
  return Change(record);
}

absl::Status FileStore::MarkReleased(uint64_t sequence) {
  return Change(RecordOf(Kind::kMarkReleased, sequence));
}

absl::Status FileStore::RemoveOutbound(uint64_t sequence) {
  return Change(RecordOf(Kind::kRemoveOutbound, sequence));
}

absl::Status FileStore::PutInbound(mqtt::PacketId id) {
  return Change(RecordOf(Kind::kPutInbound, id));
}

absl::Status FileStore::RemoveInbound(mqtt::PacketId id) {
  return Change(RecordOf(Kind::kRemoveInbound, id));
}

absl::Status FileStore::RestartSession(const std::vector<uint64_t>& over) {
  std::string record(1, static_cast<char>(Kind::kRestart));
  for (const uint64_t sequence : over) PutInt(sequence, 8, record);
  return Change(record);
}

absl::Status FileStore::Change(const std::string& record) {
  RETURN_IF_ERROR(Append(record));
  Replay(record);
  CompactIfWorthIt();
  return absl::OkStatus();
}

void FileStore::CompactIfWorthIt() {
  const uint64_t over = file_bytes_ - std::min(file_bytes_, live_bytes_);
  if (over < options_.compact_bytes_min || over < live_bytes_) return;
  if (file_bytes_ < compact_from_bytes_) return;
  compaction_ = Compact();
  compact_from_bytes_ = compaction_.ok() ? 0 : file_bytes_ + file_bytes_ / 2;
}

// What a power cut leaves of the file is what its directory says.
absl::Status FileStore::SyncName() {
  if (name_is_synced_ || !options_.sync) return absl::OkStatus();
  const size_t slash = path_.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  const int fd = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return Failed(directory, "open", errno);
  // Some file systems cannot: theirs are the names that they have.
  const bool done = ::fsync(fd) == 0 || errno == EINVAL;
  const int error = errno;
  ::close(fd);
  if (!done) return Failed(directory, "sync", error);
  name_is_synced_ = true;
  return absl::OkStatus();
}

// After an error the file ends where it ended before, so that a later record is not behind half of
// this one: that would end the journal.
absl::Status FileStore::CutOff() {
  is_torn_ = ::ftruncate(fd_, static_cast<off_t>(file_bytes_)) != 0;
  if (is_torn_) return Failed(path_, "cut off a half-written record", errno);
  return absl::OkStatus();
}

absl::Status FileStore::Append(std::string_view record) {
  if (is_torn_) RETURN_IF_ERROR(CutOff());
  RETURN_IF_ERROR(SyncName());
  std::string framed;
  framed.reserve(kFrameBytes + record.size());
  AppendFramed(record, framed);
  absl::Status status = WriteAll(path_, fd_, framed);
  if (status.ok() && options_.sync && ::fdatasync(fd_) != 0) status = Failed(path_, "sync", errno);
  if (!status.ok()) {
    RETURN_IF_ERROR(CutOff());
    return status;
  }
  file_bytes_ += framed.size();
  return absl::OkStatus();
}

std::string FileStore::Snapshot() const {
  std::string bytes(kMagic);
  for (const auto& [sequence, live] : outbound_) {
    AppendFramed(PutRecord(sequence, mqtt::PacketId{live.id}, live.body), bytes);
    if (live.released) AppendFramed(RecordOf(Kind::kMarkReleased, sequence), bytes);
  }
  for (const uint16_t id : inbound_) {
    AppendFramed(RecordOf(Kind::kPutInbound, mqtt::PacketId{id}), bytes);
  }
  return bytes;
}

// A new file takes the old one's place in one step: a crash leaves one or the other.
absl::Status FileStore::Compact() {
  const std::string next = path_ + ".new";
  const int fd = ::open(next.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_APPEND, 0600);
  if (fd < 0) return Failed(next, "open", errno);
  const std::string bytes = Snapshot();
  absl::Status status = WriteAll(next, fd, bytes);
  if (status.ok() && ::fdatasync(fd) != 0) status = Failed(next, "sync", errno);
  if (status.ok() && ::flock(fd, LOCK_EX | LOCK_NB) != 0) status = Failed(next, "lock", errno);
  if (status.ok() && ::rename(next.c_str(), path_.c_str()) != 0) {
    status = Failed(next, "rename", errno);
  }
  if (!status.ok()) {
    ::close(fd);
    ::unlink(next.c_str());
    return status;
  }
  ::close(std::exchange(fd_, fd));
  file_bytes_ = bytes.size();
  is_torn_ = false;
  name_is_synced_ = false;
  return SyncName();
}

}  // namespace mqttd::client
