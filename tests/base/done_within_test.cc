#include "base/done_within.h"

#include <gtest/gtest.h>

#include <future>
#include <memory>

namespace base {
namespace {

TEST(DoneWithin, WaitsForWhatIsDoneAndLetsGoOfIt) {
  const auto used = std::make_shared<int>(0);
  EXPECT_TRUE(DoneWithin(absl::Hours(1), [used] { ++*used; }));
  EXPECT_EQ(*used, 1);
  EXPECT_EQ(used.use_count(), 1);
}

TEST(DoneWithin, LeavesWhatIsNotDoneInTime) {
  std::promise<void> go;
  const auto gone = std::make_shared<std::promise<void>>();
  std::future<void> over = gone->get_future();
  EXPECT_FALSE(DoneWithin(absl::Milliseconds(1), [waits = go.get_future().share(), gone] {
    waits.wait();
    gone->set_value();
  }));
  go.set_value();
  over.wait();
}

}  // namespace
}  // namespace base
