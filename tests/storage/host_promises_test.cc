// What the host says must be true, also when things come in an order that nobody likes.
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "storage/core/session.h"
#include "storage/host_core.h"
#include "tests/storage/host_core_fixture.h"

namespace storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class HostPromises : public HostCoreTest {};

// ---- Answers -----------------------------------------------------------------------------------

TEST_F(HostPromises, ARepeatOfWhatCouldNotBeWrittenIsNotCalledADuplicate) {
  const SessionOpened alice = Open("alice");
  storage::Publish publish;
  publish.message = Text("a", "1", mqtt::QoS::kExactlyOnce);
  publish.partitions = kAll;
  publish.origin = Qos2Origin{"alice", alice.epoch, 7};
  publish.token = 100;
  sim_.Send(publish);
  sim_.BeginWrite();
  publish.token = 101;
  sim_.Send(publish);
  sim_.EndWrite(absl::UnavailableError("Input/output error"));
  sim_.Run();
  const std::vector<Published> published = sim_.Take<Published>();
  ASSERT_THAT(published, SizeIs(2));
  EXPECT_FALSE(published[0].status.ok());
  EXPECT_FALSE(published[1].status.ok());
  EXPECT_FALSE(published[1].duplicate);
}

TEST_F(HostPromises, ARefusalDoesNotOvertakeWhatWaitsForTheState) {
  const SessionOpened bob = Open("bob");
  sim_.state().FailWith(absl::ResourceExhaustedError("No space left on device"));
  const Token first = SendPublish(Text("a", "1"));
  sim_.BeginWrite();
  sim_.EndWrite();
  sim_.Run();
  const Token second = SendPublish(Text("a", "2"));
  storage::Unsubscribe unsubscribe;
  unsubscribe.token = ++token_;
  unsubscribe.client_id = "bob";
  unsubscribe.epoch = bob.epoch;
  unsubscribe.filters.push_back("a");
  sim_.Send(std::move(unsubscribe));
  sim_.Run();
  EXPECT_THAT(sim_.Take<Published>(), IsEmpty());
  EXPECT_THAT(sim_.Take<UnsubscribeDone>(), IsEmpty());
  sim_.state().FailWith(absl::OkStatus());
  sim_.clock().Advance(absl::Seconds(2));
  sim_.Settle();
  const std::vector<Published> published = sim_.Take<Published>();
  ASSERT_THAT(published, SizeIs(2));
  EXPECT_EQ(published[0].token, first);
  EXPECT_EQ(published[1].token, second);
  EXPECT_TRUE(published[0].status.ok());
  EXPECT_FALSE(published[1].status.ok());
  EXPECT_THAT(sim_.Take<UnsubscribeDone>(), SizeIs(1));
}

// ---- Time --------------------------------------------------------------------------------------

TEST_F(HostPromises, AWallClockThatIsSetEndsNoSessionOfAClientThatComesBack) {
  OpenSession open = MakeOpen("bob", 60);
  open.will = Text("wills/bob", "gone");
  open.will_delay_s = 50;
  Open(open);
  Close("bob");
  sim_.clock().SetWall(sim_.clock().Now() + absl::Hours(24 * 365));
  EXPECT_TRUE(Open("bob", 60).session_present);
  sim_.Settle();
  EXPECT_THAT(TakeWills(), IsEmpty());
}

// ---- Names -------------------------------------------------------------------------------------

TEST_F(HostPromises, AUserNameThatIsNotTextDoesNotSpoilTheStore) {
  OpenSession open = MakeOpen("bob");
  open.user_name = "CN=\xFF\xFE";
  Open(open);
  base::Rng rng(1);
  sim_.Crash(rng);  // Checks that everything is read.
  EXPECT_TRUE(Open("bob").session_present);
}

}  // namespace
}  // namespace storage
