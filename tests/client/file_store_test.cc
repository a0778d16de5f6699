#include "client/file_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <boost/crc.hpp>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/temp_dir.h"

// Calls of the store's, which links these instead of libc's.
namespace {
int directory_syncs = 0;
bool directories_can_be_synced = true;
bool files_can_be_cut = true;
}  // namespace

extern "C" int fsync(int fd) noexcept {
  struct stat about {};
  if (::fstat(fd, &about) == 0 && S_ISDIR(about.st_mode)) {
    ++directory_syncs;
    if (!directories_can_be_synced) {
      errno = EIO;
      return -1;
    }
  }
  return static_cast<int>(::syscall(SYS_fsync, fd));
}
extern "C" int ftruncate(int fd, off_t length) noexcept {
  if (!files_can_be_cut) {
    errno = EIO;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_ftruncate, fd, length));
}

namespace mqttd::client {
namespace {

using mqtt::PacketId;

class FileStoreTest : public testing::Test {
 protected:
  std::unique_ptr<FileStore> Open(const FileStoreOptions& options = {}) {
    auto store = FileStore::Open(path_, options);
    EXPECT_TRUE(store.ok()) << store.status();
    return *std::move(store);
  }
  static Message Full() {
    Message message;
    message.topic = "a/b";
    message.payload = std::string("\0\xFF", 2);
    message.qos = mqtt::QoS::kExactlyOnce;
    message.retain = true;
    message.payload_is_utf8 = true;
    message.message_expiry_s = 7;
    message.content_type = "text/plain";
    message.response_topic = "r";
    message.correlation_data = "c";
    message.user_properties = {{"n", "v"}, {"n", ""}};
    return message;
  }

