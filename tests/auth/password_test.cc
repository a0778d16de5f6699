#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "auth/password_file.h"
#include "auth/password_hash.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace auth {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Both made by mosquitto_passwd 2.0 for "correct horse".
constexpr char kSha512[] =
    "$6$q3lV9xv2XRoSTcUO$"
    "qCqnJZuXjbL21QLrq5i8WvLGikAyJBLpGgijLdQcH8A0V60WxnZQ7PaXZvJ2O+XijgwZVUodfZ0d3W96aqfTxw==";
constexpr char kPbkdf2[] =
    "$7$101$JZvOV9QHO/0Cs4sM$"
    "fJGPQnkLGRFSa/Ef+KBKZuI4AQ9cwpXgO60NFQztJ4oQBbLOA3RPGh5IXSb5zqAe0BH+CiWM+6A/g5y3EikNbQ==";
// From the reference implementation's own tests: "password" with "somesalt".
constexpr char kArgon2id[] =
    "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
constexpr char kArgon2idTwoLanes[] =
    "$argon2id$v=19$m=256,t=2,p=2$c29tZXNhbHQ$bQk8UB/VmZZF4Oo79iDXuL5/0ttZwg2f/5U52iv1cDc";
constexpr HashCost kCheap = {
    .pbkdf2_iterations = 3, .argon2_memory_kib = 64, .argon2_passes = 1, .argon2_lanes = 2};

bool Verifies(std::string_view encoded, std::string_view password) {
  const auto hash = PasswordHash::Parse(encoded);
  EXPECT_TRUE(hash.ok()) << hash.status();
  return hash.ok() && hash->Verify(password);
}

std::string ErrorOf(std::string_view encoded) {
  const auto hash = PasswordHash::Parse(encoded);
  EXPECT_FALSE(hash.ok()) << encoded;
  return std::string(hash.status().message());
}

TEST(PasswordHash, VerifiesWhatOthersMade) {
  for (const char* encoded : {kSha512, kPbkdf2}) {
    EXPECT_TRUE(Verifies(encoded, "correct horse")) << encoded;
    EXPECT_FALSE(Verifies(encoded, "correct horsf")) << encoded;
    EXPECT_FALSE(Verifies(encoded, "correct hors")) << encoded;
    EXPECT_FALSE(Verifies(encoded, "")) << encoded;
  }
  for (const char* encoded : {kArgon2id, kArgon2idTwoLanes}) {
    EXPECT_TRUE(Verifies(encoded, "password")) << encoded;
    EXPECT_FALSE(Verifies(encoded, "passwore")) << encoded;
    EXPECT_FALSE(Verifies(encoded, "")) << encoded;
  }
}

TEST(PasswordHash, VerifiesWhatItMadeAndSaltsEachAnew) {
  for (const auto algorithm :
       {HashAlgorithm::kSha512, HashAlgorithm::kPbkdf2HmacSha512, HashAlgorithm::kArgon2id}) {
    for (const std::string_view password :
         {std::string_view("x"), std::string_view("\0bin\xff", 5), std::string_view()}) {
      const auto encoded = HashPassword(algorithm, password, kCheap);
      const auto again = HashPassword(algorithm, password, kCheap);
      ASSERT_TRUE(encoded.ok() && again.ok());
      EXPECT_NE(*encoded, *again);
      EXPECT_TRUE(Verifies(*encoded, password)) << *encoded;
      EXPECT_FALSE(Verifies(*encoded, "y")) << *encoded;
      EXPECT_EQ(PasswordHash::Parse(*encoded)->algorithm(), algorithm);
    }
  }
}

