// Many wills that are due at once: as many of them as fit into a bounded part of the memory.
#include <algorithm>
#include <string>
#include <vector>

#include "base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/storage/host_fixture.h"

namespace storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr size_t kWillBytes = 40'000;
constexpr uint64_t kWriteBytesMax = 5 << 20;

class HostWills : public HostTest {
 protected:
  static std::string Name(size_t number) { return "c" + std::to_string(number); }

  // Its payload begins with its number.
  void Connect(size_t number, uint32_t delay_s, bool retain) {
    OpenSession open = MakeOpen(Name(number), /*expiry_s=*/delay_s);
    std::string payload = std::to_string(number) + " ";
    payload.resize(kWillBytes, 'x');
    open.will = Text("wills/" + Name(number), payload, mqtt::QoS::kAtLeastOnce, retain);
    open.will_delay_s = delay_s;
    Open(std::move(open));
  }
  std::vector<size_t> TakeNumbers() {
    std::vector<size_t> numbers;
    for (const std::string& payload : TakeWills()) numbers.push_back(std::stoul(payload));
    return numbers;
  }
  static std::vector<size_t> UpTo(size_t count) {
    std::vector<size_t> numbers(count);
    for (size_t i = 0; i < count; ++i) numbers[i] = i;
    return numbers;
  }
};

class HostWillsOfACrowd : public HostWills, public testing::WithParamInterface<size_t> {};

// Of retained wills the log's writes show how much is proposed at once.
TEST_P(HostWillsOfACrowd, AreCommittedABoundedNumberOfBytesAtATimeAfterACrash) {
  const size_t count = GetParam();
  for (size_t i = 0; i < count; ++i) Connect(i, /*delay_s=*/0, /*retain=*/true);
  base::Rng rng(1);
  sim_.Crash(rng);
  sim_.events.clear();
  sim_.greatest_write_bytes = 0;
  sim_.Settle();
  RecordProperty("greatest_write_bytes", std::to_string(sim_.greatest_write_bytes));
  EXPECT_LE(sim_.greatest_write_bytes, kWriteBytesMax) << "of " << count << " wills";
  std::vector<size_t> fired = TakeNumbers();
  std::sort(fired.begin(), fired.end());
  EXPECT_EQ(fired, UpTo(count)) << "each of them, and none twice";
  sim_.Crash(rng);
  sim_.Settle();
  EXPECT_THAT(TakeNumbers(), IsEmpty());
}
INSTANTIATE_TEST_SUITE_P(Counts, HostWillsOfACrowd, testing::Values(200, 2000));

// In whatever partition they are: those of one commit have no order between partitions, but none
// comes before what fits into the commits before its own.
TEST_F(HostWills, AreFiredInTheOrderInWhichTheyAreDue) {
  constexpr size_t kCount = 300;
  for (size_t i = kCount; i-- > 0;) {
    Connect(i, /*delay_s=*/static_cast<uint32_t>(1000 + 10 * i), /*retain=*/false);
    Close(Name(i));
  }
  EXPECT_THAT(TakeNumbers(), IsEmpty());
  sim_.clock().Advance(absl::Hours(5));
  sim_.Settle();
  const std::vector<size_t> fired = TakeNumbers();
  ASSERT_EQ(fired.size(), kCount);
  constexpr size_t kOfOneCommit = kWriteBytesMax / kWillBytes;
  for (size_t place = 0; place < kCount; ++place) {
    EXPECT_LT(place, fired[place] + kOfOneCommit) << "number " << fired[place];
    EXPECT_LT(fired[place], place + kOfOneCommit) << "number " << fired[place];
  }
}

// They are published when their clients come back.
TEST_F(HostWills, OfWhichTheClientsComeBackAreAllPublishedThoughTheyAreManyBytes) {
  constexpr size_t kCount = 300;
  for (size_t i = 0; i < kCount; ++i) Connect(i, /*delay_s=*/100, /*retain=*/true);
  base::Rng rng(1);
  sim_.Crash(rng);
  sim_.events.clear();
  sim_.clock().Advance(absl::Hours(1));
  for (size_t i = 0; i < kCount; ++i) sim_.Send(MakeOpen(Name(i), 0));
  sim_.Settle();
  std::vector<size_t> fired = TakeNumbers();
  std::sort(fired.begin(), fired.end());
  EXPECT_EQ(fired, UpTo(kCount));
}

// A client comes back just before something of its session is due. While its CONNECT is on its way
// to the log that becomes due, and then the log fails.
class HostWillsOfRefused : public HostWills {
 protected:
  void ComeBackAndBeRefused() {
    sim_.clock().Advance(absl::Milliseconds(4500));
    SendPublish(Text("b", "1"));
    sim_.BeginWrite();
    sim_.Send(MakeOpen("alice"));  // Behind it.
    sim_.clock().Advance(absl::Seconds(2));
    sim_.Run();
    ASSERT_THAT(sim_.Take<SessionOpened>(), IsEmpty());
    sim_.EndWrite(absl::UnavailableError("Input/output error"));
    sim_.Run();
    const std::vector<SessionOpened> opened = sim_.Take<SessionOpened>();
    ASSERT_EQ(opened.size(), 1u);
    ASSERT_FALSE(opened[0].status.ok());
    sim_.Repair();
    sim_.Settle();
  }
};

TEST_F(HostWillsOfRefused, TheWillThatWasDueIsPublished) {
  OpenSession open = MakeOpen("alice");
  open.will = Text("wills/alice", "gone");
  open.will_delay_s = 5;
  Open(std::move(open));
  Close("alice");
  ASSERT_NO_FATAL_FAILURE(ComeBackAndBeRefused());
  EXPECT_THAT(TakeWills(), ElementsAre("gone"));
}

TEST_F(HostWillsOfRefused, TheSessionThatWasToEndEnds) {
  Open("alice", /*expiry_s=*/5);
  Close("alice");
  ASSERT_NO_FATAL_FAILURE(ComeBackAndBeRefused());
  const PartitionId id = PartitionOfClient("alice", sim_.core().partitions());
  EXPECT_EQ(sim_.core().partition(id).Find("alice"), nullptr);
}

// A will that is larger than what may be proposed at once is published all the same.
TEST_F(HostWills, LargerThanTheBoundGoAlone) {
  for (const std::string name : {"a", "b"}) {
    OpenSession open = MakeOpen(name, 0);
    open.will = Text("wills/" + name, name + std::string(6 << 20, 'x'));
    Open(std::move(open));
  }
  base::Rng rng(1);
  sim_.Crash(rng);
  sim_.Settle();
  std::vector<std::string> fired;
  for (const std::string& payload : TakeWills()) fired.push_back(payload.substr(0, 1));
  std::sort(fired.begin(), fired.end());
  EXPECT_THAT(fired, ElementsAre("a", "b"));
}

}  // namespace
}  // namespace storage
