// Who is a member of a `$share` group, by what the router is told: places that are held, members of
// other nodes, and several with one Client Identifier.
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "broker/core/router.h"

namespace broker {
namespace {

constexpr const char* kFilter = "$share/g/a";

// A durable one.
ShareMember Member(std::string client_id) {
  ShareMember member;
  member.client_id = std::move(client_id);
  member.durable = true;
  return member;
}

// A transient one; of another node, or (0) of this one.
ShareMember MemberOf(uint16_t node, uint64_t connection, uint32_t telling = 0) {
  ShareMember member;
  member.client_id = "c";
  member.of_node = storage::NodeId(node);
  member.connection = {.node = storage::NodeId(node), .connection = connection};
  member.telling = telling;
  return member;
}

TEST(RouterMembers, AHeldMemberIsWhatItsHolderSaysAndThenWhatWasTold) {
  Router router(10);
  const auto options = [&]() -> std::optional<bool> {
    const ShareGroup* const group = router.FindGroup(kFilter);
    const ShareMember* const member = group == nullptr ? nullptr : group->Find("c");
    if (member == nullptr) return std::nullopt;
    return member->options.no_local;
  };
  const auto with = [](bool no_local) {
    ShareMember member = Member("c");
    member.options.no_local = no_local;
    return member;
  };
  router.SetMember(kFilter, with(false));
  router.HoldMember(kFilter, "c", with(true));
  router.HoldMember(kFilter, "c", std::nullopt);
  EXPECT_EQ(options(), std::nullopt);
  router.SetMember(kFilter, with(true));
  EXPECT_EQ(options(), std::nullopt);
  router.LetGoOfMember(kFilter, "c");
  EXPECT_EQ(options(), std::nullopt);
  router.LetGoOfMember(kFilter, "c");
  EXPECT_EQ(options(), true) << "as it was told meanwhile";
  router.HoldMember(kFilter, "c", with(false));
  router.LetGoOfMember(kFilter, "c");
  EXPECT_EQ(options(), true) << "as it was before";
  router.HoldMember(kFilter, "c", with(true));
  router.RemoveMember(kFilter, "c");
  EXPECT_EQ(options(), true);
  router.LetGoOfMember(kFilter, "c");
  EXPECT_EQ(router.FindGroup(kFilter), nullptr);
}

TEST(RouterMembers, MembersOfAnotherNodeAreItsOwnAffair) {
  Router router(10, /*clustered=*/true);
  router.HoldMember(kFilter, "c", std::nullopt);
  router.SetMember(kFilter, MemberOf(2, 7));
  ASSERT_NE(router.FindGroup(kFilter), nullptr) << "what is held is this node's client";
  router.LetGoOfMember(kFilter, "c");
  router.SetMember(kFilter, MemberOf(2, 8, 1));
  router.SetMember(kFilter, MemberOf(3, 7));
  EXPECT_EQ(router.FindGroup(kFilter)->size(), 2u);
  router.RemoveMember(kFilter, "c", MemberOf(2, 7).connection, storage::NodeId(2));
  EXPECT_EQ(router.FindGroup(kFilter)->size(), 2u) << "it has another connection by now";
  router.ForgetMembersOf(storage::NodeId(2), 1);
  EXPECT_EQ(router.FindGroup(kFilter)->size(), 2u) << "it was told of again";
  router.ForgetMembersOf(storage::NodeId(2), 2);
  EXPECT_EQ(router.FindGroup(kFilter)->size(), 1u);
  router.RemoveMember(kFilter, "c", MemberOf(3, 7).connection, storage::NodeId(3));
  EXPECT_EQ(router.FindGroup(kFilter), nullptr);
  EXPECT_TRUE(router.Find("a").empty());
}

// Without a lease clients are let in without asking, several with one Client Identifier.
TEST(RouterMembers, AMemberGoesWithItsOwnConnectionAndNotWithAnotherOfItsName) {
  for (const uint16_t node : {uint16_t{0}, uint16_t{2}}) {
    Router router(10, /*clustered=*/true);
    const auto member = [&](uint64_t connection, uint32_t telling = 0) {
      return MemberOf(node, connection, telling);
    };
    const auto remove = [&](uint64_t connection) {
      router.RemoveMember(kFilter, "c", member(connection).connection, storage::NodeId(node));
    };
    const auto connection = [&]() -> uint64_t {
      const ShareGroup* const group = router.FindGroup(kFilter);
      return group == nullptr ? 0 : group->Find("c", storage::NodeId(node))->connection.connection;
    };
    router.SetMember(kFilter, member(1));
    router.SetMember(kFilter, member(2));
    EXPECT_EQ(connection(), 2u);
    remove(1);
    EXPECT_EQ(connection(), 2u) << "the older one goes";
    remove(2);
    EXPECT_EQ(connection(), 0u);
    router.SetMember(kFilter, member(1));
    router.SetMember(kFilter, member(2));
    router.SetMember(kFilter, member(3));
    router.SetMember(kFilter, member(2));
    remove(2);
    EXPECT_EQ(connection(), 3u) << "who had the place before";
    remove(3);
    EXPECT_EQ(connection(), 1u);
    remove(1);
    EXPECT_EQ(connection(), 0u);
    router.SetMember(kFilter, member(1));
    router.SetMember(kFilter, member(2, 1));
    router.ForgetMembersOf(storage::NodeId(node), 1);
    remove(2);
    EXPECT_EQ(connection(), 0u) << "it is not told of any more";
    EXPECT_TRUE(router.Find("a").empty());
  }
}

// Nor does one that comes and goes take the durable session's place with it, or the other way
// round.
TEST(RouterMembers, ADurableMemberHasItsPlaceAgainWhenATransientOneOfItsNameIsGone) {
  for (const bool held : {false, true}) {
    Router router(10);
    const auto connection = [&]() -> std::optional<uint64_t> {
      const ShareGroup* const group = router.FindGroup(kFilter);
      if (group == nullptr) return std::nullopt;
      return group->Find("c")->connection.connection;
    };
    // What is told while the place is held comes to the same.
    const auto tell = [&](auto&& change) {
      if (held) router.HoldMember(kFilter, "c", std::nullopt);
      change();
      if (held) router.LetGoOfMember(kFilter, "c");
    };
    const auto set = [&](uint64_t number) {
      tell([&] { router.SetMember(kFilter, MemberOf(0, number)); });
    };
    const auto remove = [&](uint64_t number) {
      tell([&] { router.RemoveMember(kFilter, "c", MemberOf(0, number).connection); });
    };
    const auto set_durable = [&](uint64_t number, Session* local) {
      ShareMember member = Member("c");
      member.connection.connection = number;
      member.local = local;
      tell([&] { router.SetMember(kFilter, member); });
    };
    const auto remove_durable = [&] { tell([&] { router.RemoveMember(kFilter, "c"); }); };
    set_durable(7, reinterpret_cast<Session*>(0x1000));  // The router never looks into it.
    set(1);
    EXPECT_EQ(connection(), 1u) << held;
    remove(1);
    ASSERT_EQ(connection(), 7u) << "the durable session is a member still, held: " << held;
    EXPECT_EQ(router.FindGroup(kFilter)->Find("c")->local, nullptr)
        << "its connection may have gone meanwhile";
    set(1);
    set(2);
    set_durable(8, nullptr);
    set(3);
    remove_durable();
    EXPECT_EQ(connection(), 3u) << "the durable session has unsubscribed, and nobody else";
    remove(3);
    EXPECT_EQ(connection(), 2u);
    set_durable(9, nullptr);
    remove(2);
    EXPECT_EQ(connection(), 9u);
    remove_durable();
    EXPECT_EQ(connection(), 1u);
    remove(1);
    EXPECT_EQ(connection(), std::nullopt);
    EXPECT_TRUE(router.Find("a").empty());
  }
}

TEST(RouterMembers, TheRulesOfAMemberThatWaitsForItsPlaceAreRenewedToo) {
  Router router(10);
  ShareMember durable = Member("c");
  durable.reader = std::make_shared<const ShareReader>();
  router.SetMember(kFilter, durable);
  router.SetMember(kFilter, MemberOf(0, 1));
  const auto renewed = std::make_shared<const ShareReader>();
  router.RenewReaders([&](const storage::SessionUser&) { return renewed; });
  router.RemoveMember(kFilter, "c", MemberOf(0, 1).connection);
  ASSERT_NE(router.FindGroup(kFilter), nullptr);
  EXPECT_EQ(router.FindGroup(kFilter)->Find("c")->reader, renewed);
}

}  // namespace
}  // namespace broker