TEST(PasswordHash, DamagedHashesAreErrorsThatSayWhatToDo) {
  EXPECT_THAT(ErrorOf("secret"), HasSubstr("not hashed; run: mosquitto_passwd -U FILE"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("not hashed"));
  EXPECT_THAT(ErrorOf("$1$abc$def"), HasSubstr("unknown kind"));
  EXPECT_THAT(ErrorOf("$6$AAAA"), HasSubstr("$6$SALT$HASH"));
  EXPECT_THAT(ErrorOf("$6$AAAA$AAAA"), HasSubstr("damaged"));  // Too short to mean anything.
  EXPECT_THAT(ErrorOf("$6$AAAA$"), HasSubstr("damaged"));
  EXPECT_THAT(ErrorOf(std::string_view(kSha512).substr(0, sizeof(kSha512) - 10)),
              HasSubstr("damaged"));
  EXPECT_THAT(ErrorOf("$7$101$AAAA"), HasSubstr("$7$ITERATIONS$SALT$HASH"));
  for (const char* iterations : {"0", "-1", "", "1e3", "+5", " 5", "10000001", "99999999999"}) {
    EXPECT_THAT(ErrorOf(absl::StrCat("$7$", iterations, "$AAAA$AAAA")), HasSubstr("1 to 10000000"))
        << iterations;
  }
  EXPECT_THAT(ErrorOf("$argon2id$v=18$m=64,t=1,p=1$c29tZXNhbHQ$AAAA"), HasSubstr("v=19"));
  EXPECT_THAT(ErrorOf("$argon2id$v=19$t=1,m=64,p=1$c29tZXNhbHQ$AAAA"), HasSubstr("m=KIB"));
  EXPECT_THAT(ErrorOf("$argon2id$v=19$m=4000000,t=1,p=1$c29tZXNhbHQ$AAAA"), HasSubstr("may take"));
  EXPECT_THAT(ErrorOf("$argon2id$v=19$m=15,t=1,p=2$c29tZXNhbHQ$AAAA"), HasSubstr("may take"));
  EXPECT_THAT(ErrorOf("$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$AAAA"), HasSubstr("damaged"));
}

TEST(PasswordHash, ErrorsDoNotQuoteTheHash) {
  EXPECT_THAT(ErrorOf("hunter2"), ::testing::Not(HasSubstr("hunter2")));
  EXPECT_THAT(ErrorOf("$6$c2VjcmV0$c2VjcmV0"), ::testing::Not(HasSubstr("c2VjcmV0")));
}

std::string TableError(std::string_view text) {
  const auto table = PasswordTable::Parse(text, "users");
  EXPECT_FALSE(table.ok()) << text;
  return std::string(table.status().message());
}

TEST(PasswordTable, KnowsItsUsers) {
  const auto table = PasswordTable::Parse(
      absl::StrCat("# users\n\nalice:", kPbkdf2, "\r\nbob:", kArgon2id, "\ncarol x:", kSha512),
      "users");
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_EQ((*table)->size(), 3u);
  EXPECT_TRUE((*table)->Verify("alice", "correct horse"));
  EXPECT_FALSE((*table)->Verify("alice", "password"));
  EXPECT_TRUE((*table)->Verify("bob", "password"));
  EXPECT_TRUE((*table)->Verify("carol x", "correct horse"));
  EXPECT_FALSE((*table)->Verify("Alice", "correct horse"));
  EXPECT_FALSE((*table)->Verify("", ""));
  EXPECT_TRUE((*table)->Contains("bob"));
  EXPECT_FALSE((*table)->Contains("dave"));
}

TEST(PasswordTable, AnUnknownUserNeverPassesWhateverStandsInForIt) {
  const auto one = PasswordTable::Parse(absl::StrCat("alice:", kArgon2id), "users");
  ASSERT_TRUE(one.ok());
  EXPECT_FALSE((*one)->Verify("mallory", "password"));  // Right for alice, who stands in.
  const auto none = PasswordTable::Parse("# nobody\n", "users");
  ASSERT_TRUE(none.ok());
  EXPECT_FALSE((*none)->Verify("mallory", ""));
}

TEST(PasswordTable, ErrorsNameFileAndLine) {
  EXPECT_EQ(TableError("# x\nalice\n"), "users:2: no ':'; a line is USER:HASH");
  EXPECT_THAT(TableError(":$6$"), HasSubstr("users:1: no user name"));
  EXPECT_THAT(TableError("alice:secret\n"), HasSubstr("users:1: the password is not hashed"));
  EXPECT_THAT(TableError(absl::StrCat("a:", kSha512, "\n\na:", kPbkdf2)),
              HasSubstr("users:3: user 'a' stands here again"));
}

TEST(PasswordFile, AFileThatAllMayReadIsWarnedAbout) {
  const support::TempDir dir;
  const std::string path = dir.path() + "/users";
  std::ofstream(path) << "alice:" << kPbkdf2 << "\n";
  ASSERT_EQ(chmod(path.c_str(), 0644), 0);
  auto loaded = LoadPasswordFile(path);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_THAT(loaded->warnings, ElementsAre(HasSubstr("chmod o-r")));
  ASSERT_EQ(chmod(path.c_str(), 0640), 0);
  loaded = LoadPasswordFile(path);
  ASSERT_TRUE(loaded.ok());
  EXPECT_THAT(loaded->warnings, IsEmpty());
}

TEST(PasswordFile, AFileThatCannotBeReadIsNamed) {
  const support::TempDir dir;
  const auto missing = LoadPasswordFile(dir.path() + "/no");
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(missing.status().message()), HasSubstr(dir.path() + "/no"));
  EXPECT_EQ(LoadPasswordFile(dir.path()).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(PasswordFile, ReadsWhatMosquittoPasswdWrites) {
  if (std::system("command -v mosquitto_passwd >/dev/null 2>&1") != 0) {
    GTEST_SKIP() << "mosquitto_passwd is not installed";
  }
  const support::TempDir dir;
  const std::string path = dir.path() + "/users";
  const auto run = [&](const std::string& arguments) {
    return std::system(absl::StrCat("mosquitto_passwd ", arguments, " >/dev/null 2>&1").c_str());
  };
  ASSERT_EQ(run(absl::StrCat("-c -b ", path, " alice 'pa$$ wörd'")), 0);
  ASSERT_EQ(run(absl::StrCat("-H sha512 -b ", path, " bob hunter2")), 0);
  const auto loaded = LoadPasswordFile(path);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_TRUE(loaded->table->Verify("alice", "pa$$ wörd"));
  EXPECT_FALSE(loaded->table->Verify("alice", "hunter2"));
  EXPECT_TRUE(loaded->table->Verify("bob", "hunter2"));
  EXPECT_FALSE(loaded->table->Verify("bob", ""));
}

TEST(PasswordFile, AllMistakesAreToldAtOnce) {
  EXPECT_EQ(PasswordTable::Parse("alice\n:x\nbob:secret\n", "passwords").status().message(),
            "passwords:1: no ':'; a line is USER:HASH\n"
            "passwords:2: no user name before the ':'; a line is USER:HASH\n"
            "passwords:3: " +
                std::string(PasswordHash::Parse("secret").status().message()));
}

}  // namespace
}  // namespace auth
