// The thread of a simulated node's meta group: what MetaGroup is over links and a real clock.
#ifndef TESTS_CLUSTER_SIM_META_DRIVER_H_
#define TESTS_CLUSTER_SIM_META_DRIVER_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "base/timeline.h"
#include "cluster/core/meta_node.h"
#include "cluster/transport/control_codec.h"
#include "tests/cluster/sim/log_driver.h"
#include "tests/cluster/sim/machine.h"
#include "tests/cluster/sim/network.h"

namespace simulator {

class MetaDriver {
 public:
  struct Answer {
    NodeLife life;      // Of who is admitted.
    Incarnation known;  // Not 0: it is to begin a later life.
    // Who belongs to the cluster, as of that entry, for who is admitted.
    std::shared_ptr<const cluster::Members> members;
    uint64_t index = 0;
  };
  struct Parts {
    // The members have changed.
    std::function<void(const cluster::Members&, uint64_t applied)> on_members;
    // False: another life takes another start, and nobody is to hear of this one.
    std::function<bool(Incarnation)> begin_life;
    // To have AnswerJoin called on that node, and `answer` here if one comes.
    std::function<void(NodeId to, ::mqttd::cluster::v1::AdmitNode, std::function<void(Answer)>)>
        join;
    std::function<void(NodeId to, const cluster::ControlItem&)> send;
    std::function<void(absl::Duration until)> on_lease;
  };

  MetaDriver(Machine& machine, Life& life, LogDriver& log, base::Timeline& timeline,
             ::mqttd::cluster::v1::AdmitNode self, cluster::Members members, uint64_t applied,
             Parts parts);

  void OnLog(std::vector<cluster::LogEvent> events);
  void OnControl(NodeLife from, const cluster::ControlItem& item);
  void OnLifeOver(Incarnation through) {
    ReadTime();
    node_.OnLifeOver(through);
    Act();
  }
  void OnJoin(const ::mqttd::cluster::v1::AdmitNode& node, std::function<void(Answer)> answer);

  const cluster::Members& members() const { return node_.members(); }
  // Whether it knows the members by the group's log. Who does not is told of them.
  bool HasReplica(NodeId id) const;
  NodeLife life() const { return node_.life(); }
  absl::Duration until() const { return node_.lease().until(); }
  Incarnation incarnation() const { return incarnation_; }

 private:
  void ReadTime();
  void Tick();
  void On(cluster::LogEvent& event);
  void Act();
  bool BeginLife(const cluster::MetaOutputs& out);
  void AskAdmission(const ::mqttd::cluster::v1::AdmitNode& self);
  void AnswerAdmission(const cluster::MetaOutputs::AdmissionAnswer& answer);
  void OnAdmissionAnswered(const Answer& answer);
  // What a node without a replica of the group hears, and who has one tells.
  void Install(const cluster::Members& members, uint64_t index);
  void TellMembers(NodeId to);
  void TellMembersToAll();
  void AskForMembers();
  absl::Duration Now() const { return machine_.clock.SinceBoot(); }

  Machine& machine_;
  Life& life_;
  LogDriver& log_;
  base::Timeline& timeline_;
  const Parts parts_;
  cluster::MetaNode node_;
  Incarnation incarnation_;
  Incarnation refused_;  // A life that was not begun.
  absl::Duration next_members_ = -absl::InfiniteDuration();
  uint64_t last_token_ = 0;
  std::map<uint64_t, std::function<void(Answer)>> joins_;
};

}  // namespace simulator

#endif  // TESTS_CLUSTER_SIM_META_DRIVER_H_
