#include "auth/core/acl.h"

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace auth {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::shared_ptr<const Acl> MustParse(std::string_view text) {
  auto acl = Acl::Parse(text, "acl");
  EXPECT_TRUE(acl.ok()) << acl.status();
  return acl.ok() ? *acl : nullptr;
}

Identity User(std::string name, std::string client_id = "c1") {
  Identity identity;
  identity.user_name = std::move(name);
  identity.client_id = std::move(client_id);
  identity.anonymous = identity.user_name.empty();
  return identity;
}

Identity Anonymous(std::string client_id = "c1") { return User("", std::move(client_id)); }

// "r", "w", "rw" or "-".
std::string Rights(const Acl& acl, const Identity& who, std::string_view topic) {
  std::string rights;
  if (acl.Check(who, Access::kRead, topic) == Decision::kAllow) rights += 'r';
  if (acl.Check(who, Access::kWrite, topic) == Decision::kAllow) rights += 'w';
  return rights.empty() ? "-" : rights;
}

std::string ErrorOf(std::string_view text) {
  const auto acl = Acl::Parse(text, "acl");
  EXPECT_FALSE(acl.ok()) << text;
  return acl.ok() ? "" : std::string(acl.status().message());
}

TEST(Acl, AnEmptyFileAllowsNothing) {
  const auto acl = MustParse("# nothing\n\n");
  EXPECT_EQ(Rights(*acl, Anonymous(), "a"), "-");
  EXPECT_EQ(Rights(*acl, User("alice"), "a"), "-");
}

TEST(Acl, EachAccessWordGrantsWhatItSays) {
  const auto acl = MustParse(
      "topic read r\ntopic write w\ntopic readwrite rw\ntopic both\ntopic deny d\n"
      "topic read with spaces in it\n");
  EXPECT_EQ(Rights(*acl, Anonymous(), "r"), "r");
  EXPECT_EQ(Rights(*acl, Anonymous(), "w"), "w");
  EXPECT_EQ(Rights(*acl, Anonymous(), "rw"), "rw");
  EXPECT_EQ(Rights(*acl, Anonymous(), "both"), "rw");
  EXPECT_EQ(Rights(*acl, Anonymous(), "d"), "-");
  EXPECT_EQ(Rights(*acl, Anonymous(), "with spaces in it"), "r");
}

TEST(Acl, TheSectionBeforeTheFirstUserIsForAnonymousClientsOnly) {
  const auto acl = MustParse("topic public/#\nuser alice\ntopic private/#\n");
  EXPECT_EQ(Rights(*acl, Anonymous(), "public/x"), "rw");
  EXPECT_EQ(Rights(*acl, Anonymous(), "private/x"), "-");
  EXPECT_EQ(Rights(*acl, User("alice"), "public/x"), "-");
  EXPECT_EQ(Rights(*acl, User("alice"), "private/x"), "rw");
  EXPECT_EQ(Rights(*acl, User("bob"), "public/x"), "-");
  EXPECT_EQ(Rights(*acl, User("bob"), "private/x"), "-");
}

TEST(Acl, SectionsOfOneUserAddUp) {
  const auto acl = MustParse("user a\ntopic read 1\nuser b\ntopic read 2\nuser a\ntopic write 1\n");
  EXPECT_EQ(Rights(*acl, User("a"), "1"), "rw");
  EXPECT_EQ(Rights(*acl, User("a"), "2"), "-");
}

TEST(Acl, AUserNameMayHaveSpaces) {
  const auto acl = MustParse("user Alice B. Carroll \ntopic x\n");
  EXPECT_EQ(Rights(*acl, User("Alice B. Carroll"), "x"), "rw");
  EXPECT_EQ(Rights(*acl, User("Alice"), "x"), "-");
}

TEST(Acl, DenyWinsWhereverItStands) {
  for (const char* text :
       {"topic a/#\ntopic deny a/secret\n", "topic deny a/secret\ntopic a/#\n"}) {
    const auto acl = MustParse(text);
    EXPECT_EQ(Rights(*acl, Anonymous(), "a/secret"), "-") << text;
    EXPECT_EQ(Rights(*acl, Anonymous(), "a/secret/x"), "rw") << text;
    EXPECT_EQ(Rights(*acl, Anonymous(), "a/b"), "rw") << text;
  }
}

TEST(Acl, OwnRulesComeBeforePatternsEvenTheirDeny) {
  const auto acl =
      MustParse("pattern deny a/%c\npattern read b/#\nuser u\ntopic a/#\ntopic deny b/x\n");
  EXPECT_EQ(Rights(*acl, User("u", "c1"), "a/c1"), "rw");  // Own grant before the pattern's deny.
  EXPECT_EQ(Rights(*acl, User("u", "c1"), "b/x"), "-");    // Own deny before the pattern's grant.
  EXPECT_EQ(Rights(*acl, User("u", "c1"), "b/y"), "r");
}

TEST(Acl, PatternsApplyToEveryoneWhereverTheyStand) {
  const auto acl = MustParse("user u\npattern write dev/%c/up\npattern read user/%u/#\n");
  EXPECT_EQ(Rights(*acl, Anonymous("c7"), "dev/c7/up"), "w");
  EXPECT_EQ(Rights(*acl, Anonymous("c7"), "dev/c8/up"), "-");
  EXPECT_EQ(Rights(*acl, Anonymous("c7"), "user//x"), "-");
  EXPECT_EQ(Rights(*acl, Anonymous("c7"), "user/%u/x"), "-");
  EXPECT_EQ(Rights(*acl, User("v", "c7"), "dev/c7/up"), "w");
  EXPECT_EQ(Rights(*acl, User("v", "c7"), "user/v/x"), "r");
  EXPECT_EQ(Rights(*acl, User("v", "c7"), "user/v"), "r");
  EXPECT_EQ(Rights(*acl, User("v", "c7"), "user/u/x"), "-");
}

TEST(Acl, PlaceholdersInATopicRuleAreLiteral) {
  const auto acl = MustParse("topic x/%c\n");
  EXPECT_EQ(Rights(*acl, Anonymous("c1"), "x/c1"), "-");
  EXPECT_EQ(Rights(*acl, Anonymous("c1"), "x/%c"), "rw");
  EXPECT_THAT(acl->warnings(), ElementsAre(HasSubstr("acl:1: ")));
}

TEST(Acl, WildcardsInTheNamesOfAClientTakeEveryPatternFromIt) {
  const auto acl = MustParse("pattern a/%c/#\npattern b/%u\npattern all/x\nuser +\ntopic own\n");
  for (const auto& who : {Anonymous("+"), Anonymous("#"), Anonymous("x+y"), User("+", "c"),
                          User("a#", "c"), User("u", "#")}) {
    EXPECT_EQ(Rights(*acl, who, "a/c/x"), "-") << who.user_name << " " << who.client_id;
    EXPECT_EQ(Rights(*acl, who, "a/+/x"), "-");
    EXPECT_EQ(Rights(*acl, who, "b/+"), "-");
    EXPECT_EQ(Rights(*acl, who, "all/x"), "-");
  }
  EXPECT_EQ(Rights(*acl, User("+", "c"), "own"), "rw");
}

TEST(Acl, ASlashInANameGrantsNoDeeperTopicButIsStillDenied) {
  const auto acl =
      MustParse("pattern a/%c/#\npattern b/#\npattern deny b/%c\npattern deny b/%c/k\n");
  EXPECT_EQ(Rights(*acl, Anonymous("dev"), "a/dev/1/cmd"), "rw");
  EXPECT_EQ(Rights(*acl, Anonymous("dev/1"), "a/dev/1/cmd"), "-");
  EXPECT_EQ(Rights(*acl, Anonymous("dev/1"), "b/free"), "rw");
  EXPECT_EQ(Rights(*acl, Anonymous("dev/1"), "b/dev/1"), "-");
  EXPECT_EQ(Rights(*acl, Anonymous("dev/1"), "b/dev/1/k"), "-");
  EXPECT_EQ(Rights(*acl, Anonymous("dev/1"), "b/dev/11"), "rw");
}

TEST(Acl, ADollarInFrontOfANameDoesNotReachSystemTopics) {
  const auto acl = MustParse("pattern %c/#\npattern a/%c/x\n");
  EXPECT_EQ(Rights(*acl, Anonymous("$SYS"), "$SYS/broker/load"), "-");
  EXPECT_EQ(Rights(*acl, Anonymous("$SYS"), "a/$SYS/x"), "rw");
  EXPECT_FALSE(acl->PermissionsFor(Anonymous("$SYS"))->MaySubscribe("$SYS/#"));
  EXPECT_TRUE(acl->PermissionsFor(Anonymous("sys"))->MaySubscribe("sys/#"));
}

TEST(Acl, LeadingWildcardsLeaveOutDollarTopics) {
  const auto acl = MustParse("topic #\ntopic +/x\nuser op\ntopic $SYS/#\ntopic #\n");
  EXPECT_EQ(Rights(*acl, Anonymous(), "$SYS/x"), "-");
  EXPECT_EQ(Rights(*acl, Anonymous(), "a/$SYS/x"), "rw");
  EXPECT_EQ(Rights(*acl, User("op"), "$SYS/x"), "rw");
  EXPECT_EQ(Rights(*acl, User("op"), "$SYS"), "rw");
  EXPECT_EQ(Rights(*acl, User("op"), "other"), "rw");
  EXPECT_EQ(Rights(*acl, User("op"), "$other"), "-");
}

TEST(Acl, BlanksTabsAndCrlfDoNotMatter) {
  const auto acl = MustParse(
      "  # indented comment\r\n\tuser\talice \r\n topic   read   a/b \r\n\r\ntopic\twrite\tc");
  EXPECT_EQ(Rights(*acl, User("alice"), "a/b"), "r");
  EXPECT_EQ(Rights(*acl, User("alice"), "c"), "w");
  EXPECT_THAT(acl->warnings(), IsEmpty());
}

TEST(Acl, AllMistakesAreToldAtOnce) {
  EXPECT_EQ(ErrorOf("user \ntopic read a\nusr alice\n"),
            "acl:1: user without a name; write: user NAME\n"
            "acl:3: unknown keyword 'usr'; a line begins with user, topic, pattern or #");
  std::string text;
  for (int i = 0; i < 40; ++i) text += "usr alice\n";
  EXPECT_THAT(ErrorOf(text), HasSubstr("acl:25: unknown"));
  EXPECT_THAT(ErrorOf(text), HasSubstr("\n(and 15 more in this file)"));
}

TEST(Acl, ErrorsNameFileAndLineAndSayWhatToDo) {
  EXPECT_EQ(ErrorOf("# x\n\nusr alice\n"),
            "acl:3: unknown keyword 'usr'; a line begins with user, topic, pattern or #");
  EXPECT_EQ(ErrorOf("user \n"), "acl:1: user without a name; write: user NAME");
  EXPECT_THAT(ErrorOf("topic\n"), HasSubstr("acl:1: topic without a topic filter; write: topic ["));
  EXPECT_THAT(ErrorOf("topic a\ntopic raed a/b\n"), HasSubstr("acl:2: unknown access 'raed'; use"));
  EXPECT_THAT(ErrorOf("topic read a+/b\n"), HasSubstr("'a+/b' is not a topic filter; + must be"));
  EXPECT_THAT(ErrorOf("topic read a/#/b\n"), HasSubstr("not a topic filter"));
  EXPECT_THAT(ErrorOf("topic read a/\xff\n"), HasSubstr("not a topic filter"));
  EXPECT_THAT(ErrorOf("pattern read dev-%c/x\n"), HasSubstr("'dev-%c': %c and %u must be a whole"));
  EXPECT_THAT(ErrorOf("topic " + std::string(200, '/') + "\n"),
              HasSubstr("201 levels; at most 200"));
}

TEST(Acl, LikelyMistakesAreWarnings) {
  EXPECT_THAT(MustParse("topic read\n")->warnings(),
              ElementsAre("acl:1: 'read' is taken as the topic filter, not as the access"));
  EXPECT_THAT(MustParse("pattern read x/#\n")->warnings(), ElementsAre(HasSubstr("every client")));
  EXPECT_FALSE(MustParse("topic x\npattern y/%c")->NeedsUserNames());
  EXPECT_TRUE(MustParse("pattern y/%u")->NeedsUserNames());
  EXPECT_TRUE(MustParse("user u")->NeedsUserNames());
}

struct SubscribeRow {
  const char* acl;
  const char* filter;
  bool allowed;
};

TEST(Acl, SubscribeIsRefusedOnlyIfNothingCouldBeRead) {
  const SubscribeRow rows[] = {
      {"topic read a/b", "a/b", true},
      {"topic read a/b", "#", true},  // Wider than the rule: decided message by message.
      {"topic read a/b", "a/+", true},
      {"topic read a/b", "+/b", true},
      {"topic read a/b", "a/b/#", true},  // "a/b/#" includes "a/b".
      {"topic read a/b", "a/b/+", false},
      {"topic read a/b", "a/c", false},
      {"topic read a/b", "b/#", false},
      {"topic read a/b", "a", false},
      {"topic write a/b", "a/b", false},  // Writing is not reading.
      {"topic read a/#", "a", true},
      {"topic read a/#", "+/+/c", true},
      {"topic read +/b/#", "a/+/c", true},
      {"topic read #", "$SYS/#", false},
      {"topic read $SYS/#", "#", false},
      {"topic read $SYS/#", "+/broker", false},
      {"topic read $SYS/#", "$SYS/broker/+", true},
      {"topic read a/b", "$share/group/a/b", true},
      {"topic read a/b", "$share/group/c", false},
      {"topic read #\ntopic deny a/#", "a/b", false},
      {"topic read #\ntopic deny a/#", "a/#", false},
      {"topic read #\ntopic deny a/#", "+/b", true},
      {"topic read #\ntopic deny a/#", "#", true},
      {"topic read #\ntopic deny a/+", "a/#", true},  // "a" and "a/b/c" are left.
      {"topic read #\ntopic deny a/+", "a/b", false},
      {"topic read +/x\ntopic deny a/+", "a/#", false},      // In common: "a/x", denied.
      {"topic deny p/%c\npattern read p/%c", "p/c1", true},  // The deny is for the literal "%c".
      {"topic deny p/+\npattern read p/%c", "p/c1", false},
      {"pattern read p/%c", "p/#", true},
      {"pattern read p/%c", "p/c2", false},
      {"pattern read p/%u", "p/#", false},
      {"topic read p/c1\npattern deny p/%c", "p/c1", true},  // Own rules first.
  };
  for (const SubscribeRow& row : rows) {
    const auto acl = MustParse(row.acl);
    EXPECT_EQ(acl->Check(Anonymous("c1"), Access::kSubscribe, row.filter) == Decision::kAllow,
              row.allowed)
        << row.acl << "\n"
        << row.filter;
  }
}

TEST(Acl, UnsubscribeIsAlwaysAllowed) {
  EXPECT_EQ(MustParse("")->Check(Anonymous(), Access::kUnsubscribe, "a"), Decision::kAllow);
}

TEST(Permissions, WithoutAclEverythingIsAllowedForFree) {
  const auto all = Permissions::Everything();
  EXPECT_TRUE(all->ReadsEverything());
  EXPECT_TRUE(all->WritesEverything());
  EXPECT_TRUE(all->MayRead("$SYS/x"));
  EXPECT_TRUE(all->MayWrite("a"));
  EXPECT_TRUE(all->MaySubscribe("#"));
  EXPECT_EQ(all, Permissions::Everything());
}

TEST(Permissions, WithAclNothingIsEverything) {
  // Even "topic #" leaves out the topics that begin with $.
  const auto permissions = MustParse("topic #\n")->PermissionsFor(Anonymous());
  EXPECT_FALSE(permissions->ReadsEverything());
  EXPECT_FALSE(permissions->WritesEverything());
}

TEST(Permissions, OutliveTheAclTheyCameFrom) {
  auto acl = MustParse("topic read a/+\npattern write b/%c\n");
  const auto permissions = acl->PermissionsFor(Anonymous("c1"));
  acl.reset();
  EXPECT_TRUE(permissions->MayRead("a/x"));
  EXPECT_TRUE(permissions->MayWrite("b/c1"));
}

}  // namespace
}  // namespace auth
