#include "cluster/discovery/identity_file.h"

#include <filesystem>
#include <fstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace cluster {
namespace {

using testing::HasSubstr;

::mqttd::cluster::v1::NodeIdentity SomeIdentity() {
  ::mqttd::cluster::v1::NodeIdentity identity;
  identity.set_cluster_id("C");
  identity.set_node(2);
  identity.set_incarnation(7);
  identity.mutable_formation()->set_former("a");
  identity.mutable_formation()->add_founders()->set_address("a:1885");
  identity.add_members("a:1885");
  return identity;
}

TEST(IdentityFile, ANodeWithoutOneBelongsToNoCluster) {
  const support::TempDir directory;
  const auto read = ReadIdentity(directory.path());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->ByteSizeLong(), 0u);
}

TEST(IdentityFile, IsReadAsItWasWrittenAndReplacedInOnePiece) {
  const support::TempDir directory;
  auto identity = SomeIdentity();
  ASSERT_TRUE(WriteIdentity(directory.path(), identity).ok());
  identity.set_incarnation(8);
  ASSERT_TRUE(WriteIdentity(directory.path(), identity).ok());
  const auto read = ReadIdentity(directory.path());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->SerializeAsString(), identity.SerializeAsString());
  EXPECT_FALSE(std::filesystem::exists(directory.path() + "/cluster.new"));
}

TEST(IdentityFile, WhatALaterReleaseAddsIsPassedOverAndDamageIsNot) {
  const support::TempDir directory;
  const std::string path = directory.path() + "/cluster";
  std::ofstream(path) << "cluster_id: \"C\"\nnode: 2\nsomething_new: 5\n";
  const auto read = ReadIdentity(directory.path());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->node(), 2u);
  for (const char* const damaged : {"cluster_id: \"C", "cluster_id: \"C\"\n"}) {
    std::ofstream(path, std::ios::trunc) << damaged;
    EXPECT_THAT(std::string(ReadIdentity(directory.path()).status().message()),
                HasSubstr("is damaged: restore that file alone"));
  }
}

TEST(MembersFile, IsReadAsItWasWrittenAndDamageIsSaid) {
  const support::TempDir directory;
  auto read = ReadMembers(directory.path());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_FALSE(read->has_members());
  ::mqttd::cluster::v1::MembersFile file;
  file.set_index(9);
  file.set_term(6);
  file.mutable_members()->set_cluster_id("C");
  ASSERT_TRUE(WriteMembers(directory.path(), file).ok());
  read = ReadMembers(directory.path());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->SerializeAsString(), file.SerializeAsString());
  std::ofstream(directory.path() + "/members", std::ios::trunc) << "\xff\xff";
  EXPECT_THAT(std::string(ReadMembers(directory.path()).status().message()),
              HasSubstr("start with an empty data_dir"));
}

TEST(IdentityFile, WhatCannotBeWrittenIsSaid) {
  EXPECT_THAT(std::string(WriteIdentity("/nowhere", SomeIdentity()).message()),
              HasSubstr("making /nowhere/cluster.new"));
}

}  // namespace
}  // namespace cluster
