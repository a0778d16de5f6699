#include "admin/api/access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace admin {
namespace {

using testing::HasSubstr;

constexpr char kFile[] =
    "# who\n"
    "token  watcher viewer   0123456789abcdef\n"
    "\n"
    // Of "fedcba9876543210".
    "token  root    admin    "
    "sha256:3465f6e6975baa864ca957f0914ecda9bf7eb601ac31ac20a5dc3d329279a843\n";

Evidence With(const std::string& token) {
  Evidence evidence;
  evidence.address = "127.0.0.1:1";
  evidence.loopback = true;
  evidence.token = token;
  return evidence;
}

TEST(Access, ATokenSaysWhoAndWhat) {
  const auto table = AccessTable::Parse(kFile, "access");
  ASSERT_TRUE(table.ok()) << table.status();
  const auto caller = (*table)->Identify(With("0123456789abcdef"), absl::UnixEpoch());
  ASSERT_TRUE(caller.ok()) << caller.status();
  EXPECT_EQ(caller->name, "watcher");
  EXPECT_EQ(caller->role, pb::ROLE_VIEWER);
  EXPECT_EQ(caller->address, "127.0.0.1:1");
  EXPECT_EQ((*table)->Identify(With("fedcba9876543210"), absl::UnixEpoch())->name, "root");
  EXPECT_THAT((*table)->Identify(With("0123456789abcdeg"), absl::UnixEpoch()).status().message(),
              HasSubstr("nobody knows this token"));
}

TEST(Access, WithAFileNobodyIsLetInForComingFromTheMachineItself) {
  const auto table = AccessTable::Parse(kFile, "access");
  Evidence evidence = With("");
  evidence.token.reset();
  EXPECT_EQ((*table)->Identify(evidence, absl::UnixEpoch()).status().code(),
            absl::StatusCode::kUnauthenticated);
}

TEST(Access, WithoutAFileOnlyTheMachineItselfMayAndEverything) {
  const AccessTable table;
  Evidence evidence = With("");
  evidence.token.reset();
  EXPECT_EQ(table.Identify(evidence, absl::UnixEpoch())->role, pb::ROLE_ADMIN);
  evidence.loopback = false;
  EXPECT_FALSE(table.Identify(evidence, absl::UnixEpoch()).ok());
}

TEST(Access, EachMistakeIsToldWithItsLine) {
  const auto table = AccessTable::Parse(
      "token me god 0123456789abcdef\n"
      "token me admin short\n"
      "token me admin sha256:12\n"
      "user me\n"
      "certificate ops viewer\n"
      "certificate ops admin\n",
      "f");
  const std::string words(table.status().message());
  EXPECT_THAT(words, HasSubstr("f:1: a role is viewer, operator or admin, not \"god\""));
  EXPECT_THAT(words, HasSubstr("f:2: a token has at least 16 characters"));
  EXPECT_THAT(words, HasSubstr("f:3: sha256: is followed by 64 hexadecimal digits"));
  EXPECT_THAT(words, HasSubstr("f:4: expected \"token NAME ROLE TOKEN\""));
  EXPECT_THAT(words, HasSubstr("f:6: a common name twice"));
}

}  // namespace
}  // namespace admin
