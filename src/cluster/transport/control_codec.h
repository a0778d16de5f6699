// Items of the streams Control and Log as bytes: proto/mqttd/cluster/v1/control.proto.
#ifndef CLUSTER_TRANSPORT_CONTROL_CODEC_H_
#define CLUSTER_TRANSPORT_CONTROL_CODEC_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cluster/core/leases.h"
#include "cluster/raft/types.h"

namespace cluster {

struct RaftItem {
  GroupId group = 0;
  ReplicaId to = 0;
  std::string_view data;
  uint64_t all_have = 0;
};

// See control.proto.
struct MembersWanted {
  uint64_t index = 0;
};
struct MembersTold {
  uint64_t index = 0;
  std::string members;
};
struct ForgetAsked {
  uint64_t token = 0;
  NodeId node;
};
struct ForgetAnswered {
  uint64_t token = 0;
  absl::Status status;
};

using ControlItem = std::variant<RaftItem, LeaseRequest, LeaseAnswer, MembersWanted, MembersTold,
                                 ForgetAsked, ForgetAnswered>;

std::string EncodeControl(const ControlItem& item);
// Views are of `bytes`. Fields that are not known are skipped. Error: kInvalidArgument, no release
// writes that, or only a later one.
absl::StatusOr<ControlItem> ParseControl(std::string_view bytes);

}  // namespace cluster

#endif  // CLUSTER_TRANSPORT_CONTROL_CODEC_H_
