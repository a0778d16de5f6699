// What the directory of a node says of its cluster: DIR/cluster, which one it is and as whom the
// node belongs to it; DIR/members, who else does, as far as a replica of the meta group has
// applied.
#ifndef CLUSTER_DISCOVERY_IDENTITY_FILE_H_
#define CLUSTER_DISCOVERY_IDENTITY_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mqttd/cluster/v1/members.pb.h"

namespace cluster {

// Text that people can read; fields that this release does not know are passed over. Nothing of it
// if there is no such file: the node belongs to none.
absl::StatusOr<::mqttd::cluster::v1::NodeIdentity> ReadIdentity(const std::string& directory);

// Synced when it returns, and in one piece: after a crash there is this one or the last.
absl::Status WriteIdentity(const std::string& directory,
                           const ::mqttd::cluster::v1::NodeIdentity& identity);

// The same for the members. Nothing of it if there is no such file.
absl::StatusOr<::mqttd::cluster::v1::MembersFile> ReadMembers(const std::string& directory);
absl::Status WriteMembers(const std::string& directory,
                          const ::mqttd::cluster::v1::MembersFile& members);

}  // namespace cluster

#endif  // CLUSTER_DISCOVERY_IDENTITY_FILE_H_
