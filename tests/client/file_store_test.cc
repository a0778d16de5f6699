#include "client/file_store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/temp_dir.h"

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
    ASSERT_TRUE(store->PutOutbound(PacketId{5}, 2, Full()).ok());
    ASSERT_TRUE(store->PutOutbound(PacketId{6}, 1, Full()).ok());
    ASSERT_TRUE(store->PutOutbound(PacketId{7}, 3, Full()).ok());
    ASSERT_TRUE(store->MarkReleased(PacketId{6}).ok());
    ASSERT_TRUE(store->RemoveOutbound(PacketId{7}).ok());
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

TEST_F(FileStoreTest, AHalfWrittenEndIsCutOffWhereverItWasCut) {
  {
    auto store = Open();
    ASSERT_TRUE(store->PutOutbound(PacketId{1}, 1, Full()).ok());
  }
  const auto whole = std::filesystem::file_size(path_);
  {
    auto store = Open();
    ASSERT_TRUE(store->PutOutbound(PacketId{2}, 2, Full()).ok());
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
    ASSERT_TRUE(Open()->PutOutbound(PacketId{2}, 2, Full()).ok());
  }
}

TEST_F(FileStoreTest, WhatIsOverIsThrownAway) {
  auto store = Open({.compact_bytes_min = 4096});
  for (int i = 0; i < 1000; ++i) {
    ASSERT_TRUE(store->PutOutbound(PacketId{1}, static_cast<uint64_t>(i), Full()).ok());
    ASSERT_TRUE(store->RemoveOutbound(PacketId{1}).ok());
  }
  ASSERT_TRUE(store->PutOutbound(PacketId{2}, 1000, Full()).ok());
  EXPECT_LT(std::filesystem::file_size(path_), 8192u);
  store.reset();
  EXPECT_EQ(Open()->Load()->outbound.size(), 1u);
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
