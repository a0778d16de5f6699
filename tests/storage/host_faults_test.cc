// The host on disks that are full, fail, or lose power: never an acknowledged message lost, never a
// refused one stored.
#include <algorithm>
#include <fstream>
#include <map>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/storage/faulty_disk.h"
#include "tests/storage/host_rig.h"

namespace storage {
namespace {

using testing::HasSubstr;

class HostFaults : public testing::Test {
 protected:
  HostFaults() : disk_(std::make_shared<FaultyDisk>()), env_(rocksdb::NewCompositeEnv(disk_)) {
    options_.data_dir = directory_.path() + "/store";
    options_.partitions = 4;
    options_.min_free_disk_bytes = 0;
  }

  std::vector<std::string> Queued(HostRig& rig, size_t count) {
    const SessionOpened opened = rig.OpenSession("bob", 3600, 10'000);
    EXPECT_TRUE(opened.session_present);
    std::vector<std::string> payloads;
    for (const Delivery& delivery : rig.Receive(opened.epoch, count)) {
      payloads.emplace_back(delivery.message->payload());
    }
    return payloads;
  }

  // Publishes under the fault, lets it pass, publishes again, and looks after a restart.
  void FailAndRecover(FaultyDisk::Fault fault, absl::StatusCode expected) {
    std::vector<std::string> promised;
    {
      HostRig rig(options_, env_.get());
      ASSERT_TRUE(rig.Open().ok());
      rig.Start();
      const SessionOpened opened = rig.OpenSession("bob");
      ASSERT_TRUE(rig.Subscribe("bob", opened.epoch, "a").status.ok());
      ASSERT_TRUE(rig.Publish(MakeMessage("a", "before")).status.ok());
      promised.push_back("before");
      disk_->SetFrom("in doubt", fault);
      const Token in_doubt = rig.SendPublish(MakeMessage("a", "in doubt"));
      EXPECT_FALSE(rig.ears().Await<StorageState>().status.ok());
      EXPECT_EQ(rig.Publish(MakeMessage("a", "refused")).status.code(), expected);
      EXPECT_EQ(rig.ears().Count<Published>(), 0u);
      EXPECT_TRUE(rig.OpenSession("eve", 0).status.ok());
      EXPECT_FALSE(rig.OpenSession("mallory", 60).status.ok());
      disk_->Set(FaultyDisk::Fault::kNone);
      EXPECT_TRUE(rig.ears().Await<StorageState>().status.ok());
      EXPECT_TRUE(rig.ears().Await<Published>(in_doubt).status.ok());
      promised.push_back("in doubt");
      EXPECT_TRUE(rig.Publish(MakeMessage("a", "after")).status.ok());
      promised.push_back("after");
      EXPECT_TRUE(rig.Stop().ok());
    }
    HostRig rig(options_, env_.get());
    ASSERT_TRUE(rig.Open().ok());
    rig.Start();
    EXPECT_EQ(Queued(rig, promised.size()), promised);
    EXPECT_EQ(rig.ears().Count<Deliver>(), 0u);
    EXPECT_TRUE(rig.Stop().ok());
  }

  // Publishes until the state notices, lets the fault pass, publishes again, and looks after a
  // restart: what was acknowledged is there in order, what was refused is not.
  void FailState(FaultyDisk::Fault fault) {
    options_.state_memtable_bytes = 1 << 20;
    options_.state_pending_bytes = 1 << 16;
    std::vector<std::string> promised;
    {
      HostRig rig(options_, env_.get());
      ASSERT_TRUE(rig.Open().ok());
      rig.Start();
      const SessionOpened opened = rig.OpenSession("bob");
      ASSERT_TRUE(rig.Subscribe("bob", opened.epoch, "a").status.ok());
      disk_->Set(fault, "/state/");
      std::map<Token, std::string> sent;
      const auto send = [&] {
        std::string payload = absl::StrCat(sent.size(), std::string(10'000, 'x'));
        sent[rig.SendPublish(MakeMessage("a", payload))] = payload;
      };
      while (rig.ears().Count<StorageState>() == 0) {
        for (int i = 0; i < 10; ++i) send();
        (void)rig.OpenSession(absl::StrCat("eve", sent.size()), 0);  // A round through the host.
      }
      EXPECT_FALSE(rig.ears().Await<StorageState>().status.ok());
      EXPECT_FALSE(rig.Publish(MakeMessage("a", "refused")).status.ok());
      EXPECT_FALSE(rig.OpenSession("mallory", 60).status.ok());
      disk_->Set(FaultyDisk::Fault::kNone);
      EXPECT_TRUE(rig.ears().Await<StorageState>().status.ok());
      send();
      for (const auto& [token, payload] : sent) {
        if (rig.ears().Await<Published>(token).status.ok()) promised.push_back(payload);
      }
      EXPECT_TRUE(rig.OpenSession("mallory", 60).status.ok());
      EXPECT_TRUE(rig.Stop().ok());
    }
    HostRig rig(options_, env_.get());
    ASSERT_TRUE(rig.Open().ok());
    rig.Start();
    EXPECT_EQ(Queued(rig, promised.size()), promised);
    EXPECT_EQ(rig.ears().Count<Deliver>(), 0u);
    EXPECT_TRUE(rig.Stop().ok());
  }

  support::TempDir directory_;
  std::shared_ptr<FaultyDisk> disk_;
  std::unique_ptr<rocksdb::Env> env_;
  StorageOptions options_;
};

TEST_F(HostFaults, AFullDiskRefusesAndHeals) {
  FailAndRecover(FaultyDisk::Fault::kNoSpace, absl::StatusCode::kResourceExhausted);
}

TEST_F(HostFaults, AFailedSyncRefusesAndHeals) {
  FailAndRecover(FaultyDisk::Fault::kSyncFails, absl::StatusCode::kUnavailable);
}

TEST_F(HostFaults, AStateThatHasNoRoomRefusesAndHeals) { FailState(FaultyDisk::Fault::kNoSpace); }

TEST_F(HostFaults, AStateThatCannotBeSyncedRefusesAndHeals) {
  FailState(FaultyDisk::Fault::kSyncFails);
}

TEST_F(HostFaults, APowerCutLosesNothingThatWasAnswered) {
  std::vector<std::string> promised;
  {
    HostRig rig(options_, env_.get());
    ASSERT_TRUE(rig.Open().ok());
    rig.Start();
    const SessionOpened opened = rig.OpenSession("bob");
    ASSERT_TRUE(rig.Subscribe("bob", opened.epoch, "a").status.ok());
    std::vector<Token> tokens;
    for (int i = 0; i < 500; ++i) {
      tokens.push_back(rig.SendPublish(MakeMessage("a", std::to_string(i))));
      if (i == 250) {
        // In the middle of things, some answered and some not.
        (void)rig.ears().Await<Published>(tokens[100]);
        disk_->Set(FaultyDisk::Fault::kPowerOff);
      }
    }
    promised.push_back("100");
    EXPECT_FALSE(rig.ears().Await<StorageState>().status.ok());
    EXPECT_FALSE(rig.Stop().ok());
    for (const Published& published : rig.ears().TakeAll<Published>()) {
      if (!published.status.ok()) continue;
      const auto token = std::find(tokens.begin(), tokens.end(), published.token);
      promised.push_back(std::to_string(token - tokens.begin()));
    }
  }
  disk_->Forget();
  HostRig rig(options_, env_.get());
  ASSERT_TRUE(rig.Open().ok());
  rig.Start();
  const std::vector<std::string> found = Queued(rig, promised.size());
  EXPECT_THAT(found, testing::IsSupersetOf(promised));
  EXPECT_TRUE(rig.Stop().ok());
}

TEST_F(HostFaults, ADamagedLogIsRefusedAndSalvagedOnlyWhenTold) {
  {
    HostRig rig(options_, env_.get());
    ASSERT_TRUE(rig.Open().ok());
    rig.Start();
    const SessionOpened opened = rig.OpenSession("bob");
    ASSERT_TRUE(rig.Subscribe("bob", opened.epoch, "a").status.ok());
    for (int i = 0; i < 50; ++i) {
      ASSERT_TRUE(rig.Publish(MakeMessage("a", std::string(200, 'x'))).status.ok());
    }
    disk_->Set(FaultyDisk::Fault::kPowerOff);  // So that nothing is written out.
  }
  disk_->Forget();
  for (const auto& file : std::filesystem::directory_iterator(options_.data_dir + "/log")) {
    if (file.path().extension() != ".log" || file.file_size() < 2000) continue;
    std::fstream damaged(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    damaged.seekp(1500);
    damaged << "damage";
  }
  HostRig strict(options_, env_.get());
  const absl::Status status = strict.Open();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("Restore data_dir from a backup"));

  options_.log_recovery = LogRecovery::kSalvage;
  HostRig salvaged(options_, env_.get());
  ASSERT_TRUE(salvaged.Open().ok());
  salvaged.Start();
  EXPECT_TRUE(salvaged.OpenSession("bob").session_present);
  EXPECT_TRUE(salvaged.Stop().ok());
}

// After kill -9 the file that was being written is cut short, or gone: RocksDB opens it without a
// word.
TEST_F(HostFaults, ALogWhoseEndIsMissingIsRefusedAndSalvagedOnlyWhenTold) {
  for (const bool deleted : {false, true}) {
    SCOPED_TRACE(deleted);
    options_.log_recovery = LogRecovery::kStrict;
    options_.data_dir = absl::StrCat(directory_.path(), "/", deleted);
    {
      HostRig rig(options_, env_.get());
      ASSERT_TRUE(rig.Open().ok());
      rig.Start();
      const SessionOpened opened = rig.OpenSession("bob");
      ASSERT_TRUE(rig.Subscribe("bob", opened.epoch, "a").status.ok());
      for (int i = 0; i < 50; ++i) {
        ASSERT_TRUE(rig.Publish(MakeMessage("a", std::string(200, 'x'))).status.ok());
      }
      disk_->Set(FaultyDisk::Fault::kPowerOff);  // So that nothing is written out.
    }
    disk_->Forget();
    for (const auto& file : std::filesystem::directory_iterator(options_.data_dir + "/log")) {
      if (file.path().extension() != ".log" || file.file_size() < 2000) continue;
      if (deleted) {
        std::filesystem::remove(file.path());
      } else {
        std::filesystem::resize_file(file.path(), file.file_size() / 2);
      }
    }
    for (int i = 0; i < 2; ++i) {  // Trying makes nothing worse.
      HostRig strict(options_, env_.get());
      const absl::Status status = strict.Open();
      EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr("had been written"));
    }
    options_.log_recovery = LogRecovery::kSalvage;
    {
      HostRig salvaged(options_, env_.get());
      ASSERT_TRUE(salvaged.Open().ok());
      salvaged.Start();
      EXPECT_GT(salvaged.host().metrics().log_entries_lost.value(), 0);
      EXPECT_TRUE(salvaged.Stop().ok());
    }
    options_.log_recovery = LogRecovery::kStrict;  // It is said once.
    HostRig rig(options_, env_.get());
    EXPECT_TRUE(rig.Open().ok());
  }
}

// One that is older than the log, as after a power cut, or damaged itself, says nothing.
TEST_F(HostFaults, ARecordOfTheLogsEndThatIsNoGoodIsNoDamage) {
  {
    HostRig rig(options_, env_.get());
    ASSERT_TRUE(rig.Open().ok());
    rig.Start();
    EXPECT_TRUE(rig.Publish(MakeMessage("a", "1")).status.ok());
    EXPECT_TRUE(rig.Stop().ok());
  }
  const std::string path = options_.data_dir + "/log.end";
  for (const size_t size : {0u, 7u, 40u}) {
    std::ofstream(path) << std::string(size, 'x');
    HostRig rig(options_, env_.get());
    EXPECT_TRUE(rig.Open().ok());
  }
}

TEST_F(HostFaults, ADamagedBlockOfTheStateIsNoticed) {
  options_.partitions = 1;
  {
    HostRig rig(options_, env_.get());
    ASSERT_TRUE(rig.Open().ok());
    rig.Start();
    const SessionOpened opened = rig.OpenSession("bob");
    ASSERT_TRUE(rig.Subscribe("bob", opened.epoch, "a").status.ok());
    for (int i = 0; i < 200; ++i) {
      std::string noise(5000, ' ');
      for (size_t k = 0; k < noise.size(); ++k) noise[k] = static_cast<char>(i * 7919 + k * k);
      ASSERT_TRUE(rig.Publish(MakeMessage("a", noise)).status.ok());
    }
    EXPECT_TRUE(rig.Stop().ok());
  }
  std::filesystem::path largest;
  for (const auto& file : std::filesystem::directory_iterator(options_.data_dir + "/state")) {
    if (file.path().extension() != ".sst") continue;
    if (largest.empty() || file.file_size() > std::filesystem::file_size(largest)) {
      largest = file.path();
    }
  }
  ASSERT_FALSE(largest.empty());
  {
    std::fstream damaged(largest, std::ios::in | std::ios::out | std::ios::binary);
    damaged.seekp(static_cast<std::streamoff>(std::filesystem::file_size(largest) / 2));
    damaged << "damage";
  }
  HostRig rig(options_, env_.get());
  ASSERT_TRUE(rig.Open().ok());
  rig.Start();
  const SessionOpened opened = rig.OpenSession("bob", 3600, 10'000);
  EXPECT_TRUE(opened.session_present);
  EXPECT_FALSE(rig.Receive(opened.epoch, 1).empty());
  while (rig.host().metrics().damage.value() == 0) {
    ASSERT_TRUE(rig.Publish(MakeMessage("b", "1")).status.ok());
  }
  EXPECT_EQ(rig.host().metrics().damaged.value(), 1);
  // The others are not concerned.
  const SessionOpened eve = rig.OpenSession("eve");
  ASSERT_TRUE(rig.Subscribe("eve", eve.epoch, "c").status.ok());
  EXPECT_TRUE(rig.Publish(MakeMessage("c", "1")).status.ok());
  EXPECT_EQ(rig.Receive(eve.epoch, 1).size(), 1u);
  EXPECT_TRUE(rig.Stop().ok());
}

TEST_F(HostFaults, AMissingLogIsDamage) {
  {
    HostRig rig(options_, env_.get());
    ASSERT_TRUE(rig.Open().ok());
  }
  std::filesystem::remove_all(options_.data_dir + "/log");
  HostRig rig(options_, env_.get());
  EXPECT_EQ(rig.Open().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace storage
