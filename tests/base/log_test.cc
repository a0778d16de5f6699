#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace base {
namespace {

using testing::HasSubstr;
using testing::MatchesRegex;

// Logs into a file of its own, and back to stderr afterwards.
class LogTest : public testing::Test {
 protected:
  void Configure(LogLevel level, LogFormat format) {
    ASSERT_TRUE(ConfigureLog({level, format, path_}).ok());
  }
  void TearDown() override {
    ASSERT_TRUE(ConfigureLog({}).ok());
    std::filesystem::remove(path_);
  }
  std::string Written() const {
    std::ifstream in(path_);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
  }

  const std::string path_ = testing::TempDir() + "/" +
                            testing::UnitTest::GetInstance()->current_test_info()->name() + ".log";
};

TEST_F(LogTest, TextIsOneLineOfEventAndFields) {
  Configure(LogLevel::kInfo, LogFormat::kText);
  Log(LogLevel::kInfo, "connection closed",
      {{"client", "sensor 7"},
       {"bytes", uint64_t{18446744073709551615u}},
       {"clean", false},
       {"after", absl::Milliseconds(1500)},
       {"status", absl::NotFoundError("no such file")}});
  EXPECT_THAT(Written(),
              MatchesRegex("[0-9]+-[0-9]+-[0-9]+T[0-9:.]+Z info connection closed "
                           "client=\"sensor 7\" bytes=18446744073709551615 clean=false after=1.5s "
                           "status=\"NOT_FOUND: no such file\"\n"));
}

TEST_F(LogTest, JsonKeepsNumbersAndEscapesStrings) {
  Configure(LogLevel::kDebug, LogFormat::kJson);
  Log(LogLevel::kWarning, "odd \"name\"",
      {{"name", "a\"b\\c\n"}, {"n", -3}, {"x", 0.5}, {"inf", HUGE_VAL}, {"ok", true}});
  const std::string line = Written();
  EXPECT_THAT(
      line,
      HasSubstr(
          "\"level\":\"warning\",\"event\":\"odd \\\"name\\\"\","
          "\"name\":\"a\\\"b\\\\c\\u000a\",\"n\":-3,\"x\":0.5,\"inf\":\"inf\",\"ok\":true}\n"));
}

TEST_F(LogTest, AClientsBytesForgeNoLine) {
  Configure(LogLevel::kInfo, LogFormat::kText);
  Log(LogLevel::kInfo, "connected", {{"client", "x\n2030-01-01T00:00:00Z error forged \"q\""}});
  const std::string line = Written();
  EXPECT_EQ(std::count(line.begin(), line.end(), '\n'), 1);
  EXPECT_THAT(line, HasSubstr("\\n2030-01-01T00:00:00Z error forged \\\"q\\\""));
}

TEST_F(LogTest, InvalidUtf8StaysValidJson) {
  Configure(LogLevel::kInfo, LogFormat::kJson);
  Log(LogLevel::kInfo, "connected", {{"client", "\xc3\xa9 \xff\xed\xa0\x80"}});
  EXPECT_THAT(Written(), HasSubstr("\"client\":\"\xc3\xa9 \\u00ff\\u00ed\\u00a0\\u0080\""));
}

TEST_F(LogTest, ALevelHidesWhatIsBelowIt) {
  Configure(LogLevel::kWarning, LogFormat::kText);
  EXPECT_FALSE(LogEnabled(LogLevel::kInfo));
  EXPECT_TRUE(LogEnabled(LogLevel::kError));
  Log(LogLevel::kInfo, "hidden");
  Log(LogLevel::kError, "shown");
  EXPECT_THAT(Written(), MatchesRegex(".* error shown\n"));
  Configure(LogLevel::kOff, LogFormat::kText);
  EXPECT_FALSE(LogEnabled(LogLevel::kError));
  EXPECT_FALSE(LogEnabled(LogLevel::kOff));
}

TEST_F(LogTest, AFileThatDoesNotOpenLeavesTheFormerState) {
  Configure(LogLevel::kInfo, LogFormat::kText);
  EXPECT_FALSE(ConfigureLog({LogLevel::kDebug, LogFormat::kJson, path_ + "/no/such"}).ok());
  Log(LogLevel::kInfo, "still here");
  EXPECT_THAT(Written(), HasSubstr("info still here"));
}

TEST(LogLevels, ParseByName) {
  LogLevel level = LogLevel::kInfo;
  EXPECT_TRUE(ParseLogLevel("warning", level));
  EXPECT_EQ(level, LogLevel::kWarning);
  EXPECT_FALSE(ParseLogLevel("loud", level));
  EXPECT_EQ(level, LogLevel::kWarning);
}

}  // namespace
}  // namespace base
