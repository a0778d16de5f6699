#include "auth/core/bans.h"

#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "gtest/gtest.h"

namespace auth {
namespace {

std::string Written(std::string_view text) {
  const auto range = AddressRange::Parse(text);
  return range.ok() ? range->ToString() : std::string("none");
}

TEST(AddressRange, IsWrittenInOneWay) {
  EXPECT_EQ(Written("192.0.2.7"), "192.0.2.7");
  EXPECT_EQ(Written("::ffff:192.0.2.7"), "192.0.2.7");
  EXPECT_EQ(Written("192.0.2.7/24"), "192.0.2.0/24");
  EXPECT_EQ(Written("10.255.255.255/9"), "10.128.0.0/9");
  EXPECT_EQ(Written("0.0.0.0/0"), "0.0.0.0/0");
  EXPECT_EQ(Written("2001:0db8:0:0:0:0:0:1"), "2001:db8::1");
  EXPECT_EQ(Written("2001:DB8::1/32"), "2001:db8::/32");
  EXPECT_EQ(Written("1:0:0:2:0:0:0:3"), "1:0:0:2::3");
  EXPECT_EQ(Written("1:2:3:4:5:6:7:8"), "1:2:3:4:5:6:7:8");
  EXPECT_EQ(Written("::"), "::");
  EXPECT_EQ(Written("::1"), "::1");
  EXPECT_EQ(Written("fe80::"), "fe80::");
  EXPECT_EQ(Written("::/0"), "::/0");
}

TEST(AddressRange, RefusesWhatIsNone) {
  for (const char* const text :
       {"", "nowhere", "1.2.3", "1.2.3.4.5", "256.1.1.1", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/x",
        "::/129", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "12345::", ":::"})
    EXPECT_EQ(Written(text), "none") << text;
}

Ban Of(BanKind kind, std::string value, int64_t ends_at_unix_ms = 0) {
  Ban ban;
  ban.target = {kind, std::move(value)};
  ban.ends_at_unix_ms = ends_at_unix_ms;
  return ban;
}

TEST(BanTable, FindsClientsUsersAddressesAndNetworks) {
  const auto table = BanTable::Make({Of(BanKind::kClient, "bad"), Of(BanKind::kUser, "mallory"),
                                     Of(BanKind::kAddress, "192.0.2.0/24"),
                                     Of(BanKind::kAddress, "2001:db8::/33")});
  ASSERT_TRUE(table.ok()) << table.status();
  const auto banned = [&](const char* client, const char* user, const char* address) {
    return (*table)->Find(client, user, address, 5) != nullptr;
  };
  EXPECT_TRUE(banned("bad", "", "10.0.0.1"));
  EXPECT_TRUE(banned("good", "mallory", "10.0.0.1"));
  EXPECT_TRUE(banned("good", "", "192.0.2.200"));
  EXPECT_TRUE(banned("good", "", "::ffff:192.0.2.200"));
  EXPECT_TRUE(banned("good", "", "2001:db8:7fff::1"));
  EXPECT_FALSE(banned("good", "", "2001:db8:8000::1"));
  EXPECT_FALSE(banned("mallory", "bad", "192.0.3.1"));
  EXPECT_FALSE(banned("good", "", ""));
  EXPECT_FALSE(banned("good", "", "unix"));
}

TEST(BanTable, ABanEnds) {
  const auto table = BanTable::Make({Of(BanKind::kClient, "bad", 1000)});
  ASSERT_TRUE(table.ok());
  EXPECT_NE((*table)->Find("bad", "", "", 999), nullptr);
  EXPECT_EQ((*table)->Find("bad", "", "", 1000), nullptr);
}

TEST(BanTable, RefusesWhatIsNoBan) {
  EXPECT_FALSE(BanTable::Make({Of(BanKind::kClient, "")}).ok());
  EXPECT_FALSE(BanTable::Make({Of(BanKind::kAddress, "nowhere")}).ok());
}

// Against the definition: an address is in a network if their first bits are the same.
TEST(BanTable, NetworksAreWhatTheirBitsSay) {
  base::Rng rng(7);
  const auto any_address = [&] {
    return absl::StrCat(rng.Below(2), ".", rng.Below(4), ".", rng.Below(256), ".", rng.Below(256));
  };
  std::vector<Ban> bans;
  std::vector<AddressRange> ranges;
  for (int i = 0; i < 200; ++i) {
    const auto range = AddressRange::Parse(absl::StrCat(any_address(), "/", 20 + rng.Below(13)));
    ASSERT_TRUE(range.ok());
    ranges.push_back(*range);
    bans.push_back(Of(BanKind::kAddress, range->ToString()));
  }
  const auto table = BanTable::Make(std::move(bans));
  ASSERT_TRUE(table.ok());
  int found = 0;
  for (int i = 0; i < 5000; ++i) {
    const std::string address = any_address();
    bool wanted = false;
    for (const AddressRange& range : ranges)
      wanted = wanted || AddressRange::Parse(address)->Within(range.bits) == range;
    EXPECT_EQ((*table)->Find("x", "", address, 0) != nullptr, wanted) << address;
    found += wanted ? 1 : 0;
  }
  EXPECT_GT(found, 100);
  EXPECT_LT(found, 4900);
}

}  // namespace
}  // namespace auth