  const support::TempDir directory_;
  const std::string path_ = directory_.path() + "/store";
};

TEST_F(FileStoreTest, WhatIsPutIsThereAfterTheProcess) {
  {
    auto store = Open();
    ASSERT_TRUE(store->PutOutbound(2, PacketId{5}, Full()).ok());
    ASSERT_TRUE(store->PutOutbound(1, PacketId{6}, Full()).ok());
    ASSERT_TRUE(store->PutOutbound(3, PacketId{7}, Full()).ok());
    ASSERT_TRUE(store->MarkReleased(1).ok());
    ASSERT_TRUE(store->RemoveOutbound(3).ok());
    ASSERT_TRUE(store->PutInbound(PacketId{8}).ok());
    ASSERT_TRUE(store->PutInbound(PacketId{9}).ok());
    ASSERT_TRUE(store->RemoveInbound(PacketId{9}).ok());
  }
  const auto contents = Open()->Load();
  ASSERT_TRUE(contents.ok()) << contents.status();
  ASSERT_EQ(contents->outbound.size(), 2u);
  EXPECT_EQ(contents->outbound[0].id, PacketId{6});
  EXPECT_TRUE(contents->outbound[0].released);
  EXPECT_EQ(contents->outbound[1].id, PacketId{5});
  EXPECT_EQ(contents->outbound[1].message, Full());
  EXPECT_THAT(contents->inbound, testing::ElementsAre(PacketId{8}));
}

TEST_F(FileStoreTest, WhatWaitsIsKeptAndThenSent) {
  {
    auto store = Open();
    ASSERT_TRUE(store->PutOutbound(4, {}, Full()).ok());
    ASSERT_TRUE(store->PutOutbound(5, {}, Full()).ok());
    ASSERT_TRUE(store->MarkSent(5, PacketId{9}).ok());
  }
  const auto contents = Open()->Load();
  ASSERT_TRUE(contents.ok()) << contents.status();
  ASSERT_EQ(contents->outbound.size(), 2u);
  EXPECT_EQ(contents->outbound[0].sequence, 4u);
  EXPECT_EQ(contents->outbound[0].id, PacketId{});
  EXPECT_EQ(contents->outbound[1].id, PacketId{9});
  EXPECT_EQ(contents->outbound[1].message, Full());
}

TEST_F(FileStoreTest, ALostSessionIsForgottenInOneStep) {
  {
    auto store = Open();
    for (uint64_t sequence = 1; sequence <= 3; ++sequence) {
      ASSERT_TRUE(store->PutOutbound(sequence, PacketId{7}, Full()).ok());
    }
    ASSERT_TRUE(store->PutInbound(PacketId{8}).ok());
    ASSERT_TRUE(store->RestartSession({2}).ok());
  }
  const auto contents = Open()->Load();
  ASSERT_TRUE(contents.ok()) << contents.status();
  ASSERT_EQ(contents->outbound.size(), 2u);
  EXPECT_EQ(contents->outbound[0].sequence, 1u);
  EXPECT_EQ(contents->outbound[1].sequence, 3u);
  EXPECT_EQ(contents->outbound[1].id, PacketId{});
  EXPECT_TRUE(contents->inbound.empty());
}

// A journal whose messages are known by their Packet Identifier.
TEST_F(FileStoreTest, TheFirstVersionsFilesOpen) {
  const auto number = [](uint64_t value, int bytes) {
    std::string out;
    for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
    return out;
  };
  const auto text = [&](const std::string& words) { return number(words.size(), 4) + words; };
  const auto framed = [&](const std::string& record) {
    boost::crc_32_type checksum;
    checksum.process_bytes(record.data(), record.size());
    return number(record.size(), 4) + number(checksum.checksum(), 4) + record;
  };
  const std::string message = number(2, 1) + number(0, 4) + text("a/b") + text("x") + text("") +
                              text("") + text("") + number(0, 4);  // QoS 2.
  const auto put = [&](uint16_t id, uint64_t sequence) {
    return framed("P" + number(id, 2) + number(sequence, 8) + message);
  };
  std::ofstream(path_, std::ios::binary)
      << "mqttcs1\n"
      << put(5, 2) << put(6, 1) << put(7, 3) << framed("R" + number(6, 2))
      << framed("D" + number(7, 2)) << framed("D" + number(7, 2)) << framed("I" + number(8, 2));
  for (int opened = 0; opened < 2; ++opened) {  // And again, as it was written anew.
    const auto contents = Open()->Load();
    ASSERT_TRUE(contents.ok()) << contents.status();
    ASSERT_EQ(contents->outbound.size(), 2u);
    EXPECT_EQ(contents->outbound[0].id, PacketId{6});
    EXPECT_TRUE(contents->outbound[0].released);
    EXPECT_EQ(contents->outbound[1].sequence, 2u);
    EXPECT_EQ(contents->outbound[1].message.payload, "x");
    EXPECT_THAT(contents->inbound, testing::ElementsAre(PacketId{8}));
  }
}

TEST_F(FileStoreTest, AHalfWrittenEndIsCutOffWhereverItWasCut) {
  {
    auto store = Open();
    ASSERT_TRUE(store->PutOutbound(1, PacketId{1}, Full()).ok());
  }
  const auto whole = std::filesystem::file_size(path_);
  {
    auto store = Open();
    ASSERT_TRUE(store->PutOutbound(2, PacketId{2}, Full()).ok());
  }
  const auto both = std::filesystem::file_size(path_);
  for (auto size = both - 1; size > whole; --size) {
    std::filesystem::resize_file(path_, size);
    auto store = Open();
    EXPECT_EQ(store->Load()->outbound.size(), 1u) << size;
    ASSERT_TRUE(store->PutInbound(PacketId{3}).ok());  // It goes on behind what is whole.
    store.reset();
    EXPECT_EQ(Open()->Load()->inbound.size(), 1u);
    std::filesystem::resize_file(path_, whole);
    ASSERT_TRUE(Open()->PutOutbound(2, PacketId{2}, Full()).ok());
  }
}

TEST_F(FileStoreTest, WhatIsOverIsThrownAway) {
  auto store = Open({.compact_bytes_min = 4096});
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(store->PutOutbound(static_cast<uint64_t>(i), PacketId{1}, Full()).ok());
    ASSERT_TRUE(store->RemoveOutbound(static_cast<uint64_t>(i)).ok());
  }
  ASSERT_TRUE(store->PutOutbound(1000, PacketId{2}, Full()).ok());
  EXPECT_LT(std::filesystem::file_size(path_), 8192u);
  store.reset();
  EXPECT_EQ(Open()->Load()->outbound.size(), 1u);
}

// A change has happened once it stands in the journal, whatever becomes of the compaction.
TEST_F(FileStoreTest, ACompactionThatFailsTakesNoChangeBack) {
  const FileStoreOptions options{.compact_bytes_min = 4096};
  const std::string in_the_way = path_ + ".new";
  std::filesystem::create_directory(in_the_way);
  auto store = Open(options);
  ASSERT_TRUE(store->PutInbound(PacketId{8}).ok());
  for (uint64_t sequence = 1; sequence <= 200; ++sequence) {
    ASSERT_TRUE(store->PutOutbound(sequence, PacketId{1}, Full()).ok()) << sequence;
    ASSERT_TRUE(store->MarkReleased(sequence).ok()) << sequence;
    ASSERT_TRUE(store->RemoveOutbound(sequence).ok()) << sequence;
  }
  ASSERT_TRUE(store->PutOutbound(201, PacketId{2}, Full()).ok());
  ASSERT_TRUE(store->PutInbound(PacketId{9}).ok());
  EXPECT_GT(std::filesystem::file_size(path_), 2 * options.compact_bytes_min);
  store.reset();
  const auto contents = Open(options)->Load();
  ASSERT_EQ(contents->outbound.size(), 1u);
  EXPECT_EQ(contents->outbound[0].sequence, 201u);
  EXPECT_EQ(contents->outbound[0].message, Full());
  EXPECT_THAT(contents->inbound, testing::ElementsAre(PacketId{8}, PacketId{9}));
}

TEST_F(FileStoreTest, ACompactionThatFailedIsTriedAgainWhenTheFileHasGrownByHalf) {
  const FileStoreOptions options{.compact_bytes_min = 4096};
  const std::string in_the_way = path_ + ".new";
  std::filesystem::create_directory(in_the_way);
  auto store = Open(options);
  const auto change = [&] {
    EXPECT_TRUE(store->PutInbound(PacketId{1}).ok());
    EXPECT_TRUE(store->RemoveInbound(PacketId{1}).ok());
  };
  for (int i = 0; i < 1000 && store->compaction().ok(); ++i) change();
  EXPECT_THAT(store->compaction().message(), testing::HasSubstr(in_the_way));
  const auto failed_at = std::filesystem::file_size(path_);
  EXPECT_LT(failed_at, options.compact_bytes_min + 100);

  std::filesystem::remove(in_the_way);
  auto largest = failed_at;
  while (!store->compaction().ok()) {
    change();
    largest = std::max(largest, std::filesystem::file_size(path_));
    ASSERT_LT(largest, 2 * failed_at);
  }
  EXPECT_GT(largest, failed_at + failed_at / 2 - 100);
  EXPECT_LT(largest, failed_at + failed_at / 2 + 100);
  EXPECT_LT(std::filesystem::file_size(path_), 100u);

  for (int i = 0; i < 1000; ++i) change();  // And from here on as ever.
  EXPECT_LT(std::filesystem::file_size(path_), options.compact_bytes_min + 100);
}

// After a power cut the directory says which file it is.
TEST_F(FileStoreTest, NothingIsStoredInAFileWhoseNameMayBeLost) {
  const FileStoreOptions options{.sync = true, .compact_bytes_min = 4096};
  directory_syncs = 0;
  auto store = Open(options);
  EXPECT_EQ(directory_syncs, 1) << "it is made";
  const auto change = [&] {
    const absl::Status put = store->PutInbound(PacketId{1});
    return put.ok() ? store->RemoveInbound(PacketId{1}) : put;
  };
  uint64_t size = 0;
  const auto grow_until_compaction = [&] {
    do {
      size = std::filesystem::file_size(path_);
      EXPECT_TRUE(change().ok());
    } while (std::filesystem::file_size(path_) > size);
  };
  grow_until_compaction();
  EXPECT_EQ(directory_syncs, 2);
  directories_can_be_synced = false;
  grow_until_compaction();  // The change itself is safe in the former file.
  EXPECT_FALSE(store->compaction().ok());
  EXPECT_FALSE(change().ok());
  directories_can_be_synced = true;
  EXPECT_TRUE(change().ok());
  EXPECT_EQ(directory_syncs, 5);
  EXPECT_TRUE(change().ok());
  EXPECT_EQ(directory_syncs, 5);
}

// A disk that takes half a record, and then not even its end.
TEST_F(FileStoreTest, NothingGoesBehindHalfARecord) {
  auto store = Open();
  ASSERT_TRUE(store->PutOutbound(1, PacketId{1}, Full()).ok());
  const auto whole = std::filesystem::file_size(path_);
  const auto bound = [](rlim_t bytes) {
    rlimit limit{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  };
  std::signal(SIGXFSZ, SIG_IGN);
  bound(whole + 12);
  files_can_be_cut = false;
  EXPECT_FALSE(store->PutOutbound(2, PacketId{2}, Full()).ok());
  EXPECT_EQ(std::filesystem::file_size(path_), whole + 12);
  bound(RLIM_INFINITY);
  EXPECT_FALSE(store->PutOutbound(3, PacketId{3}, Full()).ok());
  files_can_be_cut = true;
  EXPECT_TRUE(store->PutOutbound(4, PacketId{4}, Full()).ok());
  store.reset();
  const auto contents = Open()->Load();
  ASSERT_TRUE(contents.ok());
  ASSERT_EQ(contents->outbound.size(), 2u);
  EXPECT_EQ(contents->outbound[1].sequence, 4u);
}

TEST_F(FileStoreTest, WhatTheJournalSaysTwiceEndsNothing) {
  {
    auto store = Open();
    ASSERT_TRUE(store->PutOutbound(1, PacketId{1}, Full()).ok());
    for (int times = 0; times < 2; ++times) {
      ASSERT_TRUE(store->RemoveOutbound(1).ok());
      ASSERT_TRUE(store->MarkSent(1, PacketId{1}).ok());
      ASSERT_TRUE(store->MarkReleased(1).ok());
    }
    ASSERT_TRUE(store->PutOutbound(2, PacketId{2}, Full()).ok());
    ASSERT_TRUE(store->PutInbound(PacketId{8}).ok());
  }
  const auto size = std::filesystem::file_size(path_);
  const auto contents = Open()->Load();
  ASSERT_TRUE(contents.ok()) << contents.status();
  ASSERT_EQ(contents->outbound.size(), 1u);
  EXPECT_EQ(contents->outbound[0].sequence, 2u);
  EXPECT_THAT(contents->inbound, testing::ElementsAre(PacketId{8}));
  EXPECT_EQ(std::filesystem::file_size(path_), size);
}

TEST_F(FileStoreTest, ADamagedRecordEndsTheJournal) {
  {
    auto store = Open();
    ASSERT_TRUE(store->PutOutbound(1, PacketId{1}, Full()).ok());
  }
  const auto whole = std::filesystem::file_size(path_);
  {
    auto store = Open();
    ASSERT_TRUE(store->RemoveOutbound(1).ok());
    ASSERT_TRUE(store->PutInbound(PacketId{8}).ok());
  }
  std::fstream(path_, std::ios::in | std::ios::out | std::ios::binary)
      .seekp(static_cast<std::streamoff>(whole) + 10)
      .put('x');  // In the removal, behind its length, checksum and kind.
  const auto contents = Open()->Load();
  EXPECT_EQ(contents->outbound.size(), 1u);
  EXPECT_TRUE(contents->inbound.empty());
  EXPECT_EQ(std::filesystem::file_size(path_), whole);
}

TEST_F(FileStoreTest, BelongsToOneClientAndIsNoOtherFile) {
  auto store = Open();
  EXPECT_EQ(FileStore::Open(path_).status().code(), absl::StatusCode::kFailedPrecondition);
  const std::string other = directory_.path() + "/other";
  std::ofstream(other) << "something else entirely";
  EXPECT_EQ(FileStore::Open(other).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace mqttd::client
