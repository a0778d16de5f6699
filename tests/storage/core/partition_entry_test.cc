// An entry is applied whole or not at all: what this release cannot read stops the partition.
#include <string>
#include <string_view>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mqttd/storage/v1/command.pb.h"
#include "storage/core/command_codec.h"
#include "storage/core/keys.h"
#include "storage/core/log_entry.h"
#include "storage/core/memory_store.h"
#include "storage/core/partition.h"
#include "storage/core/replica.h"
#include "tests/storage/core/harness.h"

namespace storage {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr PartitionId kId = 3;

pb::Command OpenOf(const std::string& client_id) {
  pb::Command command;
  command.set_time_unix_ms(1'000'000);
  command.set_order(1);
  command.mutable_open_session()->set_client_id(client_id);
  command.mutable_open_session()->set_expiry_s(3600);
  return command;
}

// Opens a session, then does what the bytes say.
std::string EntryWith(std::string_view command) {
  std::string entry;
  AppendCommand(OpenOf("bob"), entry);
  AppendCommandBytes(command, entry);
  return entry;
}

std::string OfKind(uint32_t field) {
  pb::Command command;
  command.set_order(2);
  std::string bytes = command.SerializeAsString();
  pb::OpenSession body;
  body.set_client_id("bob");
  bytes.push_back(static_cast<char>(((field << 3 | 2) & 0x7F) | 0x80));
  bytes.push_back(static_cast<char>(field >> 4));
  bytes.push_back(static_cast<char>(body.ByteSizeLong()));
  return bytes + body.SerializeAsString();
}

// A store in memory as a replica uses it.
class Store final : public StateStore {
 public:
  const StateReader& reader() const override { return store; }
  StateBatch& batch() override { return batch_; }
  absl::Status Write() override {
    store.Write(batch_);
    batch_.Clear();
    return absl::OkStatus();
  }
  void Discard() override { batch_.Clear(); }
  absl::StatusOr<Repaired> Repair() override { return Repaired::kWhole; }

  MemoryStore store;

 private:
  MemoryBatch batch_;
};

class EntryTest : public testing::Test {
 protected:
  EntryTest() { EXPECT_TRUE(replica_.Load().ok()); }

  absl::Status Apply(std::string_view entry) {
    return replica_.Apply({.partition = kId, .index = ++index_, .term = 1, .data = entry}, {},
                          effects_);
  }
  // Nothing of the entry is in the store, and nothing behind it ever comes there.
  void ExpectStopped(std::string_view entry, absl::StatusCode code) {
    std::string first;
    AppendCommand(OpenOf("alice"), first);
    ASSERT_TRUE(Apply(first).ok());
    ASSERT_TRUE(replica_.Flush().ok());
    const size_t records = Records();
    const absl::Status status = Apply(entry);
    EXPECT_EQ(status.code(), code) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("entry 2 in the log of partition 3"), HasSubstr("newer release")));
    EXPECT_TRUE(replica_.stopped());
    EXPECT_EQ(replica_.status(), status);
    EXPECT_TRUE(effects_.outcomes.empty());
    EXPECT_EQ(replica_.partition().applied_index(), 1u);
    EXPECT_EQ(Records(), records);
    replica_.Lose(absl::UnavailableError("the disk"));
    EXPECT_EQ(replica_.status(), status);
    EXPECT_TRUE(
        replica_.Replay({.partition = kId, .index = ++index_, .term = 1, .data = first}).ok());
    EXPECT_EQ(replica_.partition().applied_index(), 1u);
  }

  size_t Records() const {
    const KeyRange range = RangeOf(kId);
    size_t records = 0;
    const auto it = store_.store.NewIterator(range.begin, range.end);
    for (it->Seek(range.begin); it->Valid(); it->Next()) ++records;
    return records;
  }

  Store store_;
  Replica replica_{kId, store_, 1 << 20};
  Effects effects_;
  uint64_t index_ = 0;
};

TEST_F(EntryTest, ACommandOfAnUnknownKindStopsThePartition) {
  ExpectStopped(EntryWith(OfKind(100)), absl::StatusCode::kFailedPrecondition);
}

TEST_F(EntryTest, ACommandOfNoKindStopsThePartition) {
  ExpectStopped(EntryWith(""), absl::StatusCode::kFailedPrecondition);
}

TEST_F(EntryTest, ACommandThatIsCutShortStopsThePartition) {
  const std::string command = OpenOf("carol").SerializeAsString();
  ExpectStopped(EntryWith(command.substr(0, command.size() - 1)), absl::StatusCode::kDataLoss);
}

TEST_F(EntryTest, AnEntryThatIsCutShortStopsThePartition) {
  const std::string entry = EntryWith(OpenOf("carol").SerializeAsString());
  ExpectStopped(entry.substr(0, entry.size() - 1), absl::StatusCode::kDataLoss);
}

TEST_F(EntryTest, AMessageThatCannotBeReadStopsThePartition) {
  pb::Command command;
  command.mutable_enqueue()->set_message("no message");
  ExpectStopped(EntryWith(command.SerializeAsString()), absl::StatusCode::kDataLoss);
}

TEST_F(EntryTest, ARetainedMessageThatCannotBeReadStopsThePartition) {
  pb::Command command;
  command.mutable_set_retained()->set_message("no message");
  ExpectStopped(EntryWith(command.SerializeAsString()), absl::StatusCode::kDataLoss);
}

TEST_F(EntryTest, AWillThatCannotBeReadStopsThePartition) {
  pb::Command command = OpenOf("carol");
  command.mutable_open_session()->set_will("no message");
  ExpectStopped(EntryWith(command.SerializeAsString()), absl::StatusCode::kDataLoss);
}

TEST_F(EntryTest, APacketIdentifierThatIsNoneStopsThePartition) {
  pb::Command command;
  command.mutable_remember_inbound()->set_client_id("alice");
  ExpectStopped(EntryWith(command.SerializeAsString()), absl::StatusCode::kDataLoss);
}

// What is right, and comes too late, is refused: on every replica alike.
TEST_F(EntryTest, ACommandThatComesTooLateIsRefusedAndStopsNothing) {
  pb::Command command;
  command.mutable_subscribe()->set_client_id("nobody");
  ASSERT_TRUE(Apply(EntryWith(command.SerializeAsString())).ok());
  EXPECT_EQ(effects_.outcomes.at(1).code, OutcomeCode::kNoSession);
  EXPECT_FALSE(replica_.stopped());
}

}  // namespace
}  // namespace storage
