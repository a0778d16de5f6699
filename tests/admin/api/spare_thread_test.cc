#include "admin/api/spare_thread.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <thread>
#include <vector>

namespace admin {
namespace {

TEST(SpareThread, DoesOneAfterTheOtherElsewhere) {
  SpareThread spare;
  std::vector<int> done;
  std::thread::id where;
  std::promise<void> last;
  for (int i = 0; i < 3; ++i) spare.Run([&done, i] { done.push_back(i); });
  spare.Run([&] {
    where = std::this_thread::get_id();
    last.set_value();
  });
  last.get_future().wait();
  EXPECT_THAT(done, testing::ElementsAre(0, 1, 2));
  EXPECT_NE(where, std::this_thread::get_id());
}

TEST(SpareThread, StopsWhenAllIsDone) {
  SpareThread spare;
  std::promise<void> begun;
  std::promise<void> go_on;
  int done = 0;
  spare.Run([&] {
    begun.set_value();
    go_on.get_future().wait();
  });
  begun.get_future().wait();
  for (int i = 0; i < 10; ++i) spare.Run([&done] { ++done; });
  std::thread stopping([&spare] { spare.Stop(); });
  go_on.set_value();
  stopping.join();
  EXPECT_EQ(done, 10);
}

TEST(SpareThread, LeavesToTheCallerWhatComesLater) {
  SpareThread spare;
  spare.Stop();
  std::thread::id where;
  spare.Run([&where] { where = std::this_thread::get_id(); });
  EXPECT_EQ(where, std::this_thread::get_id());
}

}  // namespace
}  // namespace admin
