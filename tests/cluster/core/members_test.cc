#include "cluster/core/members.h"

#include <map>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/rng.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "mqttd/cluster/v1/members.pb.h"

namespace cluster {
namespace {

namespace pb = ::mqttd::cluster::v1;
using Kind = MembersOutcome::Kind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

pb::Formation ThreeFounders() {
  pb::Formation formation;
  formation.set_cluster_id("cluster");
  formation.set_partitions(4);
  formation.set_replicas(3);
  for (const char* const uuid : {"b", "c", "a"}) {
    pb::Formation::Founder& founder = *formation.add_founders();
    founder.set_uuid(uuid);
    founder.set_address(absl::StrCat(uuid, ":1885"));
  }
  return formation;
}

NodeLife Life(int node, uint32_t incarnation) {
  return {NodeId(static_cast<uint16_t>(node)), Incarnation(incarnation)};
}

pb::MembersCommand AdmitCommand(const std::string& uuid, uint64_t start, uint32_t incarnation = 1) {
  pb::MembersCommand command;
  command.mutable_admit_node()->set_uuid(uuid);
  command.mutable_admit_node()->set_start(start);
  command.mutable_admit_node()->set_incarnation(incarnation);
  command.mutable_admit_node()->set_cluster_address(uuid + ":1885");
  return command;
}

pb::MembersCommand GoneCommand(NodeLife life) {
  pb::MembersCommand command;
  command.mutable_node_gone()->set_node(life.node.value());
  command.mutable_node_gone()->set_incarnation(life.incarnation.value());
  return command;
}

pb::MembersCommand ForgetCommand(int node) {
  pb::MembersCommand command;
  command.mutable_forget_node()->set_node(static_cast<uint32_t>(node));
  return command;
}

MembersOutcome Apply(Members& members, const pb::MembersCommand& command) {
  const auto outcome = members.Apply(command.SerializeAsString());
  EXPECT_TRUE(outcome.ok()) << outcome.status();
  return outcome.ok() ? *outcome : MembersOutcome{};
}

TEST(Members, FoundersAreNumberedByTheirUuidsAndHaveReplicasOfEverything) {
  const Members members = Members::Founded(ThreeFounders());
  ASSERT_THAT(members.nodes(), SizeIs(3));
  EXPECT_EQ(members.Find(NodeId(1))->uuid, "a");
  EXPECT_EQ(members.Find(NodeId(3))->uuid, "c");
  EXPECT_FALSE(members.Find(NodeId(1))->is_live());
  std::set<uint64_t> numbers;
  for (const GroupReplicas& group : members.partitions()) {
    ASSERT_THAT(group.replicas, SizeIs(3));
    for (const GroupReplicas::Replica& replica : group.replicas) numbers.insert(replica.number);
  }
  for (const GroupReplicas::Replica& replica : members.meta().replicas)
    numbers.insert(replica.number);
  EXPECT_THAT(numbers, SizeIs(15));  // No number twice, and none is 0.
  EXPECT_FALSE(numbers.contains(0));
}

// Its data directory was lost: what it had is, and nobody else would say so.
TEST(Members, WhoIsNewWhereANodeWithReplicasWasIsKnownForIt) {
  const auto admit_at = [](Members& members, const std::string& uuid, uint32_t incarnation,
                           const std::string& address) {
    pb::MembersCommand command = AdmitCommand(uuid, 70 + incarnation, incarnation);
    command.mutable_admit_node()->set_cluster_address(address);
    return Apply(members, command).admitted.node;
  };
  Members members = Members::Founded(ThreeFounders());
  for (const char* const uuid : {"a", "b", "c"}) Apply(members, AdmitCommand(uuid, 7));
  const NodeId further = admit_at(members, "d", 1, "d:1885");
  const NodeId instead = admit_at(members, "e", 1, "c:1885");
  EXPECT_EQ(members.FormerAt(instead), NodeId(3));
  EXPECT_EQ(members.FormerAt(further), NodeId());
  EXPECT_EQ(members.FormerAt(NodeId(3)), NodeId());
  EXPECT_EQ(members.FormerAt(NodeId(9)), NodeId());
  // One that stores nothing is no loss.
  EXPECT_EQ(members.FormerAt(admit_at(members, "f", 1, "d:1885")), NodeId());
  // It was elsewhere all the time.
  EXPECT_EQ(admit_at(members, "c", 2, "elsewhere:1885"), NodeId(3));
  EXPECT_EQ(members.FormerAt(instead), NodeId());
}

TEST(Members, ALaterIncarnationEndsTheOneBeforeAndARepeatDoesNot) {
  Members members = Members::Founded(ThreeFounders());
  EXPECT_EQ(Apply(members, AdmitCommand("b", 77)).admitted, Life(2, 1));
  const MembersOutcome repeat = Apply(members, AdmitCommand("b", 77));
  EXPECT_EQ(repeat.kind, Kind::kRepeated);
  EXPECT_EQ(repeat.admitted, Life(2, 1));
  const MembersOutcome again = Apply(members, AdmitCommand("b", 78, 2));
  EXPECT_EQ(again.admitted, Life(2, 2));
  EXPECT_THAT(again.gone, ElementsAre(Life(2, 1)));
  EXPECT_TRUE(members.IsLive(Life(2, 2)));
  EXPECT_FALSE(members.IsLive(Life(2, 1)));
  // Some starts came to nothing.
  EXPECT_EQ(Apply(members, AdmitCommand("b", 79, 40)).admitted, Life(2, 40));
}

// What was on its way for long, from a process that has died since.
TEST(Members, AnAdmissionThatComesLateDoesNotEndALaterLife) {
  Members members = Members::Founded(ThreeFounders());
  Apply(members, AdmitCommand("b", 77, 4));
  Apply(members, AdmitCommand("b", 78, 5));
  for (const auto& [start, incarnation] : std::map<uint64_t, uint32_t>{{77, 4}, {79, 5}}) {
    const MembersOutcome late = Apply(members, AdmitCommand("b", start, incarnation));
    EXPECT_EQ(late.kind, Kind::kStale);
    EXPECT_EQ(late.known, Incarnation(5));
    EXPECT_THAT(late.gone, IsEmpty());
    EXPECT_THAT(late.why, HasSubstr("incarnation 5 is known"));
  }
  EXPECT_TRUE(members.IsLive(Life(2, 5)));
}

TEST(Members, ALifeThatIsGoneNeverComesBackAndALaterOneIsNotTouchedByIt) {
  Members members = Members::Founded(ThreeFounders());
  Apply(members, AdmitCommand("a", 1));
  EXPECT_THAT(Apply(members, GoneCommand(Life(1, 1))).gone, ElementsAre(Life(1, 1)));
  EXPECT_EQ(Apply(members, GoneCommand(Life(1, 1))).kind, Kind::kRepeated);
  EXPECT_FALSE(members.IsLive(Life(1, 1)));
  EXPECT_EQ(Apply(members, AdmitCommand("a", 1)).kind, Kind::kStale);
  // The same process begins another life.
  EXPECT_EQ(Apply(members, AdmitCommand("a", 1, 2)).admitted, Life(1, 2));
  EXPECT_EQ(Apply(members, GoneCommand(Life(1, 1))).kind, Kind::kRepeated);
  EXPECT_TRUE(members.IsLive(Life(1, 2)));
  EXPECT_EQ(Apply(members, GoneCommand(Life(1, 3))).kind, Kind::kStale);
  EXPECT_EQ(Apply(members, GoneCommand(Life(9, 1))).kind, Kind::kStale);
}

TEST(Members, NumbersOfNodesAreNeverGivenTwice) {
  Members members = Members::Founded(ThreeFounders());
  EXPECT_EQ(Apply(members, AdmitCommand("d", 1)).admitted, Life(4, 1));
  EXPECT_THAT(Apply(members, ForgetCommand(4)).why, HasSubstr("is running"));
  Apply(members, GoneCommand(Life(4, 1)));
  EXPECT_EQ(Apply(members, ForgetCommand(4)).kind, Kind::kDone);
  EXPECT_EQ(Apply(members, ForgetCommand(4)).kind, Kind::kRepeated);
  EXPECT_EQ(Apply(members, AdmitCommand("d", 2)).admitted, Life(5, 1));
  EXPECT_THAT(Apply(members, ForgetCommand(1)).why, HasSubstr("has replicas"));
}

TEST(Members, AsManyNodesAsAMaskHasBits) {
  Members members = Members::Founded(ThreeFounders());
  for (size_t i = 3; i < kNodesMax; ++i)
    EXPECT_EQ(Apply(members, AdmitCommand(absl::StrCat("n", i), 1)).kind, Kind::kDone);
  EXPECT_THAT(Apply(members, AdmitCommand("one more", 1)).why, HasSubstr("64 nodes"));
}

TEST(Members, APlacementThatWasMadeFromAnOlderOneIsStale) {
  Members members = Members::Founded(ThreeFounders());
  Apply(members, AdmitCommand("d", 1));
  const auto nodes = {NodeId(1), NodeId(2), NodeId(3), NodeId(4)};
  const auto wanted = members.WantedPlacement(nodes);
  ASSERT_TRUE(wanted.has_value());
  pb::MembersCommand command;
  *command.mutable_place_partitions() = *wanted;
  const Members before = members;
  EXPECT_EQ(Apply(members, command).kind, Kind::kDone);
  EXPECT_EQ(Apply(members, command).kind, Kind::kStale);
  EXPECT_FALSE(members.WantedPlacement(nodes).has_value());
  // Who stays keeps the number of its replica, who comes gets one that nobody had.
  std::set<uint64_t> had;
  for (const GroupReplicas& group : before.partitions()) {
    for (const GroupReplicas::Replica& replica : group.replicas) had.insert(replica.number);
  }
  size_t come = 0;
  for (size_t i = 0; i < members.partitions().size(); ++i) {
    for (const GroupReplicas::Replica& replica : members.partitions()[i].replicas) {
      if (replica.node == NodeId(4)) {
        ++come;
        EXPECT_FALSE(had.contains(replica.number));
      } else {
        EXPECT_THAT(before.partitions()[i].replicas, testing::Contains(replica));
      }
    }
  }
  EXPECT_GE(come, 3u);
}

TEST(Members, APlacementThatCannotBeIsRefusedAsAWhole) {
  Members members = Members::Founded(ThreeFounders());
  const Members before = members;
  const auto refused = [&](auto&& change) {
    pb::MembersCommand command;
    pb::PlacePartitions& place = *command.mutable_place_partitions();
    place.set_version(members.placement_version());
    pb::GroupPlace& good = *place.add_partitions();
    good.add_replicas()->set_node(1);
    pb::GroupPlace& bad = *place.add_partitions();
    bad.set_partition(1);
    change(bad);
    const MembersOutcome outcome = Apply(members, command);
    EXPECT_EQ(outcome.kind, Kind::kRefused);
    EXPECT_TRUE(members == before);
    return outcome.why;
  };
  EXPECT_THAT(refused([](pb::GroupPlace&) {}), HasSubstr("replicas"));
  EXPECT_THAT(refused([](pb::GroupPlace& place) { place.add_replicas()->set_node(9); }),
              HasSubstr("node 9 is no member"));
  EXPECT_THAT(refused([](pb::GroupPlace& place) {
                place.add_replicas()->set_node(2);
                place.add_replicas()->set_node(1);
              }),
              HasSubstr("order"));
  EXPECT_THAT(refused([](pb::GroupPlace& place) {
                place.add_replicas()->set_node(2);
                place.set_leader(1);
              }),
              HasSubstr("led by"));
  EXPECT_THAT(refused([](pb::GroupPlace& place) {
                place.set_partition(4);
                place.add_replicas()->set_node(2);
              }),
              HasSubstr("no partition 4"));
}

TEST(Members, ACommandThatIsNotKnownStopsTheGroupAndChangesNothing) {
  Members members = Members::Founded(ThreeFounders());
  const std::string before = members.Encode();
  pb::MembersCommand later = AdmitCommand("z", 1);
  later.set_level(1000);
  EXPECT_EQ(members.Apply(later.SerializeAsString()).status().code(),
            absl::StatusCode::kUnimplemented);
  EXPECT_EQ(members.Apply(std::string_view("\x7a\x00", 2)).status().code(),
            absl::StatusCode::kUnimplemented);  // Field 15.
  EXPECT_EQ(members.Apply("\xff").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(members.Encode(), before);
}

TEST(Members, TheLevelIsRaisedWhenAllKnowItAndWhoDoesNotIsNotAdmittedThen) {
  pb::Formation formation = ThreeFounders();
  for (pb::Formation::Founder& founder : *formation.mutable_founders()) founder.set_level_max(5);
  Members members = Members::Founded(formation, /*level_known=*/5);
  pb::MembersCommand old = AdmitCommand("old", 1);
  old.mutable_admit_node()->set_level_max(4);
  old.mutable_admit_node()->set_release("0.1");
  Apply(members, old);
  pb::MembersCommand raise;
  raise.mutable_raise_level()->set_level(5);
  EXPECT_THAT(Apply(members, raise).why, HasSubstr("node 4 runs release 0.1"));
  old.mutable_admit_node()->set_level_max(5);
  old.mutable_admit_node()->set_incarnation(2);
  Apply(members, old);
  EXPECT_EQ(Apply(members, raise).kind, Kind::kDone);
  EXPECT_EQ(members.level(), 5u);
  EXPECT_THAT(Apply(members, AdmitCommand("new", 1)).why, HasSubstr("newer release"));
  raise.mutable_raise_level()->set_level(6);
  EXPECT_EQ(members.Apply(raise.SerializeAsString()).status().code(),
            absl::StatusCode::kUnimplemented);
}

TEST(Members, DamagedSnapshotsAreRefused) {
  EXPECT_EQ(Members::Decode("\xff").status().code(), absl::StatusCode::kDataLoss);
  pb::MembersSnapshot snapshot;
  snapshot.add_nodes()->set_node(1);
  snapshot.add_nodes()->set_node(1);
  EXPECT_EQ(Members::Decode(snapshot.SerializeAsString()).status().code(),
            absl::StatusCode::kDataLoss);
  pb::MembersSnapshot later;
  later.set_level(1000);
  EXPECT_EQ(Members::Decode(later.SerializeAsString()).status().code(),
            absl::StatusCode::kUnimplemented);
}

// What must hold of lives, in the least code that says it.
struct Model {
  std::map<std::string, int> number;
  std::map<std::string, uint64_t> start;
  std::map<int, uint32_t> last;
  std::map<int, bool> live;
  int given = 3;
};

TEST(Members, RandomCommandsDoWhatTheModelSaysAndASnapshotGoesOnAlike) {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    base::Rng rng(seed);
    Members members = Members::Founded(ThreeFounders());
    Members other = members;
    Model model{.number = {{"a", 1}, {"b", 2}, {"c", 3}}};
    for (int step = 0; step < 200; ++step) {
      const std::string uuid(1, static_cast<char>('a' + rng.Below(6)));
      pb::MembersCommand command;
      NodeLife expected;
      switch (rng.Below(4)) {
        case 0:
        case 1: {
          const uint64_t start = rng.Below(4);
          const auto incarnation = static_cast<uint32_t>(1 + rng.Below(8));
          command = AdmitCommand(uuid, start, incarnation);
          if (!model.number.contains(uuid)) model.number[uuid] = ++model.given;
          const int node = model.number[uuid];
          const bool repeat =
              model.live[node] && model.start[uuid] == start && model.last[node] == incarnation;
          if (repeat || incarnation > model.last[node]) {
            model.live[node] = true;
            model.start[uuid] = start;
            model.last[node] = incarnation;
            expected = Life(node, incarnation);
          }
          break;
        }
        case 2: {
          const int node = static_cast<int>(1 + rng.Below(8));
          const auto incarnation = static_cast<uint32_t>(1 + rng.Below(8));
          command = GoneCommand(Life(node, incarnation));
          if (model.last[node] == incarnation) model.live[node] = false;
          break;
        }
        case 3: {
          const int node = static_cast<int>(1 + rng.Below(8));
          command = ForgetCommand(node);
          if (node > 3 && !model.live[node]) {
            std::erase_if(model.number, [&](const auto& entry) { return entry.second == node; });
            model.last[node] = 0;
          }
          break;
        }
      }
      const MembersOutcome outcome = Apply(members, command);
      ASSERT_EQ(outcome.admitted, expected);
      Apply(other, command);
      ASSERT_EQ(members.Encode(), other.Encode());
      if (rng.Chance(0.1)) {
        const auto decoded = Members::Decode(other.Encode());
        ASSERT_TRUE(decoded.ok());
        ASSERT_TRUE(*decoded == members);
        other = *decoded;
      }
      for (const auto& [name, number] : model.number) {
        const Node* const node = members.FindByUuid(name);
        ASSERT_NE(node, nullptr);
        ASSERT_EQ(node->id.value(), number);
        ASSERT_EQ(node->is_live(), model.live[number]);
        ASSERT_EQ(node->incarnation.value(), model.last[number]);
      }
      ASSERT_THAT(members.nodes(), SizeIs(model.number.size()));
    }
  }
}

}  // namespace
}  // namespace cluster
