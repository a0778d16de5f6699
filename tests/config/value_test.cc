// How values are read and written.
#include "config/value.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "config/key.h"

namespace config {
namespace {

using ::testing::HasSubstr;

int64_t Number(const Domain& domain, absl::string_view text) {
  const absl::StatusOr<Value> value = ParseValue(domain, text);
  EXPECT_TRUE(value.ok()) << text << ": " << value.status();
  return value.ok() ? std::get<int64_t>(*value) : -1;
}

std::string Error(const Domain& domain, absl::string_view text) {
  return std::string(ParseValue(domain, text).status().message());
}

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(Value, ASizeHasBinaryAndDecimalUnits) {
  EXPECT_EQ(Number(Bytes(0, kMax), "4096"), 4096);
  EXPECT_EQ(Number(Bytes(0, kMax), "64KiB"), 65536);
  EXPECT_EQ(Number(Bytes(0, kMax), "1 MiB"), 1 << 20);
  EXPECT_EQ(Number(Bytes(0, kMax), "2gib"), int64_t{2} << 30);
  EXPECT_EQ(Number(Bytes(0, kMax), "5MB"), 5'000'000);
  EXPECT_EQ(Number(Bytes(0, kMax), "7B"), 7);
}

TEST(Value, ADurationHasUnitsThatMayFollowEachOther) {
  EXPECT_EQ(Number(Seconds(0, kMax), "90"), 90);
  EXPECT_EQ(Number(Seconds(0, kMax), "5s"), 5);
  EXPECT_EQ(Number(Seconds(0, kMax), "2m"), 120);
  EXPECT_EQ(Number(Seconds(0, kMax), "1h30m"), 5400);
  EXPECT_EQ(Number(Seconds(0, kMax), "7d"), 604800);
  EXPECT_EQ(Number(Millis(0, kMax), "50ms"), 50);
  EXPECT_EQ(Number(Millis(0, kMax), "2s"), 2000);
  EXPECT_EQ(Number(Millis(0, kMax), "1m500ms"), 60500);
  EXPECT_EQ(Number(Millis(0, kMax), "250"), 250);
}

TEST(Value, WhatIsNoNumberIsRefused) {
  for (const char* text : {"", "-1", "+1", "1.5", "one", "1_", "_1", "0x10", " 1", "1 ", "1e3",
                           "9223372036854775808", "99999999999999999999"}) {
    EXPECT_THAT(Error(Integer(0, kMax), text), HasSubstr("expects a whole number")) << text;
  }
  EXPECT_EQ(Number(Integer(0, kMax), "100_000"), 100000);
  EXPECT_EQ(Number(Integer(0, kMax), "9223372036854775807"), kMax);
  for (const char* text : {"KiB", "1XiB", "1KiBs", "1KiB2", "9223372036854775807KiB", "-1KiB"}) {
    EXPECT_THAT(Error(Bytes(0, kMax), text), HasSubstr("expects a size such as")) << text;
  }
  for (const char* text : {"s", "soon", "5 s", "5x", "1h30", "1ms", "9223372036854775807d"}) {
    EXPECT_THAT(Error(Seconds(0, kMax), text), HasSubstr("expects a duration such as")) << text;
  }
  for (const char* text : {"", "888", "0o660", "1234567"}) {
    EXPECT_THAT(Error(Mode(), text), HasSubstr("octal")) << text;
  }
}

TEST(Value, OutOfBoundsNamesTheBoundsInTheKeysOwnForm) {
  EXPECT_EQ(Error(Integer(1, 65535), "0"), "must be from 1 to 65535, not 0");
  EXPECT_EQ(Error(Bytes(128, 1 << 20), "2MiB"), "must be from 128 to 1MiB, not 2MiB");
  EXPECT_EQ(Error(Seconds(1, 3600), "2h"), "must be from 1s to 1h, not 2h");
  EXPECT_EQ(Error(Mode(), "7777"), "must be from 0000 to 0777, not 7777");
}

TEST(Value, AnEmptyValueIsShownAsSuch) {
  EXPECT_EQ(Error(Bool(), ""), "expects true or false, not \"\"");
}

TEST(Value, HostileBytesAreEscapedAndCut) {
  EXPECT_EQ(Error(Bool(), "a\nb"), "expects true or false, not \"a\\nb\"");
  EXPECT_LT(Error(Bool(), std::string(10000, 'x')).size(), 150u);
  EXPECT_THAT(Error(Text(), "\xff"), HasSubstr("UTF-8"));
  EXPECT_THAT(Error(Text(), absl::string_view("a\0b", 3)), HasSubstr("UTF-8"));
}

TEST(Value, ANamedValueIsReadByNameAndByNumber) {
  const Domain expiry = Named(Seconds(0, 0xFFFFFFFF), "never", 0xFFFFFFFF);
  EXPECT_EQ(Number(expiry, "never"), 0xFFFFFFFF);
  EXPECT_EQ(Number(expiry, "4294967295"), 0xFFFFFFFF);
  EXPECT_EQ(FormatValue(expiry, int64_t{0xFFFFFFFF}), "never");
  EXPECT_THAT(Error(expiry, "nevr"), HasSubstr("(or never)"));
}

TEST(Value, BoolsHaveSeveralWords) {
  for (const char* text : {"true", "yes", "on", "1", "True", "ON"}) {
    EXPECT_EQ(*ParseValue(Bool(), text), Value(true)) << text;
  }
  for (const char* text : {"false", "no", "off", "0"}) {
    EXPECT_EQ(*ParseValue(Bool(), text), Value(false)) << text;
  }
}

TEST(Value, AMisspelledChoiceIsSuggested) {
  const Domain domain{.type = Type::kChoice, .choices = {"sync", "interval", "none"}};
  EXPECT_EQ(Error(domain, "asnyc"),
            "must be one of sync, interval, none, not \"asnyc\"; did you mean sync?");
  EXPECT_EQ(Error(domain, "whatever"), "must be one of sync, interval, none, not \"whatever\"");
}

TEST(Value, FormattingReadsBackToTheSameValue) {
  const std::vector<Domain> domains = {Integer(0, kMax), Bytes(0, kMax), Seconds(0, kMax),
                                       Millis(0, kMax), Named(Integer(0, kMax), "unlimited", 0)};
  for (const Domain& domain : domains) {
    for (const int64_t number : {int64_t{0}, int64_t{1}, int64_t{59}, int64_t{60}, int64_t{999},
                                 int64_t{1000}, int64_t{1024}, int64_t{1536}, int64_t{3600},
                                 int64_t{86400}, int64_t{1} << 20, int64_t{1} << 40, kMax}) {
      const std::string text = FormatValue(domain, number);
      EXPECT_EQ(Number(domain, text), number) << text;
    }
  }
  EXPECT_EQ(FormatValue(Mode(), int64_t{0660}), "0660");
  EXPECT_EQ(Number(Mode(), "0660"), 0660);
}

TEST(Nearest, FindsTransposedMissingAndExtraLetters) {
  const std::vector<absl::string_view> names = {"receive_maximum", "maximum_qos", "listen"};
  EXPECT_EQ(Nearest("recieve_maximum", names), "receive_maximum");
  EXPECT_EQ(Nearest("maximum_qs", names), "maximum_qos");
  EXPECT_EQ(Nearest("listenn", names), "listen");
  EXPECT_EQ(Nearest("zebra", names), "");
  EXPECT_EQ(Nearest("", names), "");
  EXPECT_EQ(Nearest(std::string(100000, 'a'), names), "");
}

}  // namespace
}  // namespace config
