#include "storage/log_end.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "storage/core/after_damage.h"
#include "storage/core/keys.h"

namespace storage {
namespace {

constexpr uint64_t kMagic = 0x31646e456474714d;  // "MqtdEnd1"
constexpr uint64_t kWordBytes = 8;
// Magic, whether it is of synced entries, the boot, how many partitions; theirs; the hash of all.
constexpr size_t kHeadWords = 4;

void AppendWord(std::string& out, uint64_t word) {
  for (int i = 0; i < 8; ++i) out.push_back(static_cast<char>(word >> (8 * i) & 0xFF));
}

uint64_t WordAt(std::string_view text, size_t index) {
  uint64_t word = 0;
  for (size_t i = kWordBytes; i-- > 0;) {
    word = word << 8 | static_cast<uint8_t>(text[index * kWordBytes + i]);
  }
  return word;
}

// Another one after each start of the machine. 0: not known.
uint64_t ThisBoot() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string id;
  return std::getline(file, id) ? StableHash(id) | 1 : 0;
}

}  // namespace

LogEnd::LogEnd(const std::string& path, uint32_t partitions, bool synced)
    : path_(path),
      synced_(synced),
      boot_(ThisBoot()),
      claimed_(partitions, 0),
      noted_(partitions, 0) {
  fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd_ >= 0) {
    Read();
    return;
  }
  base::Log(base::LogLevel::kWarning, "cannot note how far the log reaches",
            {{"file", path}, {"error", std::strerror(errno)}});
}

LogEnd::~LogEnd() {
  if (fd_ >= 0) close(fd_);
}

// One that does not read back as it was written was being written when the power went: it claims
// nothing.
void LogEnd::Read() {
  const size_t words = kHeadWords + claimed_.size() + 1;
  std::string text(words * kWordBytes, '\0');
  const ssize_t length = pread(fd_, text.data(), text.size(), 0);
  if (length != static_cast<ssize_t>(text.size())) return;
  const std::string_view body = std::string_view(text).substr(0, text.size() - kWordBytes);
  if (WordAt(text, words - 1) != StableHash(body) || WordAt(text, 0) != kMagic) return;
  if (WordAt(text, 3) != claimed_.size()) return;
  const bool of_synced = WordAt(text, 1) != 0;
  const bool same_boot = boot_ != 0 && WordAt(text, 2) == boot_;
  if (!of_synced && !same_boot) return;
  for (size_t i = 0; i < claimed_.size(); ++i) claimed_[i] = WordAt(text, kHeadWords + i);
}

absl::Status LogEnd::Missing(PartitionId partition, uint64_t last, LogRecovery recovery) const {
  const std::string what =
      absl::StrCat("the log of partition ", partition, " ends at entry ", last, ", but entry ",
                   claimed(partition), " had been written, as ", path_,
                   " says: a file of the log was cut short, deleted or taken from another copy");
  if (recovery == LogRecovery::kStrict) {
    return absl::DataLossError(absl::StrCat(what, ". ", kRestoreOrSalvage));
  }
  base::Log(base::LogLevel::kError, "the end of the log is lost", {{"error", what}});
  return absl::OkStatus();
}

std::string LogEnd::Encode() const {
  std::string text;
  text.reserve((kHeadWords + noted_.size() + 1) * kWordBytes);
  AppendWord(text, kMagic);
  AppendWord(text, synced_ ? 1 : 0);
  AppendWord(text, boot_);
  AppendWord(text, noted_.size());
  for (const uint64_t index : noted_) AppendWord(text, index);
  AppendWord(text, StableHash(text));
  return text;
}

void LogEnd::Claim() {
  if (fd_ < 0) return;
  const std::string text = Encode();
  const ssize_t written = pwrite(fd_, text.data(), text.size(), 0);
  (void)written;  // Then it claims less, or nothing.
}

absl::Status LogEnd::ClaimOnDisk() {
  Claim();
  if (fd_ < 0 || fdatasync(fd_) == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("syncing ", path_, ": ", std::strerror(errno)));
}

}  // namespace storage
