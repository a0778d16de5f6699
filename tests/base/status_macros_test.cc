#include "base/status_macros.h"

#include <gtest/gtest.h>

#include <memory>

namespace base {
namespace {

absl::StatusOr<std::unique_ptr<int>> Make(bool good) {
  if (!good) return absl::NotFoundError("gone");
  return std::make_unique<int>(42);
}

absl::StatusOr<int> Use(bool good, bool then) {
  ASSIGN_OR_RETURN(const std::unique_ptr<int> value, Make(good));
  RETURN_IF_ERROR(then ? absl::OkStatus() : absl::DataLossError("torn"));
  int again = 0;
  ASSIGN_OR_RETURN(again, absl::StatusOr<int>(1));
  return *value + again;
}

TEST(StatusMacros, HandOnTheFirstErrorOrTheValue) {
  EXPECT_EQ(*Use(true, true), 43);
  EXPECT_EQ(Use(false, true).status(), absl::NotFoundError("gone"));
  EXPECT_EQ(Use(true, false).status(), absl::DataLossError("torn"));
}

}  // namespace
}  // namespace base
