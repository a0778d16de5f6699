#include "base/log.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
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
                           "status=\"no such file\"\n"));
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

TEST_F(LogTest, AnEventThatComesTooOftenIsLeftOutAndCountedByCause) {
  Configure(LogLevel::kInfo, LogFormat::kText);
  for (int i = 0; i < 1000; ++i) {
    LogLimited(LogLevel::kInfo, "refused", "one", {{"number", i}});
    if (i % 500 == 0) LogLimited(LogLevel::kInfo, "refused", "other", {{"number", i}});
    LogLimited(LogLevel::kDebug, "refused", "unseen", {});
  }
  const auto lines_with = [this](const std::string& text) {
    size_t count = 0;
    std::istringstream in(Written());
    for (std::string line; std::getline(in, line);) count += line.find(text) != std::string::npos;
    return count;
  };
  EXPECT_THAT(Written(), HasSubstr("info refused reason=one number=9\n"));
  EXPECT_LT(lines_with("reason=one"), 100u);
  EXPECT_EQ(lines_with("reason=other"), 2u);
  EXPECT_EQ(lines_with("unseen"), 0u);
  // What was left out is told, and all of it: every event is a line or in a count.
  uint64_t counted = 0;
  while (counted < 1000) {
    LogLeftOut();
    counted = 0;
    std::istringstream in(Written());
    for (std::string line; std::getline(in, line);) {
      if (line.find("reason=one") == std::string::npos) continue;
      counted += line.find("number=") != std::string::npos;
      if (const size_t at = line.find("left_out="); at != std::string::npos)
        counted += std::stoull(line.substr(at + 9));
    }
  }
  EXPECT_EQ(counted, 1000u);
  EXPECT_THAT(Written(), HasSubstr("info refused, more of them reason=one left_out="));
}

TEST_F(LogTest, LongNamesAreCutBetweenCharacters) {
  EXPECT_EQ(Shortened("sensor-7"), "sensor-7");
  EXPECT_EQ(Shortened(std::string(100, 'x')), std::string(100, 'x'));
  EXPECT_EQ(Shortened(std::string(101, 'x')), std::string(100, 'x') + "… (101 bytes)");
  EXPECT_EQ(Shortened(std::string(99, 'x') + "äää"), std::string(99, 'x') + "… (105 bytes)");
}

TEST_F(LogTest, UnderTheJournalALineBeginsWithItsPriority) {
  struct stat stream {};
  std::FILE* const file = std::fopen(path_.c_str(), "w");
  ASSERT_EQ(fstat(fileno(file), &stream), 0);
  setenv("JOURNAL_STREAM", absl::StrCat(stream.st_dev, ":", stream.st_ino).c_str(), 1);
  const int before = dup(STDERR_FILENO);
  dup2(fileno(file), STDERR_FILENO);
  ASSERT_TRUE(ConfigureLog({}).ok());
  Log(LogLevel::kInfo, "one");
  Log(LogLevel::kWarning, "two");
  Log(LogLevel::kError, "three");
  dup2(before, STDERR_FILENO);  // Not the journal's any more, whatever the variable says.
  ASSERT_TRUE(ConfigureLog({}).ok());
  Log(LogLevel::kInfo, "four");
  unsetenv("JOURNAL_STREAM");
  close(before);
  std::fclose(file);
  EXPECT_THAT(Written(), MatchesRegex("<6>[^\n]* info one\n<4>[^\n]* two\n<3>[^\n]* three\n"));
}

}  // namespace
}  // namespace base
